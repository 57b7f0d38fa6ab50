"""What tests and benchmarks of the XGBoost server share: a model to serve, a real server process, raw HTTP."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xgboost_container import artifact

from tests.image_environment import python_path

import xgboost  # isort: skip

ROOT = Path(__file__).parents[1] / "model_code" / "images" / "xgboost"


def trained(*, features: int = 5, rounds: int = 10, depth: int = 4, seed: int = 0, rows: int = 500) -> xgboost.Booster:
    """A booster of `binary:logistic`, the same for the same arguments."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(rows, features)).astype(np.float32)
    labels = (values[:, 0] * values[:, 1] + values[:, 2] > seed / 10).astype(np.float32)
    parameters = {"objective": "binary:logistic", "max_depth": depth, "nthread": 1, "seed": seed}
    return xgboost.train(parameters, xgboost.DMatrix(values, labels), rounds)


def write_artifact(booster: xgboost.Booster, folder: Path) -> Path:
    """What training leaves in `folder`, and SageMaker puts there again for hosting."""
    folder.mkdir(parents=True, exist_ok=True)
    files = artifact.as_files(
        [booster],
        sample=[0.5] * booster.num_features(),
        hyperparameters={},
        data={},
        metrics={},
        rounds={"trained": booster.num_boosted_rounds(), "kept": booster.num_boosted_rounds()},
        summary=[],
    )
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def csv_of(rows: NDArray[Any] | Sequence[Sequence[float]]) -> bytes:
    return "\n".join(",".join(repr(float(value)) for value in row) for row in rows).encode()


def some_rows(count: int, features: int = 5, seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, features)).astype(np.float32)


@dataclass(frozen=True)
class Answer:
    """One HTTP answer. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)

    def scores(self) -> list[float]:
        return [float(text) for text in re.split(r"[,\n]", self.text.strip())]


class Client:
    """One connection, byte for byte: what `http.client` would not send can be sent too."""

    def __init__(self, port: int, *, timeout: float = 60.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._received = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, content: bytes) -> None:
        self.socket.sendall(content)

    def send_request(self, method: str, path: str, body: bytes = b"", **headers: str) -> None:
        self.send(request_bytes(method, path, body, **headers))

    def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        self.send_request(method, path, body, **headers)
        return self.answer(has_body=method != "HEAD")

    def answer(self, *, has_body: bool = True) -> Answer:
        """The next answer.

        Raises:
            EOFError: the connection ended before the answer was whole.
        """
        while b"\r\n\r\n" not in self._received:
            self._receive()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        status_line, *lines = head.decode().split("\r\n")
        assert status_line.startswith("HTTP/1.1 "), status_line
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0)) if has_body else 0
        while len(self._received) < length:
            self._receive()
        body, self._received = self._received[:length], self._received[length:]
        return Answer(int(status_line.split()[1]), headers, body)

    def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        with contextlib.suppress(EOFError):
            while True:
                self._receive()
        content, self._received = self._received, b""
        return content

    def is_closed(self) -> bool:
        return self.rest() == b""

    def _receive(self) -> None:
        content = self.socket.recv(65536)
        if not content:
            raise EOFError(f"the connection ended after {self._received[-200:]!r}")
        self._received += content


def request_bytes(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """A request; `content_type="text/csv"` becomes the header `content-type`."""
    if body:
        headers.setdefault("content_length", str(len(body)))
    lines = [f"{method} {path} HTTP/1.1", "host: test"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Server:
    """A running server process."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, started: float) -> None:
        self.process = process
        self._log = log
        self._started = started
        self.port = int(self.wait_for_log(r"Listening on \S+:(\d+)")[1])
        self.ready_in = self.ready_after_cpu = float("nan")

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for_log(self, pattern: str, seconds: float = 60.0) -> re.Match[str]:
        deadline = time.monotonic() + seconds
        while True:
            ended = self.process.poll() is not None  # asked first: the last line may come right before the end
            if found := re.search(pattern, self.log):
                return found
            assert not ended, f"the server ended with {self.process.returncode}: {self.log}"
            assert time.monotonic() < deadline, f"no {pattern!r} in the log after {seconds} seconds: {self.log}"
            time.sleep(0.002)

    def wait_until_ready(self, seconds: float = 60.0) -> Server:
        """Until `/ping` is 200. `ready_in` is the time from the start of the process, `ready_after_cpu` what it worked."""
        deadline = time.monotonic() + seconds
        while not self._is_ready():
            assert self.process.poll() is None, f"the server ended with {self.process.returncode}: {self.log}"
            assert time.monotonic() < deadline, f"not ready after {seconds} seconds: {self.log}"
            time.sleep(0.005)
        self.ready_in = time.monotonic() - self._started
        self.ready_after_cpu = self.cpu_seconds()
        return self

    def _is_ready(self) -> bool:
        try:
            return self.call("GET", "/ping").status == 200
        except (ConnectionError, EOFError):
            # Where workers take over, a connection that has not asked in time is closed, as idle ones are.
            return False

    def client(self, *, timeout: float = 60.0) -> Client:
        return Client(self.port, timeout=timeout)

    def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        with self.client() as client:
            return client.call(method, path, body, **headers)

    def invoke(self, body: bytes, content_type: str = "text/csv", **headers: str) -> Answer:
        return self.call("POST", "/invocations", body, content_type=content_type, **headers)

    def resident_bytes(self) -> int:
        """What the process takes of memory now, and its children."""
        return sum(_resident_bytes(pid) for pid in (self.process.pid, *self.children()))

    def children(self) -> list[int]:
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in listed.split()]

    def cpu_seconds(self) -> float:
        """CPU time of the process so far."""
        fields = self._stat()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def page_faults(self) -> int:
        """Pages that the process has asked the system for so far."""
        return int(self._stat()[7])

    def _stat(self) -> list[str]:
        """What proc(5) says about the process, from its state on."""
        return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = 60.0) -> int:
        return self.process.wait(seconds)


_PROGRAM = """
import sys
from xgboost_container.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@contextlib.contextmanager
def serving(
    base: Path,
    *,
    wait: bool = True,
    python: str = sys.executable,
    cwd: Path | None = None,
    first: str = "",
    **variables: str,
) -> Iterator[Server]:
    """The server of the image as a process: the model in `base`/model, environment variables as given.

    One worker unless the variables say otherwise. It is killed in the end if it still runs.

    Args:
        first: Python code that this process runs before the program, say to hold it at some point for the test.
    """
    program = ["-c", first + _PROGRAM] if first else ["-m", "xgboost_container"]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("SAGEMAKER_", "MAX_CONTENT"))
    }
    environment |= {
        "PYTHONPATH": python_path(ROOT),
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_BIND_TO_HOST": "127.0.0.1",
        "SAGEMAKER_BIND_TO_PORT": "0",
        **({} if variables.get("SAGEMAKER_MULTI_MODEL") else {"SAGEMAKER_MODEL_SERVER_WORKERS": "1"}),
        **variables,
    }
    with tempfile.TemporaryDirectory(prefix="server-") as folder:
        log = Path(folder, "log")
        started = time.monotonic()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [python, *program, "serve"], env=environment, cwd=cwd, stdout=output, stderr=output
            )
        try:
            server = Server(process, log, started)
            yield server.wait_until_ready() if wait else server
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def refused_start(base: Path, **variables: str) -> tuple[int, str]:
    """Exit code and log of a server that is expected not to start."""
    environment = {
        **os.environ,
        "PYTHONPATH": python_path(ROOT),
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_BIND_TO_PORT": "0",
    }
    environment |= {"SAGEMAKER_BIND_TO_HOST": "127.0.0.1", "SAGEMAKER_MODEL_SERVER_WORKERS": "1", **variables}
    done = subprocess.run(
        [sys.executable, "-m", "xgboost_container", "serve"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout


def is_running(pid: int) -> bool:
    """Whether there is such a process. One that has ended is none, also where nobody has asked for its exit code yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


@functools.cache
def small_model() -> xgboost.Booster:
    return trained()


def _resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0
