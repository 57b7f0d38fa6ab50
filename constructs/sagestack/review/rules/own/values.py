"""Reads values of a template as far as they can be known before a deployment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = _Unknown()
"""A value that only the deployment knows: a reference, an import, a parameter."""


def possible(value: Any) -> list[Any]:
    """What a value may become: itself, both branches of an `Fn::If`, None for `AWS::NoValue`, `UNKNOWN` for a reference."""
    if isinstance(value, Mapping) and len(value) == 1:
        match value:
            case {"Ref": "AWS::NoValue"}:
                return [None]
            case {"Fn::If": [_, then, otherwise]}:
                return [*possible(then), *possible(otherwise)]
        (key,) = value
        if key in ("Ref", "Condition") or key.startswith("Fn::"):
            return [UNKNOWN]
    return [value]


def may_be_missing(value: Any) -> bool:
    """Whether it is certain that nothing (or an empty text or list) stands there, in one case at least."""
    return any(case in (None, "", [], {}) for case in possible(value) if case is not UNKNOWN)


def may_be_other_than(value: Any, *wanted: Any) -> bool:
    """Whether something else than what is wanted certainly stands there, in one case at least.

    CloudFormation takes `"true"` for `true`, so texts are compared.
    """
    texts = {str(each).lower() for each in wanted}
    return any(str(case).lower() not in texts for case in possible(value) if case is not UNKNOWN)


def each(value: Any) -> list[Any]:
    """The items of a list, or of what may stand for one; nothing for what is not known."""
    return [item for case in possible(value) if isinstance(case, list) for item in case]


def part(value: Any, *keys: str) -> Any:
    """What stands below the keys: None where nothing does, a reference where one stands on the way."""
    for key in keys:
        if not isinstance(value, Mapping):
            return None
        if key not in value:
            return value if UNKNOWN in possible(value) else None
        value = value[key]
    return value
