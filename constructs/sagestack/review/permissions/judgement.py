"""How much a reviewer should care about a permission, and what puts it on top of the list."""

from __future__ import annotations

import re
from collections.abc import Collection, Set
from dataclasses import dataclass

from sagestack.review.permissions import actions as known
from sagestack.review.permissions.conditions import Conditions
from sagestack.review.permissions.exposure import Exposure
from sagestack.review.permissions.globs import is_reference
from sagestack.review.results import PermissionFlag, Severity

_MANAGES = "Permissions management"
_CHANGES = {"Write", _MANAGES, known.UNKNOWN}
_WORKING = (
    "kms:decrypt",
    "kms:describekey",
    "kms:encrypt",
    "kms:generatedatakey*",
    "kms:reencrypt*",
    "logs:createloggroup",
    "logs:createlogstream",
    "logs:putlogevents",
    "cloudwatch:putmetricdata",
    "xray:puttelemetryrecords",
    "xray:puttracesegments",
    "ec2:createnetworkinterfacepermission",
    "ec2:deletenetworkinterfacepermission",
)
"""What changes nothing that others have, whatever the reference calls it.

The use of a key, telling what happened, and what every job and function needs in a network:
https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html
"""


@dataclass(frozen=True)
class Facts:
    """What the severity of a wider permission depends on.

    Attributes:
        is_new_owner: whether the role, or the guarded resource, is new in the same change.
        is_new_target: whether all that it is about is new in the same change.
        is_idle: of a denial that is gone: whether nobody may do what it denied, with it or without.
    """

    kind: str
    denied: bool
    actions: tuple[str, ...]
    targets: tuple[str, ...]
    conditions: Conditions
    exposures: Set[Exposure]
    is_own_account: bool
    is_new_owner: bool
    is_new_target: bool
    is_idle: bool = False


def flags(facts: Facts) -> frozenset[PermissionFlag]:
    found = set()
    if "public" in facts.exposures:
        found.add(PermissionFlag.PUBLIC)
    if "cross-account" in facts.exposures:
        found.add(PermissionFlag.CROSS_ACCOUNT)
    if facts.denied and not facts.is_idle:
        found.add(PermissionFlag.LOST_DENIAL)
    if not facts.denied and facts.kind in ("identity", "boundary") and _is_wildcard(facts):
        found.add(PermissionFlag.NEW_WILDCARD)
    if not facts.denied and _MANAGES in levels_of(_beyond_work(facts)) and not _is_root_of_key(facts):
        found.add(PermissionFlag.PERMISSIONS_MANAGEMENT)
    return frozenset(found)


def severity(facts: Facts) -> Severity:
    """The table of docs/reference/review.md, from the top."""
    marks = flags(facts)
    levels = set(levels_of(facts.actions))
    if marks & {PermissionFlag.PUBLIC, PermissionFlag.CROSS_ACCOUNT, PermissionFlag.LOST_DENIAL}:
        return Severity.DANGER
    if facts.denied:
        return Severity.NOTICE
    if facts.kind == "trust":
        quiet = facts.is_new_owner and not facts.is_own_account
        return Severity.NOTICE if quiet else Severity.WARNING
    if _is_root_of_key(facts) and facts.is_new_owner:
        return Severity.NOTICE
    if PermissionFlag.PERMISSIONS_MANAGEMENT in marks and not _is_bounded(facts):
        return Severity.DANGER
    if PermissionFlag.NEW_WILDCARD in marks:
        return Severity.DANGER if levels & _CHANGES and not _is_limited(facts) else Severity.WARNING
    if PermissionFlag.PERMISSIONS_MANAGEMENT in marks:
        return Severity.WARNING
    if not facts.is_new_owner or known.UNKNOWN in levels:
        return Severity.WARNING
    if facts.kind in ("resource", "key"):
        return Severity.WARNING if "service without a source" in facts.exposures else Severity.NOTICE
    return Severity.WARNING if _changes_something(facts) and not facts.is_new_target else Severity.NOTICE


def levels_of(actions: Collection[str]) -> tuple[str, ...]:
    """The access levels of actions; of all but some (`not iam:*`) those of all, since what is left has them as well."""
    return known.levels(["*"] if any(action.startswith("not ") for action in actions) else actions)


def _changes_something(facts: Facts) -> bool:
    return "Write" in levels_of(_beyond_work(facts))


def _beyond_work(facts: Facts) -> list[str]:
    return [action for action in facts.actions if not any(known.covers(each, action.lower()) for each in _WORKING)]


def _is_limited(facts: Facts) -> bool:
    """Whether a condition says which resources, where their names do not: by a tag, the account, or a key of the service."""
    services = {f"{action.partition(':')[0].lower()}:" for action in facts.actions}
    return any(
        condition.key.lower().startswith((*services, "aws:resource", "aws:requesttag"))
        and not condition.is_satisfied_by_absence
        for condition in facts.conditions
    )


def _is_root_of_key(facts: Facts) -> bool:
    """The account's own entry in a key policy, which hands the decision to the policies of its principals.

    https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
    """
    return facts.kind == "key" and facts.is_own_account


def _is_bounded(facts: Facts) -> bool:
    """Whether handing on permissions has a limit in the statement itself: on named resources, and under a condition."""
    return bool(facts.conditions) and not any(is_open(target) for target in facts.targets)


def _is_wildcard(facts: Facts) -> bool:
    if any(action == "*" or action.endswith(":*") or action.startswith("not ") for action in facts.actions):
        return True
    is_open_in_part = any(is_open(target) for target in facts.targets)
    if not all(is_open(target) for target in facts.targets) and all(map(known.needs_several, facts.actions)):
        # The request must be allowed on each of its resources: a network interface without a name yet, in this subnet.
        return False
    return is_open_in_part and any(known.takes_resources(action) for action in facts.actions)


def is_open(target: str) -> bool:
    """Whether a pattern leaves open which resource of a service it is about: `*`, `arn:aws:s3:::*`, `...:key/*`."""
    if target.startswith("not "):
        return True
    if any(is_reference(each) for each in target.rpartition(":")[2]):
        return False
    return bool(re.fullmatch(r"(arn:[^:]*:[^:]*:[^:]*:[^:]*:)?([a-zA-Z-]+[/:])?\*+(/\*)?", target))
