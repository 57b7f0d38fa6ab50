"""How changes get from git to the environments, on AWS itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from sagestack.buckets import AccessLogBucket, PrivateBucket
from sagestack.delivery_pipeline import DeliveryPipeline
from sagestack.drift_check import DriftCheck
from sagestack.settings import Environment
from sagestack.settings.delivery import AwsPipeline, Delivery

from constructs import Construct

_KEPT = cdk.Duration.days(90)
"""How long an old source or review can be restored, and who read it is known."""


class DeliveryStack(cdk.Stack):
    """The pipeline, and what it keeps while it runs."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        delivery: Delivery,
        aws_pipeline: AwsPipeline,
        environments: Mapping[str, Environment],
        add_platform: Callable[[cdk.Stage, Environment], None],
        **kwargs: Any,
    ) -> None:
        super().__init__(scope, id, **kwargs)
        key = kms.Key(
            self,
            "Key",
            description="What Sagestack's delivery pipeline stores",
            enable_key_rotation=True,
            removal_policy=cdk.RemovalPolicy.RETAIN,
        )
        key.grant_encrypt_decrypt(iam.ServicePrincipal(f"logs.{self.region}.amazonaws.com"))
        access_logs = AccessLogBucket(self, "AccessLogs", expire_after=_KEPT, removal_policy=cdk.RemovalPolicy.RETAIN)
        log_group = logs.LogGroup(
            self,
            "Logs",
            encryption_key=key,
            retention=logs.RetentionDays.THREE_MONTHS,
            removal_policy=cdk.RemovalPolicy.RETAIN,
        )
        self.delivery = DeliveryPipeline(
            self,
            "Pipeline",
            delivery=delivery,
            aws_pipeline=aws_pipeline,
            artifacts=PrivateBucket(
                self,
                "Artifacts",
                encryption_key=key,
                server_access_logs_bucket=access_logs,
                noncurrent_version_expiration=_KEPT,
                removal_policy=cdk.RemovalPolicy.RETAIN,
            ),
            encryption_key=key,
            log_group=log_group,
        )
        for stage in delivery.stages:
            environment = environments[stage.environment]
            deployment = cdk.Stage(
                self,
                stage.environment,
                env=cdk.Environment(account=environment.account, region=environment.region),
                stage_name=stage.environment,
            )
            add_platform(deployment, environment)
            self.delivery.add_environment(deployment, environment=environment, delivery_stage=stage)
        self.delivery.build()
        if delivery.drift_schedule is not None:
            DriftCheck(
                self,
                "Drift",
                schedule=delivery.drift_schedule,
                repository=delivery.repository,
                aws_pipeline=aws_pipeline,
                environments=[environments[stage.environment] for stage in delivery.stages],
                encryption_key=key,
                log_group=log_group,
            )
