"""Checks the raw data and splits it into train, validation and test.

Writes CSV without a header, the target first: what SageMaker's built-in XGBoost reads, too. Cells are
copied as they were written, so no number changes on the way.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xgboost_container.contract import Paths, UserError, csv_files, log, write_together

from .columns import REFUSED, TARGET_FIRST
from .table import lines, row_of_numbers

SEED = 0
SHARES = {"train": 0.70, "validation": 0.15, "test": 0.15}


@dataclass(frozen=True)
class Row:
    """One row, target first: the cells as written, and the numbers they stand for."""

    cells: tuple[str, ...]
    values: tuple[float, ...]


def preprocess(paths: Paths, seed: int = SEED) -> None:
    """The step: `processing/input/data/*.csv` to `processing/output/{train,validation,test}/`.

    Raises:
        UserError: a column is missing, unknown, doubled or refused; a cell is no number; too few rows.
    """
    files = csv_files(paths.processing_input / "data", "preprocess")
    rows = read_rows(files)
    parts = split(rows, seed)
    write_together(
        {
            paths.processing_output / part / f"{part}.csv": "".join(",".join(r.cells) + "\n" for r in chosen).encode()
            for part, chosen in parts.items()
        }
    )
    sizes = ", ".join(f"{part} {len(chosen)}" for part, chosen in parts.items())
    log(f"Read {len(rows)} rows from {', '.join(file.name for file in files)}; wrote {sizes} (seed {seed}).")


def read_rows(files: Sequence[Path]) -> list[Row]:
    """All rows of files with a header, their columns brought into the order of TARGET_FIRST."""
    rows: list[Row] = []
    for file in files:
        content = lines(file)
        _, header = next(content, (0, None))
        if header is None:
            raise UserError(f"{file.name}: the file is empty, a header with {', '.join(TARGET_FIRST)} is needed")
        names = [name.strip() for name in header]
        _check_header(file, names)
        position = [names.index(column) for column in TARGET_FIRST]
        before = len(rows)
        for row, (line, cells) in enumerate(content, start=1):
            numbers = row_of_numbers(cells, names, f"{file.name}: row {row} (line {line})")
            rows.append(Row(tuple(cells[i].strip() for i in position), tuple(numbers[i] for i in position)))
        if len(rows) == before:
            raise UserError(f"{file.name}: no rows below the header")
    return rows


def split(rows: Sequence[Row], seed: int = SEED) -> dict[str, list[Row]]:
    """Each row's part follows from the row itself and the seed, by a hash.

    So it depends neither on the order of the rows nor on a library's random numbers, and when the data
    grows no row moves from test to train: scores of different days stay comparable. The price: shares are
    met on average, not exactly. Equal rows always share a part, so the test set holds no row that was trained on.

    Raises:
        UserError: a part would be empty.
    """
    parts: dict[str, list[tuple[bytes, Row]]] = {part: [] for part in SHARES}
    for row in rows:
        digest = hashlib.sha256(struct.pack(f"<q{len(row.values)}d", seed, *row.values)).digest()
        parts[_part(int.from_bytes(digest[:8], "big") / 2**64)].append((digest, row))
    empty = [part for part, chosen in parts.items() if not chosen]
    if empty:
        raise UserError(
            f"{len(rows)} rows are too few: none fell into {', '.join(empty)} "
            f"(shares are {', '.join(f'{part} {share:.0%}' for part, share in SHARES.items())})"
        )
    # By digest, because subsampling in training depends on the order.
    return {part: [row for _, row in sorted(chosen, key=lambda item: item[0])] for part, chosen in parts.items()}


def _part(fraction: float) -> str:
    edge = 0.0
    for part, share in SHARES.items():
        edge += share
        if fraction < edge:
            return part
    return part  # the shares' sum may fall a rounding error short of 1


def _check_header(file: Path, names: Sequence[str]) -> None:
    problems = []
    missing = [column for column in TARGET_FIRST if column not in names]
    unknown = [name for name in names if name not in TARGET_FIRST and name not in REFUSED]
    doubled = sorted({name for name in names if names.count(name) > 1})
    refused = [name for name in names if name in REFUSED]
    if missing:
        problems.append(f"missing column {', '.join(missing)}")
    if unknown:
        problems.append(f"unknown column {', '.join(name or '(no name)' for name in unknown)}")
    if doubled:
        problems.append(f"column more than once: {', '.join(doubled)}")
    problems += [f"column {name} is refused: {REFUSED[name]}" for name in refused]
    if problems:
        raise UserError(
            f"{file.name}: row 0 (the header): {'; '.join(problems)}. Expected {', '.join(TARGET_FIRST)} in any order"
        )
