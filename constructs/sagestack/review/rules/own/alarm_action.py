"""An alarm that goes off does something."""

from __future__ import annotations

from collections.abc import Iterator

from sagestack.review.assembly import Resource
from sagestack.review.intrinsics import as_text, referred
from sagestack.review.results import Severity
from sagestack.review.rules.own.rule import Around, Rule
from sagestack.review.rules.own.values import each, may_be_missing, may_be_other_than, part


def _is_watched_by_another(alarm: Resource, around: Around) -> bool:
    """Whether an endpoint's roll-back or a composite alarm waits for it."""
    names = {alarm.logical_id, str(alarm.properties.get("AlarmName"))}
    for endpoint in around.of_type("AWS::SageMaker::Endpoint"):
        rollback = part(endpoint.properties, "DeploymentConfig", "AutoRollbackConfiguration", "Alarms")
        for watched in each(rollback):
            name = part(watched, "AlarmName")
            if names & ({name} if isinstance(name, str) else referred(name)):
                return True
    for composite in around.of_type("AWS::CloudWatch::CompositeAlarm"):
        rule = composite.properties.get("AlarmRule")
        if alarm.logical_id in referred(rule) or any(f'("{name}")' in as_text(rule) for name in names):
            return True
    return False


def _broken(alarm: Resource, around: Around) -> Iterator[str]:
    is_off = may_be_other_than(alarm.properties.get("ActionsEnabled", True), True)
    if is_off:
        yield "Its actions are switched off (ActionsEnabled): nobody hears of it."
    elif may_be_missing(alarm.properties.get("AlarmActions")) and not _is_watched_by_another(alarm, around):
        yield "It has no AlarmActions, and no endpoint rolls back because of it: nobody hears of it."


RULE = Rule(
    name="SAGESTACK-AlarmAction",
    promise="An alarm has an action that is on, or an endpoint rolls back because of it, or a composite alarm contains it.",
    severity=Severity.WARNING,
    link="https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-actions.html",
    types=frozenset({"AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"}),
    broken=_broken,
)
