"""The statements of a policy document, in the one form in which they can be compared.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sagestack.review.assembly import StackTemplate
from sagestack.review.permissions.actions import written
from sagestack.review.permissions.conditions import Condition, Conditions
from sagestack.review.permissions.references import Reader, partition

ANYONE = "*"
SELF = "the principal itself"
"""Whom the statements of an identity's own policies are about."""


_ASSET = re.compile(r"(:s3:::cdk-[a-z0-9]+-assets-[^/]*/)[0-9a-f]{64}(?=\.)")
"""A file that CDK publishes is named by what is in it: another content is no other permission."""


@dataclass(frozen=True)
class Selection:
    """Patterns, or all but them (`NotAction` and its like)."""

    patterns: tuple[str, ...]
    is_negated: bool = False


EVERYTHING = Selection(("*",))


@dataclass(frozen=True)
class Statement:
    """One statement; without its Sid, its order, its spelling.

    Attributes:
        principals: `*`, `AWS:<arn>`, `Account:<number>` (the own one), `Service:<name>`, `Federated:<arn>`, or `SELF`.
    """

    allows: bool
    principals: Selection
    actions: Selection
    resources: Selection
    conditions: Conditions = ()


class Unreadable(Exception):
    """A document that cannot be known before it is deployed."""


def read_statements(
    document: Any, reader: Reader, stack: StackTemplate, *, own_resource: str | None = None, is_identity: bool = False
) -> tuple[Statement, ...]:
    """The statements of a document as it stands in a template.

    Args:
        own_resource: what statements without a resource are about, as in trust policies and those of repositories.
        is_identity: whether it is about the principal that it is attached to.

    Raises:
        Unreadable: it is a reference, or a text that is no JSON.
    """
    if isinstance(document, dict) and "Statement" not in document and len(document) == 1:
        document = reader.text(document, stack)  # an intrinsic that writes JSON
    if isinstance(document, str):
        try:
            document = json.loads(document)
        except ValueError as error:
            raise Unreadable(document) from error
    if not isinstance(document, dict):
        raise Unreadable(str(document))
    found = []
    for statement, conditions in _flattened(document.get("Statement", []), reader, stack, ()):
        found.append(_statement(statement, conditions, reader, stack, own_resource, is_identity))
    return tuple(found)


def _flattened(
    value: Any, reader: Reader, stack: StackTemplate, under: Conditions
) -> Iterator[tuple[Mapping[str, Any], Conditions]]:
    """Statements, and under which of the template's own conditions they are there."""
    match value:
        case {"Ref": "AWS::NoValue"}:
            return
        case {"Fn::If": [str(name), first, second]}:
            key = f"the template's condition {name}"
            yield from _flattened(first, reader, stack, (*under, Condition("Bool", key, ("true",))))
            yield from _flattened(second, reader, stack, (*under, Condition("Bool", key, ("false",))))
        case list():
            for each in value:
                yield from _flattened(each, reader, stack, under)
        case {"Effect": _}:
            yield value, under
        case _:
            raise Unreadable(json.dumps(value, sort_keys=True))


def _statement(
    raw: Mapping[str, Any],
    under: Conditions,
    reader: Reader,
    stack: StackTemplate,
    own_resource: str | None,
    is_identity: bool,
) -> Statement:
    actions = _selection(raw, "Action", reader, stack) or EVERYTHING
    resources = _selection(raw, "Resource", reader, stack) or Selection((own_resource or "*",))
    principals = Selection((SELF,)) if is_identity else _principals(raw, reader, stack)
    return Statement(
        allows=reader.text(raw["Effect"], stack).lower() == "allow",
        principals=principals,
        actions=Selection(tuple(sorted({written(action) for action in actions.patterns})), actions.is_negated),
        resources=resources,
        conditions=tuple(sorted({*under, *_conditions(raw.get("Condition", {}), reader, stack)})),
    )


def _selection(raw: Mapping[str, Any], name: str, reader: Reader, stack: StackTemplate) -> Selection | None:
    for key in (name, f"Not{name}"):
        if key in raw:
            texts = {_ASSET.sub(r"\1HASH", re.sub(r"\*+", "*", text)) for text in reader.texts(raw[key], stack)}
            return Selection(tuple(sorted(texts)), key.startswith("Not"))
    return None


def _principals(raw: Mapping[str, Any], reader: Reader, stack: StackTemplate) -> Selection:
    key = "NotPrincipal" if "NotPrincipal" in raw else "Principal"
    value = raw.get(key, "*")
    found = set()
    if isinstance(value, dict) and not set(value) <= {"AWS", "Service", "Federated", "CanonicalUser"}:
        value = reader.text(value, stack)
    for kind, names in value.items() if isinstance(value, dict) else [("AWS", value)]:
        for name in reader.texts(names, stack):
            found.add(principal(kind, name, reader, stack))
    return Selection(tuple(sorted(found)), key == "NotPrincipal")


def principal(kind: str, name: str, reader: Reader, stack: StackTemplate) -> str:
    """One principal; an account's number and its root are the same, and the own account is `Account:<number>`.

    The own account by itself lets nobody in: it says that the principals' own policies decide. So it does not include its roles.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
    """
    if name == "*" and kind == "AWS":
        return ANYONE
    account = reader.text({"Ref": "AWS::AccountId"}, stack)
    root = f"arn:{partition(stack)}:iam::{{}}:root"
    if kind == "AWS" and name in (account, root.format(account)):
        return f"Account:{account}"
    if kind == "AWS" and len(name) == 12 and name.isdigit():
        name = root.format(name)
    return f"{kind}:{name}"


def _conditions(raw: Any, reader: Reader, stack: StackTemplate) -> list[Condition]:
    if not isinstance(raw, dict) or any(not isinstance(keys, dict) for keys in raw.values()):
        return [Condition("Bool", reader.text(raw, stack), ("true",))]
    return [
        Condition(operator, key, tuple(sorted(set(reader.texts(values, stack)))))
        for operator, keys in raw.items()
        for key, values in keys.items()
    ]
