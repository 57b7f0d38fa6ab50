"""Lets XGBoost and treelite be imported where scipy is not installed: import this before either of them.

Both import `scipy.sparse` for input that their callers hold in its matrices. scipy is larger than the rest of the image
together and takes half a second to import, and all that is asked of it here is to carry the three arrays of a
compressed-sparse-row matrix. Where scipy is installed, it is used.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from typing import Any

import numpy as np
from numpy.typing import NDArray


class CsrMatrix:
    """What XGBoost reads of a `scipy.sparse.csr_matrix`: three arrays and a shape."""

    def __init__(
        self, arrays: tuple[NDArray[Any], NDArray[Any], NDArray[Any]], *, shape: tuple[int, int] | None = None
    ) -> None:
        self.data, self.indices, self.indptr = (np.ascontiguousarray(array) for array in arrays)
        if shape is None:
            shape = (len(self.indptr) - 1, int(self.indices.max()) + 1 if len(self.indices) else 0)
        self.shape = shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    @property
    def nnz(self) -> int:
        return len(self.data)


def _stand_in() -> types.ModuleType:
    sparse = types.ModuleType("scipy.sparse")
    sparse.csr_matrix = CsrMatrix  # type: ignore[attr-defined]
    # Named in `isinstance` checks alone: nobody here makes one.
    for name in ("csc_matrix", "csr_array", "csc_array", "spmatrix"):
        setattr(sparse, name, type(name, (), {}))
    return sparse


def _install() -> type[Any]:
    if importlib.util.find_spec("scipy") is not None:
        from scipy.sparse import csr_matrix

        return csr_matrix  # type: ignore[no-any-return]
    scipy = types.ModuleType("scipy")
    scipy.__path__ = []  # a package, so that `import scipy.sparse` looks into sys.modules
    scipy.sparse = _stand_in()  # type: ignore[attr-defined]
    sys.modules["scipy"], sys.modules["scipy.sparse"] = scipy, scipy.sparse
    return CsrMatrix


csr_matrix: type[Any] = _install()
"""`csr_matrix((data, indices, indptr), shape=(rows, columns))`: what sparse input is handed to XGBoost in."""
