"""From what Python programs hold to what JSON holds."""

import math
from collections.abc import Mapping
from enum import Enum

from sagestack.pipeline.shapes import a
from sagestack.pipeline.values import Value


def to_plain(value: object, path: str, mistakes: list[str]) -> object:
    """`value` as dicts, lists and scalars. What JSON cannot hold is added to `mistakes`, with its path.

    Members that are None are left out, as in the CDK. Unresolved CDK tokens are strings and numbers, so they pass.
    """
    if isinstance(value, Value):
        return to_plain(value.to_request(), path, mistakes)
    if isinstance(value, Enum):
        return to_plain(value.value, path, mistakes)
    if isinstance(value, Mapping):
        plain = {}
        for key, member in value.items():
            if not isinstance(key, str):
                mistakes.append(f"{path}: the key {key!r} is {a(type(key).__name__)}; JSON keys are strings")
            elif member is not None:
                plain[key] = to_plain(member, f"{path}.{key}", mistakes)
        return plain
    if isinstance(value, list | tuple):
        return [to_plain(item, f"{path}[{index}]", mistakes) for index, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        mistakes.append(f"{path}: {value} is no JSON number")
        return 0.0
    if isinstance(value, str | int | float):
        return value
    mistakes.append(
        f"{path}: {value!r} is {a(type(value).__name__)}, which JSON cannot hold"
        + ("; wrap it in cdk.Token.as_string or as_number" if hasattr(value, "resolve") else "")
    )
    return ""
