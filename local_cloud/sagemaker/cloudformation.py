"""The AWS::SageMaker::* resource types: CloudFormation's words on one side, the SageMaker API's on the other.

Which properties need a replacement, what Ref returns and which attributes Fn::GetAtt knows follow the CloudFormation
template reference of each type.
"""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tenacity
from botocore.model import ListShape, MapShape, Shape, StructureShape

from local_cloud.platform import Caller
from local_cloud.sagemaker import tags
from local_cloud.sagemaker.errors import ApiError
from local_cloud.sagemaker.service import Request, Sagemaker, model, name_of

Properties = dict[str, Any]
Provisioned = tuple[str, dict[str, Any]]
"""What CloudFormation keeps of a resource: its physical id (what Ref returns) and its attributes."""


class ProvisioningError(Exception):
    """The resource could not be made or changed; the message goes to the stack's events."""


@dataclass(frozen=True)
class ResourceType:
    """How one resource type maps to the API.

    Attributes:
        name: the type, such as `AWS::SageMaker::Model`.
        noun: the API's word: Create<noun>, Describe<noun>, Update<noun>, Delete<noun>.
        name_property: the property that holds its name.
        arn_key: the response member with its ARN.
        replacing: properties whose change needs a replacement; "*" stands for every one but Tags.
        not_in_create: properties that the create request does not have.
        ref_is_name: whether Ref returns the name instead of the ARN.
        settles: whether its calls only begin something, which its status tells the end of.
        to_request: changes properties to the API's shape where they differ.
    """

    name: str
    noun: str
    name_property: str
    arn_key: str
    replacing: tuple[str, ...]
    not_in_create: tuple[str, ...] = ()
    ref_is_name: bool = False
    settles: bool = False
    to_request: Callable[[Properties], Properties] = lambda properties: properties

    def replacing_properties(self) -> tuple[str, ...]:
        """All properties whose change needs a replacement, by name."""
        if self.replacing != ("*",):
            return self.replacing
        shape = model().operation_model(f"Create{self.noun}").input_shape
        assert isinstance(shape, StructureShape)
        return tuple(member for member in shape.members if member != "Tags")


def _pipeline_request(properties: Properties) -> Properties:
    request = dict(properties)
    definition = request.pop("PipelineDefinition", {})
    if "PipelineDefinitionBody" in definition:
        request["PipelineDefinition"] = definition["PipelineDefinitionBody"]
    elif "PipelineDefinitionS3Location" in definition:
        location = definition["PipelineDefinitionS3Location"]
        request["PipelineDefinitionS3Location"] = {
            "Bucket": location["Bucket"],
            "ObjectKey": location["Key"],
            **({"VersionId": location["Version"]} if "Version" in location else {}),
        }
    return request


RESOURCE_TYPES = (
    ResourceType("AWS::SageMaker::Model", "Model", "ModelName", "ModelArn", replacing=("*",)),
    ResourceType(
        "AWS::SageMaker::EndpointConfig", "EndpointConfig", "EndpointConfigName", "EndpointConfigArn", replacing=("*",)
    ),
    ResourceType(
        "AWS::SageMaker::Endpoint",
        "Endpoint",
        "EndpointName",
        "EndpointArn",
        replacing=("EndpointName",),
        not_in_create=("ExcludeRetainedVariantProperties", "RetainAllVariantProperties", "RetainDeploymentConfig"),
        settles=True,
    ),
    ResourceType(
        "AWS::SageMaker::InferenceComponent",
        "InferenceComponent",
        "InferenceComponentName",
        "InferenceComponentArn",
        # The reference says "No interruption" of the endpoint and the variant too, but no call of the API moves a component.
        replacing=("InferenceComponentName", "EndpointName", "VariantName"),
        not_in_create=("DeploymentConfig", "EndpointArn"),
        settles=True,
    ),
    ResourceType(
        "AWS::SageMaker::Pipeline",
        "Pipeline",
        "PipelineName",
        "PipelineArn",
        replacing=("PipelineName",),
        ref_is_name=True,
        to_request=_pipeline_request,
    ),
    ResourceType(
        "AWS::SageMaker::ModelPackageGroup",
        "ModelPackageGroup",
        "ModelPackageGroupName",
        "ModelPackageGroupArn",
        replacing=("ModelPackageGroupName", "ModelPackageGroupDescription"),
        not_in_create=("ModelPackageGroupPolicy",),
    ),
    ResourceType(
        "AWS::SageMaker::ModelPackage",
        "ModelPackage",
        "ModelPackageName",
        "ModelPackageArn",
        replacing=(
            "ModelPackageName",
            "ModelPackageGroupName",
            "ModelPackageDescription",
            "InferenceSpecification",
            "ModelMetrics",
            "Domain",
            "Task",
        ),
        not_in_create=("ModelPackageVersion", "ApprovalDescription", "ModelPackageStatusDetails", "LastModifiedTime"),
    ),
)


class Provisioner:
    """Creates, updates and deletes the resources of one type."""

    transient: tuple[str, ...] = ("Creating", "Updating", "SystemUpdating", "RollingBack")
    """The statuses that end by themselves."""

    def __init__(self, service: Callable[[], Sagemaker], kind: ResourceType, caller: Callable[[], Caller]) -> None:
        """Take the service and the caller when they are needed: the types are registered before the server runs."""
        self._service = service
        self._caller = caller
        self.kind = kind

    def create(self, logical_id: str, properties: Properties, _stack_name: str) -> Provisioned:
        """Create a resource, with a generated name where the template gives none (the API's and the type's own rule)."""
        request = self._request("Create", self.kind.to_request(properties))
        for name in self.kind.not_in_create:
            request.pop(name, None)
        named = f"Create{self.kind.noun}"
        if self.kind.name_property not in request and self.kind.noun != "ModelPackage":
            # CloudFormation's form: the logical id and twelve random characters, cut to the API's 63.
            suffix = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(12))
            request[self.kind.name_property] = f"{logical_id[:50]}-{suffix}"
        arn = str(self._call(named, request)[self.kind.arn_key])
        if self.kind.settles:
            self._await_service(arn, delete_if_failed=True)
        if policy := properties.get("ModelPackageGroupPolicy"):
            self._put_group_policy(name_of(arn), policy)
        return self._provisioned(arn)

    def update(self, physical_id: str, old: Properties, new: Properties, _stack_name: str) -> Provisioned:
        """Change a resource in place; what needs a replacement never comes here."""
        described = self._describe(physical_id)
        arn = str(described[self.kind.arn_key])
        self._update_tags(arn, old.get("Tags") or [], new.get("Tags") or [])
        untagged = [{k: v for k, v in properties.items() if k != "Tags"} for properties in (old, new)]
        if untagged[0] == untagged[1]:
            return self._provisioned(arn)
        if self.kind.noun == "ModelPackageGroup":
            if policy := new.get("ModelPackageGroupPolicy"):
                self._put_group_policy(name_of(arn), policy)
            else:
                self._call("DeleteModelPackageGroupPolicy", {"ModelPackageGroupName": name_of(arn)})
            return self._provisioned(arn)
        if self.kind.noun == "Endpoint" and _serves(described, new):
            # How an update is done is no update: so it is when a stack goes back after SageMaker did, and the alarm that
            # rolled the endpoint back must not keep the stack from its own roll-back.
            return self._provisioned(arn)
        request = self._request("Update", self.kind.to_request(untagged[1]))
        if self.kind.noun == "ModelPackage":
            request["ModelPackageArn"] = arn
        else:
            request[self.kind.name_property] = name_of(arn)
        self._call(f"Update{self.kind.noun}", request)
        if self.kind.settles:
            self._await_service(arn, delete_if_failed=False)
        return self._provisioned(arn)

    def delete(self, physical_id: str, _properties: Properties) -> None:
        """Delete a resource; one that is gone already is fine."""
        try:
            arn = str(self._describe(physical_id)[self.kind.arn_key])
        except (ApiError, ProvisioningError):
            return
        request: Request = {self.kind.name_property: arn if self.kind.noun == "ModelPackage" else name_of(arn)}
        if self.kind.noun == "Pipeline":
            request["ClientRequestToken"] = secrets.token_hex(32)
        self._call(f"Delete{self.kind.noun}", request)
        if self.kind.settles:
            self._await_gone(arn)

    def _call(self, operation: str, request: Request) -> Properties:
        try:
            with tags.from_cloudformation():
                return self._service().call(operation, self._caller(), request)
        except ApiError as error:
            # The form of a real stack event, so that people find what they find for AWS.
            raise ProvisioningError(
                f"{error.message} (Service: SageMaker, Status Code: {error.status}, Error Code: {error.code})"
            ) from error

    def _request(self, verb: str, properties: Properties) -> Request:
        shape = model().operation_model(f"{verb}{self.kind.noun}").input_shape
        assert isinstance(shape, StructureShape)
        known = (
            properties
            if verb == "Create"
            else {key: value for key, value in properties.items() if key in shape.members}
        )
        coerced = {
            key: typed(value, shape.members[key]) if key in shape.members else value for key, value in known.items()
        }
        if "ClientRequestToken" in shape.required_members:
            coerced["ClientRequestToken"] = secrets.token_hex(32)
        return coerced

    def _describe(self, physical_id: str) -> Properties:
        name = physical_id if self.kind.noun == "ModelPackage" else name_of(physical_id)
        return self._call(f"Describe{self.kind.noun}", {self.kind.name_property: name})

    def _provisioned(self, arn: str) -> Provisioned:
        described = self._describe(arn)
        attributes = {key: value for key, value in described.items() if isinstance(value, str | int | float | bool)} | {
            "Id": arn,
            "Arn": arn,
        }
        return (name_of(arn) if self.kind.ref_is_name else arn), attributes

    def _update_tags(self, arn: str, old: list[Mapping[str, str]], new: list[Mapping[str, str]]) -> None:
        gone = {tag["Key"] for tag in old} - {tag["Key"] for tag in new}
        if gone:
            self._call("DeleteTags", {"ResourceArn": arn, "TagKeys": sorted(gone)})
        if new:
            self._call("AddTags", {"ResourceArn": arn, "Tags": [dict(tag) for tag in new]})
        elif not tags.current(self._service(), self._caller(), arn):
            tags.forget(self._service(), self._caller(), arn)

    def _put_group_policy(self, group: str, policy: Any) -> None:
        body = policy if isinstance(policy, str) else json.dumps(policy)
        self._call("PutModelPackageGroupPolicy", {"ModelPackageGroupName": group, "ResourcePolicy": body})

    def _await_service(self, arn: str, *, delete_if_failed: bool) -> None:
        described = self._settled(arn)
        status = described[self._status_key]
        if status == "InService" and not described.get("FailureReason"):
            return
        reason = described.get("FailureReason") or f"it is {status}"
        if delete_if_failed:
            # CloudFormation removes what it failed to create; the reason stays in the stack's events.
            self._call(f"Delete{self.kind.noun}", {self.kind.name_property: name_of(arn)})
        raise ProvisioningError(f"{self.kind.noun} {name_of(arn)} did not stabilize: {reason}")

    @property
    def _status_key(self) -> str:
        return f"{self.kind.noun}Status"

    def _settled(self, arn: str) -> Properties:
        """What Describe tells once nothing changes any more."""
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda described: described[self._status_key] in self.transient),
            wait=tenacity.wait_fixed(0.1),
            stop=tenacity.stop_after_delay(24 * 3600),
        )
        settled: Properties = retrying(self._describe, arn)
        return settled

    @tenacity.retry(
        retry=tenacity.retry_if_result(bool), wait=tenacity.wait_fixed(0.05), stop=tenacity.stop_after_delay(300)
    )
    def _await_gone(self, arn: str) -> bool:
        """Wait until the resource is gone; the result is whether it is still there."""
        try:
            self._describe(arn)
        except ProvisioningError:
            return False
        return True


def _serves(described: Properties, wanted: Properties) -> bool:
    """Whether an endpoint is in service with the configuration that is wanted."""
    serving = described["EndpointConfigName"]
    return bool(described["EndpointStatus"] == "InService" and name_of(str(wanted["EndpointConfigName"])) == serving)


def typed(value: Any, shape: Shape) -> Any:
    """Values of a template as the API types them: CloudFormation takes "1" and "true" where a number or boolean is meant."""
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        return {key: typed(item, shape.members[key]) if key in shape.members else item for key, item in value.items()}
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [typed(item, shape.member) for item in value]
    if isinstance(shape, MapShape) and isinstance(value, dict):
        return {key: typed(item, shape.value) for key, item in value.items()}
    if isinstance(value, str):
        try:
            if shape.type_name in ("integer", "long"):
                return int(value)
            if shape.type_name in ("float", "double"):
                return float(value)
        except ValueError:
            return value
        if shape.type_name == "boolean" and value.lower() in ("true", "false"):
            return value.lower() == "true"
    if shape.type_name == "string" and isinstance(value, bool | int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return value
