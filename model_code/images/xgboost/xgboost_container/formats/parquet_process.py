"""Decodes Parquet in a process of its own.

The decoder panics over some broken files at a place where a panic cannot be caught: the process aborts, whatever
Python does. A server must survive each request, and a training job must say why it failed; so the process that aborts is
one whose only work was this file. It costs a tenth of a second for the first file, a copy through a pipe
for each, and it decodes while the caller works on the block before.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import FormatError
from .parquet_worker import LENGTH_BYTES

# A block takes milliseconds. The longest wait is for a file that comes from S3 as it is read (FastFile mode).
_PATIENCE_IN_SECONDS = 300.0
_PIPE_BYTES = 1 << 20  # what an unprivileged process may ask for; 64 KB cost a switch of processes each
_PACKAGE_ROOT = Path(__file__).resolve().parents[2]


def decode(
    source: Path | bytes, *, first_row: int = 1, max_cells: int | None = None, names_only: bool = False
) -> tuple[tuple[str, ...], Iterator[NDArray[np.float32]]]:
    """The names of the columns, and the rows in blocks (rows, columns), to be iterated once.

    Raises:
        FormatError: also while iterating: the file is broken, or holds what is not a number.
        OSError: the file cannot be read.
    """
    content = source if isinstance(source, bytes) else None
    request = {
        "path": None if content is not None else str(source),
        "size": len(content or b""),
        "first_row": first_row,
        "max_cells": max_cells,
        "names_only": names_only,
    }
    worker = _idle.take()
    try:
        names = _names(worker, request, content or b"")
    except _Lost:
        if worker.is_new:
            raise
        # It had waited, and may have been ended before it saw this file: a new one tells.
        worker = _Worker()
        names = _names(worker, request, content or b"")
    blocks = _blocks(worker, len(names))
    if names_only:
        for _ in blocks:
            pass
    return names, blocks


def _names(worker: _Worker, request: dict[str, Any], content: bytes) -> tuple[str, ...]:
    try:
        worker.send(request, content)
        return tuple(worker.answer()["names"])
    except BaseException as error:
        _idle.give_back(worker, sound=isinstance(error, (FormatError, OSError)))
        raise


def _blocks(worker: _Worker, width: int) -> Iterator[NDArray[np.float32]]:
    sound = False
    try:
        while "rows" in (answer := worker.answer()):
            values = np.empty((answer["rows"], width), np.float32)
            worker.receive(values.data.cast("B"))
            yield values
        sound = True
    except (FormatError, OSError):
        sound = True  # it said what was wrong, and waits for the next file
        raise
    finally:
        _idle.give_back(worker, sound=sound)  # one that was left in the middle of a file is of no more use


class _Lost(FormatError):
    """The process was ended from outside, or by itself, while it had the file."""


class _Worker:
    def __init__(self) -> None:
        self.is_new = True
        path = os.pathsep.join(filter(None, (str(_PACKAGE_ROOT), os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            # -P: without it the working directory would be searched first, and this folder has a json.py.
            [sys.executable, "-P", "-m", "xgboost_container.formats.parquet_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # What it prints is a panic's words; what they mean for the file is said by the exception.
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": path, "RUST_BACKTRACE": "0"},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        with contextlib.suppress(OSError, AttributeError):
            fcntl.fcntl(self._answers, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def send(self, request: dict[str, Any], content: bytes) -> None:
        try:
            self._write(json.dumps(request).encode() + b"\n")
            self._write(content)
        except BrokenPipeError:
            raise self._lost() from None

    def answer(self) -> dict[str, Any]:
        """What it says next.

        Raises:
            FormatError, OSError: what it says of the file; the first also when it ended or does not answer.
        """
        length = bytearray(LENGTH_BYTES)
        self.receive(memoryview(length))
        text = bytearray(int.from_bytes(length, "little"))
        self.receive(memoryview(text))
        answer: dict[str, Any] = json.loads(text)
        if "error" in answer:
            raise FormatError(answer["error"])
        if "os_error" in answer:
            raise OSError(*answer["os_error"])
        return answer

    def receive(self, target: memoryview) -> None:
        """Fill the target with what it says next."""
        while target:
            if not select.select([self._answers], [], [], _PATIENCE_IN_SECONDS)[0]:
                self._process.kill()
                raise FormatError(f"the Parquet file could not be decoded in {_PATIENCE_IN_SECONDS:.0f} seconds")
            count = self._answers.readinto(target)  # type: ignore[attr-defined]
            if not count:
                raise self._lost()
            target = target[count:]

    def close(self) -> None:
        self._process.kill()
        for pipe in (self._requests, self._answers):
            with contextlib.suppress(OSError):
                pipe.close()
        self._process.wait()

    def _write(self, content: bytes) -> None:
        rest = memoryview(content)
        while rest:
            rest = rest[self._requests.write(rest) :]

    def _lost(self) -> Exception:
        """Why it does not answer any more: a signal ended it, or it could not even start."""
        code = self._process.wait()  # its end of the pipe is closed, so that it ends
        if code < 0:
            return _Lost("the Parquet file is broken: its decoder crashed over it, or ran out of memory")
        return RuntimeError(f"{' '.join(map(str, self._process.args))} ended with exit code {code}")  # type: ignore[arg-type]


class _Idle:
    """Workers that wait for a file, so that a thousand files do not take a thousand starts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers: list[_Worker] = []
        os.register_at_fork(after_in_child=self._forget)
        atexit.register(self._close)

    def take(self) -> _Worker:
        with self._lock:
            while self._workers:
                worker = self._workers.pop()
                if worker.alive:
                    return worker
                worker.close()
        return _Worker()

    def give_back(self, worker: _Worker, *, sound: bool) -> None:
        if sound and worker.alive:
            with self._lock:
                if len(self._workers) < _MOST_IDLE:
                    worker.is_new = False
                    self._workers.append(worker)
                    return
        worker.close()

    def _close(self) -> None:
        while self._workers:
            self._workers.pop().close()

    def _forget(self) -> None:
        # The pipes of a process belong to it; its child must start workers of its own.
        self._lock = threading.Lock()
        self._workers = []


_MOST_IDLE = 2
_idle = _Idle()
