"""When people have agreed that their notebooks may be stopped."""

from __future__ import annotations

import datetime
import zoneinfo
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")


@dataclass(frozen=True)
class Window:
    """So many minutes, from a time of the day, on some days of the week.

    Attributes:
        days: three letters each, of the days on which it begins.
        at: when, as HH:MM in the time zone.
        time_zone: a name of the IANA database.
        minutes: how long; it may reach into the next day.
    """

    days: Sequence[str]
    at: str
    time_zone: str
    minutes: int

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Window:
        """The window that a JSON document describes."""
        return cls(tuple(document["days"]), document["at"], document["time_zone"], int(document["minutes"]))

    def is_open(self, now: datetime.datetime) -> bool:
        """Whether it is open at a moment, which knows its time zone."""
        return any(
            begin <= now < begin + datetime.timedelta(minutes=self.minutes) for begin in self._begins(now, -1, 1)
        )

    def next(self, now: datetime.datetime) -> datetime.datetime:
        """When it opens next."""
        return min(begin for begin in self._begins(now, 0, 9) if begin > now)

    def _begins(self, now: datetime.datetime, first: int, last: int) -> list[datetime.datetime]:
        """Its beginnings on the days around a moment. In hours that a change of clocks leaves out, Python goes on counting."""
        zone = _zone(self.time_zone)
        today = now.astimezone(zone).date()
        hour, minute = (int(part) for part in self.at.split(":"))
        return [
            datetime.datetime.combine(day, datetime.time(hour, minute), zone).astimezone(datetime.UTC)
            for day in (today + datetime.timedelta(days=offset) for offset in range(first, last))
            if _DAYS[day.weekday()] in self.days
        ]


def _zone(name: str) -> datetime.tzinfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except zoneinfo.ZoneInfoNotFoundError:
        # A system without time zones. boto3 brings dateutil, and that its own.
        from dateutil.zoneinfo import get_zonefile_instance  # type: ignore[import-untyped]

        zone: datetime.tzinfo | None = get_zonefile_instance().get(name)
        if zone is None:
            raise
        return zone
