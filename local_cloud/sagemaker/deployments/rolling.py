"""Rolling: the instances of an endpoint are replaced batch by batch, so that no second fleet is needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from local_cloud.sagemaker.deployments.deployment_policy import Rolling
from local_cloud.sagemaker.deployments.deployment_run import ACTIVATING, BAKING, CREATING, DELETING, RollBack, Run
from local_cloud.sagemaker.hosting.fleet import Fleet, Variant
from local_cloud.sagemaker.hosting.instance import Instance
from local_cloud.sagemaker.hosting.router import Router, Share
from local_cloud.sagemaker.hosting.server import NotHealthy


class Replacement:
    """The instances of one variant, replaced batch by batch, and back again if it must be."""

    def __init__(
        self,
        run: Run,
        policy: Rolling,
        router: Router,
        green: Fleet,
        count: int,
        end: Callable[[Sequence[Instance]], None],
    ) -> None:
        """Take what is there; nothing is changed yet.

        Args:
            run: tells the stages and watches.
            policy: how.
            router: has the traffic on the old fleet: or on two, where an earlier roll-back failed.
            green: the new fleet, with one variant and no instance yet.
            count: how many instances it is to have.
            end: lets instances finish, and ends them.
        """
        self._run, self._policy, self._router = run, policy, router
        self._green, self._count, self._end = green, count, end
        self._before: tuple[tuple[Fleet, Share], ...] = router.shares
        self._new = _only(green)
        self._old = [(_only(fleet), len(_only(fleet).instances)) for fleet in router.fleets]
        self._old_count = sum(original for _, original in self._old)

    def forward(self) -> None:
        """Replace all.

        Raises:
            RollBack: a batch does not become healthy, an alarm went off, or the time is over.
            Interrupted: the local cloud stops.
        """
        run, wait_s = self._run, self._policy.wait_s
        batch = self._policy.batch.instances(self._count)
        reached = 0
        while True:
            added = min(batch, self._count - reached)
            self._enter(CREATING, f"Launching {added} instance(s).")
            try:
                self._new.grow_to(reached + added, run.stopping)
            except NotHealthy as error:
                raise RollBack(f"The update was rolled back: {error}") from error
            run.check()
            reached += added
            capacity = f"{reached} of {self._count} instance(s)"
            self._enter(ACTIVATING, f"Activating traffic on capacity of {capacity}.")
            self._send(reached / self._count if self._count else 1.0)
            self._enter(
                BAKING, f"Baking for {wait_s:g} seconds (WaitIntervalInSeconds) with traffic enabled on {capacity}."
            )
            run.bake(wait_s)
            if reached == self._count:
                return
            remaining = math.ceil(self._old_count * (1 - reached / self._count))
            surplus = self._shrink_old(remaining)
            if surplus:
                self._enter(DELETING, f"Terminating {len(surplus)} instance(s) of the old fleet.")
                self._end(surplus)

    def back(self) -> None:
        """Put the old instances back, in batches of RollbackMaximumBatchSize; all at once without it.

        Raises:
            NotHealthy: an old instance does not come up again: the traffic stays on what there is of both.
            Interrupted: the local cloud stops.
        """
        size = self._policy.rollback_batch
        batch = size.instances(self._old_count) if size else self._old_count
        there = sum(len(variant.instances) for variant, _ in self._old)
        while True:
            there = min(self._old_count, there + max(1, batch))
            self._grow_old(there)
            restored = there / self._old_count if self._old_count else 1.0
            if restored >= 1:
                self._router.send_to(*self._before)
                return
            kept = math.ceil(len(self._new.instances) * (1 - restored))
            self._send(1 - restored)
            self._end(self._new.take_surplus(kept))

    def _enter(self, status: str, message: str) -> None:
        name = self._new.name
        self._run.enter(status, lambda _: message, {name: 0}, {name: len(self._new.ready)})

    def _send(self, share: float) -> None:
        if share >= 1:
            self._router.send_to((self._green, 1.0))
            return
        old = [(fleet, {_only(fleet).name: _part(before, fleet) * (1 - share)}) for fleet, before in self._before]
        self._router.send_to(*old, (self._green, {self._new.name: share}))

    def _shrink_old(self, count: int) -> list[Instance]:
        """Take old instances out of service until `count` are left."""
        surplus: list[Instance] = []
        excess = sum(len(variant.instances) for variant, _ in self._old) - count
        for variant, _ in reversed(self._old):
            taken = variant.take_surplus(max(0, len(variant.instances) - max(0, excess)))
            excess -= len(taken)
            surplus += taken
        return surplus

    def _grow_old(self, count: int) -> None:
        """Start old instances until there are `count`."""
        for variant, original in self._old:
            variant.grow_to(min(original, count), self._run.stopping)
            count -= min(original, count)


def _only(fleet: Fleet) -> Variant:
    (variant,) = fleet.variants.values()
    return variant


def _part(share: Share, fleet: Fleet) -> float:
    return share if isinstance(share, float) else share.get(_only(fleet).name, 0.0)
