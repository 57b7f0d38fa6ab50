"""Serves an approved version of a model over HTTPS."""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sagemaker as sagemaker

from constructs import Construct
from sagestack import settings
from sagestack.network import grant_network_interfaces, vpc_config
from sagestack.roles import grant_instance_metrics, grant_logs, grant_volume_encryption

VARIANT_NAME = "AllTraffic"


class Endpoint(cdk.Resource):
    """Serves one version from the model registry, in real time.

    Takes the model package rather than an image and an artefact, so that what runs is always something the
    registry approved. Nothing here has a name of ours: a model and an endpoint config cannot change in place,
    and CloudFormation can only create the new ones before deleting the old, and move the endpoint in between,
    if their names differ.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        model_package_arn: str,
        role: iam.IRole,
        instance_type: str,
        encryption_key: kms.IKey,
        initial_instance_count: int = 1,  # the least that serves
        initial_variant_weight: float = 1.0,  # relative to other variants, of which there are none
        network: settings.Network | None = None,
    ) -> None:
        """Raises `ValueError` for an instance type that cannot host, and for a count or a weight that cannot serve."""
        super().__init__(scope, id)
        settings.check_instance_type(instance_type, "hosting")
        if initial_instance_count < 1:
            raise ValueError(f"initial_instance_count must be at least 1, got {initial_instance_count}")
        if initial_variant_weight <= 0:
            raise ValueError(f"initial_variant_weight must be more than 0, got {initial_variant_weight}")

        grant_logs(role, "/aws/sagemaker/Endpoints/*")
        grant_instance_metrics(role)
        grant_network_interfaces(role, network)
        takes_volume_key = settings.takes_volume_key(instance_type)
        if takes_volume_key:
            grant_volume_encryption(role, encryption_key)

        vpc = vpc_config(network)
        model = sagemaker.CfnModel(
            self,
            "Model",
            execution_role_arn=role.role_arn,
            primary_container=sagemaker.CfnModel.ContainerDefinitionProperty(model_package_name=model_package_arn),
            # The container has all that it needs; a dependency that phones home cannot.
            enable_network_isolation=True,
            vpc_config=sagemaker.CfnModel.VpcConfigProperty(
                subnets=vpc["Subnets"], security_group_ids=vpc["SecurityGroupIds"]
            )
            if vpc
            else None,
        )
        # The role's ARN alone would let SageMaker read the artefact before the policy that permits it exists.
        model.node.add_dependency(role)

        config = sagemaker.CfnEndpointConfig(
            self,
            "Config",
            production_variants=[
                sagemaker.CfnEndpointConfig.ProductionVariantProperty(
                    variant_name=VARIANT_NAME,
                    model_name=model.attr_model_name,
                    instance_type=instance_type,
                    initial_instance_count=initial_instance_count,
                    initial_variant_weight=initial_variant_weight,
                )
            ],
            # SageMaker refuses a key where the instance has disks of its own, which its hardware encrypts.
            kms_key_id=encryption_key.key_arn if takes_volume_key else None,
        )
        endpoint = sagemaker.CfnEndpoint(self, "Resource", endpoint_config_name=config.attr_endpoint_config_name)
        self.endpoint_arn = endpoint.ref
        self.endpoint_name = endpoint.attr_endpoint_name

    def grant_invoke(self, grantee: iam.IGrantable) -> iam.Grant:
        """Lets somebody ask for predictions."""
        return iam.Grant.add_to_principal(
            grantee=grantee, actions=["sagemaker:InvokeEndpoint"], resource_arns=[self.endpoint_arn]
        )

    def metric(self, metric_name: str, *, statistic: str = "Average", **options: Any) -> cloudwatch.Metric:
        """Any metric that SageMaker publishes per endpoint and variant.

        https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
        """
        return cloudwatch.Metric(
            namespace="AWS/SageMaker",
            metric_name=metric_name,
            dimensions_map={"EndpointName": self.endpoint_name, "VariantName": VARIANT_NAME},
            statistic=statistic,
            **options,
        )

    def metric_invocations(self, *, statistic: str = "Sum", **options: Any) -> cloudwatch.Metric:
        """How many requests there were. Unit: count."""
        return self.metric("Invocations", statistic=statistic, **options)

    def metric_invocation_4xx_errors(self, *, statistic: str = "Sum", **options: Any) -> cloudwatch.Metric:
        """How many requests were the caller's mistake. Unit: count; the average is a rate."""
        return self.metric("Invocation4XXErrors", statistic=statistic, **options)

    def metric_invocation_5xx_errors(self, *, statistic: str = "Sum", **options: Any) -> cloudwatch.Metric:
        """How many requests were the model's or the service's failure. Unit: count; the average is a rate."""
        return self.metric("Invocation5XXErrors", statistic=statistic, **options)

    def metric_model_latency(self, *, statistic: str = "p99", **options: Any) -> cloudwatch.Metric:
        """How long the container took. Unit: microseconds."""
        return self.metric("ModelLatency", statistic=statistic, **options)

    def metric_overhead_latency(self, *, statistic: str = "p99", **options: Any) -> cloudwatch.Metric:
        """How long SageMaker took on top of the container. Unit: microseconds."""
        return self.metric("OverheadLatency", statistic=statistic, **options)
