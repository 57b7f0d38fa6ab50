"""Rows that name the columns in which they have a value, as LibSVM and RecordIO carry them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..without_scipy import csr_matrix
from .errors import FormatError

MAX_INDEX = 2**31 - 1
"""The largest index of a column, so that indices fit 32 bits: half the memory of a block, and XGBoost's own limit."""


@dataclass(frozen=True)
class Sparse:
    """A block of rows, compressed by row. What a row does not name is missing, as XGBoost takes it.

    Attributes:
        indptr: (rows + 1,); row i has the entries `indptr[i]` to `indptr[i + 1]`.
        indices: the column of each entry, from 0, rising within a row.
        values: the value of each entry; NaN is missing.
        width: how many columns the rows need: the largest index + 1, or what the format says of itself. Blocks of
            one data set differ in it; the caller knows the widest.
        labels, weights, qids: (rows,) each, or None where the rows carry none.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[np.float32]
    width: int
    labels: NDArray[np.float32] | None = None
    weights: NDArray[np.float32] | None = None
    qids: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def nbytes(self) -> int:
        arrays = (self.indptr, self.indices, self.values, self.labels, self.weights, self.qids)
        return sum(int(array.nbytes) for array in arrays if array is not None)

    def dense(self, width: int, *, first_row: int = 1) -> NDArray[np.float32]:
        """The rows as a matrix (rows, width), C-contiguous, NaN where a row names no value.

        Raises:
            FormatError: a row names a column that a matrix of this width lacks.
        """
        self._check(width, first_row)
        matrix = np.full((len(self), width), np.nan, dtype=np.float32)
        matrix[np.repeat(np.arange(len(self)), np.diff(self.indptr)), self.indices] = self.values
        return matrix

    def csr(self, width: int, *, first_row: int = 1) -> Any:
        """The rows as the `csr_matrix` that XGBoost takes, without a copy.

        Raises:
            FormatError: a row names a column that a matrix of this width lacks.
        """
        self._check(width, first_row)
        return csr_matrix((self.values, self.indices, self.indptr), shape=(len(self), width))

    def rows(self, selection: slice | NDArray[Any]) -> Sparse:
        """Some of the rows: a slice, their numbers from 0, or a mask. The width stays."""
        chosen = np.arange(len(self))[selection]
        lengths = np.diff(self.indptr)[chosen]
        indptr = _offsets(lengths)
        # Entry k of the result lies as far behind its row's first entry as it does here.
        entries = np.arange(indptr[-1]) + np.repeat(self.indptr[chosen] - indptr[:-1], lengths)
        return Sparse(
            indptr,
            self.indices[entries],
            self.values[entries],
            self.width,
            None if self.labels is None else self.labels[chosen],
            None if self.weights is None else self.weights[chosen],
            None if self.qids is None else self.qids[chosen],
        )

    def _check(self, width: int, first_row: int) -> None:
        if self.width <= width or not len(self.indices) or int(self.indices.max()) < width:
            return
        entry = int(np.argmax(self.indices >= width))
        row = first_row + int(np.searchsorted(self.indptr, entry, side="right")) - 1
        raise FormatError(
            f"row {row}: names feature {int(self.indices[entry])}, but there are {width}, numbered from 0 to {width - 1}"
        )


def empty() -> Sparse:
    """No row."""
    return Sparse(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), 0)


def concatenate(blocks: Sequence[Sparse], *, first_row: int = 1) -> Sparse:
    """The rows of all blocks, in order. Blocks without rows say nothing about labels, weights and groups.

    Raises:
        FormatError: some rows have a label, a weight or a qid, and others have none.
    """
    blocks = [block for block in blocks if len(block)]
    if not blocks:
        return empty()
    if len(blocks) == 1:
        return blocks[0]
    row = first_row
    for block in blocks:
        for name in ("labels", "weights", "qids"):
            if (getattr(block, name) is None) != (getattr(blocks[0], name) is None):
                raise FormatError(mixed(row, name[:-1], getattr(block, name) is not None))
        row += len(block)
    return Sparse(
        _offsets(np.concatenate([np.diff(block.indptr) for block in blocks])),
        np.concatenate([block.indices for block in blocks]),
        np.concatenate([block.values for block in blocks]),
        max(block.width for block in blocks),
        _joined([block.labels for block in blocks]),
        _joined([block.weights for block in blocks]),
        _joined([block.qids for block in blocks]),
    )


def mixed(row: int, name: str, has_one: bool) -> str:
    """What to say of the first row that differs from those before it in having a label, a weight or a qid."""
    this, others = ("a", "no") if has_one else ("no", "a")
    return f"row {row}: has {this} {name}, the rows before have {others} {name}; give one to each row or to none"


def in_order(
    indptr: NDArray[np.int64], indices: NDArray[np.int32], values: NDArray[np.float32]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The entries with the indices of each row rising, whatever order the rows were written in.

    Raises:
        Repeated: a row names a column twice. Which value is meant nobody can tell.
    """
    rising = indices[1:] > indices[:-1]
    starts = indptr[1:-1]
    rising[starts[(starts > 0) & (starts < len(indices))] - 1] = True  # between rows there is no order
    if rising.all():
        return indices, values
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    order = np.lexsort((indices, rows))
    indices, values = indices[order], values[order]
    twice = (indices[1:] == indices[:-1]) & (rows[1:] == rows[:-1])
    if twice.any():
        entry = int(np.argmax(twice))
        raise Repeated(int(rows[entry]), int(indices[entry]))
    return indices, values


class Repeated(Exception):
    """A row, from 0, names a column twice."""

    def __init__(self, row: int, index: int) -> None:
        super().__init__(row, index)
        self.row = row
        self.index = index


def _offsets(lengths: NDArray[Any]) -> NDArray[np.int64]:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _joined(parts: list[Any]) -> Any:
    return None if parts[0] is None else np.concatenate(parts)
