"""How many instances (provisioned requests, copies) something that is scaled has: while it idles, and under the load."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from sagestack.review.assembly import Resource
from sagestack.review.costs.site import Site

INSTANCE_COUNT = "sagemaker:variant:DesiredInstanceCount"
PROVISIONED_CONCURRENCY = "sagemaker:variant:DesiredProvisionedConcurrency"
COPY_COUNT = "sagemaker:inference-component:DesiredCopyCount"
_REQUESTS = ("SageMakerVariantInvocationsPerInstance", "SageMakerInferenceComponentInvocationsPerCopy")
DEFAULT_COOLDOWN = 300
"""Seconds, Application Auto Scaling's own."""


@dataclass(frozen=True)
class Scaling:
    """What Application Auto Scaling may do.

    Attributes:
        least: None where only the deployment knows; so for `most`.
        requests_per_minute: that one instance (copy) is to have; None where nothing counts requests.
        scale_in_cooldown: seconds that what idles stays.
        has_schedule: whether other bounds hold at times.
    """

    least: int | None
    most: int | None
    requests_per_minute: float | None
    scale_in_cooldown: float
    has_schedule: bool

    def needed(self, requests_per_second: float, at_least: int) -> int:
        """How many the requests ask for, within the bounds."""
        wanted = at_least
        if self.requests_per_minute:
            wanted = max(wanted, math.ceil(round(requests_per_second * 60 / self.requests_per_minute, 9)))
        return min(wanted, self.most) if self.most is not None else wanted


def names_of(site: Site, endpoint: Resource) -> set[str]:
    """What a resource of the same stack calls an endpoint (a component) by."""
    logical_id = endpoint.logical_id
    given = site.reading.text(endpoint.properties.get("EndpointName"))
    own = site.reading.text(endpoint.properties.get("InferenceComponentName"))
    names = {f"${{{logical_id}}}", f"${{{logical_id}.EndpointName}}", f"${{{logical_id}.InferenceComponentName}}"}
    return names | {name for name in (given, own) if name}


def scaling_of(site: Site, resource_ids: set[str], dimension: str) -> Scaling | None:
    """The scaling of what one of the ids means; None where nothing scales it."""
    for target in site.of_type("AWS::ApplicationAutoScaling::ScalableTarget"):
        if site.reading.exists(target) is False:
            continue
        if site.reading.text(target.properties.get("ResourceId")) not in resource_ids:
            continue
        if site.reading.text(target.properties.get("ScalableDimension")) == dimension:
            return _scaling(site, target, resource_ids)
    return None


def _scaling(site: Site, target: Resource, resource_ids: set[str]) -> Scaling:
    reading = site.reading
    least, most = (reading.number(target.properties.get(key)) for key in ("MinCapacity", "MaxCapacity"))
    requests, cooldowns = [], []
    for policy in _policies(site, target, resource_ids):
        tracking = reading.get(policy, "TargetTrackingScalingPolicyConfiguration")
        if not isinstance(tracking, dict):
            continue
        cooldowns.append(reading.number(tracking.get("ScaleInCooldown")) or DEFAULT_COOLDOWN)
        metric = tracking.get("PredefinedMetricSpecification") or {}
        if metric.get("PredefinedMetricType") in _REQUESTS and (value := reading.number(tracking.get("TargetValue"))):
            requests.append(value)
    return Scaling(
        least=None if least is None else int(least),
        most=None if most is None else int(most),
        requests_per_minute=min(requests, default=None),
        scale_in_cooldown=max(cooldowns, default=DEFAULT_COOLDOWN),
        has_schedule=bool(target.properties.get("ScheduledActions")),
    )


def _policies(site: Site, target: Resource, resource_ids: set[str]) -> Iterator[Resource]:
    for policy in site.of_type("AWS::ApplicationAutoScaling::ScalingPolicy"):
        of_target = site.reading.referred(policy.properties.get("ScalingTargetId"), target.type)
        if of_target is target or site.reading.text(policy.properties.get("ResourceId")) in resource_ids:
            yield policy


def vcpus(instance_type: str) -> int | None:
    """The vCPUs of an instance type, by its size: 2 of a large, 4 of an xlarge, 4 for each x of the larger ones.

    So it is in all current families; None for sizes without a number.
    https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-types.html
    """
    size = instance_type.rpartition(".")[2]
    if size in ("medium", "large"):
        return 2
    if match := re.fullmatch(r"(\d*)xlarge", size):
        return 4 * int(match[1] or 1)
    return None
