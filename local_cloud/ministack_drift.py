"""What MiniStack's drift detection cannot read and CloudFormation's can: policies of roles and of buckets, and alarms.

Beside `ministack_seams` a module that knows MiniStack; the same test holds every name of it that is used here. These are
the types that people change by hand.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/resource-import-supported-resources.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ministack.services import cloudwatch, iam, s3
from ministack.services.cloudformation import drift

_ALARM = (
    "MetricName",
    "Namespace",
    "Statistic",
    "ExtendedStatistic",
    "Period",
    "EvaluationPeriods",
    "DatapointsToAlarm",
    "Threshold",
    "ComparisonOperator",
    "TreatMissingData",
    "ActionsEnabled",
    "AlarmActions",
    "OKActions",
    "InsufficientDataActions",
)


def install() -> None:
    """Let DetectStackDrift compare these types, too."""
    drift._DRIFT_READERS["AWS::IAM::Policy"] = (_policy, frozenset({"PolicyDocument"}))
    drift._DRIFT_READERS["AWS::S3::BucketPolicy"] = (_bucket_policy, frozenset({"PolicyDocument"}))
    drift._DRIFT_READERS["AWS::CloudWatch::Alarm"] = (_alarm, frozenset(_ALARM))


def _policy(physical_id: str, properties: Mapping[str, Any]) -> dict[str, Any] | None:
    name = properties.get("PolicyName") or physical_id
    for role_name in properties.get("Roles") or []:
        role = iam._roles.get(role_name)
        document = (role or {}).get("InlinePolicies", {}).get(name)
        if document is None:
            return None
        parsed = json.loads(document) if isinstance(document, str) else document
        if parsed != properties.get("PolicyDocument"):
            return {"PolicyDocument": parsed}
    return {"PolicyDocument": properties.get("PolicyDocument")}


def _bucket_policy(_physical_id: str, properties: Mapping[str, Any]) -> dict[str, Any] | None:
    document = s3._bucket_policies.get(properties.get("Bucket", ""))
    if document is None:
        return None
    return {"PolicyDocument": json.loads(document) if isinstance(document, str | bytes) else document}


def _alarm(physical_id: str, _properties: Mapping[str, Any]) -> dict[str, Any] | None:
    alarm = cloudwatch._alarms.get(physical_id)
    if alarm is None:
        return None
    return {key: _plain(alarm[key]) for key in _ALARM if alarm.get(key) is not None}


def _plain(value: Any) -> Any:
    """5.0 is 5 in a template."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
