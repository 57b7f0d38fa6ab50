"""The part of JSONPath that batch transform has: what of a record goes to the model, and what of an answer is kept.

Developer guide, "Associate Prediction Results with Input Records", "Supported JSONPath Operators".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_DOT_NAME = re.compile(r"\.(?P<name>[^.\[\]'*\s]+)")
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
    """From one index to another, both included; None is the first, or the last.

    The developer guide says that `$[1:4]` are the second through the fifth column, other than JSONPath elsewhere.
    """

    start: int | None
    end: int | None


Index = int | Slice


@dataclass(frozen=True)
class Names:
    """Members of an object, by name."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Items:
    """Elements of an array, by index."""

    items: tuple[Index, ...]


@dataclass(frozen=True)
class Everything:
    """All members of an object, or all elements of an array."""


Step = Names | Items | Everything


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
        """A path such as `$`, `$.features`, `$['id','SageMakerOutput']`, `$[0,5:]`, `$.id.*`.

        Raises:
            BadPath: it is none.
        """
        if not text.startswith("$"):
            raise BadPath(f"{text!r} does not begin with $, the root")
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
            takes_several = isinstance(step, Everything) or (
                isinstance(step, Items) and (len(step.items) > 1 or isinstance(step.items[0], Slice))
            )
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
            raise BadPath(
                f"{text!r} is not understood from {rest!r} on; batch transform knows $, .name, *, ['name'], [0], [0,-1], [1:4]"
            )


def _bracketed(content: str, text: str) -> Step:
    if content == "*":
        return Everything()
    parts = [part.strip() for part in content.split(",")]
    quoted = [_QUOTED.fullmatch(part) for part in parts]
    if all(quoted):
        return Names(tuple(match["name"] for match in quoted if match))
    return Items(tuple(_index(part, text) for part in parts))


def _index(part: str, text: str) -> Index:
    if _NUMBER.fullmatch(part):
        return int(part)
    if match := _SLICE.fullmatch(part):
        start, end = match["start"], match["end"]
        return Slice(int(start) if start else None, int(end) if end else None)
    raise BadPath(f"{part!r} in {text!r} is neither an index, a slice such as 1:4, nor a name in single quotes")


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
    if len(step.items) == 1 and isinstance(step.items[0], int):
        return array[_position(step.items[0], len(array), text)]
    return [item for index in step.items for item in _at(index, array, text)]


def _at(index: Index, array: list[Any], text: str) -> list[Any]:
    if isinstance(index, int):
        return [array[_position(index, len(array), text)]]
    if not array:
        return []
    start = 0 if index.start is None else _position(index.start, len(array), text)
    end = len(array) - 1 if index.end is None else _position(index.end, len(array), text)
    return array[start : end + 1]


def _position(index: int, size: int, text: str) -> int:
    """An index counted from the beginning.

    "If you specify indexes that aren't within the dimension size of the joined dataset, you get an error" (DataProcessing).
    """
    position = index + size if index < 0 else index
    if not 0 <= position < size:
        raise NotThere(f"{text} asks for index {index} of {size}")
    return position


def _array(value: Any, text: str) -> list[Any]:
    if not isinstance(value, list):
        raise NotThere(f"{text} asks for elements of what is no array")
    return value
