"""What properties of a template say, however they are written: switches, and numbers as text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sagestack.review.changes.templates import canonical

PROTECTIONS = ("DeletionProtection", "DeletionProtectionEnabled")
"""The switches with which AWS refuses to delete what holds data."""
_ON = ("true", "active", "enabled")


def value_at(properties: Mapping[str, Any], path: str) -> Any:
    """What stands at a path with dots; None where nothing does."""
    value: Any = properties
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def is_on(value: object) -> bool:
    """Whether a switch is on; templates write switches as booleans, and as `ENABLED`."""
    return str(canonical(value)).lower() in _ON


def number(value: object, missing: float | None = None) -> float | None:
    """A number, also one that is written as text.

    Args:
        value: as a template has it.
        missing: what nothing stands for.

    Returns:
        Not a number, which is neither more nor less than any, for what only the deployment knows.
    """
    if value is None:
        return missing
    try:
        return float(str(value))
    except ValueError:
        return math.nan
