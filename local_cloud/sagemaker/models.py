"""Models: what to serve. CreateModel, DescribeModel, ListModels, DeleteModel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from botocore.exceptions import ClientError

from local_cloud.platform import Caller, RoleRefused
from local_cloud.sagemaker import registry
from local_cloud.sagemaker.errors import NotEmulated, ValidationError
from local_cloud.sagemaker.model_data import ModelData, could_not_access, exists
from local_cloud.sagemaker.resources import ResourceKind
from local_cloud.sagemaker.service import Request, Response, Sagemaker, operation
from local_cloud.sagemaker.store import Document

_NOT_EMULATED = (
    "MultiModelConfig",
    "AdditionalModelDataSources",
    "ContainerMetricsConfig",
    "InferenceSpecificationName",
)
_DESCRIBED = (
    "ModelName",
    "PrimaryContainer",
    "Containers",
    "ExecutionRoleArn",
    "VpcConfig",
    "CreationTime",
    "ModelArn",
    "EnableNetworkIsolation",
)
_CONTAINER = "ServingContainer"
"""The member of a model's document that only the local cloud knows."""

KIND = ResourceKind(
    kind="model",
    noun="model",
    prefix="Model",
    event="SageMaker Model State Change",
    hidden=frozenset({_CONTAINER}),
)


@dataclass(frozen=True)
class ServingContainer:
    """What one container of a model runs, with everything looked up that the request only names.

    Attributes:
        image: the image's URI.
        model_data: where the artefact is; None for an image that has everything inside.
        environment: the variables of the model package and of the model, the model's own first.
    """

    image: str
    model_data: ModelData | None
    environment: dict[str, str]


@operation("CreateModel")
def create_model(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """CreateModel: refuses, as AWS does, model data that the role cannot read."""
    if request.get("PrimaryContainer") and request.get("Containers"):
        raise ValidationError("Give either PrimaryContainer or Containers, not both.")
    role_arn = request.get("ExecutionRoleArn")
    if not role_arn:
        raise ValidationError(
            "ExecutionRoleArn is required: SageMaker reads the image and the model data as this role."
        )
    service.check_pass_role(caller, role_arn)
    container = _resolved(service, caller, request)
    KIND.refuse_taken(service, caller, request["ModelName"])
    _check_access(service, caller, role_arn, container.model_data)
    members = {
        **{key: request[key] for key in _DESCRIBED if request.get(key) is not None},
        "EnableNetworkIsolation": request.get("EnableNetworkIsolation", False),
        # Kept, so that the model still serves when its version is rejected or deleted later: a roll-back may need it.
        _CONTAINER: asdict(container),
    }
    return KIND.create(service, caller, request, members)


@operation("DescribeModel")
def describe_model(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DescribeModel."""
    return KIND.described(find(service, caller, request["ModelName"]))


@operation("ListModels")
def list_models(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """ListModels."""
    return KIND.list(service, caller, request)


@operation("DeleteModel")
def delete_model(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DeleteModel: only the entry; endpoints that serve it go on."""
    return KIND.delete(service, caller, request["ModelName"])


def find(service: Sagemaker, caller: Caller, name: str) -> Document:
    """The model of that name.

    Raises:
        ValidationError: there is none.
    """
    return KIND.find(service, caller, name)


def container_of(model: Document) -> ServingContainer:
    """What a model runs, as it was when the model was made."""
    kept = model[_CONTAINER]
    data = kept["model_data"]
    return ServingContainer(kept["image"], ModelData(**data) if data else None, kept["environment"])


def _resolved(service: Sagemaker, caller: Caller, model: Mapping[str, Any]) -> ServingContainer:
    """What a model runs: its own image and data, or those of its model package.

    Raises:
        NotEmulated: it asks for what the local cloud cannot serve.
        ValidationError: the model package is not there, or is not approved.
    """
    containers = [model["PrimaryContainer"]] if model.get("PrimaryContainer") else list(model.get("Containers") or [])
    if not containers:
        raise ValidationError("Give the model a PrimaryContainer, or Containers.")
    if len(containers) > 1 or model.get("InferenceExecutionConfig"):
        raise NotEmulated("The local cloud does not emulate models of several containers (Containers of CreateModel).")
    container = containers[0]
    for member in _NOT_EMULATED:
        if container.get(member):
            raise NotEmulated(f"The local cloud does not emulate {member} of CreateModel.")
    if container.get("Mode", "SingleModel") != "SingleModel":
        raise NotEmulated("The local cloud does not emulate multi-model endpoints (Mode MultiModel of CreateModel).")
    if container.get("ImageConfig", {}).get("RepositoryAccessMode", "Platform") != "Platform":
        raise NotEmulated(
            "The local cloud does not emulate private registries (RepositoryAccessMode Vpc of CreateModel)."
        )
    environment = container.get("Environment") or {}
    if container.get("ModelPackageName"):
        if container.get("Image") or container.get("ModelDataUrl") or container.get("ModelDataSource"):
            raise ValidationError(
                "A container with a ModelPackageName takes its image and model data from the package."
            )
        container = _packaged_container(service, caller, container["ModelPackageName"])
        environment = {**(container.get("Environment") or {}), **environment}
    if not container.get("Image"):
        raise ValidationError("A container needs an Image or a ModelPackageName.")
    return ServingContainer(container["Image"], ModelData.of(container), dict(environment))


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


def _check_access(service: Sagemaker, caller: Caller, role_arn: str, data: ModelData | None) -> None:
    """Refuse what the role cannot read now: the endpoint would fail minutes later."""
    try:
        credentials = service.platform.assume_role(role_arn, "SageMaker")
    except RoleRefused as error:
        raise ValidationError(str(error)) from error
    try:
        if data is not None:
            _check_data(service.platform.client("s3", caller.region, credentials), data, role_arn)
    finally:
        service.platform.forget_session(credentials)


def _check_data(s3: Any, data: ModelData, role_arn: str) -> None:
    try:
        found = exists(s3, data)
    except ClientError as error:
        raise ValidationError(could_not_access(data, role_arn, s3.meta.region_name)) from error
    if not found:
        raise ValidationError(f"Could not find model data at {data.uri}.")
