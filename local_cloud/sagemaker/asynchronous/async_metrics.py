"""What asynchronous inference is measured by ("Monitor asynchronous endpoint" in the developer guide, an exhaustive list)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from local_cloud.sagemaker.hosting.endpoint_metrics import NAMESPACE, Point


@dataclass(frozen=True)
class Backlog:
    """The queue of an endpoint, told a few times in each of CloudWatch's minutes.

    Attributes:
        endpoint: the endpoint's name.
        size: requests that wait or are being processed.
        instances: of all variants, whether or not they take requests at the moment.
        oldest_s: the age of the oldest request in real seconds; 0 for an empty queue.
    """

    endpoint: str
    size: int
    instances: int
    oldest_s: float

    def points(self) -> Iterator[Point]:
        """See Measured."""
        where = (("EndpointName", self.endpoint),)
        yield NAMESPACE, where, "ApproximateBacklogSize", "Count", float(self.size)
        # With no instance it is the size: "the endpoint won't scale up again until the number of requests in the queue
        # exceeds the target" ("Autoscale an asynchronous endpoint").
        yield NAMESPACE, where, "ApproximateBacklogSizePerInstance", "Count", self.size / max(1, self.instances)
        yield NAMESPACE, where, "ApproximateAgeOfOldestRequest", "Seconds", round(self.oldest_s, 3)
        yield NAMESPACE, where, "HasBacklogWithoutCapacity", "Count", float(self.size > 0 and self.instances == 0)


@dataclass(frozen=True)
class Processed:
    """One request that left the queue. Times are in seconds; None for what did not happen.

    Attributes:
        endpoint: the endpoint's name.
        variant: the production variant that took it; for one that expired in the queue, the first.
        status: what the container answered; None if none was asked, 0 if it did not answer.
        failed: whether its caller gets a failure.
        expired: whether its time to live was over.
        download_failed: whether its input could not be read.
        upload_failed: whether its output could not be written.
        notification_failed: whether a topic could not be told.
        backlog_s: how long it waited.
        download_s: how long the input took.
        model_s: how long the containers took.
        upload_s: how long the output took.
        total_s: from its arrival to its end.
    """

    endpoint: str
    variant: str
    failed: bool
    backlog_s: float
    total_s: float
    status: int | None = None
    expired: bool = False
    download_failed: bool = False
    upload_failed: bool = False
    notification_failed: bool = False
    download_s: float | None = None
    model_s: float | None = None
    upload_s: float | None = None

    def points(self) -> Iterator[Point]:
        """See Measured."""
        where = (("EndpointName", self.endpoint), ("VariantName", self.variant))
        if self.status is not None:
            yield NAMESPACE, where, "Invocation4XXErrors", "None", float(400 <= self.status < 500)
            yield NAMESPACE, where, "Invocation5XXErrors", "None", float(self.status >= 500 or self.status == 0)
        yield NAMESPACE, where, "InvocationsProcessed", "Count", float(not self.expired)
        yield NAMESPACE, where, "InvocationFailures", "Count", float(self.failed)
        yield NAMESPACE, where, "ExpiredRequests", "Count", float(self.expired)
        yield NAMESPACE, where, "RequestDownloadFailures", "Count", float(self.download_failed)
        yield NAMESPACE, where, "ResponseUploadFailures", "Count", float(self.upload_failed)
        yield NAMESPACE, where, "NotificationFailures", "Count", float(self.notification_failed)
        for name, seconds in (
            ("ModelLatency", self.model_s),
            ("RequestDownloadLatency", self.download_s),
            ("ResponseUploadLatency", self.upload_s),
            ("TimeInBacklog", self.backlog_s),
        ):
            if seconds is not None:
                yield NAMESPACE, where, name, "Microseconds", round(seconds * 1e6, 1)
        yield NAMESPACE, where, "TotalProcessingTime", "Milliseconds", round(self.total_s * 1e3, 1)
