"""What SageMaker's Pipe mode does to files: one after the other in a stream, and in RecordIO records when asked to."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from typing import IO

from ...contract import UserError
from ...formats.frames import MAGIC
from ...formats.lines import CHUNK_BYTES
from .streams import Readable

_HEADER = struct.Struct("<II")
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
# Parquet files up to this size are taken apart in memory, larger ones on disk.
_IN_MEMORY = 64 * 1024**2

_PARQUET_MAGIC = b"PAR1"
# The end of one Parquet file and the beginning of the next.
_SEAM = _PARQUET_MAGIC + _PARQUET_MAGIC
_COMPACT_I32_FIELD_1 = 0x15


class Unwrapped:
    """The files in a stream with `RecordWrapperType` RecordIO, as one text: each record is one S3 object.

    An object may be larger than memory, so that records are not held: their bytes pass through. A line end is added
    where an object lacks it, else its last line and the next object's first would become one.
    """

    def __init__(self, source: Readable) -> None:
        self.name = source.name
        self._records = _Records(source)
        self._ends_line = True

    def read(self, count: int = CHUNK_BYTES) -> bytes:
        parts = []
        while count > 0:
            if not self._records.left:
                if not self._records.advance():
                    break
                if self._records.is_new and not self._ends_line:
                    parts.append(b"\n")
                    count -= 1
                    self._ends_line = True
            part = self._records.read(count)
            if part:
                self._ends_line = part.endswith(b"\n")
                parts.append(part)
                count -= len(part)
        return b"".join(parts)


class _Records:
    """Where a wrapped stream stands: in a record of which `left` bytes are still to be read."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self.left = 0
        self.is_new = False
        self._padding = 0
        self._part = _WHOLE
        self._pending = b""

    def advance(self) -> bool:
        """Go to the next part of a record; False at the end of the stream.

        Raises:
            UserError: what follows is no record.
        """
        self._source.read(self._padding)
        header = self._source.read(_HEADER.size)
        if not header:
            if self._part in (_FIRST, _MIDDLE):
                raise self._cut()
            return False
        if len(header) < _HEADER.size:
            raise self._cut()
        magic, word = _HEADER.unpack(header)
        if magic != MAGIC:
            raise UserError(
                f"{self._source.name}: not wrapped in RecordIO: a record begins with {MAGIC:#x}, found {magic:#x}. "
                "Leave RecordWrapperType unset, or set it to None"
            )
        self._part, length = word >> 29, word & (1 << 29) - 1
        self.is_new = self._part in (_WHOLE, _FIRST)
        # A record is cut into parts where the magic number occurs in it, which the cut takes away.
        self._pending = b"" if self.is_new else struct.pack("<I", MAGIC)
        self.left = length + len(self._pending)
        self._padding = -length % 4
        return True

    def read(self, count: int) -> bytes:
        count = min(count, self.left)
        part, self._pending = self._pending[:count], self._pending[count:]
        part += self._source.read(count - len(part)) if len(part) < count else b""
        if len(part) < count:
            raise self._cut()
        self.left -= count
        return part

    def _cut(self) -> UserError:
        return UserError(f"{self._source.name}: the stream ends in the middle of a RecordIO record")


def wrapped_files(source: Readable) -> Iterator[IO[bytes]]:
    """Each object of a stream with `RecordWrapperType` RecordIO as a file of its own that can be sought in."""
    records = _Records(source)
    file: IO[bytes] | None = None
    while records.advance():
        if records.is_new:
            if file is not None:
                yield file
            file = _spool()
        while records.left:
            assert file is not None
            file.write(records.read(CHUNK_BYTES))
    if file is not None:
        yield file


def parquet_files(source: Readable) -> Iterator[IO[bytes]]:
    """Parquet files that follow each other in a stream, each as a file that can be sought in, which Parquet needs.

    A file says at its end, not at its beginning, how long it is. So the seam between two is looked for, and believed
    when the footer before it would begin where it says.
    """
    file, size, seen = _spool(), 0, 0
    while chunk := source.read(CHUNK_BYTES):
        file.write(chunk)
        size += len(chunk)
        while True:
            seam = _find_seam(file, max(0, seen), size)
            if seam is None:
                break
            rest = _spool()
            file.seek(seam)
            while piece := file.read(CHUNK_BYTES):
                rest.write(piece)
            file.truncate(seam)
            yield file
            file, size, seen = rest, size - seam, 0
        seen = size - len(_SEAM) + 1
        file.seek(size)
    if size:
        yield file


def _find_seam(file: IO[bytes], start: int, size: int) -> int | None:
    """Where the first Parquet file ends and another begins."""
    while start < size:
        file.seek(start)
        content = file.read(CHUNK_BYTES + len(_SEAM))
        at = content.find(_SEAM)
        if at < 0:
            start += max(1, len(content) - len(_SEAM) + 1)
            continue
        end = start + at + len(_PARQUET_MAGIC)
        if _ends_with_footer(file, end):
            return end
        start += at + 1
    return None


def _ends_with_footer(file: IO[bytes], end: int) -> bool:
    file.seek(max(0, end - 8))
    length = int.from_bytes(file.read(4), "little")
    begin = end - 8 - length
    if begin < len(_PARQUET_MAGIC):
        return False
    file.seek(begin)
    return file.read(1) == bytes([_COMPACT_I32_FIELD_1])  # the footer's first field is the version, a number


def _spool() -> IO[bytes]:
    return tempfile.SpooledTemporaryFile(_IN_MEMORY)
