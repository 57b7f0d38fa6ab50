"""Rows of numbers under the names of their columns, as Parquet carries them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Frame:
    """A block of rows.

    Attributes:
        names: the name of each column, all different.
        values: (rows, columns), C-contiguous; a null is NaN. Integers above 2**24 are rounded, since XGBoost
            itself keeps 32-bit floats: there is nothing to be gained from refusing them.
    """

    names: tuple[str, ...]
    values: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.values)
