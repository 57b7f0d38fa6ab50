"""Ports of this machine's loopback address that are given to one user at a time."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

FIRST, LAST = 20_000, 32_000
"""Below the ports from which the systems take those of outgoing connections (Linux: from 32768, macOS: from 49152). Between
a port's choice and the moment a server listens on it lie seconds on a busy machine, in which any client could have got it."""

_lock = threading.Lock()
_taken: set[int] = set()


def take() -> int:
    """A port that nobody listens on, and that nobody else is given until it is released."""
    with _lock:
        while True:
            port = random.randint(FIRST, LAST)  # noqa: S311 - keeps two local clouds apart, guards nothing
            if port not in _taken and _is_free(port):
                _taken.add(port)
                return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a port that a server of ours has just left is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def release(port: int) -> None:
    """Give a port back; one that was not taken is let pass."""
    with _lock:
        _taken.discard(port)


@contextmanager
def loopback_port() -> Iterator[int]:
    """A port that is taken while the block runs."""
    port = take()
    try:
        yield port
    finally:
        release(port)
