"""Amazon's RecordIO with SageMaker's `Record` in it: what `application/x-recordio-protobuf` is, in and out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from . import record, record_columns, wire
from .dense import Dense
from .errors import FormatError
from .frames import Records, blocks, framed, split
from .sparse import Sparse, in_order

_BLOCK_BYTES = 1 << 24
_FEW = 8  # for so many records it takes longer to read them in step than one by one


def parse(content: bytes | memoryview, *, first_row: int = 1) -> Dense | Sparse:
    """The rows of framed records: `Dense`, or `Sparse` when records name their columns by keys.

    Features and label are the tensors `values` of their maps, float32, float64 or int32, packed or not; numbers become
    float32. A sparse record's keys may come in any order. `uid`, `metadata` and `configuration` are not used.

    Raises:
        FormatError: `record 3: ...`: no record, cut, of another width than those before, dense among sparse ones,
            with a label where others have none, with named features, bytes, or a number that is not finite.
    """
    return rows_of(split(content, first_row=first_row), first_row=first_row)


def frames(stream: IO[bytes], *, block_bytes: int = _BLOCK_BYTES) -> Iterator[bytes]:
    """The contents of the records of a stream, one at a time.

    Raises:
        FormatError: the stream is no RecordIO, or ends within a record.
    """
    for records in blocks(stream, block_bytes=block_bytes):
        for start, end in zip(records.starts.tolist(), records.ends.tolist(), strict=True):
            yield bytes(records.data[start:end])


def row_blocks(stream: IO[bytes], *, block_bytes: int = _BLOCK_BYTES, first_row: int = 1) -> Iterator[Dense | Sparse]:
    """The rows of a stream, a block at a time, as `parse` gives them: for Pipe mode, in bounded memory.

    Blocks of one stream agree in nothing but what their rows say: the caller compares widths and labels.

    Raises:
        FormatError: as `parse`, and when the stream ends within a record.
    """
    for records in blocks(stream, block_bytes=block_bytes, first_row=first_row):
        yield rows_of(records, first_row=first_row)
        first_row += len(records)


def encode(scores: NDArray[Any] | Mapping[str, NDArray[Any]]) -> bytes:
    """Predictions as records: the answer to `Accept: application/x-recordio-protobuf`.

    Each row is a record without features whose label map holds a float32 tensor under `score`, or under each name of
    what was asked for in SAGEMAKER_INFERENCE_OUTPUT; as SageMaker's XGBoost container answers.

    Args:
        scores: (rows,) or (rows, values), or several of them by name, all with as many rows.
    """
    named = scores if isinstance(scores, Mapping) else {"score": scores}
    columns: list[NDArray[np.uint8]] = []
    for name, values in named.items():
        table = np.ascontiguousarray(values, dtype="<f4")
        numbers = table.reshape(len(table), int(np.prod(table.shape[1:]))).view(np.uint8)
        # The numbers stand at the end of all the messages that they are in, so that all else is the same for all rows.
        empty = bytes(numbers.shape[1])
        value = wire.field(record.FLOAT32, wire.field(record.VALUES, empty))
        entry = wire.field(record.LABEL, wire.field(record.KEY, name.encode()) + wire.field(record.VALUE, value))
        head = np.frombuffer(entry[: len(entry) - len(empty)], np.uint8)
        columns += [np.broadcast_to(head, (len(table), len(head))), numbers]
    return framed(np.concatenate(columns, axis=1)) if columns else b""


def rows_of(records: Records, *, first_row: int = 1) -> Dense | Sparse:
    """The rows of records that are split already.

    Raises:
        FormatError: as `parse`.
    """
    if not len(records):
        return Dense(np.empty((0, 0), np.float32))
    rows = record_columns.read(records) if len(records) > _FEW else None
    return rows if rows is not None else _one_by_one(records, first_row)


def _one_by_one(records: Records, first_row: int) -> Dense | Sparse:
    bounds = zip(records.starts.tolist(), records.ends.tolist(), strict=True)
    rows = [record.read(records.data, start, end, first_row + i) for i, (start, end) in enumerate(bounds)]
    labels = _labels(rows, first_row)
    if any(row.keys is not None for row in rows) or not any(len(row.values) for row in rows):
        return _sparse(rows, labels, first_row)
    width = len(rows[0].values)
    for number, row in enumerate(rows, first_row):
        if len(row.values) != width or not width:
            raise FormatError(f"record {number}: has {len(row.values)} values, the first has {width}")
    return Dense(np.stack([row.values for row in rows]), labels)


def _sparse(rows: list[record.Row], labels: NDArray[np.float32] | None, first_row: int) -> Sparse:
    for number, row in enumerate(rows, first_row):
        if row.keys is None and len(row.values):
            raise FormatError(f"record {number}: is dense, and others are sparse")
        if row.width != rows[0].width:
            raise FormatError(f"record {number}: has the width {row.width}, the first has {rows[0].width}")
    indptr = np.cumsum([0, *(len(row.values) for row in rows)], dtype=np.int64)
    keys = [np.empty(0, np.int32) if row.keys is None else row.keys for row in rows]
    indices, values = in_order(indptr, np.concatenate(keys), np.concatenate([row.values for row in rows]))
    width = rows[0].width
    if width is None:
        width = int(indices.max()) + 1 if len(indices) else 0
    return Sparse(indptr, indices, values, width, labels)


def _labels(rows: list[record.Row], first_row: int) -> NDArray[np.float32] | None:
    for number, row in enumerate(rows, first_row):
        if (row.label is None) != (rows[0].label is None):
            has, first = ("no", "has one") if row.label is None else ("a", "has none")
            raise FormatError(f"record {number}: has {has} label, and the first {first}")
    return None if rows[0].label is None else np.array([row.label for row in rows], np.float32)
