"""What an instance tells the local cloud: answers, and what its processes print."""

from __future__ import annotations

import contextlib
import fcntl
import json
import struct
import sys
import termios
import threading
import time
from collections import deque
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
        self.last: deque[str] = deque(maxlen=LAST_LINES)
        self.start()

    def run(self) -> None:
        """Read to the end."""
        with self._source as source, self._keep or contextlib.nullcontext():
            while line := source.readline(LINE_BYTES):
                text = line.rstrip(b"\n").removesuffix(b"\r").decode("utf-8", "replace")
                self.last.append(text)
                if self._keep is not None:
                    # A full disk must not end what is being read.
                    with contextlib.suppress(OSError):
                        self._keep.write(text + "\n")
                        self._keep.flush()
                say(stream=self._stream, line=text)

    def catch_up(self, within_s: float = 5.0) -> None:
        """Wait until what was printed is passed on; the other end may stay open, held by a process in the background."""
        deadline = time.monotonic() + within_s
        while self.is_alive() and time.monotonic() < deadline:
            self.join(0.05)
            if not self._waiting():
                self.join(0.05)
                return

    def _waiting(self) -> int:
        """How many bytes nobody has read yet."""
        try:
            return int(struct.unpack("i", fcntl.ioctl(self._source, termios.FIONREAD, b"\0" * 4))[0])
        except (OSError, ValueError):
            return 0
