"""What is allowed now that was not: the difference of permissions, not of their text."""

from __future__ import annotations

from collections.abc import Iterator

from sagestack.review.assembly import Assembly, Resource, StackTemplate
from sagestack.review.permissions.attachments import attachment_changes
from sagestack.review.permissions.deliveries import delivery_changes
from sagestack.review.permissions.network import groups, network_changes
from sagestack.review.permissions.network_acls import access_list_changes, access_lists
from sagestack.review.permissions.other_grants import OtherGrants
from sagestack.review.permissions.pairing import pairs
from sagestack.review.permissions.references import Names, Reader
from sagestack.review.permissions.rows import Sides, scope_changes
from sagestack.review.permissions.scopes import PRINCIPALS, scopes
from sagestack.review.permissions.switches import switch_changes
from sagestack.review.permissions.worn_roles import worn_role_changes
from sagestack.review.results import PermissionChange, Severity

__all__ = ["permission_changes"]


def permission_changes(before: Assembly | None, after: Assembly | None) -> tuple[PermissionChange, ...]:
    """What principals, resources, keys and networks allow after a change and did not before, and the other way round.

    A stack that leaves the application, and an environment that does, is not deleted by any deployment: what it allows stays
    allowed, so nothing is said of it.

    Args:
        before: None where the environment is new: then all of it is wider.
        after: None where it is gone.

    Returns:
        The most dangerous first; what is wider before what is narrower.
    """
    order = list(Severity)
    return tuple(
        sorted(
            _changes(before, after),
            key=lambda change: (
                order.index(change.severity),
                change.direction != "wider",
                -len(change.flags),
                change.resource.address,
                change.kind,
                change.sentence,
            ),
        )
    )


def _changes(before: Assembly | None, after: Assembly | None) -> Iterator[PermissionChange]:
    if after is None:
        return
    if before is not None:
        staying = {name: stack for name, stack in before.stacks.items() if name in after.stacks}
        before = Assembly(before.environment, staying, before.directory)
    same = pairs(before, after)
    names = Names()
    # The new side first: what is on both is called by its new name.
    new, old = Reader(after, names), Reader(before, names, same)
    newer = {resource.address: resource for resource in after.resources}
    older = {old.identity(resource).address: resource for resource in (before.resources if before else [])}
    accounts = {stack.name: new.text({"Ref": "AWS::AccountId"}, stack) for stack in _stacks(before, after)}
    new_scopes, old_scopes = scopes(new, names), scopes(old, names)
    sides = Sides(
        names=names,
        is_new=lambda resource: resource.address not in older,
        is_gone=lambda resource: resource.address not in newer,
        account=lambda resource: accounts[resource.stack],
        remains=OtherGrants(new, names, new_scopes).remains,
    )
    for key in sorted(new_scopes.keys() | old_scopes.keys()):
        yield from scope_changes(old_scopes.get(key), new_scopes.get(key), sides)
    new_groups, old_groups = groups(new, names), groups(old, names)
    for group in sorted(new_groups.keys() | old_groups.keys()):
        yield from network_changes(old_groups.get(group), new_groups.get(group), sides)
    new_lists, old_lists = access_lists(new, names), access_lists(old, names)
    for each in sorted(new_lists.keys() | old_lists.keys()):
        yield from access_list_changes(old_lists.get(each), new_lists.get(each), sides)
    for address in sorted(newer.keys() | older.keys()):
        was, is_now = older.get(address), newer.get(address)
        if _type(was, is_now) in PRINCIPALS:
            yield from attachment_changes(was, is_now, old, new, sides)
        yield from switch_changes(was, is_now, old, new)
        yield from delivery_changes(was, is_now, old, new, sides)
        yield from worn_role_changes(was, is_now, old, new, sides)


def _stacks(*sides: Assembly | None) -> Iterator[StackTemplate]:
    for side in sides:
        yield from side.stacks.values() if side else ()


def _type(*sides: Resource | None) -> str:
    return next(side.type for side in sides if side is not None)
