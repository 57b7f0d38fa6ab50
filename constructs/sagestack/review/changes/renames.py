"""Finds what only changed its logical id: to CloudFormation that is a deletion and a creation, to a person a rename."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from sagestack.review.assembly import Resource
from sagestack.review.changes.templates import canonical
from sagestack.review.intrinsics import is_intrinsic

LEAST = 0.6
"""How alike two resources must be, from 0 to 1: the share of values that both have, and of their paths that is the same."""

_PATH_SHARE = 0.25


def renames(gone: Sequence[Resource], come: Sequence[Resource]) -> list[tuple[Resource, Resource]]:
    """Pairs of one type, most alike first; each resource is in one pair at most.

    Properties decide, and the construct paths between those that are equally alike: a role is like any other role. References
    to what is gone and to what came count as equal where the types are, since a renamed bucket's policy refers to
    another logical id.
    """
    types = {resource.address: resource.type for resource in (*gone, *come)}
    scored = sorted(
        (
            (score, old, new)
            for old in gone
            for new in come
            if old.type == new.type and (score := likeness(old, new, types)) >= LEAST
        ),
        key=lambda each: (-each[0], each[1].address, each[2].address),
    )
    taken: set[str] = set()
    pairs = []
    for _, old, new in scored:
        if not {f"-{old.address}", f"+{new.address}"} & taken:
            taken |= {f"-{old.address}", f"+{new.address}"}
            pairs.append((old, new))
    return pairs


def likeness(old: Resource, new: Resource, types: Mapping[str, str]) -> float:
    """How alike two resources of one type are, from 0 to 1.

    Args:
        types: of what is gone and what came, by address, so that references to them compare by type.
    """
    before, after = (frozenset(_values(canonical(each.properties), each.stack, types)) for each in (old, new))
    values = len(before & after) / len(before | after) if before | after else 1.0
    paths = 1.0 if old.path == new.path else SequenceMatcher(None, old.path, new.path, autojunk=False).ratio()
    # The same place with other values is not the same thing: a new bucket may stand where another stood.
    return (1 - _PATH_SHARE) * values + _PATH_SHARE * paths


def _values(value: Any, stack: str, types: Mapping[str, str], path: str = "") -> Iterator[tuple[str, str]]:
    if is_intrinsic(value):
        yield path, _reference(value, stack, types)
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _values(each, stack, types, f"{path}.{name}")
    elif isinstance(value, list):
        for each in value:
            yield from _values(each, stack, types, f"{path}[]")
    else:
        yield path, str(value)


def _reference(value: Any, stack: str, types: Mapping[str, str]) -> str:
    match value:
        case {"Ref": str(logical_id)} if f"{stack}/{logical_id}" in types:
            return f"Ref {types[f'{stack}/{logical_id}']}"
        case {"Fn::GetAtt": [str(logical_id), *attribute]} if f"{stack}/{logical_id}" in types:
            return f"GetAtt {types[f'{stack}/{logical_id}']} {attribute}"
        case {"Fn::Join": [_, list(parts)]}:
            return "".join(_reference(part, stack, types) if is_intrinsic(part) else str(part) for part in parts)
    return str(value)
