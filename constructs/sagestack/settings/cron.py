"""Checks a schedule as GitHub Actions takes it: five fields of POSIX cron, in UTC, at most every five minutes.

https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows#schedule
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),
)
_PART = re.compile(r"(?P<all>\*)|(?P<first>\w+)(-(?P<last>\w+))?")


def check_cron(written: str) -> str:
    """Gives back what was written where GitHub would take it.

    Raises:
        ValueError: it would not; says which field, and what it takes.
    """
    fields = written.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(
            f"{written!r} has {len(fields)} fields, and must have five: minute, hour, day of the month, month, day of the"
            " week, as in '17 5 * * 1-5'"
        )
    for text, (name, lowest, highest, words) in zip(fields, _FIELDS, strict=True):
        for part in text.split(","):
            if not _is_allowed(part, lowest, highest, words):
                names = f" or {words[0]} to {words[-1]}" if words else ""
                raise ValueError(
                    f"{part!r} is no {name} (allowed: {lowest} to {highest}{names}, *, ranges like {lowest}-{highest}, steps"
                    " like */2, several with commas)"
                )
    minutes = _every(fields[0])
    if minutes < 5:
        raise ValueError(
            f"{written!r} would run every {minutes} minutes; GitHub runs no schedule more often than every 5"
        )
    return written


def _is_allowed(part: str, lowest: int, highest: int, words: Sequence[str]) -> bool:
    body, slash, step = part.partition("/")
    if slash and not (step.isdecimal() and step.isascii() and int(step) >= 1):
        return False
    found = _PART.fullmatch(body)
    if found is None:
        return False
    if found["all"]:
        return True
    ends = [_number(each, lowest, words) for each in (found["first"], found["last"]) if each is not None]
    return all(end is not None and lowest <= end <= highest for end in ends) and ends == sorted(
        ends, key=lambda end: -1 if end is None else end
    )


def _number(text: str, lowest: int, words: Sequence[str]) -> int | None:
    if text.isdecimal() and text.isascii():
        return int(text)
    return list(words).index(text.upper()) + lowest if text.upper() in words else None


def _every(minutes: str) -> int:
    """How many minutes lie between two runs of an hour where it says so with a step."""
    step = re.fullmatch(r"\*(?:/(\d+))?", minutes)
    return int(step[1] or 1) if step else 60


def eventbridge_cron(written: str) -> str:
    """The same schedule as EventBridge writes it: six fields, days of the week by name, and a `?` for the day that is not said.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html

    Raises:
        ValueError: it names both days of the month and of the week, of which EventBridge takes one.
    """
    minute, hour, day, month, weekday = check_cron(written).split()
    if day != "*" and weekday != "*":
        raise ValueError(
            f"{written!r} says both a day of the month and a day of the week; EventBridge takes one of them"
        )
    if weekday == "*":
        return f"cron({minute} {hour} {day} {month} ? *)"
    # Cron counts days from Sunday as 0, EventBridge from Sunday as 1: by name they cannot be mistaken.
    named = re.sub(r"(?<![/\w])\d", lambda found: _DAYS[int(found[0])], weekday)
    return f"cron({minute} {hour} ? {month} {named} *)"
