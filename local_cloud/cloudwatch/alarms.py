"""Evaluates the alarms of CloudWatch all the time, each about as often as its period asks for.

MiniStack keeps alarms and tells them; what state they are in is decided here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from local_cloud.clock import Clock
from local_cloud.cloudwatch.alarm_definition import BadAlarm as BadAlarm
from local_cloud.cloudwatch.alarm_definition import Definition, definition_of
from local_cloud.cloudwatch.alarm_definition import period_of as period_of
from local_cloud.cloudwatch.alarm_rules import next_state, reason, reason_data
from local_cloud.cloudwatch.series import Series
from local_cloud.cloudwatch.windows import Wanted, Windows

logger = logging.getLogger(__name__)

LONGEST_S = 10.0
"""An alarm is evaluated once in its period, and at least each ten of the cloud's seconds."""
SHORTEST_REAL_S = 0.25
"""No more often than metrics are published, in real seconds."""
READ_TRIES = 5
"""How often an alarm's metrics are read anew because something was published meanwhile: of what is published together an
evaluation sees all or nothing."""
LARGEST_REAL_S = 0.5
"""Nobody waits longer than that for a state, however slow the clock is."""


@dataclass(frozen=True)
class Placed:
    """An alarm where it is: `definition` is as DescribeAlarms gives it."""

    account: str
    region: str
    definition: Mapping[str, Any]

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from every other."""
        return self.account, self.region, str(self.definition["AlarmName"])


class Alarms(Protocol):
    """Where alarms are kept."""

    def metric_alarms(self) -> list[Placed]:
        """All metric alarms, of all accounts and regions."""

    def set_state(self, alarm: Placed, state: str, why: str, data: Mapping[str, Any]) -> None:
        """Change the state of an alarm, remember it, and do what it asks for; nothing if it is not there any more.

        Args:
            alarm: which.
            state: the new one.
            why: StateReason.
            data: StateReasonData.
        """


class Evaluator:
    """Looks at every alarm in turn, from a thread of its own; sleeps while there is none."""

    def __init__(self, alarms: Alarms, windows: Windows, clock: Clock) -> None:
        self._alarms, self._windows, self._clock = alarms, windows, clock
        self._due: dict[tuple[str, str, str], float] = {}
        self._due_lock = threading.Lock()
        self._read: dict[tuple[str, str, str], tuple[Mapping[str, Any], Any, Definition]] = {}
        self._ending = threading.Event()
        self._some = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alarms", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; no state changes after this."""
        self._ending.set()
        self._some.set()
        if self._thread.is_alive():
            self._thread.join(3)

    def changed(self) -> None:
        """Say that there may be an alarm now."""
        self._some.set()

    def hold(self, alarm: Placed) -> None:
        """Leave an alarm in the state that somebody has set, for a period: until the next evaluation, at the longest."""
        until = time.monotonic() + self._clock.real(period_of(alarm.definition))
        with self._due_lock:
            self._due[alarm.key] = until

    def evaluate(self, alarm: Placed) -> None:
        """Give one alarm the state that follows from its metrics.

        Raises:
            BadAlarm, BadExpression: it cannot be evaluated.
        """
        definition = self._definition(alarm)
        # The state first: what somebody sets while the metrics are read holds, and is not undone by what was read before.
        rule, old = definition.rule, alarm.definition["StateValue"]
        values, now = self._read_together(alarm, definition)
        new = next_state(rule, values, old)
        if new == old or (definition.waits_for_samples and self._has_few_samples(alarm, definition, now)):
            return
        length = self._clock.real(definition.period_s)
        starts = [now - (rule.periods - index) * length for index in range(rule.periods)]
        data = reason_data(rule, values, starts, now=now, period_s=definition.period_s, statistic=definition.statistic)
        self._alarms.set_state(alarm, new, reason(rule, values, starts, new), data)

    def _read_together(self, alarm: Placed, definition: Definition) -> tuple[Series, float]:
        """The values of an alarm's periods, and when they were read: an expression's metrics by the same publications."""
        for _ in range(READ_TRIES):
            before, now = self._windows.publication(), time.time()
            values = definition.series(partial(self._values, alarm, definition, now), definition.rule.periods)
            if before is not None and self._windows.publication() == before:
                break
            # Lets go on who takes it in.
            time.sleep(0.001)
        return values, now

    def _definition(self, alarm: Placed) -> Definition:
        # An alarm that is put again is another record, and one that gets its Metrics late has other ones.
        record, metrics = alarm.definition, alarm.definition.get("Metrics")
        known = self._read.get(alarm.key)
        if known is None or known[0] is not record or known[1] is not metrics:
            known = self._read[alarm.key] = record, metrics, definition_of(record)
        return known[2]

    def _values(
        self,
        alarm: Placed,
        definition: Definition,
        at: float,
        metric: Mapping[str, Any],
        statistic: str,
        unit: str | None,
        periods: int = 0,
    ) -> Series:
        wanted = Wanted.of(
            alarm.account,
            alarm.region,
            metric,
            statistic=statistic,
            period_s=definition.period_s,
            periods=periods or definition.rule.periods,
            at=at,
            unit=unit,
        )
        return self._windows.values(wanted)

    def _has_few_samples(self, alarm: Placed, definition: Definition, at: float) -> bool:
        statistic = definition.result.get("MetricStat")
        if not statistic:
            return False
        counts = self._values(
            alarm,
            definition,
            at,
            statistic["Metric"],
            "SampleCount",
            statistic.get("Unit"),
            definition.rule.evaluation_periods,
        )
        return sum(count or 0.0 for count in counts) < definition.needed_samples()

    def _run(self) -> None:
        while not self._ending.wait(SHORTEST_REAL_S):
            try:
                self._some.clear()
                if not self._round():
                    self._some.wait()
            except Exception:
                logger.exception("The alarms could not be evaluated")

    def _round(self) -> bool:
        now, alarms = time.monotonic(), self._alarms.metric_alarms()
        for alarm in alarms:
            often = self._clock.real(min(LONGEST_S, period_of(alarm.definition)))
            with self._due_lock:
                if now < self._due.get(alarm.key, 0.0):
                    continue
                self._due[alarm.key] = now + min(LARGEST_REAL_S, max(SHORTEST_REAL_S, often))
            try:
                self.evaluate(alarm)
            except Exception:
                logger.exception("The alarm %s could not be evaluated", alarm.key[-1])
        known = {alarm.key for alarm in alarms}
        for gone in self._read.keys() - known:
            self._due.pop(gone, None)
            del self._read[gone]
        return bool(alarms)
