"""How one model answers."""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_ssm as ssm
from sagestack.endpoint import Endpoint
from sagestack.roles import SageMakerRole
from sagestack.settings import Environment, EnvironmentNames, Model

from constructs import Construct
from stacks.foundation import FoundationStack
from stacks.training import TrainingStack


class ServingStack(cdk.Stack):
    """The endpoint that serves the pinned version of one model."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        model: Model,
        served_version: int,
        foundation: FoundationStack,
        training: TrainingStack,
        **kwargs: Any,
    ) -> None:
        super().__init__(scope, id, **kwargs)
        names = EnvironmentNames(environment.name).model(model.name)
        size = environment.models[model.name].endpoint

        role = SageMakerRole(self, "EndpointRole", description=f"What the endpoint of {model.name} may do")
        training.serving_image.grant_pull(role)
        training.pipeline.grant_read_models(role)

        self.endpoint = Endpoint(
            self,
            "Endpoint",
            model_package_arn=training.registry.model_package_arn(served_version),
            role=role,
            instance_type=size.instance_type,
            initial_instance_count=size.initial_instance_count,
            encryption_key=foundation.key,
            network=environment.network,
        )
        ssm.StringParameter(
            self,
            "EndpointNameParameter",
            parameter_name=names.endpoint_name_parameter,
            string_value=self.endpoint.endpoint_name,
        )
        # The version is pinned by number, which says nothing to CloudFormation of where it came from.
        self.add_stack_dependency(training)
