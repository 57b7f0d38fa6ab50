"""Asks a server over and over, from one process that does little else: raw sockets, prepared bytes."""

from __future__ import annotations

import re
import selectors
import socket
import time
from dataclasses import dataclass, field

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def request(body: bytes, content_type: str = "text/csv") -> bytes:
    head = (
        f"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}"
    )
    return head.encode() + b"\r\n\r\n" + body


@dataclass
class Outcome:
    """What came back: seconds per request that was answered 200, and every other answer."""

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class _Client:
    """One keep-alive connection that sends the next request when it has the answer to the last."""

    def __init__(self, port: int, message: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.message = message
        self.received = b""
        self.started = 0.0

    def ask(self) -> None:
        self.received = b""
        self.started = time.perf_counter()
        self.socket.sendall(self.message)

    def read(self, outcome: Outcome) -> bool:
        """Take what is there; True when an answer is complete."""
        part = self.socket.recv(1 << 20)
        if not part:
            outcome.errors.append("the connection was closed")
            return True
        self.received += part
        head, blank, body = self.received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not blank or length is None or len(body) < int(length[1]):
            return False
        if head.startswith(b"HTTP/1.1 200"):
            outcome.seconds.append(time.perf_counter() - self.started)
        else:
            outcome.errors.append(self.received.decode(errors="replace"))
        return True


def at_once(port: int, body: bytes, clients: int, seconds: float) -> Outcome:
    """`clients` connections, each of which asks again as soon as it is answered, for a time."""
    outcome = Outcome()
    end = time.perf_counter() + seconds
    with selectors.DefaultSelector() as selector:
        everyone = [_Client(port, request(body)) for _ in range(clients)]
        for client in everyone:
            selector.register(client.socket, selectors.EVENT_READ, client)
            client.ask()
        waiting = clients
        while waiting:
            for key, _ in selector.select(timeout=10):
                client = key.data
                if client.read(outcome):
                    if time.perf_counter() < end and not outcome.errors:
                        client.ask()
                    else:
                        waiting -= 1
                        selector.unregister(client.socket)
        for client in everyone:
            client.socket.close()
    return outcome
