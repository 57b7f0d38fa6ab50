"""Finds the requests in what a connection receives, and bounds everything that a client can make grow meanwhile.

llhttp (the parser of Node.js, through httptools) reads; what a general server leaves open is closed here: the length of a
head, of a body, of what frames a body, and the memory of all bodies together.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections import deque
from typing import Protocol

import httptools

from .messages import Answer, Request
from .request_error import RequestError

# Node.js takes 16 KiB, nginx 32. SageMaker's own headers (custom attributes: 1,024 characters) stay far below.
MAX_HEAD_BYTES = 64 * 1024
# What the sizes of chunks, their extensions and the trailers may take for each byte of a body: 5 where a chunk holds
# one byte, which is the least that it can hold.
MAX_FRAMING_PER_BYTE = 8
FULL = "the requests that are coming in fill the memory that is set aside for them; send this one again"

_KEPT_HEADERS = frozenset((b"content-type", b"accept", b"content-length", b"transfer-encoding", b"expect"))


class Application(Protocol):
    """What a connection asks. Neither method may block."""

    def admit(self, request: Request) -> None:
        """Called when the head is there. Raises RequestError for what need not be read any further."""

    def answer(self, request: Request) -> Answer | asyncio.Future[Answer]:
        """Called when the body is there. Raises nothing, nor does the future: a fault is an answer too."""


class Host(Protocol):
    """Who decides which requests are welcome, and what is in memory of all connections."""

    application: Application
    max_content_length: int
    buffered: int
    max_buffered: int


class _Enough(Exception):
    """Stops the parser: the rest of what this client sends is not looked at."""


class RequestReader:
    """The requests of one connection.

    Attributes:
        queue: those to answer, in the order in which they came. One joins it when its head is there.
        coming: the one that is not whole yet.
        is_done: what comes from now on is not looked at.
        left_unread: the client may still be sending what nobody looks at.
    """

    def __init__(self, host: Host) -> None:
        self.queue: deque[Request] = deque()
        self.coming: Request | None = None
        self.is_done = False
        self.left_unread = False
        self._host = host
        self._parser = httptools.HttpRequestParser(self)
        self._framing_bytes = 0
        """What came of this head, or with this body without being part of it."""

    def feed(self, data: bytes) -> None:
        self._framing_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.is_done = True
        except httptools.HttpParserCallbackError as stopped:
            if not isinstance(stopped.__context__, _Enough):
                traceback.print_exception(stopped.__context__ or stopped)
                self.give_up(500, "the server failed while it read the request")
        except httptools.HttpParserError as error:
            self.give_up(400, f"this is not HTTP/1.1: {error}")
        else:
            if self._framing_bytes > MAX_HEAD_BYTES:
                self._bound_framing()

    def end(self) -> None:
        """The client sends no more, but may still read what it asked for."""
        request = self.coming
        if request is not None and not self.is_done:
            if request.head_complete:
                what = f"the body ends after {request.size} bytes"
                if request.length is not None:
                    what += f", Content-Length says {request.length}"
            else:
                what = "the connection ends in the middle of the headers"
            self.give_up(400, what)
        self.is_done = True

    def give_up(self, status: int, message: str) -> None:
        """What comes cannot be read on: say so after the answers that are still due, and end."""
        request = self.coming
        if request is None or not request.head_complete:
            request = Request()
            self.queue.append(request)
        request.refusal = request.refusal or RequestError(status, message)
        self._leave_unread(request)

    def answered(self) -> None:
        """The first of the queue has left it."""
        request = self.queue.popleft()
        self._host.buffered -= request.size
        request.size = 0

    def drop(self) -> None:
        """Forget what was not answered: nobody is there to answer to."""
        while self.queue:
            self.answered()
        self.coming = None
        self.is_done = True

    # The parser's calls

    def on_message_begin(self) -> None:
        self.coming = Request()

    def on_url(self, url: bytes) -> None:
        assert self.coming is not None
        self.coming.path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        request = self.coming
        assert request is not None
        name = name.lower()
        if name not in _KEPT_HEADERS or request.head_complete:  # after the body come trailers, which nobody reads
            return
        earlier = request.headers.get(name)
        request.headers[name] = value if earlier is None else earlier + b", " + value

    def on_headers_complete(self) -> None:
        request = self.coming
        assert request is not None
        self._framing_bytes = 0
        request.head_complete = True
        self.queue.append(request)
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
            self.left_unread = True
        try:
            self._host.application.admit(request)
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
            self._stop_at(request)

    def on_body(self, piece: bytes) -> None:
        request = self.coming
        assert request is not None
        self._framing_bytes -= len(piece)
        if request.refusal is not None:
            return
        host = self._host
        request.size += len(piece)
        host.buffered += len(piece)
        request.pieces.append(piece)
        if request.size > host.max_content_length:
            limit = host.max_content_length
            request.refusal = RequestError(413, f"the body has more than {limit} bytes, at most {limit} are taken")
            self._stop_at(request)
        if host.buffered > host.max_buffered:
            request.refusal = RequestError(503, FULL)
            self._stop_at(request)

    def on_message_complete(self) -> None:
        request = self.coming
        assert request is not None
        pieces = request.pieces
        request.body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        request.complete = True
        self.coming = None
        self._framing_bytes = 0
        if not request.keep_alive:
            self.is_done = True

    def _stop_at(self, request: Request) -> None:
        self._leave_unread(request)
        raise _Enough

    def _leave_unread(self, request: Request) -> None:
        request.pieces.clear()
        request.keep_alive = False
        request.complete = self.is_done = self.left_unread = True
        self.coming = None

    def _bound_framing(self) -> None:
        request = self.coming
        if request is None or not request.head_complete:
            self.give_up(431, f"the request line and the headers are longer than {MAX_HEAD_BYTES} bytes")
        elif self._framing_bytes > MAX_HEAD_BYTES + MAX_FRAMING_PER_BYTE * request.size:
            self.give_up(400, f"the chunks of {request.size} bytes came with {self._framing_bytes} bytes around them")


def _origin_form(target: bytes) -> bytes:
    """`/ping` of `/ping` and of `http://host/ping`, which servers must take as well (RFC 9112, section 3.2.2)."""
    if target.startswith(b"/") or b"://" not in target:
        return target
    _, _, after = target.partition(b"://")
    slash = after.find(b"/")
    return after[slash:] if slash >= 0 else b"/"
