"""Turns what is wrong in a settings file into lines that a person can act on."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

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


def described(error: ValidationError, model: type[BaseModel], source: SettingsFile) -> list[str]:
    """Describes every problem that pydantic found, in the order of the file."""
    problems = [(source.line_of(e["loc"]), _describe(dict(e), model)) for e in error.errors()]
    return [source.problem(text, line=line) for line, text in sorted(problems, key=lambda p: p[0])]


def _describe(error: Mapping[str, Any], model: type[BaseModel]) -> str:
    loc: tuple[str | int, ...] = tuple(part for part in error["loc"] if part != "[key]")
    key = dotted(loc)
    is_key = len(loc) < len(error["loc"])
    owner, field = _field_at(model, loc[:-1] if is_key else loc)
    if error["type"] == "extra_forbidden":
        names = keys_of(owner) if owner else []
        return f"{key}: unknown key{suggestion(loc[-1], names)} (allowed here: {', '.join(names)})"
    allowed = next((m.text for m in field.metadata if isinstance(m, Allowed)), "") if field else ""
    if error["type"] == "missing":
        return f"{key}: the key is missing" + (f" (allowed: {allowed})" if allowed else "")
    if error["type"] == "value_error":
        return f"{key}: {error['ctx']['error']}" if key else str(error["ctx"]["error"])
    if not allowed and error["type"] == "model_type" and owner:
        allowed = f"a mapping with the keys {', '.join(keys_of(owner))}"
    return f"{key}: {_shown(error['input'])} is not allowed (allowed: {allowed or error['msg']})"


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


def _field_at(model: type[BaseModel], loc: Sequence[str | int]) -> tuple[type[BaseModel] | None, FieldInfo | None]:
    """Finds the model that holds the last key of a path, and the deepest field on the way that declares one."""
    owner: type[BaseModel] | None = None
    field: FieldInfo | None = None
    kind: Any = model
    for part in loc:
        kind = _without_none(kind)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            owner = kind
            field = kind.model_fields.get(str(part))
            kind = field.annotation if field else None
        else:
            arguments = typing.get_args(kind)
            kind = arguments[-1] if arguments else None
            inner = _without_none(kind)
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                owner, field = inner, None
    return owner, field


def _without_none(kind: Any) -> Any:
    if typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    members = [member for member in typing.get_args(kind) if member is not type(None)]
    is_optional = type(None) in typing.get_args(kind)
    return members[0] if is_optional and len(members) == 1 else kind
