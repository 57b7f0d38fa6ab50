"""Which rows of AWS's price lists are which of our prices."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

_MACHINES = {
    "hosting": "Host",
    "asynchronous": "AsyncInf",
    "training": "Train",
    "processing": "Processing",
    "transform": "Tsform",
    "notebook": "Notebk",
}
_VOLUMES = ("hosting", "training", "processing", "notebook")


@dataclass(frozen=True)
class Entry:
    """One price, or one for each match of the pattern's group.

    A usage type begins with the region's short name (`USE1-`, `EUW1-`, none in the oldest lists) or its whole one.

    Attributes:
        key: of the price, with `{}` for the group.
        offer: the list that it stands in, AWS's offer code.
        usage: the usage type behind its region, as a regular expression.
        unit: in our words.
        operation: only rows with this operation, where several share the usage type.
    """

    key: str
    offer: str
    usage: str
    unit: str
    operation: str | None = None

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(rf"(?:[A-Z]{{2,4}}\d?-|[a-z]{{2}}(?:-[a-z]+)+-\d-)?{self.usage}")

    def key_of(self, usage_type: str, operation: str) -> str | None:
        """The key of a row's price; None for a row of something else."""
        if self.operation is not None and operation != self.operation:
            return None
        match = self.pattern.fullmatch(usage_type)
        return self.key.format(*match.groups()) if match else None


def _sagemaker() -> Iterator[Entry]:
    offer = "AmazonSageMaker"
    for use, word in _MACHINES.items():
        yield Entry(f"sagemaker.{use}.{{}}", offer, rf"{word}:(ml\.[\w.-]+)", "hour")
    for use in _VOLUMES:
        yield Entry(f"sagemaker.{use}.storage", offer, rf"{_MACHINES[use]}:VolumeUsage\.gp2", "GB-month")
    yield Entry("sagemaker.studio.storage", offer, r"Studio:VolumeUsage\.gp3", "GB-month")
    yield Entry("sagemaker.serverless.{}gb", offer, r"ServerlessInf:Mem-(\d)GB", "second")
    yield Entry("sagemaker.serverless_warm.{}gb", offer, r"ProvisionedConcurrency:Usage-(\d)GB", "second")
    yield Entry("sagemaker.data.in", offer, "Data-Bytes-In", "GB", operation="Invoke-Endpoint")
    yield Entry("sagemaker.data.out", offer, "Data-Bytes-Out", "GB", operation="Invoke-Endpoint")


CATALOG: tuple[Entry, ...] = (
    *_sagemaker(),
    Entry("s3.storage", "AmazonS3", "TimedStorage-ByteHrs", "GB-month"),
    Entry("s3.write", "AmazonS3", "Requests-Tier1", "request"),
    Entry("s3.read", "AmazonS3", "Requests-Tier2", "request"),
    Entry("kms.key", "awskms", "KMS-Keys", "month"),
    Entry("kms.request", "awskms", "KMS-Requests", "request"),
    Entry("cloudwatch.alarm", "AmazonCloudWatch", "CW:AlarmMonitorUsage", "metric-month"),
    Entry("cloudwatch.alarm_high_resolution", "AmazonCloudWatch", "CW:HighResAlarmMonitorUsage", "metric-month"),
    Entry("cloudwatch.alarm_composite", "AmazonCloudWatch", "CW:CompositeAlarmMonitorUsage", "month"),
    Entry("cloudwatch.alarm_metrics_insights", "AmazonCloudWatch", "CW:MetricInsightAlarmUsage", "metric-month"),
    Entry("cloudwatch.metric", "AmazonCloudWatch", "CW:MetricMonitorUsage", "metric-month"),
    Entry("logs.written", "AmazonCloudWatch", "DataProcessing-Bytes", "GB"),
    Entry("logs.stored", "AmazonCloudWatch", "TimedStorage-ByteHrs", "GB-month"),
    Entry("lambda.request", "AWSLambda", "Request", "request"),
    Entry("lambda.x86", "AWSLambda", "Lambda-GB-Second", "GB-second"),
    Entry("lambda.arm", "AWSLambda", "Lambda-GB-Second-ARM", "GB-second"),
    Entry("interface_endpoint.hour", "AmazonVPC", "VpcEndpoint-Hours", "hour"),
    Entry("interface_endpoint.gb", "AmazonVPC", "VpcEndpoint-Bytes", "GB"),
    Entry("public_ipv4.hour", "AmazonVPC", "PublicIPv4:InUseAddress", "hour"),
    Entry("nat.hour", "AmazonEC2", "NatGateway-Hours", "hour"),
    Entry("nat.gb", "AmazonEC2", "NatGateway-Bytes", "GB"),
    Entry("sns.publish", "AmazonSNS", "Requests-Tier1", "request"),
    Entry("sqs.request", "AWSQueueService", "Requests-RBP", "request"),
    Entry("sqs.fifo_request", "AWSQueueService", "Requests-FIFO-RBP", "request"),
    Entry("events.custom", "AWSEvents", "Event-64K-Chunks", "event", operation="PutEvents"),
    Entry("states.transition", "AmazonStates", "StateTransition", "transition"),
    Entry("ecr.storage", "AmazonECR", "TimedStorage-ByteHrs", "GB-month"),
    Entry("secrets.month", "AWSSecretsManager", "AWSSecretsManager-Secrets", "month"),
    Entry("apigateway.http_request", "AmazonApiGateway", "ApiGatewayHttpRequest", "request"),
    Entry("efs.storage", "AmazonEFS", "TimedStorage-ByteHrs", "GB-month"),
)
"""What a refresh looks for. Dashboards are in no list."""

HUGE = ("AmazonEC2",)
"""Lists of several hundred MB, which are read only where somebody asks for what stands in them."""
OFFERS = tuple(dict.fromkeys(entry.offer for entry in CATALOG))
