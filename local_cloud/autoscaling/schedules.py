"""When a schedule is due: at, rate and cron expressions, with time zone, start and end.

What the local cloud's clock factor means for them: a rate is a wait, so `rate(5 minutes)` is due every five of the cloud's
minutes; at and cron name moments of a calendar, which are real: `cron(0 8 * * ? *)` is due at eight in the morning.
"""

from __future__ import annotations

import datetime
import re
import zoneinfo
from dataclasses import dataclass

from aws_croniter import AwsCroniter

from local_cloud.clock import Clock
from local_cloud.sagemaker.errors import ValidationError

_UNITS = {"minute": 60, "hour": 3600, "day": 86400}
_FORM = re.compile(r"(?P<kind>at|rate|cron)\((?P<what>.*)\)")


@dataclass(frozen=True)
class Schedule:
    """A schedule that can be.

    Attributes:
        expression: as the request has it.
        zone: in which at and cron expressions are meant.
        start: when a recurring schedule is due first, POSIX seconds; None for its first occurrence.
        end: after which it is due no more.
    """

    expression: str
    zone: datetime.tzinfo
    start: float | None = None
    end: float | None = None

    def next_after(self, now: float, clock: Clock) -> float | None:
        """When it is due next, strictly after `now`; None if never again.

        A recurring schedule with a start is due at its start, and then as it recurs ("Schedule recurring scaling actions").
        """
        kind, what = _parts(self.expression)
        if kind == "at":
            due: float | None = self._moment(datetime.datetime.fromisoformat(what))
            return due if due is not None and due > now else None
        if self.start is not None and self.start > now:
            due = self.start
        elif kind == "rate":
            due = now + clock.real(_rate_s(what))
        else:
            due = self._next_cron(what, now)
        return None if due is None or (self.end is not None and due > self.end) else due

    def _next_cron(self, fields: str, now: float) -> float | None:
        # The library counts in UTC; the wall clock of another zone is counted as if it were UTC's, and moved back.
        wall = datetime.datetime.fromtimestamp(now, self.zone).replace(tzinfo=datetime.UTC)
        found = AwsCroniter(fields).occurrence(wall).next()
        # In spring there is an hour that no clock shows: what is in it is skipped. In autumn there is one twice: it counts once,
        # the first time. https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html (daylight savings time)
        while found is not None:
            moment = self._moment(found)
            is_shown = datetime.datetime.fromtimestamp(moment, self.zone).replace(tzinfo=datetime.UTC) == found
            if is_shown and moment > now:
                return moment
            found = AwsCroniter(fields).occurrence(found).next()
        return None

    def _moment(self, wall: datetime.datetime) -> float:
        return wall.replace(tzinfo=self.zone).timestamp()


def parse(expression: str, zone: str | None = None, start: float | None = None, end: float | None = None) -> Schedule:
    """Check a schedule.

    Args:
        expression: `at(yyyy-mm-ddThh:mm:ss)`, `rate(value unit)` or `cron(fields)`.
        zone: the name of an IANA time zone; None for UTC.
        start: POSIX seconds.
        end: POSIX seconds.

    Raises:
        ValidationError: it cannot be; with what is wrong.
    """
    kind, what = _parts(expression)
    try:
        if kind == "at":
            if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", what):
                raise ValueError("its form is at(yyyy-mm-ddThh:mm:ss)")
            datetime.datetime.fromisoformat(what)
        elif kind == "rate":
            _rate_s(what)
        else:
            AwsCroniter(what)
    except ValueError as error:
        raise ValidationError(f"Invalid schedule expression {expression}: {error}") from error
    if start is not None and end is not None and start >= end:
        raise ValidationError(f"StartTime must be before EndTime in the schedule {expression}.")
    return Schedule(expression, _zone(zone), start, end)


def _parts(expression: str) -> tuple[str, str]:
    match = _FORM.fullmatch(expression.strip())
    if match is None:
        raise ValidationError(
            f"Invalid schedule expression {expression}: use at(yyyy-mm-ddThh:mm:ss), rate(value unit) or "
            "cron(minutes hours day-of-month month day-of-week year)."
        )
    return match["kind"], " ".join(match["what"].split())


def _rate_s(what: str) -> float:
    match = re.fullmatch(r"(?P<value>[1-9]\d*) (?P<unit>minute|hour|day)(?P<plural>s?)", what)
    if match is None or (match["value"] == "1") != (match["plural"] == ""):
        raise ValueError("a rate is a positive number and minute(s), hour(s) or day(s)")
    return float(match["value"]) * _UNITS[match["unit"]]


def _zone(name: str | None) -> datetime.tzinfo:
    if name is None:
        return datetime.UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValidationError(
            f"Timezone {name} is not the name of an IANA time zone, such as Europe/Berlin."
        ) from error
