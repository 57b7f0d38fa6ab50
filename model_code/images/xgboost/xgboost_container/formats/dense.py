"""Rows of numbers with a value in every column, and their labels, as RecordIO and Parquet carry them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import FormatError


@dataclass(frozen=True)
class Dense:
    """A block of rows. Says the same as `Sparse`, so that whoever reads RecordIO need not ask which one it got.

    Attributes:
        values: (rows, width), C-contiguous; NaN is missing.
        labels: (rows,), or None where the rows carry none.
    """

    values: NDArray[np.float32]
    labels: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def width(self) -> int:
        return int(self.values.shape[1])

    @property
    def nbytes(self) -> int:
        return int(self.values.nbytes) + (0 if self.labels is None else int(self.labels.nbytes))

    def dense(self, width: int, *, first_row: int = 1) -> NDArray[np.float32]:
        """The rows, when they have `width` columns.

        Raises:
            FormatError: they have another number of columns.
        """
        if self.width != width:
            raise FormatError(f"row {first_row}: has {self.width} features, must have {width}")
        return self.values

    def rows(self, selection: slice | NDArray[Any]) -> Dense:
        """Some of the rows: a slice, their numbers from 0, or a mask."""
        return Dense(self.values[selection], None if self.labels is None else self.labels[selection])
