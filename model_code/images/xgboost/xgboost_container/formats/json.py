"""Reads instances out of JSON and JSON Lines: lists of numbers fast, and every other form that SageMaker documents.

The forms are those of "Common data formats for inference" in the Amazon SageMaker AI Developer Guide, and records by
feature name beside them:

    [1.5, null, 14]                                                          null is a value that is missing
    {"features": [1.5, null, 14]}
    {"data": {"features": {"values": [1.5, null, 14]}}}
    {"data": {"features": {"keys": [0, 2], "shape": [3], "values": [1.5, 14]}}}   what is not named is missing
    {"CRIM": 1.5, "ZN": null, "RM": 14}                                      in any order, none left out

JSON holds one of them, a list of them, or `{"instances": [...]}`; JSON Lines holds one on each line.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from . import json_instances, json_text
from .errors import FormatError
from .json_numbers import floats

_BLANKS = b" \t\r\n"
_INSTANCES = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*"instances"[ \t\r\n]*:')
# Numbers that no cell can hold, in front of each row and after it: see `csv`.
_BEGIN, _END = b"[1e307,", b",1e308]"


def parse(body: bytes, *, width: int, names: Sequence[str] | None = None) -> NDArray[np.float32]:
    """The rows of a JSON document, shape (rows, width), C-contiguous; NaN where a value is missing.

    Args:
        width: how many features a row has.
        names: of the features, in the model's order; without them, records cannot be read.

    Raises:
        FormatError: not JSON (NaN and Infinity are not), not one of the forms, or a row that cannot be scored: another
            width, a text, true or false, an unknown or missing name, a value beyond the range of a 32-bit float.
    """
    opening = _INSTANCES.match(body)
    if opening:
        closed = body.rstrip(_BLANKS)
        values = _table(closed[opening.end() : -1], width) if closed.endswith(b"}") else None
    else:
        values = _table(body, width)
    if values is not None:
        return values
    return _matrix(json_instances.of(json_text.loads(body), names), width, names)


def parse_lines(body: bytes, *, width: int, names: Sequence[str] | None = None) -> NDArray[np.float32]:
    """The rows of JSON Lines, as `parse`. Blank lines at the end do not count; a text without a row gives none.

    Raises:
        FormatError: as there; a blank line between rows, because answers are matched to rows by position.
    """
    lines = body.removeprefix(json_text.BYTE_ORDER_MARK).strip(_BLANKS)
    if not lines:
        return np.empty((0, width), np.float32)
    if lines.startswith(b"["):
        joined = lines.replace(b"]\r\n[", b"]\n[")
        listed = joined.replace(b"]\n[", b"], [")  # longer by one for each line end
        if b"\n" not in listed:
            values = _table(b"[%b]" % listed, width)
            if values is not None and len(values) == len(listed) - len(joined) + 1:
                return values
    return _matrix(json_text.each_line(lines), width, names)


def _table(rows: bytes, width: int) -> NDArray[np.float32] | None:
    """A list of lists of numbers, or None for anything else."""
    if (rows.count(b"[") - 1) * 2 * width > len(rows):  # more rows than fit: spare the memory for the marks
        return None
    begun = rows.replace(b"[", _BEGIN)
    both = begun.replace(b"]", _END)
    count = (len(both) - len(begun)) // (len(_END) - 1) - 1
    numbers = floats(both)
    if numbers is None or count < 1 or numbers.size != count * (width + 2) + 2:
        return None
    table = numbers[1:-1].reshape(count, width + 2)
    # With every cell in range, these columns and the two ends hold all of the marks, so that no list is inside a row.
    if not ((table[:, 0] == 1e307).all() and (table[:, -1] == 1e308).all()):
        return None
    with np.errstate(over="ignore"):
        values = table[:, 1:-1].astype(np.float32)
    if not np.isfinite(values).all():
        return None
    values += 0  # zero has no sign, as in CSV
    return values


def _matrix(instances: Iterable[Any], width: int, names: Sequence[str] | None) -> NDArray[np.float32]:
    numbers = array("d")
    for row, instance in enumerate(instances, start=1):
        values = json_instances.values(instance, row, width, names)
        try:
            numbers.extend(array("d", cast("Sequence[float]", values)))
        except (TypeError, OverflowError):  # None, or a whole number of more than 308 digits
            numbers.extend([_number(value) for value in values])
    table = np.frombuffer(numbers).reshape(-1, width)
    with np.errstate(over="ignore"):
        matrix = table.astype(np.float32)
    if np.isinf(matrix).any():
        row, column = (int(index) for index in np.argwhere(np.isinf(matrix))[0])
        place = json_instances.place(row + 1, column, names)
        raise FormatError(f"{place}: {float(table[row, column])!r} does not fit a 32-bit float")
    matrix += 0
    return matrix


def _number(value: float | None) -> float:
    if value is None:
        return np.nan
    try:
        return float(value)
    except OverflowError:
        return np.inf
