"""Ports of this machine's loopback address that are given to one user at a time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_taken: set[int] = set()


def take() -> int:
    """A port that nobody listens on, and that nobody else is given until it is released."""
    with _lock:
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port: int = probe.getsockname()[1]
            if port not in _taken:
                _taken.add(port)
                return port


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
