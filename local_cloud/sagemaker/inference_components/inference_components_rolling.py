"""Replaces the copies of an inference component batch by batch, watches alarms meanwhile, and goes back if one trips."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from local_cloud.platform import Caller
from local_cloud.sagemaker.deployments import alarm_watch
from local_cloud.sagemaker.deployments.alarm_watch import Refused, Watch
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.hosting.fleet import Interrupted
from local_cloud.sagemaker.hosting.server import NotHealthy
from local_cloud.sagemaker.inference_components.inference_components_placement import NoRoom
from local_cloud.sagemaker.store import Document

if TYPE_CHECKING:
    from local_cloud.sagemaker.hosting.hosting import Hosting
    from local_cloud.sagemaker.inference_components.inference_components_copies import Generation

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.25
"""How often the alarms are looked at, in real seconds."""
MIN_PERCENT, MAX_PERCENT = 5, 50
"""The limits of MaximumBatchSize (InferenceComponentRollingUpdatePolicy)."""


class RolledBack(Exception):
    """The update went back; the message says why."""


def check(config: Mapping[str, Any] | None, copies: int) -> None:
    """Check the DeploymentConfig of an UpdateInferenceComponent request.

    Raises:
        ValidationError: a batch is out of its limits.
    """
    if not config:
        return
    size = config["RollingUpdatePolicy"]["MaximumBatchSize"]
    if size["Type"] == "CAPACITY_PERCENT" and not MIN_PERCENT <= size["Value"] <= MAX_PERCENT:
        raise ValidationError(
            f"MaximumBatchSize must be between {MIN_PERCENT}% and {MAX_PERCENT}% of the copies, got {size['Value']}%."
        )
    # Of one copy the half is none, so one is the least.
    largest = max(1, copies * MAX_PERCENT // 100)
    if size["Type"] == "COPY_COUNT" and copies and size["Value"] > largest:
        raise ValidationError(
            f"MaximumBatchSize must be at most {MAX_PERCENT}% of the copies, which are {copies}: {largest}, got "
            f"{size['Value']}."
        )


def batch(size: Mapping[str, Any] | None, copies: int, default: int) -> int:
    """How many copies a batch has: one at least."""
    if not size:
        return max(1, default)
    if size["Type"] == "COPY_COUNT":
        return int(size["Value"])
    return max(1, math.ceil(copies * int(size["Value"]) / 100))


def roll(
    hosting: Hosting,
    caller: Caller,
    old: Generation,
    new: Generation,
    pending: Document,
    show: Callable[[tuple[Generation, ...]], None],
) -> None:
    """Move a component from its old copies to as many of the new specification; the old ones are gone afterwards.

    Each batch is started before as many old copies end, so it needs room beside them. Without a DeploymentConfig one copy
    after the other is replaced and nothing is waited for, since no document says what SageMaker does then.

    Args:
        hosting: the hosting.
        caller: who asked for it.
        old: what serves.
        new: what is to serve; has no copy yet.
        pending: what was asked for.
        show: tells who gets requests from now on.

    Raises:
        RolledBack: it did not succeed; the old copies serve again, as many as before, and the new ones are gone.
        Interrupted: the local cloud stops.
    """
    config = pending.get("DeploymentConfig") or {}
    policy = config.get("RollingUpdatePolicy") or {}
    alarms = [alarm["AlarmName"] for alarm in (config.get("AutoRollbackConfiguration") or {}).get("Alarms", [])]
    count, started = old.count, time.time()
    step = batch(policy.get("MaximumBatchSize"), count, 1)
    show((old, new))
    role_arn = pending["Target"]["Planned"]["ExecutionRoleArn"]
    try:
        with alarm_watch.watching(hosting.service.platform, caller.region, role_arn, alarms) as watch:
            while new.count < count:
                new.grow(min(count, new.count + step))
                old.shrink(count - new.count)
                _bake(hosting, watch, policy.get("WaitIntervalInSeconds", 0))
                limit = policy.get("MaximumExecutionTimeoutInSeconds")
                if limit and new.count < count and hosting.service.clock.since(started) > limit:
                    raise RolledBack(f"The update took longer than its MaximumExecutionTimeoutInSeconds of {limit}.")
    except (NoRoom, NotHealthy, Refused, RolledBack) as error:
        if hosting.stopping.is_set():
            raise Interrupted from error
        logger.warning("The update of an inference component is rolled back: %s", error)
        _back(hosting, old, new, count, batch(policy.get("RollbackMaximumBatchSize"), count, count))
        show((old,))
        new.end()
        raise RolledBack(f"The update was rolled back. {error}") from error
    show((new,))
    old.end()


def _bake(hosting: Hosting, watch: Watch, seconds: float) -> None:
    """Watch the alarms for so many of the cloud's seconds, once at least."""
    deadline = time.monotonic() + hosting.service.clock.real(seconds)
    while True:
        if tripped := watch.tripped():
            raise RolledBack(f"Alarms are in ALARM: {tripped}.")
        left = deadline - time.monotonic()
        if left <= 0:
            return
        if hosting.stopping.wait(min(LOOK_EVERY_S, left)):
            raise Interrupted


def _back(hosting: Hosting, old: Generation, new: Generation, count: int, step: int) -> None:
    """Give the old specification its copies again, as far as they come up."""
    while old.count < count and not hosting.stopping.is_set():
        wanted = min(count, old.count + step)
        try:
            try:
                old.grow(wanted)
            except NoRoom:
                new.shrink(max(0, count - wanted))
                old.grow(wanted)
        except (NoRoom, NotHealthy) as error:
            logger.warning("Only %d of %d copies came back: %s", old.count, count, error)
            return
