"""What stands in a template: references to resources, and values in the one form in which they can be compared."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sagestack.review.assembly import Assembly, Resource, StackTemplate

_PLACEHOLDER = re.compile(r"\$\{([^!}]+)\}")
_STATEMENT_SETS = ("Action", "NotAction", "Resource", "NotResource")


class Reference(NamedTuple):
    """Something that a value is taken from at deployment.

    Attributes:
        logical_id: of the same template; None for an import.
        attribute: of `Fn::GetAtt`; None for `Ref`.
        export: the name of an import; None for what is in the same template.
    """

    logical_id: str | None
    attribute: str | None = None
    export: str | None = None


def is_intrinsic(value: object) -> bool:
    """Whether it is a function call of CloudFormation and no structure."""
    if not isinstance(value, Mapping) or len(value) != 1:
        return False
    (key,) = value
    return key == "Ref" or str(key).startswith("Fn::")


def references(value: Any) -> Iterator[Reference]:
    """Everything that a value refers to, wherever in it; pseudo parameters and parameters are among them, as logical ids."""
    match value:
        case {"Ref": str(logical_id)}:
            yield Reference(logical_id)
        case {"Fn::GetAtt": [str(logical_id), *attribute]}:
            yield Reference(logical_id, ".".join(map(str, attribute)))
        case {"Fn::GetAtt": str(text)}:
            yield Reference(*text.split(".", 1))
        case {"Fn::ImportValue": name}:
            yield Reference(None, export=name) if isinstance(name, str) else Reference(None, export=as_text(name))
        case {"Fn::Sub": str(text)}:
            yield from _substituted(text, {})
        case {"Fn::Sub": [str(text), dict(own)]}:
            yield from _substituted(text, own)
            yield from references(list(own.values()))
        case Mapping():
            for each in value.values():
                yield from references(each)
        case list():
            for each in value:
                yield from references(each)


def _substituted(text: str, own: Mapping[str, Any]) -> Iterator[Reference]:
    for name in _PLACEHOLDER.findall(text):
        if name not in own:
            logical_id, _, attribute = name.partition(".")
            yield Reference(logical_id, attribute or None)


def as_text(value: Any) -> str:
    """A value as one line, with references as `${LogicalId.Attribute}`."""
    match value:
        case str():
            return value
        case {"Ref": name}:
            return f"${{{name}}}"
        case {"Fn::GetAtt": [name, *attribute]}:
            return f"${{{'.'.join(map(str, [name, *attribute]))}}}"
        case {"Fn::GetAtt": str(name)}:
            return f"${{{name}}}"
        case {"Fn::ImportValue": name}:
            return f"${{import {as_text(name)}}}"
        case {"Fn::Sub": str(text)}:
            return text
        case {"Fn::Join": [str(separator), list(parts)]}:
            return separator.join(as_text(part) for part in parts)
        case bool():
            return str(value).lower()
    return json.dumps(value, sort_keys=True)


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
