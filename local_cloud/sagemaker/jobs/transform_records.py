"""Cuts an object of a transform job into the payloads of its requests: whole, or as many records as fit."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

MIB = 1024 * 1024
TOO_MUCH = "Too much data for max payload size"
_RECORDIO_MAGIC = 0xCED7230A
_LENGTH_MASK = 0x1FFF_FFFF
"""The lower 29 bits of a RecordIO length; the upper three say whether it is a whole record or a part of one."""


class BadRecord(Exception):
    """An object cannot be cut into payloads; the message says why."""


class Record(NamedTuple):
    """One record: as it stands in the object, and without what surrounds it."""

    framed: bytes
    content: bytes


Payload = list[Record]
"""The records of one request."""


def payloads(file: BinaryIO, split: str, strategy: str, max_bytes: int | None) -> Iterator[Payload]:
    """The requests of an object, in its order.

    Args:
        file: the object's content, decompressed.
        split: SplitType of the request: `None`, `Line`, `RecordIO` or `TFRecord`.
        strategy: `SingleRecord`, or `MultiRecord` for as many in a request as fit.
        max_bytes: the limit of a payload; None for none.

    Raises:
        BadRecord: a record is larger than the limit, or the object is not in the format.
    """
    if split == "None":
        content = file.read() if max_bytes is None else file.read(max_bytes + 1)
        if max_bytes is not None and len(content) > max_bytes:
            raise BadRecord(TOO_MUCH)
        yield [Record(content, content)]
        return
    found: Payload = []
    size = 0
    for record in _SPLITS[split](file):
        length = len(record.framed if strategy == "MultiRecord" else record.content)
        if max_bytes is not None and length > max_bytes:
            raise BadRecord(TOO_MUCH)
        if found and (strategy == "SingleRecord" or (max_bytes is not None and size + length > max_bytes)):
            yield found
            found, size = [], 0
        found.append(record)
        size += length
    if found:
        yield found


def body_of(payload: Payload, strategy: str) -> bytes:
    """What a request carries: what surrounds a record is left out where it is alone (SplitType in the API reference)."""
    if strategy == "SingleRecord":
        return b"".join(record.content for record in payload)
    return b"".join(record.framed for record in payload)


def _lines(file: BinaryIO) -> Iterator[Record]:
    for line in file:
        yield Record(line, line.rstrip(b"\r\n"))


def _recordio(file: BinaryIO) -> Iterator[Record]:
    """Records of https://mxnet.apache.org/versions/1.9.1/api/faq/recordio: a magic number, a length, padding to four bytes."""
    framed, parts = b"", list[bytes]()
    while head := file.read(8):
        if len(head) < 8:
            raise BadRecord("The object is not RecordIO: it ends within a record")
        magic, word = struct.unpack("<II", head)
        if magic != _RECORDIO_MAGIC:
            raise BadRecord("The object is not RecordIO: a record does not begin with its magic number")
        length, part = word & _LENGTH_MASK, word >> 29
        padded = file.read(length + (-length % 4))
        if len(padded) < length:
            raise BadRecord("The object is not RecordIO: it ends within a record")
        framed += head + padded
        parts.append(padded[:length])
        # A content that holds the magic number itself is cut there, into a first, middle and a last part: 1, 2, 3.
        if part in (0, 3):
            yield Record(framed, struct.pack("<I", _RECORDIO_MAGIC).join(parts))
            framed, parts = b"", []
    if parts:
        raise BadRecord("The object is not RecordIO: the last part of a record is missing")


def _tfrecord(file: BinaryIO) -> Iterator[Record]:
    """Records of https://www.tensorflow.org/tutorials/load_data/tfrecord: a length, its checksum, the content, its checksum."""
    while head := file.read(12):
        if len(head) < 12:
            raise BadRecord("The object is not TFRecord: it ends within a record")
        (length,) = struct.unpack("<Q", head[:8])
        rest = file.read(length + 4)
        if len(rest) < length + 4:
            raise BadRecord("The object is not TFRecord: it ends within a record")
        yield Record(head + rest, rest[:length])


_SPLITS = {"Line": _lines, "RecordIO": _recordio, "TFRecord": _tfrecord}
