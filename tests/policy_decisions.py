"""Decides as IAM does what policies allow, as far as ours go: enough to ask a synthesized policy questions.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import fnmatch
import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Statement = Mapping[str, Any]


def allows(
    statements: Iterable[Statement], action: str, resource: str, context: Mapping[str, str] | None = None
) -> bool:
    """Whether the action on the resource is allowed: somebody says so, and nobody denies it.

    Several values of one key of the context are separated by commas.
    """
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
    of_all, operator = operator.startswith("ForAllValues:"), operator.removeprefix("ForAllValues:")
    test = _OPERATORS.get(operator.removesuffix("IfExists"))
    if test is None:
        raise NotImplementedError(operator)
    if of_all:
        # Of no values it is true.
        return all(
            _fits(operator, test, key, _listed(values), {**context, key: said})
            for key, values in wanted.items()
            for said in (context[key].split(",") if key in context else ())
        )
    return all(_fits(operator, test, key, _listed(values), context) for key, values in wanted.items())


def _fits(operator: str, test: _Test, key: str, values: list[str], context: Mapping[str, str]) -> bool:
    if operator == "Null":
        return (key not in context) == (values == ["true"])
    is_negated = "Not" in operator
    if key not in context:
        # What is not said fits no condition, but a negated one and one that says so.
        return is_negated or operator.endswith("IfExists")
    found = any(test(context[key], _filled(each, context)) for each in values)
    return found != is_negated


def _filled(value: str, context: Mapping[str, str]) -> str:
    """With the policy variables replaced; one that has no value fits nothing."""
    return re.sub(r"\$\{([^}]+)\}", lambda found: context.get(found[1], "\0"), value)


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _like(text: str, pattern: str, *, fold: bool = False) -> bool:
    if fold:
        text, pattern = text.lower(), pattern.lower()
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))


def _in_block(address: str, block: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(block)


_Test = Callable[[str, str], bool]
_OPERATORS: Mapping[str, _Test] = {
    "ArnEquals": _like,
    "ArnLike": _like,
    "Bool": _like,
    "IpAddress": _in_block,
    "NotIpAddress": _in_block,
    "Null": _like,
    # StringEquals itself knows no wildcards, which our policies write into no value of it.
    "StringEquals": _like,
    "StringLike": _like,
    "StringNotEquals": _like,
    "StringNotEqualsIgnoreCase": lambda text, pattern: _like(text, pattern, fold=True),
}
