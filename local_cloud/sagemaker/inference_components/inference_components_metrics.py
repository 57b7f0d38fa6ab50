"""What invocations of inference components are measured by: AWS/SageMaker metrics with the dimension InferenceComponentName.

The names and units follow the developer guide, "SageMaker AI endpoint invocation metrics", and "Scale an endpoint to zero
instances" for NoCapacityInvocationFailures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from local_cloud.sagemaker.hosting.endpoint_metrics import NAMESPACE, Point


@dataclass(frozen=True)
class ComponentInvocation:
    """One request that reached a copy.

    Attributes:
        component: the component's name.
        copies: how many copies take requests.
        concurrent: how many requests they have together, this one included.
        status: what the container answered; 0 if it did not answer.
        model_s: how long the container took, in seconds.
        total_s: from receiving the request until its answer was ready, in seconds.
    """

    component: str
    copies: int
    concurrent: int
    status: int
    model_s: float
    total_s: float

    def points(self) -> Iterator[Point]:
        """See endpoint_metrics.Measured."""
        where = (("InferenceComponentName", self.component),)
        copies = max(1, self.copies)
        counts = {
            "Invocations": 1.0,
            "InvocationsPerCopy": 1.0 / copies,
            "ConcurrentRequestsPerCopy": self.concurrent / copies,
            "Invocation4XXErrors": float(400 <= self.status < 500),
            # A container that does not answer is the component's fault, not the caller's.
            "Invocation5XXErrors": float(self.status >= 500 or self.status == 0),
            "InvocationModelErrors": float(not 200 <= self.status < 300),
        }
        for metric, value in counts.items():
            yield NAMESPACE, where, metric, "None", value
        overhead = max(0.0, self.total_s - self.model_s)
        for metric, seconds in (("ModelLatency", self.model_s), ("OverheadLatency", overhead)):
            yield NAMESPACE, where, metric, "Microseconds", round(seconds * 1e6, 1)


@dataclass(frozen=True)
class NoCapacity:
    """A request for a component that has no copy: what an alarm wakes it up by."""

    component: str

    def points(self) -> Iterator[Point]:
        """See endpoint_metrics.Measured."""
        yield NAMESPACE, (("InferenceComponentName", self.component),), "NoCapacityInvocationFailures", "None", 1.0
