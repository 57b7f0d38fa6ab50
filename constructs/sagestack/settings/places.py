"""Finds the place in the settings that a path of pydantic's means: it names members of unions, which no file has."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union

from pydantic import BaseModel
from pydantic.fields import FieldInfo

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Place:
    """Where something stands.

    Attributes:
        path: the keys as the file has them.
        owner: the settings that hold the last key, where it is one.
        field: the deepest field on the way that declares one.
        kind: the type of what stands there.
        is_key: whether the key itself is meant, not its value.
        marks: what an item of a list, or a value of a mapping, is annotated with; nothing for a field.
    """

    path: Path
    owner: type[BaseModel] | None
    field: FieldInfo | None
    kind: Any
    is_key: bool
    marks: tuple[Any, ...] = ()


def place_of(model: type[BaseModel], loc: Sequence[str | int]) -> Place:
    """Walks from the outermost settings along a path of pydantic's."""
    parts = [part for part in loc if part != "[key]"]
    is_key = len(parts) < len(loc)
    path: list[str | int] = []
    owner: type[BaseModel] | None = None
    field: FieldInfo | None = None
    kind: Any = model
    marks: tuple[Any, ...] = ()
    for index, part in enumerate(parts):
        kind = plain(kind)
        member = _member(kind, part)
        if member is not None:
            kind = member
            continue
        path.append(part)
        if is_key and index == len(parts) - 1:
            break
        if _is_settings(kind):
            owner, field = kind, kind.model_fields.get(str(part))
            kind, marks = field.annotation if field else None, ()
        else:
            arguments = typing.get_args(kind)
            kind = arguments[-1] if arguments else None
            marks = _marks(kind)
            if _is_settings(plain(kind)):
                owner, field = plain(kind), None
    return Place(tuple(path), owner, field, plain(kind), is_key, marks)


def members_of(kind: Any) -> list[Any]:
    """The members of a union that are not None; the type itself where it is none."""
    kind = plain(kind)
    return [plain(each) for each in typing.get_args(kind)] if _is_union(kind) else [kind]


def tags_of(kind: Any) -> list[str]:
    """What `kind:` may say in one of several settings that are told apart by it."""
    return [tag for member in members_of(kind) for tag in _tags(member)]


def plain(kind: Any) -> Any:
    """The type without what it is annotated with, and without None."""
    while typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    if not _is_union(kind):
        return kind
    members = [member for member in typing.get_args(kind) if member is not types.NoneType]
    return plain(members[0]) if len(members) == 1 else Union[tuple(members)]  # noqa: UP007 - of a list that is made here


def _marks(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind)[1:] if typing.get_origin(kind) is typing.Annotated else ()


def _member(kind: Any, label: str | int) -> Any:
    """The member of a union that pydantic gives this label; None where the label is a key."""
    if not _is_union(kind):
        return None
    for member in members_of(kind):
        if _is_settings(member) and (label == member.__name__ or label in _tags(member)):
            return member
        if typing.get_origin(member) is Literal and str(label).startswith("literal["):
            return member
    return None


def _tags(member: Any) -> list[str]:
    field = member.model_fields.get("kind") if _is_settings(member) else None
    return list(typing.get_args(field.annotation)) if field else []


def _is_settings(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (Union, types.UnionType)
