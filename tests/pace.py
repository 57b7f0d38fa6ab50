"""How fast something is, on a machine whose other work can make it slower and never faster."""

from __future__ import annotations

from collections.abc import Callable


def fastest(measured: Callable[[], float], *, bound: float, tries: int = 12) -> float:
    """The least of several measurements, in the measurement's unit.

    What is slow is slow each time; what is only disturbed is not (Python's `timeit` gives the same reason for its
    minimum). So a test asserts on this, and never on a single measurement or on the median.

    Args:
        measured: does it once and says how long it took.
        bound: no further try is made when one was below it.
        tries: how often it may be disturbed.
    """
    least = float("inf")
    for _ in range(tries):
        least = min(least, measured())
        if least < bound:
            break
    return least
