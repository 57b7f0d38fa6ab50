"""Which resource of one side is which of the other, so that a new name alone does not look like a new permission."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from sagestack.review.assembly import Assembly, Resource
from sagestack.review.permissions.references import Place, listed_values

_ALIKE = 0.6
"""From which similarity on a resource that left and one that came are taken for one that was renamed."""


def pairs(before: Assembly | None, after: Assembly | None) -> dict[Place, Resource]:
    """For resources before, by stack and logical id, the same resource after.

    First by logical id, then by construct path, then what is most alike of its type: a role that was renamed with its policies.
    """
    if before is None or after is None:
        return {}
    left, right = {_place(each): each for each in before.resources}, {_place(each): each for each in after.resources}
    found: dict[Place, Resource] = {}

    def pair(one: Resource, other: Resource) -> None:
        found[_place(one)] = other
        del left[_place(one)], right[_place(other)]

    for place, one in list(left.items()):
        if place in right and right[place].type == one.type:
            pair(one, right[place])
    for same_stack in (True, False):
        by_path: dict[tuple[str, ...], list[Resource]] = {}
        for other in right.values():
            by_path.setdefault(_by_path(other, same_stack), []).append(other)
        for one in list(left.values()):
            others = by_path.get(_by_path(one, same_stack), [])
            if len(others) == 1 and _place(others[0]) in right:
                pair(one, others[0])
    names = {place: "/".join(_place(other)) for place, other in found.items()}
    old, new = _Contents(before, names), _Contents(after, {})
    candidates = [
        (likeness, one, other)
        for one in left.values()
        for other in right.values()
        if one.type == other.type and (likeness := old.likeness(one, new, other)) >= _ALIKE
    ]
    for _, one, other in sorted(candidates, key=lambda each: (-each[0], each[1].address, each[2].address)):
        if _place(one) in left and _place(other) in right:
            pair(one, other)
    return found


def _place(resource: Resource) -> Place:
    return resource.stack, resource.logical_id


def _by_path(resource: Resource, same_stack: bool) -> tuple[str, ...]:
    return (resource.type, resource.path, resource.stack if same_stack else "")


class _Contents:
    """What makes resources alike: their properties, and for roles what their policies say."""

    def __init__(self, assembly: Assembly, names: Mapping[Place, str]) -> None:
        self._names = names
        self._attached: dict[Place, list[Any]] = {}
        for resource in assembly.resources:
            if not resource.type.startswith("AWS::IAM::"):
                continue
            for role in listed_values(resource.properties.get("Roles")):
                if isinstance(role, dict) and "Ref" in role:
                    self._attached.setdefault((resource.stack, role["Ref"]), []).append(
                        resource.properties.get("PolicyDocument")
                    )

    def likeness(self, one: Resource, other_side: _Contents, other: Resource) -> float:
        """From 0 to 1."""
        here, there = self._parts(one), other_side._parts(other)
        alike = len(here & there) / len(here | there) if here | there else 1.0
        names = difflib.SequenceMatcher(None, one.path, other.path, autojunk=False).ratio()
        return 0.8 * alike + 0.2 * names

    def _parts(self, resource: Resource) -> set[str]:
        own = dict(resource.properties)
        own.pop("Tags", None)
        said = self._attached.get(_place(resource))
        # Every function's role has the same trust: what a role may do tells more, so the rest counts for little.
        return set(self._leaves(said if said else own, resource.stack, ""))

    def _leaves(self, value: Any, stack: str, under: str) -> Iterable[str]:
        match value:
            case {"Ref": str(name)} | {"Fn::GetAtt": [str(name), *_]}:
                yield f"{under}={self._names.get((stack, name), f'{stack}/{name}')}"
            case dict():
                for key, each in value.items():
                    yield from self._leaves(each, stack, f"{under}.{key}")
            case list():
                for each in value:
                    yield from self._leaves(each, stack, under)
            case _:
                yield f"{under}={json.dumps(value)}"
