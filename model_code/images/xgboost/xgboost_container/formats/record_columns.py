"""SageMaker's `Record` messages, thousands at a time.

The records of one writer are built alike, and differ in lengths and numbers. So the wire format is read for all of
them in step, a field after the other, with arrays for positions. What is rare (numbers that are not packed, a field
that comes twice) or wrong gets None for an answer, and the caller reads one record at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .dense import Dense
from .frames import Records
from .record import FEATURES, FLOAT32, FLOAT64, INT32, KEY, KEYS, LABEL, NAME, SHAPE, VALUE, VALUES, numbers
from .sparse import MAX_INDEX, Repeated, Sparse, in_order
from .wire import LENGTH, WireError, varints

Positions: TypeAlias = NDArray[np.int64]


class _Differ(Exception):
    """The records are built in another way, or are wrong: which, and where, is for the exact reader to say."""


@dataclass(frozen=True)
class _Span:
    """Where a field stands in each record; of no size where a record lacks it."""

    starts: Positions
    ends: Positions

    @property
    def sizes(self) -> Positions:
        return self.ends - self.starts


def read(records: Records) -> Dense | Sparse | None:
    """The rows of records that are built in the usual way, else None."""
    try:
        return _Reader(records.data).rows(_Span(records.starts, records.ends))
    except (_Differ, WireError, Repeated):
        return None


class _Reader:
    def __init__(self, data: bytes | memoryview) -> None:
        self._view = memoryview(data)
        self._bytes = np.frombuffer(data, np.uint8)

    def rows(self, records: _Span) -> Dense | Sparse:
        top = self._fields(records)
        kind, features = self._tensor(top.get(FEATURES))
        labels = self._labels(top[LABEL]) if LABEL in top else None
        width = self._width(features[SHAPE]) if SHAPE in features else None
        values = self._numbers(features[VALUES], kind)
        if np.isinf(values).any():
            raise _Differ
        if KEYS in features:
            return self._sparse(features, values, width, labels, kind)
        return self._dense(features, values, width, labels, kind)

    def _labels(self, entry: _Span) -> NDArray[np.float32]:
        kind, tensor = self._tensor(entry)
        labels = self._numbers(tensor[VALUES], kind)
        if KEYS in tensor or (self._value_counts(tensor[VALUES], kind) != 1).any() or np.isinf(labels).any():
            raise _Differ
        if SHAPE in tensor and self._width(tensor[SHAPE]) != 1:
            raise _Differ
        return labels

    def _width(self, shape: _Span) -> int:
        sizes = varints(self._joined(shape))
        if (self._counts(shape) != 1).any() or (sizes != sizes[0]).any() or not 0 < int(sizes[0]) <= MAX_INDEX + 1:
            raise _Differ
        return int(sizes[0])

    def _dense(
        self,
        features: dict[int, _Span],
        values: NDArray[np.float32],
        width: int | None,
        labels: NDArray[np.float32] | None,
        kind: int,
    ) -> Dense:
        counts = self._value_counts(features[VALUES], kind)
        columns = int(counts[0])
        if (counts != columns).any() or not columns or width not in (None, columns):
            raise _Differ
        return Dense(values.reshape(-1, columns), labels)

    def _sparse(
        self,
        features: dict[int, _Span],
        values: NDArray[np.float32],
        width: int | None,
        labels: NDArray[np.float32] | None,
        kind: int,
    ) -> Sparse:
        keys = varints(self._joined(features[KEYS]))
        counts = self._counts(features[KEYS])
        if (counts != self._value_counts(features[VALUES], kind)).any() or not len(keys):
            raise _Differ
        largest = int(keys.max())
        if largest >= (MAX_INDEX + 1 if width is None else width):
            raise _Differ
        indptr = np.concatenate([[0], np.cumsum(counts)])
        indices, values = in_order(indptr, keys.astype(np.int32), values)
        return Sparse(indptr, indices, values, largest + 1 if width is None else width, labels)

    def _tensor(self, entry: _Span | None) -> tuple[int, dict[int, _Span]]:
        """The one tensor of a map with the one entry `values`, and its kind."""
        parts = {} if entry is None else self._fields(entry)
        if set(parts) != {KEY, VALUE} or (parts[KEY].sizes != len(NAME)).any():
            raise _Differ
        name = self._bytes[parts[KEY].starts[:, None] + np.arange(len(NAME))]
        if (name != np.frombuffer(NAME, np.uint8)).any():
            raise _Differ
        tensors = self._fields(parts[VALUE])
        if len(tensors) != 1:
            raise _Differ
        ((kind, span),) = tensors.items()
        tensor = self._fields(span)
        if kind not in (FLOAT32, FLOAT64, INT32) or VALUES not in tensor:
            raise _Differ
        return kind, tensor

    def _fields(self, message: _Span) -> dict[int, _Span]:
        """The fields of a message. All must begin with their length, and none may come twice in a record."""
        found: dict[int, _Span] = {}
        position, ends = message.starts, message.ends
        while (active := position < ends).any():
            if active.all():
                tag, length, start = self._field(position, ends)
            else:
                tag, length, start = (np.zeros_like(position) for _ in range(3))
                tag[active], length[active], start[active] = self._field(position[active], ends[active])
            stop = np.where(active, start + length, position)
            if (stop > ends).any():
                raise _Differ
            for one in (tag[:1] if (tag == tag[0]).all() else np.unique(tag[active])).tolist():
                here = active & (tag == one)
                span = found.setdefault(one >> 3, _Span(np.zeros_like(position), np.zeros_like(position)))
                if one & 7 != LENGTH or one < 8 or (span.ends[here] != 0).any():
                    raise _Differ
                span.starts[here], span.ends[here] = start[here], stop[here]
            position = stop
        return found

    def _field(self, position: Positions, ends: Positions) -> tuple[Positions, Positions, Positions]:
        tag, position = self._varint(position, ends)
        length, start = self._varint(position, ends)
        return tag, length, start

    def _varint(self, position: Positions, end: Positions) -> tuple[Positions, Positions]:
        value = np.zeros(len(position), np.int64)
        more = np.ones(len(position), np.bool_)
        for place in range(4):  # lengths of a record are below 2**28, or it is not worth being quick
            if (position[more] >= end[more]).any():
                raise _Differ
            byte = np.where(more, self._bytes[np.minimum(position, len(self._bytes) - 1)], 0)
            value |= (byte & 0x7F).astype(np.int64) << 7 * place
            position = position + more
            more = byte >= 0x80
            if not more.any():
                return value, position
        raise _Differ

    def _joined(self, span: _Span) -> NDArray[np.uint8]:
        """The bytes of a field in all records, one after the other."""
        sizes, starts = span.sizes, span.starts
        steps = np.diff(starts)
        if (sizes == sizes[0]).all() and (len(steps) == 0 or (steps == steps[0]).all()):
            # Records of one length: the field is a window of a matrix.
            stride = int(steps[0]) if len(steps) else 0
            size = int(sizes[0])
            window = np.ndarray((len(starts), size), np.uint8, self._view, int(starts[0]), (stride, 1))
            return np.ascontiguousarray(window).reshape(-1)
        view = self._view
        pieces = [view[start:end] for start, end in zip(starts.tolist(), span.ends.tolist(), strict=True)]
        return np.frombuffer(b"".join(pieces), np.uint8)

    def _numbers(self, span: _Span, kind: int) -> NDArray[np.float32]:
        return numbers(self._joined(span), kind)

    def _value_counts(self, span: _Span, kind: int) -> Positions:
        if kind == INT32:
            return self._counts(span)
        size = 4 if kind == FLOAT32 else 8
        if (span.sizes % size).any():
            raise _Differ
        return span.sizes // size

    def _counts(self, span: _Span) -> Positions:
        """How many whole numbers a packed field holds in each record."""
        content = self._joined(span)
        last = np.concatenate([[0], np.cumsum(content < 0x80)])
        bounds = np.concatenate([[0], np.cumsum(span.sizes)])
        nonempty = span.sizes > 0
        if (content[bounds[1:][nonempty] - 1] >= 0x80).any():
            raise _Differ  # a number that goes on in the next record
        return np.asarray(last[bounds[1:]] - last[bounds[:-1]], np.int64)
