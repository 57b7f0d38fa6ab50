"""Reads numbers out of CSV text: for requests and training data alike, fast where the text is plain, exact everywhere.

Three readers, one meaning. `csv_exact` defines it, cell by cell, and finds the place of a fault. The two here only take
text of which they can prove that it means the same, and leave all else to that one:

- plain numbers: a CSV body between brackets is a JSON array, and simdjson reads those several times faster than numpy
  reads CSV.
- plain numbers with missing cells: what is missing is first written as a number that no cell can hold.

Both keep the lines apart by a number as well. A line end becomes a number beyond the range of a 32-bit float, so when all
cells are within that range and there are as many numbers as the width asks for, each line end must stand where it belongs.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from . import csv_exact
from .json_numbers import floats

DELIMITERS = (b",", b"\t", b";", b"|", b" ")
"""What a delimiter can be, the likeliest first: the first of them that the first line has is the one."""

_LINE_END = b",1e308,"
_MISSING_CELL = b"1e307"
_MISSING = float(_MISSING_CELL)
_LARGEST = float(np.finfo(np.float32).max)
_COMMA = ord(",")
# The missing cells that programs write most. The others, and these with spaces around, are left to the exact reader.
_COMMON_WORDS = (b"nan", b"NaN", b"NA", b"null")
# Pieces of which all that is made meanwhile fits the processor's cache, and which the allocator hands out again without asking
# the system for new pages: a megabyte at once takes twice as long.
_PIECE_BYTES = 1 << 17


def parse(
    text: bytes, *, width: int | None = None, first_row: int = 1, delimiter: bytes | None = None
) -> NDArray[np.float32]:
    """The numbers of CSV text without a header, shape (rows, width), C-contiguous; a missing cell is NaN.

    Missing is a cell that is empty or says nan, NA, N/A, null, None or ?, in upper or lower case. SageMaker's own
    container takes the first two. A number may have quotes and blanks around it, and is read as a 64-bit float that is then
    rounded to 32 bits, as there. Zero has no sign. Blank lines before the first row and after the last do not count.

    Args:
        text: whole lines, in UTF-8, with or without a byte order mark.
        width: columns that each row must have; None lets the first row decide.
        first_row: the number of the first row in messages; training reads a file in blocks and counts on.
        delimiter: one of `DELIMITERS`; None finds it in the first line, as SageMaker's container does.

    Raises:
        FormatError: a cell that is no number or does not fit a 32-bit float, another width, a blank line between rows, a header.
    """
    if delimiter is None:
        if len(text) <= _PIECE_BYTES:  # with a comma at the first try, the delimiter need not be looked for
            values = _plain(text.rstrip(b"\r\n"), width, b",")
            if values is not None:
                return values
        delimiter = sniff(text)
    values = _in_pieces(text, width, delimiter)
    if values is not None:
        return values
    return csv_exact.parse(text, width=width, first_row=first_row, delimiter=delimiter)


def sniff(text: bytes) -> bytes:
    """The delimiter of CSV text, from its first line that holds something; a comma where there is but one column."""
    start = text.removeprefix(csv_exact.BYTE_ORDER_MARK).lstrip(b" \t\r\n")
    end = start.find(b"\n")
    first = (start if end < 0 else start[:end]).rstrip()
    return next((delimiter for delimiter in DELIMITERS if delimiter in first), b",")


def _in_pieces(text: bytes, width: int | None, delimiter: bytes) -> NDArray[np.float32] | None:
    """The numbers, or None for text that needs a closer look. What is needed meanwhile is bounded by the size of a piece."""
    pieces: list[NDArray[np.float32]] = []
    start = 0
    tail = text[-_PIECE_BYTES:]
    stop = len(text) - len(tail) + len(tail.rstrip(b"\r\n"))  # without a copy of the whole
    while start < stop:
        end = text.find(b"\n", start + _PIECE_BYTES, stop)
        piece = text[start : stop if end < 0 else end]
        values = _plain(piece, width, delimiter)
        if values is None:
            values = _plain_with_missing(piece, width, delimiter)
        if values is None:
            return None
        width = values.shape[1]
        pieces.append(values)
        start += len(piece) + 1
    if not pieces:
        return None
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _plain(body: bytes, width: int | None, delimiter: bytes) -> NDArray[np.float32] | None:
    """The numbers, or None for text that is not numbers alone."""
    if b"[" in body:  # simdjson reads [1,[2,3]] as three numbers
        return None
    if delimiter != b",":
        if b"," in body:
            return None
        body = body.replace(delimiter, b",")
    joined = body.replace(b"\n", _LINE_END)
    rows = 1 + (len(joined) - len(body)) // (len(_LINE_END) - 1)
    if rows > 1:
        return _table(floats(b"[%b,1e308]" % joined), rows, width)
    row = floats(b"[%b]" % joined)
    if row is None or not row.size or width not in (None, row.size):
        return None
    return _row(row)


def _row(row: NDArray[np.float64]) -> NDArray[np.float32] | None:
    # errstate(), isfinite() and all() take twice as long. What is beyond the bound is looked at closely.
    if np.count_nonzero(np.abs(row) > _LARGEST):
        return None
    values = row.astype(np.float32)
    values += 0  # zero has no sign
    return values.reshape(1, -1)


def _plain_with_missing(body: bytes, width: int | None, delimiter: bytes) -> NDArray[np.float32] | None:
    """The numbers, NaN for missing cells, or None for text that needs a closer look."""
    if b"[" in body or (delimiter != b"," and b"," in body):
        return None
    if b"\r" in body:
        body = body.replace(b"\r\n", b"\n").removesuffix(b"\r")
    if delimiter != b",":
        body = body.replace(delimiter, b",")
    # Every cell has a comma on both sides, so that a word can be told from a part of a cell. A replacement takes both commas
    # and thereby hides the next cell's; a second one finds that.
    joined = b",%b," % body.replace(b"\n", _LINE_END)
    rows = 1 + (len(joined) - len(body) - 2) // (len(_LINE_END) - 1)
    is_comma = np.frombuffer(joined, np.uint8) == _COMMA
    columns, rest = divmod(int(np.count_nonzero(is_comma)), rows)
    # Found out before anything is made of a text of commas alone. In one column, a missing cell is an empty line.
    if rest or columns < 3 or width not in (None, columns - 1):
        return None
    for word in _COMMON_WORDS:
        if word[:1] in joined and word in joined:  # one byte is found, or not, many times faster
            cell = b",%b," % word
            joined = joined.replace(cell, b",,").replace(cell, b",,")
    is_comma = np.frombuffer(joined, np.uint8) == _COMMA
    empty = np.flatnonzero(is_comma[1:] & is_comma[:-1]) + 1
    if empty.size * 8 < len(joined):
        ends = pairwise((1, *empty.tolist(), len(joined)))
        filled = _MISSING_CELL.join([joined[start:end] for start, end in ends])
    else:  # slower where few cells are missing, but without a Python object for each
        between = b",%b," % _MISSING_CELL
        filled = joined.replace(b",,", between).replace(b",,", between)[1:]
    return _table(floats(b"[%b1e308]" % filled), rows, columns - 1, empty.size)


def _table(
    numbers: NDArray[np.float64] | None, rows: int, width: int | None, missing: int = 0
) -> NDArray[np.float32] | None:
    """The numbers as rows, each of which a line end closes; None unless every line end stands in the last column."""
    if numbers is None:
        return None
    if width is None:
        width = numbers.size // rows - 1
    if width < 1 or numbers.size != rows * (width + 1):
        return None
    cells = numbers.reshape(rows, width + 1)[:, :width]
    with np.errstate(over="ignore"):
        values = cells.astype(np.float32)
    if missing:
        # Counted, because a cell can hold this very number, and is then refused.
        holes = cells == _MISSING
        if np.count_nonzero(holes) != missing:
            return None
        values[holes] = 0
    if not np.isfinite(values).all():
        return None
    values += 0  # zero has no sign
    if missing:
        values[holes] = np.nan
    return values
