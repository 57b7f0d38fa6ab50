"""Whether an alarm rings later than it did, and whether it does anything then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sagestack.review.changes.drafts import Context, Draft
from sagestack.review.changes.property_values import number
from sagestack.review.intrinsics import as_text
from sagestack.review.results import Action, Severity

_RINGS_ABOVE = ("GreaterThanThreshold", "GreaterThanOrEqualToThreshold")
_RINGS_BELOW = ("LessThanThreshold", "LessThanOrEqualToThreshold")


def judge_alarm(draft: Draft, context: Context) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html"""
    name = as_text(draft.resource.properties.get("AlarmName", draft.resource.path))
    if draft.action is Action.DELETED:
        draft.say(Severity.WARNING, f"Nobody is told any more of what alarm {name} watches.")
        return
    if draft.before is None or draft.after is None:
        return
    old, new = draft.before.properties, draft.after.properties
    if new.get("ActionsEnabled") is False and old.get("ActionsEnabled") is not False:
        draft.say(Severity.WARNING, f"Alarm {name} rings and does nothing: its actions are off.")
    if old.get("AlarmActions") and not new.get("AlarmActions"):
        draft.say(Severity.WARNING, f"Alarm {name} rings and does nothing: it has no action any more.")
    if draft.action is not Action.UPDATED:
        return
    later = list(_later(old, new))
    if later:
        draft.say(Severity.WARNING, f"Alarm {name} rings later or never: {', '.join(later)}.")
    elif change := draft.changed("Threshold"):
        draft.say(Severity.NOTICE, f"Its threshold goes from {as_text(change.before)} to {as_text(change.after)}.")


def _later(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """What makes it ring later, in words; nothing where it rings sooner, or nobody can tell."""
    was, is_now = number(old.get("Threshold")), number(new.get("Threshold"))
    operator = new.get("ComparisonOperator")
    if was is not None and is_now is not None and operator == old.get("ComparisonOperator"):
        is_weaker = (operator in _RINGS_ABOVE and is_now > was) or (operator in _RINGS_BELOW and is_now < was)
        if is_weaker:
            yield f"its threshold goes from {was:g} to {is_now:g}"
    periods, more = (number(each.get("EvaluationPeriods"), 1) or 1 for each in (old, new))
    points, more_points = (
        number(each.get("DatapointsToAlarm"), all_of) or all_of for each, all_of in ((old, periods), (new, more))
    )
    # One bad point rings at once, among however many it is looked for.
    if more_points > points or (more_points == points > 1 and more < periods):
        yield f"{more_points:g} bad data points of {more:g} instead of {points:g} of {periods:g}"
    if old.get("TreatMissingData") == "breaching" and new.get("TreatMissingData") != "breaching":
        yield "no data is no alarm any more"
