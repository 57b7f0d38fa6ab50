"""Numbers out of CSV text, strictly: what is not a plain finite number is refused by row and column."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from xgboost_container.contract import UserError

# Stricter than float(), which also takes "nan", "inf", "1_000" and digits of other scripts.
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")

# XGBoost computes in 32-bit floats; beyond this a value would silently become infinite.
LARGEST = 3.4028234e38


def number(text: str) -> float:
    """The number that a cell holds.

    Raises:
        ValueError: the cell is empty, is not a number, or does not fit a 32-bit float. The message ends a
            sentence that begins with the place.
    """
    text = text.strip()
    if not text:
        raise ValueError("empty, a number is needed")
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a number")
    return in_range(float(text), text)


def in_range(value: float, text: str) -> float:
    # Written so that NaN fails, too.
    if not abs(value) <= LARGEST:
        raise ValueError(f"{shown(text)} does not fit a 32-bit float")
    return value


def shown(text: str) -> str:
    """A value as an error message shows it: quoted, and cut where it is long."""
    return repr(text if len(text) <= 40 else text[:37] + "...")


def lines(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The lines of a CSV file that hold something, with their number from 1.

    Raises:
        UserError: the file is not UTF-8 text or not CSV.
    """
    with file.open(newline="", encoding="utf-8-sig") as handle:
        reader = csv.reader(handle, strict=True)
        try:
            for cells in reader:
                if cells:
                    yield reader.line_num, cells
        except UnicodeDecodeError as error:
            raise UserError(f"{file.name}: not UTF-8 text (near line {reader.line_num + 1})") from error
        except csv.Error as error:
            raise UserError(f"{file.name}: line {reader.line_num} is not valid CSV: {error}") from error


def read_numbers(files: Sequence[Path], columns: Sequence[str]) -> list[list[float]]:
    """All rows of CSV files without a header that hold these columns in this order.

    Raises:
        UserError: a wrong width, a cell that is no number, or no row at all.
    """
    rows: list[list[float]] = []
    for file in files:
        for row, (line, cells) in enumerate(lines(file), start=1):
            rows.append(row_of_numbers(cells, columns, f"{file.name}: row {row} (line {line})"))
    if not rows:
        raise UserError(f"{', '.join(file.name for file in files)}: no rows")
    return rows


def row_of_numbers(cells: Sequence[str], columns: Sequence[str], place: str) -> list[float]:
    """One row's numbers. Raises UserError that begins with `place` and names the column."""
    if len(cells) != len(columns):
        raise UserError(f"{place}: {len(cells)} values, expected {len(columns)} ({', '.join(columns)})")
    values = []
    for column, cell in zip(columns, cells, strict=True):
        try:
            values.append(number(cell))
        except ValueError as error:
            raise UserError(f"{place}, column {column}: {error}") from error
    return values
