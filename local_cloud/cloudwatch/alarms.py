"""Evaluates the alarms of CloudWatch all the time, each about as often as its period asks for.

MiniStack keeps alarms, tells them and carries their actions out; what state they are in is decided here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from local_cloud.clock import Clock
from local_cloud.cloudwatch import metric_math
from local_cloud.cloudwatch.alarm_rules import COMPARISONS, Rule, next_state, reason
from local_cloud.cloudwatch.metric_math import BadExpression, Series
from local_cloud.cloudwatch.windows import NoStatistic, Windows, check_statistic

logger = logging.getLogger(__name__)

LONGEST_S = 10.0
"""An alarm is evaluated once in its period, and at least each ten of the cloud's seconds."""
SHORTEST_REAL_S = 0.25
"""No more often than metrics are published, in real seconds."""
LARGEST_REAL_S = 0.5
"""Nobody waits longer than that for a state, however slow the clock is."""


class BadAlarm(ValueError):
    """The alarm has something that cannot be evaluated here; the message says what."""


@dataclass(frozen=True)
class Placed:
    """An alarm where it is: `definition` is as DescribeAlarms gives it."""

    account: str
    region: str
    definition: Mapping[str, Any]


class Alarms(Protocol):
    """Where alarms are kept."""

    def metric_alarms(self) -> list[Placed]:
        """All metric alarms, of all accounts and regions."""

    def set_state(self, alarm: Placed, state: str, why: str) -> None:
        """Change the state of an alarm, remember it, and do what it asks for."""


def check(definition: Mapping[str, Any]) -> None:
    """Refuse an alarm that would never be evaluated, when it is made.

    Raises:
        BadAlarm: what it has and the local cloud does not.
    """
    comparison = definition.get("ComparisonOperator")
    if comparison not in COMPARISONS:
        raise BadAlarm(
            f"The local cloud does not evaluate ComparisonOperator {comparison} (anomaly detection); it has "
            f"{', '.join(COMPARISONS)}."
        )
    try:
        queries = definition.get("Metrics")
        if not queries:
            check_statistic(definition.get("ExtendedStatistic") or definition.get("Statistic") or "Average")
            return
        returned = [query["Id"] for query in queries if query.get("ReturnData", True)]
        if len(returned) != 1:
            raise BadAlarm(
                f"Exactly one of Metrics must have ReturnData true; here it is {', '.join(returned) or 'none'}."
            )
        ids = {query["Id"] for query in queries}
        for query in queries:
            if query.get("MetricStat"):
                check_statistic(query["MetricStat"]["Stat"])
            elif query.get("Expression"):
                unknown = metric_math.parse(query["Expression"]).names - ids
                if unknown:
                    raise BadAlarm(
                        f"The expression {query['Expression']} names {', '.join(sorted(unknown))}; Metrics has "
                        f"{', '.join(sorted(ids))}."
                    )
            else:
                raise BadAlarm(f"{query['Id']} of Metrics needs a MetricStat or an Expression.")
    except (BadExpression, NoStatistic) as error:
        raise BadAlarm(str(error)) from error


class Evaluator:
    """Looks at every alarm in turn, from a thread of its own."""

    def __init__(self, alarms: Alarms, windows: Windows, clock: Clock) -> None:
        self._alarms, self._windows, self._clock = alarms, windows, clock
        self._due: dict[tuple[str, str, str], float] = {}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alarms", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; no state changes after this."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(3)

    def evaluate(self, alarm: Placed) -> None:
        """Give one alarm the state that follows from its metrics.

        Raises:
            BadExpression, NoStatistic: it cannot be evaluated.
        """
        definition = alarm.definition
        rule = Rule(
            comparison=definition["ComparisonOperator"],
            threshold=float(definition["Threshold"]),
            evaluation_periods=int(definition["EvaluationPeriods"]),
            datapoints_to_alarm=int(definition.get("DatapointsToAlarm") or definition["EvaluationPeriods"]),
            missing=definition.get("TreatMissingData") or "missing",
        )
        values = self._values(alarm, rule.periods)
        old = definition["StateValue"]
        new = next_state(rule, values, old)
        if new != old:
            self._alarms.set_state(alarm, new, reason(rule, values, old, new))

    def _values(self, alarm: Placed, periods: int) -> Series:
        definition, now = alarm.definition, time.time()

        def read(metric: Mapping[str, Any], statistic: str, period_s: float) -> Series:
            return self._windows.values(
                alarm.account,
                alarm.region,
                metric["Namespace"],
                metric["MetricName"],
                {each["Name"]: each["Value"] for each in metric.get("Dimensions") or []},
                statistic,
                period_s,
                periods,
                now,
            )

        queries: Sequence[Mapping[str, Any]] = definition.get("Metrics") or []
        if not queries:
            statistic = definition.get("ExtendedStatistic") or definition.get("Statistic") or "Average"
            return read(definition, statistic, period_of(definition))
        period_s = period_of(definition)
        series: dict[str, Series] = {
            query["Id"]: read(query["MetricStat"]["Metric"], query["MetricStat"]["Stat"], period_s)
            for query in queries
            if query.get("MetricStat")
        }
        metrics = list(series)
        expressions = {
            query["Id"]: metric_math.parse(query["Expression"]) for query in queries if query.get("Expression")
        }
        while waiting := {name: each for name, each in expressions.items() if name not in series}:
            ready = {name: each for name, each in waiting.items() if each.names <= series.keys()}
            if not ready:
                raise BadExpression(f"The expressions {', '.join(sorted(waiting))} name each other.")
            for name, expression in ready.items():
                series[name] = expression.over(series, metrics, period_s, periods)
        return series[next(query["Id"] for query in queries if query.get("ReturnData", True))]

    def _run(self) -> None:
        while not self._ending.wait(SHORTEST_REAL_S):
            try:
                self._round()
            except Exception:
                logger.exception("The alarms could not be evaluated")

    def _round(self) -> None:
        now = time.monotonic()
        known = set()
        for alarm in self._alarms.metric_alarms():
            key = (alarm.account, alarm.region, alarm.definition["AlarmName"])
            known.add(key)
            if now < self._due.get(key, 0.0):
                continue
            often = self._clock.real(min(LONGEST_S, period_of(alarm.definition)))
            self._due[key] = now + min(LARGEST_REAL_S, max(SHORTEST_REAL_S, often))
            try:
                self.evaluate(alarm)
            except Exception:
                logger.exception("The alarm %s could not be evaluated", key[-1])
        self._due = {key: due for key, due in self._due.items() if key in known}


def period_of(definition: Mapping[str, Any]) -> float:
    """The period of an alarm, in the cloud's seconds: of a math expression, the longest of its metrics."""
    if definition.get("Metrics"):
        stats = [query["MetricStat"] for query in definition["Metrics"] if query.get("MetricStat")]
        return max((float(stat["Period"]) for stat in stats), default=float(definition.get("Period") or 60))
    return float(definition.get("Period") or 60)
