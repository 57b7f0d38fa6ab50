"""Says a permission to a person."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from sagestack.review.permissions.conditions import Conditions
from sagestack.review.permissions.globs import is_reference
from sagestack.review.permissions.judgement import is_open
from sagestack.review.permissions.references import Names

_MOST = 6
"""So many actions or targets in a sentence; the row has all of them."""
_NOUNS = {
    "s3": "any bucket",
    "kms": "any key",
    "iam": "any role, user or policy",
    "lambda": "any function",
    "secretsmanager": "any secret",
    "ssm": "any parameter",
    "sqs": "any queue",
    "sns": "any topic",
    "ecr": "any repository",
    "logs": "any log group",
    "dynamodb": "any table",
    "sts": "any role",
}


def principal_label(principal: str, names: Names, account: str) -> str:
    """`this account`, `account 333333333333`, `lambda.amazonaws.com`, `JobRole`, `anyone`."""
    if principal == "*":
        return "anyone"
    if principal.startswith("not "):
        return "everyone but " + " or ".join(
            principal_label(each, names, account) for each in principal.removeprefix("not ").split(" or ")
        )
    kind, _, name = principal.partition(":")
    if kind == "Account":
        return f"this account ({names.readable(name)})"
    if root := re.fullmatch(r"arn:[^:]*:iam::([^:]+):root", name):
        return f"account {names.readable(root[1])}"
    if kind == "CanonicalUser":
        return f"the canonical user {names.readable(name)}"
    return names.readable(name)


def kind_in_words(type_: str) -> str:
    """`AWS::IAM::ManagedPolicy` as `managed policy`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type_.rpartition("::")[2]).lower()


def listed(words: Sequence[str]) -> str:
    """`a, b and c`, with a count for what is too much to read."""
    if not words:
        return "nothing"
    if len(words) > _MOST:
        words = [*words[: _MOST - 1], f"{len(words) - _MOST + 1} more"]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def target_labels(targets: Iterable[str], service: str, names: Names, itself: str | None = None) -> list[str]:
    """The targets for a person; `itself` is what `*` means in a policy of one resource."""
    return [itself if itself and target == "*" else _target(target, service, names) for target in targets]


def _target(target: str, service: str, names: Names) -> str:
    if target.startswith("not "):
        return f"everything but {names.readable(target.removeprefix('not '))}"
    if is_open(target) and not any(is_reference(each) for each in target):
        if target == "*":
            return _NOUNS.get(service, "anything")
        return f"{_NOUNS[service]} ({target})" if service in _NOUNS else target
    return names.readable(target)


def action_labels(actions: Iterable[str]) -> list[str]:
    return [
        f"anything but {action.removeprefix('not ')}" if action.startswith("not ") else action for action in actions
    ]


def condition_labels(conditions: Conditions, names: Names) -> tuple[str, ...]:
    return tuple(names.readable(condition.readable()) for condition in conditions)


def only_if(conditions: Sequence[str]) -> str:
    return f" if {' and '.join(conditions)}" if conditions else ""
