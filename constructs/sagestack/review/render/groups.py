"""What is alike in several environments, gathered: a reviewer reads it once, with the names of the environments."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sagestack.review.render.words import listed
from sagestack.review.results import (
    EnvironmentReview,
    PermissionChange,
    Picture,
    ResourceChange,
    Review,
    RuleFinding,
    Severity,
)

Member = ResourceChange | PermissionChange | RuleFinding | Picture
T = TypeVar("T", bound=Member)
_RANKS = {severity: rank for rank, severity in enumerate(Severity)}


@dataclass(frozen=True)
class Group(Generic[T]):
    """One thing, and the environments that it is in.

    Attributes:
        members: by environment, in the review's order. They differ in nothing but the names, accounts and regions of their
            environments.
    """

    members: tuple[tuple[EnvironmentReview, T], ...]

    @property
    def first(self) -> T:
        return self.members[0][1]

    @property
    def environments(self) -> tuple[str, ...]:
        return tuple(environment.environment for environment, _ in self.members)

    @property
    def stacks(self) -> tuple[str, ...]:
        """Names of the stacks, for what has one."""
        return tuple(dict.fromkeys(_stack_of(member) for _, member in self.members))

    @property
    def is_alike(self) -> bool:
        """Whether the members are equal to the letter, so that what is shown of the first is true of all."""
        return len({_key(member, lambda text: text) for _, member in self.members}) == 1


def changes(review: Review) -> list[Group[ResourceChange]]:
    """The resources that change, the most dangerous first."""
    return _by_severity(_gathered(review, lambda environment: environment.changes))


def permissions(review: Review, direction: str) -> list[Group[PermissionChange]]:
    """What is `wider` or `narrower`, the most dangerous first."""
    return _by_severity(
        _gathered(review, lambda environment: [p for p in environment.permissions if p.direction == direction])
    )


def findings(review: Review, wanted: Callable[[RuleFinding], bool]) -> list[Group[RuleFinding]]:
    """The rules that are broken, or are no more, the most dangerous first."""
    return _by_severity(_gathered(review, lambda environment: filter(wanted, environment.findings)))


def pictures(review: Review) -> list[Group[Picture]]:
    """The drawings, each once."""
    return _gathered(review, lambda environment: environment.pictures)


def sentences(review: Review, where: Iterable[str]) -> list[str]:
    """Sentences that begin with `ENV: `, those that are alike once: `dev, staging and prod: ...`, in the words of the first."""
    neutral = {environment.environment: _neutral(environment) for environment in review.environments}
    alike: dict[str, tuple[list[str], str]] = {}
    for sentence in where:
        name, mark, rest = sentence.partition(": ")
        if not mark or name not in neutral:
            alike.setdefault(sentence, ([], sentence))
            continue
        names, _ = alike.setdefault(f"\x00{neutral[name](rest)}", ([], rest))
        if name not in names:
            names.append(name)
    return [f"{listed(names)}: {rest}" if names else rest for names, rest in alike.values()]


def _gathered(review: Review, members: Callable[[EnvironmentReview], Iterable[T]]) -> list[Group[T]]:
    groups: dict[Hashable, list[tuple[EnvironmentReview, T]]] = {}
    for environment in review.environments:
        neutral = _neutral(environment)
        seen: dict[str, int] = {}
        for member in members(environment):
            key = _key(member, neutral)
            # Two of a kind in one environment stay two: the second one meets the second one of the next.
            seen[key] = seen.get(key, 0) + 1
            groups.setdefault((key, seen[key]), []).append((environment, member))
    return [Group(tuple(members)) for members in groups.values()]


def _by_severity(groups: list[Group[T]]) -> list[Group[T]]:
    return sorted(groups, key=lambda group: _RANKS[getattr(group.first, "severity", Severity.NOTICE)])


def _neutral(environment: EnvironmentReview) -> Callable[[str], str]:
    """Takes out of a text what only says in which environment it stands."""
    # A name of three letters is also a part of other words: `dev` stands alone or between marks.
    name = re.compile(rf"(?<![A-Za-z0-9]){re.escape(environment.environment)}(?![A-Za-z0-9])")

    def neutral(text: str) -> str:
        text = name.sub("\x00environment", text)
        for value, stands_for in ((environment.account, "\x00account"), (environment.region, "\x00region")):
            if value:
                text = text.replace(value, stands_for)
        return text

    return neutral


def _stack_of(member: Member) -> str:
    match member:
        case RuleFinding():
            return member.stack
        case ResourceChange() | PermissionChange():
            return member.resource.stack
    return ""


def _key(member: Member, neutral: Callable[[str], str]) -> str:
    values: list[Any]
    match member:
        case ResourceChange():
            resource = member.resource
            values = [
                *(resource.stack, resource.path, resource.type, resource.logical_id, member.renamed_from),
                *(member.action, member.severity, member.data, member.interruption, member.reasons),
                [(change.path, change.before, change.after, change.replaces) for change in member.properties],
                None if member.properties else resource.definition,
            ]
        case PermissionChange():
            values = [
                *(member.direction, member.kind, member.resource.stack, member.resource.path, member.principal),
                *(member.actions, member.targets, member.conditions, member.severity, member.sentence),
                sorted(member.flags),
            ]
        case RuleFinding():
            values = [
                *(member.tool, member.rule, member.stack, member.severity, member.message),
                *(member.state, member.accepted, member.resource.path if member.resource else None),
            ]
        case Picture():
            values = [member.title, member.mermaid]
    return neutral(json.dumps(values, default=str, sort_keys=True, ensure_ascii=False))
