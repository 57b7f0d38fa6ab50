"""What CloudWatch tells when an alarm changes its state: the message to topics and the event to EventBridge.

The message is as topics get it from AWS; the event is that of the user guide, "Alarm events and EventBridge".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

import botocore.session

from local_cloud.cloudwatch.alarm_rules import stamp

ACTIONS = {"ALARM": "AlarmActions", "OK": "OKActions", "INSUFFICIENT_DATA": "InsufficientDataActions"}
"""Which actions a state has."""
DETAIL_TYPE = "CloudWatch Alarm State Change"


def topic_message(alarm: Mapping[str, Any], old: str, at: float) -> tuple[str, str]:
    """The subject and the message for a topic.

    Args:
        alarm: as DescribeAlarms gives it, in its new state.
        old: the state before.
        at: when it changed, POSIX seconds.
    """
    _, _, _, region, account, *_ = alarm["AlarmArn"].split(":")
    message = {
        "AlarmName": alarm["AlarmName"],
        "AlarmDescription": alarm.get("AlarmDescription") or None,
        "AWSAccountId": account,
        "AlarmConfigurationUpdatedTimestamp": stamp(_seconds(alarm["AlarmConfigurationUpdatedTimestamp"])),
        "NewStateValue": alarm["StateValue"],
        "NewStateReason": alarm["StateReason"],
        "StateChangeTime": stamp(at),
        "Region": _region_name(region),
        "AlarmArn": alarm["AlarmArn"],
        "OldStateValue": old,
        **{member: alarm.get(member) or [] for member in ("OKActions", "AlarmActions", "InsufficientDataActions")},
        "Trigger": _trigger(alarm),
    }
    return f'{alarm["StateValue"]}: "{alarm["AlarmName"]}" in {_region_name(region)}'[:100], json.dumps(message)


def event(alarm: Mapping[str, Any], old: Mapping[str, Any], at: float) -> dict[str, Any]:
    """The detail of the event.

    Args:
        alarm: as DescribeAlarms gives it, in its new state.
        old: the state before: `value`, and where known `reason`, `reasonData` and `timestamp`.
        at: when it changed, POSIX seconds.
    """
    configuration: dict[str, Any] = {"description": alarm.get("AlarmDescription") or ""}
    if "AlarmRule" in alarm:
        configuration |= {"alarmRule": alarm["AlarmRule"], "actionsEnabled": alarm.get("ActionsEnabled", True)}
    else:
        configuration["metrics"] = _event_metrics(alarm)
    state = {"value": alarm["StateValue"], "reason": alarm["StateReason"], "timestamp": stamp(at)}
    if alarm.get("StateReasonData"):
        state["reasonData"] = alarm["StateReasonData"]
    return {
        "alarmName": alarm["AlarmName"],
        "state": state,
        "previousState": dict(old),
        "configuration": configuration,
    }


def _trigger(alarm: Mapping[str, Any]) -> dict[str, Any]:
    trigger: dict[str, Any] = {
        "Period": alarm.get("Period"),
        "EvaluationPeriods": alarm["EvaluationPeriods"],
        "DatapointsToAlarm": alarm.get("DatapointsToAlarm") or alarm["EvaluationPeriods"],
        "ComparisonOperator": alarm["ComparisonOperator"],
        "Threshold": alarm["Threshold"],
        "TreatMissingData": alarm.get("TreatMissingData") or "missing",
        "EvaluateLowSampleCountPercentile": alarm.get("EvaluateLowSampleCountPercentile") or "",
    }
    if alarm.get("Metrics"):
        del trigger["Period"]
        return trigger | {"Metrics": [_trigger_query(query) for query in alarm["Metrics"]]}
    kind = "ExtendedStatistic" if alarm.get("ExtendedStatistic") else "Statistic"
    statistic = alarm.get(kind) or "Average"
    return {
        "MetricName": alarm["MetricName"],
        "Namespace": alarm["Namespace"],
        "StatisticType": kind,
        kind: statistic.upper() if kind == "Statistic" else statistic,
        "Unit": alarm.get("Unit"),
        "Dimensions": _dimensions(alarm),
        **trigger,
    }


def _trigger_query(query: Mapping[str, Any]) -> dict[str, Any]:
    if not query.get("MetricStat"):
        return dict(query)
    metric = {**query["MetricStat"]["Metric"], "Dimensions": _dimensions(query["MetricStat"]["Metric"])}
    return {**query, "MetricStat": {**query["MetricStat"], "Metric": metric}}


def _dimensions(metric: Mapping[str, Any]) -> list[dict[str, str]]:
    # So CloudWatch writes them in this message, and nowhere else.
    return [{"value": each["Value"], "name": each["Name"]} for each in metric.get("Dimensions") or []]


def _event_metrics(alarm: Mapping[str, Any]) -> list[dict[str, Any]]:
    queries = alarm.get("Metrics") or [
        {
            "Id": "m1",
            "MetricStat": {
                "Metric": alarm,
                "Period": alarm.get("Period"),
                "Stat": alarm.get("ExtendedStatistic") or alarm.get("Statistic") or "Average",
            },
        }
    ]
    written = []
    for query in queries:
        one: dict[str, Any] = {"id": query["Id"], "returnData": query.get("ReturnData", True)}
        if query.get("Label"):
            one["label"] = query["Label"]
        if statistic := query.get("MetricStat"):
            metric = statistic["Metric"]
            one["metricStat"] = {
                "metric": {
                    "namespace": metric["Namespace"],
                    "name": metric["MetricName"],
                    "dimensions": {each["Name"]: each["Value"] for each in metric.get("Dimensions") or []},
                },
                "period": statistic["Period"],
                "stat": statistic["Stat"],
            }
        else:
            one["expression"] = query["Expression"]
        written.append(one)
    return written


def _seconds(value: Any) -> float:
    return value.timestamp() if isinstance(value, datetime) else datetime.fromtimestamp(value, UTC).timestamp()


@cache
def _region_name(region: str) -> str:
    """As people say it, "US East (N. Virginia)": messages and subjects have that."""
    for partition in botocore.session.get_session().get_data("endpoints")["partitions"]:
        if region in partition["regions"]:
            return str(partition["regions"][region]["description"])
    return region
