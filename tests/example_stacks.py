"""The stacks that the example notebooks need: foundation, training, serving, and a notebook's role without its instance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_ssm as ssm
from sagestack.settings import Environment, EnvironmentNames, Model, load_environment, load_models
from sagestack.settings.workbench.notebook import Grants
from sagestack.workbench.notebook_role import GrantedModel, NotebookRole

from stacks import FoundationStack, ServingStack, TrainingStack
from tests.stack_deployer import synthesizer
from tests.synthesis import flags

NAMES = EnvironmentNames("local")
HOUSING = NAMES.model("housing")
NOTEBOOK = "explore"
ROLE_STACK = "notebook-role"
ENDPOINT: dict[str, Any] = {
    "kind": "real-time",
    "instance_type": "ml.m5.large",
    "initial_instance_count": 1,
    "update": {"kind": "all-at-once"},
}


class RoleStack(cdk.Stack):
    """A notebook's role as the workbench makes it, without the instance: notebooks are run here, not there."""

    def __init__(
        self, app: cdk.App, *, foundation: FoundationStack, training: TrainingStack, grants: Grants, **kwargs: Any
    ) -> None:
        super().__init__(app, ROLE_STACK, **kwargs)
        role = NotebookRole(
            self,
            "Role",
            name=NOTEBOOK,
            names=NAMES,
            grants=grants,
            models={
                "housing": GrantedModel(
                    "housing", pipeline=training.pipeline, registry=training.registry, image=training.image
                )
            },
            data=foundation.data,
            artifacts=foundation.artifacts,
            encryption_key=foundation.key,
        )
        ssm.StringParameter(
            self,
            "RoleParameter",
            parameter_name=NAMES.notebook_role_parameter(NOTEBOOK),
            string_value=role.role_arn,
        )


def synthesize(project: Path, outdir: Path, endpoint: dict[str, Any]) -> None:
    """All stacks in one synth, which takes seconds.

    Args:
        project: a copy, in which no version is pinned.
        outdir: where templates and assets go.
        endpoint: how the model is served, as `environments/*.yaml` says it.
    """
    app = cdk.App(context=flags(), outdir=str(outdir), analytics_reporting=False)
    _add_stacks(app, _environment_of(project, endpoint), load_models(project)["housing"])
    app.synth()


def _environment_of(project: Path, endpoint: dict[str, Any]) -> Environment:
    """The laptop's, with the version in service that the first run makes."""
    environment = load_environment("local", project)
    housing = type(environment.models["housing"]).model_validate(
        {**environment.models["housing"].model_dump(), "served_version": 1, "endpoint": endpoint}
    )
    return environment.model_copy(update={"models": {"housing": housing}})


def _add_stacks(app: cdk.App, environment: Environment, model: Model) -> None:
    common: dict[str, Any] = {
        "env": cdk.Environment(account=environment.account, region=environment.region),
    }
    foundation = FoundationStack(
        app, NAMES.foundation_stack, environment=environment, synthesizer=synthesizer(), **common
    )
    training = TrainingStack(
        app,
        HOUSING.training_stack,
        environment=environment,
        model=model,
        foundation=foundation,
        synthesizer=synthesizer(),
        **common,
    )
    RoleStack(
        app,
        foundation=foundation,
        training=training,
        grants=Grants(models=["housing"], jobs=True),
        synthesizer=synthesizer(),
        **common,
    )
    ServingStack(
        app,
        HOUSING.serving_stack,
        environment=environment,
        model=model,
        foundation=foundation,
        training={"housing": training},
        sources={},
        synthesizer=synthesizer(),
        **common,
    )
