"""Where roles have a boundary, no role is without."""

from __future__ import annotations

from collections.abc import Iterator

from sagestack.review.assembly import Resource
from sagestack.review.results import Severity
from sagestack.review.rules.own.rule import Around, Rule
from sagestack.review.rules.own.values import may_be_missing


def _broken(role: Resource, around: Around) -> Iterator[str]:
    with_boundary = [
        other
        for other in around.assembly.resources
        if other.type in RULE.types and not may_be_missing(other.properties.get("PermissionsBoundary"))
    ]
    if with_boundary and may_be_missing(role.properties.get("PermissionsBoundary")):
        yield "It has no PermissionsBoundary, and other roles of this environment have one: whatever its policies say, it may."


RULE = Rule(
    name="SAGESTACK-PermissionsBoundary",
    promise="In an environment with a permissions boundary, every role and user has one.",
    severity=Severity.DANGER,
    link="https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html",
    types=frozenset({"AWS::IAM::Role", "AWS::IAM::User"}),
    broken=_broken,
)
