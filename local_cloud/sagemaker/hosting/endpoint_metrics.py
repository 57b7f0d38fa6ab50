"""What invocations are measured by: the metrics of the namespace AWS/SageMaker, in its units and dimensions.

The list and the meaning of each follow the developer guide: "SageMaker AI endpoint invocation metrics", "CloudWatch Metrics
for Multi-Model Endpoint Deployments", "Metrics for multi-container endpoints with direct invocation". They are counted
here and published four times a second, as values with their counts: a data point for each metric of each request would cost
CloudWatch more than the requests themselves.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from local_cloud.platform import Platform
from local_cloud.sagemaker.service import Sagemaker

logger = logging.getLogger(__name__)

NAMESPACE = "AWS/SageMaker"
INSTANCE_NAMESPACE = "/aws/sagemaker/Endpoints"
"""Of what the instances measure themselves."""
PUBLISH_INTERVAL_S = 0.25
"""Between two publications, in real seconds: on a fast clock an alarm's period is not much longer, see `local_cloud.clock`."""
MAX_VALUES = 150
"""Different values of one metric in one PutMetricData entry (CloudWatch API reference). Up to so many at a time are
published as they are; beyond, latencies are rounded to two digits, so that a load test costs no more than that."""
MAX_ENTRIES = 1000
"""Entries of one PutMetricData call (CloudWatch API reference)."""


Dimensions = tuple[tuple[str, str], ...]
Point = tuple[str, Dimensions, str, str, float]
"""One value: its namespace, its dimensions, the metric's name and unit, and the value."""


class Measured(Protocol):
    """Something that has values for metrics."""

    def points(self) -> Iterator[Point]:
        """Its values."""


@dataclass(frozen=True)
class ContainerCall:
    """One request to one of several containers: its name, what it answered, and how long that took in seconds."""

    container: str
    status: int
    seconds: float


@dataclass(frozen=True)
class Invocation:
    """One request that reached a variant.

    Attributes:
        endpoint: the endpoint's name.
        variant: the production variant's name.
        instance_count: how many instances of the variant take requests; each request counts 1/instance_count on one of them.
        status: what the container answered; 0 if it did not answer.
        model_s: from sending the request to the container until its answer was read, in seconds.
        total_s: from receiving the request until its answer was ready, in seconds.
        calls: what each container did, where the model has several.
        is_direct: whether the request was for one container by its name.
        model_wait_s: how long it waited for its model to be loaded; None if the endpoint has one model.
        model_was_loaded: whether its model was loaded before.
    """

    endpoint: str
    variant: str
    instance_count: int
    status: int
    model_s: float
    total_s: float
    calls: tuple[ContainerCall, ...] = ()
    is_direct: bool = False
    model_wait_s: float | None = None
    model_was_loaded: bool = False

    def points(self) -> Iterator[Point]:
        """See Measured."""
        where = (("EndpointName", self.endpoint), ("VariantName", self.variant))
        failed = float(not 200 <= self.status < 300)
        yield from _counts(where, self.status)
        yield NAMESPACE, where, "InvocationsPerInstance", "None", 1.0 / max(1, self.instance_count)
        yield NAMESPACE, where, "InvocationModelErrors", "None", failed
        yield NAMESPACE, where, "ModelLatency", "Microseconds", _us(self.model_s)
        yield NAMESPACE, where, "OverheadLatency", "Microseconds", self._overhead_us
        if self.model_wait_s is not None:
            yield NAMESPACE, where, "ModelLoadingWaitTime", "Microseconds", _us(self.model_wait_s)
            yield NAMESPACE, where, "ModelCacheHit", "None", float(self.model_was_loaded)
        for call in self.calls:
            at = (*where, ("ContainerName", call.container))
            yield NAMESPACE, at, "ContainerLatency", "Microseconds", _us(call.seconds)
            if self.is_direct:
                yield from _counts(at, call.status)
                yield NAMESPACE, at, "OverheadLatency", "Microseconds", self._overhead_us

    @property
    def _overhead_us(self) -> float:
        return _us(max(0.0, self.total_s - self.model_s))


@dataclass(frozen=True)
class ModelEvent:
    """What a multi-model container did with a model.

    Attributes:
        endpoint: the endpoint's name.
        variant: the production variant's name.
        metric: LoadedModelCount, or the name of a time.
        value: a count, or seconds.
    """

    endpoint: str
    variant: str
    metric: str
    value: float

    def points(self) -> Iterator[Point]:
        """See Measured."""
        where = (("EndpointName", self.endpoint), ("VariantName", self.variant))
        if self.metric == "LoadedModelCount":
            yield INSTANCE_NAMESPACE, where, self.metric, "None", self.value
        else:
            yield NAMESPACE, where, self.metric, "Microseconds", _us(self.value)


def _counts(where: Dimensions, status: int) -> Iterator[Point]:
    yield NAMESPACE, where, "Invocations", "None", 1.0
    yield NAMESPACE, where, "Invocation4XXErrors", "None", float(400 <= status < 500)
    # A container that does not answer is the endpoint's fault, not the caller's.
    yield NAMESPACE, where, "Invocation5XXErrors", "None", float(status >= 500 or status == 0)


def _us(seconds: float) -> float:
    return round(seconds * 1e6, 1)


class Recorder:
    """Counts invocations and publishes them once a second, from a thread of its own."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._lock = threading.Lock()
        self._waiting: list[tuple[str, Measured]] = []
        self._some = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def record(self, region: str, measured: Measured) -> None:
        """Take what was measured once; costs microseconds, for it happens on the event loop."""
        with self._lock:
            self._waiting.append((region, measured))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="endpoint metrics", daemon=True)
                self._thread.start()
        self._some.set()

    def close(self) -> None:
        """Publish what waits, and end."""
        self._closing.set()
        self._some.set()
        if self._thread is not None:
            self._thread.join(3)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._some.wait()
            self._closing.wait(PUBLISH_INTERVAL_S)
            self._some.clear()
            with self._lock:
                taken, self._waiting = self._waiting, []
            for region in {region for region, _ in taken}:
                measured = [measured for where, measured in taken if where == region]
                for namespace in (NAMESPACE, INSTANCE_NAMESPACE):
                    self._publish(region, namespace, data(measured, time.time(), namespace))

    def _publish(self, region: str, namespace: str, entries: list[dict[str, Any]]) -> None:
        try:
            client = self._platform.client("cloudwatch", region)
            for start in range(0, len(entries), MAX_ENTRIES):
                client.put_metric_data(Namespace=namespace, MetricData=entries[start : start + MAX_ENTRIES])
        except Exception:
            logger.exception("%d entries of metrics could not be published", len(entries))


def recorder_of(service: Sagemaker) -> Recorder:
    """The recorder of a service, made when it is first asked for."""
    recorder: Recorder | None = service.background.get("endpoint_metrics")
    if recorder is None:
        recorder = service.background.setdefault("endpoint_metrics", Recorder(service.platform))
    return recorder


def data(measured: Sequence[Measured], at: float, namespace: str = NAMESPACE) -> list[dict[str, Any]]:
    """The MetricData of PutMetricData for what was measured.

    Args:
        measured: what to tell.
        at: when it happened, POSIX seconds.
        namespace: only the metrics of this namespace.
    """
    counted: dict[tuple[Dimensions, str, str], Counter[float]] = {}
    for each in measured:
        for its_namespace, dimensions, name, unit, value in each.points():
            if its_namespace == namespace:
                counted.setdefault((dimensions, name, unit), Counter())[value] += 1
    entries = []
    for (dimensions, name, unit), values in counted.items():
        pairs = list(_bounded(values).items())
        for start in range(0, len(pairs), MAX_VALUES):
            part = pairs[start : start + MAX_VALUES]
            entries.append(
                {
                    "MetricName": name,
                    "Dimensions": [{"Name": dimension, "Value": value} for dimension, value in dimensions],
                    "Timestamp": at,
                    "Unit": unit,
                    "Values": [value for value, _ in part],
                    "Counts": [float(count) for _, count in part],
                }
            )
    return entries


def _bounded(values: Counter[float]) -> Mapping[float, int]:
    if len(values) <= MAX_VALUES:
        return values
    rounded: Counter[float] = Counter()
    for value, count in values.items():
        rounded[float(f"{value:.1e}")] += count
    return rounded
