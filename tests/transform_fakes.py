"""An engine whose containers are servers in this process that answer as a test says, and a transform job's host before them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from local_cloud.containers.engine import ContainerSpec, Image
from local_cloud.sagemaker.jobs.job_data import Location
from local_cloud.sagemaker.jobs.job_logs import JobLog
from local_cloud.sagemaker.jobs.transform_host import TransformHost
from local_cloud.sagemaker.jobs.transform_logs import DataLog
from local_cloud.sagemaker.jobs.transform_request import with_defaults
from local_cloud.sagemaker.jobs.transform_server import TransformServer
from local_cloud.sagemaker.jobs.transform_work import Work

Predict = Callable[[str], tuple[int, str]]


class QuietServer(ThreadingHTTPServer):
    """One that does not tell of clients that hang up."""

    def handle_error(self, *_: Any) -> None:
        pass


class FakeContainer:
    """A server in a thread."""

    pid = None

    def __init__(self, port: int, predict: Predict, engine: FakeEngine) -> None:
        self._ended = threading.Event()
        self._engine = engine
        self._code = 143

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(handler: Any) -> None:  # noqa: N805
                if handler.path == "/execution-parameters":
                    time.sleep(engine.parameters_after_s)
                known = {"/ping": "", "/execution-parameters": engine.parameters}
                status = 404 if known.get(handler.path) is None else 200
                self._answer(handler, status, str(known.get(handler.path)))

            def do_POST(handler: Any) -> None:  # noqa: N805
                engine.headers.append(dict(handler.headers))
                body = self._read(handler)
                with engine.lock:
                    engine.bodies.append(body)
                    engine.open += 1
                    engine.most_open = max(engine.most_open, engine.open)
                status, answer = predict(body)
                with engine.lock:
                    engine.open -= 1
                if status == 0:
                    self.end(7)
                else:
                    self._answer(handler, status, answer)

        self._server = QuietServer(("127.0.0.1", port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @staticmethod
    def _read(handler: Any) -> str:
        if "Content-Length" in handler.headers:
            return str(handler.rfile.read(int(handler.headers["Content-Length"])).decode("latin-1"))
        content = b""
        while size := int(handler.rfile.readline(), 16):
            content += handler.rfile.read(size)
            handler.rfile.readline()
        handler.rfile.readline()
        return str(content.decode("latin-1"))

    @staticmethod
    def _answer(handler: Any, status: int, text: str) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text.encode())

    def end(self, code: int) -> None:
        """End as a container does by itself."""
        self._code = code
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    def wait(self, timeout_s: float | None = None) -> int | None:
        if not self._ended.wait(timeout_s):
            return None
        time.sleep(self._engine.end_shows_after_s)
        return self._code

    def stop(self, grace_s: float) -> None:
        if not self._ended.is_set():
            self.end(143)


class FakeEngine:
    """An engine whose containers predict as a function says; status 0 is a container that ends.

    Attributes:
        parameters: what is answered to `/execution-parameters`; None for 404.
        bodies: of the requests, in the order in which they came.
        headers: of the requests.
        most_open: how many requests were open at once.
        parameters_after_s: how long that answer takes, in seconds.
        end_shows_after_s: how long after its end a container is known to have ended, in seconds.
    """

    kind = "process"

    def __init__(self, predict: Predict, parameters: str | None = None) -> None:
        self.parameters = parameters
        self.bodies: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.lock = threading.Lock()
        self.open = self.most_open = 0
        self.parameters_after_s = self.end_shows_after_s = 0.0
        self._predict = predict

    def prepare(self, uri: str, fetch: Any, on_line: Any) -> Image:
        raise NotImplementedError

    def start(self, spec: ContainerSpec) -> FakeContainer:
        assert spec.port is not None
        return FakeContainer(spec.port, self._predict, self)

    def close(self) -> None:
        raise NotImplementedError


class SilentStream:
    """A log stream that goes nowhere."""

    def write(self, line: str) -> None:
        pass

    def close(self, timeout_s: float = 0.0) -> None:
        pass


class Transforms:
    """Takes objects through a host whose container predicts as a function says.

    Attributes:
        engine: with what the container was asked.
        works: what came of each object.
    """

    def __init__(self, folder: Path, predict: Predict, parameters: str | None = None) -> None:
        self.engine = FakeEngine(predict, parameters)
        self.works: list[Work] = []
        self._folder = folder
        self._log = folder / "data.log"

    def run(self, *contents: bytes, check: Callable[[], None] = lambda: None, **request: Any) -> list[str | None]:
        """What is written for objects of these contents; None for one that failed."""
        source = {"ContentType": "text/csv", "SplitType": "Line", **request.pop("source", {})}
        target = {"Accept": "text/csv", "AssembleWith": "Line", **request.pop("target", {})}
        job = with_defaults({"TransformInput": source, "TransformOutput": target, **request})
        for number, content in enumerate(contents):
            (self._folder / f"{number}.in").write_bytes(content)
        self.works = [
            Work(Location("b", f"in/{n}"), f"{n}", self._folder / f"{n}.in", self._folder / f"{n}.out")
            for n in range(len(contents))
        ]
        spec = ContainerSpec("host", Image("image", "image"), self._folder)
        server = TransformServer(self.engine, "algo-1", spec)
        log = JobLog(SilentStream(), self._log)  # type: ignore[arg-type]
        try:
            TransformHost(job, server, DataLog(log), check).transform(self.works)
        finally:
            server.stop()
            server.join()
            log.close()
        return [work.target.read_text() if work.is_done else None for work in self.works]

    @property
    def log(self) -> list[str]:
        """The lines of the data log, without their times."""
        return [line.split(":[sagemaker logs]: ")[1] for line in self._log.read_text().splitlines()]
