"""One guarded update under way: tells its stages, sits its waits out while it watches the alarms, and knows its deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from local_cloud.clock import Clock
from local_cloud.sagemaker.deployments.alarm_watch import Refused, Watch
from local_cloud.sagemaker.deployments.deployment_policy import Counts
from local_cloud.sagemaker.hosting.fleet import Interrupted

WATCH_INTERVAL_S = 10.0
"""Between two looks at the alarms while baking, in the cloud's seconds: an alarm changes once in a period at most, and no
period of a roll-back alarm is shorter."""
SHORTEST_INTERVAL_S = 0.1
"""The same in real seconds, for a fast clock: each look is a request."""

CREATING, ACTIVATING, BAKING, DELETING = "Creating", "ActivatingTraffic", "Baking", "Deleting"
"""VariantStatus in the API reference."""


class RollBack(Exception):
    """The update must not go on; the message becomes the endpoint's FailureReason."""


@dataclass(frozen=True)
class Stage:
    """Where an update is.

    Attributes:
        status: the VariantStatus of the new variants.
        messages: a StatusMessage for each variant.
        active: how many instances of each new variant take traffic.
    """

    status: str
    messages: Mapping[str, str]
    active: Counts


@dataclass
class Run:
    """An update under way.

    Attributes:
        clock: how fast waits pass.
        stopping: set when the local cloud stops.
        watch: its alarms.
        tell: is told each stage, with the waits so far.
        timeout_s: MaximumExecutionTimeoutInSeconds, None for none.
        started: when it began, POSIX seconds.
        waited_s: how many of the cloud's seconds it has waited before.
    """

    clock: Clock
    stopping: threading.Event
    watch: Watch
    tell: Callable[[Stage, float], None]
    timeout_s: float | None = None
    started: float = field(default_factory=time.time)
    waited_s: float = 0.0
    now: Callable[[], float] = time.time

    def elapsed_s(self) -> float:
        """How much of its time it has used, in the cloud's seconds.

        Waits count as they pass on the clock; everything else (servers that start, requests that are let finish, time in
        which the local cloud was down) takes as long here as it takes, and counts so.
        """
        real = max(0.0, self.now() - self.started)
        return self.waited_s + max(0.0, real - self.clock.real(self.waited_s))

    def enter(self, status: str, message: Callable[[int], str], counts: Counts, active: Counts) -> None:
        """Tell a stage.

        Args:
            status: the VariantStatus.
            message: makes the StatusMessage of a variant from its count.
            counts: what the message is about, by variant.
            active: how many instances take traffic, by variant.
        """
        self.tell(Stage(status, {name: message(count) for name, count in counts.items()}, dict(active)), self.waited_s)

    def check(self) -> None:
        """Go on only if nothing speaks against it.

        Raises:
            RollBack: an alarm is in ALARM, the alarms cannot be read any more, or the time is over.
            Interrupted: the local cloud stops.
        """
        if self.stopping.is_set():
            raise Interrupted
        try:
            if tripped := self.watch.tripped():
                raise RollBack(
                    f"The update was rolled back: alarms of its AutoRollbackConfiguration in ALARM: {tripped}."
                )
        except Refused as error:
            if self.stopping.is_set():
                raise Interrupted from error
            raise RollBack(f"The update was rolled back: {error}") from error
        if self.timeout_s is not None and self.elapsed_s() >= self.timeout_s:
            raise RollBack(
                "The update was rolled back: it did not end within its MaximumExecutionTimeoutInSeconds of "
                f"{self.timeout_s:g}."
            )

    def bake(self, seconds: float) -> None:
        """Wait for so many of the cloud's seconds, watching; raises as `check` does."""
        self.check()
        left = float(seconds)
        while left > 0:
            step = min(left, max(WATCH_INTERVAL_S, self.clock.cloud(SHORTEST_INTERVAL_S)))
            if self.timeout_s is not None:
                # Not beyond the deadline.
                step = min(step, max(0.001, self.timeout_s - self.elapsed_s()))
            if self.clock.wait(self.stopping, step):
                raise Interrupted
            left -= step
            self.waited_s += step
            self.check()
