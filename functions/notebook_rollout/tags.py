"""The tags that a restart sets and heeds. Imported by the synth, too, so it imports nothing."""

RESTART_TAG = "sagestack:restarting"
"""On an instance that was stopped here, until it is started again."""
SPENT_TAG = "sagestack:budget-spent"
"""On an instance that nobody may start while the month lasts: a budget has stopped it, or would have."""
