"""Amazon's RecordIO: where one record ends and the next begins.

A record is a magic number, a word whose upper three bits say which part of a record this is and whose lower 29 bits are
its length, the content, and zeros up to a multiple of four bytes; all numbers are little-endian ("Common data formats
for training", "Use RecordIO format", in the Amazon SageMaker AI Developer Guide; the parts are MXNet's RecordIO, which
cuts a record where the magic number occurs in it).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

from .errors import FormatError

MAGIC = 0xCED7230A
_HEADER = struct.Struct("<II")
_LENGTH_BITS = 29
_LENGTH_MASK = (1 << _LENGTH_BITS) - 1
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)


@dataclass(frozen=True)
class Records:
    """The contents of records: record i is `data[starts[i]:ends[i]]`.

    Attributes:
        data: the framed content itself, or a new one where records were in parts.
        size: how many bytes of the framed content the records take.
    """

    data: bytes | memoryview
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    size: int

    def __len__(self) -> int:
        return len(self.starts)


def split(content: bytes | memoryview, *, first_row: int = 1, whole: bool = True) -> Records:
    """Find the records in framed content.

    Args:
        content: framed records.
        first_row: the number of the first record, for messages.
        whole: the content ends with a record. Otherwise what is left of it is a record that is still to come.

    Raises:
        FormatError: there is something else than a record, or the last record is cut.
    """
    alike = _of_one_length(content)
    if alike is not None:
        return alike
    pieces: list[tuple[int, int]] = []
    closed: list[int] = []  # how many pieces there are when each record ends
    position, size, total = 0, 0, len(content)
    while total - position >= _HEADER.size:
        magic, word = _HEADER.unpack_from(content, position)
        part, length = word >> _LENGTH_BITS, word & _LENGTH_MASK
        begun = len(pieces) > (closed[-1] if closed else 0)
        if magic != MAGIC or part not in ((_MIDDLE, _LAST) if begun else (_WHOLE, _FIRST)):
            raise FormatError(f"record {first_row + len(closed)}: {_problem(magic, part)}")
        start = position + _HEADER.size
        position = start + length + -length % 4
        if position > total:
            break
        pieces.append((start, start + length))
        if part in (_WHOLE, _LAST):
            closed.append(len(pieces))
            size = position
    if whole and size != total:
        raise FormatError(f"record {first_row + len(closed)}: is cut, only {total - size} bytes of it are here")
    return _records(content, pieces, closed, size)


def blocks(stream: IO[bytes], *, block_bytes: int = 1 << 24, first_row: int = 1) -> Iterator[Records]:
    """The records of a stream that cannot be sought in, such as a pipe, as many at a time as `block_bytes` hold.

    Memory is bounded by the larger of `block_bytes` and the longest record.

    Raises:
        FormatError: as `split`; the stream ends within a record.
    """
    pending = b""
    while True:
        more = _read(stream, block_bytes)
        content = pending + more
        records = split(content, first_row=first_row, whole=not more)
        pending = bytes(content[records.size :])
        first_row += len(records)
        if len(records):
            yield records
        if not more:
            return


def framed(contents: NDArray[np.uint8]) -> bytes:
    """Records of one length, a row of bytes each, in their frames."""
    count, length = contents.shape
    frames = np.zeros((count, _HEADER.size + length + -length % 4), np.uint8)
    frames[:, : _HEADER.size] = np.frombuffer(_HEADER.pack(MAGIC, length), np.uint8)
    frames[:, _HEADER.size : _HEADER.size + length] = contents
    return frames.tobytes()


def _of_one_length(content: bytes | memoryview) -> Records | None:
    """The records when each is as long as the first: rows of one width, by far the commonest, found all at once."""
    if len(content) < _HEADER.size:
        return None
    magic, length = _HEADER.unpack_from(content, 0)
    stride = _HEADER.size + length + -length % 4
    if magic != MAGIC or len(content) % stride:
        return None
    rows = np.frombuffer(content, np.uint8).reshape(-1, stride)
    if (rows[:, : _HEADER.size] != rows[0, : _HEADER.size]).any():
        return None
    starts = np.arange(_HEADER.size, len(content), stride, dtype=np.int64)
    return Records(content, starts, starts + length, len(content))


def _records(content: bytes | memoryview, pieces: list[tuple[int, int]], closed: list[int], size: int) -> Records:
    if not closed or closed[-1] == len(closed):  # no record is in parts
        bounds = np.array(pieces[: len(closed)], np.int64).reshape(-1, 2)
        return Records(content, bounds[:, 0], bounds[:, 1], size)
    # A writer that cut a record where the magic number was has left the number out.
    between = _HEADER.pack(MAGIC, 0)[:4]
    whole = [
        between.join(bytes(content[start:end]) for start, end in pieces[first:last])
        for first, last in zip([0, *closed[:-1]], closed, strict=True)
    ]
    ends = np.cumsum([len(record) for record in whole], dtype=np.int64)
    return Records(b"".join(whole), np.concatenate([[0], ends[:-1]]), ends, size)


def _problem(magic: int, part: int) -> str:
    if magic != MAGIC:
        return f"begins with {magic:#010x}, RecordIO with {MAGIC:#010x}; check the content type"
    return f"is part {part} of a record where another part must be"


def _read(stream: IO[bytes], size: int) -> bytes:
    """So many bytes, or all that are left: a pipe gives what it has."""
    pieces, missing = [], size
    while missing and (piece := stream.read(missing)):
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)
