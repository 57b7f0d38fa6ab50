"""When an alarm is in ALARM: M of the last N values beyond a threshold, and what values that are missing count for.

The rules and the words are those of the user guide: "Alarm evaluation", "Configuring how CloudWatch alarms treat missing data".
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

State = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]
Missing = Literal["missing", "ignore", "breaching", "notBreaching"]
TREATMENTS: tuple[Missing, ...] = get_args(Missing)

LOOK_BACK = 2
"""How many periods beyond EvaluationPeriods are read, so that a late or missing value does not decide. CloudWatch's documented
tables have five for an alarm of three."""

COMPARISONS: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "GreaterThanOrEqualToThreshold": (operator.ge, "greater than or equal to"),
    "GreaterThanThreshold": (operator.gt, "greater than"),
    "LessThanThreshold": (operator.lt, "less than"),
    "LessThanOrEqualToThreshold": (operator.le, "less than or equal to"),
}
"""The operators of a threshold that does not move; the others belong to anomaly detection."""


@dataclass(frozen=True)
class Rule:
    """What an alarm asks of a series.

    Attributes:
        comparison: a key of COMPARISONS.
        threshold: what each value is compared with.
        evaluation_periods: N, the values that count.
        datapoints_to_alarm: M, how many of them must be beyond the threshold.
        missing: TreatMissingData.
    """

    comparison: str
    threshold: float
    evaluation_periods: int
    datapoints_to_alarm: int
    missing: Missing

    @property
    def periods(self) -> int:
        """How many periods to read: the evaluation range."""
        return self.evaluation_periods + LOOK_BACK


def next_state(rule: Rule, values: Sequence[float | None], now: State) -> State:
    """The state that follows from the values of the evaluation range, the oldest first.

    Args:
        rule: of the alarm.
        values: `rule.periods` of them; None is missing.
        now: the present state, which is kept where nothing follows.
    """
    breaches, _ = COMPARISONS[rule.comparison]
    real = [breaches(value, rule.threshold) for value in values if value is not None]
    needed = rule.datapoints_to_alarm
    if len(real) >= rule.evaluation_periods:
        # Enough are there: the newest count, from as far back as it takes, and the treatment of missing ones does not.
        return "ALARM" if sum(real[-rule.evaluation_periods :]) >= needed else "OK"
    if rule.missing == "breaching":
        return "ALARM" if sum(real) + rule.evaluation_periods - len(real) >= needed else "OK"
    if rule.missing == "notBreaching" or sum(real) >= needed:
        return "ALARM" if sum(real) >= needed else "OK"
    if not real:
        return "INSUFFICIENT_DATA" if rule.missing == "missing" else now
    if not all(real):
        return "OK"
    if rule.missing == "ignore":
        return now
    # "Avoiding premature transitions to alarm state": all that there is breaches, and is too little. It is an alarm once the
    # oldest of it is as old as DatapointsToAlarm; before, the next value might be a good one, and the state stays.
    oldest = next(index for index, value in enumerate(values) if value is not None)
    return "ALARM" if len(values) - oldest >= needed else now


def reason(rule: Rule, values: Sequence[float | None], starts: Sequence[float], new: State) -> str:
    """Why, in CloudWatch's words.

    Args:
        rule: of the alarm.
        values: of the evaluation range, the oldest first.
        starts: when each of their periods began, POSIX seconds.
        new: the state that follows.
    """
    of = rule.evaluation_periods
    known = _evaluated(rule, values, starts)
    absent = of - len(known)
    if new == "INSUFFICIENT_DATA":
        return f"Insufficient Data: {_counted(absent, 'datapoint')} unknown."
    if absent and rule.missing in ("breaching", "notBreaching"):
        treated = "Breaching" if rule.missing == "breaching" else "NonBreaching"
        received = _counted(len(known), "datapoint") if known else "no datapoints were"
        return (
            f"Threshold Crossed: {received} received for {of} period{'s' if of != 1 else ''} and "
            f"{_counted(absent, 'missing datapoint')} treated as [{treated}]."
        )
    compare, words = COMPARISONS[rule.comparison]
    met = [(value, at) for value, at in known if compare(value, rule.threshold) == (new == "ALARM")]
    listed = ", ".join(f"{value!r} ({_day(at)})" for value, at in reversed(met))
    needed = rule.datapoints_to_alarm if new == "ALARM" else of - rule.datapoints_to_alarm + 1
    return (
        f"Threshold Crossed: {len(met)} out of the last {of} datapoints [{listed}] "
        f"{'was' if len(met) == 1 else 'were'} {'' if new == 'ALARM' else 'not '}{words} the threshold ({rule.threshold!r}) "
        f"(minimum {needed} datapoint{'s' if needed != 1 else ''} for "
        f"{'OK -> ALARM' if new == 'ALARM' else 'ALARM -> OK'} transition)."
    )


def reason_data(
    rule: Rule,
    values: Sequence[float | None],
    starts: Sequence[float],
    *,
    now: float,
    period_s: float,
    statistic: str | None,
) -> dict[str, Any]:
    """The same for programs: StateReasonData, before it is JSON.

    Args:
        rule: of the alarm.
        values: of the evaluation range, the oldest first.
        starts: when each of their periods began, POSIX seconds.
        now: when they were read, POSIX seconds.
        period_s: of the alarm, in the cloud's seconds.
        statistic: of its metric; None for an expression.
    """
    known = _evaluated(rule, values, starts)
    data: dict[str, Any] = {"version": "1.0", "queryDate": stamp(now)}
    if known:
        data["startDate"] = stamp(known[0][1])
    if statistic:
        data["statistic"] = statistic
    return data | {
        "period": int(period_s),
        "recentDatapoints": [value for value, _ in known],
        "threshold": rule.threshold,
        "evaluatedDatapoints": [{"timestamp": stamp(at), "value": value} for value, at in reversed(known)],
    }


def stamp(seconds: float) -> str:
    """A time as CloudWatch's notifications write it, such as `2019-10-02T17:04:40.989+0000`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"


def _evaluated(rule: Rule, values: Sequence[float | None], starts: Sequence[float]) -> list[tuple[float, float]]:
    known = [(float(value), at) for value, at in zip(values, starts, strict=True) if value is not None]
    return known[-rule.evaluation_periods :]


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{' was' if count == 1 else 's were'}"


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%d/%m/%y %H:%M:%S")
