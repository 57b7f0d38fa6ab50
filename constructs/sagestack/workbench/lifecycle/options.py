"""All options of a lifecycle config, in the order in which their steps run, and the module of each."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol, cast

from aws_cdk import aws_iam as iam

from sagestack.settings.workbench.lifecycle import LifecycleOptions
from sagestack.workbench.lifecycle.context import GrantContext, LifecycleContext
from sagestack.workbench.lifecycle.steps import Step

ORDER = (
    # What everything after it needs: how to reach the network, whose name commits have, where packages are from.
    "fips",
    "environment_variables",
    "proxy",
    # Early, for what comes later may hang, and an instance that does not stop costs.
    "auto_stop",
    "package_index",
    "git",
    "mounts",
    # Before anything writes to the volume: a restore wants it empty.
    "backup",
    "examples",
    "conda_environments",
    "packages",
    "r_kernel",
    "extensions",
    "metrics",
    "scripts",
    # Last: it wants the packages, the data and the user's own preparations.
    "run_notebook",
)
"""The names of the fields of `LifecycleOptions`. Each one's module here has its name, but for these."""

_MODULES = {"scripts": "user_scripts"}
_AFTER_ALL = "run-notebook"


class OptionModule(Protocol):
    """What the module of an option has. `environment` and `grant` may be missing."""

    def steps(self, option: Any, context: LifecycleContext) -> tuple[Step, ...]:
        """What it does on the instance."""
        ...

    def environment(self, option: Any, context: LifecycleContext) -> Mapping[str, str]:
        """The environment variables that it sets, for kernels, terminals and all steps after it."""
        ...

    def grant(self, option: Any, role: iam.IRole, context: GrantContext) -> None:
        """What the role of the instance must be allowed for it."""
        ...


def chosen(options: LifecycleOptions) -> Iterator[tuple[str, Any, OptionModule]]:
    """The options that somebody asked for, in order: name, value, module."""
    for name in ORDER:
        value = getattr(options, name)
        if value:
            module = importlib.import_module(f"sagestack.workbench.lifecycle.{_MODULES.get(name, name)}")
            yield name, value, cast(OptionModule, module)


def steps_of(options: LifecycleOptions, context: LifecycleContext) -> tuple[Step, ...]:
    """The steps of all options, in order."""
    steps = tuple(step for _, value, module in chosen(options) for step in module.steps(value, context))
    others = tuple(step.name for step in steps if step.background and step.name != _AFTER_ALL)
    return tuple(replace(step, after=others) if step.name == _AFTER_ALL else step for step in steps)


def environment_of(options: LifecycleOptions, context: LifecycleContext) -> dict[str, str]:
    """The environment variables of all options; settings refuse two that set the same one."""
    return {
        key: text
        for _, value, module in chosen(options)
        if hasattr(module, "environment")
        for key, text in module.environment(value, context).items()
    }


def grant_all(options: LifecycleOptions, role: iam.IRole, context: GrantContext) -> None:
    """Gives the role what all options need."""
    for _, value, module in chosen(options):
        if hasattr(module, "grant"):
            module.grant(value, role, context)
