"""One HTTP/1.1 connection: finds the requests in it, has them answered in their order, and holds nothing for ever.

llhttp (the parser of Node.js, through httptools) reads; what is kept here is what a general server leaves open: bounds on
everything that a client can make grow, a time limit on a request that comes slowly or not at all, and an end that
breaks off no answer.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections import deque
from typing import Protocol, cast

import httptools

from .messages import Answer, Request, head_of, refuse
from .request_error import RequestError

# Node.js takes 16 KiB, nginx 32. SageMaker's own headers (custom attributes: 1,024 characters) stay far below.
MAX_HEAD_BYTES = 64 * 1024
# How long a client whose request was not read to its end may go on sending before it is cut off. Closing at once would
# reset the connection, and it would see that instead of the answer that says why.
LINGER_SECONDS = 2.0
FULL = "the requests that are coming in fill the memory that is set aside for them; send this one again"

_KEPT_HEADERS = frozenset((b"content-type", b"accept", b"content-length", b"transfer-encoding", b"expect"))


class Application(Protocol):
    """What a connection asks. Neither method may block."""

    def admit(self, request: Request) -> None:
        """Called when the head is there. Raises RequestError for what need not be read any further."""

    def answer(self, request: Request) -> Answer | asyncio.Future[Answer]:
        """Called when the body is there. Raises nothing, nor does the future: a fault is an answer too."""


class Host(Protocol):
    """What a connection needs of its server."""

    application: Application
    connections: set[Connection]
    max_content_length: int
    buffered: int
    max_buffered: int
    closing: bool
    date: bytes


class _Enough(Exception):
    """Stops the parser: the rest of what this client sends is not looked at."""


class Connection(asyncio.Protocol):
    """Reads requests, also pipelined ones, and writes their answers in the same order."""

    def __init__(self, host: Host, loop: asyncio.AbstractEventLoop) -> None:
        self._host = host
        self._application = host.application
        self._now = loop.time
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # from connection_made on
        self._queue: deque[Request] = deque()
        self._coming: Request | None = None
        self._running = False
        self._deaf = False
        self._reading_paused = False
        self._writing_paused = False
        self._head_bytes = 0
        self._closed = False
        self._unread = False
        self._lingers = False
        self._since = self._now()
        """When this connection entered the state that it is in: began to wait, to read, to write or to linger."""

    # The transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop does not derive from it
        self._host.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = self._deaf = True
        self._host.connections.discard(self)
        for request in self._queue:
            self._host.buffered -= request.size
        self._queue.clear()
        self._coming = None

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._coming is None or not self._coming.head_complete:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._deaf = True
        except httptools.HttpParserCallbackError as stopped:
            if not isinstance(stopped.__context__, _Enough):
                traceback.print_exception(stopped.__context__ or stopped)
                self._give_up(500, "the server failed while it read the request")
        except httptools.HttpParserError as error:
            self._give_up(400, f"this is not HTTP/1.1: {error}")
        else:
            if self._head_bytes > MAX_HEAD_BYTES:
                self._give_up(431, f"the request line and the headers are longer than {MAX_HEAD_BYTES} bytes")
        self._advance()

    def eof_received(self) -> bool:
        """The client sends no more, but may still read what it asked for."""
        if self._coming is not None and not self._deaf:
            request = self._coming
            if request.head_complete:
                what = f"the body ends after {request.size} bytes"
                if request.length is not None:
                    what += f", Content-Length says {request.length}"
            else:
                what = "the connection ends in the middle of the headers"
            self._give_up(400, what)
            self._advance()
        self._deaf = True
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

    # The parser's calls

    def on_message_begin(self) -> None:
        self._coming = Request()
        if not self._queue:
            self._since = self._now()

    def on_url(self, url: bytes) -> None:
        assert self._coming is not None
        self._coming.path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        request = self._coming
        assert request is not None
        name = name.lower()
        if name not in _KEPT_HEADERS or request.head_complete:  # after the body come trailers, which nobody reads
            return
        earlier = request.headers.get(name)
        request.headers[name] = value if earlier is None else earlier + b", " + value

    def on_headers_complete(self) -> None:
        request = self._coming
        assert request is not None
        self._head_bytes = 0
        request.head_complete = True
        self._queue.append(request)
        request.method = self._parser.get_method().decode("ascii")
        request.path, _, request.query = _origin_form(request.path).partition(b"?")
        version = self._parser.get_http_version()
        request.keep_alive = version == "1.1" and self._parser.should_keep_alive()
        headers = request.headers
        if b"content-length" in headers:
            digits = headers[b"content-length"]  # llhttp has made sure that it is a number
            request.length = int(digits) if len(digits) <= 20 else sys.maxsize
        request.chunked = b"transfer-encoding" in headers
        expects = version == "1.1" and headers.get(b"expect", b"").lower() == b"100-continue"
        upgrade = self._parser.should_upgrade()
        if upgrade:  # the parser stops there, so this is the last request that it reads
            request.keep_alive = False
            self._unread = True
        try:
            self._application.admit(request)
            if upgrade and (request.length or request.chunked):
                raise RequestError(400, "Upgrade is not supported: send the body as plain HTTP/1.1")
            if self._host.buffered >= self._host.max_buffered and (request.length or request.chunked):
                raise RequestError(503, FULL)
        except RequestError as refusal:
            request.refusal = refusal
        limit = self._host.max_content_length
        too_long = request.length is not None and request.length > limit
        if too_long and request.refusal is None:
            request.refusal = RequestError(413, f"the body has {request.length} bytes, at most {limit} are taken")
        if request.refusal is None:
            request.waits_to_continue = expects
        elif too_long or expects or request.chunked:
            # Not asked for, without an end in sight, or too much to read only to throw it away.
            self._refuse_now(request)

    def on_body(self, piece: bytes) -> None:
        request = self._coming
        assert request is not None
        if request.refusal is not None:
            return
        host = self._host
        request.size += len(piece)
        host.buffered += len(piece)
        request.pieces.append(piece)
        if request.size > host.max_content_length:
            limit = host.max_content_length
            request.refusal = RequestError(413, f"the body has more than {limit} bytes, at most {limit} are taken")
            self._refuse_now(request)
        if host.buffered > host.max_buffered:
            request.refusal = RequestError(503, FULL)
            self._refuse_now(request)

    def on_message_complete(self) -> None:
        request = self._coming
        assert request is not None
        pieces = request.pieces
        request.body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        request.complete = True
        self._coming = None
        if not request.keep_alive:
            self._deaf = True

    def _refuse_now(self, request: Request) -> None:
        request.pieces.clear()
        request.keep_alive = False
        request.complete = self._deaf = self._unread = True
        self._coming = None
        raise _Enough

    def _give_up(self, status: int, message: str) -> None:
        """What comes cannot be read on: say so after the answers that are still due, and end."""
        request = self._coming
        if request is None or not request.head_complete:
            request = Request()
            self._queue.append(request)
        request.pieces.clear()
        request.refusal = request.refusal or RequestError(status, message)
        request.keep_alive = False
        request.complete = self._deaf = self._unread = True
        self._coming = None

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
        self._queue.popleft()
        self._host.buffered -= request.size
        request.size = 0
        close = not request.keep_alive or self._host.closing
        head = head_of(answer, self._host.date, close=close)
        self._transport.write(head if request.method == "HEAD" else head + answer.body)
        self._since = self._now()
        if close:
            self._end()

    def _end(self) -> None:
        for request in self._queue:
            self._host.buffered -= request.size
        self._queue.clear()
        self._coming = None
        self._deaf = True
        if self._unread:
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
        return bool(self._queue) or self._coming is not None

    @property
    def waits_since(self) -> float | None:
        """Since when it has waited for a request, or None while there is one."""
        return None if self.is_busy or self._closed or self._lingers or self._writing_paused else self._since

    def expire(self, now: float, *, request_seconds: float, idle_seconds: float) -> None:
        """End what has taken too long. Called about twice a second."""
        age = now - self._since
        if self._running or self._closed:
            return
        if self._lingers:
            if age > LINGER_SECONDS:
                self._transport.abort()
        elif self._writing_paused:
            if age > request_seconds:
                self._transport.abort()
        elif self._coming is not None:
            if age > request_seconds:
                got = f" ({self._coming.size} bytes of the body came)" if self._coming.head_complete else ""
                self._give_up(408, f"the request did not come to its end within {request_seconds:g} seconds{got}")
                self._advance()
        elif age > idle_seconds:
            self.close()

    def close(self) -> None:
        """End without an answer; what is already written still leaves."""
        self._closed = self._deaf = True
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()


def _origin_form(target: bytes) -> bytes:
    """`/ping` of `/ping` and of `http://host/ping`, which servers must take as well (RFC 9112, section 3.2.2)."""
    if target.startswith(b"/") or b"://" not in target:
        return target
    _, _, after = target.partition(b"://")
    slash = after.find(b"/")
    return after[slash:] if slash >= 0 else b"/"
