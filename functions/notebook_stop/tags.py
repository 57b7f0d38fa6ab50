"""The tags that a spent budget heeds and sets. Imported by the synth, too, so it imports nothing."""

KEEP_TAG = "sagestack:keep"
"""An instance or a space with this tag, `true`, is left running whatever it costs."""
SPENT_TAG = "sagestack:budget-spent"
"""On an instance that may not be started while the month lasts; its value is that month, `2026-11`."""
