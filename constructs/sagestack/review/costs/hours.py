"""How many hours of a month something runs that a schedule starts and another stops, as far as weeks tell it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sagestack.settings.load import HOURS_PER_MONTH

_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_WEEK_MINUTES = 7 * 24 * 60


def hours_between(start: str, stop: str) -> float | None:
    """The hours of a month from each start to the next stop; None where a week does not tell.

    Args:
        start: `cron(0 8 ? * MON-FRI *)`.
        stop: the same; a week is taken as it stands, without the hour that a change of clocks gives or takes.
    """
    starts, stops = _minutes(start), _minutes(stop)
    if starts is None or stops is None:
        return None
    if not starts or not stops:
        return None
    running, total = None, 0
    # Twice around, so that what runs over the end of the week is whole; the second week counts.
    events = sorted([(minute, 1) for minute in starts] + [(minute, 0) for minute in stops])
    for week in (0, 1):
        for minute, is_start in events:
            now = week * _WEEK_MINUTES + minute
            if is_start and running is None:
                running = now
            elif not is_start and running is not None:
                total += now - max(running, _WEEK_MINUTES) if now > _WEEK_MINUTES else 0
                running = None
    if running is not None:
        total += 2 * _WEEK_MINUTES - max(running, _WEEK_MINUTES)
    return total / _WEEK_MINUTES * HOURS_PER_MONTH


def _minutes(expression: str) -> set[int] | None:
    """The minutes of a week, from Sunday, at which a schedule is due; None where it knows days of the month, or months."""
    found = re.fullmatch(r"cron\((\S+) (\S+) (\S+) (\S+) (\S+) (\S+)\)", expression.strip())
    if found is None:
        return None
    minute, hour, day, month, weekday, year = found.groups()
    if day not in ("*", "?") or month != "*" or year not in ("*", "?"):
        return None
    days = list(range(7)) if weekday in ("*", "?") else _numbers(weekday, 1, 7, _DAYS)
    hours, minutes = _numbers(hour, 0, 23), _numbers(minute, 0, 59)
    if days is None or hours is None or minutes is None:
        return None
    first = 0 if weekday in ("*", "?") else 1
    return {(each - first) * 1440 + h * 60 + m for each in days for h in hours for m in minutes}


def _numbers(field: str, first: int, last: int, names: tuple[str, ...] = ()) -> list[int] | None:
    """What a field of cron means: `*`, `8`, `8-18`, `*/2`, `MON-FRI`, several with commas; None for what else there is."""
    found: list[int] = []
    for part in field.upper().split(","):
        span, _, step = part.partition("/")
        low, dash, high = span.partition("-")
        if span == "*":
            ends = [first, last]
        else:
            known = [_number(text, first, names) for text in (low, high if dash else (str(last) if step else low))]
            if any(each is None or not first <= each <= last for each in known):
                return None
            ends = [each for each in known if each is not None]
        if step and not step.isdecimal():
            return None
        found += _span(ends[0], ends[1], int(step or 1), first, last)
    return found


def _span(low: int, high: int, step: int, first: int, last: int) -> Iterator[int]:
    # FRI-MON goes over the end of the week.
    length = (high - low) % (last - first + 1)
    for offset in range(0, length + 1, max(1, step)):
        yield (low - first + offset) % (last - first + 1) + first


def _number(text: str, first: int, names: tuple[str, ...]) -> int | None:
    if text in names:
        return names.index(text) + first
    return int(text) if text.isdecimal() else None
