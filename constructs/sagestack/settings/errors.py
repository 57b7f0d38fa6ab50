"""Turns what is wrong in a settings file into lines that a person can act on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from sagestack.settings.places import Path, Place, members_of, place_of, tags_of
from sagestack.settings.source import SettingsFile


class SettingsError(Exception):
    """One or more settings are refused.

    `problems` holds one line each: the file and line, the key, the value and what is allowed.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class Allowed:
    """Says, in words, which values a field takes; stands next to the constraint that enforces it."""

    text: str


@dataclass(frozen=True)
class FromPath:
    """Marks a field that the file's place says, so that the file itself must not."""


def suggestion(wrong: object, known: Iterable[str]) -> str:
    """Gives "; did you mean 'x'?" where something known is close to what was written, else nothing."""
    close = difflib.get_close_matches(str(wrong), list(known), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(name) for name in close)}?" if close else ""


class Misfit(ValueError):
    """Values that are right each for itself, and do not go together.

    A validator of settings raises it, so that each problem is told at the line of the key that it is about.

    Args:
        problems: for each, the path of the key below the settings that are validated, and what is wrong with it.
    """

    def __init__(self, *problems: tuple[Sequence[str | int], str]) -> None:
        self.problems = problems
        super().__init__("; ".join(f"{dotted(path)}: {text}" if path else text for path, text in problems))


def described(error: ValidationError, model: type[BaseModel], source: SettingsFile) -> list[str]:
    """Describes every problem that pydantic found, in the order of the file."""
    problems = [each for found in error.errors() for each in _problems(dict(found), model)]
    # One of several kinds of value was wanted, and pydantic says of each that it is not that one.
    unique = list(dict.fromkeys(problems))
    return [source.problem(text, line=line) for line, text in sorted((source.line_of(p), t) for p, t in unique)]


def _problems(error: Mapping[str, Any], model: type[BaseModel]) -> Iterator[tuple[Path, str]]:
    place = place_of(model, error["loc"])
    if error["type"] == "value_error" and isinstance(error["ctx"]["error"], Misfit):
        for path, text in error["ctx"]["error"].problems:
            key = dotted((*place.path, *path))
            yield (*place.path, *path), f"{key}: {text}" if key else text
    elif error["type"].startswith("union_tag"):
        yield _kind_problem(error, place)
    elif not _is_of_another_member(error):
        yield place.path, _describe(error, place)


def _kind_problem(error: Mapping[str, Any], place: Place) -> tuple[Path, str]:
    """Of settings that come in several kinds: `kind` is missing, or is none of them."""
    kinds = tags_of(place.kind)
    path = (*place.path, "kind")
    if error["type"] == "union_tag_not_found":
        return path, f"{dotted(path)}: the key is missing (allowed: {', '.join(kinds)})"
    written = error["ctx"]["tag"]
    return (
        path,
        f"{dotted(path)}: {_shown(written)} is not allowed{suggestion(written, kinds)} (allowed: {', '.join(kinds)})",
    )


def _is_of_another_member(error: Mapping[str, Any]) -> bool:
    """Where words or a mapping may stand: whether this says of a mapping that it is none of the words."""
    return error["type"] == "literal_error" and isinstance(error["input"], dict)


def _describe(error: Mapping[str, Any], place: Place) -> str:
    key, owner, field = dotted(place.path), place.owner, place.field
    if error["type"] == "extra_forbidden":
        names = keys_of(owner) if owner else []
        of_kind = _of_kind(owner)
        return f"{key}: unknown key{of_kind}{suggestion(place.path[-1], names)} (allowed here: {', '.join(names)})"
    # What is said of an item says more than what is said of the whole list.
    allowed = next((m.text for m in (*place.marks, *(field.metadata if field else ())) if isinstance(m, Allowed)), "")
    if error["type"] == "missing":
        return f"{key}: the key is missing{_of_kind(owner)}" + (f" (allowed: {allowed})" if allowed else "")
    if error["type"] == "value_error":
        # What was written, and is of no use to anybody when it is long.
        text = str(error["ctx"]["error"]).replace(repr(error["input"]), _shown(error["input"]))
        return f"{key}: {text}" if key else text
    if not allowed and error["type"] in ("model_type", "model_attributes_type"):
        kinds = tags_of(place.kind)
        keys = next(
            (keys_of(m) for m in members_of(place.kind) if isinstance(m, type) and issubclass(m, BaseModel)), []
        )
        allowed = f"a mapping with kind: {', '.join(kinds)}" if kinds else f"a mapping with the keys {', '.join(keys)}"
    return f"{key}: {_shown(error['input'])} is not allowed (allowed: {allowed or error['msg']})"


def _of_kind(owner: type[BaseModel] | None) -> str:
    """Which kind a key is missing in, or unknown to: the same key may well belong to another."""
    kinds = tags_of(owner)
    return f" for kind: {kinds[0]}" if len(kinds) == 1 else ""


def keys_of(model: type[BaseModel]) -> list[str]:
    """The keys that a person may write."""
    return [
        name
        for name, field in model.model_fields.items()
        if not any(isinstance(mark, FromPath) for mark in field.metadata)
    ]


def dotted(loc: Iterable[str | int]) -> str:
    """Writes a path as people do: `models.housing.endpoint`, `network.subnet_ids[1]`."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _shown(value: object) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
