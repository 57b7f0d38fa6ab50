"""Blue/green: a new fleet stands beside the old one, and the traffic is moved to it in steps."""

from __future__ import annotations

import functools

from local_cloud.sagemaker.deployments.deployment_policy import CANARY, BlueGreen, Counts
from local_cloud.sagemaker.deployments.deployment_run import ACTIVATING, BAKING, Run
from local_cloud.sagemaker.hosting.fleet import Fleet
from local_cloud.sagemaker.hosting.router import Router, Share


def shift(run: Run, policy: BlueGreen, router: Router, green: Fleet, counts: Counts) -> None:
    """Move the traffic to a new fleet, step by step; each step bakes before the next, and the last before the old one ends.

    Whoever calls puts the traffic back if this raises.

    Args:
        run: tells the stages and watches.
        policy: how.
        router: has the traffic on the old fleet.
        green: the new fleet, all its servers healthy.
        counts: how many instances each of its variants has.

    Raises:
        RollBack: an alarm went off, or the time is over.
        Interrupted: the local cloud stops.
    """
    blue = router.shares
    stages = policy.stages(counts)
    for number, active in enumerate(stages, start=1):
        part = _part(policy, number, len(stages))
        run.enter(ACTIVATING, functools.partial(_activating, part), active, active)
        activate(router, blue, green, active, counts)
        run.enter(BAKING, functools.partial(_baking, policy.wait_s, "WaitIntervalInSeconds", part), active, active)
        run.bake(policy.wait_s)
    if policy.termination_wait_s:
        wait_s = policy.termination_wait_s
        told = functools.partial(_baking, wait_s, "TerminationWaitInSeconds", "full capacity")
        run.enter(BAKING, told, counts, counts)
        run.bake(wait_s)


def activate(
    router: Router, blue: tuple[tuple[Fleet, Share], ...], green: Fleet, active: Counts, counts: Counts
) -> None:
    """Give so many instances of the new fleet their part of the traffic: the part that they are of all its instances.

    Args:
        router: what to change.
        blue: who had the traffic before, with their shares.
        green: the new fleet.
        active: how many instances of each variant take traffic.
        counts: how many there are.
    """
    if all(active[name] == count for name, count in counts.items()):
        for variant in green.variants.values():
            variant.active = None
        router.send_to((green, 1.0))
        return
    for name, variant in green.variants.items():
        variant.active = active.get(name, 0)
    parts = {name: active[name] / count if count else 0.0 for name, count in counts.items()}
    remaining = [
        (fleet, {name: _of(share, name) * (1 - parts.get(name, 0.0)) for name in fleet.variants})
        for fleet, share in blue
    ]
    router.send_to(*remaining, (green, parts))


def _of(share: Share, name: str) -> float:
    return share if isinstance(share, float) else share.get(name, 0.0)


def _part(policy: BlueGreen, number: int, stages: int) -> str:
    if number == stages:
        return "full capacity"
    return "canary capacity" if policy.kind == CANARY else f"step {number} of {stages}, capacity"


# The words of the developer guide: "Events that Amazon SageMaker AI sends to Amazon EventBridge".
def _activating(part: str, count: int) -> str:
    return f"Activating traffic on {part} of {count} instance(s)."


def _baking(seconds: float, member: str, part: str, count: int) -> str:
    return f"Baking for {seconds:g} seconds ({member}) with traffic enabled on {part} of {count} instance(s)."
