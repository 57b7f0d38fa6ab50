"""Versions of a model that an endpoint can serve: this environment's own, or another's, in its account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import aws_cdk as cdk
from aws_cdk import DefaultStackSynthesizer
from aws_cdk import aws_iam as iam

from constructs import Construct
from sagestack import settings
from sagestack.model_image import ModelImage
from sagestack.model_registry import ModelRegistry
from sagestack.training_definition import EVALUATE, TRAIN
from sagestack.training_pipeline import TrainingPipeline


class DeployableVersions(Protocol):
    """A registry, and what it takes to deploy from it."""

    def model_package_arn(self, version: int) -> str:
        """The ARN of one version."""

    def grant_deploy(self, role: iam.IRole) -> None:
        """Lets an endpoint's role fetch a version's model and image."""

    def grant_read_golden_records(self, grantee: iam.IGrantable) -> None:
        """Lets somebody read the golden records of the versions."""


@dataclass(frozen=True)
class OwnVersions:
    """The versions that this environment's own pipeline registered."""

    registry: ModelRegistry
    pipeline: TrainingPipeline
    serving_image: ModelImage

    def model_package_arn(self, version: int) -> str:
        """See DeployableVersions."""
        return self.registry.model_package_arn(version)

    def grant_deploy(self, role: iam.IRole) -> None:
        """See DeployableVersions."""
        self.serving_image.grant_pull(role)
        self.pipeline.grant_read_models(role)

    def grant_read_golden_records(self, grantee: iam.IGrantable) -> None:
        """See DeployableVersions."""
        self.pipeline.grant_read_evaluations(grantee)


class SharedVersions:
    """Another environment's registry, seen from an account that it has let in (`TrainingPipeline.grant_deploy_from`).

    Nothing is looked up: names that CloudFormation generated over there are not known here, so permissions name the account and
    the keys instead of the bucket, and that account's policies name this one.
    """

    def __init__(self, scope: Construct, *, source: settings.Environment, model_name: str) -> None:
        """Takes where the versions are.

        Args:
            scope: whose partition is meant.
            source: the environment that trains and approves.
            model_name: whose versions.
        """
        self._partition = cdk.Stack.of(scope).partition
        self._source = source
        names = settings.EnvironmentNames(source.name).model(model_name)
        self._group, self._prefix = names.model_package_group, names.output_prefix

    def model_package_arn(self, version: int) -> str:
        """The ARN of one version."""
        return self._arn("sagemaker", f"model-package/{self._group}/{version}")

    def grant_deploy(self, role: iam.IRole) -> None:
        """Lets a role fetch a version's model and image."""
        self._grant_read(role, TRAIN)
        account, region = self._source.account, self._source.region
        if self._source.model_image == "build-context":
            # In the local cloud images are what they are built from, among the files that the CDK publishes.
            bucket = f"cdk-{DefaultStackSynthesizer.DEFAULT_QUALIFIER}-assets-{account}-{region}"
            role.add_to_principal_policy(
                iam.PolicyStatement(actions=["s3:GetObject"], resources=[f"arn:{self._partition}:s3:::{bucket}/*"])
            )
            return
        repository = f"cdk-{DefaultStackSynthesizer.DEFAULT_QUALIFIER}-container-assets-{account}-{region}"
        role.add_to_principal_policy(
            iam.PolicyStatement(
                actions=["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                resources=[self._arn("ecr", f"repository/{repository}")],
            )
        )
        role.add_to_principal_policy(iam.PolicyStatement(actions=["ecr:GetAuthorizationToken"], resources=["*"]))

    def grant_read_golden_records(self, grantee: iam.IGrantable) -> None:
        """Lets somebody read the golden records of the versions."""
        self._grant_read(grantee, EVALUATE)

    def _grant_read(self, grantee: iam.IGrantable, folder: str) -> None:
        """Reading of what one step left, in every run, wherever that account keeps it."""
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["s3:GetObject"],
            resource_arns=[f"arn:{self._partition}:s3:::*/{self._prefix}*/{folder}/*"],
            conditions={"StringEquals": {"aws:ResourceAccount": self._source.account}},
        )
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["kms:Decrypt", "kms:DescribeKey"],
            resource_arns=[self._arn("kms", "key/*")],
            conditions={"StringEquals": {"kms:ViaService": f"s3.{self._source.region}.amazonaws.com"}},
        )

    def _arn(self, service: str, resource: str) -> str:
        return f"arn:{self._partition}:{service}:{self._source.region}:{self._source.account}:{resource}"
