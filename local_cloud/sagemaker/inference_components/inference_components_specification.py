"""What an inference component runs and needs: its specification, looked up when it is asked for and kept with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local_cloud.platform import Caller
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.hosting import models
from local_cloud.sagemaker.hosting.serving_containers import SERIAL, ServingContainer
from local_cloud.sagemaker.inference_components.inference_components_instances import Resources
from local_cloud.sagemaker.model_data import ModelData
from local_cloud.sagemaker.request_checks import refuse, refuse_members
from local_cloud.sagemaker.service import Sagemaker
from local_cloud.sagemaker.store import Document

_NOT_EMULATED = {
    "BaseInferenceComponentName": "adapter inference components",
    "InstanceType": "inference components with a specification for each instance type",
}


def target(service: Sagemaker, caller: Caller, specification: Mapping[str, Any], variant: Document) -> Document:
    """What a component is to run, from an InferenceComponentSpecification.

    Copies are placed by the numbers of ComputeResourceRequirements; nothing holds a copy to them while it runs, and
    MaxMemoryRequiredInMb is told and no more. Images and model data are kept on the machine whatever DataCacheConfig says.

    Args:
        service: the service.
        caller: who asks.
        specification: of the request.
        variant: the planned variant of the endpoint on which it is to run.

    Raises:
        ValidationError: it names nothing to run, or what is not there.
        NotEmulated: it wants what the local cloud does not have.
    """
    refuse_members(specification, _NOT_EMULATED, "Specification.")
    if (specification.get("SchedulingConfig") or {}).get("AvailabilityZoneBalance"):
        refuse("Availability Zones (Specification.SchedulingConfig.AvailabilityZoneBalance)")
    need = _need(specification)
    containers, role_arn, isolated = _containers(service, caller, specification, variant)
    if len(containers) > 1 or containers[0].archives:
        refuse("inference components of models with several containers, or with many models")
    startup = specification.get("StartupParameters") or {}
    return {
        "Specification": dict(specification),
        "Need": {"cpus": need.cpus, "memory_in_mb": need.memory_in_mb},
        "Planned": {
            "VariantName": variant["VariantName"],
            "Containers": [container.document for container in containers],
            "InferenceExecutionMode": SERIAL,
            "ExecutionRoleArn": role_arn,
            "NetworkIsolation": bool(isolated or variant["NetworkIsolation"]),
            "DesiredInstanceCount": 0,
            "DesiredWeight": 1.0,
            "RoutingConfig": variant["RoutingConfig"],
            "HealthCheckTimeout": startup.get("ContainerStartupHealthCheckTimeoutInSeconds"),
            "DeployedImages": [],
        },
    }


def same_model(specification: Mapping[str, Any], deployed: Document) -> bool:
    """Whether a specification is the one that is deployed, of a model, which never changes: nothing is to be replaced.

    An image's tag may have moved, so that of a container of its own always counts as another.
    """
    return bool(specification.get("ModelName")) and specification == deployed["Specification"]


def described(target: Document) -> Document:
    """InferenceComponentSpecificationSummary."""
    told = dict(target["Specification"])
    if container := told.get("Container"):
        images = target["Planned"]["DeployedImages"]
        told["Container"] = {
            **{key: value for key, value in container.items() if key != "Image"},
            "DeployedImage": images[0] if images else {"SpecifiedImage": container["Image"]},
        }
    return told


def _need(specification: Mapping[str, Any]) -> Resources:
    requirements = specification.get("ComputeResourceRequirements")
    if not requirements:
        raise ValidationError("ComputeResourceRequirements of the Specification is required.")
    if requirements.get("NumberOfAcceleratorDevicesRequired"):
        refuse("accelerators (Specification.ComputeResourceRequirements.NumberOfAcceleratorDevicesRequired)")
    least, most = requirements["MinMemoryRequiredInMb"], requirements.get("MaxMemoryRequiredInMb")
    if most is not None and most < least:
        raise ValidationError(f"MaxMemoryRequiredInMb {most} is less than MinMemoryRequiredInMb {least}.")
    return Resources(float(requirements.get("NumberOfCpuCoresRequired", 0)), least)


def _containers(
    service: Sagemaker, caller: Caller, specification: Mapping[str, Any], variant: Document
) -> tuple[list[ServingContainer], str, bool]:
    """What to run, as which role, and whether it is isolated: the model's, or the container's own as the endpoint's role."""
    name, container = specification.get("ModelName"), specification.get("Container")
    if bool(name) == bool(container):
        raise ValidationError("Give the Specification either a ModelName or a Container.")
    if name:
        model = models.find(service, caller, name)
        return models.containers_of(model), model["ExecutionRoleArn"], bool(model.get("EnableNetworkIsolation"))
    assert container is not None
    refuse_members(container, {"ContainerMetricsConfig": "metrics that containers export"}, "Specification.Container.")
    if not container.get("Image"):
        raise ValidationError("Image of the Specification's Container is required.")
    data = ModelData.of({"ModelDataUrl": container.get("ArtifactUrl")})
    role_arn = variant["ExecutionRoleArn"]
    environment = dict(container.get("Environment") or {})
    return [ServingContainer(container["Image"], data, environment)], role_arn, False
