"""Tells what a change breaks from what was broken before it."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from sagestack.accepted_risks import ACCEPTED_BY_TOOL, accepted_by
from sagestack.review.assembly import Resource
from sagestack.review.results import RuleFinding, Severity
from sagestack.review.rules.found import Checked, Found

_GENERATED = re.compile(r"[0-9A-F]{8}(?![0-9A-Za-z])|(?<=[a-z])[0-9A-F]{8}")
"""The hash that CDK ends logical ids with, which cdk-nag takes into the names of its findings."""

_STATES = ("new", "old", "fixed")
_SEVERITIES = tuple(Severity)


@dataclass(frozen=True)
class _Broken:
    """A finding with all that tells whether the other side has the same."""

    stack: str
    found: Found
    resource: Resource | None
    path: str
    acknowledged: str | None

    @cached_property
    def rule(self) -> str:
        return _GENERATED.sub("", self.found.rule)

    @property
    def by_words(self) -> Hashable:
        return self.found.tool, self.found.rule, self.path, self.found.message

    @property
    def by_path(self) -> Hashable:
        return self.found.tool, self.rule, self.path

    @property
    def by_logical_id(self) -> Hashable:
        return self.found.tool, self.rule, self.stack, self.found.logical_id

    @cached_property
    def by_likeness(self) -> Hashable:
        """A construct that was renamed and changed in nothing else breaks what it broke under its old name."""
        if self.resource is None:
            return None
        likeness = _GENERATED.sub("", json.dumps(self.resource.properties, sort_keys=True))
        return self.found.tool, self.rule, self.stack, self.resource.type, likeness


_ALIKE: tuple[Callable[[_Broken], Hashable], ...] = (
    lambda broken: broken.by_words,
    lambda broken: broken.by_path,
    lambda broken: broken.by_logical_id,
    lambda broken: broken.by_likeness,
)


def compare(before: Checked | None, after: Checked | None) -> tuple[RuleFinding, ...]:
    """What one environment breaks: new before old before fixed, not accepted before accepted, the worst first.

    A finding of a side is that of the other where rule and construct are the same; a construct is the same by its path, by its
    logical id, or by its type and properties.
    """
    gone, old, new = list(_broken(before)), [], list(_broken(after))
    for alike in _ALIKE:
        gone, paired, new = _pair(gone, new, alike)
        old += paired
    findings = [*_said(new, "new"), *_said(old, "old"), *_said(gone, "fixed")]
    return tuple(sorted(findings, key=_order))


def no_longer_needed(before: Iterable[Checked | None], after: Iterable[Checked | None]) -> tuple[str, ...]:
    """A sentence for each acceptance that the change leaves without anything to accept, in the environments reviewed."""
    was, is_ = ({key for side in sides for key in _acceptances(side)} for sides in (before, after))
    return tuple(
        f"{rule} ({tool}) is accepted, and the change leaves nothing that breaks it: take the acceptance out of"
        " constructs/sagestack/accepted_risks.py, unless an environment that is not reviewed here needs it."
        for tool, rule in sorted(was - is_)
    )


def _broken(side: Checked | None) -> Iterator[_Broken]:
    if side is None:
        return
    for stack, of_stack in side.found.items():
        for found in of_stack:
            yield _Broken(
                stack,
                found,
                side.resource(stack, found),
                side.path(stack, found),
                side.acknowledged(stack, found),
            )


def _pair(
    before: list[_Broken], after: list[_Broken], alike: Callable[[_Broken], Hashable]
) -> tuple[list[_Broken], list[_Broken], list[_Broken]]:
    """What is only before, what is on both sides (as it is after), and what is only after. Each is paired once."""
    waiting: dict[Hashable, list[_Broken]] = defaultdict(list)
    for broken in before:
        waiting[alike(broken)].append(broken)
    paired, only_after = [], []
    for broken in after:
        same = alike(broken)
        if same is not None and waiting[same]:
            waiting[same].pop(0)
            paired.append(broken)
        else:
            only_after.append(broken)
    return [broken for left in waiting.values() for broken in left], paired, only_after


def _said(broken: Iterable[_Broken], state: Literal["new", "old", "fixed"]) -> Iterator[RuleFinding]:
    return (
        RuleFinding(
            tool=each.found.tool,
            rule=each.found.rule,
            stack=each.stack,
            resource=each.resource,
            severity=each.found.severity,
            message=each.found.message,
            link=each.found.link,
            state=state,
            accepted=_reason(each),
        )
        for each in broken
    )


def _reason(broken: _Broken) -> str | None:
    """Why it is accepted: beside the construct, which knows best, or in the list."""
    accepted = _acceptance(broken)
    return broken.acknowledged or (ACCEPTED_BY_TOOL[broken.found.tool][accepted] if accepted else None)


def _acceptances(side: Checked | None) -> Iterator[tuple[str, str]]:
    for broken in _broken(side):
        accepted = _acceptance(broken)
        if accepted is not None:
            yield broken.found.tool, accepted


def _acceptance(broken: _Broken) -> str | None:
    return accepted_by(broken.found.tool, broken.found.rule, broken.path)


def _order(finding: RuleFinding) -> tuple[object, ...]:
    return (
        _STATES.index(finding.state),
        finding.accepted is not None,
        _SEVERITIES.index(finding.severity),
        finding.stack,
        finding.resource.path if finding.resource else "",
        finding.tool,
        finding.rule,
        finding.message,
    )
