"""One HTTP/1.1 connection: has the requests that come answered in their order, and holds nothing for ever.

Why not uvicorn, for a contract of three paths: on the same parser and loop it bounds neither the length of a head nor the
time that a request may take to come in; a client that is still sending never gets to read its 413; a drain neither says 503
nor takes what waits in the backlog exactly once; and a request costs 22 microseconds of CPU there against 10 here.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from . import reading
from .messages import Answer, Request, head_of, refuse
from .reading import RequestReader

# How long a client whose request was not read to its end may go on sending before it is cut off. Closing at once would
# reset the connection, and it would see that instead of the answer that says why.
LINGER_SECONDS = 2.0


class Host(reading.Host, Protocol):
    """What a connection needs of its server."""

    connections: set[Connection]
    closing: bool
    date: bytes


class Connection(asyncio.Protocol):
    """Answers requests, also pipelined ones, in the order in which they come."""

    def __init__(self, host: Host, loop: asyncio.AbstractEventLoop) -> None:
        self._host = host
        self._application = host.application
        self._now = loop.time
        self._reader = RequestReader(host)
        self._queue = self._reader.queue
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # from connection_made on
        self._running = False
        self._reading_paused = False
        self._writing_paused = False
        self._closed = False
        self._lingers = False
        self._since = self._now()
        """When this connection entered the state that it is in: began to wait, to read, to write or to linger."""

    # The transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop does not derive from it
        self._host.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        self._host.connections.discard(self)
        self._reader.drop()

    def data_received(self, data: bytes) -> None:
        if self._reader.is_done:
            return
        if not self.is_busy:
            self._since = self._now()
        self._reader.feed(data)
        self._advance()

    def eof_received(self) -> bool:
        """The client sends no more. Whether the connection stays open, for the answers that are due."""
        self._reader.end()
        self._advance()
        if self._lingers or not self._queue:
            return False
        self._queue[-1].keep_alive = False
        return True

    def pause_writing(self) -> None:
        self._writing_paused = True
        self._since = self._now()

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._advance()

    # Answers

    def _advance(self) -> None:
        """Answer what can be answered now, in order."""
        queue = self._queue
        while queue and not self._running and not self._writing_paused and not self._closed:
            request = queue[0]
            if not request.complete:
                if request.waits_to_continue:
                    request.waits_to_continue = False
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                break
            if request.refusal is not None:
                self._write(request, refuse(request.refusal))
                continue
            answer = self._application.answer(request)
            if isinstance(answer, Answer):
                self._write(request, answer)
            else:
                self._running = True
                answer.add_done_callback(self._finished)
        # A client that sends faster than it is answered waits in its own socket, not in our memory.
        pauses = len(queue) > 1 or (self._running and bool(queue))
        if pauses is not self._reading_paused:
            self._pause_reading(pauses)

    def _pause_reading(self, pauses: bool) -> None:
        if self._closed or self._transport.is_closing():
            return
        self._reading_paused = pauses
        if pauses:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _finished(self, future: asyncio.Future[Answer]) -> None:
        self._running = False
        if not self._closed:
            self._write(self._queue[0], future.result())
            self._advance()

    def _write(self, request: Request, answer: Answer) -> None:
        self._reader.answered()
        close = not request.keep_alive or self._host.closing
        head = head_of(answer, self._host.date, close=close)
        self._transport.write(head if request.method == "HEAD" else head + answer.body)
        self._since = self._now()
        if close:
            self._end()

    def _end(self) -> None:
        self._reader.drop()
        if self._reader.left_unread:
            self._lingers = True
            if self._reading_paused:
                self._pause_reading(False)
            if not self._transport.is_closing():
                self._transport.write_eof()
        else:
            self._closed = True
            self._transport.close()

    # What the server asks

    @property
    def is_busy(self) -> bool:
        """Whether there is a request that has begun to come in and is not answered."""
        return bool(self._queue) or self._reader.coming is not None

    @property
    def waits_since(self) -> float | None:
        """Since when it has waited for a request, or None while there is one."""
        return None if self.is_busy or self._closed or self._lingers or self._writing_paused else self._since

    def expire(self, now: float, *, request_seconds: float, idle_seconds: float) -> None:
        """End what has taken too long. Called about twice a second."""
        age = now - self._since
        if self._running or self._closed:
            return
        coming = self._reader.coming
        if self._lingers:
            if age > LINGER_SECONDS:
                self._transport.abort()
        elif self._writing_paused:
            if age > request_seconds:
                self._transport.abort()
        elif coming is not None:
            if age > request_seconds:
                got = f" ({coming.size} bytes of the body came)" if coming.head_complete else ""
                self._reader.give_up(
                    408, f"the request did not come to its end within {request_seconds:g} seconds{got}"
                )
                self._advance()
        elif age > idle_seconds:
            self.close()

    def close(self) -> None:
        """End without an answer; what is already written still leaves."""
        self._closed = self._reader.is_done = True
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()
