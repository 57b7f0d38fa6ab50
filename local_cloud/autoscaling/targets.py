"""Scalable targets: RegisterScalableTarget, DescribeScalableTargets, DeregisterScalableTarget."""

from __future__ import annotations

import secrets
import time
from typing import Any

from local_cloud.autoscaling import alarms, tags
from local_cloud.autoscaling.scalable import Capacity, scalable
from local_cloud.autoscaling.service import (
    NAMESPACE,
    POLICY,
    SCHEDULE,
    SERVICE,
    TARGET,
    AutoScaling,
    acting,
    key_of,
    operation,
    page,
    role_arn,
    selected,
    target_of,
)
from local_cloud.platform import Caller
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.service import Request, Response
from local_cloud.sagemaker.store import Document

SUSPENDED = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")
_DESCRIBED = (
    "ServiceNamespace",
    "ResourceId",
    "ScalableDimension",
    "MinCapacity",
    "MaxCapacity",
    "RoleARN",
    "CreationTime",
    "SuspendedState",
    "ScalableTargetARN",
)


@operation("RegisterScalableTarget")
def register_scalable_target(service: AutoScaling, caller: Caller, request: Request) -> Response:
    """RegisterScalableTarget: a new target, or other bounds of one; the loop brings its capacity between them.

    The role is always the service-linked one, whatever the request says, as for every SageMaker resource on AWS.
    """
    what = scalable(request["ResourceId"], request["ScalableDimension"])
    capacity = what.read(service.sagemaker, acting(caller.account, caller.region))
    with service.store.transaction():
        old = service.store.get(TARGET, caller.account, caller.region, key_of(request))
        target = _changed(old or _new(caller, request), request)
        check_bounds(target, capacity)
        service.store.put(TARGET, caller.account, caller.region, key_of(request), target)
        tags.save(service, caller, target["ScalableTargetARN"], request.get("Tags") or {})
    service.changed.set()
    return {"ScalableTargetARN": target["ScalableTargetARN"]}


@operation("DescribeScalableTargets")
def describe_scalable_targets(service: AutoScaling, caller: Caller, request: Request) -> Response:
    """DescribeScalableTargets."""
    targets = service.store.list(TARGET, caller.account, caller.region)
    kept = selected(targets, request, "ResourceIds", "ResourceId")
    return page([{member: target[member] for member in _DESCRIBED} for target in kept], request, "ScalableTargets")


@operation("DeregisterScalableTarget")
def deregister_scalable_target(service: AutoScaling, caller: Caller, request: Request) -> Response:
    """DeregisterScalableTarget: its policies, their alarms and its scheduled actions go too; the capacity stays."""
    target = target_of(service, caller, request)
    forget(service, caller.account, caller.region, target)
    return {}


def forget(service: AutoScaling, account: str, region: str, target: Document) -> None:
    """Remove a target and everything that depends on it."""
    left: list[str] = []
    with service.store.transaction():
        for kind in (POLICY, SCHEDULE):
            for document in selected(service.store.list(kind, account, region), target):
                service.store.delete(kind, account, region, document["Key"])
                left += [alarm["AlarmName"] for alarm in document.get("Alarms") or []]
        service.store.delete(TARGET, account, region, key_of(target))
        tags.forget(service, account, region, target["ScalableTargetARN"])
    alarms.delete(service, region, left)


def check_bounds(target: Document, capacity: Capacity) -> None:
    """Refuse bounds that cannot be.

    Raises:
        ValidationError: the minimum is above the maximum, or below what the resource can be scaled to.
    """
    low, high = target["MinCapacity"], target["MaxCapacity"]
    if low > high:
        raise ValidationError(
            f"Maximum capacity cannot be less than minimum capacity: MinCapacity is {low}, MaxCapacity {high}."
        )
    if low < 0:
        raise ValidationError(f"Minimum capacity cannot be less than 0, got {low}.")
    if low < capacity.least:
        raise ValidationError(
            f"Minimum capacity {low} is less than {capacity.least}, the least that {target['ResourceId']} can be scaled "
            f"in to: {capacity.least_why}."
        )


def _new(caller: Caller, request: Request) -> Document:
    if missing := [member for member in ("MinCapacity", "MaxCapacity") if request.get(member) is None]:
        raise ValidationError(
            f"{' and '.join(missing)} must be specified when registering a new scalable target: {request['ResourceId']} "
            "is not registered yet."
        )
    arn = f"arn:aws:{SERVICE}:{caller.region}:{caller.account}:scalable-target/{secrets.token_hex(18)}"
    return {
        "ServiceNamespace": NAMESPACE,
        "ResourceId": request["ResourceId"],
        "ScalableDimension": request["ScalableDimension"],
        "RoleARN": role_arn(caller.account),
        "CreationTime": time.time(),
        "SuspendedState": dict.fromkeys(SUSPENDED, False),
        "ScalableTargetARN": arn,
    }


def _changed(target: Document, request: Request) -> Document:
    """The target with what the request says; what it does not say stays."""
    bounds: dict[str, Any] = {
        member: request[member] for member in ("MinCapacity", "MaxCapacity") if request.get(member) is not None
    }
    suspended = {**target["SuspendedState"], **(request.get("SuspendedState") or {})}
    return {**target, **bounds, "SuspendedState": suspended}
