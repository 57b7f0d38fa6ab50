"""Turns the text of a hyperparameter into its value: the API sends every one as a string, SDKs add quotes of JSON."""

from __future__ import annotations

import json
from typing import Any

from .parameter_table import Parameter

_FLAGS = {"1": True, "true": True, "0": False, "false": False}


def plain_text(value: Any) -> str:
    """The text as the user meant it: `5` of `"5"` (SDKs encode values as JSON), of 5 and of " 5 "."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return json.dumps(value)
    text = value.strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        try:
            inner = json.loads(text)
        except ValueError:
            return text
        return str(inner).strip()
    return text


def shown(text: str, most: int = 60) -> str:
    return repr(text if len(text) <= most else f"{text[:most]}...")


def value_of(parameter: Parameter, text: str) -> Any:
    """The value of the text.

    Raises:
        ValueError: `NAME must be ..., got ...`.
    """
    try:
        return _PARSERS[parameter.kind](parameter, text)
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise ValueError(f"{parameter.name} must be {parameter.wanted}, got {shown(text)}") from None


def _whole(parameter: Parameter, text: str) -> int:
    if "_" in text:
        raise ValueError  # Python's own way to write 1_000
    number = float(text)
    # By way of int for what a float cannot hold; 3.0 and 1e2 are whole numbers too, as tuning jobs write them.
    value = int(text) if text.lstrip("+-").isdecimal() else int(number)
    if value != number or not parameter.holds(value):
        raise ValueError
    return value


def _number(parameter: Parameter, text: str) -> float:
    value = float(text)
    if "_" in text or not parameter.holds(value):
        raise ValueError
    return value


def _flag(parameter: Parameter, text: str) -> bool:
    try:
        return _FLAGS[text.lower()]
    except KeyError:
        raise ValueError from None


def _choice(parameter: Parameter, text: str) -> str:
    if parameter.choices and text not in parameter.choices:
        raise ValueError
    return text


def _names(parameter: Parameter, text: str) -> tuple[str, ...]:
    """A list of JSON, or commas between the words; brackets and quotes of Python's are taken too."""
    if text.startswith("["):
        items = json.loads(text.replace("'", '"'))
        if not all(isinstance(item, str) for item in items):
            raise ValueError
    else:
        items = text.split(",")
    words = tuple(item.strip() for item in items)
    if not words or not all(words):
        raise ValueError
    return words


def _numbers(parameter: Parameter, text: str) -> tuple[float, ...]:
    if text[:1] + text[-1:] in ("()", "[]"):
        text = text[1:-1]
    return tuple(_number(parameter, item) for item in text.split(","))


def _constraints(parameter: Parameter, text: str) -> tuple[int, ...] | dict[str, int]:
    if text.startswith("{"):
        named = json.loads(text.replace("'", '"'))
        if not named or not all(type(sign) is int and abs(sign) <= 1 for sign in named.values()):
            raise ValueError
        return {str(name): sign for name, sign in named.items()}
    if text[:1] + text[-1:] in ("()", "[]"):
        text = text[1:-1]
    signs = tuple(int(item) for item in text.rstrip(",").split(","))
    if not all(abs(sign) <= 1 for sign in signs):
        raise ValueError
    return signs


def _groups(parameter: Parameter, text: str) -> list[list[int]] | list[list[str]]:
    groups = json.loads(text.replace("'", '"').replace("(", "[").replace(")", "]"))
    members = [member for group in groups for member in group]
    by_place = all(type(member) is int and member >= 0 for member in members)
    by_name = all(isinstance(member, str) for member in members)
    if not isinstance(groups, list) or not members or not all(isinstance(group, list) for group in groups):
        raise ValueError
    if not by_place and not by_name:
        raise ValueError
    return groups


_PARSERS = {
    "whole": _whole,
    "number": _number,
    "flag": _flag,
    "choice": _choice,
    "names": _names,
    "numbers": _numbers,
    "constraints": _constraints,
    "groups": _groups,
}
