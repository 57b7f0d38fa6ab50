"""The part of JSONPath that batch transform has: what of a record goes to the model, and what of an answer is kept.

Developer guide, "Associate Prediction Results with Input Records", "Supported JSONPath Operators".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_DOT_NAME = re.compile(r"\.(?P<name>[^.\[\]'*()?@\s]+)")
_BRACKETS = re.compile(r"\.?\[(?P<content>[^\]]*)\]")
_QUOTED = re.compile(r"'(?P<name>[^']+)'")
_NUMBER = re.compile(r"-?\d+")
_SLICE = re.compile(r"(?P<start>-?\d+)?:(?P<end>-?\d+)?")


class BadPath(ValueError):
    """It is no path, or one that batch transform does not have; the message says what it takes."""


class NotThere(LookupError):
    """A value has not what a path asks for; the message says what."""


@dataclass(frozen=True)
class Slice:
    """From one index to another; None is the beginning, or the end.

    The end is not in it, as in JSONPath, to which the developer guide refers, and as public examples have it (`$[:-1]` leaves the
    last column out). The guide's own prose counts it in: `$[1:4]` would be the second through the fifth column.
    """

    start: int | None
    end: int | None


@dataclass(frozen=True)
class Names:
    """Members of an object, by name."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Items:
    """Elements of an array, by index."""

    indexes: tuple[int, ...]


@dataclass(frozen=True)
class Everything:
    """All members of an object, or all elements of an array."""


Step = Names | Items | Slice | Everything


@dataclass(frozen=True)
class JsonPath:
    """A path through a JSON value.

    Attributes:
        text: as it was written.
        steps: what it takes, one after the other; none is the value itself.
    """

    text: str
    steps: tuple[Step, ...]

    @classmethod
    def parse(cls, text: str) -> JsonPath:
        """A path such as `$`, `$.features`, `$['id','SageMakerOutput']`, `$[0,-1]`, `$[1:]`, `$.id.*`.

        Raises:
            BadPath: it is none.
        """
        if not text.startswith("$"):
            raise BadPath(f"{text}: it does not begin with $, the root")
        return cls(text, tuple(_steps(text)))

    @property
    def is_whole(self) -> bool:
        """Whether it takes everything, as it is."""
        return not self.steps

    @property
    def is_for_rows(self) -> bool:
        """Whether it can be applied to a row of CSV: by index alone, and once."""
        return self.is_whole or (len(self.steps) == 1 and not isinstance(self.steps[0], Names))

    def of(self, value: Any) -> Any:
        """What the path takes from a value; a list where it may take several.

        Raises:
            NotThere: there is no such member or element.
        """
        found, is_list = value, False
        for step in self.steps:
            takes_several = isinstance(step, Everything | Slice) or (isinstance(step, Items) and len(step.indexes) > 1)
            if not is_list:
                found, is_list = _taken(step, found, self.text), takes_several
            elif takes_several:
                found = [item for value in found for item in _taken(step, value, self.text)]
            else:
                found = [_taken(step, value, self.text) for value in found]
        return found


def _steps(text: str) -> Iterator[Step]:
    rest = text[1:]
    while rest:
        if rest.startswith(".*"):
            yield Everything()
            rest = rest[2:]
        elif match := _BRACKETS.match(rest):
            yield _bracketed(match["content"].strip(), text)
            rest = rest[match.end() :]
        elif match := _DOT_NAME.match(rest):
            yield Names((match["name"],))
            rest = rest[match.end() :]
        else:
            raise BadPath(f"{text}: {rest!r} is not understood; there are .name, .*, ['name'], [0], [0,-1] and [1:4]")


def _bracketed(content: str, text: str) -> Step:
    if content == "*":
        return Everything()
    parts = [part.strip() for part in content.split(",")]
    quoted = [_QUOTED.fullmatch(part) for part in parts]
    if all(quoted):
        return Names(tuple(match["name"] for match in quoted if match))
    if all(_NUMBER.fullmatch(part) for part in parts):
        return Items(tuple(int(part) for part in parts))
    if match := _SLICE.fullmatch(content):
        start, end = match["start"], match["end"]
        return Slice(int(start) if start else None, int(end) if end else None)
    if any(_SLICE.fullmatch(part) for part in parts):
        # In SageMaker's words, although an example in the API reference ($[0,5:]) says otherwise.
        raise BadPath(f"{text}: only single range filters of format (eg: [1:5]) are supported")
    raise BadPath(f"{text}: [{content}] holds neither indexes, a range such as 1:5, nor names in single quotes")


def _taken(step: Step, value: Any, text: str) -> Any:
    if isinstance(step, Everything):
        if isinstance(value, dict):
            return list(value.values())
        return list(_array(value, text))
    if isinstance(step, Names):
        if not isinstance(value, dict) or (absent := [name for name in step.names if name not in value]):
            missing = ", ".join(absent if isinstance(value, dict) else step.names)
            raise NotThere(f"{text} asks for {missing}, which is not there")
        return value[step.names[0]] if len(step.names) == 1 else {name: value[name] for name in step.names}
    array = _array(value, text)
    if isinstance(step, Slice):
        start = 0 if step.start is None else _position(step.start, len(array), text, last=len(array))
        end = len(array) if step.end is None else _position(step.end, len(array), text, last=len(array))
        return array[start:end]
    found = [array[_position(index, len(array), text, last=len(array) - 1)] for index in step.indexes]
    return found if len(found) > 1 else found[0]


def _position(index: int, size: int, text: str, *, last: int) -> int:
    """An index counted from the beginning.

    "If you specify indexes that aren't within the dimension size of the joined dataset, you get an error" (DataProcessing).
    """
    position = index + size if index < 0 else index
    if not 0 <= position <= last:
        raise NotThere(f"{text} asks for index {index} of {size}")
    return position


def _array(value: Any, text: str) -> list[Any]:
    if not isinstance(value, list):
        raise NotThere(f"{text} asks for elements of what is no array")
    return value
