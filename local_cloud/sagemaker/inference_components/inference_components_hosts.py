"""The endpoints that inference components run on: variants without a model, whose instances hold copies of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from local_cloud.platform import Caller
from local_cloud.sagemaker.capture.data_capture import CaptureSettings
from local_cloud.sagemaker.errors import NotEmulated, ValidationError
from local_cloud.sagemaker.hosting.serving_containers import SERIAL
from local_cloud.sagemaker.inference_components.inference_components_instances import Resources, resources_of
from local_cloud.sagemaker.inference_components.inference_components_placement import instances_for
from local_cloud.sagemaker.service import Request, Sagemaker
from local_cloud.sagemaker.store import Document

ENDPOINT = "endpoint"
"""The kind of the endpoints' documents."""
_NEEDS_A_MODEL = (
    "ServerlessConfig",
    "ContainerStartupHealthCheckTimeoutInSeconds",
    "ModelDataDownloadTimeoutInSeconds",
)


def check_config(service: Sagemaker, caller: Caller, request: Request) -> None:
    """Check a CreateEndpointConfig request whose variants may host inference components.

    Raises:
        ValidationError: a part of it does not go with the others.
        NotEmulated: it is for something that the local cloud does not have.
        AccessDenied: the caller may not pass the role.
    """
    variants = request["ProductionVariants"]
    hosts = [variant["VariantName"] for variant in variants if not variant.get("ModelName")]
    role_arn = request.get("ExecutionRoleArn")
    if not hosts:
        if role_arn:
            raise NotEmulated(
                "The local cloud does not emulate ExecutionRoleArn of CreateEndpointConfig where the variants have models: "
                "their own roles count."
            )
        for variant in variants:
            if variant.get("ManagedInstanceScaling"):
                raise ValidationError(
                    "ManagedInstanceScaling is only supported for inference component endpoints. Variant "
                    f"{variant['VariantName']} has a ModelName."
                )
        return
    if len(hosts) < len(variants):
        raise ValidationError(
            f"Either all production variants have a ModelName or none has: {', '.join(hosts)} has none, for inference "
            "components."
        )
    if not role_arn:
        raise ValidationError(
            f"ExecutionRoleArn is required for an endpoint configuration that hosts inference components (variant {hosts[0]} "
            "has no ModelName)."
        )
    refused = {
        "AsyncInferenceConfig": request.get("AsyncInferenceConfig"),
        "DataCaptureConfig": CaptureSettings.of(request.get("DataCaptureConfig")),
    }
    for member, given in refused.items():
        if given:
            raise NotEmulated(f"The local cloud does not emulate {member} on endpoints with inference components.")
    service.check_pass_role(caller, role_arn)
    for variant in variants:
        _check_variant(variant)


def _check_variant(variant: Mapping[str, Any]) -> None:
    where = f"production variant {variant['VariantName']}"
    for member in ("InstanceType", "InitialInstanceCount"):
        if not variant.get(member):
            raise ValidationError(f"{member} is required for {where}.")
    for member in _NEEDS_A_MODEL:
        if variant.get(member):
            raise ValidationError(f"{member} of {where} needs a ModelName; an inference component has its own.")
    resources_of(variant["InstanceType"])
    scaling = variant.get("ManagedInstanceScaling") or {}
    if scaling.get("ScaleInPolicy"):
        raise NotEmulated(
            f"The local cloud does not emulate ScaleInPolicy of ManagedInstanceScaling of {where}: instances without a copy "
            "go at once."
        )
    if is_managed(variant):
        least, most = scaling.get("MinInstanceCount", 0), scaling.get("MaxInstanceCount")
        first = variant["InitialInstanceCount"]
        if most is not None and not least <= first <= most:
            raise ValidationError(
                f"InitialInstanceCount of {where} must be from MinInstanceCount {least} to MaxInstanceCount {most}, got "
                f"{first}."
            )


def planned(config: Document, variant: Document) -> Document:
    """A variant without a model, as plans keep it."""
    return {
        "VariantName": variant["VariantName"],
        "Containers": [],
        "InferenceExecutionMode": SERIAL,
        "ExecutionRoleArn": config["ExecutionRoleArn"],
        "NetworkIsolation": bool(config.get("EnableNetworkIsolation")),
        "DesiredInstanceCount": variant["InitialInstanceCount"],
        "DesiredWeight": float(variant["InitialVariantWeight"]),
        "RoutingConfig": variant.get("RoutingConfig"),
        "HealthCheckTimeout": None,
        "DeployedImages": [],
        "InstanceType": variant["InstanceType"],
        "ManagedInstanceScaling": variant.get("ManagedInstanceScaling"),
    }


def check_room(endpoint: Document, plan: Document, components: Sequence[Document]) -> None:
    """Check that a plan has room for the inference components of an endpoint, and give it the instances they need.

    Raises:
        ValidationError: a variant with components would be gone or would have a model, or its instances are too few.
    """
    wanted = {variant["VariantName"]: variant for variant in plan["Variants"]}
    for name in {component["VariantName"] for component in components}:
        mine = [component for component in components if component["VariantName"] == name]
        where = f"variant {name} of endpoint {endpoint['EndpointArn']}"
        names = ", ".join(component["InferenceComponentName"] for component in mine)
        variant = wanted.get(name)
        if variant is None or variant.get("Containers", True):
            raise ValidationError(
                f"Inference components run on {where}: {names}. Delete them first, or keep the variant."
            )
        needs = [
            Resources(**(component["Deployed"] or component["Pending"]["Target"])["Need"])
            for component in mine
            for _ in range(component["CopyCount"])
        ]
        count = instances_for(needs, resources_of(variant["InstanceType"]))
        limit = most(variant)
        if count is None or count > limit:
            raise ValidationError(
                f"The inference components on {where} ({names}) need {count or 'larger'} instances of "
                f"{variant['InstanceType']}; it would have {limit}."
            )
        variant["DesiredInstanceCount"] = max(variant["DesiredInstanceCount"], count)


def most(variant: Mapping[str, Any]) -> int:
    """How many instances a planned variant may have: as many as it has, or as its managed scaling allows."""
    now = int(variant["DesiredInstanceCount"])
    if not is_managed(variant):
        return now
    return max(now, int(variant["ManagedInstanceScaling"].get("MaxInstanceCount") or now))


def is_managed(variant: Mapping[str, Any]) -> bool:
    """Whether there are as many instances as the copies need (ManagedInstanceScaling)."""
    scaling = variant.get("ManagedInstanceScaling") or {}
    return bool(scaling) and scaling.get("Status", "ENABLED") == "ENABLED"
