"""A workbench's stack with all that keeps its cost down, made once for the tests of each part."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_kms as kms
from aws_cdk.assertions import Template
from sagestack import settings
from sagestack.settings import workbench
from sagestack.settings.workbench.lifecycle import AutoStop
from sagestack.settings.workbench.notebook import Hours
from sagestack.workbench.idle_report import IdleReport
from sagestack.workbench.notebook_budget import NotebookBudget
from sagestack.workbench.notebook_hours import NotebookHours

from tests.synthesis import flags

ACCOUNT, REGION = "111111111111", "us-east-1"
EMAIL = "ada@example.org"
NAMES = settings.EnvironmentNames("dev")
HOURS = Hours(start="cron(0 8 ? * MON-FRI *)", stop="cron(0 19 ? * * *)", time_zone="Europe/Berlin")
LIFECYCLE_CONFIGS = {"standard": workbench.LifecycleOptions(auto_stop=AutoStop(idle_minutes=30))}
NOTEBOOKS = {
    "explore": workbench.Notebook(instance_type="ml.t3.medium", lifecycle_config="standard", hours=HOURS),
    "lab": workbench.Notebook(instance_type="ml.m5.xlarge"),
    "late-shift": workbench.Notebook(instance_type="ml.t3.medium", hours=Hours(stop="cron(0 2 ? * * *)")),
}


class CostStack(cdk.Stack):
    """What the workbench's stack makes of the parts of cost."""

    def __init__(
        self,
        scope: cdk.App,
        *,
        key: kms.IKey | None = None,
        names: settings.EnvironmentNames = NAMES,
        notebooks: Mapping[str, workbench.Notebook] = MappingProxyType(NOTEBOOKS),
        studio_domain_id: str | None = "d-example",
        **kwargs: Any,
    ) -> None:
        super().__init__(scope, names.workbench_stack, **kwargs)
        if key is None:
            key = kms.Key(self, "Key", removal_policy=cdk.RemovalPolicy.DESTROY, enable_key_rotation=True)
        hours = {name: notebook.hours for name, notebook in notebooks.items() if notebook.hours is not None}
        NotebookHours(self, "Hours", names=names, hours=hours, heeds_the_mark=True)
        self.report = IdleReport(
            self,
            "IdleReport",
            names=names,
            report=workbench.IdleReport(emails=[EMAIL], time_zone="Europe/Berlin"),
            notebooks=notebooks,
            lifecycle_configs=LIFECYCLE_CONFIGS,
            encryption_key=key,
            studio_domain_id=studio_domain_id,
            studio_instance_types=["ml.t3.medium"],
        )
        self.budget = NotebookBudget(
            self,
            "Budget",
            names=names,
            budget=workbench.Budget(monthly_usd=200, emails=[EMAIL]),
            tags={"environment": "dev"},
            notebooks=notebooks,
            encryption_key=key,
            studio_domain_id=studio_domain_id,
        )


@functools.cache
def built() -> tuple[Template, Template]:
    """The templates of the stack, and of the foundation whose key it uses."""
    app = cdk.App(context=flags(), analytics_reporting=False)
    here = cdk.Environment(account=ACCOUNT, region=REGION)
    foundation = cdk.Stack(app, NAMES.foundation_stack, env=here)
    stack = CostStack(app, key=kms.Key(foundation, "Key", enable_key_rotation=True), env=here)
    return Template.from_stack(stack), Template.from_stack(foundation)


def resources(kind: str, prefix: str = "") -> dict[str, dict[str, Any]]:
    """The properties of all resources of a type whose construct's path begins so, by logical id."""
    found = built()[0].find_resources(kind)
    return {name: each["Properties"] for name, each in found.items() if name.startswith(prefix)}


def statements(prefix: str) -> list[dict[str, Any]]:
    """What the roles may that belong to a construct."""
    policies = resources("AWS::IAM::Policy", prefix).values()
    return [statement for policy in policies for statement in policy["PolicyDocument"]["Statement"]]
