"""Real Jupyter servers for tests: on loopback, at a port of their own, with a home folder and runtime files of their own."""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
import socket
import ssl
import struct
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from sagestack.settings import PROJECT_ROOT

ENVIRONMENT = PROJECT_ROOT / ".venv-notebook" / "bin"
PROMPT = "ready> "
"""Of the shells in its terminals: who sees it knows that the shell waits, and shows nothing more."""

T = TypeVar("T")


def wait_for(what: str, find: Callable[[], T | None], seconds: float = 60) -> T:
    """Asks again and again until there is something."""
    until = time.monotonic() + seconds
    while not (found := find()):
        assert time.monotonic() < until, f"waited {seconds} s for {what}"
        time.sleep(0.02)
    return found


@dataclass
class JupyterServer:
    """A server that runs, and what a browser would do with it."""

    process: subprocess.Popen[bytes]
    info: dict[str, Any]
    home: Path

    @property
    def runtime(self) -> Path:
        """Where its runtime file is."""
        return self.home / ".local/share/jupyter/runtime"

    @property
    def url(self) -> str:
        return f"http{'s' if self.info['secure'] else ''}://127.0.0.1:{self.info['port']}{self.info['base_url']}"

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """What `/api/PATH` answers, from JSON; None where it answers nothing."""
        request = urllib.request.Request(
            f"{self.url}api/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {self.info['token']}"},
        )
        context = ssl._create_unverified_context() if self.info["secure"] else None
        with urllib.request.urlopen(request, timeout=60, context=context) as response:
            return json.loads(response.read() or b"null")

    def start_kernel(self, name: str = "python3") -> str:
        """Its id, when it is idle."""
        kernel: str = self.request("POST", "kernels", {"name": name})["id"]
        return kernel

    def state(self, kernel: str) -> str:
        state: str = self.request("GET", f"kernels/{kernel}")["execution_state"]
        return state

    def run(self, kernel: str, code: str, state: str = "idle") -> None:
        """Executes it, and returns when the kernel is in that state because of it, with the connection closed."""
        with self.open_kernel(kernel) as connection:
            message = connection.execute(code)
            while True:
                answer = connection.receive()
                if (
                    answer["parent_header"].get("msg_id") == message
                    and answer["content"].get("execution_state") == state
                ):
                    break
        since = datetime.fromisoformat(answer["header"]["date"])

        def is_known() -> bool:
            """Whether the server, which listens to the kernel by another connection, has heard of it, too."""
            now = self.request("GET", f"kernels/{kernel}")
            return bool(datetime.fromisoformat(now["last_activity"]) >= since and now["execution_state"] == state)

        wait_for(f"a kernel that is {state}", is_known)
        self.rest()

    def rest(self) -> None:
        """Returns when kernels and terminals have been the same for a while: nothing is under way."""
        before: list[Any] = []
        while before != (now := [self.request("GET", kind) for kind in ("kernels", "terminals")]):
            before = now
            time.sleep(0.2)

    @contextmanager
    def open_kernel(self, kernel: str) -> Iterator[WebSocket]:
        """The connection that an open notebook has, when the server counts it."""
        with WebSocket.to(self, f"kernels/{kernel}/channels") as connection:
            wait_for("a connection", lambda: self.request("GET", f"kernels/{kernel}")["connections"])
            yield connection
        wait_for("its end", lambda: not self.request("GET", f"kernels/{kernel}")["connections"])

    def open_terminal(self) -> str:
        """The name of a new one whose shell is at its prompt."""
        name: str = self.request("POST", "terminals")["name"]
        with WebSocket.to(self, f"terminals/websocket/{name}", "") as connection:
            connection.shown(lambda text: PROMPT in text)
        self.rest()
        return name

    def type(self, terminal: str, line: str, *, returns: bool = True) -> None:
        """Types a line into a terminal; returns when it is there, and the shell is at its prompt again, if it `returns`."""
        with WebSocket.to(self, f"terminals/websocket/{terminal}", "") as connection:
            connection.send(["stdin", line + "\r"])
            connection.shown(lambda text: line in text and (not returns or PROMPT in text.partition(line)[2]))
        self.rest()

    def close_all(self) -> None:
        """No kernel and no terminal is left."""
        for kind, key in (("kernels", "id"), ("terminals", "name")):
            for one in self.request("GET", kind):
                self.request("DELETE", f"{kind}/{one[key]}")

    def stop(self) -> None:
        """Ends it, also where it hangs."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class WebSocket:
    """As much of a client as one test needs (RFC 6455): text frames, no fragments."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._stream = connection.makefile("rb")

    @classmethod
    @contextmanager
    def to(cls, server: JupyterServer, path: str, api: str = "api/") -> Iterator[WebSocket]:
        with socket.create_connection(("127.0.0.1", server.info["port"]), timeout=60) as connection:
            key = base64.b64encode(secrets.token_bytes(16)).decode()
            connection.sendall(
                f"GET {server.info['base_url']}{api}{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
                f"Authorization: token {server.info['token']}\r\n\r\n".encode()
            )
            client = cls(connection)
            status = client._stream.readline()
            assert b" 101 " in status, status
            while client._stream.readline().strip():
                pass
            try:
                yield client
            finally:
                # A tab that is closed says so: 1001, it goes away.
                connection.sendall(b"\x88\x82\0\0\0\0" + struct.pack("!H", 1001))
                client._stream.close()

    def send(self, value: Any) -> None:
        data, mask = json.dumps(value).encode(), secrets.token_bytes(4)
        length = bytes([0x80 | len(data)]) if len(data) < 126 else struct.pack("!BH", 0x80 | 126, len(data))
        self._connection.sendall(b"\x81" + length + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(data)))

    def receive(self) -> Any:
        while True:
            first, length = self._stream.read(2)
            if length > 125:
                length = int.from_bytes(self._stream.read(2 if length == 126 else 8))
            data = self._stream.read(length)
            if first & 0xF == 1:
                return json.loads(data)

    def shown(self, is_enough: Callable[[str], bool]) -> None:
        """Waits for what a terminal shows; what it showed before comes first."""
        text = ""
        while not is_enough(text):
            kind, *words = self.receive()
            text += words[0] if kind == "stdout" else ""

    def execute(self, code: str, *, answers: bool = False) -> str:
        """Sends what a notebook sends when somebody runs a cell, who answers what it asks or not; returns the message's id."""
        header = {"msg_id": secrets.token_hex(8), "msg_type": "execute_request", "session": "test", "username": "test"}
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": answers}
        message = {"header": {**header, "version": "5.3"}, "parent_header": {}, "metadata": {}, "content": content}
        self.send({**message, "channel": "shell"})
        return header["msg_id"]


@contextmanager
def jupyter_server(
    home: Path,
    *options: str,
    root: Path | None = None,
    environment: Mapping[str, str] | None = None,
    program: str = "jupyter-server",
) -> Iterator[JupyterServer]:
    """Starts a server of `.venv-notebook` with `home` as its home folder, and ends it.

    It shows `root`, by default its home. `program` is `jupyter-lab` where the pages matter; they cost a second more.
    """
    executable = ENVIRONMENT / program
    assert executable.exists(), (
        f"{executable} is missing: run `make test-notebook`, which installs requirements-notebook.txt"
    )
    home.mkdir(parents=True, exist_ok=True)
    # Without an editor of lines, which would break a long one where the terminal ends.
    (home / ".bash_profile").write_text(f"PS1='{PROMPT}'\nset +o emacs\n")
    log = home / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                str(executable),
                "--ServerApp.ip=127.0.0.1",
                "--ServerApp.port=0",
                "--ServerApp.open_browser=False",
                "--ServerApp.allow_root=True",
                f"--ServerApp.root_dir={root or home}",
                *options,
            ],
            cwd=home,
            env={
                "HOME": str(home),
                "PATH": f"{ENVIRONMENT}{os.pathsep}/usr/local/bin{os.pathsep}/usr/bin{os.pathsep}/bin",
                "SHELL": "/bin/bash",
                "IPYTHONDIR": str(home / ".ipython"),
                **(environment or {}),
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    runtime = home / ".local/share/jupyter/runtime" / f"jpserver-{process.pid}.json"

    def info() -> dict[str, Any] | None:
        assert process.poll() is None, log.read_text()
        try:
            found: dict[str, Any] = json.loads(runtime.read_text())
        except (OSError, ValueError):
            return None
        return found

    server = JupyterServer(process, {}, home)
    try:
        server.info = wait_for("its runtime file", info)
        yield server
    finally:
        server.stop()
