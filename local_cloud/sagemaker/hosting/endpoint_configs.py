"""Endpoint configurations: which models on how many instances. CreateEndpointConfig, Describe, List, Delete."""

from __future__ import annotations

from typing import Any

from local_cloud.platform import Caller
from local_cloud.sagemaker.asynchronous import async_configs
from local_cloud.sagemaker.capture import data_capture, shadow_configs
from local_cloud.sagemaker.errors import NotEmulated, ValidationError
from local_cloud.sagemaker.hosting import instance_stores, models
from local_cloud.sagemaker.inference_components import inference_components_hosts
from local_cloud.sagemaker.resources import ResourceKind
from local_cloud.sagemaker.serverless import serverless_configs
from local_cloud.sagemaker.service import Request, Response, Sagemaker, operation
from local_cloud.sagemaker.store import Document

KIND = ResourceKind(
    kind="endpoint-config",
    noun="endpoint configuration",
    prefix="EndpointConfig",
    event="SageMaker Endpoint Config State Change",
)

_NOT_EMULATED = (
    "ExplainerConfig",
    "VpcConfig",
    "MetricsConfig",
    "CrossRegionTrafficConfig",
)
"""Members of CreateEndpointConfig; the last three are of what only a fleet on AWS has."""
_VARIANT_NOT_EMULATED = (
    "InstancePools",
    "AcceleratorType",
    "CoreDumpConfig",
    "EnableSSMAccess",
    "CapacityReservationConfig",
    "AcceleratorPartitionLayouts",
)
_DESCRIBED = (
    "EndpointConfigName",
    "ProductionVariants",
    "DataCaptureConfig",
    "AsyncInferenceConfig",
    "KmsKeyId",
    "EnableNetworkIsolation",
    "ExecutionRoleArn",
)


@operation("CreateEndpointConfig")
def create_endpoint_config(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """CreateEndpointConfig; what the local cloud cannot do is refused by name here, before an endpoint pretends to do it."""
    for member in _NOT_EMULATED:
        if request.get(member):
            raise NotEmulated(f"The local cloud does not emulate {member} of CreateEndpointConfig.")
    instance_stores.check_key(request)
    data_capture.check(request.get("DataCaptureConfig"))
    if serverless_configs.is_serverless(request):
        serverless_configs.check_config(request)
    async_configs.check_config(service, caller, request)
    shadow_configs.check_config(request)
    inference_components_hosts.check_config(service, caller, request)
    shadows = request.get("ShadowProductionVariants") or []
    names = [variant["VariantName"] for variant in (*request["ProductionVariants"], *shadows)]
    if duplicates := sorted({variant for variant in names if names.count(variant) > 1}):
        raise ValidationError(
            f"Variant names must be unique in an endpoint configuration; twice: {', '.join(duplicates)}"
        )
    weights = [variant.get("InitialVariantWeight", 1.0) for variant in request["ProductionVariants"]]
    if not any(weights):
        raise ValidationError(
            f"All production variants have the InitialVariantWeight 0 ({', '.join(names[: len(weights)])}): give one of "
            "them a weight above 0."
        )
    members = {
        **{key: request[key] for key in _DESCRIBED if request.get(key) is not None},
        "ProductionVariants": [_variant(service, caller, variant) for variant in request["ProductionVariants"]],
    }
    if shadows:
        members["ShadowProductionVariants"] = [_variant(service, caller, variant) for variant in shadows]
        for variant in (*request["ProductionVariants"], *shadows):
            model = models.find(service, caller, variant["ModelName"])
            shadow_configs.check_model(variant["VariantName"], models.containers_of(model))
    return KIND.create(service, caller, request, members)


@operation("DescribeEndpointConfig")
def describe_endpoint_config(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DescribeEndpointConfig."""
    return find(service, caller, request["EndpointConfigName"])


@operation("ListEndpointConfigs")
def list_endpoint_configs(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """ListEndpointConfigs."""
    return KIND.list(service, caller, request)


@operation("DeleteEndpointConfig")
def delete_endpoint_config(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DeleteEndpointConfig; one that an endpoint uses can go too, and the endpoint serves on."""
    return KIND.delete(service, caller, request["EndpointConfigName"])


def find(service: Sagemaker, caller: Caller, name: str) -> Document:
    """The endpoint configuration of that name.

    Raises:
        ValidationError: there is none.
    """
    return KIND.find(service, caller, name)


def _variant(service: Sagemaker, caller: Caller, variant: dict[str, Any]) -> Document:
    """A production variant as Describe gives it back."""
    where = f"production variant {variant['VariantName']}"
    for member in _VARIANT_NOT_EMULATED:
        if variant.get(member):
            raise NotEmulated(f"The local cloud does not emulate {member} of {where}.")
    if variant.get("RoutingConfig", {}).get("RoutingStrategy", "RANDOM") not in (
        "RANDOM",
        "LEAST_OUTSTANDING_REQUESTS",
    ):
        strategy = variant["RoutingConfig"]["RoutingStrategy"]
        raise NotEmulated(f"The local cloud does not emulate RoutingStrategy {strategy} of {where}.")
    if not variant.get("ModelName"):
        return {"InitialVariantWeight": 1.0, **variant}
    model = models.find(service, caller, variant["ModelName"])
    if variant.get("ServerlessConfig"):
        serverless_configs.check_variant(variant, model, models.containers_of(model))
        return {"InitialVariantWeight": 1.0, **variant}
    for member in ("InstanceType", "InitialInstanceCount"):
        if not variant.get(member):
            raise ValidationError(f"{member} is required for {where}.")
    # ProductionVariant in the API reference: a weight that is not given is 1.0.
    return {"InitialVariantWeight": 1.0, **variant}
