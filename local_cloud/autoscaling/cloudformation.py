"""The AWS::ApplicationAutoScaling::* resource types: CloudFormation's words on one side, the API's on the other.

Which properties need a replacement, what Ref returns and which attributes Fn::GetAtt knows follow the CloudFormation
template reference of each type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.model import StructureShape

from local_cloud.autoscaling.errors import ObjectNotFound
from local_cloud.autoscaling.policies import CONFIGURATION
from local_cloud.autoscaling.service import NAMESPACE, AutoScaling, model
from local_cloud.platform import Caller
from local_cloud.sagemaker.cloudformation import Properties, Provisioned, ProvisioningError, typed
from local_cloud.sagemaker.errors import ApiError
from local_cloud.sagemaker.service import Request

_IDENTITY = ("ServiceNamespace", "ResourceId", "ScalableDimension")


@dataclass(frozen=True)
class ResourceType:
    """What CloudFormation must know of a type besides how to make it.

    Attributes:
        name: the type.
        replacing: properties whose change needs a replacement.
    """

    name: str
    replacing: tuple[str, ...]


TARGET = ResourceType("AWS::ApplicationAutoScaling::ScalableTarget", _IDENTITY)
POLICY = ResourceType("AWS::ApplicationAutoScaling::ScalingPolicy", ("PolicyName", "ScalingTargetId", *_IDENTITY))


class _Provisioner:
    """Calls the API for CloudFormation."""

    kind: ResourceType

    def __init__(self, service: Callable[[], AutoScaling], caller: Callable[[], Caller]) -> None:
        """Take the service and the caller when they are needed: the types are registered before the server runs."""
        self._service = service
        self._caller = caller

    def _call(self, operation: str, properties: Mapping[str, Any]) -> dict[str, Any]:
        shape = model().operation_model(operation).input_shape
        assert isinstance(shape, StructureShape)
        request: Request = {
            key: typed(value, shape.members[key]) if key in shape.members else value
            for key, value in properties.items()
            if value is not None
        }
        try:
            return self._service().call(operation, self._caller(), request)
        except ObjectNotFound as error:
            raise _Gone(_words(error)) from error
        except ApiError as error:
            raise ProvisioningError(_words(error)) from error


class _Gone(ProvisioningError):
    """What the call is about is not there."""


def _words(error: ApiError) -> str:
    """The form of a real stack event, so that people find what they find for AWS."""
    return f"{error.message} (Service: ApplicationAutoScaling, Status Code: {error.status}, Error Code: {error.code})"


class TargetProvisioner(_Provisioner):
    """AWS::ApplicationAutoScaling::ScalableTarget, its scheduled actions with it.

    Ref and Id are `resource id|scalable dimension|service namespace`.
    """

    kind = TARGET

    def create(self, _logical_id: str, properties: Properties, _stack_name: str) -> Provisioned:
        """Register the target, and put its scheduled actions; all of it or nothing."""
        self._register(properties)
        try:
            self._put_actions(properties, [])
        except ProvisioningError:
            self._call("DeregisterScalableTarget", _identity(properties))
            raise
        return _target_id(properties), {"Id": _target_id(properties)}

    def update(self, physical_id: str, old: Properties, new: Properties, _stack_name: str) -> Provisioned:
        """Change bounds, suspension and scheduled actions in place."""
        self._register(new)
        self._put_actions(new, old.get("ScheduledActions") or [])
        return physical_id, {"Id": physical_id}

    def delete(self, physical_id: str, _properties: Properties) -> None:
        """Deregister the target; one that is gone already is fine."""
        try:
            self._call("DeregisterScalableTarget", _identity_of(physical_id))
        except _Gone:
            return

    def _register(self, properties: Properties) -> None:
        members = (*_IDENTITY, "MinCapacity", "MaxCapacity", "RoleARN")
        request = {member: properties.get(member) for member in members}
        # A member that a template drops is off again.
        request["SuspendedState"] = {
            "DynamicScalingInSuspended": False,
            "DynamicScalingOutSuspended": False,
            "ScheduledScalingSuspended": False,
            **(properties.get("SuspendedState") or {}),
        }
        self._call("RegisterScalableTarget", request)

    def _put_actions(self, properties: Properties, old: list[Properties]) -> None:
        wanted = properties.get("ScheduledActions") or []
        kept = {action["ScheduledActionName"] for action in wanted}
        if len(kept) < len(wanted):
            raise ProvisioningError("ScheduledActions of a ScalableTarget must have different ScheduledActionNames.")
        for action in wanted:
            self._call("PutScheduledAction", {**_identity(properties), **action})
        for action in old:
            if action["ScheduledActionName"] not in kept:
                self._delete_action(properties, action["ScheduledActionName"])

    def _delete_action(self, properties: Properties, name: str) -> None:
        try:
            self._call("DeleteScheduledAction", {**_identity(properties), "ScheduledActionName": name})
        except _Gone:
            return


class PolicyProvisioner(_Provisioner):
    """AWS::ApplicationAutoScaling::ScalingPolicy. Ref and Arn are the policy's ARN."""

    kind = POLICY

    def create(self, _logical_id: str, properties: Properties, _stack_name: str) -> Provisioned:
        """Put the policy."""
        return self._put(properties)

    def update(self, _physical_id: str, _old: Properties, new: Properties, _stack_name: str) -> Provisioned:
        """Change the policy in place."""
        return self._put(new)

    def delete(self, physical_id: str, _properties: Properties) -> None:
        """Delete the policy; one that is gone already, with its target for example, is fine."""
        for policy in self._call("DescribeScalingPolicies", {"ServiceNamespace": NAMESPACE})["ScalingPolicies"]:
            if policy["PolicyARN"] == physical_id:
                self._call("DeleteScalingPolicy", {**_identity(policy), "PolicyName": policy["PolicyName"]})

    def _put(self, properties: Properties) -> Provisioned:
        target_id = properties.get("ScalingTargetId")
        named = [member for member in _IDENTITY if properties.get(member)]
        if target_id and named:
            raise ProvisioningError(
                f"Specify either ScalingTargetId or {', '.join(named)} in a ScalingPolicy, not both."
            )
        identity = _identity_of(target_id) if target_id else _identity(properties)
        members = ("PolicyName", "PolicyType", *CONFIGURATION.values())
        request = {**identity, **{member: properties.get(member) for member in members}}
        arn = str(self._call("PutScalingPolicy", request)["PolicyARN"])
        return arn, {"Arn": arn}


def _identity(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {member: properties.get(member) for member in _IDENTITY}


def _target_id(properties: Mapping[str, Any]) -> str:
    return "|".join(str(properties[member]) for member in ("ResourceId", "ScalableDimension", "ServiceNamespace"))


def _identity_of(target_id: str) -> dict[str, str]:
    parts = target_id.rsplit("|", 2)
    if len(parts) != len(_IDENTITY):
        raise ProvisioningError(
            f"{target_id} is no ScalingTargetId, which is what Ref of an {TARGET.name} returns: "
            "resource id|scalable dimension|service namespace."
        )
    return dict(zip(("ResourceId", "ScalableDimension", "ServiceNamespace"), parts, strict=True))


PROVISIONERS: tuple[type[TargetProvisioner] | type[PolicyProvisioner], ...] = (TargetProvisioner, PolicyProvisioner)
