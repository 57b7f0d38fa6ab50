"""Models: what to serve. CreateModel, DescribeModel, ListModels, DeleteModel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from botocore.exceptions import ClientError

from local_cloud.platform import Caller, RoleRefused
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.hosting import capabilities, serving_containers
from local_cloud.sagemaker.hosting.serving_containers import ServingContainer
from local_cloud.sagemaker.model_data import ModelData, could_not_access, exists
from local_cloud.sagemaker.resources import ResourceKind
from local_cloud.sagemaker.service import Request, Response, Sagemaker, operation
from local_cloud.sagemaker.store import Document

_DESCRIBED = (
    "ModelName",
    "PrimaryContainer",
    "Containers",
    "InferenceExecutionConfig",
    "ExecutionRoleArn",
    "VpcConfig",
    "CreationTime",
    "ModelArn",
    "EnableNetworkIsolation",
)
_CONTAINERS = "ServingContainers"
_ONE_CONTAINER = "ServingContainer"
"""The members of a model's document that only the local cloud knows: what it writes, and what it wrote once."""

KIND = ResourceKind(
    kind="model",
    noun="model",
    prefix="Model",
    event="SageMaker Model State Change",
    hidden=frozenset({_CONTAINERS, _ONE_CONTAINER}),
)


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
    containers = serving_containers.resolved(service, caller, request)
    KIND.refuse_taken(service, caller, request["ModelName"])
    _check_access(service, caller, role_arn, containers)
    members = {
        **{key: request[key] for key in _DESCRIBED if request.get(key) is not None},
        "EnableNetworkIsolation": request.get("EnableNetworkIsolation", False),
        # Kept, so that the model still serves when its version is rejected or deleted later: a roll-back may need it.
        _CONTAINERS: [container.document for container in containers],
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


def containers_of(model: Document) -> list[ServingContainer]:
    """What a model runs, as it was when the model was made."""
    # A model that an earlier version of the local cloud kept has one container.
    kept = model[_CONTAINERS] if _CONTAINERS in model else [model[_ONE_CONTAINER]]
    return [ServingContainer.of(container) for container in kept]


def _check_access(service: Sagemaker, caller: Caller, role_arn: str, containers: Sequence[ServingContainer]) -> None:
    """Refuse what the role cannot read now, and images that lack a label: the endpoint would fail minutes later."""
    try:
        credentials = service.platform.assume_role(role_arn, "SageMaker")
    except RoleRefused as error:
        raise ValidationError(str(error)) from error
    try:
        s3 = service.platform.client("s3", caller.region, credentials)
        for container in containers:
            # The prefix of a multi-model container may be empty: its models come later.
            if container.model_data is not None:
                _check_data(s3, container.model_data, role_arn)
            capabilities.check_model(service, s3, container, capabilities.needed(container, len(containers)))
    finally:
        service.platform.forget_session(credentials)


def _check_data(s3: Any, data: ModelData, role_arn: str) -> None:
    try:
        found = exists(s3, data)
    except ClientError as error:
        raise ValidationError(could_not_access(data, role_arn, s3.meta.region_name)) from error
    if not found:
        raise ValidationError(f"Could not find model data at {data.uri}.")
