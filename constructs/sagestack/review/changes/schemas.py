"""What CloudFormation's resource schemas say of a type: what replaces it, what names it, which of its lists have no order."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from sagestack.review.changes.templates import canonical

Pointer = tuple[str, ...]
Replaces = Literal["no", "may", "yes"]

_REGION = "us-east-1"
_ORDERED = {
    # The schema says that order is nothing; in a serial pipeline each container reads what the one before it wrote:
    # https://docs.aws.amazon.com/sagemaker/latest/dg/inference-pipelines.html
    ("AWS::SageMaker::Model", ("Containers",)),
}


@dataclass(frozen=True)
class ResourceSchema:
    """The part of a resource schema that an update is decided by.

    https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-schema.html

    Attributes:
        create_only: pointers to what cannot change in place; `*` stands for any place in a list.
        conditional: pointers to what sometimes cannot.
        identifiers: the properties that together name the resource, where a template may write them.
    """

    type: str
    create_only: tuple[Pointer, ...] = ()
    conditional: tuple[Pointer, ...] = ()
    identifiers: tuple[str, ...] = ()
    document: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def replaces(self, pointer: Pointer, before: object = None, after: object = None) -> Replaces:
        """Whether a change at a place makes a new resource, given what stood there and what stands there."""
        if any(_touches(each, pointer, before, after) for each in self.create_only):
            return "yes"
        return "may" if any(_touches(each, pointer, before, after) for each in self.conditional) else "no"

    def is_set(self, pointer: Pointer) -> bool:
        """Whether the list at a place has no order.

        Only where the schema says `insertionOrder: false` (and for tags): its default is that order counts, also where
        items are unique, and a silent replacement would be worse than a change too many.
        """
        if (self.type, pointer) in _ORDERED:
            return False
        if pointer == tuple(self.document.get("tagging", {}).get("tagProperty", "/properties/Tags").split("/")[2:]):
            return True
        return any(node.get("insertionOrder") is False for node in self._nodes(pointer))

    def _nodes(self, pointer: Pointer) -> list[Mapping[str, Any]]:
        nodes = self._resolved(self.document)
        for part in pointer:
            found: list[Mapping[str, Any]] = []
            for node in nodes:
                below = node.get("items") if part == "*" else node.get("properties", {}).get(part)
                found += self._resolved(below)
            nodes = found
        return nodes

    def _resolved(self, node: Any) -> list[Mapping[str, Any]]:
        if not isinstance(node, Mapping):
            return []
        nodes = [node]
        if "$ref" in node:
            nodes += self._resolved(self.document.get("definitions", {}).get(str(node["$ref"]).rpartition("/")[2]))
        for choice in ("oneOf", "anyOf", "allOf"):
            for each in node.get(choice, []):
                nodes += self._resolved(each)
        return nodes


def _touches(rule: Pointer, pointer: Pointer, before: object, after: object) -> bool:
    """Whether a change at `pointer` is one of what `rule` is about: at it, in it, or of a whole that has it."""
    if all(a == b for a, b in zip(rule, pointer, strict=False)):
        below = rule[len(pointer) :]
        return not below or canonical(_at(before, below)) != canonical(_at(after, below))
    return False


def _at(value: object, pointer: Pointer) -> Any:
    for index, part in enumerate(pointer):
        if part == "*":
            return [_at(each, pointer[index + 1 :]) for each in value] if isinstance(value, list) else None
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def schema_of(type_name: str) -> ResourceSchema | None:
    """The schema of a type, as cfn-lint ships it; None for a type that has none.

    Custom resources have none but for `ServiceToken`, which CloudFormation documents as a replacement (and refuses, see
    `changes`); whether anything else replaces one is up to its handler, which may return another physical id:
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-cloudformation-customresource.html
    """
    if is_custom(type_name):
        return ResourceSchema(type_name, create_only=(("ServiceToken",),))
    return _shipped(type_name)


def is_custom(type_name: str) -> bool:
    """Whether a function of the account makes it."""
    return type_name.startswith("Custom::") or type_name == "AWS::CloudFormation::CustomResource"


@cache
def _shipped(type_name: str) -> ResourceSchema | None:
    name = _index().get(type_name)
    if name is None:
        return None
    document = json.loads((_folder() / "resources" / f"{name}.json").read_text(encoding="utf-8"))
    read_only = {_pointer(each) for each in document.get("readOnlyProperties", [])}
    identifiers = [_pointer(each) for each in document.get("primaryIdentifier", [])]
    return ResourceSchema(
        type_name,
        create_only=tuple(_pointer(each) for each in document.get("createOnlyProperties", [])),
        conditional=tuple(_pointer(each) for each in document.get("conditionalCreateOnlyProperties", [])),
        identifiers=()
        if any(each in read_only or len(each) != 1 for each in identifiers)
        else tuple(each[0] for each in identifiers),
        document=document,
    )


def _pointer(text: str) -> Pointer:
    return tuple(text.split("/")[2:])


@cache
def _index() -> Mapping[str, str]:
    # All types of all regions share their files; this region has the most.
    index: Mapping[str, str] = json.loads((_folder() / "providers" / f"{_REGION}.json").read_text(encoding="utf-8"))
    return index


@cache
def _folder() -> Path:
    # Found and not imported: the linter takes a second to start, and only its data is needed here.
    spec = find_spec("cfnlint")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("cfn-lint is not installed, and its resource schemas are needed; run `make setup`")
    return Path(spec.submodule_search_locations[0]) / "data" / "schemas"
