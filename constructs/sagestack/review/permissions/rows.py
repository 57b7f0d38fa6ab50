"""From what statements give to rows that a person reads: one per principal, service and targets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from sagestack.review.assembly import Resource
from sagestack.review.permissions import actions as known
from sagestack.review.permissions.comparison import Gain, gains
from sagestack.review.permissions.conditions import Conditions
from sagestack.review.permissions.exposure import exposure
from sagestack.review.permissions.globs import matches
from sagestack.review.permissions.judgement import Facts, flags, levels_of, severity
from sagestack.review.permissions.lost_denials import Lost, Remains, in_words
from sagestack.review.permissions.references import Names
from sagestack.review.permissions.scopes import GUARDS_OF_MANY, VPC_ENDPOINT, Scope
from sagestack.review.permissions.sentences import (
    action_labels,
    condition_labels,
    kind_in_words,
    listed,
    only_if,
    principal_label,
    target_labels,
)
from sagestack.review.permissions.statements import SELF, Statement
from sagestack.review.results import PermissionChange, Severity

Direction = Literal["wider", "narrower"]


@dataclass(frozen=True)
class Sides:
    """What rows need to know of the two sides.

    Attributes:
        is_new: whether a resource is there after the change and was not before.
        account: of the stack that a resource is in.
        remains: what a principal is left with that is denied something no more.
    """

    names: Names
    is_new: Callable[[Resource], bool]
    is_gone: Callable[[Resource], bool]
    account: Callable[[Resource], str]
    remains: Callable[[Scope, Lost], Remains]


@dataclass(frozen=True)
class _Group:
    """What gains have in common that make a row."""

    denied: bool
    principal: str
    service: str
    conditions: Conditions
    before: frozenset[Statement]


@dataclass(frozen=True)
class _Row:
    group: _Group
    targets: tuple[str, ...]
    actions: tuple[str, ...]


def scope_changes(before: Scope | None, after: Scope | None, sides: Sides) -> Iterator[PermissionChange]:
    """The difference of one scope; None where a side does not have it."""
    scope = after or before
    assert scope is not None
    old, new = _statements(before), _statements(after)
    is_new, is_gone = _came(before, scope, sides.is_new), _came(after, scope, sides.is_gone)
    if scope.resource.type == VPC_ENDPOINT and (is_new or is_gone):
        return
    if not is_gone:
        for row in _rows(gains(old, new)):
            yield _told(row, scope, sides, "wider", is_new, _remains(row, scope, after, sides))
    if is_gone:
        yield from _gone(scope, old, sides)
        return
    if not is_new:
        for row in _rows(gains(new, old)):
            yield _told(row, scope, sides, "narrower", False)
    unread = (after.unreadable if after else set()) - (before.unreadable if before else set())
    gone = (before.unreadable if before else set()) - (after.unreadable if after else set())
    if unread or gone:
        yield _unknown(scope, sides, unread or gone)


def _remains(row: _Row, scope: Scope, after: Scope | None, sides: Sides) -> Remains | None:
    """None where a denial is gone that was no principal's own: then it is anybody's policy that may allow it."""
    if not row.group.denied or scope.kind != "identity":
        return None
    return sides.remains(
        after or replace(scope, statements=set()), Lost(row.actions, row.targets, row.group.conditions)
    )


def _gone(scope: Scope, statements: set[Statement], sides: Sides) -> Iterator[PermissionChange]:
    """One line: nobody decides about a single permission of a role, a bucket or a key that is deleted."""
    allowed = [statement for statement in statements if statement.allows]
    if scope.kind == "trust" or not allowed:
        return
    actions = sorted({action for statement in allowed for action in action_labels(statement.actions.patterns)})
    targets = sorted({target for statement in allowed for target in statement.resources.patterns})
    services = sorted({action.partition(":")[0] for action in actions})
    what = "with its permissions" if scope.kind == "identity" else "with what its policy allowed"
    yield PermissionChange(
        direction="narrower",
        kind=scope.kind,
        resource=scope.resource,
        principal=scope.label,
        actions=tuple(actions),
        access_levels=known.levels(actions),
        targets=tuple(sides.names.readable(target) for target in targets),
        conditions=(),
        severity=Severity.NOTICE,
        sentence=f"{scope.label} is gone, {what} in {listed(services)}",
    )


def _came(side: Scope | None, scope: Scope, whether: Callable[[Resource], bool]) -> bool:
    """Whether the other side has no such principal or resource at all."""
    return side is None and scope.owner is not None and whether(scope.owner)


def _statements(scope: Scope | None) -> set[Statement]:
    if scope is None:
        return set()
    return scope.statements


def _rows(found: Iterable[Gain]) -> list[_Row]:
    """Gains with the same principal, service and conditions: first their actions by target, then their targets by actions."""
    by_target: dict[tuple[_Group, str], set[str]] = {}
    for gain in found:
        # What is all but some actions is of no service.
        service = "" if gain.action.startswith("not ") else gain.action.partition(":")[0]
        group = _Group(gain.denied, gain.principal, service, gain.conditions, gain.before)
        by_target.setdefault((group, gain.resource), set()).add(gain.action)
    by_actions: dict[tuple[_Group, tuple[str, ...]], list[str]] = {}
    for (group, target), actions in by_target.items():
        by_actions.setdefault((group, _without_covered(actions)), []).append(target)
    return [_Row(group, _without_covered_targets(targets), actions) for (group, actions), targets in by_actions.items()]


def _without_covered(actions: Iterable[str]) -> tuple[str, ...]:
    """Without those that a pattern among them includes."""
    return _smallest(actions, lambda pattern, action: known.covers(pattern, action.lower()))


def _without_covered_targets(targets: Iterable[str]) -> tuple[str, ...]:
    return _smallest(targets, lambda pattern, target: matches(target, pattern))


def _smallest(patterns: Iterable[str], covers: Callable[[str, str], bool]) -> tuple[str, ...]:
    """The patterns that cover all; of two that cover each other, the first."""
    ordered = sorted(set(patterns))
    return tuple(
        one
        for place, one in enumerate(ordered)
        if not any(
            other != one
            and not other.startswith("not ")
            and covers(other, one)
            and (at < place or not covers(one, other))
            for at, other in enumerate(ordered)
        )
    )


def _told(
    row: _Row, scope: Scope, sides: Sides, direction: Direction, is_whole: bool, remains: Remains | None = None
) -> PermissionChange:
    names, account = sides.names, sides.account(scope.resource)
    is_self = row.group.principal == SELF
    who = scope.label if is_self else principal_label(row.group.principal, names, account)
    facts = Facts(
        kind=scope.kind,
        denied=row.group.denied,
        actions=row.actions,
        targets=row.targets,
        conditions=row.group.conditions,
        exposures=frozenset()
        if is_self or row.group.denied
        else {exposure(row.group.principal, row.group.conditions, account, names, is_trust=scope.kind == "trust")},
        is_own_account=row.group.principal.startswith("Account:"),
        is_new_owner=is_whole,
        is_new_target=all(
            (found := names.resources(target)) and all(sides.is_new(each) for each in found) for target in row.targets
        ),
        is_idle=remains is not None and remains.is_harmless,
    )
    conditions = condition_labels(row.group.conditions, names)
    itself = _itself(scope)
    targets = tuple(
        itself if itself and target == "*" else names.readable(re.sub("^not ", "everything but ", target))
        for target in row.targets
    )
    sentence = _sentence(row, scope, names, direction, who, is_whole, conditions)
    if remains is not None:
        sentence += in_words(remains, names)
    return PermissionChange(
        direction=direction,
        kind=scope.kind,
        resource=scope.resource,
        principal=who,
        actions=tuple(action_labels(row.actions)),
        access_levels=levels_of(row.actions),
        targets=targets,
        conditions=conditions,
        severity=_severity(facts, scope, direction),
        sentence=sentence,
        flags=flags(facts) if direction == "wider" and scope.resource.type != VPC_ENDPOINT else frozenset(),
    )


def _severity(facts: Facts, scope: Scope, direction: Direction) -> Severity:
    if direction == "narrower":
        return Severity.NOTICE
    # What an endpoint's policy lets through needs a permission elsewhere as well: it opens nothing by itself.
    return Severity.WARNING if scope.resource.type == VPC_ENDPOINT else severity(facts)


def _sentence(
    row: _Row, scope: Scope, names: Names, direction: Direction, who: str, is_whole: bool, conditions: tuple[str, ...]
) -> str:
    what = listed(action_labels(row.actions))
    if row.targets != ("*",) or any(known.takes_resources(action) for action in row.actions):
        what += f" on {listed(target_labels(row.targets, row.group.service, names, _itself(scope)))}"
    if scope.kind == "trust":
        return _trust_sentence(row, scope, names, direction, who, is_whole, conditions)
    if row.group.denied:
        whom = "" if row.group.principal in (SELF, "*") else f" to {who}"
        mine = f"{who}: " if row.group.principal == SELF else ""
        verb = "is no longer denied" if direction == "wider" else "is now denied"
        return f"{mine}{what} {verb}{whom}{only_if(conditions)}"
    if row.actions[0].startswith("not "):
        what = f"do {what}"
    if is_whole and row.group.principal == SELF:
        return f"{who} (a new {kind_in_words(scope.resource.type)}) may {what}{only_if(conditions)}"
    verb = "may now" if direction == "wider" else "may no longer"
    more = _before(row, names, conditions) if direction == "wider" else _left(row, names, conditions)
    return f"{who} {verb} {what}{only_if(conditions)}{more}"


def _itself(scope: Scope) -> str | None:
    """What `*` is in a policy that guards one thing."""
    guards_one = scope.kind == "key" or (scope.kind == "resource" and scope.resource.type not in GUARDS_OF_MANY)
    return scope.label if guards_one else None


def _before(row: _Row, names: Names, conditions: tuple[str, ...]) -> str:
    """What of it was allowed before."""
    same, other = _overlap(row)
    if same:
        was = {condition_labels(statement.conditions, names) for statement in same} - {conditions}
        told = [" and ".join(each) for each in sorted(was) if each]
        return f", before only if {' or if '.join(told)}" if told else ""
    if other:
        return f", before only on {listed(_targets_of(other, row.group.service, names))}"
    return ""


def _left(row: _Row, names: Names, conditions: tuple[str, ...]) -> str:
    same, other = _overlap(row)
    if same:
        told = [
            " and ".join(each) for each in sorted({condition_labels(each.conditions, names) for each in same}) if each
        ]
        return f", only if {' or if '.join(told)}" if told else ""
    if other:
        return f", only on {listed(_targets_of(other, row.group.service, names))}"
    return ""


def _overlap(row: _Row) -> tuple[list[Statement], list[Statement]]:
    """Statements of the other side on the same targets, and those on others."""
    same: list[Statement] = []
    other: list[Statement] = []
    for statement in sorted(row.group.before, key=repr):
        patterns = statement.resources.patterns
        is_same = statement.resources.is_negated or all(
            any(matches(target, pattern) for pattern in patterns) for target in row.targets
        )
        (same if is_same else other).append(statement)
    return same, other


def _targets_of(statements: Iterable[Statement], service: str, names: Names) -> list[str]:
    patterns = {pattern for statement in statements for pattern in statement.resources.patterns}
    return sorted(set(target_labels(_without_covered_targets(sorted(patterns)), service, names)))


def _trust_sentence(
    row: _Row,
    scope: Scope,
    names: Names,
    direction: Direction,
    who: str,
    is_whole: bool,
    conditions: tuple[str, ...],
) -> str:
    how = "" if row.actions == ("sts:AssumeRole",) else f" ({listed(action_labels(row.actions))})"
    role = scope.label
    if row.group.denied:
        verb = "is no longer kept from assuming" if direction == "wider" else "is now kept from assuming"
        return f"{who} {verb} {role}{how}{only_if(conditions)}"
    if is_whole:
        return f"{role} (a new role) may be assumed by {who}{how}{only_if(conditions)}"
    verb = "may now assume" if direction == "wider" else "may no longer assume"
    more = _before(row, names, conditions) if direction == "wider" else _left(row, names, conditions)
    return f"{who} {verb} {role}{how}{only_if(conditions)}{more}"


def _unknown(scope: Scope, sides: Sides, documents: set[str]) -> PermissionChange:
    """A document that only the deployment knows has changed: nobody can say that it is not wider."""
    return PermissionChange(
        direction="wider",
        kind=scope.kind,
        resource=scope.resource,
        principal=scope.label,
        actions=(),
        access_levels=(known.UNKNOWN,),
        targets=(),
        conditions=(),
        severity=Severity.WARNING,
        sentence=f"The policy of {scope.label} has changed and cannot be read before it is deployed: "
        + listed([sides.names.readable(each) for each in sorted(documents)]),
    )
