"""What serverless invocations are measured by ("Monitor a serverless endpoint" in the developer guide, an exhaustive list)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from local_cloud.sagemaker.hosting.endpoint_metrics import NAMESPACE, Dimensions, Point


@dataclass(frozen=True)
class Concurrency:
    """How busy a serverless variant is.

    Attributes:
        executions: requests that are answered right now.
        maximum: how many there may be (MaxConcurrency).
        provisioned: for how many a process is kept (ProvisionedConcurrency); 0 for none.
    """

    executions: int
    maximum: int
    provisioned: int

    def points(self, where: Dimensions) -> Iterator[Point]:
        """Its values; the provisioned part exists only where something is provisioned."""
        name = "ServerlessConcurrentExecutionsUtilization"
        yield NAMESPACE, where, name, "None", self.executions / self.maximum
        if self.provisioned:
            kept = min(self.executions, self.provisioned)
            yield NAMESPACE, where, "ServerlessProvisionedConcurrencyExecutions", "Count", float(kept)
            name = "ServerlessProvisionedConcurrencyUtilization"
            yield NAMESPACE, where, name, "None", kept / self.provisioned


@dataclass(frozen=True)
class Idle:
    """A serverless variant with provisioned concurrency that nobody asks: scaling in needs to see that."""

    endpoint: str
    variant: str
    concurrency: Concurrency

    def points(self) -> Iterator[Point]:
        """See Measured."""
        yield from self.concurrency.points((("EndpointName", self.endpoint), ("VariantName", self.variant)))


@dataclass(frozen=True)
class ServerlessInvocation:
    """One request to a serverless variant.

    Attributes:
        endpoint: the endpoint's name.
        variant: the production variant's name.
        status: what the container answered; 0 if it did not answer.
        model_s: from sending the request to the container until its answer was read, in seconds.
        total_s: from receiving the request until its answer was ready, in seconds.
        setup_s: how long a new process took to be healthy; None for a request that found a warm one.
        concurrency: how busy the variant was, this request included.
    """

    endpoint: str
    variant: str
    status: int
    model_s: float
    total_s: float
    setup_s: float | None
    concurrency: Concurrency

    def points(self) -> Iterator[Point]:
        """See Measured."""
        where = (("EndpointName", self.endpoint), ("VariantName", self.variant))
        yield NAMESPACE, where, "Invocations", "None", 1.0
        yield NAMESPACE, where, "Invocation4XXErrors", "None", float(400 <= self.status < 500)
        yield NAMESPACE, where, "Invocation5XXErrors", "None", float(self.status >= 500 or self.status == 0)
        yield NAMESPACE, where, "ModelLatency", "Microseconds", _us(self.model_s)
        # The cold start is part of it: "all additional latency that SageMaker AI added".
        yield NAMESPACE, where, "OverheadLatency", "Microseconds", _us(max(0.0, self.total_s - self.model_s))
        if self.setup_s is not None:
            yield NAMESPACE, where, "ModelSetupTime", "Microseconds", _us(self.setup_s)
        yield from self.concurrency.points(where)
        if self.concurrency.provisioned:
            spilled = self.concurrency.executions > self.concurrency.provisioned
            by = "SpilloverInvocations" if spilled else "Invocations"
            yield NAMESPACE, where, f"ServerlessProvisionedConcurrency{by}", "Count", 1.0


def _us(seconds: float) -> float:
    return round(seconds * 1e6, 1)
