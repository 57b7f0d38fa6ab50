"""The local cloud's clock: the waits that AWS defines in seconds pass faster here by one factor, and are never skipped.

Bake times, alarm periods, cooldowns, termination waits, schedules and idle times are waits of the cloud: minutes and hours
on AWS, which nobody sits out before a screen. Time stamps stay real, and so do the times in which programs do something
(a server's start, a health check, a request): they take as long here as they take.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

VARIABLE = "SAGESTACK_LOCAL_CLOUD_CLOCK_FACTOR"
DEFAULT_FACTOR = 30.0
"""Five minutes of bake time take ten seconds, and an alarm's period of a minute two: long enough to watch it happen."""
MIN_FACTOR = 1.0
"""As slow as AWS; slower would only be waiting."""
MAX_FACTOR = 240.0
"""A period of 60 seconds, the shortest of most alarms, is a quarter of a second then: as often as endpoints publish their
metrics. Beyond, alarms would judge by windows in which nothing can be."""


@dataclass(frozen=True)
class Clock:
    """Turns the cloud's seconds into real ones.

    Args:
        factor: how many times faster than on AWS the waits pass; between MIN_FACTOR and MAX_FACTOR.

    Raises:
        ValueError: the factor is no number between them.
    """

    factor: float = DEFAULT_FACTOR

    def __post_init__(self) -> None:
        if not (math.isfinite(self.factor) and MIN_FACTOR <= self.factor <= MAX_FACTOR):
            raise ValueError(
                f"The clock factor must be a number from {MIN_FACTOR:g} (as slow as AWS) to {MAX_FACTOR:g}, "
                f"got {self.factor:g}"
            )

    def real(self, cloud_seconds: float) -> float:
        """How many real seconds a wait of so many of the cloud's seconds takes."""
        return cloud_seconds / self.factor

    def cloud(self, real_seconds: float) -> float:
        """How many of the cloud's seconds pass in so many real ones."""
        return real_seconds * self.factor

    def since(self, started: float) -> float:
        """How many of the cloud's seconds have passed since a time stamp (POSIX seconds)."""
        return self.cloud(max(0.0, time.time() - started))

    def wait(self, event: threading.Event, cloud_seconds: float) -> bool:
        """Wait for so many of the cloud's seconds; at once, and True, when the event is set before."""
        return event.wait(self.real(cloud_seconds))


def parse(text: str) -> Clock:
    """The clock of a factor as people write it.

    Raises:
        ValueError: it is no number, or out of the limits.
    """
    try:
        factor = float(text)
    except ValueError:
        raise ValueError(
            f"The clock factor must be a number from {MIN_FACTOR:g} (as slow as AWS) to {MAX_FACTOR:g}, got {text!r}"
        ) from None
    return Clock(factor)


def from_environment(environment: Mapping[str, str] = os.environ) -> Clock:
    """The clock that SAGESTACK_LOCAL_CLOUD_CLOCK_FACTOR asks for; the default one where it is not set.

    Raises:
        ValueError: its value is no factor; the message names the variable.
    """
    text = environment.get(VARIABLE, "")
    if not text:
        return Clock()
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(f"{VARIABLE}: {error}") from None
