"""Parses JSON strictly: no name twice, no NaN, no depth without end, and one line that says what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import orjson

from .errors import FormatError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLANKS = b" \t\r\n"


class Literal:
    """NaN, Infinity or -Infinity, which JSON does not have: kept until its row and column are known."""

    def __init__(self, text: str) -> None:
        self.text = text


def loads(text: bytes) -> Any:
    """The content of a JSON document. Objects are dictionaries; a `Literal` stands where JSON has no such value.

    Raises:
        FormatError: not UTF-8, not JSON, a name twice in an object, or nested too deeply.
    """
    text = text.removeprefix(BYTE_ORDER_MARK)
    try:
        content = orjson.loads(text)
    except (orjson.JSONDecodeError, RecursionError):
        return _loads_exactly(text)  # says what is wrong; and it takes whole numbers beyond 64 bits
    # orjson takes the last of two equal names. When there are as many names as colons, none was lost.
    colons = text.count(b":")
    return content if _count_names(content, colons) == colons else _loads_exactly(text)


def each_line(text: bytes) -> Iterator[Any]:
    """The content of each line of JSON Lines.

    Raises:
        FormatError: as `loads`, with the row; a blank line.
    """
    for row, line in enumerate(text.split(b"\n"), start=1):
        if not line.strip(_BLANKS):
            raise FormatError(f"row {row}: the line is empty")
        try:
            yield loads(line)
        except FormatError as error:
            raise FormatError(f"row {row}: {error}") from None


def _count_names(content: Any, enough: int) -> int:
    """How many names the objects in this have together; counting stops at `enough`."""
    found = 0
    rest = [content]
    while rest and found < enough:
        item = rest.pop()
        if isinstance(item, dict):
            found += len(item)
            item = item.values()
        elif not isinstance(item, list):
            continue
        if not {dict, list}.isdisjoint(map(type, item)):
            rest.extend(item)
    return found


def _loads_exactly(text: bytes) -> Any:
    try:
        return json.loads(
            text.decode(), object_pairs_hook=_without_repetition, parse_constant=Literal, parse_int=_whole_number
        )
    except UnicodeDecodeError as error:
        raise FormatError(f"not UTF-8 text (byte {error.start + 1})") from None
    except RecursionError:
        raise FormatError("not valid JSON: nested too deeply") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, character {error.colno}"
        cut = error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated")
        end = " (the text ends too early)" if cut else ""
        raise FormatError(f"not valid JSON: {error.msg.removesuffix(' starting at')} at {where}{end}") from None


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in content if names.count(name) > 1)
        raise FormatError(f"{shown(twice)} comes twice in one object")
    return content


def _whole_number(text: str) -> int | float:
    # int() refuses thousands of digits with words of its own; as a float they are infinite, and refused with their place.
    return int(text) if len(text) < 400 else float(text)


def shown(value: Any, length: int = 40) -> str:
    """A value as JSON has it, in one line, and cut where it is long."""
    if isinstance(value, Literal):
        return value.text
    if isinstance(value, dict | list):
        return "a list" if isinstance(value, list) else "an object"
    text = json.dumps(value[: 2 * length] if isinstance(value, str) else value)
    return text if len(text) <= length else text[: length - 3] + "..."
