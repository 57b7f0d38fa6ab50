"""What an invocation is measured by: the metrics of the namespace AWS/SageMaker, in its units and dimensions.

The list and the meaning of each follow "SageMaker AI endpoint invocation metrics" in the developer guide.
"""

from __future__ import annotations

from dataclasses import dataclass

from local_cloud.platform import Platform

NAMESPACE = "AWS/SageMaker"


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


def publish(platform: Platform, account: str, region: str, invocation: Invocation) -> None:
    """Publish the data points of one invocation."""
    status = invocation.status
    dimensions = {"EndpointName": invocation.endpoint, "VariantName": invocation.variant}
    for name, value, unit in (
        ("Invocations", 1.0, "None"),
        ("InvocationsPerInstance", 1.0 / max(1, invocation.instance_count), "None"),
        ("ModelLatency", invocation.model_s * 1e6, "Microseconds"),
        ("OverheadLatency", max(0.0, invocation.total_s - invocation.model_s) * 1e6, "Microseconds"),
        ("Invocation4XXErrors", float(400 <= status < 500), "None"),
        # A container that does not answer is the endpoint's fault, not the caller's.
        ("Invocation5XXErrors", float(status >= 500 or status == 0), "None"),
        ("InvocationModelErrors", float(not 200 <= status < 300), "None"),
    ):
        platform.put_metric(account, region, NAMESPACE, name, value, unit, dimensions)
