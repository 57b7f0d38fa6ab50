"""What serves right now: the routers of endpoints, the fleets behind them, and the threads that change them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from local_cloud.platform import Caller
from local_cloud.sagemaker.hosting.fleet import Fleet
from local_cloud.sagemaker.hosting.router import Router
from local_cloud.sagemaker.names import key_of
from local_cloud.sagemaker.service import Sagemaker

logger = logging.getLogger(__name__)

SHUTDOWN_DRAIN_S = 2.0
SHUTDOWN_GRACE_S = 3.0
"""The local cloud's own end must not take longer than a person waits for it."""

Key = tuple[str, str, str]
"""Account, region and key of an endpoint."""


@dataclass
class Hosting:
    """What serves right now: a router for each endpoint, and the threads that change something."""

    service: Sagemaker
    routers: dict[Key, Router] = field(default_factory=dict)
    fleets: list[Fleet] = field(default_factory=list)
    """Every fleet that has servers, also those that only drain."""
    workers: list[threading.Thread] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    made: int = 0
    """Fleets made so far; numbers their folders."""

    @property
    def folder(self) -> Path:
        """Where the files of all servers are."""
        return self.service.state_dir / "endpoints"

    def router(self, key: Key) -> Router | None:
        """The router of an endpoint; there is one exactly while it serves."""
        return self.routers.get(key)

    def run(self, name: str, work: Callable[[], None]) -> None:
        """Do something in the background."""

        def logged() -> None:
            try:
                work()
            except Exception:
                logger.exception("%s failed", name)

        thread = threading.Thread(target=logged, name=name, daemon=True)
        with self.lock:
            self.workers = [worker for worker in self.workers if worker.is_alive()]
            self.workers.append(thread)
            thread.start()


def hosting_of(service: Sagemaker) -> Hosting:
    """The hosting of a service, made when it is first asked for."""
    hosting: Hosting = service.background.setdefault("endpoints", Hosting(service))
    return hosting


def key_for(caller: Caller, name: str) -> Key:
    """The key of an endpoint of the caller's."""
    return caller.account, caller.region, key_of(name)


def shut_down(hosting: Hosting) -> None:
    """End every server within a few seconds; the store keeps what was under way."""
    hosting.stopping.set()
    with hosting.lock:
        fleets = list(hosting.fleets)
    threads = [
        threading.Thread(target=fleet.stop, args=(SHUTDOWN_DRAIN_S, SHUTDOWN_GRACE_S), daemon=True) for fleet in fleets
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + SHUTDOWN_DRAIN_S + SHUTDOWN_GRACE_S + 2
    for thread in [*threads, *hosting.workers]:
        thread.join(max(0.0, deadline - time.monotonic()))
    hosting.routers.clear()
