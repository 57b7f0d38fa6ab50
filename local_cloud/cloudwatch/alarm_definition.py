"""What an alarm asks for, read from how PutMetricAlarm and DescribeAlarms write it, and what of that is refused.

The limits are those of PutMetricAlarm in the API reference.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local_cloud.cloudwatch import metric_math
from local_cloud.cloudwatch.alarm_rules import COMPARISONS, TREATMENTS, Rule
from local_cloud.cloudwatch.metric_math import BadExpression
from local_cloud.cloudwatch.series import Series
from local_cloud.cloudwatch.windows import NoStatistic, check_statistic

MAX_QUERIES = 10
"""Metrics of one alarm on an expression."""
DAY_S = 86_400
WEEK_S = 7 * DAY_S
_NOT_EMULATED = {
    "ThresholdMetricId": "anomaly detection",
    "EvaluationWindow": "another evaluation window than the last periods",
    "WarmUpConfiguration": "a time to warm up",
    "EvaluationCriteria": "PromQL and other criteria",
    "EvaluationInterval": "another interval of evaluation",
}
_ID = re.compile(r"[a-z][a-zA-Z0-9_]*")

Read = Callable[[Mapping[str, Any], str, str | None], Series]
"""Reads a metric (Namespace, MetricName, Dimensions) by a statistic, of a unit or of any."""


class BadAlarm(ValueError):
    """The alarm cannot be evaluated; the message says why."""


@dataclass(frozen=True)
class Definition:
    """An alarm that can be evaluated.

    Attributes:
        rule: when it is in ALARM.
        period_s: of its metrics, in the cloud's seconds.
        queries: as in Metrics; an alarm on one metric has one query, too.
        waits_for_samples: whether a percentile of too few values leaves the state as it is.
    """

    rule: Rule
    period_s: float
    queries: Sequence[Mapping[str, Any]]
    waits_for_samples: bool = False

    @property
    def result(self) -> Mapping[str, Any]:
        """The query whose values are compared with the threshold."""
        return next(query for query in self.queries if query.get("ReturnData", True))

    @property
    def statistic(self) -> str | None:
        """Of what is compared; None for an expression."""
        return str(self.result["MetricStat"]["Stat"]) if "MetricStat" in self.result else None

    def series(self, read: Read, periods: int) -> Series:
        """The values that are compared with the threshold, the oldest first.

        Raises:
            BadExpression: an expression cannot be computed, or several name each other.
        """
        series: dict[str, Series] = {}
        for query in self.queries:
            if statistic := query.get("MetricStat"):
                series[query["Id"]] = read(statistic["Metric"], statistic["Stat"], statistic.get("Unit"))
        metrics = list(series)
        waiting = {
            query["Id"]: metric_math.parse(query["Expression"]) for query in self.queries if "Expression" in query
        }
        while waiting:
            ready = [name for name, expression in waiting.items() if expression.names <= series.keys()]
            if not ready:
                raise BadExpression(f"The expressions {', '.join(sorted(waiting))} name each other.")
            for name in ready:
                series[name] = waiting.pop(name).over(series, metrics, self.period_s, periods)
        return series[self.result["Id"]]

    def needed_samples(self) -> float:
        """How many values a percentile needs to say something, by the user guide: "Percentile-based alarms and low data
        samples"; 0 for what is no percentile."""
        if not self.statistic or not self.statistic.startswith("p"):
            return 0.0
        percent = float(self.statistic[1:])
        rest = 100 - percent if percent >= 50 else percent
        return 1000 / rest if rest else 0.0


def definition_of(alarm: Mapping[str, Any]) -> Definition:
    """An alarm as it is evaluated.

    Args:
        alarm: as PutMetricAlarm takes it, as DescribeAlarms gives it, or as a template has it (numbers may be text).

    Raises:
        BadAlarm: it could never be evaluated, or has something that the local cloud does not compute, by name.
    """
    for member, what in _NOT_EMULATED.items():
        if alarm.get(member):
            raise BadAlarm(f"The local cloud does not evaluate {member} ({what}) of an alarm.")
    comparison = alarm.get("ComparisonOperator")
    if comparison not in COMPARISONS:
        raise BadAlarm(
            f"The local cloud does not evaluate ComparisonOperator {comparison} (anomaly detection); it has "
            f"{', '.join(COMPARISONS)}."
        )
    if alarm.get("Threshold") is None:
        raise BadAlarm("An alarm needs a Threshold.")
    try:
        queries = alarm.get("Metrics") or []
        definition = _of_queries(alarm, queries) if queries else _of_one(alarm)
        definition.series(lambda *_: [0.0, None, 2.0, 1.0, None], 5)
    except (BadExpression, NoStatistic) as error:
        raise BadAlarm(str(error)) from error
    return definition


def period_of(alarm: Mapping[str, Any]) -> float:
    """The period of an alarm, in the cloud's seconds: that of its metrics where it has several."""
    statistics = [query["MetricStat"] for query in alarm.get("Metrics") or [] if query.get("MetricStat")]
    return float(statistics[0]["Period"] if statistics else _period_without_metrics(alarm))


def _period_without_metrics(alarm: Mapping[str, Any]) -> Any:
    return alarm.get("Period") or next(
        (query["Period"] for query in alarm.get("Metrics") or [] if query.get("Period")), 60
    )


def _of_one(alarm: Mapping[str, Any]) -> Definition:
    for member in ("Namespace", "MetricName"):
        if not alarm.get(member):
            raise BadAlarm(f"An alarm needs {member}, or Metrics.")
    statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic") or "Average"
    check_statistic(statistic)
    metric = {member: alarm.get(member) for member in ("Namespace", "MetricName", "Dimensions")}
    period_s = _period(alarm.get("Period") or 60)
    stat = {"Metric": metric, "Stat": statistic, "Period": period_s, "Unit": alarm.get("Unit") or None}
    low = alarm.get("EvaluateLowSampleCountPercentile") or "evaluate"
    if low not in ("evaluate", "ignore"):
        raise BadAlarm(f"EvaluateLowSampleCountPercentile is evaluate or ignore, not {low}.")
    return Definition(_rule(alarm, period_s), period_s, [{"Id": "m1", "MetricStat": stat}], low == "ignore")


def _of_queries(alarm: Mapping[str, Any], queries: Sequence[Mapping[str, Any]]) -> Definition:
    for member in ("MetricName", "Namespace", "Statistic", "ExtendedStatistic", "Period", "Dimensions", "Unit"):
        if alarm.get(member):
            raise BadAlarm(f"An alarm has Metrics or {member}, not both.")
    ids = [str(query.get("Id", "")) for query in queries]
    for name in ids:
        if not _ID.fullmatch(name) or ids.count(name) > 1:
            raise BadAlarm(
                f"Each Id in Metrics is there once and begins with a lower case letter, which {name!r} does not."
            )
    returned = [query["Id"] for query in queries if query.get("ReturnData", True)]
    if len(returned) != 1:
        raise BadAlarm(f"Exactly one of Metrics must have ReturnData true; here it is {', '.join(returned) or 'none'}.")
    statistics = [query["MetricStat"] for query in queries if query.get("MetricStat")]
    if len(statistics) > MAX_QUERIES:
        raise BadAlarm(f"An alarm has at most {MAX_QUERIES} metrics, this one {len(statistics)}.")
    periods = {_period(statistic["Period"]) for statistic in statistics}
    if len(periods) > 1:
        raise BadAlarm(
            f"All metrics of an alarm have one Period; here they are {', '.join(f'{each:g}' for each in sorted(periods))}."
        )
    for query in queries:
        _check_query(query, set(ids))
    period_s = periods.pop() if periods else _period(_period_without_metrics(alarm))
    return Definition(_rule(alarm, period_s), period_s, queries)


def _check_query(query: Mapping[str, Any], ids: set[str]) -> None:
    if query.get("AccountId"):
        raise BadAlarm(
            f"{query['Id']} of Metrics has AccountId: the local cloud does not read another account's metrics."
        )
    if bool(query.get("MetricStat")) == bool(query.get("Expression")):
        raise BadAlarm(f"{query['Id']} of Metrics needs a MetricStat or an Expression, one of them.")
    if query.get("MetricStat"):
        check_statistic(query["MetricStat"]["Stat"])
        return
    if re.match(r"\s*SELECT\b", query["Expression"]):
        raise BadAlarm(f"{query['Id']} of Metrics is a Metrics Insights query, which the local cloud does not compute.")
    unknown = metric_math.parse(query["Expression"]).names - ids
    if unknown:
        raise BadAlarm(
            f"The expression {query['Expression']} names {', '.join(sorted(unknown))}; Metrics has {', '.join(sorted(ids))}."
        )


def _rule(alarm: Mapping[str, Any], period_s: float) -> Rule:
    of = int(alarm.get("EvaluationPeriods") or 0)
    if of < 1:
        raise BadAlarm(f"EvaluationPeriods must be at least 1, got {of}.")
    needed = int(alarm.get("DatapointsToAlarm") or of)
    if not 1 <= needed <= of:
        raise BadAlarm(f"DatapointsToAlarm must be between 1 and EvaluationPeriods ({of}), got {needed}.")
    longest = WEEK_S if period_s >= 3600 else DAY_S
    if of * period_s > longest:
        raise BadAlarm(
            f"EvaluationPeriods * Period must be <= {longest}, got {of} * {period_s:g}: metrics cannot be checked across more "
            f"than {'a week' if longest == WEEK_S else 'a day, or a week with a Period of an hour and more'}."
        )
    missing = alarm.get("TreatMissingData") or "missing"
    if missing not in TREATMENTS:
        raise BadAlarm(f"TreatMissingData is one of {', '.join(TREATMENTS)}, not {missing}.")
    return Rule(alarm["ComparisonOperator"], float(alarm["Threshold"]), of, needed, missing)


def _period(value: Any) -> float:
    period_s = float(value)
    if period_s not in (10, 20, 30) and (period_s < 60 or period_s % 60):
        raise BadAlarm(f"Period must be 10, 20, 30 or a multiple of 60, got {period_s:g}.")
    return period_s
