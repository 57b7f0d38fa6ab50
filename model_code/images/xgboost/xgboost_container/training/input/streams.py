"""Bytes of files and pipes in one forward pass: hashed as they come, unpacked when gzipped, read ahead of the parser."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from ...contract import UserError
from ...formats.lines import CHUNK_BYTES

GZIP_MAGIC = b"\x1f\x8b"
# Enough of a file to see what it is.
_BEGINNING_BYTES = 4096


class Digest(Protocol):
    """What of `hashlib`'s objects is used."""

    def update(self, data: memoryview, /) -> None: ...


class Readable(Protocol):
    """A named source of bytes, read forward only."""

    @property
    def name(self) -> str: ...

    def read(self, count: int = -1, /) -> bytes:
        """The next bytes, at most `count`; fewer are no sign of the end, none are."""
        ...


class _Hashed(io.RawIOBase):
    """A raw stream whose bytes pass through a digest: a pipe cannot be read a second time for its fingerprint."""

    def __init__(self, raw: io.FileIO, digest: Digest) -> None:
        self._raw, self._digest = raw, digest
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        count = self._raw.readinto(buffer)
        self._digest.update(memoryview(buffer)[:count])
        self.count += count
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class Stream:
    """A file or pipe that is read once, from its beginning to its end, without ever going back.

    `beginning` are its first bytes, to see what it is; they are read again by `read`.
    """

    def __init__(self, name: str, path: Path, digest: Digest) -> None:
        """Open it. A pipe waits until somebody opens its other end.

        Raises:
            UserError: as `read`.
        """
        self.name = name
        self._hashed = _Hashed(path.open("rb", buffering=0), digest)
        stored = io.BufferedReader(self._hashed, 1024**2)
        # By its first bytes, not by its name: a pipe has no name that would tell.
        head = io.BytesIO(stored.read(_BEGINNING_BYTES))
        self._content = cast(BinaryIO, _Chained(head, stored))
        if head.getvalue().startswith(GZIP_MAGIC):
            self._content = cast(BinaryIO, gzip.GzipFile(fileobj=self._content))
            self.beginning = b""
            head = io.BytesIO(self.read(_BEGINNING_BYTES))
            self._content = cast(BinaryIO, _Chained(head, self._content))
        self.beginning = head.getvalue()

    @property
    def byte_count(self) -> int:
        """What was read so far, as it is stored: packed, when it is gzipped."""
        return self._hashed.count

    def read(self, count: int = -1) -> bytes:
        """The next `count` bytes, fewer only at the end.

        Raises:
            UserError: it is gzipped, and cut off or damaged.
        """
        try:
            return self._content.read(count)
        except EOFError:
            raise UserError(
                f"{self.name}: the gzip data is cut off: it ends after {self.byte_count} bytes, in the middle. "
                "Upload the file again"
            ) from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise UserError(f"{self.name}: the gzip data is damaged ({error}). Upload the file again") from None

    def close(self) -> None:
        self._hashed.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Chained:
    """First what was read already, then the rest. `read` gives fewer bytes than asked for only at the end."""

    def __init__(self, head: io.BytesIO, rest: BinaryIO | io.BufferedReader | gzip.GzipFile) -> None:
        self._head, self._rest = head, rest

    def read(self, count: int = -1) -> bytes:
        head = self._head.read(count)
        if count < 0:
            return head + self._rest.read()
        return head + self._rest.read(count - len(head)) if len(head) < count else head


class _ReadAhead:
    """A stream of which a thread reads, hashes and unpacks the next chunk while the caller works on the last one."""

    def __init__(self, source: Readable, pool: ThreadPoolExecutor) -> None:
        self.name = source.name
        self._source, self._pool = source, pool
        self._chunk = b""
        self._next = pool.submit(source.read, CHUNK_BYTES)

    def read(self, count: int = CHUNK_BYTES) -> bytes:
        if not self._chunk:
            self._chunk = self._next.result()
            if self._chunk:
                self._next = self._pool.submit(self._source.read, CHUNK_BYTES)
        given, self._chunk = self._chunk[:count], self._chunk[count:]
        return given


@contextmanager
def read_ahead(source: Readable) -> Iterator[Readable]:
    """The same stream, read by a thread. Not for pipes: a writer who never writes would keep the process from ending."""
    with ThreadPoolExecutor(1, "read-ahead") as pool:
        yield _ReadAhead(source, pool)
