"""What the containers of a model run: looked up when the model is made, kept with it and with the endpoints that serve it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from local_cloud.platform import Caller
from local_cloud.sagemaker import registry
from local_cloud.sagemaker.errors import NotEmulated, ValidationError
from local_cloud.sagemaker.hosting.model_archives import ModelArchives
from local_cloud.sagemaker.model_data import ModelData
from local_cloud.sagemaker.request_checks import check_unique
from local_cloud.sagemaker.service import Sagemaker
from local_cloud.sagemaker.store import Document

PRIMARY = "primary"
"""SageMaker's word in its messages for the only container of a model."""
SERIAL, DIRECT = "Serial", "Direct"

_NOT_EMULATED = ("AdditionalModelDataSources", "ContainerMetricsConfig", "InferenceSpecificationName")


@dataclass(frozen=True)
class ServingContainer:
    """What one container of a model runs, with everything looked up that the request only names.

    Attributes:
        image: the image's URI.
        model_data: where the artefact is; None for an image that has everything inside, and for a multi-model container.
        environment: the variables of the model package and of the model, the model's own first.
        name: its host name; `primary` for the only container of a model.
        archives: where a multi-model container's models are; None for any other.
    """

    image: str
    model_data: ModelData | None
    environment: Mapping[str, str]
    name: str = PRIMARY
    archives: ModelArchives | None = None

    @property
    def document(self) -> Document:
        """What is kept of it; `of` reads it back."""
        return asdict(self)

    @classmethod
    def of(cls, document: Document) -> ServingContainer:
        """From what was kept of it."""
        data, archives = document["model_data"], document.get("archives")
        return cls(
            document["image"],
            ModelData(**data) if data else None,
            document["environment"],
            document.get("name", PRIMARY),
            ModelArchives(**archives) if archives else None,
        )


def resolved(service: Sagemaker, caller: Caller, model: Mapping[str, Any]) -> list[ServingContainer]:
    """What the containers of a CreateModel request run: their own images and data, or those of their model packages.

    Raises:
        NotEmulated: it asks for what the local cloud cannot serve.
        ValidationError: a model package is not there or not approved, or the containers do not fit together.
    """
    containers = [model["PrimaryContainer"]] if model.get("PrimaryContainer") else list(model.get("Containers") or [])
    if not containers:
        raise ValidationError("Give the model a PrimaryContainer, or Containers.")
    names = _names(containers, mode_of(model))
    return [_resolved(service, caller, container, name) for container, name in zip(containers, names, strict=True)]


def mode_of(model: Mapping[str, Any]) -> str:
    """How requests reach the containers of a model: `Serial`, one after the other (the default), or `Direct`, by name."""
    return str((model.get("InferenceExecutionConfig") or {}).get("Mode", SERIAL))


def _names(containers: Sequence[Mapping[str, Any]], mode: str) -> list[str]:
    """The containers' host names, checked together."""
    multi_model = [container for container in containers if container.get("Mode") == "MultiModel"]
    if len(containers) == 1:
        if mode == DIRECT:
            raise ValidationError(
                "InferenceExecutionConfig Mode Direct is for several Containers; the model has one, which needs no host name."
            )
        return [PRIMARY]
    if mode == DIRECT:
        if unnamed := sum(not container.get("ContainerHostname") for container in containers):
            raise ValidationError(
                f"InferenceExecutionConfig Mode Direct needs a ContainerHostname for each container; {unnamed} of "
                f"{len(containers)} have none."
            )
        if multi_model:
            raise NotEmulated("The local cloud does not emulate multi-model containers that are invoked directly.")
    if len(multi_model) > 1:
        raise ValidationError("More than one container in MultiModel mode is not supported with inference pipeline.")
    # The names that SageMaker's guide gives to the log streams of containers without one ("Inference Pipeline Logs and
    # Metrics").
    names = [container.get("ContainerHostname") or f"container-{n}" for n, container in enumerate(containers, 1)]
    check_unique("Container host", names)
    return names


def _resolved(service: Sagemaker, caller: Caller, container: Mapping[str, Any], name: str) -> ServingContainer:
    for member in _NOT_EMULATED:
        if container.get(member):
            raise NotEmulated(f"The local cloud does not emulate {member} of CreateModel.")
    if container.get("ImageConfig", {}).get("RepositoryAccessMode", "Platform") != "Platform":
        raise NotEmulated(
            "The local cloud does not emulate private registries (RepositoryAccessMode Vpc of CreateModel)."
        )
    is_multi_model = container.get("Mode", "SingleModel") == "MultiModel"
    if container.get("MultiModelConfig") and not is_multi_model:
        raise ValidationError("MultiModelConfig is for a container of Mode MultiModel.")
    environment = container.get("Environment") or {}
    if container.get("ModelPackageName"):
        if is_multi_model:
            raise NotEmulated("The local cloud does not emulate model packages as multi-model containers.")
        if container.get("Image") or container.get("ModelDataUrl") or container.get("ModelDataSource"):
            raise ValidationError(
                "A container with a ModelPackageName takes its image and model data from the package."
            )
        container = _packaged_container(service, caller, container["ModelPackageName"])
        environment = {**(container.get("Environment") or {}), **environment}
    if not container.get("Image"):
        raise ValidationError("A container needs an Image or a ModelPackageName.")
    image, environment = container["Image"], dict(environment)
    if is_multi_model:
        return ServingContainer(image, None, environment, name, ModelArchives.of(container))
    return ServingContainer(image, ModelData.of(container), environment, name)


def _packaged_container(service: Sagemaker, caller: Caller, package_name: str) -> dict[str, Any]:
    """The container of a model package.

    SageMaker's guide says that a version is deployed after it was approved, but no document says how CreateModel answers
    for one that was not. The local cloud refuses it: that a registry lets nothing unapproved through is what it is for.
    """
    package = registry.describe_model_package(service, caller, {"ModelPackageName": package_name})
    package_arn = package["ModelPackageArn"]
    if package.get("ModelPackageStatus") != "Completed":
        raise ValidationError(f"Model package {package_arn} is {package.get('ModelPackageStatus')}, not Completed.")
    approval = package.get("ModelApprovalStatus")
    if approval not in (None, "Approved"):
        raise ValidationError(f"Model package {package_arn} is not approved: its ModelApprovalStatus is {approval}.")
    containers: list[dict[str, Any]] = package.get("InferenceSpecification", {}).get("Containers", [])
    if len(containers) != 1:
        raise NotEmulated(
            f"The local cloud serves model packages of one container; {package_arn} has {len(containers)}."
        )
    return containers[0]
