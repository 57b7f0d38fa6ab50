"""What an instance tells the local cloud: answers, and what its processes print."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import struct
import sys
import termios
import threading
from collections import deque
from collections.abc import Iterator
from typing import IO, Any

LINE_BYTES = 64 * 1024
"""Longer lines arrive in pieces: one event of CloudWatch Logs holds 256 KB."""
LAST_LINES = 15
"""How many of its last lines the reason of a failure shows."""

_one_at_a_time = threading.Lock()


def say(**message: Any) -> None:
    """Tell the local cloud; where nobody listens any more, the closed input ends everything soon."""
    with _one_at_a_time, contextlib.suppress(OSError, ValueError):
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


class Output(threading.Thread):
    """Passes on what a process prints, line by line, for as long as anybody holds the other end.

    Args:
        stream: what the lines are called.
        source: the process's output.
        keep: a file that gets the lines, too.
    """

    def __init__(self, stream: str, source: IO[bytes] | None, keep: IO[str] | None = None) -> None:
        super().__init__(name=f"output-{stream}", daemon=True)
        assert source is not None
        self._stream, self._source, self._keep = stream, source, keep
        self._changed = threading.Condition()
        self._taken = 0
        """How many bytes were read from the source; under the lock, so that no byte is neither there nor here."""
        self._passed_on = 0
        """How many of them nobody waits for any more: their lines are passed on, or have no end yet."""
        self._has_ended = False
        self.last: deque[str] = deque(maxlen=LAST_LINES)
        self.start()

    def run(self) -> None:
        """Read to the end."""
        with self._source, self._keep or contextlib.nullcontext():
            try:
                for line in self._lines():
                    self._pass_on(line)
            finally:
                # Before the source is closed, which `catch_up` would ask otherwise.
                with self._changed:
                    self._has_ended = True
                    self._changed.notify_all()

    def catch_up(self) -> None:
        """Wait until what is printed by now is passed on; the other end may stay open, held by a process in the background."""
        with self._changed:
            if self._has_ended:
                return
            # With nobody left to write, the end comes, and with it a last line that has no end of its own.
            is_over, printed = self._nobody_writes(), self._taken + self._waiting()
            self._changed.wait_for(lambda: self._has_ended or (not is_over and self._passed_on >= printed))

    def _lines(self) -> Iterator[bytes]:
        rest = b""
        while piece := self._read():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield from _pieces(line)
            if len(rest) >= LINE_BYTES:
                *pieces, rest = _pieces(rest)
                yield from pieces
            with self._changed:
                self._passed_on = self._taken
                self._changed.notify_all()
        if rest:
            yield rest

    def _read(self) -> bytes:
        """What there is, when there is something; nothing at the end."""
        descriptor = self._source.fileno()
        select.select([descriptor], [], [])
        with self._changed:
            piece = os.read(descriptor, LINE_BYTES)
            self._taken += len(piece)
        return piece

    def _pass_on(self, line: bytes) -> None:
        text = line.removesuffix(b"\r").decode("utf-8", "replace")
        self.last.append(text)
        if self._keep is not None:
            # A full disk must not end what is being read.
            with contextlib.suppress(OSError):
                self._keep.write(text + "\n")
                self._keep.flush()
        say(stream=self._stream, line=text)

    def _waiting(self) -> int:
        """How many bytes nobody has read yet."""
        return int(struct.unpack("i", fcntl.ioctl(self._source, termios.FIONREAD, b"\0" * 4))[0])

    def _nobody_writes(self) -> bool:
        """Whether all who held the other end have ended."""
        poll = select.poll()
        poll.register(self._source, 0)
        return any(event & select.POLLHUP for _, event in poll.poll(0))


def _pieces(line: bytes) -> list[bytes]:
    return [line[start : start + LINE_BYTES] for start in range(0, len(line), LINE_BYTES)] or [line]
