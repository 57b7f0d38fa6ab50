"""What differs between two definitions of a resource, down to the value, and only where CloudFormation sees a difference."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sagestack.review.assembly import Resource
from sagestack.review.changes.schemas import Pointer, ResourceSchema, schema_of
from sagestack.review.changes.templates import canonical, document, unordered
from sagestack.review.intrinsics import is_intrinsic
from sagestack.review.results import PropertyChange

ATTRIBUTES = {"DeletionPolicy": "Delete", "UpdateReplacePolicy": "Delete", "Condition": None, "UpdatePolicy": None}
"""What counts besides properties, with CloudFormation's defaults. `Metadata` and `DependsOn` change nothing that is there."""

_NAMES = (
    "Key",
    "VariantName",
    "ContainerHostname",
    "Sid",
    "Id",
    "Name",
    "AlarmName",
    "PolicyName",
    "VariantPropertyType",
)
"""What tells the items of a list apart, the strongest first."""


def property_changes(before: Resource, after: Resource) -> tuple[PropertyChange, ...]:
    """What differs, sorted by path; empty for what CloudFormation takes for the same.

    Documents that a template carries as text (a pipeline's definition, a state machine's) are compared as what they are.
    """
    schema = schema_of(after.type) or ResourceSchema(after.type)
    changes = []
    for difference in _differences(before.properties, after.properties, _Place("", (), schema)):
        replaces = schema.replaces(difference.pointer, difference.before, difference.after)
        changes.append(PropertyChange(difference.path, difference.before, difference.after, replaces))
    for attribute, default in ATTRIBUTES.items():
        old, new = before.definition.get(attribute, default), after.definition.get(attribute, default)
        if canonical(old) != canonical(new):
            changes.append(PropertyChange(attribute, old, new))
    return tuple(sorted(changes, key=lambda change: change.path))


class _Place(NamedTuple):
    """Where a value stands: for people, for the schema, and the schema."""

    path: str
    pointer: Pointer
    schema: ResourceSchema

    def key(self, name: str) -> _Place:
        return _Place(f"{self.path}.{name}" if self.path else name, (*self.pointer, name), self.schema)

    def item(self, name: object) -> _Place:
        return _Place(f"{self.path}[{name}]", (*self.pointer, "*"), self.schema)


class _Difference(NamedTuple):
    path: str
    pointer: Pointer
    before: Any
    after: Any


def _differences(before: Any, after: Any, place: _Place) -> Iterator[_Difference]:
    if canonical(before) == canonical(after):
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping) and not (is_intrinsic(before) or is_intrinsic(after)):
        for name in sorted({*before, *after}):
            yield from _differences(before.get(name), after.get(name), place.key(name))
        return
    if "Statement" in place.pointer and before is not None and after is not None and not place.path.endswith("]"):
        # One action is a list of one, and so is one resource.
        before, after = (each if isinstance(each, list) else [each] for each in (before, after))
    if isinstance(before, list) and isinstance(after, list):
        yield from _lists(before, after, place)
        return
    documents = document(before), document(after)
    if all(isinstance(each, dict | list) for each in documents):
        inside = list(_differences(*documents, place))
        # Where only the spelling differs nobody is helped by seeing it, and CloudFormation updates to the same.
        yield from inside
        return
    yield _Difference(place.path, place.pointer, before, after)


def _lists(before: list[Any], after: list[Any], place: _Place) -> Iterator[_Difference]:
    is_set = place.schema.is_set(place.pointer) or "Statement" in place.pointer
    if is_set and unordered([canonical(each) for each in before]) == unordered([canonical(each) for each in after]):
        return
    name = _naming(before, after)
    if name:
        old, new = ({str(each[name]): each for each in items} for items in (before, after))
        if not is_set and [key for key in old if key in new] != [key for key in new if key in old]:
            yield _Difference(place.path, place.pointer, before, after)
            return
        for key in sorted({*old, *new}):
            yield from _differences(old.get(key), new.get(key), place.item(key))
        return
    gone, come = _unpaired(before, after) if is_set else _between_ends(before, after)
    for (index, old), (_, new) in zip(gone, come, strict=False):
        yield from _differences(old, new, place.item(index))
    for index, old in gone[len(come) :]:
        yield _Difference(*place.item(index)[:2], old, None)
    for index, new in come[len(gone) :]:
        yield _Difference(*place.item(index)[:2], None, new)


_Indexed = Sequence[tuple[int, Any]]


def _naming(before: list[Any], after: list[Any]) -> str | None:
    """The property whose value tells the items of both lists apart."""
    return next(
        (
            name
            for name in _NAMES
            if all(isinstance(each, Mapping) and isinstance(each.get(name), str) for each in (*before, *after))
            and all(len({each[name] for each in items}) == len(items) for items in (before, after))
        ),
        None,
    )


def _unpaired(before: list[Any], after: list[Any]) -> tuple[_Indexed, _Indexed]:
    """What is in one list and not in the other, with its place."""
    texts = [[json.dumps(canonical(each), sort_keys=True) for each in items] for items in (before, after)]
    gone, come = [], list(enumerate(after))
    for index, text in enumerate(texts[0]):
        same = next((at for at, (place, _) in enumerate(come) if texts[1][place] == text), None)
        if same is None:
            gone.append((index, before[index]))
        else:
            come.pop(same)
    return gone, come


def _between_ends(before: list[Any], after: list[Any]) -> tuple[_Indexed, _Indexed]:
    """What lies between the beginning and the end that both lists share, so that one item more is one change."""
    old, new = [canonical(each) for each in before], [canonical(each) for each in after]
    most = min(len(old), len(new))
    start = next((index for index in range(most) if old[index] != new[index]), most)
    end = next((index for index in range(most - start) if old[-1 - index] != new[-1 - index]), most - start)
    return (
        [(index, before[index]) for index in range(start, len(before) - end)],
        [(index, after[index]) for index in range(start, len(after) - end)],
    )
