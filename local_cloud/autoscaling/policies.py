"""Scaling policies: PutScalingPolicy, DescribeScalingPolicies, DeleteScalingPolicy."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

from local_cloud.autoscaling import alarms, metrics, steps
from local_cloud.autoscaling.errors import ObjectNotFound
from local_cloud.autoscaling.scalable import scalable
from local_cloud.autoscaling.service import (
    NAMESPACE,
    POLICY,
    AutoScaling,
    described,
    key_of,
    operation,
    page,
    selected,
    target_of,
)
from local_cloud.platform import Caller
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.service import Request, Response
from local_cloud.sagemaker.store import Document

TRACKING, STEP = "TargetTrackingScaling", "StepScaling"
CONFIGURATION = {TRACKING: "TargetTrackingScalingPolicyConfiguration", STEP: "StepScalingPolicyConfiguration"}
COOLDOWN_S = 300
"""What a cooldown is that is not given: 300 seconds for every dimension of SageMaker ("Define cooldown periods")."""


@operation("PutScalingPolicy")
def put_scaling_policy(service: AutoScaling, caller: Caller, request: Request) -> Response:
    """PutScalingPolicy: a new policy, or other settings of one; target tracking makes its alarms here."""
    target_of(service, caller, request)
    key = f"{key_of(request)}|{request['PolicyName']}"
    old = service.store.get(POLICY, caller.account, caller.region, key)
    kind, configuration = _checked(request.get("PolicyType") or (old or {}).get("PolicyType"), request)
    policy: Document = {
        "Key": key,
        "PolicyARN": old["PolicyARN"] if old else _arn(caller, request),
        "PolicyName": request["PolicyName"],
        "ServiceNamespace": NAMESPACE,
        "ResourceId": request["ResourceId"],
        "ScalableDimension": request["ScalableDimension"],
        "PolicyType": kind,
        CONFIGURATION[kind]: configuration,
        "CreationTime": old["CreationTime"] if old else time.time(),
        "Alarms": old["Alarms"] if old else [],
    }
    if kind == TRACKING:
        _refuse_second(service, caller, policy)
        metric = metrics.of_policy(
            configuration, request["ScalableDimension"], scalable(request["ResourceId"], request["ScalableDimension"])
        )
        policy["Alarms"] = alarms.make(service, caller.region, policy, metric)
    else:
        # One that tracked a target before had alarms of its own.
        alarms.delete(service, caller.region, [alarm["AlarmName"] for alarm in policy["Alarms"]])
        policy["Alarms"] = []
    service.store.put(POLICY, caller.account, caller.region, key, policy)
    service.changed.set()
    return {"PolicyARN": policy["PolicyARN"], "Alarms": policy["Alarms"]}


@operation("DescribeScalingPolicies")
def describe_scaling_policies(service: AutoScaling, caller: Caller, request: Request) -> Response:
    """DescribeScalingPolicies; the alarms of a step scaling policy are those that name it as an action."""
    policies = service.store.list(POLICY, caller.account, caller.region)
    kept = selected(policies, request, "PolicyNames", "PolicyName")
    naming = alarms.naming_policies(service, caller.region) if any(p["PolicyType"] == STEP for p in kept) else {}
    listed = []
    for policy in kept:
        shown = {member: value for member, value in policy.items() if member != "Key"}
        if policy["PolicyType"] == STEP:
            shown["Alarms"] = [
                {"AlarmName": alarm["AlarmName"], "AlarmARN": alarm["AlarmArn"]}
                for alarm in naming.get(policy["PolicyARN"], [])
            ]
        listed.append(shown)
    return page(listed, request, "ScalingPolicies")


@operation("DeleteScalingPolicy")
def delete_scaling_policy(service: AutoScaling, caller: Caller, request: Request) -> Response:
    """DeleteScalingPolicy: with the alarms that target tracking made; a user's own alarms stay."""
    key = f"{key_of(request)}|{request['PolicyName']}"
    policy = service.store.get(POLICY, caller.account, caller.region, key)
    if policy is None:
        raise ObjectNotFound(f"No scaling policy found for {described(request)}, policy name: {request['PolicyName']}")
    service.store.delete(POLICY, caller.account, caller.region, key)
    alarms.delete(service, caller.region, [alarm["AlarmName"] for alarm in policy["Alarms"]])
    return {}


def cooldown_of(policy: Document, *, out: bool) -> float:
    """How long a policy waits after a scaling activity before the next of the same direction, in the cloud's seconds."""
    if policy["PolicyType"] == STEP:
        given = policy[CONFIGURATION[STEP]].get("Cooldown")
    else:
        given = policy[CONFIGURATION[TRACKING]].get("ScaleOutCooldown" if out else "ScaleInCooldown")
    return float(COOLDOWN_S if given is None else given)


def _checked(kind: str | None, request: Request) -> tuple[str, Mapping[str, Any]]:
    """The type of a policy and its configuration, which fit together."""
    if kind is None:
        raise ValidationError(f"PolicyType must be specified: policy {request['PolicyName']} is not there yet.")
    if kind == "PredictiveScaling":
        raise ValidationError("PolicyType PredictiveScaling is only supported for Amazon ECS.")
    configuration: Mapping[str, Any] | None = request.get(CONFIGURATION[kind])
    if configuration is None:
        raise ValidationError(f"{CONFIGURATION[kind]} must be specified for PolicyType {kind}.")
    for other, member in CONFIGURATION.items():
        if other != kind and request.get(member) is not None:
            raise ValidationError(f"{member} is not for PolicyType {kind}.")
    if kind == STEP:
        steps.check(configuration)
    elif not configuration["TargetValue"] > 0:
        raise ValidationError(f"TargetValue must be greater than 0, got {configuration['TargetValue']}.")
    for member in ("Cooldown", "ScaleOutCooldown", "ScaleInCooldown"):
        if (configuration.get(member) or 0) < 0:
            raise ValidationError(f"{member} must not be negative, got {configuration[member]}.")
    return kind, configuration


def _refuse_second(service: AutoScaling, caller: Caller, policy: Document) -> None:
    def metric_of(document: Document) -> list[Any]:
        configuration = document[CONFIGURATION[TRACKING]]
        members = ("PredefinedMetricSpecification", "CustomizedMetricSpecification")
        return [configuration.get(member) for member in members]

    for other in selected(service.store.list(POLICY, caller.account, caller.region), policy):
        same_kind = other["PolicyType"] == TRACKING and other["Key"] != policy["Key"]
        if same_kind and metric_of(other) == metric_of(policy):
            raise ValidationError(
                "Only one TargetTrackingScaling policy for a given metric specification is allowed; "
                f"{other['PolicyName']} has this one already."
            )


def _arn(caller: Caller, request: Request) -> str:
    return (
        f"arn:aws:autoscaling:{caller.region}:{caller.account}:scalingPolicy:{uuid.uuid4()}:resource/{NAMESPACE}/"
        f"{request['ResourceId']}:policyName/{request['PolicyName']}"
    )
