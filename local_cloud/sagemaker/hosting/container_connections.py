"""Connections to containers on their loopback ports, one request at a time on each, kept for the next request for a moment.

Of one's own, since the pool of httpx (httpcore 1.0) may close an idle connection that it has just given to a request, which is
then lost, and looks through all connections for every request: 3 ms of CPU each with 128 at once, against 0.2 ms here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import h11

KEEP_ALIVE_S = 1.5
"""How long an idle connection to a server is kept: less than the 2 seconds after which gunicorn, the most impatient of the
usual servers, closes it, since a request on a connection that is being closed is lost."""
CONNECT_TIMEOUT_S = 2.0
_READ_BYTES = 65_536
_LARGEST_HEAD_BYTES = 102_400


class NoConnection(Exception):
    """Nobody listens on the port: nothing was sent."""


class Broken(Exception):
    """The container closed the connection before it had answered, or answered what is no HTTP; the message says which."""


@dataclass(frozen=True)
class Answer:
    """What a container answered.

    Attributes:
        status: the HTTP status.
        headers: in lower case; those that came several times are joined by commas.
        body: as it was sent: nothing is decompressed.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connections:
    """The idle connections of one event loop, by port."""

    def __init__(self) -> None:
        """None yet."""
        self._loop = asyncio.get_running_loop()
        self._idle: defaultdict[int, list[_Connection]] = defaultdict(list)

    @property
    def is_of_this_loop(self) -> bool:
        """Whether the running event loop is the one whose connections these are."""
        return self._loop is asyncio.get_running_loop()

    async def ask(self, port: int, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a request, and wait for the answer as long as it takes.

        Args:
            port: where the container listens.
            method: of HTTP.
            path: with the query, if there is one.
            headers: all but Host and Content-Length.
            body: of the request.

        Raises:
            NoConnection: nobody listens.
            Broken: there was no answer.
        """
        connection = self._take(port) or await _connect(port)
        try:
            answer = await connection.exchange(method, path, headers, body)
        except (OSError, h11.ProtocolError) as error:
            connection.close()
            raise Broken(str(error) or type(error).__name__) from error
        except BaseException:
            connection.close()
            raise
        if connection.is_reusable():
            self._keep(connection)
        else:
            connection.close()
        return answer

    def _take(self, port: int) -> _Connection | None:
        # The latest first: so the others grow old, and are closed.
        idle = self._idle.get(port, [])
        while idle:
            connection = idle.pop()
            connection.expiry.cancel()
            if connection.expiry.when() > self._loop.time() and not connection.reader.at_eof():
                return connection
            connection.close()
        return None

    def _keep(self, connection: _Connection) -> None:
        connection.expiry = self._loop.call_later(KEEP_ALIVE_S, self._expire, connection)
        self._idle[connection.port].append(connection)

    def _expire(self, connection: _Connection) -> None:
        idle = self._idle[connection.port]
        idle.remove(connection)
        if not idle:
            del self._idle[connection.port]
        connection.close()


async def _connect(port: int) -> _Connection:
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except (OSError, TimeoutError) as error:
        raise NoConnection from error
    return _Connection(port, reader, writer)


class _Connection:
    """One connection.

    Attributes:
        port: to which it leads.
        reader: what comes in.
        expiry: when it is closed, while it is idle.
    """

    expiry: asyncio.TimerHandle

    def __init__(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.port, self.reader, self._writer = port, reader, writer
        self._protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LARGEST_HEAD_BYTES)

    async def exchange(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        head = [("Host", f"127.0.0.1:{self.port}"), *headers.items()]
        if body or method not in ("GET", "DELETE"):
            head.append(("Content-Length", str(len(body))))
        request = h11.Request(
            method=method, target=path, headers=[(name, value.encode("latin-1")) for name, value in head]
        )
        for event in (request, h11.Data(data=body), h11.EndOfMessage()):
            self._writer.write(self._protocol.send(event) or b"")
        # Whoever refuses a request may answer, and close, before all of it is read.
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()
        return await self._answer()

    def is_reusable(self) -> bool:
        """Whether another request may follow; it is prepared for it then."""
        if not (self._protocol.our_state is self._protocol.their_state is h11.DONE):
            return False
        self._protocol.start_next_cycle()
        return True

    def close(self) -> None:
        self._writer.close()

    async def _answer(self) -> Answer:
        status, headers, chunks = 0, dict[str, str](), list[bytes]()
        while True:
            event = self._protocol.next_event()
            if event is h11.NEED_DATA:
                data = await self.reader.read(_READ_BYTES)
                if not data and not status:
                    raise h11.RemoteProtocolError("it sent no response")
                self._protocol.receive_data(data)
            elif isinstance(event, h11.Response):
                status, headers = event.status_code, _joined(event.headers)
            elif isinstance(event, h11.Data):
                chunks.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                return Answer(status, headers, b"".join(chunks))


def _joined(headers: h11.Headers) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        joined[key] = f"{joined[key]}, {text}" if key in joined else text
    return joined
