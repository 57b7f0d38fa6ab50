"""What people of an environment work with: their notebooks and Studio, who they are, and what it may cost."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from sagestack.settings.base import Settings
from sagestack.settings.errors import Allowed, Misfit, suggestion
from sagestack.settings.workbench import own_names
from sagestack.settings.workbench.cost import Budget, IdleReport
from sagestack.settings.workbench.lifecycle import LifecycleOptions
from sagestack.settings.workbench.lifecycle_upkeep import EfsMount, FsxLustreMount, FsxOntapMount, FsxOpenZfsMount
from sagestack.settings.workbench.maintenance import Maintenance
from sagestack.settings.workbench.network import WorkbenchNetwork
from sagestack.settings.workbench.notebook import Notebook
from sagestack.settings.workbench.personas import Personas
from sagestack.settings.workbench.studio import Studio

__all__ = [
    "Budget",
    "IdleReport",
    "LifecycleOptions",
    "Maintenance",
    "Notebook",
    "Personas",
    "Studio",
    "Workbench",
    "WorkbenchNetwork",
]

_SHORT_NAMES = "lower-case letters, digits and single hyphens, at most 30 characters"
ShortName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=30), Allowed(_SHORT_NAMES)]


class Workbench(Settings):
    """Notebooks, Studio, the people who use them, and what keeps them from costing more than they should."""

    network: Annotated[WorkbenchNetwork, Allowed("cidr, or vpc_id and subnet_ids")]
    lifecycle_configs: Annotated[
        dict[ShortName, LifecycleOptions],
        Allowed(f"lifecycle configs of notebook instances by name: {_SHORT_NAMES}"),
    ] = {}
    notebooks: Annotated[
        # A stack has up to 500 resources, and its template a million bytes; each notebook brings a role and policies.
        dict[ShortName, Notebook],
        Field(max_length=30),
        Allowed(f"up to 30 notebook instances by name: {_SHORT_NAMES}"),
    ] = {}
    maintenance: Annotated[Maintenance | None, Allowed("null, or schedule, time_zone and duration_in_minutes")] = None
    """When instances that run may be stopped, so that changes reach them; null: whenever somebody starts them next."""
    studio: Annotated[Studio | None, Allowed("null, or the domain's settings")] = None
    personas: Annotated[Personas | None, Allowed("null, or who signs in from where")] = None
    idle_report: Annotated[IdleReport | None, Allowed("null, or schedule and emails")] = None
    budget: Annotated[Budget | None, Allowed("null, or monthly_usd and emails")] = None

    def notebooks_with(self, lifecycle_config: str) -> list[str]:
        """The names of the notebooks that have this lifecycle config."""
        return [name for name, each in self.notebooks.items() if each.lifecycle_config == lifecycle_config]

    @property
    def mounts(self) -> list[EfsMount | FsxLustreMount | FsxOntapMount | FsxOpenZfsMount]:
        """What any lifecycle config mounts."""
        return [mount for options in self.lifecycle_configs.values() for mount in options.mounts]

    @property
    def secrets(self) -> list[tuple[tuple[str | int, ...], str]]:
        """The ARN of each secret that is named, after the path of its key."""
        found: list[tuple[tuple[str | int, ...], str]] = []
        for name, notebook in self.notebooks.items():
            for index, repository in enumerate(notebook.repositories):
                if repository.secret_arn is not None:
                    found.append((("notebooks", name, "repositories", index, "secret_arn"), repository.secret_arn))
        for name, options in self.lifecycle_configs.items():
            for key, option in (("git", options.git), ("package_index", options.package_index)):
                if option is not None and option.secret_arn is not None:
                    found.append((("lifecycle_configs", name, key, "secret_arn"), option.secret_arn))
        return found

    @property
    def services(self) -> tuple[str, ...]:
        """What a network of its own has interface endpoints to: what is here needs them."""
        return self.network.services(
            has_efs=any(isinstance(mount, EfsMount) for mount in self.mounts),
            has_secrets=bool(self.secrets),
            has_studio=self.studio is not None,
        )

    @property
    def proxy_ports(self) -> frozenset[int]:
        """The ports of all proxies, which instances must reach."""
        proxies = [options.proxy for options in self.lifecycle_configs.values() if options.proxy is not None]
        urls = [urlsplit(url) for proxy in proxies for url in (proxy.http, proxy.https) if url is not None]
        return frozenset(url.port or (443 if url.scheme == "https" else 80) for url in urls)

    @property
    def heeds_the_mark(self) -> bool:
        """Whether what is marked as stopped by the budget is not started.

        Not without a budget that marks: none would take the marks away again, and who leaves it out wants to work.
        """
        return self.budget is not None and self.budget.marks

    @model_validator(mode="after")
    def _lifecycle_configs_are_there(self) -> Workbench:
        problems = [
            (
                ("notebooks", name, "lifecycle_config"),
                f"{wanted!r} is none of lifecycle_configs{suggestion(wanted, self.lifecycle_configs)}",
            )
            for name, notebook in self.notebooks.items()
            if (wanted := notebook.lifecycle_config) is not None and wanted not in self.lifecycle_configs
        ]
        if problems:
            raise Misfit(*problems)
        return self

    @model_validator(mode="after")
    def _names_keep_apart(self) -> Workbench:
        if problems := list(own_names.problems(self.notebooks, self.studio)):
            raise Misfit(*problems)
        return self

    @model_validator(mode="after")
    def _network_has_room(self) -> Workbench:
        # All notebooks are in the first subnet; Studio has its endpoint (if there are any), its mount target and an interface for
        # each app there.
        needed = len(self.notebooks)
        if self.studio:
            endpoints = 0 if self.network.interface_endpoints == "none" else 1
            needed += endpoints + 1 + max(len(self.studio.user_profiles), len(self.studio.spaces))
        room = self.network.addresses
        if room is not None and needed > room:
            raise Misfit(
                (
                    ("network", "cidr"),
                    f"{self.network.cidr!r} has room for {room} notebooks and apps in its first subnet, beside what AWS and the"
                    f" endpoints of its services take, and {needed} are wanted; take a larger block, like a /22",
                )
            )
        return self

    @model_validator(mode="after")
    def _maintenance_is_of_something(self) -> Workbench:
        if self.maintenance is not None and not any(each.lifecycle_config for each in self.notebooks.values()):
            raise Misfit(
                (
                    ("maintenance",),
                    "no notebook has a lifecycle_config, so there is nothing to restart it for; leave it out",
                )
            )
        return self
