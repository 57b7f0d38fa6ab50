"""What invocations are measured by: the metrics of the namespace AWS/SageMaker, in its units and dimensions.

The list and the meaning of each follow "SageMaker AI endpoint invocation metrics" in the developer guide. They are counted
here and published once a second, as values with their counts: a data point for each metric of each request would cost
CloudWatch more than the requests themselves.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local_cloud.platform import Platform
from local_cloud.sagemaker.service import Sagemaker

logger = logging.getLogger(__name__)

NAMESPACE = "AWS/SageMaker"
PUBLISH_INTERVAL_S = 1.0
MAX_VALUES = 150
"""Different values of one metric in one PutMetricData entry (CloudWatch API reference). Up to so many in a second are
published as they are; beyond, latencies are rounded to two digits, so that a load test costs no more than that."""
MAX_ENTRIES = 1000
"""Entries of one PutMetricData call (CloudWatch API reference)."""


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
    """

    endpoint: str
    variant: str
    instance_count: int
    status: int
    model_s: float
    total_s: float

    def values(self) -> dict[tuple[str, str], float]:
        """What it adds to each metric, by the metric's name and unit."""
        status = self.status
        return {
            ("Invocations", "None"): 1.0,
            ("InvocationsPerInstance", "None"): 1.0 / max(1, self.instance_count),
            ("ModelLatency", "Microseconds"): round(self.model_s * 1e6, 1),
            ("OverheadLatency", "Microseconds"): round(max(0.0, self.total_s - self.model_s) * 1e6, 1),
            ("Invocation4XXErrors", "None"): float(400 <= status < 500),
            # A container that does not answer is the endpoint's fault, not the caller's.
            ("Invocation5XXErrors", "None"): float(status >= 500 or status == 0),
            ("InvocationModelErrors", "None"): float(not 200 <= status < 300),
        }


class Recorder:
    """Counts invocations and publishes them once a second, from a thread of its own."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._lock = threading.Lock()
        self._waiting: list[tuple[str, Invocation]] = []
        self._some = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def record(self, region: str, invocation: Invocation) -> None:
        """Take one invocation; costs microseconds, for it happens on the event loop."""
        with self._lock:
            self._waiting.append((region, invocation))
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
                entries = data([invocation for where, invocation in taken if where == region], time.time())
                try:
                    client = self._platform.client("cloudwatch", region)
                    for start in range(0, len(entries), MAX_ENTRIES):
                        client.put_metric_data(Namespace=NAMESPACE, MetricData=entries[start : start + MAX_ENTRIES])
                except Exception:
                    logger.exception("The metrics of %d invocations could not be published", len(taken))


def recorder_of(service: Sagemaker) -> Recorder:
    """The recorder of a service, made when it is first asked for."""
    recorder: Recorder | None = service.background.get("endpoint_metrics")
    if recorder is None:
        recorder = service.background.setdefault("endpoint_metrics", Recorder(service.platform))
    return recorder


def data(invocations: list[Invocation], at: float) -> list[dict[str, Any]]:
    """The MetricData of PutMetricData for some invocations.

    Args:
        invocations: what to tell.
        at: when they happened, POSIX seconds.
    """
    counted: dict[tuple[str, str, str, str], Counter[float]] = {}
    for invocation in invocations:
        for (name, unit), value in invocation.values().items():
            key = (invocation.endpoint, invocation.variant, name, unit)
            counted.setdefault(key, Counter())[value] += 1
    entries = []
    for (endpoint, variant, name, unit), values in counted.items():
        pairs = list(_bounded(values).items())
        for start in range(0, len(pairs), MAX_VALUES):
            part = pairs[start : start + MAX_VALUES]
            entries.append(
                {
                    "MetricName": name,
                    "Dimensions": [
                        {"Name": "EndpointName", "Value": endpoint},
                        {"Name": "VariantName", "Value": variant},
                    ],
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
