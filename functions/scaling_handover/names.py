"""What the function and the template that deploys it must call by the same name."""

RELEASE, RESTORE = "Custom::SagestackScalingRelease", "Custom::SagestackScalingRestore"
"""The resource before the endpoint, and the one after it."""
