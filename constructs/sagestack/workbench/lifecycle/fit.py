"""Lifecycle configs against what no settings file says: the region, our own steps, and the files of the user's scripts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sagestack.settings import PROJECT_ROOT, Environment, EnvironmentNames, SettingsError
from sagestack.settings.workbench import LifecycleOptions
from sagestack.settings.workbench.lifecycle_fips import check_fips_region
from sagestack.workbench.lifecycle.checks import problems_of_file
from sagestack.workbench.lifecycle.context import LifecycleContext
from sagestack.workbench.lifecycle.options import steps_of
from sagestack.workbench.lifecycle.step_checks import RESERVED

_Found = tuple[tuple[str | int, ...], str]


def check_lifecycle_configs(environment: Environment, root: Path = PROJECT_ROOT) -> None:
    """Refuses lifecycle configs whose scripts or options cannot work here.

    Raises:
        SettingsError: with a line for everything that is wrong, each at the key that it is about.
    """
    configs = environment.workbench.lifecycle_configs if environment.workbench else {}
    problems = [
        environment.problem(text, ("workbench", "lifecycle_configs", name, *path))
        for name, options in configs.items()
        for path, text in _problems(options, environment, root)
    ]
    if problems:
        raise SettingsError(problems)


def _problems(options: LifecycleOptions, environment: Environment, root: Path) -> Iterator[_Found]:
    if options.fips:
        try:
            check_fips_region(environment.region)
        except ValueError as error:
            yield ("fips",), str(error)
    ours = _names_of_steps(options, environment)
    for index, script in enumerate(options.scripts):
        if script.name in ours:
            yield (
                ("scripts", index, "name"),
                f"{script.name!r} is the name of another step of this config; choose another",
            )
        for problem in problems_of_file(script.file, root):
            yield ("scripts", index, "file"), problem


def _names_of_steps(options: LifecycleOptions, environment: Environment) -> set[str]:
    """Of all options but the user's scripts; `fips`, which has none, says what is wrong elsewhere."""
    context = LifecycleContext(EnvironmentNames(environment.name), environment.region, "bucket", "s3://bucket/key")
    others = options.model_copy(update={"scripts": [], "fips": False})
    return {*RESERVED, *(step.name for step in steps_of(others, context))}
