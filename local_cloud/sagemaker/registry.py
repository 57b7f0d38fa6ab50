"""The model registry: model package groups, and the versions in them that people approve."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from local_cloud.platform import Caller
from local_cloud.sagemaker import events, tags
from local_cloud.sagemaker.answers import user_context, without_nulls
from local_cloud.sagemaker.errors import ConflictError, NotEmulated, ValidationError
from local_cloud.sagemaker.model_data import ModelData, exists
from local_cloud.sagemaker.service import Request, Response, Sagemaker, arn, matching, name_of, operation, page
from local_cloud.sagemaker.store import Document, Duplicate

GROUP = "model-package-group"
PACKAGE = "model-package"
TOKEN = "model-package-token"  # noqa: S105 - the kind of a document

MAX_ADDITIONAL_SPECIFICATIONS = 15
"""UpdateModelPackage in the API reference."""

_CLIENT_TOKEN = "ClientToken"  # noqa: S105 - the name of a member
"""The member of a package's document that no answer shows: the token of the request that made it, forgotten with it."""

_NOT_EMULATED = {
    "ValidationSpecification": "it starts batch transform jobs",
    "SourceAlgorithmSpecification": "there are no algorithm resources",
    "ManagedStorageType": "there is no managed storage",
}
_COPIED = (
    "ModelPackageDescription",
    "ModelPackageRegistrationType",
    "InferenceSpecification",
    "MetadataProperties",
    "ModelMetrics",
    "Domain",
    "Task",
    "SamplePayloadUrl",
    "CustomerMetadataProperties",
    "DriftCheckBaselines",
    "AdditionalInferenceSpecifications",
    "SkipModelValidation",
    "SourceUri",
    "SecurityConfig",
    "ModelCard",
    "ModelLifeCycle",
)


@operation("CreateModelPackageGroup")
def create_model_package_group(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """CreateModelPackageGroup."""
    if request.get("ManagedConfiguration"):
        raise NotEmulated("The local cloud does not emulate ManagedConfiguration of model package groups.")
    name = request["ModelPackageGroupName"]
    group_arn = arn(caller, f"{GROUP}/{name}")
    document = {
        "ModelPackageGroupName": name,
        "ModelPackageGroupArn": group_arn,
        "ModelPackageGroupDescription": request.get("ModelPackageGroupDescription"),
        "CreationTime": time.time(),
        "CreatedBy": user_context(caller),
        "ModelPackageGroupStatus": "Completed",
        "LastVersion": 0,
    }
    try:
        with service.store.transaction():
            service.store.insert(GROUP, caller.account, caller.region, name, document)
            tags.save(service, caller, group_arn, request.get("Tags"))
    except Duplicate:
        raise ValidationError(f"Model Package Group already exists: {group_arn}") from None
    return {"ModelPackageGroupArn": group_arn}


@operation("DescribeModelPackageGroup")
def describe_model_package_group(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DescribeModelPackageGroup."""
    group = _group(service, caller, request["ModelPackageGroupName"])
    return without_nulls({key: value for key, value in group.items() if key not in ("LastVersion", "ResourcePolicy")})


@operation("ListModelPackageGroups")
def list_model_package_groups(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """ListModelPackageGroups."""
    if request.get("CrossAccountFilterOption") == "CrossAccount":
        return {"ModelPackageGroupSummaryList": []}
    groups = service.store.list(GROUP, caller.account, caller.region)
    # The order that the API reference names for both lists of the registry is ascending.
    kept = matching(groups, request, name_key="ModelPackageGroupName", default_order="Ascending")
    members = (
        "ModelPackageGroupName",
        "ModelPackageGroupArn",
        "ModelPackageGroupDescription",
        "CreationTime",
        "ModelPackageGroupStatus",
    )
    summaries = [without_nulls({member: group[member] for member in members}) for group in kept]
    return page(summaries, request, "ModelPackageGroupSummaryList")


@operation("DeleteModelPackageGroup")
def delete_model_package_group(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DeleteModelPackageGroup; refuses while the group has versions."""
    with service.store.transaction():
        group = _group(service, caller, request["ModelPackageGroupName"])
        group_arn, name = group["ModelPackageGroupArn"], group["ModelPackageGroupName"]
        if versions := _packages(service, caller, name):
            raise ConflictError(
                f"Cannot delete Model Package Group: {group_arn}, because it still contains "
                f"{len(versions)} Model Package(s). Delete them first."
            )
        service.store.delete(GROUP, caller.account, caller.region, name)
        tags.forget(service, caller, group_arn)
    return {}


@operation("PutModelPackageGroupPolicy")
def put_model_package_group_policy(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """PutModelPackageGroupPolicy: kept and given back; the local cloud has one account, so nothing asks it."""
    try:
        json.loads(request["ResourcePolicy"])
    except ValueError as error:
        raise ValidationError(f"ResourcePolicy is not JSON: {error}") from error
    group = _group(service, caller, request["ModelPackageGroupName"])
    _change_group(service, caller, group, {"ResourcePolicy": request["ResourcePolicy"]})
    return {"ModelPackageGroupArn": group["ModelPackageGroupArn"]}


@operation("GetModelPackageGroupPolicy")
def get_model_package_group_policy(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """GetModelPackageGroupPolicy."""
    group = _group(service, caller, request["ModelPackageGroupName"])
    if not group.get("ResourcePolicy"):
        raise ValidationError(f"Cannot find resource policy for: {group['ModelPackageGroupArn']}")
    return {"ResourcePolicy": group["ResourcePolicy"]}


@operation("DeleteModelPackageGroupPolicy")
def delete_model_package_group_policy(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DeleteModelPackageGroupPolicy."""
    group = _group(service, caller, request["ModelPackageGroupName"])
    _change_group(service, caller, group, {"ResourcePolicy": None})
    return {}


@operation("CreateModelPackage")
def create_model_package(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """CreateModelPackage: the next version of a group, or a package of its own name."""
    for member, why in _NOT_EMULATED.items():
        if request.get(member):
            raise NotEmulated(f"The local cloud does not emulate {member} of CreateModelPackage: {why}.")
    group_name, name = request.get("ModelPackageGroupName"), request.get("ModelPackageName")
    if group_name and name:
        raise ValidationError(
            "Both ModelPackageName and ModelPackageGroupName are provided in the input. Cannot determine which one to use."
        )
    if not group_name and not name:
        raise ValidationError("Either ModelPackageName or ModelPackageGroupName must be given.")
    if group_name and request.get("Tags"):
        raise ValidationError(
            "Tags cannot be given with ModelPackageGroupName: a version uses the tags of its model package group."
        )
    if not group_name and not request.get("InferenceSpecification"):
        raise ValidationError("A model package that is in no group needs an InferenceSpecification.")
    token = request.get("ClientToken")
    if earlier := _answer_to_token(service, caller, token):
        return earlier
    if group_name:
        _group(service, caller, group_name)
    if request.get("SkipModelValidation") != "All":
        _check_model_data(service, caller, request.get("InferenceSpecification"))
    package = {
        "CreationTime": time.time(),
        "CreatedBy": user_context(caller),
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
        "CertifyForMarketplace": request.get("CertifyForMarketplace", False),
        **{member: request[member] for member in _COPIED if request.get(member) is not None},
    }
    try:
        with service.store.undisturbed():
            with service.store.transaction():
                if group_name:
                    package |= _next_version(service, caller, group_name, request)
                else:
                    package |= {"ModelPackageName": name, "ModelPackageArn": arn(caller, f"{PACKAGE}/{name}")}
                package_arn = package["ModelPackageArn"]
                if token:
                    package[_CLIENT_TOKEN] = token
                    service.store.insert(TOKEN, caller.account, caller.region, token, {"ModelPackageArn": package_arn})
                service.store.insert(PACKAGE, caller.account, caller.region, name_of(package_arn), package)
                tags.save(service, caller, package_arn, request.get("Tags"))
            _send_event(service, caller, package)
    except Duplicate:
        if earlier := _answer_to_token(service, caller, token):
            return earlier
        raise ConflictError(f"Model Package already exists: {arn(caller, f'{PACKAGE}/{name}')}") from None
    return {"ModelPackageArn": package_arn}


@operation("DescribeModelPackage")
def describe_model_package(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DescribeModelPackage, by ARN, by name, or by `<group>/<version>`."""
    package = _package(service, caller, request["ModelPackageName"])
    package.pop(_CLIENT_TOKEN, None)
    if request.get("IncludedData") == "MetadataOnly":
        package.pop("ModelCard", None)
    return package


@operation("ListModelPackages")
def list_model_packages(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """ListModelPackages: the unversioned ones unless a group or a ModelPackageType asks for others."""
    group_name = request.get("ModelPackageGroupName")
    if group_name:
        group_name = _group(service, caller, group_name)["ModelPackageGroupName"]
    kind = request.get("ModelPackageType") or ("Versioned" if group_name else "Unversioned")
    wanted = [
        package
        for package in _packages(service, caller, group_name)
        if kind == "Both" or (kind == "Versioned") == ("ModelPackageVersion" in package)
    ]
    if status := request.get("ModelApprovalStatus"):
        wanted = [package for package in wanted if package.get("ModelApprovalStatus") == status]
    kept = matching(wanted, request, name_key="ModelPackageName", default_order="Ascending")
    members = (
        "ModelPackageName",
        "ModelPackageGroupName",
        "ModelPackageVersion",
        "ModelPackageArn",
        "ModelPackageDescription",
        "CreationTime",
        "ModelPackageStatus",
        "ModelApprovalStatus",
        "ModelLifeCycle",
        "ModelPackageRegistrationType",
    )
    summaries = [{member: package[member] for member in members if member in package} for package in kept]
    for summary in summaries:
        if "ModelPackageVersion" in summary:
            # A version has no name of its own in the list.
            summary.pop("ModelPackageName")
    return page(summaries, request, "ModelPackageSummaryList")


@operation("UpdateModelPackage")
def update_model_package(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """UpdateModelPackage: approve or reject a version, and change what describes it."""
    name = name_of(_package(service, caller, request["ModelPackageArn"])["ModelPackageArn"])
    if request.get("InferenceSpecification"):
        _check_model_data(service, caller, request["InferenceSpecification"])

    def change(package: Document) -> None:
        if request.get("ModelApprovalStatus") and "ModelPackageVersion" not in package:
            raise ValidationError(
                f"{package['ModelPackageArn']} is in no model package group, so it has no ModelApprovalStatus."
            )
        for member in (
            "ModelApprovalStatus",
            "ModelPackageRegistrationType",
            "ApprovalDescription",
            "InferenceSpecification",
            "SourceUri",
            "ModelCard",
            "ModelLifeCycle",
        ):
            if request.get(member) is not None:
                package[member] = request[member]
        properties = {**package.get("CustomerMetadataProperties", {}), **request.get("CustomerMetadataProperties", {})}
        for key in request.get("CustomerMetadataPropertiesToRemove", []):
            properties.pop(key, None)
        if properties or "CustomerMetadataProperties" in package:
            package["CustomerMetadataProperties"] = properties
        if added := request.get("AdditionalInferenceSpecificationsToAdd"):
            specifications = [*package.get("AdditionalInferenceSpecifications", []), *added]
            if len(specifications) > MAX_ADDITIONAL_SPECIFICATIONS:
                raise ValidationError(
                    f"{len(specifications)} AdditionalInferenceSpecifications; the limit is {MAX_ADDITIONAL_SPECIFICATIONS}."
                )
            package["AdditionalInferenceSpecifications"] = specifications
        package["LastModifiedTime"] = time.time()
        package["LastModifiedBy"] = user_context(caller)

    changed = [member for member in request if member not in ("ModelPackageArn", "ClientToken")]
    # The last event must tell of the last decision, however many people decide at a time.
    with service.store.undisturbed():
        package = service.store.update(PACKAGE, caller.account, caller.region, name, change)
        if package is None:
            raise _no_package(request["ModelPackageArn"])
        _send_event(service, caller, package, changed)
    return {"ModelPackageArn": package["ModelPackageArn"]}


@operation("DeleteModelPackage")
def delete_model_package(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DeleteModelPackage; the number of a deleted version is not given again."""
    place = (caller.account, caller.region)
    with service.store.transaction():
        package = _package(service, caller, request["ModelPackageName"])
        service.store.delete(PACKAGE, *place, name_of(package["ModelPackageArn"]))
        if token := package.get(_CLIENT_TOKEN):
            # A repeated request must not be answered with a package that is gone.
            service.store.delete(TOKEN, *place, token)
        tags.forget(service, caller, package["ModelPackageArn"])
    return {}


def _group(service: Sagemaker, caller: Caller, arn_or_name: str) -> Document:
    name = name_of(arn_or_name)
    group = service.store.get(GROUP, caller.account, caller.region, name)
    if group is None:
        raise ValidationError(f"ModelPackageGroup {arn(caller, f'{GROUP}/{name}')} does not exist.")
    return group


def _change_group(service: Sagemaker, caller: Caller, group: Document, values: Mapping[str, Any]) -> None:
    service.store.update(
        GROUP, caller.account, caller.region, group["ModelPackageGroupName"], lambda found: found.update(values)
    )


def _packages(service: Sagemaker, caller: Caller, group_name: str | None) -> list[Document]:
    packages = service.store.list(PACKAGE, caller.account, caller.region)
    return [package for package in packages if not group_name or package.get("ModelPackageGroupName") == group_name]


def _package(service: Sagemaker, caller: Caller, arn_or_name: str) -> Document:
    package = service.store.get(PACKAGE, caller.account, caller.region, name_of(arn_or_name))
    if package is None:
        raise _no_package(arn_or_name if arn_or_name.startswith("arn:") else arn(caller, f"{PACKAGE}/{arn_or_name}"))
    return package


def _no_package(package_arn: str) -> ValidationError:
    return ValidationError(f"ModelPackage {package_arn} does not exist.")


def _answer_to_token(service: Sagemaker, caller: Caller, token: str | None) -> Response | None:
    """The answer that an earlier CreateModelPackage with the same ClientToken got."""
    return service.store.get(TOKEN, caller.account, caller.region, token) if token else None


def _next_version(service: Sagemaker, caller: Caller, group_arn_or_name: str, request: Request) -> Document:
    """What makes a package a version; inside a transaction, so that two callers never get the same number."""
    group = _group(service, caller, group_arn_or_name)
    version, name = group["LastVersion"] + 1, group["ModelPackageGroupName"]
    _change_group(service, caller, group, {"LastVersion": version})
    return {
        "ModelPackageName": name,
        "ModelPackageGroupName": name,
        "ModelPackageVersion": version,
        "ModelPackageArn": arn(caller, f"{PACKAGE}/{name}/{version}"),
        "ModelApprovalStatus": request.get("ModelApprovalStatus", "PendingManualApproval"),
    }


def _check_model_data(service: Sagemaker, caller: Caller, specification: Mapping[str, Any] | None) -> None:
    """Refuse model data that is not there, or that the caller may not read.

    Raises:
        ValidationError: with the URL and, where IAM forbids it, IAM's message.
    """
    s3 = service.platform.client("s3", caller.region)
    for url, is_prefix in _model_data(specification or {}):
        parts = urlsplit(url)
        if parts.scheme != "s3":
            raise ValidationError(f"Model data must be in S3 (s3://bucket/key), got {url}")
        data = ModelData(parts.netloc, parts.path.lstrip("/"), is_prefix)
        if denial := service.platform.denied(caller, "s3:GetObject", f"arn:aws:s3:::{data.bucket}/{data.key}", {}):
            raise ValidationError(f"Could not access model data at {url}. {denial}")
        try:
            found = exists(s3, data)
        except ClientError as error:
            raise ValidationError(f"Could not access model data at {url}. {error}") from error
        if not found:
            raise ValidationError(f"Could not find model data at {url}.")


def _model_data(specification: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Where the containers' model data is, and whether that is a prefix."""
    for container in specification.get("Containers", []):
        if url := container.get("ModelDataUrl"):
            yield url, False
        if source := (container.get("ModelDataSource") or {}).get("S3DataSource"):
            yield source["S3Uri"], source["S3DataType"] == "S3Prefix"


def _send_event(service: Sagemaker, caller: Caller, package: Document, changed: list[str] | None = None) -> None:
    """`SageMaker Model Package State Change`, with the detail that the Developer Guide shows."""
    detail: Document = {
        key: value
        for key, value in package.items()
        if key not in ("CreatedBy", "LastModifiedBy", "ModelCard", _CLIENT_TOKEN)
    }
    if "ModelPackageVersion" in detail:
        detail.pop("ModelPackageName")
    for member in ("CreationTime", "LastModifiedTime"):
        if member in detail:
            detail[member] = events.iso_time(detail[member])
    if changed:
        detail["UpdatedModelPackageFields"] = changed
    package_arn = package["ModelPackageArn"]
    events.send(service, caller.account, caller.region, "SageMaker Model Package State Change", detail, [package_arn])
