"""What an asynchronous endpoint may be: AsyncInferenceConfig, and what SageMaker does not have beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local_cloud.platform import Caller, RoleRefused
from local_cloud.sagemaker.errors import NotEmulated, ValidationError
from local_cloud.sagemaker.hosting import models
from local_cloud.sagemaker.hosting.serving_containers import DIRECT, mode_of
from local_cloud.sagemaker.request_checks import check_s3
from local_cloud.sagemaker.service import Sagemaker
from local_cloud.sagemaker.store import Document

DEFAULT_CONCURRENCY = 4
"""MaxConcurrentInvocationsPerInstance where the configuration leaves it to SageMaker, which "chooses an optimal value":
four, as many as the processes of a laptop answer at a time."""
TOPICS = ("SUCCESS_NOTIFICATION_TOPIC", "ERROR_NOTIFICATION_TOPIC")


def check_config(service: Sagemaker, caller: Caller, request: Mapping[str, Any]) -> None:
    """Check the AsyncInferenceConfig of a CreateEndpointConfig request, if it has one.

    Raises:
        ValidationError: an address is malformed, or something excludes it.
        NotEmulated: it has no S3OutputPath.
    """
    config = request.get("AsyncInferenceConfig")
    if not config:
        return
    output = config["OutputConfig"]
    path = "AsyncInferenceConfig.OutputConfig"
    if not output.get("S3OutputPath"):
        raise NotEmulated(f"The local cloud does not emulate asynchronous endpoints without S3OutputPath of {path}.")
    for member in ("S3OutputPath", "S3FailurePath"):
        if output.get(member):
            check_s3(output[member], f"{path}.{member}")
    if request.get("ShadowProductionVariants"):
        raise ValidationError("An asynchronous endpoint has no shadow variants: leave ShadowProductionVariants out.")
    for variant in request["ProductionVariants"]:
        if not variant.get("ModelName"):
            continue
        model = models.find(service, caller, variant["ModelName"])
        where = f"model {variant['ModelName']} of production variant {variant['VariantName']}"
        if any(container.archives for container in models.containers_of(model)):
            # InvokeEndpointAsync has no TargetModel.
            raise ValidationError(f"An asynchronous endpoint cannot be a multi-model endpoint: {where} is one.")
        if mode_of(model) == DIRECT:
            # InvokeEndpointAsync has no TargetContainerHostname.
            raise ValidationError(f"Containers of an asynchronous endpoint cannot be invoked directly: {where}.")


def refusal(service: Sagemaker, caller: Caller, plan: Document) -> str | None:
    """Why the endpoint of a plan fails: its role cannot publish to its topics. None if it can.

    The words are those that users of AWS report (its FailureReason).
    """
    config = plan.get("AsyncInferenceConfig")
    topics = notified(config) if config else {}
    role_arn = role_of(plan)
    for topic in sorted(set(topics.values())):
        try:
            credentials = service.platform.assume_role(role_arn, "SageMaker")
        except RoleRefused as error:
            return str(error)
        try:
            role = Caller(caller.account, caller.region, role_arn, credentials.access_key_id)
            denied = service.platform.denied(role, "sns:Publish", topic, {})
        finally:
            service.platform.forget_session(credentials)
        if denied:
            return (
                f"The provided role {role_arn} is invalid. Please ensure that the role exists, that its trust relationship "
                'policy allows the action "sts:AssumeRole" for the service principal "sagemaker.amazonaws.com", and has '
                f'"sns:Publish" permissions for topic "{topic}". {denied}'
            )
    return None


def check_update(deployed: Document | None, plan: Document, endpoint_arn: str) -> None:
    """Refuse updates between kinds of endpoints.

    Raises:
        ValidationError: to serverless from instances, which SageMaker documents to refuse so.
        NotEmulated: between asynchronous and not.
    """
    if not deployed:
        return
    had, has = (any(variant.get("ServerlessConfig") for variant in each["Variants"]) for each in (deployed, plan))
    if has and not had:
        raise ValidationError(
            f'Cannot update endpoint "{endpoint_arn}" with instances to a serverless one. Make another endpoint.'
        )
    if bool(deployed.get("AsyncInferenceConfig")) != bool(plan.get("AsyncInferenceConfig")):
        raise NotEmulated(
            "The local cloud does not emulate updates between asynchronous endpoints and others; make another endpoint "
            f'beside "{endpoint_arn}".'
        )


def notified(config: Document) -> dict[str, str]:
    """The topics of an AsyncInferenceConfig: SuccessTopic and ErrorTopic, those that there are."""
    notification = config["OutputConfig"].get("NotificationConfig") or {}
    return {member: notification[member] for member in ("SuccessTopic", "ErrorTopic") if notification.get(member)}


def concurrency(config: Document) -> int:
    """How many requests an instance gets at a time."""
    given = (config.get("ClientConfig") or {}).get("MaxConcurrentInvocationsPerInstance")
    return int(given or DEFAULT_CONCURRENCY)


def role_of(plan: Document) -> str:
    """The role with which an endpoint reads inputs, writes outputs and publishes: that of its first variant's model."""
    return str(plan["Variants"][0]["ExecutionRoleArn"])
