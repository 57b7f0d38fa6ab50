"""Defines what CSV text means, cell by cell, and says where it means nothing. Slower than `csv`, which asks it last."""

from __future__ import annotations

import io
import re
from array import array
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from .errors import FormatError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")

# Stricter than float(), which also takes "inf", "1_000" and digits of other scripts.
_NUMBER = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_MISSING = re.compile(rb"(?:[+-]?nan|na|n/a|null|none|\?)?", re.IGNORECASE)
_BLANKS = b" \t\r"
# What float() takes of cells that hold nothing but these is what _NUMBER takes.
_IN_NUMBERS = b"0123456789+-.eE"
_SHOWN = 40
# What is a header shows in its first columns.
_LOOKED_AT = 1000


def parse(text: bytes, *, width: int | None, first_row: int, delimiter: bytes) -> NDArray[np.float32]:
    """See `csv.parse`. Text without a row gives an array without rows.

    Raises:
        FormatError: as there.
    """
    if text[:2] in _UTF_16:
        raise FormatError("row 1: the text is UTF-16, must be UTF-8")
    blanks = _BLANKS.replace(delimiter, b"")
    body = text.removeprefix(BYTE_ORDER_MARK).strip(b"\n" + blanks)
    if not body:
        return np.empty((0, width or 0), np.float32)
    numbers = array("d")
    in_row_of_numbers = _IN_NUMBERS + delimiter
    row = first_row
    for line in io.BytesIO(body):  # one after the other: a list of millions of lines would be larger than the text
        line = line.removesuffix(b"\n")
        if row == first_row == 1:
            _refuse_header(line.split(delimiter, _LOOKED_AT), blanks)
        found = line.count(delimiter) + 1
        if width is None:
            width = found
        if found != width:  # before a list of all the cells of a line that is much too long
            raise FormatError(_other_width(row, line.strip(blanks), found, width))
        cells = line.split(delimiter)
        if not line.strip(blanks):
            raise FormatError(f"row {row}: the line is empty; write nan for a value that is missing")
        try:
            if line.translate(None, in_row_of_numbers):
                raise ValueError
            numbers.extend(list(map(float, cells)))  # a list first: nothing is added where a cell fails
        except ValueError:
            numbers.extend(_cells(cells, row, blanks))
        row += 1
    table = np.frombuffer(numbers).reshape(-1, width or 0)
    with np.errstate(over="ignore"):
        values = table.astype(np.float32)
    if np.isinf(values).any():
        at, column = (int(index) for index in np.argwhere(np.isinf(values))[0])
        cell = body.split(b"\n")[at].split(delimiter)[column].strip(blanks)
        raise FormatError(f"row {first_row + at}, column {column + 1}: {shown(cell)} does not fit a 32-bit float")
    values += 0  # zero has no sign
    return values


def shown(cell: bytes) -> str:
    """A cell as a message shows it: quoted, in one line, and cut where it is long."""
    text = cell[: 4 * _SHOWN].decode(errors="replace")
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "...")


def _cells(cells: Iterable[bytes], row: int, blanks: bytes) -> Iterable[float]:
    for column, cell in enumerate(cells, start=1):
        bare = _bare(cell, blanks)
        if _NUMBER.fullmatch(bare):
            yield float(bare)
        elif _MISSING.fullmatch(bare):
            yield np.nan
        else:
            raise FormatError(f"row {row}, column {column}: {shown(cell.strip(blanks))} is not a number")


def _bare(cell: bytes, blanks: bytes) -> bytes:
    bare = cell.strip(blanks)
    if len(bare) >= 2 and bare[:1] == bare[-1:] == b'"':
        return bare[1:-1].strip(_BLANKS)
    return bare


def _refuse_header(cells: list[bytes], blanks: bytes) -> None:
    bare = [_bare(cell, blanks) for cell in cells[:_LOOKED_AT]]
    if any(_NUMBER.fullmatch(cell) for cell in bare):
        return
    words = [column for column, cell in enumerate(bare, start=1) if not _MISSING.fullmatch(cell)]
    if len(words) * 2 >= len(bare):  # a word among missing values is rather a mistake than a name
        raise FormatError(
            f"row 1, column {words[0]}: {shown(bare[words[0] - 1])} is not a number, nor is any value of this row: "
            "CSV for SageMaker's XGBoost has no header line, remove it"
        )


def _other_width(row: int, line: bytes, found: int, expected: int) -> str:
    if not line:
        return f"row {row}: the line is empty, expected {_columns(expected)}"
    return f"row {row}: {_columns(found)}, expected {expected}"


def _columns(count: int) -> str:
    return "1 column" if count == 1 else f"{count} columns"
