"""What a request and an answer are to the rest of the server, and how an answer looks on the wire."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import NamedTuple

from .request_error import RequestError

PLAIN = "text/plain; charset=utf-8"
JSON = "application/json"


@dataclass(slots=True)
class Request:
    """One request, while it comes in and until it is answered.

    Attributes:
        method: as sent, `POST`.
        path: as sent, without the query and still percent-encoded.
        query: what follows the first `?`.
        headers: the few that anything here reads, names in lower case, repeated ones joined by commas.
        body: whole, once `complete`.
        refusal: why it is not served. Known early for what its first lines show to be wrong.
        keep_alive: whether the connection outlives the answer.
        length, chunked: what the head says about the body.
        waits_to_continue: the client wants to hear that the body is welcome before it sends it.
        pieces, size: what there is of the body so far.
    """

    method: str = ""
    path: bytes = b""
    query: bytes = b""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    refusal: RequestError | None = None
    keep_alive: bool = True
    head_complete: bool = False
    complete: bool = False
    length: int | None = None
    chunked: bool = False
    waits_to_continue: bool = False
    pieces: list[bytes] = field(default_factory=list)
    size: int = 0

    def header(self, name: bytes) -> str | None:
        value = self.headers.get(name)
        # Latin-1 takes every byte; what is no header value is refused by whoever reads it.
        return None if value is None else value.decode("latin-1")


class Answer(NamedTuple):
    """A whole answer. SageMaker's contract streams nothing."""

    status: int
    body: bytes = b""
    media_type: str | None = None
    allow: str | None = None


class MethodNotAllowed(RequestError):
    """405, which must say what would be allowed (RFC 9110, section 15.5.6)."""

    def __init__(self, path: str, method: str, allow: str) -> None:
        super().__init__(405, f"{path} takes {allow}, not {method}")
        self.allow = allow


def refuse(error: RequestError) -> Answer:
    """One line of plain text: what was wrong and where."""
    line = " ".join(str(error).split())
    return Answer(error.status, f"{line}\n".encode(errors="replace"), PLAIN, getattr(error, "allow", None))


def head_of(answer: Answer, date: bytes, *, close: bool) -> bytes:
    """Status line and headers. `date` is a whole header line, made once a second by the server."""
    key = (answer.status, answer.media_type)
    start = _STARTS.get(key)
    if start is None:
        start = f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n".encode()
        if answer.media_type is not None:
            start += f"Content-Type: {answer.media_type}\r\n".encode("latin-1")
        if len(_STARTS) < 1000:  # a media type's parameters could come from a request
            _STARTS[key] = start
    head = start + date
    if answer.status != 204:  # RFC 9110, section 8.6, wants none there
        head += b"Content-Length: %d\r\n" % len(answer.body)
    if answer.allow is not None:
        head += f"Allow: {answer.allow}\r\n".encode()
    return head + (b"Connection: close\r\n\r\n" if close else b"\r\n")


_STARTS: dict[tuple[int, str | None], bytes] = {}
