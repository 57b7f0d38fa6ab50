"""Ports of this machine's loopback address that are given to one user at a time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_taken: set[int] = set()


@contextmanager
def loopback_port() -> Iterator[int]:
    """A port that nobody listens on, and that nobody else is given while the block runs."""
    with _lock:
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port: int = probe.getsockname()[1]
            if port not in _taken:
                _taken.add(port)
                break
    try:
        yield port
    finally:
        with _lock:
            _taken.discard(port)
