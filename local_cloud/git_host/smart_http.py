"""`git clone`, `fetch` and `push` over HTTP, by git's own program for it: https://git-scm.com/docs/git-http-backend"""

from __future__ import annotations

import subprocess
from email.message import Message
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from local_cloud.git_host.repository import clean_environment

MAX_BODY = 512 * 1024 * 1024
"""Bytes of one request; it is held in memory."""


class BadRequest(Exception):
    """What HTTP does not allow, or is more than is taken."""


def body_of(handler: BaseHTTPRequestHandler) -> bytes:
    """The body of a request; git sends a large push in chunks.

    Raises:
        BadRequest: its length is no number, or too much.
    """
    if "chunked" in handler.headers.get("Transfer-Encoding", "").lower():
        return _chunks(handler)
    text = handler.headers.get("Content-Length", "0")
    if not (text.isascii() and text.isdigit()):
        raise BadRequest(f"Content-Length {text!r} is not a number")
    return _read(handler, int(text))


def _chunks(handler: BaseHTTPRequestHandler) -> bytes:
    parts: list[bytes] = []
    total = 0
    while True:
        line = handler.rfile.readline(100).split(b";")[0].strip()
        try:
            size = int(line, 16)
        except ValueError:
            raise BadRequest(f"a chunk of {line!r} bytes") from None
        total += size
        if total > MAX_BODY:
            raise BadRequest(f"more than {MAX_BODY} bytes")
        parts.append(_read(handler, size))
        handler.rfile.readline(100)
        if not size:
            return b"".join(parts)


def _read(handler: BaseHTTPRequestHandler, size: int) -> bytes:
    if not 0 <= size <= MAX_BODY:
        raise BadRequest(f"more than {MAX_BODY} bytes")
    content = handler.rfile.read(size)
    if len(content) < size:
        raise BadRequest("the body ended early")
    return content


def answer_git(handler: BaseHTTPRequestHandler, repository: Path, path: str, query: str, content: bytes) -> None:
    """Let git answer a request of its own protocol. Whoever got here has the token: it may push, too.

    Args:
        handler: of the request.
        repository: the bare one.
        path: below it, like `/info/refs`.
        query: as it was asked.
        content: the body.
    """
    done = subprocess.run(
        ["git", "-c", "http.receivepack=true", "http-backend"],
        input=content,
        capture_output=True,
        env={
            **clean_environment(),
            **_variables(handler.headers, handler.command, path, query, len(content), repository),
        },
    )
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    fields = [line.split(": ", 1) for line in head.decode("latin-1").split("\r\n") if ": " in line]
    status = next((int(value.split()[0]) for name, value in fields if name == "Status"), 200 if fields else 500)
    handler.send_response(status)
    for name, value in fields:
        if name != "Status":
            handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def _variables(headers: Message, method: str, path: str, query: str, length: int, repository: Path) -> dict[str, str]:
    """What a web server tells a program: https://www.rfc-editor.org/rfc/rfc3875"""
    variables = {
        "GIT_PROJECT_ROOT": str(repository.parent),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": f"/{repository.name}{path}",
        "QUERY_STRING": query,
        "REQUEST_METHOD": method,
        "CONTENT_TYPE": headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(length),
        "REMOTE_USER": "sagestack",
        "REMOTE_ADDR": "127.0.0.1",
    }
    optional = {"HTTP_CONTENT_ENCODING": "Content-Encoding", "GIT_PROTOCOL": "Git-Protocol"}
    return variables | {name: headers[header] for name, header in optional.items() if header in headers}
