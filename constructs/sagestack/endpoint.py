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
"""The one variant. A name that never changes: metrics, alarms and scaling targets are bound to it."""


class Endpoint(cdk.Resource):
    """Serves one version from the model registry, in real time.

    Takes the model package rather than an image and an artefact, so that what runs is always something the
    registry approved. Nothing here has a name of ours: a model and an endpoint config cannot change in place,
    and CloudFormation can only create the new ones before deleting the old, and move the endpoint in between,
    if their names differ.

    Attributes:
        endpoint_name: what InvokeEndpoint is asked with; a token until deployment.
        endpoint_arn: the same as an ARN.
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
        """Makes model, config and endpoint, and gives the role what SageMaker needs to run them.

        Args:
            model_package_arn: a version of the registry, of this account, that is approved: CreateModel refuses others.
            role: what SageMaker acts as. Besides what it is given here it must be able to fetch the image and to read
                the model (`ModelImage.grant_pull`, `TrainingPipeline.grant_read_models`).
            instance_type: one of those that botocore lists for hosting, with an x86 processor, since images are x86.
            encryption_key: for the storage volumes, where the instance type takes a key; instances with disks of their
                own encrypt them in hardware and SageMaker refuses a key:
                https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html
            initial_instance_count: how many instances the variant starts with.
            initial_variant_weight: the variant's share of the requests, relative to the sum of all weights.
            network: where SageMaker puts network interfaces. Default: in no VPC of ours; the container itself has no
                network either way.

        Raises:
            ValueError: an instance type that cannot host, or a count or a weight that cannot serve.
        """
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
        """Lets somebody ask for predictions, of this endpoint alone."""
        return iam.Grant.add_to_principal(
            grantee=grantee, actions=["sagemaker:InvokeEndpoint"], resource_arns=[self.endpoint_arn]
        )

    def metric(self, metric_name: str, *, statistic: str = "Average", **options: Any) -> cloudwatch.Metric:
        """Any metric that SageMaker publishes per endpoint and variant, by its name.

        `options` are those of `cloudwatch.Metric`; its default period is 5 minutes.
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
