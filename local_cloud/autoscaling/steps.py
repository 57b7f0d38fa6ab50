"""Step scaling: which step the size of a breach asks for, and which capacity that is. Pure arithmetic.

"Step scaling policies" and "Scaling adjustment types" in the Application Auto Scaling user guide.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from local_cloud.sagemaker.errors import ValidationError

Step = Mapping[str, Any]

_ABOVE = ("GreaterThanThreshold", "GreaterThanOrEqualToThreshold")
PERCENT = "PercentChangeInCapacity"


def check(configuration: Mapping[str, Any]) -> None:
    """Refuse a step scaling configuration that has gaps, overlaps or missing parts.

    Raises:
        ValidationError: what is wrong with it.
    """
    if not configuration.get("AdjustmentType"):
        raise ValidationError("AdjustmentType must be specified in StepScalingPolicyConfiguration.")
    steps = configuration.get("StepAdjustments") or []
    if not steps:
        raise ValidationError("At least one StepAdjustment must be specified in StepScalingPolicyConfiguration.")
    if configuration.get("MinAdjustmentMagnitude") is not None and configuration["AdjustmentType"] != PERCENT:
        raise ValidationError(f"MinAdjustmentMagnitude is for AdjustmentType {PERCENT} alone.")
    _check_intervals(steps)


def _check_intervals(steps: Sequence[Step]) -> None:
    if any(_bound(step, "Lower") is None and _bound(step, "Upper") is None for step in steps):
        raise ValidationError("A StepAdjustment needs at least one upper or lower bound.")
    for step in steps:
        if _low(step) >= _high(step):
            raise ValidationError(
                f"MetricIntervalLowerBound {_low(step):g} of a StepAdjustment must be less than its "
                f"MetricIntervalUpperBound {_high(step):g}."
            )
    ordered = sorted(steps, key=_low)
    for before, after in itertools.pairwise(ordered):
        if _high(before) != _low(after):
            what = "a gap" if _high(before) < _low(after) else "an overlap"
            raise ValidationError(
                f"StepAdjustment intervals can't have {what}: one ends at {_high(before):g}, the next begins at "
                f"{_low(after):g}."
            )
    if _low(ordered[0]) < 0 and not math.isinf(_low(ordered[0])):
        raise ValidationError(
            "A StepAdjustment with a negative lower bound needs one with a null lower bound below it."
        )
    if _high(ordered[-1]) > 0 and not math.isinf(_high(ordered[-1])):
        raise ValidationError(
            "A StepAdjustment with a positive upper bound needs one with a null upper bound above it."
        )


def step_for(steps: Sequence[Step], breach: float, comparison: str) -> Step | None:
    """The step whose interval holds the breach; None if none does.

    Args:
        steps: the policy's.
        breach: the metric less the alarm's threshold.
        comparison: the alarm's ComparisonOperator: above the threshold lower bounds are part of an interval, below it upper
            ones are.
    """
    above = comparison in _ABOVE
    for step in steps:
        if (_low(step) <= breach < _high(step)) if above else (_low(step) < breach <= _high(step)):
            return step
    return None


def adjusted(configuration: Mapping[str, Any], step: Step, capacity: int) -> int:
    """The capacity after a step from `capacity`; never below zero."""
    by = int(step["ScalingAdjustment"])
    kind = configuration["AdjustmentType"]
    if kind == "ExactCapacity":
        return max(0, by)
    if kind == PERCENT:
        by = _percent(capacity * by / 100, int(configuration.get("MinAdjustmentMagnitude") or 0))
    return max(0, capacity + by)


def _percent(change: float, least: int) -> int:
    """Values above 1 are rounded down, between 0 and 1 to 1; the same below zero, towards zero and to -1."""
    if change == 0:
        return 0
    size = max(1, math.floor(abs(change)), least)
    return size if change > 0 else -size


def _bound(step: Step, which: str) -> float | None:
    value = step.get(f"MetricInterval{which}Bound")
    return None if value is None else float(value)


def _low(step: Step) -> float:
    value = _bound(step, "Lower")
    return -math.inf if value is None else value


def _high(step: Step) -> float:
    value = _bound(step, "Upper")
    return math.inf if value is None else value
