"""The processes behind a serverless variant: started by the requests that need them, one request each, gone when idle."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from local_cloud.clock import Clock
from local_cloud.containers.engine import ContainerEngine
from local_cloud.sagemaker.hosting.fleet import Interrupted, Variant, stop_all
from local_cloud.sagemaker.hosting.instance import Instance
from local_cloud.sagemaker.hosting.server import STOP_GRACE_S, NotHealthy, ServerSpec
from local_cloud.sagemaker.log_stream import LogStream
from local_cloud.sagemaker.serverless.serverless_metrics import Concurrency
from local_cloud.sagemaker.store import Document

logger = logging.getLogger(__name__)

HEALTH_CHECK_TIMEOUT_S = 180.0
"""A serverless container must answer `/ping` within 3 minutes (developer guide, "Invoke a serverless endpoint")."""
IDLE_S = 300.0
"""After how many of the cloud's seconds without a request a process ends. SageMaker documents that it scales to zero, but
not when; five minutes are the least after which people report cold starts."""
GAUGE_S = 60.0
"""How often, in the cloud's seconds, provisioned concurrency that nobody uses is told: CloudWatch's resolution."""


class Throttled(Exception):
    """As many requests as the variant may have are being answered."""


class Gone(Exception):
    """The variant is not served any more: another deployment took its place."""


@dataclass
class Execution:
    """One request's stay on a process.

    Attributes:
        instance: the process, which no other request has meanwhile.
        setup_s: how long its start took; None if it was warm.
        concurrency: how busy the variant was, this request included.
    """

    instance: Instance
    setup_s: float | None
    concurrency: Concurrency


class ServerlessVariant(Variant):
    """A variant without instances of its own: `execution` gives each request a process, warm if there is one."""

    def __init__(
        self,
        engine: ContainerEngine,
        specs: Sequence[ServerSpec],
        folder: Path,
        open_log: Callable[[str], LogStream],
        *,
        config: Document,
        weight: float,
        clock: Clock,
        tell_idle: Callable[[Concurrency], None] = lambda concurrency: None,
    ) -> None:
        """No process yet; `reach` starts what is provisioned.

        Args:
            engine: starts them.
            specs: what they run: one container.
            folder: a folder of its own for their files.
            open_log: makes a log stream by its name.
            config: ProductionVariantServerlessConfig.
            weight: its part of the traffic.
            clock: for the time after which an idle process ends.
            tell_idle: is told now and then that provisioned concurrency is not used.
        """
        super().__init__(engine, specs, folder, open_log, weight=weight, least_busy=False)
        self.config = config
        self._clock = clock
        self._tell_idle = tell_idle
        self._lock = threading.Lock()
        self._executions = 0
        self._idle: list[tuple[Instance, float]] = []
        """Warm processes and since when they are idle, longest first: the last is taken, so that the others may end."""
        self._closed = threading.Event()
        self._is_watched = False
        self._told = 0.0

    @property
    def concurrency(self) -> Concurrency:
        """How busy it is now."""
        config = self.config
        return Concurrency(self._executions, config["MaxConcurrency"], config.get("ProvisionedConcurrency", 0))

    def reach(self, planned: Document, stopping: threading.Event) -> None:
        """Start what is missing of the provisioned concurrency; see that the container gets healthy at all, if none is.

        Raises:
            NotHealthy: it does not; what was started is gone again.
            Interrupted: `stopping` was set in between.
        """
        # What has scaled to zero was healthy once.
        first = not self._is_watched
        config = planned["ServerlessConfig"]
        provisioned = config.get("ProvisionedConcurrency", 0)
        with self._lock:
            missing = provisioned - len(self.instances)
        # SageMaker pings the container when an endpoint is made or updated, and fails it if nobody answers
        # ("Troubleshooting" of serverless endpoints), so one process starts, even if none is kept.
        new = [self._new_instance() for _ in range(max(missing, 1 if first else 0))]
        try:
            for instance in new:
                instance.start()
            for instance in new:
                _wait_until_healthy(instance, stopping)
        except (NotHealthy, Interrupted):
            stop_all(new, drain_s=0, grace_s=1)
            raise
        kept = new[: max(0, missing)]
        with self._lock:
            self.config = config
            self.instances += tuple(kept)
            self._idle += [(instance, time.monotonic()) for instance in kept]
        stop_all([instance for instance in new if instance not in kept], drain_s=0, grace_s=STOP_GRACE_S)
        if not self._is_watched:
            self._is_watched = True
            threading.Thread(target=self._watch, name=f"idle {self.name}", daemon=True).start()

    def surplus(self, planned: Document) -> list[Instance]:
        """None: what is not provisioned any more ends when it is idle."""
        return []

    def close(self) -> None:
        """Take no more requests, and start nothing."""
        with self._lock:
            # Who has a process by now is among the instances, and who comes later gets none.
            self._closed.set()

    @asynccontextmanager
    async def execution(self) -> AsyncIterator[Execution]:
        """A process for one request, started if none is warm.

        Raises:
            Throttled: MaxConcurrency requests are being answered.
            Gone: the variant is not served any more.
            NotHealthy: the process did not come up.
        """
        with self._lock:
            if self._closed.is_set():
                raise Gone
            if self._executions >= self.config["MaxConcurrency"]:
                raise Throttled
            self._executions += 1
            concurrency = self.concurrency
            instance = self._take_warm()
            if instance is None:
                instance, cold = self._new_instance(), True
                self.instances += (instance,)
            else:
                cold = False
            instance.in_flight += 1
        try:
            setup_s = await _started(instance, self._closed) if cold else None
            yield Execution(instance, setup_s, concurrency)
        finally:
            with self._lock:
                self._executions -= 1
                instance.in_flight -= 1
                if instance.ready:
                    self._idle.append((instance, time.monotonic()))
                else:
                    # It crashed, or never came up. A server starts again by itself; here the next request does it.
                    self._drop(instance)

    def _take_warm(self) -> Instance | None:
        while self._idle:
            instance, _ = self._idle.pop()
            if instance.ready:
                return instance
            self._drop(instance)
        return None

    def _drop(self, instance: Instance) -> None:
        # Here, even where the whole fleet ends: whoever ends that may not find it any more.
        self.instances = tuple(other for other in self.instances if other is not instance)
        threading.Thread(target=instance.stop, args=(1.0,), daemon=True).start()

    def _watch(self) -> None:
        """End processes that are idle for too long, and tell of provisioned ones that nobody uses."""
        while not self._closed.wait(min(1.0, self._clock.real(IDLE_S) / 10)):
            self._replace_lost()
            with self._lock:
                surplus = self._take_idle()
                concurrency = self.concurrency
            stop_all(surplus, drain_s=0, grace_s=STOP_GRACE_S)
            now = time.monotonic()
            if not concurrency.executions and concurrency.provisioned and now - self._told >= self._clock.real(GAUGE_S):
                self._told = now
                self._tell_idle(concurrency)

    def _replace_lost(self) -> None:
        """Start provisioned processes anew that have crashed."""
        with self._lock:
            missing = self.config.get("ProvisionedConcurrency", 0) - len(self.instances)
        for _ in range(missing):
            instance = self._new_instance()
            instance.start()
            try:
                _wait_until_healthy(instance, self._closed)
            except (NotHealthy, Interrupted) as error:
                stop_all([instance], drain_s=0, grace_s=1)
                logger.warning("A provisioned process of variant %s cannot be replaced: %s", self.name, error)
                return
            with self._lock:
                is_late = self._closed.is_set()
                if not is_late:
                    self.instances += (instance,)
                    self._idle.append((instance, time.monotonic()))
            if is_late:
                # The fleet has ended meanwhile, and with it whatever was among its instances.
                stop_all([instance], drain_s=0, grace_s=1)
                return

    def _take_idle(self) -> list[Instance]:
        """Take the processes out of service that were idle for long enough, down to the provisioned ones."""
        allowed = len(self.instances) - self.config.get("ProvisionedConcurrency", 0)
        oldest = time.monotonic() - self._clock.real(IDLE_S)
        surplus = [instance for instance, since in self._idle if since < oldest][: max(0, allowed)]
        self._idle = [(instance, since) for instance, since in self._idle if instance not in surplus]
        self.instances = tuple(instance for instance in self.instances if instance not in surplus)
        return surplus


def _wait_until_healthy(instance: Instance, stopping: threading.Event) -> None:
    while not instance.wait_settled(0.1):
        if stopping.is_set():
            raise Interrupted
    if instance.failure:
        raise instance.failure
    if stopping.is_set():
        raise Interrupted


async def _started(instance: Instance, closed: threading.Event) -> float:
    """Start a process and wait until it is healthy; how many seconds that took."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def finish(failure: Exception | None) -> None:
        if not done.done():
            if failure:
                done.set_exception(failure)
            else:
                done.set_result(None)

    def work() -> None:
        failure: Exception | None = None
        try:
            instance.start()
            _wait_until_healthy(instance, closed)
        except Interrupted:
            failure = Gone()
        except Exception as error:
            failure = error
        loop.call_soon_threadsafe(finish, failure)

    began = time.perf_counter()
    # A thread of its own: the loop's pool has a handful, and MaxConcurrency may be 200.
    threading.Thread(target=work, name=f"cold start {instance.id}", daemon=True).start()
    await done
    return time.perf_counter() - began
