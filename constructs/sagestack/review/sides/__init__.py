"""The two states that are compared: found in git or a folder, copied, synthesized, and kept for the next time."""
