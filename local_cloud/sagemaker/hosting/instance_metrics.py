"""What the instances of endpoints use and do: CPU and memory of the real server processes, and requests in flight.

"SageMaker AI endpoint metrics" in the developer guide: percent, in the namespace /aws/sagemaker/Endpoints, by EndpointName
and VariantName. CPU is the sum over the cores, so that four of them make up to 400 %. Here all instances share one machine:
its cores and its memory are what each is measured against, whatever the instance type says. There are no GPU, disk or
per-container metrics. A container is measured where its processes are this machine's own; an engine in a virtual machine
(on macOS, on Windows) hides them, and nothing is published rather than what some other process uses. Nor is the use of
inference components' copies.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from local_cloud.sagemaker.hosting.endpoint_metrics import INSTANCE_NAMESPACE, NAMESPACE, Dimensions, Point, recorder_of
from local_cloud.sagemaker.hosting.hosting import Hosting, hosting_of
from local_cloud.sagemaker.hosting.instance import Instance
from local_cloud.sagemaker.service import Sagemaker

if TYPE_CHECKING:
    from local_cloud.sagemaker.inference_components.inference_components_copies import Components

logger = logging.getLogger(__name__)

EVERY_S = 15.0
"""The cloud's seconds between two measurements. AWS publishes each minute; a few times in a minute, so that no window of one
is empty, however it lies, and requests in flight are not those of one moment."""
MIN_PAUSE_S, MAX_PAUSE_S = 0.25, 10.0
"""Real seconds between two measurements: metrics are not published more often than the one, and nobody waits for the other."""
STOP_TIMEOUT_S = 2.0
_BACKGROUND = "instance_metrics"


@dataclass(frozen=True)
class InstanceUse:
    """What one instance used since the last measurement.

    Attributes:
        endpoint: the endpoint's name.
        variant: the production variant's name.
        cpu_percent: of one core; None at the first measurement, which has nothing to compare with.
        memory_percent: of the machine's memory.
    """

    endpoint: str
    variant: str
    cpu_percent: float | None
    memory_percent: float

    def points(self) -> Iterator[Point]:
        """See Measured."""
        where = (("EndpointName", self.endpoint), ("VariantName", self.variant))
        if self.cpu_percent is not None:
            yield INSTANCE_NAMESPACE, where, "CPUUtilization", "Percent", self.cpu_percent
        yield INSTANCE_NAMESPACE, where, "MemoryUtilization", "Percent", self.memory_percent


@dataclass(frozen=True)
class InFlight:
    """What one server of a variant, or all copies of an inference component, have in flight, also when that is nothing.

    "Edit a scaling policy" in the developer guide: without traffic SageMaker publishes invocations of zero, so that a
    variant scales in. A zero more does not change a sum, which is the only statistic that they have.

    Attributes:
        where: the dimensions.
        invocations: the metric that counts invocations.
        concurrency: the metric that counts requests in flight.
        requests: in flight, on average of the servers.
    """

    where: Dimensions
    invocations: str
    concurrency: str
    requests: float

    def points(self) -> Iterator[Point]:
        """See Measured."""
        yield NAMESPACE, self.where, self.invocations, "None", 0.0
        yield NAMESPACE, self.where, self.concurrency, "None", self.requests


@dataclass(frozen=True)
class _Used:
    """CPU seconds of an instance's processes up to a moment."""

    at: float
    cpu_s: float


_Serving = tuple[str, str, str, Sequence[Instance]]
"""Region, endpoint and variant, and the instances that take requests."""


class Meter:
    """Measures the instances of all endpoints, from a thread of its own."""

    def __init__(self, hosting: Hosting, pause_s: float) -> None:
        """Not started yet.

        Args:
            hosting: whose instances.
            pause_s: real seconds between two measurements.
        """
        self._hosting = hosting
        self._pause_s = pause_s
        self._last: dict[str, _Used] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="instance metrics", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT_S)

    def measure(self) -> None:
        """Measure once, and give what was measured to the recorder."""
        serving = [
            (region, router.endpoint, variant.name, variant.ready)
            for (_, region, _), router in list(self._hosting.routers.items())
            for fleet in router.fleets
            for variant in list(fleet.variants.values())
        ]
        self._count_requests(serving)
        self._measure_use(serving)

    def _count_requests(self, serving: Sequence[_Serving]) -> None:
        recorder = recorder_of(self._hosting.service)
        for region, endpoint, variant, instances in serving:
            where = (("EndpointName", endpoint), ("VariantName", variant))
            for instance in instances:
                requests = float(instance.in_flight)
                names = "InvocationsPerInstance", "ConcurrentRequestsPerModel"
                recorder.record(region, InFlight(where, *names, requests))
        components: Components | None = self._hosting.service.background.get("inference_components")
        if components is None:
            return
        for key in list(components.running):
            copies = components.ready(key)
            if copies:
                where_of = (("InferenceComponentName", copies[0][0].specs[0].endpoint),)
                requests = sum(copy.in_flight for _, copy in copies) / len(copies)
                names = "InvocationsPerCopy", "ConcurrentRequestsPerCopy"
                recorder.record(key[1], InFlight(where_of, *names, requests))

    def _measure_use(self, serving: Sequence[_Serving]) -> None:
        recorder = recorder_of(self._hosting.service)
        total = float(psutil.virtual_memory().total)
        in_containers = self._hosting.service.engine.kind == "docker"
        children = _children() if any(instances for *_, instances in serving) else {}
        used: dict[str, _Used] = {}
        for region, endpoint, variant, instances in serving:
            for instance in instances:
                pids = _pids(instance, children, in_containers)
                if not pids:
                    continue
                cpu_s, memory = _use(pids)
                used[instance.id] = _Used(time.monotonic(), cpu_s)
                percent = self._cpu_percent(instance.id, used[instance.id])
                # So many digits that a small server on a large machine uses more than nothing.
                share = round(100 * memory / total, 5)
                recorder.record(region, InstanceUse(endpoint, variant, percent, share))
        self._last = used

    def _cpu_percent(self, instance: str, now: _Used) -> float | None:
        last = self._last.get(instance)
        if last is None or now.at <= last.at:
            return None
        # A server that was started again has used less than the one before it.
        return round(max(0.0, 100 * (now.cpu_s - last.cpu_s) / (now.at - last.at)), 1)

    def _run(self) -> None:
        while not self._stopping.wait(self._pause_s):
            try:
                self.measure()
            except Exception:
                logger.exception("The instances could not be measured")


def pause_s(real_s: float) -> float:
    """Real seconds between two measurements that would be so many apart by the clock."""
    return min(MAX_PAUSE_S, max(MIN_PAUSE_S, real_s))


def _children() -> Mapping[int, list[int]]:
    """The processes of this machine by their parents: asked once for all instances, for it is what costs."""
    found: dict[int, list[int]] = {}
    for process in psutil.process_iter():
        try:
            found.setdefault(process.ppid(), []).append(process.pid)
        except psutil.Error:
            continue
    return found


def _pids(instance: Instance, children: Mapping[int, list[int]], in_containers: bool) -> list[int]:
    """The processes of an instance: its servers and what they started; none where they are not this machine's."""
    servers = [server.pid for server in instance.servers.values()]
    waiting = [pid for pid in servers if pid is not None and (not in_containers or _is_contained(pid))]
    found = []
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def _is_contained(pid: int) -> bool:
    """Whether the process of that id on this machine is in a container."""
    try:
        return any(word in Path(f"/proc/{pid}/cgroup").read_text() for word in ("docker", "containerd", "libpod"))
    except OSError:
        return False


def _use(pids: Iterable[int]) -> tuple[float, float]:
    """CPU seconds and bytes of memory of processes."""
    cpu_s = memory = 0.0
    for pid in pids:
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                times = process.cpu_times()
                memory += process.memory_info().rss
            # Of processes that ended, what they used counts with the parent that waited for them.
            cpu_s += times.user + times.system + times.children_user + times.children_system
        except psutil.Error:
            continue
    return cpu_s, memory


def start(service: Sagemaker) -> None:
    """Measure from now on."""
    meter = Meter(hosting_of(service), pause_s(service.clock.real(EVERY_S)))
    service.background[_BACKGROUND] = meter
    meter.start()


def stop(service: Sagemaker) -> None:
    """Measure no more."""
    meter: Meter | None = service.background.pop(_BACKGROUND, None)
    if meter:
        meter.stop()
