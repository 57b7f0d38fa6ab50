"""Finds the numbers of one row in each of the forms that an instance can have."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from operator import itemgetter
from types import NoneType
from typing import Any

from .errors import FormatError
from .json_text import shown

_NUMBERS = frozenset((int, float, NoneType))  # true is no number here, though bool is an int in Python
_FORMS = '{"instances": [[numbers], ...]}, a list of rows, or one row'


def of(content: Any, names: Sequence[str] | None) -> list[Any]:
    """The instances in a document: one or more.

    Raises:
        FormatError: there are none, or the document has another form.
    """
    if isinstance(content, dict):
        instances = content.get("instances")
        if "instances" not in content or (names and "instances" in names and not isinstance(instances, list)):
            return [content]  # one row
        if not isinstance(instances, list):
            raise FormatError(f'"instances" must be a list, is {shown(instances)}')
        if len(content) > 1:
            other = next(name for name in content if name != "instances")
            raise FormatError(f'unknown key {shown(other)} beside "instances"')
        content = instances
    elif not isinstance(content, list):
        raise FormatError(f"must be {_FORMS}, is {shown(content)}")
    elif content and not isinstance(content[0], list | dict):
        return [content]  # one row
    if not content:
        raise FormatError("there are no instances")
    return list(content)


def values(instance: Any, row: int, width: int, names: Sequence[str] | None) -> Sequence[float | None]:
    """The numbers of one instance, in the model's order; None where one is missing.

    Raises:
        FormatError: with the row (from 1) and the column, or the name, at fault.
    """
    found = instance if isinstance(instance, list) else _in_object(instance, row, width, names)
    if len(found) != width:
        raise FormatError(f"row {row}: {len(found)} values, expected {width}")
    if not _NUMBERS.issuperset(map(type, found)):
        column = next(index for index, value in enumerate(found) if type(value) not in _NUMBERS)
        value = shown(found[column])
        hint = ", write null for a value that is missing" if value == "NaN" else ""
        raise FormatError(f"{place(row, column, names)}: {value} is not a number{hint}")
    return found


def place(row: int, column: int, names: Sequence[str] | None) -> str:
    """Where a value is: the row from 1, the column from 0."""
    name = f" ({names[column]:.80})" if names else ""
    return f"row {row}, column {column + 1}{name}"


def _in_object(instance: Any, row: int, width: int, names: Sequence[str] | None) -> Sequence[Any]:
    if not isinstance(instance, dict):
        raise FormatError(f"row {row}: must be a list of {width} numbers or an object, is {shown(instance)}")
    if isinstance(instance.get("features"), list):
        _refuse_others(instance, ("features",), row)
        return instance["features"]  # type: ignore[no-any-return]
    data = instance.get("data")
    if isinstance(data, dict):
        _refuse_others(instance, ("data", "configuration"), row)
        if instance.get("configuration"):
            raise FormatError(f'row {row}: "configuration" must be empty, nothing can be set per row')
        _refuse_others(data, ("features",), row)
        return _element(data.get("features"), row, width)
    if names is None:
        raise FormatError(
            f'row {row}: must be a list of {width} numbers or {{"features": [...]}}: this model has no feature names'
        )
    return _record(instance, row, tuple(names))


def _element(element: Any, row: int, width: int) -> Sequence[Any]:
    """What SageMaker's guide calls a data element: a list, or the values of a vector with or without their keys."""
    if isinstance(element, list):
        return element
    if not isinstance(element, dict) or not isinstance(element.get("values"), list):
        raise FormatError(f'row {row}: "features" must be a list or {{"values": [...]}}')
    _refuse_others(element, ("values", "keys", "shape"), row)
    found: list[Any] = element["values"]
    keys, shape = element.get("keys"), element.get("shape")
    if shape and shape not in ([width], [1, width]):
        raise FormatError(f'row {row}: "shape" is {shape!s:.60}, expected [{width}]')
    if not keys and (found or not shape):
        return found
    return _spread(keys or [], found, row, width)


def _spread(keys: Any, found: list[Any], row: int, width: int) -> list[Any]:
    if not isinstance(keys, list) or len(keys) != len(found):
        count = f"{len(keys)} keys" if isinstance(keys, list) else shown(keys)
        raise FormatError(f'row {row}: "keys" must be as many as the {len(found)} values, is {count}')
    spread: list[Any] = [None] * width
    used: set[int] = set()
    for key, value in zip(keys, found, strict=True):
        if type(key) is not int or not 0 <= key < width:
            raise FormatError(f"row {row}: key {shown(key)} is not a column, they are numbered 0 to {width - 1}")
        if key in used:
            raise FormatError(f"row {row}: key {key} comes twice")
        used.add(key)
        spread[key] = value
    return spread


def _record(record: dict[str, Any], row: int, names: tuple[str, ...]) -> Sequence[Any]:
    if len(record) == len(names):
        try:
            return _getter(names)(record)  # type: ignore[no-any-return]
        except KeyError:
            pass
    missing = [name for name in names if name not in record]
    unknown = [name for name in record if name not in set(names)]
    problems = [f"{what} {_listed(which)}" for what, which in (("missing", missing), ("unknown", unknown)) if which]
    raise FormatError(f"row {row}: {'; '.join(problems)}")


@lru_cache(maxsize=64)
def _getter(names: tuple[str, ...]) -> Any:
    if len(names) == 1:
        return lambda record: (record[names[0]],)
    return itemgetter(*names)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(shown(name) for name in names[:5]) + more


def _refuse_others(content: dict[str, Any], known: tuple[str, ...], row: int) -> None:
    unknown = [name for name in content if name not in known]
    if unknown:
        raise FormatError(f"row {row}: unknown key {_listed(unknown)} beside {' and '.join(map(shown, known))}")
