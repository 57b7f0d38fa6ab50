"""What an endpoint is made of: one config for each state that it can be in."""

from __future__ import annotations

from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sagemaker as sagemaker

from constructs import Construct
from sagestack import settings
from sagestack.asynchronous_answers import AsynchronousAnswers
from sagestack.data_capture import data_capture_config, grant_capture
from sagestack.network import vpc_config
from sagestack.production_variants import ModelName, production_variants, shadow_variants, takes_volume_key


def endpoint_config(
    scope: Construct,
    id: str,
    *,
    hosting: settings.Hosting,
    model_name: ModelName,
    names: settings.ModelNames,
    serving: settings.Serving,
    role: iam.IRole,
    artifacts: s3.IBucket,
    encryption_key: kms.IKey,
    network: settings.Network | None,
    answers: AsynchronousAnswers | None,
) -> sagemaker.CfnEndpointConfig:
    """The config for a kind of endpoint, with what it captures; and what the role needs for that.

    It has no name: it cannot change in place, and CloudFormation can only make the new one before it deletes the old if
    their names differ.

    Args:
        scope: the endpoint.
        id: of the config.
        hosting: the kind of endpoint and its size.
        model_name: gives the model of a variant.
        names: the prefix of what is captured.
        serving: what the model reads and writes.
        role: what SageMaker acts as.
        artifacts: the bucket of what is captured.
        encryption_key: of the disks where they take one, and of what is captured.
        network: where SageMaker puts network interfaces.
        answers: of an asynchronous endpoint, else None.
    """
    capture = hosting.data_capture if isinstance(hosting, settings.RealTime | settings.Asynchronous) else None
    if capture:
        grant_capture(role, artifacts, names.captured_prefix)
    # Where components share the instances, role and network are of the instances, and not of a model alone.
    is_shared = isinstance(hosting, settings.InferenceComponents)
    vpc = vpc_config(network) if is_shared else None
    config = sagemaker.CfnEndpointConfig(
        scope,
        id,
        production_variants=production_variants(hosting, model_name),
        shadow_production_variants=shadow_variants(hosting, model_name),
        async_inference_config=answers.config(hosting.max_concurrent_invocations_per_instance)
        if answers and isinstance(hosting, settings.Asynchronous)
        else None,
        data_capture_config=data_capture_config(
            capture, serving=serving, bucket=artifacts, prefix=names.captured_prefix, encryption_key=encryption_key
        )
        if capture
        else None,
        kms_key_id=encryption_key.key_arn if takes_volume_key(hosting) else None,
        execution_role_arn=role.role_arn if is_shared else None,
        enable_network_isolation=True if is_shared else None,
        vpc_config=sagemaker.CfnEndpointConfig.VpcConfigProperty(
            subnets=vpc["Subnets"], security_group_ids=vpc["SecurityGroupIds"]
        )
        if vpc
        else None,
    )
    # The role's ARN alone would let SageMaker look before the policies that permit it exist.
    config.node.add_dependency(role)
    return config
