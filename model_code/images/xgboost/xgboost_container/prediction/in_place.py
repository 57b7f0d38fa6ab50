"""XGBoost's in-place prediction for batches, through its C API.

XGBoost's Python function defines a class for each result that it hands over. That takes half a millisecond, a tenth of a
request with 1,000 rows, and leaves a cycle to the garbage collector each time. The C API is the documented one
(`XGBoosterPredictFromDense` in `xgboost/c_api.h`).
"""

from __future__ import annotations

import ctypes
import functools

import numpy as np
from numpy.typing import NDArray

from .. import without_scipy  # noqa: F401  (before XGBoost)

import xgboost  # isort: skip
from xgboost.libpath import find_lib_path  # isort: skip

_ROWS = b'{"data": [%d, true], "shape": [%d, %d], "strides": null, "typestr": "<f4", "version": 3}'
"""NumPy's array interface, as the library reads it. Every platform of the image is little-endian."""
_CONFIGURATION = (
    b'{"type": %d, "training": false, "iteration_begin": 0, "iteration_end": 0, "missing": NaN, "strict_shape": false, '
    b'"cache_id": 0}'
)
_VALUE, _MARGIN = _CONFIGURATION % 0, _CONFIGURATION % 1


def scores(booster: xgboost.Booster, rows: NDArray[np.float32], *, margin: bool) -> NDArray[np.float32]:
    """What `booster.inplace_predict` gives: shape (rows,), or (rows, outputs) where there are several.

    Threads may score at the same time.

    Args:
        rows: C-contiguous, float32 and as wide as the model: the caller's word. NaN is a missing value.

    Raises:
        xgboost.core.XGBoostError: in the library's own words.
    """
    library = _library()
    shape, dimensions, result = ctypes.POINTER(ctypes.c_uint64)(), ctypes.c_uint64(), ctypes.c_void_p()
    failed = library.XGBoosterPredictFromDense(
        booster.handle,
        _ROWS % (rows.ctypes.data, *rows.shape),
        _MARGIN if margin else _VALUE,
        None,
        ctypes.byref(shape),
        ctypes.byref(dimensions),
        ctypes.byref(result),
    )
    if failed:
        raise xgboost.core.XGBoostError(library.XGBGetLastError().decode(errors="replace"))
    # The library keeps one result for each thread, and writes the next one over it.
    copy = np.empty(shape[: dimensions.value], np.float32)
    if copy.size:
        ctypes.memmove(copy.ctypes.data, result, copy.nbytes)
    return copy


@functools.cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(find_lib_path()[0])  # a handle of our own, of the library that XGBoost has loaded
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    library.XGBGetLastError.restype = text
    library.XGBoosterPredictFromDense.argtypes = [pointer, text, text, pointer, pointer, pointer, pointer]
    library.XGBoosterPredictFromDense.restype = ctypes.c_int
    return library
