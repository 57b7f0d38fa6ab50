"""Checks schedule expressions as Application Auto Scaling reads them, before a deployment finds out.

https://docs.aws.amazon.com/autoscaling/application/userguide/scheduled-scaling-using-cron-expressions.html
"""

from __future__ import annotations

import datetime
import re
import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass

FORMS = "cron(minute hour day month weekday year), at(yyyy-mm-ddThh:mm:ss) or rate(value unit)"

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


@dataclass(frozen=True)
class _Field:
    name: str
    first: int
    last: int
    names: Sequence[str] = ()  # the first one stands for `first`
    special: str = ""  # a pattern of what only this field takes

    def takes(self, text: str) -> bool:
        return all(self._takes(part) for part in text.split(","))

    def _takes(self, part: str) -> bool:
        if self.special and re.fullmatch(self.special, part):
            return True
        span, slash, step = part.partition("/")
        if slash and not (step.isdigit() and int(step) > 0):
            return False
        if span == "*":
            return True
        first, dash, last = span.partition("-")
        return self._is_value(first) and (not dash or self._is_value(last))

    def _is_value(self, text: str) -> bool:
        return text.upper() in self.names or (text.isdigit() and self.first <= int(text) <= self.last)


_CRON = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31, special=r"\?|L|L?W|[0-9]{1,2}W"),
    _Field("month", 1, 12, names=_MONTHS),
    _Field("weekday", 1, 7, names=_DAYS, special=r"\?|L|[1-7]L|([1-7]|[A-Za-z]{3})#[1-5]"),
    _Field("year", 1970, 2199),
)


def check_schedule(expression: str) -> str:
    """Returns the expression, or raises `ValueError` with what is wrong with it."""
    matched = re.fullmatch(r"(cron|at|rate)\((.+)\)", expression)
    problem = _problem(matched[1], matched[2]) if matched else f"is no schedule (allowed: {FORMS})"
    if problem:
        raise ValueError(f"{expression!r} {problem}")
    return expression


def check_time_zone(name: str) -> str:
    """Returns the name of a time zone, or raises `ValueError`; where the machine knows no zones, any name passes."""
    # These two are of a machine, and no place's.
    known = zoneinfo.available_timezones() - {"Factory", "localtime"}
    if known and name not in known:
        raise ValueError(f"{name!r} is no time zone (allowed: names like Europe/Berlin, and UTC)")
    return name


def _problem(form: str, inside: str) -> str | None:
    if form == "at":
        try:
            datetime.datetime.strptime(inside, "%Y-%m-%dT%H:%M:%S")
        except ValueError:
            return "is no time (allowed: at(yyyy-mm-ddThh:mm:ss), like at(2027-01-31T22:15:00))"
        return None
    if form == "rate":
        matched = re.fullmatch(r"([1-9][0-9]*) (minute|hour|day)(s?)", inside)
        if not matched or (matched[1] == "1") == bool(matched[3]):
            return "is no rate (allowed: like rate(1 hour) and rate(12 hours))"
        return None
    return _cron_problem(inside.split())


def _cron_problem(fields: Sequence[str]) -> str | None:
    if len(fields) != len(_CRON):
        return f"has {len(fields)} fields, and cron takes six: minute hour day month weekday year"
    for field, text in zip(_CRON, fields, strict=True):
        if not field.takes(text):
            return f"has the {field.name} {text!r} (allowed: {field.first} to {field.last}, * , - /)"
    if (fields[2] == "?") == (fields[4] == "?"):
        return "must have ? either as day or as weekday, and a value as the other"
    return None
