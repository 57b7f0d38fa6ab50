"""One connection between two hosts of a job, that carries whole messages of bytes.

Not XGBoost's own broadcast, which unpickles what comes over the network, and not before XGBoost's group is up.
"""

from __future__ import annotations

import contextlib
import enum
import socket
import struct
import threading
import time

_HEADER = struct.Struct("!cQ")  # the kind, and how many bytes follow


class Kind(bytes, enum.Enum):
    HELLO = b"H"  # a host says its name, and which job it belongs to
    WELCOME = b"W"  # the leader says that all hosts are there
    ALIVE = b"."
    VALUE = b"V"  # a host's part of what is gathered; back comes all of it
    FAILED = b"F"  # a host failed or was lost: which one, and why
    DONE = b"D"  # a host has done its part
    END = b"E"  # all have: closing the connection is no loss from here on


class Link:
    """Messages over one TCP socket. Sending is safe from several threads, receiving is for one of them.

    Attributes:
        heard: when the last bytes came, on the monotonic clock.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(None)
        self._socket = connection
        self._sending = threading.Lock()
        self.heard = time.monotonic()

    @property
    def own_address(self) -> str:
        """The address that this host has towards the other one."""
        return str(self._socket.getsockname()[0])

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        """Send a message, however long that takes: the other host may be busy.

        Raises:
            OSError: the connection is gone.
        """
        with self._sending:
            self._socket.sendall(_HEADER.pack(kind.value, len(payload)))
            if payload:
                self._socket.sendall(payload)

    def send_now(self, kind: Kind, payload: bytes = b"", *, wait: float = 0.0) -> bool:
        """Send a short message unless that would block: for threads that must not be held up by a host that hangs.

        Args:
            wait: seconds to wait for another message that is being sent.

        Returns:
            whether it was sent.
        """
        if not self._sending.acquire(timeout=wait):
            return False
        try:
            message = _HEADER.pack(kind.value, len(payload)) + payload
            sent = self._socket.send(message, socket.MSG_DONTWAIT)
            if sent < len(message):
                self.close()  # half a message would turn all that follows into nonsense
            return sent == len(message)
        except OSError:
            return False
        finally:
            self._sending.release()

    def receive(self, limit: int | None = None) -> tuple[Kind, bytes]:
        """The next message.

        Args:
            limit: refuse a longer message: for a stranger, who could make us allocate what he likes.

        Raises:
            OSError: the connection is gone, or what comes is no message of ours.
        """
        kind, size = _HEADER.unpack(self._read(_HEADER.size))
        if limit is not None and size > limit:
            raise ConnectionError(f"a message of {size} bytes where at most {limit} were expected")
        try:
            known = Kind(kind)
        except ValueError:
            raise ConnectionError(f"a message of unknown kind {kind!r}") from None
        return known, bytes(self._read(size))

    def _read(self, size: int) -> bytearray:
        content = bytearray(size)
        view, done = memoryview(content), 0
        while done < size:
            count = self._socket.recv_into(view[done:])
            if count == 0:
                raise ConnectionResetError("it closed the connection")
            done += count
            self.heard = time.monotonic()
        return content

    def patience(self, seconds: float | None) -> None:
        """How long `receive` may wait for bytes: bounded while hosts introduce themselves, not after."""
        self._socket.settimeout(seconds)

    def no_more(self) -> None:
        """Say that nothing follows. What was sent still arrives, unlike after a close with unread bytes."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
