"""Answers `GET /ping` and `POST /invocations`, as SageMaker hosting asks it to.

Plain and correct rather than fast: a thread per connection from the standard library. Source of the rules:
"Custom Inference Code with Hosting Services" in the Amazon SageMaker AI Developer Guide.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from . import artifact, payload
from .artifact import Model
from .contract import FAILED, InputError, Paths, log
from .payload import RequestError

# What AWS's own XGBoost container takes by default; real-time endpoints of SageMaker once took no more.
DEFAULT_MAX_CONTENT_LENGTH = 6 * 1024**2
# SageMaker kills 30 seconds after SIGTERM.
DRAIN_SECONDS = 20.0
# A connection may idle this long. SageMaker gives up on an invocation after 60 seconds.
IDLE_SECONDS = 65.0

ROUTES = {"/ping": "GET", "/invocations": "POST"}


def serve(paths: Paths) -> int:
    """Serve the model in `/opt/ml/model` until SIGTERM or Ctrl-C, and return the exit code.

    It listens on SAGEMAKER_BIND_TO_HOST (default 0.0.0.0, for a container) and SAGEMAKER_BIND_TO_PORT
    (default 8080; 0 takes a free one, which the log names), and refuses bodies over MAX_CONTENT_LENGTH bytes
    (default 6 MiB).
    """
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    try:
        server = _start(paths.model)
    except (InputError, OSError) as error:
        log(f"Cannot serve: {error}")
        return FAILED
    host, port = server.server_address[:2]
    log(f"Listening on {host!s}:{port}")
    stop.wait()
    left = server.drain(DRAIN_SECONDS)
    log("Stopped" if not left else f"Stopped; {left} connections were still busy after {DRAIN_SECONDS:g} seconds")
    return FAILED if left else 0


def _start(model_folder: Path) -> ModelServer:
    host = os.environ.get("SAGEMAKER_BIND_TO_HOST") or "0.0.0.0"  # noqa: S104  hosting asks from outside the container
    port = _whole_number("SAGEMAKER_BIND_TO_PORT", default=8080, largest=65535)
    max_content_length = _whole_number("MAX_CONTENT_LENGTH", DEFAULT_MAX_CONTENT_LENGTH, largest=1024**3)
    # The model first: whoever can connect finds a server that can score.
    model = artifact.from_folder(model_folder)
    log(f"Loaded {model.info['rounds']['kept']} rounds, trained on {model.info['data']['train']['rows']} rows")
    try:
        server = ModelServer((host, port), model, max_content_length)
    except OSError as error:
        raise InputError(f"{host}:{port}: {error.strerror}; SAGEMAKER_BIND_TO_PORT names another port") from error
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


def _whole_number(name: str, default: int, largest: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isascii() or not text.isdigit() or int(text) > largest:
        raise InputError(f"the environment variable {name} must be a whole number from 0 to {largest}, got {text!r}")
    return int(text)


class ModelServer(ThreadingHTTPServer):
    """An HTTP server that knows which of its connections are busy, so that it can end without breaking one off."""

    # The default of 5 refuses connections in a small burst.
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], model: Model, max_content_length: int) -> None:
        self.model = model
        self.max_content_length = max_content_length
        self.draining = False
        self._backlog_is_empty = False
        self._busy: dict[socket.socket, bool] = {}
        self._changed = threading.Condition()
        super().__init__(address, Handler)

    def server_bind(self) -> None:
        # http.server's own asks DNS for this machine's name, which can take seconds and is never used here.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            self._busy[request] = False
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._changed:
            self._busy.pop(request, None)
            self._changed.notify_all()

    def set_busy(self, connection: socket.socket, busy: bool) -> None:
        with self._changed:
            self._busy[connection] = busy
            if self.draining and not busy:
                _stop_reading(connection)

    def handle_timeout(self) -> None:
        self._backlog_is_empty = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        log(f"A connection broke: {type(error).__name__}: {error}")

    def drain(self, seconds: float) -> int:
        """Accept nothing more, answer what has come in, and return how many connections were still busy in the end."""
        self.shutdown()
        # Clients whose connection the system has taken already count as come in. No more than can have waited then:
        # under a load that never pauses the backlog is never seen empty, and the drain would not end.
        self.timeout = 0
        for _ in range(self.request_queue_size):
            if self._backlog_is_empty:
                break
            self.handle_request()
        self.server_close()
        deadline = time.monotonic() + seconds
        with self._changed:
            self.draining = True
            for connection, busy in self._busy.items():
                if not busy:
                    _stop_reading(connection)
            while self._busy and (remaining := deadline - time.monotonic()) > 0:
                self._changed.wait(remaining)
            return len(self._busy)


def _stop_reading(connection: socket.socket) -> None:
    # What the system has received already can still be read, so a request that just came in is answered;
    # after it the thread reads the end of the connection instead of waiting for the next request.
    with contextlib.suppress(OSError):  # the client may be faster
        connection.shutdown(socket.SHUT_RD)


class Handler(BaseHTTPRequestHandler):
    """One connection: HTTP/1.1, kept alive, and one line of plain text for every refusal."""

    server: ModelServer
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    # Head and body of an answer leave in one packet. In two, they wait for each other (Nagle's algorithm and
    # delayed acknowledgement): 40 ms per request on a connection that is kept alive.
    wbufsize = -1
    disable_nagle_algorithm = True

    def version_string(self) -> str:
        return "sagestack-model"  # callers need not know which Python this is

    def ping(self) -> None:
        """200 when the model scores its sample row as it did after training, now."""
        try:
            self.server.model.check()
        except Exception as error:
            raise RequestError(503, f"the model does not score: {error}") from error
        if self.server.draining:
            raise RequestError(503, "the server is stopping")
        self._answer(200, b"", payload.JSON)

    def invocations(self) -> None:
        length = self._content_length()
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            raise RequestError(400, f"the body ends after {len(body)} bytes, Content-Length says {length}")
        if not body:
            self._answer(204, b"", None)
            return
        kind = payload.request_type(self.headers.get("Content-Type"))
        answer_kind = payload.response_type(",".join(self.headers.get_all("Accept", [])), preferred=kind)
        model = self.server.model
        if kind == payload.CSV and not body.strip():
            self._answer(204, b"", None)
            return
        rows = payload.rows_of(body, kind, model.feature_names)
        scores = model.predict(rows)
        self._answer(200, payload.body_of(scores.tolist(), answer_kind), answer_kind)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        try:
            if path not in ROUTES:
                raise RequestError(404, f"there is no {path[:100]!r} here, only {' and '.join(ROUTES)}")
            if self.command != ROUTES[path]:
                raise RequestError(405, f"{path} takes {ROUTES[path]}, not {self.command[:20]}")
            handle: Callable[[], None] = self.ping if path == "/ping" else self.invocations
            handle()
        except RequestError as refusal:
            self._refuse(refusal)
        except TimeoutError:
            self.close_connection = True
            self._refuse(RequestError(408, f"nothing came for {IDLE_SECONDS:g} seconds"))
        except ConnectionError:
            raise
        except Exception as error:
            # A fault of ours: the log has it, the caller learns no more than its kind.
            self.log_error("%s: %s", type(error).__name__, error)
            self._refuse(RequestError(500, f"the server failed ({type(error).__name__})"))

    do_POST = do_HEAD = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_GET  # noqa: N815

    def _content_length(self) -> int:
        if self.headers.get("Transfer-Encoding"):
            self.close_connection = True
            raise RequestError(411, "send the body with Content-Length, not in chunks")
        text = self.headers.get("Content-Length", "0")
        if not text.isascii() or not text.isdigit():
            self.close_connection = True
            raise RequestError(400, f"Content-Length is {text[:20]!r}, must be a whole number")
        # int() itself refuses thousands of digits; nothing of more than 20 can be a length.
        length = int(text) if len(text) <= 20 else 10**20
        if length > self.server.max_content_length:
            self.close_connection = True
            raise RequestError(
                413, f"the body has {text[:20]} bytes, at most {self.server.max_content_length} are taken"
            )
        return length

    def _refuse(self, refusal: RequestError) -> None:
        reason = " ".join(str(refusal).split())
        self.log_error("%s %s -> %s: %s", self.command, self.path.partition("?")[0][:100], refusal.status, reason)
        # Its body was never read, so the next request cannot be found on this connection.
        if refusal.status in (404, 405) and (self.headers.get("Content-Length") or "0") != "0":
            self.close_connection = True
        self._answer(refusal.status, f"{reason}\n".encode(), "text/plain; charset=utf-8")
        if self.close_connection:
            self._linger()

    def _answer(self, status: int, body: bytes, kind: str | None) -> None:
        self.send_response(status)
        if status == 405:
            self.send_header("Allow", ROUTES[self.path.partition("?")[0]])
        if kind is not None:
            self.send_header("Content-Type", kind)
        if status != 204:  # RFC 9110 wants none there
            self.send_header("Content-Length", str(len(body)))
        if self.server.draining or self.close_connection:
            self.close_connection = True
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def _linger(self) -> None:
        # Closing while the client still sends would reset the connection, and the client would see that
        # instead of our answer. So read what it sends for a little while.
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(1)
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline and self.connection.recv(65536):
                pass

    def parse_request(self) -> bool:
        # The first line of a request is here: from now on the connection is busy.
        self.server.set_busy(self.connection, True)
        return super().parse_request()

    def handle_one_request(self) -> None:
        super().handle_one_request()
        if self.server.draining:
            self.close_connection = True
        self.server.set_busy(self.connection, False)

    def handle_expect_100(self) -> bool:
        # An answer to Expect must leave at once; what is refused anyway is not asked for.
        if self.path.partition("?")[0] == "/invocations" and self.headers.get("Content-Length", "").isdigit():
            length = self.headers["Content-Length"]
            if len(length) > 20 or int(length) > self.server.max_content_length:
                return True
        accepted = super().handle_expect_100()
        self.wfile.flush()
        return accepted

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        # http.server calls this for what it cannot parse; its own answer is an HTML page.
        self.close_connection = True
        self.command = getattr(self, "command", None) or "?"
        self.path = getattr(self, "path", "?")
        reason = message or self.responses.get(code, ("refused", ""))[0]
        self.log_error("%s: %s", code, reason)
        self.send_response(code)
        body = f"{' '.join(reason.split())}\n".encode()
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        """Say nothing of what went well: at production rates such lines only cost. Refusals are logged."""

    def log_message(self, format: str, *args: Any) -> None:
        log((format % args).translate(_VISIBLE))


# Whatever a caller sends, a log line stays one line and harmless.
_VISIBLE = {code: f"\\x{code:02x}" for code in (*range(32), 127)}
