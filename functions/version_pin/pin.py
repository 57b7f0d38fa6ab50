"""Changes one pin in the text of an environment's file, and no other byte.

The standard library has no YAML, and a parser that writes would change more than the pin. The form that is understood here, block
style with spaces, is that of every file of the project; synthesis checks that the file at hand has it.
"""

from __future__ import annotations

import re

_LINE = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z0-9_.-]+):(?P<rest>.*)$")


class NoPin(Exception):
    """The file does not say which version of the model is served, or not in a form that is understood."""


def pinned(text: str, model: str) -> int | None:
    """The version that the file pins; None for `null`.

    Raises:
        NoPin: there is no such line.
    """
    _, value = _find(text, model)
    return None if value.group() == "null" else int(value.group())


def with_pin(text: str, model: str, version: int) -> str:
    """The text with another version pinned.

    Raises:
        NoPin: there is no such line.
    """
    number, value = _find(text, model)
    lines = text.split("\n")
    line = lines[number]
    lines[number] = line[: value.start()] + str(version) + line[value.end() :]
    return "\n".join(lines)


def _find(text: str, model: str) -> tuple[int, re.Match[str]]:
    """The line with the pin, and where in it the value stands."""
    path: list[tuple[int, str]] = []
    for number, line in enumerate(text.split("\n")):
        parsed = _LINE.match(line.rstrip("\r"))
        if parsed is None:
            continue
        indent = len(parsed["indent"])
        path = [*((deep, key) for deep, key in path if deep < indent), (indent, parsed["key"])]
        if [key for _, key in path] == ["models", model, "served_version"]:
            value = re.compile(r"(?<= )(null|[1-9][0-9]*)(?=[ \r]|$)").search(line, parsed.start("rest"))
            if value is None:
                raise NoPin(f"models.{model}.served_version is {parsed['rest'].strip()!r}, not a number or null")
            return number, value
    raise NoPin(f"there is no line models.{model}.served_version, with each key on a line of its own")
