"""Versions of a model that answer with their number, some of them badly, and a steady stream of requests to tell them apart."""

from __future__ import annotations

import collections
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.hosted_images import DOCKERFILE, Hosting

SERVER = """
import itertools, json, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

model = json.loads((Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")) / "model/model.json").read_text())
asked = itertools.count(1)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.answer(503 if model.get("is_never_healthy") else 200, b"")

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(model.get("answers_after_s", 0))
        every = model.get("fails_one_in", 0)
        failed = every and next(asked) % every == 0
        self.answer(500 if failed else 200, b"no" if failed else model["name"].encode())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    request_queue_size = 128


host = os.environ.get("SAGEMAKER_BIND_TO_HOST", "0.0.0.0")
Server((host, int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))), Handler).serve_forever()
"""


class Versions:
    """An endpoint with one variant, AllTraffic, and the versions that it can be updated to."""

    def __init__(self, hosting: Hosting, endpoint: str, *, instances: int = 4, role: str = "") -> None:
        self.hosting, self.endpoint = hosting, endpoint
        self._instances = instances
        self._role = role or hosting.role
        self._image = hosting.build_context(f"{endpoint}-versions.zip", DOCKERFILE, SERVER)

    def config(self, version: str, **behaviour: Any) -> str:
        """An endpoint configuration that serves a version: `fails_one_in`, `answers_after_s`, `is_never_healthy`."""
        name = f"{self.endpoint}-{version}"
        sagemaker = self.hosting.sagemaker
        sagemaker.create_model(
            ModelName=name,
            PrimaryContainer={"Image": self._image, "ModelDataUrl": self.hosting.artefact(version, **behaviour)},
            ExecutionRoleArn=self._role,
        )
        sagemaker.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[
                {
                    "VariantName": "AllTraffic",
                    "ModelName": name,
                    "InstanceType": "ml.m5.large",
                    "InitialInstanceCount": self._instances,
                    # A version that is never healthy shall not take eight minutes to say so.
                    "ContainerStartupHealthCheckTimeoutInSeconds": 60,
                }
            ],
        )
        return name


@dataclass(frozen=True)
class Answer:
    """One request: when it was sent (seconds, monotonic), what answered or failed, and how long that took."""

    at: float
    text: str
    is_error: bool
    seconds: float


@dataclass
class Steady:
    """Requests at a steady rate, whatever the answers do, until it is left.

    Attributes:
        ask: one request; gives the version that answered.
        per_second: the rate.
        answers: what came back, in no order.
    """

    ask: Callable[[], str]
    per_second: float
    threads: int = 96
    answers: list[Answer] = field(default_factory=list)
    late: int = 0
    """Requests that were sent more than 50 ms after their time: the stream was not as steady as it says."""

    def __enter__(self) -> Steady:
        self._end = threading.Event()
        self._lock = threading.Lock()
        self._sent = 0
        self._started = time.monotonic()
        self._workers = [threading.Thread(target=self._run, daemon=True) for _ in range(self.threads)]
        for worker in self._workers:
            worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for worker in self._workers:
            worker.join()

    def between(self, start: float, end: float) -> collections.Counter[str]:
        """How many answers each version gave to what was sent in that time; "error" counts failures."""
        return collections.Counter(
            "error" if answer.is_error else answer.text for answer in self.answers if start <= answer.at < end
        )

    def _run(self) -> None:
        while True:
            with self._lock:
                due = self._started + self._sent / self.per_second
                self._sent += 1
            if self._end.wait(max(0.0, due - time.monotonic())):
                return
            at = time.monotonic()
            self.late += at - due > 0.05
            try:
                text, is_error = self.ask(), False
            except Exception as error:
                text, is_error = f"{type(error).__name__}: {error}", True
            self.answers.append(Answer(at, text, is_error, time.monotonic() - at))


def asker(hosting: Hosting, endpoint: str) -> Callable[[], str]:
    """One request by boto3."""
    return lambda: (
        hosting.runtime.invoke_endpoint(EndpointName=endpoint, Body=b"1,2,3", ContentType="text/csv")["Body"]
        .read()
        .decode()
    )


@dataclass(frozen=True)
class Stage:
    """What an endpoint said of itself from a time on."""

    at: float
    status: str
    pending: str
    variant_status: str


class Watch:
    """Asks an endpoint for its status all the time, and remembers when it changed."""

    def __init__(self, hosting: Hosting, endpoint: str) -> None:
        self.stages: list[Stage] = []
        self._hosting, self._endpoint = hosting, endpoint

    def until_settled(self, timeout_s: float) -> dict[str, Any]:
        """DescribeEndpoint when it is neither updating nor rolling back any more."""
        deadline = time.monotonic() + timeout_s
        while True:
            described: dict[str, Any] = self._hosting.sagemaker.describe_endpoint(EndpointName=self._endpoint)
            pending = described.get("PendingDeploymentSummary", {})
            variants = pending.get("ProductionVariants", [{}])
            status = (variants[0].get("VariantStatus") or [{}])[-1].get("Status", "")
            stage = Stage(time.monotonic(), described["EndpointStatus"], pending.get("EndpointConfigName", ""), status)
            if not self.stages or (stage.status, stage.variant_status) != (
                self.stages[-1].status,
                self.stages[-1].variant_status,
            ):
                self.stages.append(stage)
            if described["EndpointStatus"] not in ("Updating", "RollingBack"):
                return described
            assert time.monotonic() < deadline, json.dumps(described, default=str)
            time.sleep(0.02)
