"""Feeds the channels of input mode Pipe: a named pipe for each epoch, into which the objects of the channel are streamed.

Source: "How Amazon SageMaker AI Provides Training Information" in the developer guide: a container reads CHANNEL_0 to its
end or closes it early, then looks for CHANNEL_1, and so on.
"""

from __future__ import annotations

import contextlib
import gzip
import logging
import os
import select
import shutil
import struct
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from local_cloud.sagemaker.jobs.job_data import DataError, JobData, S3Object

logger = logging.getLogger(__name__)

CHUNK_BYTES = 1024 * 1024
POLL_S = 0.02
"""How long a container that has opened a pipe waits at most for its first byte."""
_CLOSED_S = 0.2
"""How soon a pipe that nobody reads notices that its job has ended."""

_MAGIC = 0xCED7230A
_LONGEST_RECORD = (1 << 29) - 1
"""RecordIO has 29 bits for the length of a record."""


class _ClosedByReader(Exception):
    """The container has closed the pipe before its end, which it may: the epoch is over."""


class _ClosedByUs(Exception):
    """The job has ended."""


class PipeFeeder:
    """Feeds one channel of one host, in a thread of its own, an epoch after the other for as long as somebody reads.

    Memory is bounded: a chunk of an object is held at a time, and objects that must be measured first lie on the disk.

    Args:
        data: S3 with the credentials of the job's role.
        objects: what is streamed in each epoch, in this order; none makes empty epochs.
        channel: of the request.
        folder: `/opt/ml/input/data` of the host.
        on_error: takes why the objects cannot be read; the feeder has ended then.
    """

    def __init__(
        self,
        data: JobData,
        objects: Sequence[S3Object],
        channel: Mapping[str, Any],
        folder: Path,
        on_error: Callable[[str], None],
    ) -> None:
        self._data, self._objects = data, objects
        self._name: str = channel["ChannelName"]
        self._is_gzip = channel["CompressionType"] == "Gzip"
        self._is_wrapped = channel["RecordWrapperType"] == "RecordIO"
        self._folder = folder
        self._on_error = on_error
        self._closing = threading.Event()
        self._make(0)
        self._thread = threading.Thread(target=self._run, name=f"pipe-{self._name}", daemon=True)

    def start(self) -> None:
        """Begin to wait for a reader."""
        self._thread.start()

    def close(self) -> None:
        """End, wherever it is; returns when it has ended."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        epoch = 0
        try:
            while True:
                self._feed(epoch)
                epoch += 1
        except _ClosedByUs:
            pass
        except DataError as error:
            self._on_error(f"ClientError: Failed to stream data of the channel {self._name}. {error}")
        except Exception as error:
            logger.exception("The channel %s cannot be streamed", self._name)
            self._on_error(
                f"InternalServerError: The local cloud failed to stream the channel {self._name} ({error!r})."
            )

    def _path(self, epoch: int) -> Path:
        return self._folder / f"{self._name}_{epoch}"

    def _make(self, epoch: int) -> None:
        # Under another name first: a container that looks for it must not find it before it may open it.
        path = self._folder / f".{self._name}_{epoch}"
        os.mkfifo(path)
        # Whatever the umask: the container's user is the image's.
        path.chmod(0o666)
        path.rename(self._path(epoch))

    def _feed(self, epoch: int) -> None:
        pipe = self._opened(self._path(epoch))
        try:
            with contextlib.suppress(_ClosedByReader):
                for item in self._objects:
                    for chunk in self._chunks(item):
                        self._write(pipe, chunk)
            # Before the end of this one can be seen: a container that looks for the next the moment after finds it.
            self._make(epoch + 1)
            self._path(epoch).unlink()
        finally:
            os.close(pipe)

    def _opened(self, path: Path) -> int:
        """The pipe, once a container has opened its other end."""
        while not self._closing.wait(POLL_S):
            try:
                # Without blocking: a thread that waits in open(2) for a reader who never comes could not be ended.
                return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                if not path.exists():
                    raise
        raise _ClosedByUs

    def _write(self, pipe: int, content: bytes) -> None:
        rest = memoryview(content)
        poll = select.poll()
        poll.register(pipe, select.POLLOUT)
        while rest:
            if self._closing.is_set():
                raise _ClosedByUs
            if not poll.poll(_CLOSED_S * 1000):
                continue
            try:
                rest = rest[os.write(pipe, rest) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise _ClosedByReader from None

    def _chunks(self, item: S3Object) -> Iterator[bytes]:
        with self._content(item) as (content, length):
            if not self._is_wrapped:
                yield from _read(content)
            elif length > _LONGEST_RECORD:
                raise DataError(f"{item.location} has {length} bytes, and a RecordIO record {_LONGEST_RECORD} at most")
            else:
                yield struct.pack("<II", _MAGIC, length)
                yield from _read(content)
                yield bytes(-length % 4)

    @contextlib.contextmanager
    def _content(self, item: S3Object) -> Iterator[tuple[BinaryIO, int]]:
        """What an object holds, unpacked where the channel says so, and how many bytes these are (only if records need it)."""
        body, length = self._data.read_object(item.location)
        with body:
            if not self._is_gzip:
                yield body, length
                return
            with gzip.GzipFile(fileobj=body) as unpacked:
                content = cast(BinaryIO, unpacked)
                try:
                    if not self._is_wrapped:
                        yield content, 0
                        return
                    with tempfile.TemporaryFile() as spooled:
                        shutil.copyfileobj(content, spooled, CHUNK_BYTES)
                        length = spooled.tell()
                        spooled.seek(0)
                        yield spooled, length
                except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                    raise DataError(f"{item.location} is not whole gzip data: {error}") from error


def _read(content: BinaryIO) -> Iterator[bytes]:
    while chunk := content.read(CHUNK_BYTES):
        yield chunk
