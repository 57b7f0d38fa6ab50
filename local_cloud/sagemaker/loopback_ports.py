"""Ports of this machine's loopback address that are given to one user at a time, whichever local cloud asks for one."""

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
_taken: dict[int, socket.socket] = {}
"""What holds each port: a UDP socket of the same number. Ports of UDP and of TCP are apart, so that it is in nobody's way,
and the system gives it to one process alone, until that one ends, however it ends. Without it two local clouds could choose
one port, and the health check of the one be answered by the server of the other."""


def take() -> int:
    """A port that nobody listens on, and that nobody else is given until it is released."""
    while True:
        port = random.randint(FIRST, LAST)  # noqa: S311 - keeps them apart, guards nothing
        if _hold(port):
            return port


def _hold(port: int) -> bool:
    """Take this port, if nobody has it and nobody listens on it; whether it is ours now."""
    with _lock:
        if port in _taken:
            return False
        holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            holder.bind(("127.0.0.1", port))
        except OSError:
            holder.close()
            return False
        if not _is_free(port):
            holder.close()
            return False
        _taken[port] = holder
        return True


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
        holder = _taken.pop(port, None)
    if holder is not None:
        holder.close()


@contextmanager
def loopback_port() -> Iterator[int]:
    """A port that is taken while the block runs."""
    port = take()
    try:
        yield port
    finally:
        release(port)
