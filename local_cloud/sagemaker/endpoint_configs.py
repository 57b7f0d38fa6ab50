"""Endpoint configurations: which models on how many instances. CreateEndpointConfig, Describe, List, Delete."""

from __future__ import annotations

import time
from typing import Any

from local_cloud.platform import Caller
from local_cloud.sagemaker import events, models, tags
from local_cloud.sagemaker.errors import NotEmulated, ValidationError
from local_cloud.sagemaker.names import arn_of, key_of
from local_cloud.sagemaker.service import Request, Response, Sagemaker, matching, operation, page
from local_cloud.sagemaker.store import Document, Duplicate

KIND = "endpoint-config"

_NOT_EMULATED = (
    "AsyncInferenceConfig",
    "ExplainerConfig",
    "ShadowProductionVariants",
    "ExecutionRoleArn",
    "VpcConfig",
    "MetricsConfig",
    "CrossRegionTrafficConfig",
)
"""Members of CreateEndpointConfig; the last four belong to inference components and to what only a fleet on AWS has."""
_VARIANT_NOT_EMULATED = (
    "ServerlessConfig",
    "InstancePools",
    "AcceleratorType",
    "CoreDumpConfig",
    "EnableSSMAccess",
    "ManagedInstanceScaling",
    "CapacityReservationConfig",
    "AcceleratorPartitionLayouts",
)
_DESCRIBED = ("EndpointConfigName", "ProductionVariants", "DataCaptureConfig", "KmsKeyId", "EnableNetworkIsolation")


@operation("CreateEndpointConfig")
def create_endpoint_config(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """CreateEndpointConfig; what the local cloud cannot do is refused by name here, before an endpoint pretends to do it."""
    name, config_arn = request["EndpointConfigName"], arn_of(caller, KIND, request["EndpointConfigName"])
    for member in _NOT_EMULATED:
        if request.get(member):
            raise NotEmulated(f"The local cloud does not emulate {member} of CreateEndpointConfig.")
    if request.get("DataCaptureConfig", {}).get("EnableCapture"):
        raise NotEmulated(
            "The local cloud does not emulate DataCaptureConfig of CreateEndpointConfig; set EnableCapture to false."
        )
    names = [variant["VariantName"] for variant in request["ProductionVariants"]]
    if duplicates := sorted({variant for variant in names if names.count(variant) > 1}):
        raise ValidationError(
            f"Variant names must be unique in an endpoint configuration; twice: {', '.join(duplicates)}"
        )
    document = {key: request[key] for key in _DESCRIBED if request.get(key) is not None}
    document |= {
        "EndpointConfigArn": config_arn,
        "ProductionVariants": [_variant(service, caller, variant) for variant in request["ProductionVariants"]],
        "CreationTime": time.time(),
    }
    try:
        with service.store.transaction():
            service.store.insert(KIND, caller.account, caller.region, key_of(name), document)
            tags.save(service, caller, config_arn, request.get("Tags"))
    except Duplicate:
        raise ValidationError(f'Cannot create already existing endpoint configuration "{config_arn}".') from None
    _send_event(service, caller, document)
    return {"EndpointConfigArn": config_arn}


@operation("DescribeEndpointConfig")
def describe_endpoint_config(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DescribeEndpointConfig."""
    return find(service, caller, request["EndpointConfigName"])


@operation("ListEndpointConfigs")
def list_endpoint_configs(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """ListEndpointConfigs."""
    configs = service.store.list(KIND, caller.account, caller.region)
    kept = matching(configs, request, name_key="EndpointConfigName")
    members = ("EndpointConfigName", "EndpointConfigArn", "CreationTime")
    return page([{member: config[member] for member in members} for config in kept], request, "EndpointConfigs")


@operation("DeleteEndpointConfig")
def delete_endpoint_config(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DeleteEndpointConfig; one that an endpoint uses can go too, and the endpoint serves on."""
    with service.store.transaction():
        config = find(service, caller, request["EndpointConfigName"])
        service.store.delete(KIND, caller.account, caller.region, key_of(config["EndpointConfigName"]))
        config_tags = tags.current(service, caller, config["EndpointConfigArn"])
        tags.forget(service, caller, config["EndpointConfigArn"])
    _send_event(service, caller, config, config_tags)
    return {}


def find(service: Sagemaker, caller: Caller, name: str) -> Document:
    """The endpoint configuration of that name.

    Raises:
        ValidationError: there is none.
    """
    config = service.store.get(KIND, caller.account, caller.region, key_of(name))
    if config is None:
        raise ValidationError(f'Could not find endpoint configuration "{arn_of(caller, KIND, name)}".')
    return config


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
        raise NotEmulated(f"The local cloud does not emulate inference components: {where} has no ModelName.")
    for member in ("InstanceType", "InitialInstanceCount"):
        if not variant.get(member):
            raise ValidationError(f"{member} is required for {where}.")
    models.find(service, caller, variant["ModelName"])
    # ProductionVariant in the API reference: a weight that is not given is 1.0.
    return {"InitialVariantWeight": 1.0, **variant}


def _send_event(service: Sagemaker, caller: Caller, config: Document, kept_tags: dict[str, str] | None = None) -> None:
    """`SageMaker Endpoint Config State Change`, sent when one is created and when it is deleted."""
    config_arn = config["EndpointConfigArn"]
    detail = {
        **config,
        "CreationTime": config["CreationTime"] * 1000,
        "Tags": tags.current(service, caller, config_arn) if kept_tags is None else kept_tags,
    }
    events.send(service, caller.account, caller.region, "SageMaker Endpoint Config State Change", detail, [config_arn])
