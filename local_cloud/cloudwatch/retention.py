"""Keeps the points of a metric few: exact while alarms look at them, then rounded and counted.

A load test publishes hundreds of different latencies a second. CloudWatch, too, keeps data of less than a minute for hours
only and then a point for a minute (API reference of GetMetricStatistics).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

EXACT_S = 120.0
"""What is younger stays as it was published."""
BUCKET_S = 10.0
"""What is older is counted by values of two digits, in steps of so many seconds."""
FEW = 500
"""So few points of one metric are left alone."""


def compacted(
    points: Sequence[dict[str, Any]], now: float, forget_before: float, exact_s: float = EXACT_S
) -> list[dict[str, Any]] | None:
    """The points with the older ones counted together; None where they are few, or all young.

    Sets of statistics are left as they are: they cannot be counted by value.

    Args:
        points: as MiniStack keeps them, in the order of writing.
        now: POSIX seconds.
        forget_before: what is older than this goes.
        exact_s: what is younger stays as it is.
    """
    if points and points[0]["Timestamp"] < forget_before:
        points = [point for point in points if point["Timestamp"] >= forget_before]
    elif len(points) <= FEW:
        return None
    exact_since = now - exact_s
    kept: list[dict[str, Any]] = []
    counted: dict[float, tuple[dict[str, Any], Counter[float]]] = {}
    for point in points:
        if point["Timestamp"] >= exact_since or "_stat" in point:
            kept.append(point)
            continue
        bucket = point["Timestamp"] // BUCKET_S * BUCKET_S
        _, counts = counted.setdefault(bucket, (point, Counter()))
        counts[float(f"{point['Value']:.1e}")] += point.get("Count", 1.0)
    merged = [
        {**first, "Timestamp": bucket, "Value": value, "Count": count}
        for bucket, (first, counts) in counted.items()
        for value, count in counts.items()
    ]
    return sorted([*merged, *kept], key=lambda point: float(point["Timestamp"]))
