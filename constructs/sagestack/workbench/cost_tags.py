"""The tags that cost is counted by, and that decide what a spent budget stops."""

from __future__ import annotations

import aws_cdk as cdk

from functions.idle_report.tags import ENVIRONMENT_TAG
from functions.notebook_stop.tags import KEEP_TAG, SPENT_TAG
from sagestack.settings import EnvironmentNames

WORKBENCH_TAG = ENVIRONMENT_TAG
"""On all that the workbench's stack makes; its value is the environment. A budget counts by it."""

__all__ = ["KEEP_TAG", "SPENT_TAG", "WORKBENCH_TAG", "tag_workbench"]


def tag_workbench(stack: cdk.Stack, names: EnvironmentNames) -> None:
    """Tags everything in the stack as the workbench's. Once more is the same."""
    cdk.Tags.of(stack).add(WORKBENCH_TAG, names.environment)
