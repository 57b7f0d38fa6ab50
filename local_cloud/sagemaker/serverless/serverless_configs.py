"""What a serverless variant may be: its numbers, and what SageMaker excludes beside them.

The lists are those of the developer guide: "Deploy models with Amazon SageMaker Serverless Inference" (feature exclusions,
memory sizes, concurrency) and "Create an endpoint configuration".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.hosting.serving_containers import ServingContainer
from local_cloud.sagemaker.store import Document

MEMORY_SIZES_IN_MB = (1024, 2048, 3072, 4096, 5120, 6144)
_FOR_INSTANCES = (
    "InstanceType",
    "InitialInstanceCount",
    "AcceleratorType",
    "CoreDumpConfig",
    "VolumeSizeInGB",
    "ModelDataDownloadTimeoutInSeconds",
    "ContainerStartupHealthCheckTimeoutInSeconds",
    "EnableSSMAccess",
    "ManagedInstanceScaling",
    "RoutingConfig",
    "InferenceAmiVersion",
    "CapacityReservationConfig",
)
"""Members of a production variant that say something about instances, of which a serverless one has none."""
_EXCLUDED = {
    "AsyncInferenceConfig": "asynchronous inference",
    "ShadowProductionVariants": "shadow variants",
    "ExplainerConfig": "explanations",
    "VpcConfig": "a VPC configuration",
    "EnableNetworkIsolation": "network isolation",
}


def is_serverless(request: Mapping[str, Any]) -> bool:
    """Whether a variant of an endpoint configuration is serverless."""
    return any(variant.get("ServerlessConfig") for variant in request["ProductionVariants"])


def check_config(request: Mapping[str, Any]) -> None:
    """Check what a CreateEndpointConfig request with a serverless variant says besides it.

    Raises:
        ValidationError: it wants what serverless endpoints do not have.
    """
    name = request["ProductionVariants"][0]["VariantName"]
    if len(request["ProductionVariants"]) > 1:
        raise ValidationError(
            f"A serverless endpoint has one production variant, got {len(request['ProductionVariants'])}: serverless "
            "inference does not support multiple production variants."
        )
    for member, words in _EXCLUDED.items():
        if request.get(member):
            raise ValidationError(
                f"Serverless inference does not support {words}: leave {member} out, or give variant {name} instances."
            )
    if (request.get("DataCaptureConfig") or {}).get("EnableCapture"):
        raise ValidationError(
            f"Serverless inference does not support data capture: set EnableCapture of DataCaptureConfig to false, or "
            f"give variant {name} instances."
        )


def check_variant(variant: Mapping[str, Any], model: Mapping[str, Any], containers: Sequence[ServingContainer]) -> None:
    """Check a serverless variant and the model that it names.

    Raises:
        ValidationError: a number is out of its limits, or the model or the variant is nothing that runs serverless.
    """
    name, config = variant["VariantName"], variant["ServerlessConfig"]
    for member in _FOR_INSTANCES:
        if variant.get(member):
            raise ValidationError(
                f"{member} and ServerlessConfig exclude each other: production variant {name} has both."
            )
    if config["MemorySizeInMB"] not in MEMORY_SIZES_IN_MB:
        raise ValidationError(
            f"MemorySizeInMB of production variant {name} must be one of "
            f"{', '.join(map(str, MEMORY_SIZES_IN_MB))}, got {config['MemorySizeInMB']}."
        )
    check_concurrency(name, config)
    where = f"model {variant['ModelName']} of production variant {name}"
    if len(containers) > 1:
        raise ValidationError(
            f"Serverless inference does not support inference pipelines and multi-container endpoints: {where} has "
            f"{len(containers)} containers."
        )
    if any(container.archives for container in containers):
        raise ValidationError(f"Serverless inference does not support multi-model endpoints: {where} is one.")
    if model.get("VpcConfig"):
        raise ValidationError(f"Serverless inference does not support a VPC configuration: {where} has VpcConfig.")
    if model.get("EnableNetworkIsolation"):
        raise ValidationError(f"Serverless inference does not support network isolation: {where} has it.")


def check_concurrency(variant: str, config: Mapping[str, Any]) -> None:
    """Check that the provisioned concurrency of a serverless variant is not above its maximum.

    Raises:
        ValidationError: it is.
    """
    provisioned = config.get("ProvisionedConcurrency")
    if provisioned is not None and provisioned > config["MaxConcurrency"]:
        raise ValidationError(
            f"ProvisionedConcurrency of production variant {variant} must be less than or equal to its MaxConcurrency "
            f"{config['MaxConcurrency']}, got {provisioned}."
        )


def updated(planned: Document, update: Mapping[str, Any], where: str) -> Document:
    """The serverless configuration of a planned variant after a ServerlessUpdateConfig.

    Args:
        planned: the variant, as plans keep it.
        update: what UpdateEndpointWeightsAndCapacities says.
        where: names the variant, for messages.

    Raises:
        ValidationError: the variant is not serverless, or its provisioned concurrency would be above its maximum.
    """
    config = planned.get("ServerlessConfig")
    if not config:
        raise ValidationError(f"ServerlessUpdateConfig for {where}, which has instances: give a DesiredInstanceCount.")
    config = {**config, **update}
    check_concurrency(planned["VariantName"], config)
    return config
