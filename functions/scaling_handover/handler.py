"""Takes the registration of a variant with Application Auto Scaling off, and puts it back.

Two custom resources, one before the endpoint and one after it, by CDK's provider framework: what is raised fails the stack.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import boto3

from .names import RELEASE

_NAMESPACE = "sagemaker"
_ALARM_MEMBERS = (
    "AlarmName",
    "AlarmDescription",
    "ActionsEnabled",
    "OKActions",
    "AlarmActions",
    "InsufficientDataActions",
    "MetricName",
    "Namespace",
    "Statistic",
    "Dimensions",
    "Period",
    "EvaluationPeriods",
    "DatapointsToAlarm",
    "Threshold",
    "ComparisonOperator",
    "TreatMissingData",
)


def handler(event: dict[str, Any], _context: object) -> dict[str, str]:
    """Release before the endpoint changes, restore after it. Creation and deletion are CloudFormation's own affair.

    Forward, what is put back is the registration and its scheduled actions; the policies of the new type are new resources,
    which CloudFormation makes. On the way back it makes nothing, so all of it is put back here. The first resource meets
    an endpoint that was never moved, or that SageMaker has taken back; the second comes only where the endpoint moved.

    Raises:
        ClientError: Application Auto Scaling, SageMaker or CloudFormation refused.
        RuntimeError: the endpoint was updated, and still runs on another type.
    """
    properties = event["ResourceProperties"]
    registration = json.loads(properties["Registration"])
    target = registration["Target"]
    old_type = event.get("OldResourceProperties", {}).get("InstanceType")
    if event["RequestType"] == "Update" and old_type != properties["InstanceType"]:
        scaling = boto3.client("application-autoscaling")
        is_there = is_on(boto3.client("sagemaker"), target["ResourceId"], properties["InstanceType"])
        if is_going_back(boto3.client("cloudformation"), event["StackId"]):
            if is_there:
                register(scaling, registration)
                put_policies(scaling, boto3.client("cloudwatch"), registration)
            elif event["ResourceType"] == RELEASE:
                release(scaling, target)
        elif event["ResourceType"] == RELEASE:
            release(scaling, target)
        elif is_there:
            register(scaling, registration)
        else:
            raise RuntimeError(
                f"{target['ResourceId']} does not run on {properties['InstanceType']} after its update: SageMaker has taken"
                " it back, and DescribeEndpoint may say why."
            )
    return {"PhysicalResourceId": f"{event['ResourceType']}/{target['ResourceId']}"}


def is_going_back(cloudformation: Any, stack_id: str) -> bool:
    """Whether CloudFormation undoes an update, rather than doing one."""
    (stack,) = cloudformation.describe_stacks(StackName=stack_id)["Stacks"]
    status: str = stack["StackStatus"]
    return "ROLLBACK" in status


def is_on(sagemaker: Any, resource_id: str, instance_type: str) -> bool:
    """Whether the variant runs on that type already, as it does after an update, and before one that SageMaker took back."""
    _, endpoint, _, variant = resource_id.split("/")
    config = sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointConfigName"]
    variants = sagemaker.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"]
    types: dict[str, str] = {each["VariantName"]: each.get("InstanceType", "") for each in variants}
    return types.get(variant) == instance_type


def release(scaling: Any, target: Mapping[str, Any]) -> None:
    """Deregister; its policies and scheduled actions go too. One that is not registered is fine."""
    try:
        scaling.deregister_scalable_target(**_identity(target))
    except scaling.exceptions.ObjectNotFoundException:
        return


def register(scaling: Any, registration: Mapping[str, Any]) -> None:
    """Register with its bounds and scheduled actions."""
    target = registration["Target"]
    bounds = {name: int(target[name]) for name in ("MinCapacity", "MaxCapacity")}
    scaling.register_scalable_target(**_identity(target), **bounds)
    for action in registration["ScheduledActions"]:
        scaling.put_scheduled_action(**_identity(target), **action)


def put_policies(scaling: Any, cloudwatch: Any, registration: Mapping[str, Any]) -> None:
    """Put the policies, and let the alarm find the one that it starts."""
    for policy in registration["Policies"]:
        arn = scaling.put_scaling_policy(**_identity(registration["Target"]), **policy)["PolicyARN"]
        if policy["PolicyType"] == "StepScaling" and registration["AlarmName"]:
            _point(cloudwatch, registration["AlarmName"], policy["PolicyName"], arn)


def _point(cloudwatch: Any, alarm_name: str, policy_name: str, arn: str) -> None:
    """Let the alarm start the policy where it still has the ARN of one of the same name, which is gone."""
    for alarm in cloudwatch.describe_alarms(AlarmNames=[alarm_name])["MetricAlarms"]:
        actions = [arn if each.endswith(f":policyName/{policy_name}") else each for each in alarm["AlarmActions"]]
        if actions != alarm["AlarmActions"]:
            kept = {member: alarm[member] for member in _ALARM_MEMBERS if member in alarm}
            cloudwatch.put_metric_alarm(**{**kept, "AlarmActions": actions})


def _identity(target: Mapping[str, Any]) -> dict[str, str]:
    return {
        "ServiceNamespace": _NAMESPACE,
        "ResourceId": target["ResourceId"],
        "ScalableDimension": target["ScalableDimension"],
    }
