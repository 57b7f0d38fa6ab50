"""Checks a request against its shape in botocore's model, and says what is wrong in SageMaker's words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape

from local_cloud.sagemaker.errors import ValidationError

_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "boolean": (bool,),
    "timestamp": (int, float, str),
    "blob": (str,),
    "list": (list,),
    "map": (dict,),
    "structure": (dict,),
}


def validate(value: Any, shape: Shape) -> None:
    """Check a decoded JSON request.

    Raises:
        ValidationError: with every violation, in the form that AWS uses ("1 validation error detected: Value ... at
            ... failed to satisfy constraint: ...").
    """
    problems = list(_problems(value, shape, ""))
    if problems:
        noun = "error" if len(problems) == 1 else "errors"
        raise ValidationError(f"{len(problems)} validation {noun} detected: {'; '.join(problems)}")


def _problems(value: Any, shape: Shape, path: str) -> Iterator[str]:
    expected = _PYTHON_TYPES[shape.type_name]
    if not _has_type(value, expected):
        yield _violation(value, path or "request", f"Member must be a {shape.type_name}")
        return
    if isinstance(shape, StructureShape):
        yield from _structure_problems(value, shape, path)
    elif isinstance(shape, ListShape):
        yield from _size_problems(value, len(value), shape, path, "length")
        for index, item in enumerate(value):
            yield from _problems(item, shape.member, f"{path}.{index + 1}.member")
    elif isinstance(shape, MapShape):
        yield from _size_problems(value, len(value), shape, path, "length")
        for key, item in value.items():
            yield from _problems(key, shape.key, f"{path}.key")
            yield from _problems(item, shape.value, f"{path}.{key}")
    elif isinstance(shape, StringShape):
        yield from _string_problems(value, shape, path)
    elif shape.type_name in ("integer", "long", "float", "double"):
        yield from _size_problems(value, value, shape, path, "value")


def _structure_problems(value: dict[str, Any], shape: StructureShape, path: str) -> Iterator[str]:
    prefix = f"{path}." if path else ""
    for name in shape.required_members:
        if value.get(name) is None:
            yield _violation(None, prefix + _camel(name), "Member must not be null")
    for name, item in value.items():
        member = shape.members.get(name)
        if member is None:
            yield _violation(item, prefix + _camel(name), "Member is not known")
        elif item is not None:
            yield from _problems(item, member, f"{prefix}{_camel(name)}")


def _string_problems(value: str, shape: StringShape, path: str) -> Iterator[str]:
    if shape.enum and value not in shape.enum:
        allowed = ", ".join(shape.enum)
        yield _violation(value, path, f"Member must satisfy enum value set: [{allowed}]")
    yield from _size_problems(value, len(value), shape, path, "length")
    pattern = shape.metadata.get("pattern")
    if pattern and (compiled := _compiled(pattern)) is not None and not compiled.fullmatch(value):
        yield _violation(value, path, f"Member must satisfy regular expression pattern: {pattern}")


def _size_problems(value: Any, size: float, shape: Shape, path: str, what: str) -> Iterator[str]:
    minimum, maximum = shape.metadata.get("min"), shape.metadata.get("max")
    unit = "length " if what == "length" else "value "
    if minimum is not None and size < minimum:
        yield _violation(value, path, f"Member must have {unit}greater than or equal to {minimum}")
    if maximum is not None and size > maximum:
        yield _violation(value, path, f"Member must have {unit}less than or equal to {maximum}")


@cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    """The pattern, or None where it uses what Java's syntax has and Python's has not."""
    # Python has no class for "any letter"; \w is the nearest that can stand inside a character class.
    for java, python in ((r"\p{L}", r"\w"), (r"\p{Z}", r"\s"), (r"\p{N}", r"\d")):
        pattern = pattern.replace(java, python)
    try:
        return re.compile(pattern)
    except re.error:
        return None


def _camel(name: str) -> str:
    return name[:1].lower() + name[1:]


def _has_type(value: Any, expected: tuple[type, ...]) -> bool:
    # Python's bool is an int; JSON's is not a number.
    return isinstance(value, expected) and (bool in expected or not isinstance(value, bool))


def _violation(value: Any, path: str, constraint: str) -> str:
    return f"Value {_shown(value)} at '{path}' failed to satisfy constraint: {constraint}"


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    text = str(value)
    return f"'{text if len(text) <= 200 else text[:200] + '...'}'"
