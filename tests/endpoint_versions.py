"""A steady stream of requests to an endpoint, and the stages of its updates: what tells versions apart while they change."""

from __future__ import annotations

import collections
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.hosted_images import Hosting

MOST_AT_ONCE = 160
BEHIND_S = 0.5
"""A stream that is so late goes on from there: to catch up, it would press harder than it is meant to."""
LOOKS_EVERY_S = 0.02


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
    threads: int = MOST_AT_ONCE
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
                due = max(self._started + self._sent / self.per_second, time.monotonic() - BEHIND_S)
                self._started = due - self._sent / self.per_second
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


def asker(hosting: Hosting, endpoint: str, *, body: bytes) -> Callable[[], str]:
    """One request by boto3; any number of them at once, none of which waits for another's connection."""
    runtime = hosting.cloud.client("sagemaker-runtime", connections=MOST_AT_ONCE)
    return lambda: (
        runtime.invoke_endpoint(EndpointName=endpoint, Body=body, ContentType="text/csv")["Body"].read().decode()
    )


@dataclass(frozen=True)
class Stage:
    """What an endpoint said of itself from a time on.

    Attributes:
        at: seconds, monotonic.
        status: EndpointStatus.
        variant_status: of the update that goes on, as "Baking: why"; "" where none does.
    """

    at: float
    status: str
    variant_status: str


class Watch:
    """Asks an endpoint for its status all the time until it is left, and remembers when it changed.

    Attributes:
        stages: in their order.
    """

    def __init__(self, hosting: Hosting, endpoint: str) -> None:
        self.stages: list[Stage] = []
        self._hosting, self._endpoint = hosting, endpoint
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def bake(self) -> tuple[float, float] | None:
        """From when to when the first part of the traffic went to the new version; None if it never did."""
        for stage, after in itertools.pairwise(self.stages):
            if stage.variant_status.startswith("Baking"):
                return stage.at, after.at
        return None

    def first(self, status: str) -> float | None:
        """When the endpoint had a status for the first time."""
        return next((stage.at for stage in self.stages if stage.status == status), None)

    def _run(self) -> None:
        while not self._end.wait(LOOKS_EVERY_S):
            described: dict[str, Any] = self._hosting.sagemaker.describe_endpoint(EndpointName=self._endpoint)
            variants = described.get("PendingDeploymentSummary", {}).get("ProductionVariants") or [{}]
            status = (variants[0].get("VariantStatus") or [{}])[-1]
            told = f"{status['Status']}: {status.get('StatusMessage', '')}" if status else ""
            stage = Stage(time.monotonic(), described["EndpointStatus"], told)
            last = self.stages[-1] if self.stages else None
            if last is None or (stage.status, stage.variant_status) != (last.status, last.variant_status):
                self.stages.append(stage)
