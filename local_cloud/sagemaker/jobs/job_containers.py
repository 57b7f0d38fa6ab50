"""The containers of one job, one for each of its hosts: started in order, and ended together."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from local_cloud.containers.engine import Container, ContainerEngine, ContainerSpec


@dataclass(frozen=True)
class Ended:
    """How a container ended: on which host, with which exit code, and when by `time.monotonic`."""

    host: str
    code: int
    at: float


class Containers:
    """The containers of one job.

    Args:
        engine: runs them.
        wake: set whenever one has ended.
    """

    def __init__(self, engine: ContainerEngine, wake: threading.Event) -> None:
        self._engine = engine
        self._wake = wake
        self._lock = threading.Lock()
        self._started: dict[str, Container] = {}
        self._ended: list[Ended] = []
        self._grace_s: float | None = None

    def start(self, specs: Mapping[str, ContainerSpec]) -> None:
        """Start one for each host, unless they are stopped meanwhile; those after the first have its network.

        Raises:
            ContainerError: one cannot start. Others may run then.
        """
        for host, spec in specs.items():
            with self._lock:
                first = next(iter(self._started.values()), None)
                if self._grace_s is not None:
                    return
            container = self._engine.start(replace(spec, beside=first))
            with self._lock:
                self._started[host] = container
                grace_s = self._grace_s
            threading.Thread(target=self._await, args=(host, container), name=f"end-{spec.name}", daemon=True).start()
            if grace_s is not None:
                # The stop came while this one started, and did not find it.
                container.stop(grace_s)

    def stop(self, grace_s: float) -> None:
        """SIGTERM for each that runs, and SIGKILL after so many seconds; returns at once."""
        with self._lock:
            self._grace_s = grace_s
            running = list(self._started.values())
        for container in running:
            # A thread each, because a container may take its two minutes.
            threading.Thread(target=container.stop, args=(grace_s,), name="stop-container", daemon=True).start()

    def join(self) -> None:
        """Wait until all that were started have ended."""
        for container in self._started.values():
            container.wait()

    @property
    def has_started(self) -> bool:
        """Whether one was started."""
        return bool(self._started)

    @property
    def are_running(self) -> bool:
        """Whether one has not ended."""
        with self._lock:
            return len(self._ended) < len(self._started)

    @property
    def outcome(self) -> Ended | None:
        """The first that failed; if none did, the first that ended; None while all run."""
        with self._lock:
            return next((ended for ended in self._ended if ended.code), self._ended[0] if self._ended else None)

    def _await(self, host: str, container: Container) -> None:
        code = container.wait()
        assert code is not None
        with self._lock:
            self._ended.append(Ended(host, code, time.monotonic()))
        self._wake.set()
