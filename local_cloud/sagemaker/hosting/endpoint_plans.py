"""What a deployment works from: everything that the endpoint's configuration and models said when it was asked for.

The plan is kept with the endpoint, so that an endpoint outlives its configuration and its models, as on AWS, and comes back
after a restart of the local cloud.
"""

from __future__ import annotations

from local_cloud.platform import Caller
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.hosting import models, serving_containers
from local_cloud.sagemaker.hosting.serving_containers import SERIAL, ServingContainer
from local_cloud.sagemaker.inference_components import inference_components_hosts
from local_cloud.sagemaker.serverless import serverless_variant
from local_cloud.sagemaker.service import Request, Sagemaker
from local_cloud.sagemaker.store import Document


def plan_of(service: Sagemaker, caller: Caller, config: Document) -> Document:
    """Everything that is needed to serve an endpoint configuration, looked up now.

    Raises:
        ValidationError: a model is not there any more.
    """
    return {
        "EndpointConfigName": config["EndpointConfigName"],
        "DataCaptureConfig": config.get("DataCaptureConfig"),
        "AsyncInferenceConfig": config.get("AsyncInferenceConfig"),
        "Variants": [
            *(_planned(service, caller, config, variant) for variant in config["ProductionVariants"]),
            # Among the others, since it is brought up, sized and ended as they are; only requests do not reach it.
            *(
                {**_planned(service, caller, config, variant), "IsShadow": True}
                for variant in config.get("ShadowProductionVariants", [])
            ),
        ],
    }


def _planned(service: Sagemaker, caller: Caller, config: Document, variant: Document) -> Document:
    if not variant.get("ModelName"):
        return inference_components_hosts.planned(config, variant)
    model = models.find(service, caller, variant["ModelName"])
    return {
        "VariantName": variant["VariantName"],
        "InstanceType": variant.get("InstanceType"),
        "Containers": [container.document for container in models.containers_of(model)],
        "InferenceExecutionMode": serving_containers.mode_of(model),
        "ExecutionRoleArn": model["ExecutionRoleArn"],
        "NetworkIsolation": bool(model.get("EnableNetworkIsolation") or config.get("EnableNetworkIsolation")),
        # A serverless variant has no instances, and none are told of it.
        "DesiredInstanceCount": variant.get("InitialInstanceCount", 0),
        "ServerlessConfig": variant.get("ServerlessConfig"),
        "DesiredWeight": float(variant["InitialVariantWeight"]),
        "RoutingConfig": variant.get("RoutingConfig"),
        "HealthCheckTimeout": (
            serverless_variant.HEALTH_CHECK_TIMEOUT_S
            if variant.get("ServerlessConfig")
            else variant.get("ContainerStartupHealthCheckTimeoutInSeconds")
        ),
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
            if member == "DesiredInstanceCount" and (
                variant.get("ServerlessConfig") or now.get(variant["VariantName"], {}).get("ServerlessConfig")
            ):
                # A serverless variant has no instances whose count could be kept.
                continue
            if variant["VariantName"] in now and member not in excluded:
                variant[member] = now[variant["VariantName"]][member]
    return plan


def refuse_no_weight(where: str, plan: Document) -> None:
    """Refuse production variants that are to get no traffic at all.

    Raises:
        ValidationError: all their weights are zero; each one's part of the traffic is its weight by the sum of all.
    """
    production = [variant for variant in plan["Variants"] if not variant.get("IsShadow")]
    if production and not any(variant["DesiredWeight"] for variant in production):
        names = ", ".join(variant["VariantName"] for variant in production)
        raise ValidationError(
            f"All variants of {where} have the weight 0 ({names}): give one of them a weight above 0."
        )
