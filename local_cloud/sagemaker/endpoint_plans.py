"""What a deployment works from: everything that the endpoint's configuration and models said when it was asked for.

The plan is kept with the endpoint, so that an endpoint outlives its configuration and its models, as on AWS, and comes back
after a restart of the local cloud.
"""

from __future__ import annotations

from local_cloud.platform import Caller
from local_cloud.sagemaker import models, serving_containers
from local_cloud.sagemaker.service import Request, Sagemaker
from local_cloud.sagemaker.serving_containers import SERIAL, ServingContainer
from local_cloud.sagemaker.store import Document


def plan_of(service: Sagemaker, caller: Caller, config: Document) -> Document:
    """Everything that is needed to serve an endpoint configuration, looked up now.

    Raises:
        ValidationError: a model is not there any more.
    """
    return {
        "EndpointConfigName": config["EndpointConfigName"],
        "DataCaptureConfig": config.get("DataCaptureConfig"),
        "Variants": [_planned(service, caller, config, variant) for variant in config["ProductionVariants"]],
    }


def _planned(service: Sagemaker, caller: Caller, config: Document, variant: Document) -> Document:
    model = models.find(service, caller, variant["ModelName"])
    return {
        "VariantName": variant["VariantName"],
        "Containers": [container.document for container in models.containers_of(model)],
        "InferenceExecutionMode": serving_containers.mode_of(model),
        "ExecutionRoleArn": model["ExecutionRoleArn"],
        "NetworkIsolation": bool(model.get("EnableNetworkIsolation") or config.get("EnableNetworkIsolation")),
        "DesiredInstanceCount": variant["InitialInstanceCount"],
        "DesiredWeight": float(variant["InitialVariantWeight"]),
        "RoutingConfig": variant.get("RoutingConfig"),
        "HealthCheckTimeout": variant.get("ContainerStartupHealthCheckTimeoutInSeconds"),
        "DeployedImages": [],
    }


def containers_of(planned: Document) -> tuple[list[ServingContainer], str]:
    """The containers of a planned variant, and how requests reach them."""
    if "Containers" not in planned:
        # Kept by an earlier version of the local cloud, which had one container.
        data = planned["ModelData"]
        container = {"image": planned["Image"], "model_data": data, "environment": planned["Environment"]}
        return [ServingContainer.of(container)], SERIAL
    return [ServingContainer.of(container) for container in planned["Containers"]], planned["InferenceExecutionMode"]


def retained(plan: Document, deployed: Document, request: Request) -> Document:
    """The plan with the counts and weights that variants of the same name have now (RetainAllVariantProperties)."""
    excluded = {item["VariantPropertyType"] for item in request.get("ExcludeRetainedVariantProperties", [])}
    now = {variant["VariantName"]: variant for variant in deployed["Variants"]}
    for variant in plan["Variants"]:
        for member in ("DesiredInstanceCount", "DesiredWeight"):
            if variant["VariantName"] in now and member not in excluded:
                variant[member] = now[variant["VariantName"]][member]
    return plan
