"""Which functions, models, notebooks and people act as another role than before: what they may is what that role may."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sagestack.review.assembly import Resource
from sagestack.review.permissions.actions import UNKNOWN
from sagestack.review.permissions.globs import is_reference
from sagestack.review.permissions.references import Reader
from sagestack.review.permissions.rows import Sides
from sagestack.review.results import PermissionChange, Severity

_ENDINGS = ("role", "rolearn")
"""Of the names of properties, in lower case: `Role`, `RoleArn`, `RoleARN`, `ExecutionRole`, `ExecutionRoleArn`, `TaskRoleArn`."""
_OF_A_SERVICE = ":role/aws-service-role/"
"""AWS makes these roles itself, and nobody can give them more."""


def worn_role_changes(
    before: Resource | None, after: Resource | None, old: Reader, new: Reader, sides: Sides
) -> Iterator[PermissionChange]:
    """Of one resource. A new one is looked at only where its role is in no template, so that nobody reads what it may."""
    if after is None or not after.type.startswith("AWS::") or after.type.startswith("AWS::IAM::"):
        return
    was = _roles(before, old) if before is not None else {}
    for path, role in sorted(_roles(after, new).items()):
        if before is None and not _is_elsewhere(role):
            continue
        if role == was.get(path):
            continue
        name = sides.names.readable(role)
        instead = f", before as {sides.names.readable(was[path])}" if path in was else ""
        what = "compare what the two may" if instead else "it acted as none"
        if _is_elsewhere(role) and not instead:
            what = "what that may is not in this review"
        yield PermissionChange(
            direction="wider",
            kind="identity",
            resource=after,
            principal=after.path,
            actions=(),
            access_levels=(UNKNOWN,),
            targets=(name,),
            conditions=(),
            severity=Severity.WARNING,
            sentence=f"{after.path} acts as {name} ({path}){instead}: {what}",
        )


def _roles(resource: Resource, reader: Reader) -> Mapping[str, str]:
    """The roles that a resource names, by the path of the property."""
    assert reader.assembly is not None
    stack = reader.assembly.stacks[resource.stack]
    return {
        path: text
        for path, value in _named(resource.properties, "")
        if _OF_A_SERVICE not in (text := reader.text(value, stack))
    }


def _named(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        for place, each in enumerate(value):
            # By its own name where it has one: another order is no other role.
            name = each.get("Id", each.get("Name", place)) if isinstance(each, Mapping) else place
            yield from _named(each, f"{path}[{name if isinstance(name, str) else place}]")
    if not isinstance(value, Mapping):
        return
    for name, each in value.items():
        below = f"{path}.{name}" if path else str(name)
        if str(name).lower().endswith(_ENDINGS) and each:
            yield below, each
        elif not str(name).startswith("Fn::"):
            yield from _named(each, below)


def _is_elsewhere(role: str) -> bool:
    return role.startswith("arn:") and not any(is_reference(each) for each in role)
