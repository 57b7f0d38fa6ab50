"""The tags that tell whose something is. Imported by the synth, too, so it imports nothing."""

KEEP_TAG = "sagestack:keep"
OWNER_TAG = "sagestack:owner"
ENVIRONMENT_TAG = "sagestack:workbench"
"""On all that a workbench's stack makes; its value is the environment."""
