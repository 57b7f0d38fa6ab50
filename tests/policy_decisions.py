"""Decides as IAM does what policies allow, as far as ours go: enough to ask a synthesized policy questions.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

Statement = Mapping[str, Any]


def allows(
    statements: Iterable[Statement], action: str, resource: str, context: Mapping[str, str] | None = None
) -> bool:
    """Whether the action on the resource is allowed: somebody says so, and nobody denies it."""
    effects = {each["Effect"] for each in statements if _applies(each, action, resource, context or {})}
    return effects == {"Allow"}


def statements_of(
    template: Mapping[str, Any], *logical_ids: str, kind: str = "AWS::IAM::ManagedPolicy"
) -> list[Statement]:
    """The statements of the policies whose logical ids start so, with references within the template as their ids."""
    return [
        json.loads(_plain(json.dumps(statement)))
        for logical_id, resource in template["Resources"].items()
        if resource["Type"] == kind and logical_id.startswith(logical_ids)
        for statement in resource["Properties"]["PolicyDocument"]["Statement"]
    ]


def _plain(text: str) -> str:
    """A reference to another resource of the template, as the ARN or name that it would have: its logical id."""
    return re.sub(r'\{"Ref": "(\w+)"\}', r'"\1"', text)


def _applies(statement: Statement, action: str, resource: str, context: Mapping[str, str]) -> bool:
    if "NotAction" in statement:
        named = not any(_like(action, each, fold=True) for each in _listed(statement["NotAction"]))
    else:
        named = any(_like(action, each, fold=True) for each in _listed(statement["Action"]))
    return (
        named
        and any(_like(resource, each) for each in _listed(statement["Resource"]))
        and all(_holds(operator, wanted, context) for operator, wanted in statement.get("Condition", {}).items())
    )


def _holds(operator: str, wanted: Mapping[str, Any], context: Mapping[str, str]) -> bool:
    # What is not said fits no condition of these.
    if operator not in ("StringEquals", "ArnEquals", "Bool"):
        raise NotImplementedError(operator)
    return all(
        key in context and any(_like(context[key], each) for each in _listed(values)) for key, values in wanted.items()
    )


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _like(text: str, pattern: str, *, fold: bool = False) -> bool:
    if fold:
        text, pattern = text.lower(), pattern.lower()
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))
