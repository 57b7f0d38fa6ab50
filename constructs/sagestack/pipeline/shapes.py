"""Whether a value fits a shape of the API.

Goes further than botocore's own validation, which leaves enumerations, patterns and upper bounds to the service:
here a mistake costs nothing, there it costs a failed execution.
"""

import re
import unicodedata
from collections.abc import Callable

from botocore.model import ListShape, MapShape, Shape, StructureShape

from sagestack.pipeline.model import NAMED_LISTS
from sagestack.pipeline.tokens import is_token
from sagestack.pipeline.values import did_you_mean

FUNCTIONS = ("Get", "Std:Join", "Std:JsonGet")

# What a scalar of the API is called in a pipeline definition.
SCALARS = {
    "string": "String",
    "timestamp": "String",
    "integer": "Integer",
    "long": "Integer",
    "float": "Float",
    "double": "Float",
    "boolean": "Boolean",
}

# Text of the API never holds this code point, so it stands for "none of these" in a pattern.
_NO_CHARACTER = "\U0010ffff"

_PYTHON_TYPES = {"String": str, "Integer": int, "Float": float, "Boolean": bool}

# Given a reference, its path and the shape it would fill: reports its own mistakes.
OnReference = Callable[[dict[str, object], str, Shape], None]


def is_reference(value: object) -> bool:
    """Whether the value is one of the functions that SageMaker computes when the pipeline runs."""
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in FUNCTIONS


def dicts(value: object) -> list[dict[str, object]]:
    """The structures of a list; nothing where `value` is no list, which is reported elsewhere."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def python_kind(value: object) -> str:
    """A value's type in the words of the API."""
    kinds = {bool: "boolean", int: "integer", float: "float", str: "string", dict: "structure", list: "list"}
    return kinds.get(type(value), type(value).__name__)


def a(kind: str) -> str:
    return f"an {kind}" if kind[0].lower() in "aeiou" else f"a {kind}"


def show(value: object, limit: int = 120) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + "..."


class ShapeChecker:
    """Collects in `mistakes` what does not fit. `api` names the operation in messages."""

    def __init__(self, api: str, on_reference: OnReference, mistakes: list[str]) -> None:
        self.api = api
        self.on_reference = on_reference
        self.mistakes = mistakes

    def check(self, shape: Shape, value: object, path: str, left_out: dict[str, str] | None = None) -> None:
        """`left_out`: members of this structure that a step must not have, and why."""
        if is_reference(value):
            self.on_reference(value, path, shape)  # type: ignore[arg-type]
        elif isinstance(shape, StructureShape):
            self._structure(shape, value, path, left_out or {})
        elif isinstance(shape, ListShape):
            self._list(shape, value, path)
        elif isinstance(shape, MapShape):
            self._map(shape, value, path)
        else:
            self._scalar(shape, value, path)

    def _structure(self, shape: StructureShape, value: object, path: str, left_out: dict[str, str]) -> None:
        if not isinstance(value, dict):
            return self._wrong_type(shape, value, path)
        for member, given in value.items():
            if member in left_out:
                self.mistakes.append(f"{path}.{member}: {show(given)} does not belong in a step: {left_out[member]}")
            elif member not in shape.members:
                self.mistakes.append(
                    f"{path}.{member}: {shape.name} of {self.api} has no such member (value {show(given)})"
                    + did_you_mean(member, shape.members)
                )
            else:
                self.check(shape.members[member], given, f"{path}.{member}")
        for member in shape.required_members:
            if member not in value and member not in left_out:
                self.mistakes.append(f"{path}.{member} is missing: {self.api} requires it in {shape.name}")
        return None

    def _list(self, shape: ListShape, value: object, path: str) -> None:
        if is_token(value):
            return None
        if not isinstance(value, list):
            return self._wrong_type(shape, value, path)
        self._length(shape, len(value), f"{path}: {show(value)} has {len(value)} items")
        for index, item in enumerate(value):
            self.check(shape.member, item, f"{path}[{index}]")
        name = NAMED_LISTS.get(shape.name)
        names = [item.get(name) for item in dicts(value)] if name else []
        for repeated in dict.fromkeys(n for n in names if isinstance(n, str) and names.count(n) > 1):
            self.mistakes.append(f"{path}: {name} {repeated!r} is given {names.count(repeated)} times")
        return None

    def _map(self, shape: MapShape, value: object, path: str) -> None:
        if not isinstance(value, dict):
            return self._wrong_type(shape, value, path)
        self._length(shape, len(value), f"{path}: it has {len(value)} entries")
        for key, member in value.items():
            self.check(shape.key, key, f"{path}: the key {key!r}")
            self.check(shape.value, member, f"{path}.{key}")
        return None

    def _scalar(self, shape: Shape, value: object, path: str) -> None:
        if not _is_a(shape, value):
            return self._wrong_type(shape, value, path)
        mistake = None if is_token(value) else constraint_mistake(shape, value)
        if mistake:
            self.mistakes.append(f"{path}: {mistake}")
        return None

    def _length(self, shape: Shape, length: int, found: str) -> None:
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        if low is not None and length < low:
            self.mistakes.append(f"{found}, {self.api} wants at least {low}")
        if high is not None and length > high:
            self.mistakes.append(f"{found}, {self.api} takes at most {high}")

    def _wrong_type(self, shape: Shape, value: object, path: str) -> None:
        wanted = "string" if shape.type_name == "timestamp" else shape.type_name
        hint = ""
        if wanted == "string" and isinstance(value, bool | int | float):
            hint = " (write it as text)"
        elif wanted in ("integer", "long", "float", "double") and isinstance(value, str) and is_token(value):
            hint = " (use cdk.Token.as_number)"
        elif wanted == "list" and isinstance(value, str):
            hint = " (put it in a list)"
        self.mistakes.append(f"{path}: {show(value)} is {a(python_kind(value))}, {self.api} takes {a(wanted)}{hint}")


def _is_a(shape: Shape, value: object) -> bool:
    if isinstance(value, bool):  # Python counts True as a number, JSON does not
        return shape.type_name == "boolean"
    if shape.type_name in ("integer", "long"):
        return isinstance(value, int) or (isinstance(value, float) and is_token(value))
    if shape.type_name in ("float", "double"):
        return isinstance(value, int | float)
    if shape.type_name in ("string", "timestamp"):
        return isinstance(value, str)
    return False


def constraint_mistake(shape: Shape, value: object) -> str | None:
    """What enumeration, bound or pattern of a scalar shape the value breaks, if any."""
    limits = shape.metadata
    enum = limits.get("enum")
    if enum and value not in enum:
        allowed = ", ".join(enum) if len(enum) <= 12 else f"{len(enum)} values, such as {', '.join(enum[:3])}"
        return f"{show(value)} is not a {shape.name}{did_you_mean(str(value), enum)}; allowed: {allowed}"
    size = len(value) if isinstance(value, str) else value
    found = f"{show(value)} has {size} characters, which" if isinstance(value, str) else f"{value!r}"
    low, high = limits.get("min"), limits.get("max")
    if isinstance(size, int | float) and not isinstance(size, bool):
        if low is not None and size < low:
            return f"{found} is below the minimum of {low}"
        if high is not None and size > high:
            return f"{found} is above the maximum of {high}"
    pattern = limits.get("pattern")
    if pattern and isinstance(value, str) and not re.fullmatch(python_pattern(pattern, value), value):
        return f"{show(value)} does not match the pattern of {shape.name}: {pattern}"
    return None


def python_pattern(pattern: str, value: str) -> str:
    """A pattern of the API, which is one of Java's, as Python's `re` reads it for this one value.

    `re` knows no `\\p{L}`; the letters that occur in the value stand for all letters.
    """

    def characters_of(match: re.Match[str]) -> str:
        if match[1] == "Alnum":
            return "0-9A-Za-z"
        return (
            "".join(re.escape(c) for c in sorted(set(value)) if unicodedata.category(c).startswith(match[1]))
            or _NO_CHARACTER
        )

    pattern = re.sub(r"\\p\{(\w+)\}", characters_of, pattern)
    # Java's way to write everything beyond the basic plane, and a slip in two patterns: a quantified end of text.
    pattern = pattern.replace(r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010FFFF")
    return re.sub(r"\$\{\d+,\d+\}$", "", pattern)


def is_of_type(value: object, kind: str) -> bool:
    """Whether a plain value is of a scalar type of pipeline definitions."""
    if isinstance(value, bool):  # which Python counts as an integer
        return kind == "Boolean"
    if kind == "Float":
        return isinstance(value, int | float)
    if kind == "Integer" and is_token(value):
        return isinstance(value, float)
    return isinstance(value, _PYTHON_TYPES[kind])
