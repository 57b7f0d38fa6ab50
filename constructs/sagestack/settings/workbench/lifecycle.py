"""What is done to a notebook instance when it is made and each time that it starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, model_validator

from sagestack.settings.base import Settings
from sagestack.settings.errors import Allowed, Misfit
from sagestack.settings.workbench.lifecycle_session import AutoStop, Proxy, Script, VariableName, VariableValue
from sagestack.settings.workbench.lifecycle_software import CondaEnvironment, Extensions, PackageIndex, Packages
from sagestack.settings.workbench.lifecycle_software import EnvironmentName as EnvironmentName
from sagestack.settings.workbench.lifecycle_upkeep import (
    Backup,
    EfsMount,
    FsxLustreMount,
    Git,
    Metrics,
    Mount,
    RunNotebook,
)

__all__ = [
    "AutoStop",
    "Backup",
    "CondaEnvironment",
    "EfsMount",
    "Extensions",
    "FsxLustreMount",
    "Git",
    "LifecycleOptions",
    "Metrics",
    "Mount",
    "PackageIndex",
    "Packages",
    "Proxy",
    "RunNotebook",
    "Script",
]

_Found = tuple[tuple[str | int, ...], str]


class LifecycleOptions(Settings):
    """What one lifecycle config does. Nothing said is nothing done."""

    auto_stop: Annotated[
        AutoStop | None, Allowed("null, or idle_minutes, warn_minutes, opt_out_hours, open_tab_minutes, ...")
    ] = None
    environment_variables: Annotated[
        dict[VariableName, VariableValue],
        Field(max_length=50),
        Allowed("up to 50 variables, NAME: 'value', each one line of text in quotes"),
    ] = {}
    packages: Annotated[
        list[Packages], Field(max_length=20), Allowed("a list of manager, kernel and packages; up to 20")
    ] = []
    conda_environments: Annotated[
        dict[EnvironmentName, CondaEnvironment], Field(max_length=10), Allowed("environments by name; up to 10")
    ] = {}
    package_index: Annotated[PackageIndex | None, Allowed("null, or url and conda_channels")] = None
    git: Annotated[Git | None, Allowed("null, or user_name and user_email")] = None
    mounts: Annotated[list[Mount], Field(max_length=10), Allowed("a list of file systems by kind; up to 10")] = []
    proxy: Annotated[Proxy | None, Allowed("null, or http, https and no_proxy")] = None
    metrics: Annotated[Metrics | None, Allowed("null, or interval_in_seconds")] = None
    backup: Annotated[Backup | None, Allowed("null, or schedule_hours, restore, exclude")] = None
    run_notebook: Annotated[RunNotebook | None, Allowed("null, or path and kernel")] = None
    extensions: Annotated[Extensions | None, Allowed("null, or pip and disable")] = None
    r_kernel: Annotated[bool, Allowed("true or false")] = False
    fips: Annotated[bool, Allowed("true or false")] = False
    scripts: Annotated[list[Script], Field(max_length=20), Allowed("a list of name and file; up to 20")] = []
    examples: Annotated[bool, Allowed("true or false")] = False

    @model_validator(mode="after")
    def _fits_together(self) -> LifecycleOptions:
        if problems := [*self._scripts_of_one_name(), *self._mounts_in_one_place(), *self._environments_of_one_name()]:
            raise Misfit(*problems)
        return self

    def _scripts_of_one_name(self) -> Iterator[_Found]:
        often = Counter(script.name for script in self.scripts)
        for index, script in enumerate(self.scripts):
            if often[script.name] > 1:
                yield (
                    ("scripts", index, "name"),
                    f"{script.name!r} is the name of {often[script.name]} scripts; logs and statuses would mix:"
                    " choose another",
                )

    def _mounts_in_one_place(self) -> Iterator[_Found]:
        for index, mount in enumerate(self.mounts):
            for other in self.mounts[:index]:
                if f"{mount.path}/".startswith(f"{other.path}/") or other.path.startswith(f"{mount.path}/"):
                    yield (
                        ("mounts", index, "path"),
                        f"{mount.path!r} and another mount, {other.path!r}, are at or below each other",
                    )

    def _environments_of_one_name(self) -> Iterator[_Found]:
        for index, packages in enumerate(self.packages):
            if packages.kernel in self.conda_environments:
                yield (
                    ("packages", index, "kernel"),
                    f"{packages.kernel!r} is one of conda_environments: say its packages there",
                )
            elif packages.kernel == "JupyterSystemEnv":
                yield (
                    ("packages", index, "kernel"),
                    "JupyterLab itself runs in JupyterSystemEnv: say extensions instead",
                )
        for name in sorted({"base", "python3", "R", "JupyterSystemEnv"} & set(self.conda_environments)):
            yield ("conda_environments", name), f"{name} is an environment of the instance's own: choose another name"
        if self.r_kernel and "r" in self.conda_environments:
            yield ("conda_environments", "r"), "r is the name of the kernel of r_kernel: choose another"
