"""What people work with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_ssm as ssm
from sagestack.settings import Environment, EnvironmentNames
from sagestack.settings.workbench.notebook import Grants
from sagestack.workbench.cost_tags import tag_workbench
from sagestack.workbench.idle_report import IdleReport
from sagestack.workbench.lifecycle import mounts
from sagestack.workbench.lifecycle.lifecycle_config import LifecycleConfig
from sagestack.workbench.maintenance_window import MaintenanceWindow
from sagestack.workbench.notebook import Notebook
from sagestack.workbench.notebook_budget import NotebookBudget
from sagestack.workbench.notebook_hours import NotebookHours
from sagestack.workbench.notebook_role import GrantedModel, NotebookRole
from sagestack.workbench.personas.permissions import WorkedWith
from sagestack.workbench.personas.personas import PersonaRoles
from sagestack.workbench.private_network import PrivateNetwork
from sagestack.workbench.studio.domain import StudioDomain

from constructs import Construct
from stacks.foundation import FoundationStack
from stacks.training import TrainingStack


class WorkbenchStack(cdk.Stack):
    """The notebooks and the Studio domain of an environment, who may use them, and what keeps them from costing too much."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        foundation: FoundationStack,
        training: Mapping[str, TrainingStack],
        **kwargs: Any,
    ) -> None:
        super().__init__(scope, id, **kwargs)
        assert environment.workbench is not None
        self._environment, self._foundation = environment, foundation
        self._workbench, self._names = environment.workbench, EnvironmentNames(environment.name)
        self._models = {
            name: GrantedModel(name, pipeline=each.pipeline, registry=each.registry, image=each.image)
            for name, each in training.items()
        }

        tag_workbench(self, self._names)
        self.network = PrivateNetwork(
            self,
            "Network",
            network=self._workbench.network,
            services=self._workbench.services,
            proxy_ports=self._workbench.proxy_ports,
        )
        mounts.connect(self, self._workbench.mounts, self.network.security_group)
        self.notebooks = self._notebooks()
        self.studio = self._studio()
        self._people()

    def _notebooks(self) -> dict[str, Notebook]:
        """The instances; when they start, stop, and are brought to a changed lifecycle config."""
        workbench, names, foundation = self._workbench, self._names, self._foundation
        configs = {
            name: LifecycleConfig(
                self,
                f"LifecycleConfig-{name}",
                name=name,
                options=options,
                names=names,
                region=self._environment.region,
                artifacts=foundation.artifacts,
                encryption_key=foundation.key,
                notebooks=workbench.notebooks_with(name),
            )
            for name, options in workbench.lifecycle_configs.items()
        }
        notebooks = {
            name: Notebook(
                self,
                f"Notebook-{name}",
                name=name,
                names=names,
                notebook=notebook,
                network=self.network,
                role=self._role(f"NotebookRole-{name}", name, notebook.grants),
                encryption_key=foundation.key,
                lifecycle_config=configs[notebook.lifecycle_config] if notebook.lifecycle_config else None,
            )
            for name, notebook in workbench.notebooks.items()
        }
        for name, notebook in notebooks.items():
            ssm.StringParameter(
                self,
                f"NotebookRoleParameter-{name}",
                parameter_name=names.notebook_role_parameter(name),
                string_value=notebook.role.role_arn,
            )
        hours = {name: each.hours for name, each in workbench.notebooks.items() if each.hours is not None}
        if hours:
            scheduled = NotebookHours(self, "Hours", names=names, hours=hours, heeds_the_mark=workbench.heeds_the_mark)
            scheduled.node.add_dependency(*notebooks.values())
        if workbench.maintenance is not None:
            MaintenanceWindow(
                self,
                "Maintenance",
                names=names,
                maintenance=workbench.maintenance,
                notebooks=list(notebooks.values()),
                heeds_the_mark=workbench.heeds_the_mark,
            )
        return notebooks

    def _studio(self) -> StudioDomain | None:
        studio = self._workbench.studio
        if studio is None:
            return None
        roles = {
            name: self._role(f"StudioRole-{name}", f"studio-{name}", profile.grants)
            for name, profile in studio.user_profiles.items()
        }
        shared = self._role("StudioRole", "studio", Grants())
        # An app in Studio does not know its notebook's name, and finds it by its role.
        for name, role in {"studio": shared, **{f"studio-{name}": role for name, role in roles.items()}}.items():
            ssm.StringParameter(
                self,
                f"NotebookRoleParameter-{name}",
                parameter_name=self._names.notebook_role_parameter(name),
                string_value=role.role_arn,
            )
        return StudioDomain(
            self,
            "Studio",
            names=self._names,
            studio=studio,
            removal_policy=self._environment.removal_policy,
            network=self.network,
            execution_role=shared,
            profile_roles=roles,
            encryption_key=self._foundation.key,
            artifacts=self._foundation.artifacts,
            model_image=self._environment.model_image,
            tags=self._environment.tags,
        )

    def _people(self) -> None:
        budget = self._cost()
        if self._workbench.personas is None:
            return
        people = PersonaRoles(
            self,
            "Personas",
            names=self._names,
            personas=self._workbench.personas,
            worked_with=WorkedWith(
                models=list(self._models),
                owners={name: each.owner for name, each in self._workbench.notebooks.items()},
                studio_domain_id=self.studio.domain_id if self.studio else None,
            ),
            heeds_the_mark=self._workbench.heeds_the_mark,
        )
        for model in self._models.values():
            people.grant_read_scores(model.pipeline)
        if budget and budget.stop and (operator := people.roles.get("operator")):
            budget.stop.grant_release(operator)

    def _cost(self) -> NotebookBudget | None:
        """Who is told what idles, and what happens when the month's money is spent."""
        workbench, names, key = self._workbench, self._names, self._foundation.key
        domain_id = self.studio.domain_id if self.studio else None
        if workbench.idle_report is not None:
            IdleReport(
                self,
                "IdleReport",
                names=names,
                report=workbench.idle_report,
                notebooks=workbench.notebooks,
                lifecycle_configs=workbench.lifecycle_configs,
                encryption_key=key,
                studio_domain_id=domain_id,
                studio_stopped_by=workbench.studio.stopped_by if workbench.studio else (),
                studio_instance_types=workbench.studio.all_instance_types if workbench.studio else (),
            )
        if workbench.budget is None:
            return None
        return NotebookBudget(
            self,
            "Budget",
            names=names,
            budget=workbench.budget,
            tags=self._environment.tags,
            notebooks=list(workbench.notebooks),
            encryption_key=key,
            studio_domain_id=domain_id,
        )

    def _role(self, id: str, name: str, grants: Grants) -> NotebookRole:
        return NotebookRole(
            self,
            id,
            name=name,
            names=self._names,
            grants=grants,
            models=self._models,
            data=self._foundation.data,
            artifacts=self._foundation.artifacts,
            encryption_key=self._foundation.key,
        )
