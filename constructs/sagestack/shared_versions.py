"""The versions of a model that another environment registered, in its account."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import DefaultStackSynthesizer
from aws_cdk import aws_iam as iam

from constructs import Construct
from sagestack import settings
from sagestack.training_definition import EVALUATE, TRAIN


class SharedVersions:
    """Another environment's registry, seen from an account that it has let in (`TrainingPipeline.grant_deploy_from`).

    Nothing is looked up: names that CloudFormation generated over there are not known here, so permissions name the account and
    the keys instead of the bucket, and that account's policies name this one.
    """

    def __init__(self, scope: Construct, *, source: settings.Environment, model: settings.Model) -> None:
        """Takes where the versions are.

        Args:
            scope: whose partition is meant.
            source: the environment that trains and approves.
            model: whose versions.
        """
        self._partition = cdk.Stack.of(scope).partition
        self._source = source
        names = settings.EnvironmentNames(source.name).model(model.name)
        self._group, self._prefix = names.model_package_group, names.output_prefix

    def model_package_arn(self, version: int) -> str:
        """The ARN of one version."""
        return self._arn("sagemaker", f"model-package/{self._group}/{version}")

    def grant_deploy(self, role: iam.IRole) -> None:
        """Lets a role fetch a version's model, golden records and image."""
        there = {"StringEquals": {"aws:ResourceAccount": self._source.account}}
        role.add_to_principal_policy(
            iam.PolicyStatement(
                actions=["s3:GetObject"],
                resources=[f"arn:{self._partition}:s3:::*/{self._prefix}*/{folder}/*" for folder in (TRAIN, EVALUATE)],
                conditions=there,
            )
        )
        role.add_to_principal_policy(
            iam.PolicyStatement(
                actions=["kms:Decrypt", "kms:DescribeKey"],
                resources=[self._arn("kms", "key/*")],
                conditions={"StringEquals": {"kms:ViaService": f"s3.{self._source.region}.amazonaws.com"}},
            )
        )
        account, region = self._source.account, self._source.region
        repository = f"cdk-{DefaultStackSynthesizer.DEFAULT_QUALIFIER}-container-assets-{account}-{region}"
        role.add_to_principal_policy(
            iam.PolicyStatement(
                actions=["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                resources=[self._arn("ecr", f"repository/{repository}")],
            )
        )
        role.add_to_principal_policy(iam.PolicyStatement(actions=["ecr:GetAuthorizationToken"], resources=["*"]))

    def _arn(self, service: str, resource: str) -> str:
        return f"arn:{self._partition}:{service}:{self._source.region}:{self._source.account}:{resource}"
