"""A port for a server that a test starts later: between the choice and the start nobody else may be given it."""

from __future__ import annotations

import socket


class HeldPort:
    """A port of the loopback address that is a test's own for as long as it keeps this object.

    A socket is bound to it and does not listen. So the system gives the port to nobody who asks for any or who connects, and
    a server that names it and says SO_REUSEADDR, as ours do, can listen there: once, and again after it was ended. See
    https://man7.org/linux/man-pages/man7/socket.7.html.

    Attributes:
        number: of the port.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]

    def release(self) -> None:
        """Give it back."""
        self._socket.close()
