"""SageMaker's `Record` message, one at a time: exact, and slow beside `record_columns`.

    message Record { map<string, Value> features = 1; map<string, Value> label = 2; string uid = 3, ... }
    message Value  { oneof { Float32Tensor = 2; Float64Tensor = 3; Int32Tensor = 7; Bytes = 9; } }
    message Tensor { repeated values = 1 [packed]; repeated uint64 keys = 2 [packed]; repeated uint64 shape = 3 [packed]; }

The schema is in "Common data formats for training" of the Amazon SageMaker AI Developer Guide. What stands for itself
there has the name `values`, among features and labels both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import FormatError
from .sparse import MAX_INDEX
from .wire import FOUR_BYTES, LENGTH, VARINT, WireError, fields, varints

FEATURES, LABEL = 1, 2
KEY, VALUE = 1, 2  # of an entry in a map
VALUES, KEYS, SHAPE = 1, 2, 3
FLOAT32, FLOAT64, INT32, BYTES = 2, 3, 7, 9
NAME = b"values"
_NOTHING, _NO_KEYS = np.empty(0, np.uint8), np.empty(0, np.uint64)


@dataclass(frozen=True)
class Row:
    """One record.

    Attributes:
        values: float32, NaN is missing.
        keys: the column of each value, rising; None for a dense row. A row with neither is both.
        width: what the shape says, None where there is none.
    """

    values: NDArray[np.float32]
    keys: NDArray[np.int32] | None
    width: int | None
    label: float | None


@dataclass(frozen=True)
class _Tensor:
    values: NDArray[np.float32]
    keys: NDArray[np.uint64]
    shape: list[int]


def read(data: bytes | memoryview, start: int, end: int, row: int) -> Row:
    """The record that stands in `data[start:end]`.

    Raises:
        FormatError: `record 3: ...`.
    """
    try:
        entries: dict[int, list[tuple[bytes, _Tensor]]] = {FEATURES: [], LABEL: []}
        for number, wire_type, first, last in fields(data, start, end):
            if number in entries:
                _expect(wire_type == LENGTH)
                entries[number].append(_entry(data, first, last, row))
        features = _only(entries[FEATURES], "feature", row)
        label = _only(entries[LABEL], "label", row) if entries[LABEL] else None
    except WireError as error:
        raise FormatError(f"record {row}: is not SageMaker's Record message: {error}") from None
    if label is not None and (len(label.values) != 1 or len(label.keys)):
        raise FormatError(f"record {row}: has {len(label.values)} labels, must have one")
    return _row(features, None if label is None else float(label.values[0]), row)


def _row(tensor: _Tensor, label: float | None, row: int) -> Row:
    width = _width(tensor.shape, row)
    values, keys = tensor.values, tensor.keys
    if len(keys):
        if len(keys) != len(values):
            raise FormatError(f"record {row}: has {len(values)} values and {len(keys)} keys, must have as many")
        limit = MAX_INDEX + 1 if width is None else width
        if int(keys.max()) >= limit:
            raise FormatError(f"record {row}: names feature {int(keys.max())}, must be below {limit}")
        order = np.argsort(keys, kind="stable")
        keys, values = keys[order], values[order]
        if (keys[1:] == keys[:-1]).any():
            twice = int(keys[1:][keys[1:] == keys[:-1]][0])
            raise FormatError(f"record {row}: gives feature {twice} a second value")
        return Row(values, keys.astype(np.int32), width, label)
    if width is not None and len(values) not in (0, width):
        raise FormatError(f"record {row}: has {len(values)} values, and its shape says {width}")
    return Row(values, None, width, label)


def _width(shape: list[int], row: int) -> int | None:
    """A row is a vector, or a matrix of one row."""
    if not shape:
        return None
    width = shape[-1]
    if len(shape) > 2 or (len(shape) == 2 and shape[0] != 1) or not 0 < width <= MAX_INDEX + 1:
        raise FormatError(f"record {row}: has the shape {shape[:4]}, must be one row of 1 to {MAX_INDEX + 1} features")
    return width


def _only(entries: list[tuple[bytes, _Tensor]], what: str, row: int) -> _Tensor:
    if not entries:
        raise FormatError(f"record {row}: has no {what} 'values'")
    for name, _ in entries:
        if name != NAME:
            shown = name[:40].decode("utf-8", errors="backslashreplace")
            raise FormatError(f"record {row}: has a {what} {shown!r}; put all numbers into the {what} 'values'")
    if len(entries) > 1:
        raise FormatError(f"record {row}: gives the {what} 'values' twice")
    return entries[0][1]


def _entry(data: bytes | memoryview, start: int, end: int, row: int) -> tuple[bytes, _Tensor]:
    name, tensors = b"", []
    for number, wire_type, first, last in fields(data, start, end):
        if number == KEY:
            _expect(wire_type == LENGTH)
            name = bytes(data[first:last])
        elif number == VALUE:
            _expect(wire_type == LENGTH)
            tensors += list(_tensors(data, first, last, row))
    if len(tensors) > 1:
        raise FormatError(f"record {row}: a value has {len(tensors)} tensors, must have one")
    return name, tensors[0] if tensors else _Tensor(np.empty(0, np.float32), _NO_KEYS, [])


def _tensors(data: bytes | memoryview, start: int, end: int, row: int) -> list[_Tensor]:
    tensors = []
    for number, wire_type, first, last in fields(data, start, end):
        if number == BYTES:
            raise FormatError(f"record {row}: holds bytes, must hold a tensor of numbers")
        if number in (FLOAT32, FLOAT64, INT32):
            _expect(wire_type == LENGTH)
            tensors.append(_tensor(data, first, last, number, row))
    return tensors


def _tensor(data: bytes | memoryview, start: int, end: int, kind: int, row: int) -> _Tensor:
    parts: dict[int, list[bytes]] = {VALUES: [], KEYS: [], SHAPE: []}
    scalar = {FLOAT32: FOUR_BYTES, FLOAT64: 1, INT32: VARINT}[kind]
    for number, wire_type, first, last in fields(data, start, end):
        if number in parts:
            # Packed or one by one, in any mixture: readers must take both, and the bytes of the numbers are the same.
            _expect(wire_type in (LENGTH, scalar if number == VALUES else VARINT))
            parts[number].append(bytes(data[first:last]))
    joined = {number: np.frombuffer(b"".join(pieces), np.uint8) for number, pieces in parts.items() if pieces}
    values = numbers(joined.get(VALUES, _NOTHING), kind)
    if np.isinf(values).any():
        raise FormatError(f"record {row}: value {int(np.argmax(np.isinf(values))) + 1} is not finite in 32 bits")
    shape = varints(joined[SHAPE]).tolist() if SHAPE in joined else []
    return _Tensor(values, varints(joined[KEYS]) if KEYS in joined else _NO_KEYS, shape)


def numbers(content: NDArray[np.uint8], kind: int) -> NDArray[np.float32]:
    """The values of a tensor of this kind.

    Raises:
        WireError: they are cut.
    """
    if kind == INT32:
        return (varints(content) & np.uint64(0xFFFF_FFFF)).astype(np.uint32).view(np.int32).astype(np.float32)
    size = 4 if kind == FLOAT32 else 8
    if len(content) % size:
        raise WireError("a number is cut")
    if kind == FLOAT32:
        return content.view("<f4").astype(np.float32, copy=False)
    with np.errstate(over="ignore"):
        return content.view("<f8").astype(np.float32)


def _expect(condition: bool) -> None:
    if not condition:
        raise WireError("a field is of another type")
