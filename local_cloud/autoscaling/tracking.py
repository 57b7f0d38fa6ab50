"""Target tracking: which capacity brings a metric to its target. Pure arithmetic.

"How target tracking scaling works" in the Application Auto Scaling user guide: out in proportion to the metric and as fast
as it can, in more gradually, and only when the metric is far enough below the target.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

_TOLERANCE = 1e-9
"""What arithmetic of floats may add: 3 * (10 / 15) must not need a third instance."""


def scaled_out(capacity: int, values: Sequence[float], target: float) -> int:
    """The capacity for a metric that is above its target.

    Args:
        capacity: what there is, or what there was before the scale-out whose cooldown is not over. From zero, as for one:
            the backlog of an asynchronous endpoint without instances is one number that nothing divides.
        values: of the metric in the periods that made the alarm; their mean counts, so that one odd period is not all.
        target: the policy's TargetValue.
    """
    if not values:
        return capacity
    return max(capacity, _needed(max(1, capacity), sum(values) / len(values), target))


def scaled_in(capacity: int, values: Sequence[float], target: float) -> int:
    """The capacity for a metric that is below its target; the largest value counts, for scaling in is to be careful."""
    if not values:
        return capacity
    return min(capacity, _needed(capacity, max(values), target))


def _needed(capacity: int, value: float, target: float) -> int:
    return max(0, math.ceil(capacity * value / target - _TOLERANCE))
