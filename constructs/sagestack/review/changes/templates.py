"""Values of a template in the one form in which they can be compared, and what stacks export to each other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sagestack.review.assembly import Assembly, Resource, StackTemplate
from sagestack.review.intrinsics import as_text, is_intrinsic, references

_STATEMENT_SETS = ("Action", "NotAction", "Resource", "NotResource")


def document(value: object) -> Any:
    """A JSON document that a template carries as text (a pipeline, a state machine), as structure; None where it is none."""
    if not isinstance(value, str) and not (isinstance(value, Mapping) and ("Fn::Join" in value or "Fn::Sub" in value)):
        return None
    text = as_text(value)
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


def canonical(value: Any) -> Any:
    """The form in which two values are equal if CloudFormation makes the same of them.

    Numbers and booleans are text to it, `Fn::GetAtt` has two spellings, a policy's lists have no order, and one action is
    a list of one.
    """
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return f"{value:g}" if isinstance(value, float) else str(value)
        case {"Fn::GetAtt": str(text)}:
            return {"Fn::GetAtt": text.split(".", 1)}
        case {"Statement": statements}:
            listed = statements if isinstance(statements, list) else [statements]
            rest = {key: canonical(each) for key, each in value.items() if key != "Statement"}
            return {**rest, "Statement": unordered([_statement(each) for each in listed])}
        case Mapping():
            return {key: canonical(each) for key, each in value.items()}
        case list():
            return [canonical(each) for each in value]
    return value


def _statement(statement: object) -> Any:
    if not isinstance(statement, Mapping) or is_intrinsic(statement):
        return canonical(statement)
    result: dict[str, Any] = {}
    for key, value in statement.items():
        if key in _STATEMENT_SETS:
            result[key] = _listed(value)
        elif key in ("Principal", "NotPrincipal") and isinstance(value, Mapping):
            result[key] = {kind: _listed(each) for kind, each in value.items()}
        elif key == "Condition" and isinstance(value, Mapping):
            result[key] = {
                operator: {name: _listed(each) for name, each in test.items()} if isinstance(test, Mapping) else test
                for operator, test in value.items()
            }
        else:
            result[key] = canonical(value)
    return result


def _listed(value: object) -> list[Any]:
    return unordered([canonical(each) for each in (value if isinstance(value, list) else [value])])


def unordered(values: list[Any]) -> list[Any]:
    """Canonical values in an order of their own."""
    return sorted(values, key=lambda each: json.dumps(each, sort_keys=True))


class Exports:
    """What the stacks of an environment share by name: who gives it, and who takes it."""

    def __init__(self, assembly: Assembly | None) -> None:
        self.values: dict[str, tuple[StackTemplate, Any]] = {}
        self.importers: dict[str, list[str]] = {}
        for stack in assembly.stacks.values() if assembly else ():
            for output in stack.template.get("Outputs", {}).values():
                if "Export" in output:
                    self.values[as_text(output["Export"]["Name"])] = (stack, output.get("Value"))
            body = {key: stack.template.get(key, {}) for key in ("Resources", "Outputs")}
            for name in sorted({each.export for each in references(body) if each.export}):
                self.importers.setdefault(name, []).append(stack.name)

    def resources(self, name: str) -> Iterator[Resource]:
        """The resources that an export's value is made of."""
        if name in self.values:
            stack, value = self.values[name]
            for reference in references(value):
                if reference.logical_id and reference.logical_id in stack.resources:
                    yield stack.resources[reference.logical_id]
