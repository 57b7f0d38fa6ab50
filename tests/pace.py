"""How fast something is, on a machine whose other work can make it slower and never faster."""

from __future__ import annotations

import time
from collections.abc import Callable

SPIN_S = 0.05
"""Processor time that is spent to learn what this machine's other work leaves: some of the system's time slices."""


def fastest(measured: Callable[[], float], *, bound: float, tries: int = 12, of_processor: bool = False) -> float:
    """The least of several measurements, in seconds of a machine that has nothing else to do.

    What is slow is slow each time; what is only disturbed is not (Python's `timeit` gives the same reason for its
    minimum). So a test asserts on this, and never on a single measurement or on the median. Where a machine is so busy
    that every try is disturbed, a try counts by the share of a processor that it could have had: before it or after it,
    whichever was more, so that a short disturbance beside it makes nothing fast.

    Args:
        measured: does it once and says how many seconds it took.
        bound: no further try is made when one was below it.
        tries: how often it may be disturbed.
        of_processor: the seconds are the processor's own, of which other work takes none.
    """
    least, before = float("inf"), 1.0
    for _ in range(tries):
        took = measured()
        least = min(least, took)
        if least >= bound and not of_processor:
            after = slowness()
            least = min(least, took / min(before, after))
            before = after
        if least < bound:
            break
    return least


def slowness() -> float:
    """How many times longer work takes now than if this machine had no other: 1 on one that is idle."""
    began, spent = time.perf_counter(), time.thread_time()
    while time.thread_time() - spent < SPIN_S:
        pass
    return max(1.0, (time.perf_counter() - began) / (time.thread_time() - spent))
