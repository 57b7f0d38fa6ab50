"""What the columns of a table look like, from one pass over its blocks, so that drift can be seen later.

Moments of blocks are merged as in Chan, Golub and LeVeque (1979), "Updating Formulae and a Pairwise Algorithm for
Computing Sample Variances": no sum of squares is ever subtracted from another, so nothing cancels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# So many values are worked on at a time that their float64 copy stays in the processor's cache.
_VALUES_AT_ONCE = 32 * 1024


@dataclass(frozen=True)
class Summary:
    """Per column, over `rows` rows: how many values are there, their mean, spread and range. Missing ones do not count.

    `squares` is the sum of squared deviations from the mean. A column without a value has the range (inf, -inf).
    """

    rows: int
    count: Floats
    mean: Floats
    squares: Floats
    lowest: Floats
    highest: Floats

    @classmethod
    def nothing(cls, width: int) -> Summary:
        """The summary of no rows: merging it changes nothing."""
        zeros = np.zeros(width)
        return cls(0, zeros, zeros, zeros, np.full(width, np.inf), np.full(width, -np.inf))

    @classmethod
    def of(cls, block: NDArray[np.float32]) -> Summary:
        """Of a dense block (rows, columns) in which NaN is missing."""
        rows, width = block.shape
        summary = cls.nothing(width)
        step = max(1, _VALUES_AT_ONCE // max(1, width))
        # An infinite value is refused afterwards, by its place. Here it only makes NaN of a mean.
        with np.errstate(invalid="ignore", over="ignore"):
            for start in range(0, rows, step):
                summary = summary.merge(_of_piece(block[start : start + step]))
        return summary

    @classmethod
    def of_sparse(cls, indices: NDArray[np.integer], values: NDArray[np.float32], *, rows: int, width: int) -> Summary:
        """Of a compressed block of `rows` rows: what is absent, or NaN, is missing."""
        present = ~np.isnan(values)
        if not present.all():
            indices, values = indices[present], values[present]
        exact = values.astype(np.float64)
        count = _floats(np.bincount(indices, minlength=width))
        with np.errstate(invalid="ignore", over="ignore"):
            mean: Floats = np.bincount(indices, weights=exact, minlength=width) / np.maximum(count, 1)
            deviations = exact - mean[indices]
            squares = _floats(np.bincount(indices, weights=deviations * deviations, minlength=width))
        lowest, highest = np.full(width, np.inf), np.full(width, -np.inf)
        np.minimum.at(lowest, indices, exact)
        np.maximum.at(highest, indices, exact)
        return cls(rows, count, mean, squares, lowest, highest)

    @property
    def missing(self) -> Floats:
        return self.rows - self.count

    @property
    def standard_deviation(self) -> Floats:
        """Of the values themselves (numpy's default, `ddof=0`); NaN where there is none."""
        with np.errstate(invalid="ignore", divide="ignore"):
            deviation: Floats = np.sqrt(self.squares / self.count)
        return deviation

    def merge(self, other: Summary) -> Summary:
        """Of both tables, one below the other. The order of merging is visible in the last digits only."""
        width = max(len(self.count), len(other.count))
        a, b = self.widened(width), other.widened(width)
        count = a.count + b.count
        share = b.count / np.maximum(count, 1)
        between = b.mean - a.mean
        return Summary(
            a.rows + b.rows,
            count,
            a.mean + between * share,
            a.squares + b.squares + between * between * a.count * share,
            np.minimum(a.lowest, b.lowest),
            np.maximum(a.highest, b.highest),
        )

    def widened(self, width: int) -> Summary:
        """With columns added on the right that hold no value: a sparse table may not know its own width."""
        more = width - len(self.count)
        if not more:
            return self

        def with_more(column: Floats, value: float) -> Floats:
            return np.concatenate([column, np.full(more, value)])

        return Summary(
            self.rows,
            with_more(self.count, 0.0),
            with_more(self.mean, 0.0),
            with_more(self.squares, 0.0),
            with_more(self.lowest, np.inf),
            with_more(self.highest, -np.inf),
        )

    def as_array(self) -> Floats:
        """(6, columns), to be sent to other hosts: rows, count, mean, squares, lowest, highest."""
        rows = np.full(len(self.count), float(self.rows))
        return np.stack([rows, self.count, self.mean, self.squares, self.lowest, self.highest])

    @classmethod
    def from_array(cls, array: Floats) -> Summary:
        """What `as_array` gave."""
        rows = int(array[0, 0]) if array.shape[1] else 0
        return cls(rows, *(np.array(column) for column in array[1:]))


def _floats(column: NDArray[Any]) -> Floats:
    return column.astype(np.float64)


def _of_piece(piece: NDArray[np.float32]) -> Summary:
    rows, width = piece.shape
    lowest, highest = np.minimum.reduce(piece, axis=0), np.maximum.reduce(piece, axis=0)
    exact = piece.astype(np.float64)
    if not np.isnan(lowest).any():
        mean = np.add.reduce(exact, axis=0) / rows
        exact -= mean
        count = np.full(width, float(rows))
    else:
        absent = np.isnan(piece)
        count = rows - np.count_nonzero(absent, axis=0).astype(np.float64)
        exact[absent] = 0.0
        mean = np.add.reduce(exact, axis=0) / np.maximum(count, 1)
        exact -= mean
        exact[absent] = 0.0
        lowest, highest = np.fmin.reduce(piece, axis=0), np.fmax.reduce(piece, axis=0)
        lowest, highest = np.where(count > 0, lowest, np.inf), np.where(count > 0, highest, -np.inf)
    squares = np.einsum("ij,ij->j", exact, exact)
    return Summary(rows, count, mean, squares, lowest.astype(np.float64), highest.astype(np.float64))
