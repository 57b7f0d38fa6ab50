"""What some statements allow that others do not: by actions, resources, principals and conditions, not by text.

Every request that could tell the two apart is decided by both, as IAM does: an explicit Deny before an Allow, and where neither
speaks, this policy says nothing.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from sagestack.review.permissions import actions as known
from sagestack.review.permissions.conditions import Conditions, outcomes
from sagestack.review.permissions.globs import exists, matches
from sagestack.review.permissions.statements import ANYONE, Selection, Statement

_SOMEBODY = "AWS:\x01"
"""A principal that no policy mentions."""


@dataclass(frozen=True)
class Gain:
    """Something that is allowed, or denied no more.

    Attributes:
        denied: whether a Deny is gone, rather than an Allow new.
        principal: as in a statement; `not ` before it for everyone else.
        action: as written, or what of it is gained; `not ` likewise.
        resource: as written; `not ` likewise.
        conditions: of the statement.
        before: what was allowed before of the same action to the same principal, on other resources or conditions.
    """

    denied: bool
    principal: str
    action: str
    resource: str
    conditions: Conditions
    before: frozenset[Statement]


@dataclass(frozen=True)
class _Class:
    """Principals or actions that the same patterns take, so that one decides for all."""

    members: frozenset[str]
    taken_by: frozenset[str]


def gains(before: Iterable[Statement], after: Iterable[Statement]) -> list[Gain]:
    """What the statements after allow, or leave undenied, and those before do not; swap the sides for what is lost."""
    old, new = frozenset(before), frozenset(after)
    if old == new:
        return []
    statements = sorted(old | new, key=repr)
    found: dict[tuple[Statement, str], list[tuple[_Class, _Class, frozenset[Statement]]]] = {}
    for who in _principal_classes(statements):
        about_them = [statement for statement in statements if takes(statement.principals, who)]
        for what in action_classes(about_them):
            about = [statement for statement in about_them if takes(statement.actions, what)]
            was, is_now = [each for each in about if each in old], [each for each in about if each in new]
            if _meaning(was) == _meaning(is_now):
                continue
            had = frozenset(statement for statement in was if statement.allows)
            for statement, resource in _differences(was, is_now):
                found.setdefault((statement, resource), []).append((who, what, had))
    return sorted({gain for key, where in found.items() for gain in _told(*key, where)}, key=repr)


def _meaning(statements: Iterable[Statement]) -> frozenset[tuple[bool, Selection, Conditions]]:
    return frozenset((each.allows, each.resources, each.conditions) for each in statements)


def takes(selection: Selection, members: _Class) -> bool:
    """Whether a selection of the statements that made the class takes its members."""
    return bool(members.taken_by.intersection(selection.patterns)) != selection.is_negated


def _principal_classes(statements: Sequence[Statement]) -> list[_Class]:
    patterns = {pattern for statement in statements for pattern in statement.principals.patterns}
    members = {_SOMEBODY if pattern == ANYONE else pattern for pattern in patterns}
    if ANYONE in patterns or any(statement.principals.is_negated for statement in statements):
        members.add(_SOMEBODY)
    return _classes(members, patterns, _is_principal)


def _is_principal(pattern: str, principal: str) -> bool:
    if pattern in (ANYONE, principal):
        return True
    # An account that is let in hands on to its own principals what it likes.
    account = re.fullmatch(r"AWS:arn:[^:]*:iam::([^:]+):root", pattern)
    return bool(account and re.match(rf"AWS:arn:[^:]*:(iam|sts)::{re.escape(account[1])}:", principal))


def action_classes(statements: Sequence[Statement]) -> list[_Class]:
    """The actions that these statements can tell apart, each with all that they treat alike."""
    return list(
        _classes_of_actions(
            frozenset(pattern for statement in statements for pattern in statement.actions.patterns),
            any(statement.actions.is_negated for statement in statements),
        )
    )


@lru_cache(maxsize=512)
def _classes_of_actions(patterns: frozenset[str], with_everything: bool) -> tuple[_Class, ...]:
    return tuple(_classes(known.universe(patterns, with_everything), patterns, known.covers))


def _classes(members: Iterable[str], patterns: Iterable[str], covers: object) -> list[_Class]:
    assert callable(covers)
    grouped: dict[frozenset[str], set[str]] = {}
    for member in members:
        grouped.setdefault(frozenset(pattern for pattern in patterns if covers(pattern, member)), set()).add(member)
    return [_Class(frozenset(found), taken_by) for taken_by, found in grouped.items()]


def _differences(was: Sequence[Statement], is_now: Sequence[Statement]) -> Iterator[tuple[Statement, str]]:
    """The statements that give something, and the patterns of resources that they give it on."""
    blocks = {statement.conditions for statement in (*was, *is_now)}
    patterns = sorted({pattern for statement in (*was, *is_now) for pattern in statement.resources.patterns})
    found = set()
    for held in outcomes(blocks):
        old = [statement for statement in was if statement.conditions in held]
        new = [statement for statement in is_now if statement.conditions in held]
        for givers, takers, allows in ((new, old, True), (old, new, False)):
            # An Allow that is new, unless something denies it; a Deny that is gone.
            others = [statement for statement in takers if statement.allows == allows]
            denials = [statement for statement in new if not statement.allows] if allows else []
            for statement in givers:
                if statement.allows != allows:
                    continue
                for resource in _entries(statement.resources):
                    if (statement, resource) not in found and _is_more(statement, resource, others, denials, patterns):
                        found.add((statement, resource))
    return iter(sorted(found, key=repr))


def _entries(selection: Selection) -> list[str]:
    return [f"not {' or '.join(selection.patterns)}"] if selection.is_negated else list(selection.patterns)


def _is_more(
    statement: Statement,
    resource: str,
    others: Sequence[Statement],
    denials: Sequence[Statement],
    patterns: Sequence[str],
) -> bool:
    """Whether the statement speaks of a resource, in this pattern, that none of the others speaks of and none denies."""
    if not statement.resources.is_negated and not others and not denials:
        return True
    if not statement.resources.is_negated and any(
        not other.resources.is_negated and any(matches(resource, pattern) for pattern in other.resources.patterns)
        for other in (*others, *denials)
    ):
        return False
    place = {pattern: index for index, pattern in enumerate(patterns)}

    def speaks(selection: Selection, matching: frozenset[int]) -> bool:
        return any(place[pattern] in matching for pattern in selection.patterns) != selection.is_negated

    return exists(
        patterns,
        None if statement.resources.is_negated else place[resource],
        lambda matching: (
            speaks(statement.resources, matching)
            and not any(speaks(other.resources, matching) for other in (*others, *denials))
        ),
    )


def _told(
    statement: Statement, resource: str, where: Sequence[tuple[_Class, _Class, frozenset[Statement]]]
) -> Iterator[Gain]:
    """The gain in the words of the statement, as far as the statement's patterns are gained as a whole."""
    by_principal: dict[str, list[tuple[_Class, frozenset[Statement]]]] = {}
    for who, what, had in where:
        for name in who.members:
            by_principal.setdefault(name, []).append((what, had))
    for name, principal in _named(statement.principals, set(by_principal), _SOMEBODY, _is_principal):
        gained = {action: had for what, had in by_principal[name] for action in what.members}
        everything = known.representative("*:*")
        for member, action in _named(statement.actions, set(gained), everything, known.covers):
            yield Gain(not statement.allows, principal, action, resource, statement.conditions, gained[member])


def _named(selection: Selection, gained: set[str], unmentioned: str, covers: object) -> Iterator[tuple[str, str]]:
    """Members that were gained, each with its name: that of its pattern where all of the pattern is."""
    assert callable(covers)
    if selection.is_negated:
        if unmentioned in gained:
            yield unmentioned, f"not {' or '.join(selection.patterns)}"
            return
        yield from ((member, _spelled(member)) for member in sorted(gained))
        return
    for pattern in selection.patterns:
        itself = unmentioned if pattern == ANYONE else pattern if pattern in gained else known.representative(pattern)
        if itself in gained:
            yield itself, pattern
        else:
            yield from ((member, _spelled(member)) for member in sorted(gained) if covers(pattern, member))


def _spelled(member: str) -> str:
    return known.written(member.replace("\x01", "*"))
