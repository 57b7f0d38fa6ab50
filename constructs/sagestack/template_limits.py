"""Refuses stacks that CloudFormation would refuse for their size: at synth, in words, and not in the middle of a deployment."""

from __future__ import annotations

import re
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import cx_api

from sagestack.settings import SettingsError

MAX_BYTES, MAX_RESOURCES = 1_000_000, 500
"""https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html"""
_CURE = (
    "have fewer notebooks and people in Studio in this environment (workbench), or fewer models with a grant each, and another"
    " environment for the others"
)


def synthesize(app: cdk.App) -> cx_api.CloudAssembly:
    """Synthesizes the app.

    Raises:
        SettingsError: a stack has more resources, or a longer template, than CloudFormation takes.
    """
    try:
        assembly = app.synth()
    except RuntimeError as error:
        # CDK counts resources itself, and says so by an error of JavaScript's.
        found = re.search(r"Number of resources in stack '([^']+)': (\d+)", str(error))
        if found is None:
            raise
        said = f"{found[1]}: has {found[2]} resources, and CloudFormation takes {MAX_RESOURCES} in a stack; {_CURE}"
        raise SettingsError([said]) from None
    check_sizes({stack.stack_name: _bytes(stack) for stack in assembly.stacks_recursively})
    return assembly


def check_sizes(sizes: dict[str, int]) -> None:
    """Refuses templates that are too long.

    Args:
        sizes: bytes of each template, by the name of its stack.

    Raises:
        SettingsError: with a line for each that is too long.
    """
    problems = [
        f"{name}: its template has {size} bytes, and CloudFormation takes {MAX_BYTES}; {_CURE}"
        for name, size in sizes.items()
        if size > MAX_BYTES
    ]
    if problems:
        raise SettingsError(problems)


def _bytes(stack: cx_api.CloudFormationStackArtifact) -> int:
    return Path(stack.template_full_path).stat().st_size
