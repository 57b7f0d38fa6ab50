"""CloudFormation's functions in a template's values: what they refer to, and how a person reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

_PLACEHOLDER = re.compile(r"\$\{([^!}]+)\}")


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


def referred(value: Any) -> set[str]:
    """The logical ids of the same template that a value refers to."""
    return {found.logical_id for found in references(value) if found.logical_id is not None}


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
        case {"Fn::Sub": [str(text), dict(own)]}:
            return _PLACEHOLDER.sub(lambda found: as_text(own[found[1]]) if found[1] in own else found[0], text)
        case {"Fn::Join": [str(separator), list(parts)]}:
            return separator.join(as_text(part) for part in parts)
        case bool():
            return str(value).lower()
    return json.dumps(value, sort_keys=True)
