"""Blocks of rows become XGBoost's matrices: quantised while they stream for `hist`, plain where values must be kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

from ...contract import UserError
from ...formats.sparse import Sparse
from ...without_scipy import csr_matrix
from . import labels as label_rules
from .blocks import Block, Rows
from .labels import Place

# XGBoost keeps a category's code as a float32, which counts exactly up to here.
LARGEST_CATEGORY = 2**24


class _Passes(xgboost.DataIter):
    """Gives XGBoost the blocks, as often as it asks: four times, on a CPU."""

    def __init__(
        self,
        rows: Rows,
        weights: NDArray[np.float32] | None,
        names: Sequence[str] | None,
        types: Sequence[str] | None,
    ) -> None:
        super().__init__(release_data=True)
        self._rows, self._weights = rows, weights
        self._about = {
            "feature_names": None if names is None else list(names),
            "feature_types": None if types is None else list(types),
        }
        self._cells = _Cells()
        self.reset()

    def reset(self) -> None:
        self._blocks = iter(self._rows)
        self._start = 0

    def next(self, input_data: Callable[..., Any]) -> bool:
        block = next(self._blocks, None)
        if block is None:
            return False
        end = self._start + len(block)
        # The cuts between bins are weighted, so weights are needed now. Labels and groups can come later, and must: a query
        # that goes on in the next block would count as two.
        weights = {} if self._weights is None else {"weight": self._weights[self._start : end]}
        width = self._rows.width
        data = block.csr(width) if isinstance(block, Sparse) else self._cells.compressed(block)
        input_data(data=data, **self._about, **weights)
        self._start = end
        return True


class _Cells:
    """Dense blocks as compressed rows that name every column: no copy, and the same matrix.

    XGBoost looks the cells of an array up one by one, and goes through compressed rows a fifth faster; that makes the
    streamed matrix as quick to build as a plain one.
    """

    def __init__(self) -> None:
        self._indices = np.zeros(0, np.int32)
        self._indptr = np.zeros(1, np.int64)

    def compressed(self, block: NDArray[np.float32]) -> Any:
        rows, width = block.shape
        if len(self._indptr) <= rows:
            self._indices = np.tile(np.arange(width, dtype=np.int32), rows)
            self._indptr = np.arange(0, rows * width + 1, width, dtype=np.int64)
        return csr_matrix((block.ravel(), self._indices[: rows * width], self._indptr[: rows + 1]), shape=block.shape)


def quantile_matrix(
    rows: Rows,
    *,
    weights: NDArray[np.float32] | None,
    max_bin: int,
    nthread: int,
    names: Sequence[str] | None = None,
    types: Sequence[str] | None = None,
) -> xgboost.QuantileDMatrix:
    """The training matrix of `tree_method=hist`: a byte per value instead of eight, the same model as from a plain one."""
    passes = _Passes(rows, weights, names, types)
    return xgboost.QuantileDMatrix(passes, max_bin=max_bin, nthread=nthread, enable_categorical=_has_categories(types))


def plain_matrix(
    rows: Rows,
    *,
    nthread: int,
    names: Sequence[str] | None = None,
    types: Sequence[str] | None = None,
) -> xgboost.DMatrix:
    """A matrix of the values themselves: for `exact`, `approx` and `gblinear`, and for rows to be evaluated."""
    return xgboost.DMatrix(
        _together(rows),
        nthread=nthread,
        feature_names=None if names is None else list(names),
        feature_types=None if types is None else list(types),
        enable_categorical=_has_categories(types),
    )


def check_categories(rows: Rows, types: Sequence[str], names: Sequence[str] | None, place: Place) -> None:
    """Check that what is said to be a category holds codes.

    Raises:
        UserError: names the row and the column of a value that is not a whole number from 0 to 2**24 - 1.
    """
    columns = [column for column, kind in enumerate(types) if kind == "c"]
    if not columns:
        return
    start = 0
    for block in rows:
        for column in columns:
            in_rows, values = _column(block, column)
            bad = (
                (values < 0) | (values >= LARGEST_CATEGORY) | (values != np.floor(values))
            )  # NaN is missing, and is none
            bad &= ~np.isnan(values)
            if bad.any():
                at = int(np.argmax(bad))
                called = f"feature {column}" + ("" if names is None else f" ({names[column]})")
                raise UserError(
                    f"{place(start + int(in_rows[at]))}: {called} is a category, so it must be a whole number "
                    f"from 0 to {LARGEST_CATEGORY - 1}, got {float(values[at]):.9g}"
                )
        start += len(block)


def describe(
    matrix: xgboost.DMatrix,
    labels: NDArray[np.float32],
    weights: NDArray[np.float32] | None,
    qids: NDArray[np.int64] | None,
    place: Place,
) -> None:
    """Put labels, weights and queries on a matrix.

    Raises:
        UserError: the rows of a query are not next to each other, or have different weights.
    """
    if qids is not None:
        # As sizes: XGBoost wants query ids to rise, and all that matters is which rows belong together.
        sizes = label_rules.group_sizes(qids, place)
        matrix.set_info(group=sizes)
        if weights is not None:
            weights = label_rules.group_weights(weights, sizes, place)
    matrix.set_info(label=labels)
    if weights is not None:
        matrix.set_info(weight=weights)


def _has_categories(types: Sequence[str] | None) -> bool:
    return types is not None and "c" in types


def _together(rows: Rows) -> Any:
    if rows.is_sparse:
        blocks = [block for block in rows if isinstance(block, Sparse)]
        lengths = np.concatenate([np.diff(block.indptr) for block in blocks] or [np.zeros(0, np.int64)])
        return csr_matrix(
            (
                np.concatenate([block.values for block in blocks] or [np.zeros(0, np.float32)]),
                np.concatenate([block.indices for block in blocks] or [np.zeros(0, np.int32)]),
                np.concatenate([[0], np.cumsum(lengths)]),
            ),
            shape=(rows.row_count, rows.width),
        )
    matrix = np.empty((rows.row_count, rows.width), np.float32)
    start = 0
    for block in rows:
        assert not isinstance(block, Sparse)
        matrix[start : start + len(block)] = block
        start += len(block)
    return matrix


def _column(block: Block, column: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The rows in which a block has a value of a column (or NaN), and the values."""
    if not isinstance(block, Sparse):
        return np.arange(len(block)), block[:, column]
    entries = np.flatnonzero(block.indices == column)
    return np.searchsorted(block.indptr, entries, side="right") - 1, block.values[entries]
