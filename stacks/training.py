"""How one model comes to be."""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_ssm as ssm
from sagestack.deployable_versions import OwnVersions
from sagestack.model_image import ModelImage
from sagestack.model_registry import ModelRegistry
from sagestack.settings import Environment, EnvironmentNames, Model
from sagestack.training_pipeline import TrainingPipeline
from sagestack.version_pin import VersionPin

from constructs import Construct
from stacks.foundation import FoundationStack


class TrainingStack(cdk.Stack):
    """The image, the registry and the pipeline of one model."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        model: Model,
        foundation: FoundationStack,
        **kwargs: Any,
    ) -> None:
        super().__init__(scope, id, **kwargs)
        names = EnvironmentNames(environment.name).model(model.name)

        settings = environment.models[model.name]
        self.image = ModelImage.of(self, "Image", model=model, model_image=environment.model_image)
        self.serving_image = self.image.on(settings.endpoint.architecture)
        self.registry = ModelRegistry(
            self,
            "Registry",
            model_package_group_name=names.model_package_group,
            removal_policy=cdk.RemovalPolicy[environment.removal_policy.upper()],
        )
        self.pipeline = TrainingPipeline(
            self,
            "Pipeline",
            pipeline_name=names.pipeline,
            model=model,
            size=settings.pipeline,
            image=self.image,
            serving_image=self.serving_image,
            registry=self.registry,
            data=foundation.data,
            input_prefix=names.input_prefix,
            artifacts=foundation.artifacts,
            output_prefix=names.output_prefix,
            encryption_key=foundation.key,
            network=environment.network,
        )
        self.versions = OwnVersions(self.registry, self.pipeline, self.serving_image)
        for account in settings.deployable_from:
            self.pipeline.grant_deploy_from(account)
        if environment.git is not None:
            VersionPin(
                self,
                "VersionPin",
                environment=environment,
                model=model,
                git=environment.git,
                registry=self.registry,
                encryption_key=foundation.key,
            )
        ssm.StringParameter(
            self,
            "PipelineNameParameter",
            parameter_name=names.pipeline_name_parameter,
            string_value=self.pipeline.pipeline_name,
        )
        ssm.StringParameter(
            self,
            "ImageUriParameter",
            parameter_name=names.image_uri_parameter,
            string_value=self.image.image_uri,
        )
        ssm.StringParameter(
            self,
            "ModelPackageGroupNameParameter",
            parameter_name=names.model_package_group_name_parameter,
            string_value=self.registry.model_package_group_name,
        )
