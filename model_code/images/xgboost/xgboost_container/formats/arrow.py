"""Numbers out of an Arrow array that may hold nulls, without a copy and without pyarrow.

arro3 hands an array with nulls to nobody but a reader of the Arrow C data interface, so this is one: "The Arrow C
data interface" and "The Arrow PyCapsule Interface" of the Arrow Columnar Format.
"""

from __future__ import annotations

import ctypes

import numpy as np
from arro3.core import Array, DataType
from numpy.typing import NDArray

_FLOAT32 = DataType.float32()


class _ArrowArray(ctypes.Structure):
    """`struct ArrowArray`, as far as an array of primitives needs it."""

    _fields_ = [
        ("length", ctypes.c_int64),
        ("null_count", ctypes.c_int64),
        ("offset", ctypes.c_int64),
        ("n_buffers", ctypes.c_int64),
        ("n_children", ctypes.c_int64),
        ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ]


_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype = ctypes.c_void_p
_pointer_of.argtypes = [ctypes.py_object, ctypes.c_char_p]


def write_float32(column: Array, target: NDArray[np.float32]) -> None:
    """Write a column of numbers or booleans into a vector of its length, which may have strides; nulls are NaN.

    What 32 bits cannot hold exactly is rounded to the nearest, and what is too large becomes infinite.
    """
    if column.type != _FLOAT32:
        column = column.cast(_FLOAT32)
    _, capsule = column.__arrow_c_array__()  # owns the memory until it is collected
    array = _ArrowArray.from_address(_pointer_of(capsule, b"arrow_array"))
    length, offset = array.length, array.offset
    if not length:
        return
    target[:] = np.frombuffer(_bytes(array.buffers[1], (offset + length) * 4), np.float32)[offset:]
    # -1 is "not counted"; a null pointer for the bitmap is "no nulls".
    if array.null_count and array.buffers[0]:
        bitmap = np.frombuffer(_bytes(array.buffers[0], (offset + length + 7) // 8), np.uint8)
        valid = np.unpackbits(bitmap, count=offset + length, bitorder="little")[offset:]
        target[valid == 0] = np.nan


def _bytes(address: int | None, size: int) -> memoryview:
    if address is None:
        raise ValueError("the array has no values")
    return memoryview((ctypes.c_char * size).from_address(address))
