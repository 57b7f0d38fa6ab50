"""DeploymentConfig: in which steps an update moves the traffic, what it watches, and when it is given up.

The rules are those of the developer guide ("Deployment guardrails", with its pages on blue/green and rolling deployments and
on exclusions) and of CapacitySize, TrafficRoutingConfig and RollingUpdatePolicy in the API reference. SageMaker documents
the limits but not the words with which it refuses; these are ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.store import Document

ALL_AT_ONCE, CANARY, LINEAR = "ALL_AT_ONCE", "CANARY", "LINEAR"
UNGUARDED_INSTANCES = ("ml.inf1.",)
"""An endpoint on these falls back to all at once without baking (developer guide, "Exclusions")."""

Counts = Mapping[str, int]
"""Instances by production variant."""


@dataclass(frozen=True)
class Size:
    """A part of a variant: so many instances, or percent of its instances.

    A percentage that is no whole number of instances is rounded down, but not to none: a canary of 10 percent of three
    instances is one instance, and gets a third of the traffic.
    """

    kind: str
    value: int

    @staticmethod
    def of(document: Document) -> Size:
        """CapacitySize."""
        return Size(document["Type"], document["Value"])

    def instances(self, count: int) -> int:
        """How many of `count` instances it is."""
        return self.value if self.kind == "INSTANCE_COUNT" else max(1, count * self.value // 100)

    def __str__(self) -> str:
        return f"{self.value} instance(s)" if self.kind == "INSTANCE_COUNT" else f"{self.value} percent"


@dataclass(frozen=True)
class BlueGreen:
    """A second fleet beside the first, and the traffic moved to it in steps.

    Attributes:
        kind: ALL_AT_ONCE, CANARY or LINEAR.
        size: of the canary, or of each linear step.
        wait_s: how long each step bakes, the last one too, in the cloud's seconds.
        termination_wait_s: how long the old fleet is kept after that, and the alarms are still watched.
        timeout_s: when it is given up; None for never.
        alarms: what rolls it back.
    """

    kind: str = ALL_AT_ONCE
    size: Size | None = None
    wait_s: float = 0.0
    termination_wait_s: float = 0.0
    timeout_s: float | None = None
    alarms: tuple[str, ...] = ()

    def stages(self, counts: Counts) -> list[dict[str, int]]:
        """How many instances of each variant take traffic, step by step; all of them in the last."""
        if self.kind == ALL_AT_ONCE or self.size is None:
            return [dict(counts)]
        steps = [dict(counts)]
        reached = 0
        while True:
            reached += 1
            step = {name: min(count, reached * self.size.instances(count)) for name, count in counts.items() if count}
            step |= {name: 0 for name, count in counts.items() if not count}
            if step == dict(counts):
                return steps
            steps.insert(-1, step)
            if self.kind == CANARY:
                return steps


@dataclass(frozen=True)
class Rolling:
    """The instances replaced batch by batch.

    Attributes:
        batch: how many are replaced in each step.
        rollback_batch: how many are put back in each step of a roll-back; None for all at once.
        wait_s: how long each batch bakes, in the cloud's seconds.
        timeout_s: when it is given up; None for never.
        alarms: what rolls it back.
    """

    batch: Size
    rollback_batch: Size | None = None
    wait_s: float = 0.0
    timeout_s: float | None = None
    alarms: tuple[str, ...] = ()


Policy = BlueGreen | Rolling


def policy_of(config: Document | None) -> Policy | None:
    """The policy of a DeploymentConfig that was checked; None without one: all at once, and nothing is watched."""
    if not config:
        return None
    alarms = tuple(
        dict.fromkeys(
            alarm["AlarmName"]
            for alarm in (config.get("AutoRollbackConfiguration") or {}).get("Alarms", [])
            if alarm.get("AlarmName")
        )
    )
    if rolling := config.get("RollingUpdatePolicy"):
        back = rolling.get("RollbackMaximumBatchSize")
        return Rolling(
            batch=Size.of(rolling["MaximumBatchSize"]),
            rollback_batch=Size.of(back) if back else None,
            wait_s=rolling["WaitIntervalInSeconds"],
            timeout_s=rolling.get("MaximumExecutionTimeoutInSeconds"),
            alarms=alarms,
        )
    # "If no update policy is specified, SageMaker uses a blue/green deployment strategy with all at once traffic shifting".
    blue_green = config.get("BlueGreenUpdatePolicy")
    if not blue_green:
        return BlueGreen(alarms=alarms)
    routing = blue_green["TrafficRoutingConfiguration"]
    size = routing.get({CANARY: "CanarySize", LINEAR: "LinearStepSize"}.get(routing["Type"], ""))
    return BlueGreen(
        kind=routing["Type"],
        size=Size.of(size) if size else None,
        wait_s=routing["WaitIntervalInSeconds"],
        termination_wait_s=blue_green.get("TerminationWaitInSeconds") or 0,
        timeout_s=blue_green.get("MaximumExecutionTimeoutInSeconds"),
        alarms=alarms,
    )


def check(config: Document) -> None:
    """Refuse a DeploymentConfig that no endpoint can have.

    Raises:
        ValidationError: two policies, or a policy without the size that its type needs, or with another's.
    """
    if config.get("BlueGreenUpdatePolicy") and config.get("RollingUpdatePolicy"):
        raise ValidationError(
            "DeploymentConfig has a BlueGreenUpdatePolicy and a RollingUpdatePolicy: only one update policy may be used."
        )
    if not (blue_green := config.get("BlueGreenUpdatePolicy")):
        return
    routing = blue_green["TrafficRoutingConfiguration"]
    for kind, member in ((CANARY, "CanarySize"), (LINEAR, "LinearStepSize")):
        if routing["Type"] == kind and not routing.get(member):
            raise ValidationError(f"TrafficRoutingConfiguration of type {kind} needs {member}.")
        if routing["Type"] != kind and routing.get(member):
            raise ValidationError(f"{member} is for the type {kind}, not for {routing['Type']}: leave it out.")


def check_update(policy: Policy, variants: Sequence[Document], deployed: Sequence[Document]) -> None:
    """Refuse a policy that does not fit the variants of an update.

    Args:
        policy: the policy.
        variants: the planned variants, with the counts that the update gives them.
        deployed: the variants that serve now; none for an endpoint that is made.

    Raises:
        ValidationError: with what does not fit, and what to do.
    """
    names, now = ({v["VariantName"] for v in each} for each in (variants, deployed))
    if deployed and names != now:
        raise ValidationError(
            "With a DeploymentConfig the new endpoint configuration must have the same variant names as the old one: "
            f"it has {', '.join(sorted(names))}, the endpoint has {', '.join(sorted(now))}. Keep the names, or update "
            "without DeploymentConfig."
        )
    production = [variant for variant in variants if not variant.get("IsShadow")]
    serverless = [variant["VariantName"] for variant in production if variant.get("ServerlessConfig")]
    if isinstance(policy, Rolling):
        if serverless:
            raise ValidationError(
                f"RollingUpdatePolicy is not for serverless variants ({', '.join(serverless)}): they have no instances."
            )
        if len(variants) > 1:
            raise ValidationError(
                f"RollingUpdatePolicy is for endpoints with one variant; this one has {', '.join(sorted(names))}. Take a "
                "BlueGreenUpdatePolicy."
            )
        for variant in production:
            _check_size("MaximumBatchSize", policy.batch, variant, least_percent=5)
            if policy.rollback_batch:
                _check_size("RollbackMaximumBatchSize", policy.rollback_batch, variant, most_percent=100)
    elif policy.kind != ALL_AT_ONCE:
        if serverless:
            raise ValidationError(
                f"{policy.kind} is not for serverless variants ({', '.join(serverless)}): deployment guardrails only apply "
                "to real-time and asynchronous endpoints. Leave DeploymentConfig out."
            )
        assert policy.size is not None
        for variant in variants:
            if policy.kind == CANARY:
                _check_size("CanarySize", policy.size, variant)
            else:
                _check_size("LinearStepSize", policy.size, variant, least_percent=10)


def falls_back(config: Document) -> bool:
    """Whether an endpoint configuration has what excludes it from deployment guardrails."""
    return any(
        variant.get("InstanceType", "").startswith(UNGUARDED_INSTANCES) for variant in config["ProductionVariants"]
    )


def _check_size(
    member: str, size: Size, variant: Document, *, least_percent: int | None = None, most_percent: int = 50
) -> None:
    name, count = variant["VariantName"], variant["DesiredInstanceCount"]
    if not count:
        # An asynchronous endpoint that has scaled to zero: there is no traffic to move.
        return
    least = f"{least_percent} to " if least_percent else "at most "
    limits = f"{least}{most_percent} percent of the {count} instance(s) of variant {name}"
    instances = size.instances(count)
    asked = size.value if size.kind == "CAPACITY_PERCENT" else 100 * instances / count
    if count == 1 and most_percent < 100:
        raise ValidationError(
            f"{member} must be {limits}, got {size}: one instance has no smaller part. Give the variant two instances at "
            "least, or update it with ALL_AT_ONCE."
        )
    if asked > most_percent or instances > math.floor(count * most_percent / 100):
        raise ValidationError(f"{member} must be {limits}, got {size}. Take less, or more instances.")
    if least_percent and asked < least_percent:
        raise ValidationError(f"{member} must be {limits}, got {size}. Take more.")
