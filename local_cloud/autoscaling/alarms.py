"""The CloudWatch alarms behind scaling policies: those that target tracking makes itself, and those that name a policy.

An alarm tells its state by DescribeAlarms; nobody has to call the scaling service when it changes.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from local_cloud.autoscaling.service import AutoScaling
from local_cloud.cloudwatch.alarm_definition import definition_of
from local_cloud.cloudwatch.series import Series
from local_cloud.cloudwatch.windows import Wanted
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.store import Document

Alarm = Mapping[str, Any]

HIGH_PERIODS = 3
LOW_PERIODS = 15
LOW_SHARE = 0.9
"""A policy scales out after 3 minutes above its target, and in after 15 minutes below nine tenths of it ("How target
tracking scaling works": by more than 10 % lower; the periods are those that AWS's alarms have)."""
_NAMES_AT_ONCE = 100
"""Alarm names in one DeleteAlarms call (CloudWatch API reference)."""
ACTIONS = {"ALARM": "AlarmActions", "OK": "OKActions", "INSUFFICIENT_DATA": "InsufficientDataActions"}


def make(service: AutoScaling, region: str, policy: Document, metric: Mapping[str, Any]) -> list[dict[str, str]]:
    """Make the alarms of a target tracking policy, or change those that it has; as DescribeScalingPolicies lists them.

    Args:
        service: the service.
        region: where.
        policy: the policy; its Alarms are kept by their names.
        metric: what is tracked, from `metrics.of_policy`.

    Raises:
        ValidationError: CloudWatch cannot evaluate that metric.
    """
    target = float(policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"])
    kept = [alarm["AlarmName"] for alarm in policy.get("Alarms") or []]
    client = service.cloudwatch(region)
    listed: list[dict[str, str]] = []
    for kind, periods, comparison, threshold in (
        ("AlarmHigh", HIGH_PERIODS, "GreaterThanThreshold", target),
        ("AlarmLow", LOW_PERIODS, "LessThanThreshold", target * LOW_SHARE),
    ):
        name = next((name for name in kept if f"-{kind}-" in name), None)
        name = name or f"TargetTracking-{policy['ResourceId']}-{kind}-{uuid.uuid4()}"
        try:
            client.put_metric_alarm(
                AlarmName=name,
                AlarmDescription=f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {policy['PolicyARN']}.",
                AlarmActions=[policy["PolicyARN"]],
                EvaluationPeriods=periods,
                Threshold=threshold,
                ComparisonOperator=comparison,
                **metric,
            )
        except ClientError as error:
            delete(service, region, [alarm["AlarmName"] for alarm in listed if alarm["AlarmName"] not in kept])
            raise ValidationError(
                f"CloudWatch refuses the alarm of policy {policy['PolicyName']}: {error.response['Error']['Message']}"
            ) from error
        account = policy["PolicyARN"].split(":")[4]
        listed.append({"AlarmName": name, "AlarmARN": f"arn:aws:cloudwatch:{region}:{account}:alarm:{name}"})
    return listed


def delete(service: AutoScaling, region: str, names: list[str]) -> None:
    """Delete alarms; those that are gone already do not matter."""
    for start in range(0, len(names), _NAMES_AT_ONCE):
        service.cloudwatch(region).delete_alarms(AlarmNames=names[start : start + _NAMES_AT_ONCE])


def naming_policies(service: AutoScaling, region: str) -> dict[str, list[Alarm]]:
    """Every metric alarm that has scaling policies among its actions, by the policies' ARNs."""
    found: dict[str, list[Alarm]] = {}
    for answer in service.cloudwatch(region).get_paginator("describe_alarms").paginate(AlarmTypes=["MetricAlarm"]):
        for alarm in answer["MetricAlarms"]:
            for arn in {arn for key in ACTIONS.values() for arn in alarm.get(key) or [] if ":scalingPolicy:" in arn}:
                found.setdefault(arn, []).append(alarm)
    return found


def triggering(alarms: Iterable[Alarm], policy_arn: str) -> list[Alarm]:
    """The alarms whose state asks for the policy now."""
    return [
        alarm
        for alarm in alarms
        if alarm.get("ActionsEnabled", True) and policy_arn in (alarm.get(ACTIONS[alarm["StateValue"]]) or [])
    ]


def values(
    service: AutoScaling, account: str, region: str, alarm: Alarm, since: float | None, periods: int
) -> list[float]:
    """What an alarm's metric was in its last periods, without those that had no data; the oldest first.

    Args:
        service: the service.
        account: whose metric.
        region: where.
        alarm: from DescribeAlarms.
        since: POSIX seconds; periods that began before are left out: what was measured before the capacity changed says
            nothing about the capacity that there is now. Application Auto Scaling documents only that it waits for a
            cooldown; this is what makes one of 0 seconds usable.
        periods: how many at most.

    Raises:
        BadExpression: an expression cannot be computed.
    """
    definition, now = definition_of(alarm), time.time()
    if since is not None:
        periods = min(periods, math.floor(service.clock.since(since) / definition.period_s))
    if periods < 1:
        return []

    def read(metric: Mapping[str, Any], statistic: str, unit: str | None) -> Series:
        wanted = Wanted.of(
            account,
            region,
            metric,
            statistic=statistic,
            period_s=definition.period_s,
            periods=periods,
            at=now,
            unit=unit,
        )
        return service.values(wanted)

    return [value for value in definition.series(read, periods) if value is not None]
