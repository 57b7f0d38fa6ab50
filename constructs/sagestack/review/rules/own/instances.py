"""Which instances have a volume that a key of ours can encrypt."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sagestack.settings.instance_types import takes_volume_key


def some_take_a_key(instance_types: Iterable[Any]) -> bool:
    """Whether one of them certainly takes a volume key. What is no literal name could be of any family."""
    return any(isinstance(each, str) and each.startswith("ml.") and takes_volume_key(each) for each in instance_types)
