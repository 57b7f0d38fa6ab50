"""Whether an answer is the recorded one: numbers within a tolerance, everything else to the letter."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?\b(?:nan|inf(?:inity)?)\b", re.IGNORECASE)
_FLOAT32_STEP = 2.0**-23
_SHOWN = 120


@dataclass(frozen=True)
class Tolerance:
    """How far a number may be from the recorded one.

    Attributes:
        relative: of the recorded number.
        absolute: besides. A sum of 32-bit floats is no finer than a step of its largest numbers, however near
            to 0 it ends.
    """

    relative: float
    absolute: float = 0.0

    @classmethod
    def of(cls, relative: float, recorded: Iterable[float]) -> Tolerance:
        """The tolerance for these recorded numbers; 0 means equal to the last bit."""
        largest = max((abs(number) for number in recorded if math.isfinite(number)), default=0.0)
        return cls(relative, largest * _FLOAT32_STEP if relative else 0.0)

    def covers(self, expected: float, got: float) -> bool:
        """Whether the number is near enough."""
        if not (math.isfinite(expected) and math.isfinite(got)):
            return expected == got or (math.isnan(expected) and math.isnan(got))
        return abs(got - expected) <= self.relative * abs(expected) + self.absolute


def is_same(expected: bytes, got: bytes, media_type: str, tolerance: Tolerance) -> bool:
    """Whether an answer is the recorded one, read as its media type says.

    JSON is compared by its values, so neither the order of keys nor spaces count; other text piece by piece, the
    numbers in it as numbers; everything else byte by byte.
    """
    kind = media_type.partition(";")[0].strip().lower()
    if expected == got:
        return True
    try:
        if kind == "application/json" or kind.endswith("+json"):
            return _same_value(json.loads(expected), json.loads(got), tolerance)
        if kind in ("application/jsonlines", "application/x-ndjson"):
            pairs = [[json.loads(line) for line in answer.splitlines() if line.strip()] for answer in (expected, got)]
            return _same_value(pairs[0], pairs[1], tolerance)
        if kind.startswith("text/"):
            return _same_text(expected.decode().strip(), got.decode().strip(), tolerance)
    except (ValueError, RecursionError):
        return False
    return False


def numbers(answer: bytes) -> Iterator[float]:
    """The numbers in an answer that is text; none in others."""
    try:
        text = answer.decode()
    except UnicodeDecodeError:
        return
    for found in _NUMBER.findall(text):
        yield float(found)


def shown(answer: bytes) -> str:
    """An answer as a message quotes it: on one line, and not all of a long one."""
    text = answer.decode(errors="backslashreplace").strip().replace("\n", "\\n")
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(answer)} bytes)"


def _same_value(expected: Any, got: Any, tolerance: Tolerance) -> bool:
    if _is_number(expected) and _is_number(got):
        return tolerance.covers(float(expected), float(got))
    if isinstance(expected, dict) and isinstance(got, dict):
        return expected.keys() == got.keys() and all(
            _same_value(expected[key], got[key], tolerance) for key in expected
        )
    if isinstance(expected, list) and isinstance(got, list):
        return len(expected) == len(got) and all(
            _same_value(one, other, tolerance) for one, other in zip(expected, got, strict=True)
        )
    return type(expected) is type(got) and bool(expected == got)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same_text(expected: str, got: str, tolerance: Tolerance) -> bool:
    """The text between the numbers to the letter, but for spaces; the numbers as numbers."""
    between = ["".join(piece.split()) for piece in _NUMBER.split(expected)]
    if between != ["".join(piece.split()) for piece in _NUMBER.split(got)]:
        return False
    pairs = zip(_NUMBER.findall(expected), _NUMBER.findall(got), strict=True)
    return all(tolerance.covers(float(one), float(other)) for one, other in pairs)
