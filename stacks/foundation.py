"""What all models of an environment share, and what must outlive them."""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_kms as kms
from aws_cdk import aws_ssm as ssm
from sagestack.buckets import AccessLogBucket, PrivateBucket
from sagestack.settings import Environment, EnvironmentNames, kept_by_endpoint

from constructs import Construct


class FoundationStack(cdk.Stack):
    """The key, and the buckets for data and for what pipelines make of it."""

    def __init__(self, scope: Construct, id: str, *, environment: Environment, **kwargs: Any) -> None:
        super().__init__(scope, id, **kwargs)
        names = EnvironmentNames(environment.name)
        removal_policy = cdk.RemovalPolicy[environment.removal_policy.upper()]

        self.key = kms.Key(
            self,
            "Key",
            description=f"Everything that Sagestack stores in {environment.name}",
            enable_key_rotation=True,
            removal_policy=removal_policy,
        )
        access_logs = AccessLogBucket(
            self,
            "AccessLogs",
            expire_after=cdk.Duration.days(environment.retention.access_log_days),
            removal_policy=removal_policy,
        )
        self.data, self.artifacts = (
            PrivateBucket(
                self,
                bucket,
                encryption_key=self.key,
                server_access_logs_bucket=access_logs,
                noncurrent_version_expiration=cdk.Duration.days(environment.retention.noncurrent_version_days),
                removal_policy=removal_policy,
                expire_after=expire_after,
            )
            for bucket, expire_after in (("Data", None), ("Artifacts", _expiring(environment)))
        )
        ssm.StringParameter(
            self,
            "DataBucketParameter",
            parameter_name=names.data_bucket_parameter,
            string_value=self.data.bucket_name,
        )
        ssm.StringParameter(
            self,
            "ArtifactBucketParameter",
            parameter_name=names.artifact_bucket_parameter,
            string_value=self.artifacts.bucket_name,
        )


def _expiring(environment: Environment) -> dict[str, cdk.Duration]:
    """How long what endpoints keep is kept, by prefix; whether they are served or not, since what was kept is still there."""
    return {
        prefix: cdk.Duration.days(days)
        for name, model in environment.models.items()
        for prefix, days in kept_by_endpoint(model.endpoint, EnvironmentNames(environment.name).model(name)).items()
    }
