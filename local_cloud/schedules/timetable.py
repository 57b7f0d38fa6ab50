"""Which schedules are due: each is asked once for its next time, and again when that has come or its words have changed."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local_cloud.autoscaling import schedules
from local_cloud.clock import Clock
from local_cloud.sagemaker.errors import ApiError

_WORDS = ("ScheduleExpression", "ScheduleExpressionTimezone", "StartDate", "EndDate", "State")

Key = tuple[str, str, str]
"""Account, region, and `group/name`."""


@dataclass(frozen=True)
class _Entry:
    words: tuple[Any, ...]
    due: float | None


class Timetable:
    """When every schedule is due next.

    What was due while the local cloud was down is missed, and not made up for: a notebook is not stopped at nine in the morning
    because its evening was slept through.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[Key, _Entry] = {}
        self._began: float | None = None

    def due(self, records: Mapping[Key, Mapping[str, Any]], now: float) -> list[tuple[Key, float]]:
        """The schedules whose time has come, and which time that was.

        Args:
            records: all schedules, as DescribeSchedule has them.
            now: POSIX seconds.
        """
        if self._began is None:
            self._began = now
        for gone in self._entries.keys() - records.keys():
            del self._entries[gone]
        found = []
        for key, record in records.items():
            words = tuple(record.get(each) for each in _WORDS)
            entry = self._entries.get(key)
            if entry is None or entry.words != words:
                # rate() without a start is due at once: https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
                entry = _Entry(words, self._next(record, self._counts_from(record, now)))
            if entry.due is not None and entry.due <= now:
                found.append((key, entry.due))
                entry = _Entry(words, self._next(record, now))
            self._entries[key] = entry
        return found

    def _counts_from(self, record: Mapping[str, Any], now: float) -> float:
        """When a schedule that is seen for the first time, or with other words, was made so; of an earlier run, this one's start.

        Not `now`: what is due right after it was made would be missed by chance, with the moment of a look in between.
        """
        made = record.get("LastModificationDate")
        assert self._began is not None
        return now if made is None else min(now, max(float(made), self._began))

    def _next(self, record: Mapping[str, Any], now: float) -> float | None:
        if record.get("State", "ENABLED") != "ENABLED":
            return None
        try:
            schedule = parsed(record)
        except ApiError:
            return None
        return schedule.next_after(now, self._clock)


def parsed(record: Mapping[str, Any]) -> schedules.Schedule:
    """A schedule that can be.

    Raises:
        ApiError: its expression, its time zone or its dates cannot be; with what is wrong.
    """
    return schedules.parse(
        str(record.get("ScheduleExpression", "")),
        record.get("ScheduleExpressionTimezone") or None,
        _moment(record.get("StartDate")),
        _moment(record.get("EndDate")),
    )


def _moment(value: object) -> float | None:
    """A date of a schedule: the API has seconds, CloudFormation text."""
    if value is None or isinstance(value, int | float):
        return value
    return datetime.datetime.fromisoformat(str(value).replace("Z", "+00:00")).timestamp()
