"""Settings that several L1 resources share, as plain values: a domain, a profile and a space have each a class of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def spelled(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of an L1 property: their own names as Python has them, and all below as jsii has them.

    jsii passes a dictionary on as it is, and CDK leaves a key out that it does not know: `instance_type` would be gone without
    a word, where `instanceType` is meant.
    """
    return {name: _below(value) for name, value in settings.items()}


def _below(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_camel(name): _below(each) for name, each in value.items() if each is not None}
    return [_below(each) for each in value] if isinstance(value, list) else value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
