"""Statistics of a metric over the last periods, in the cloud's time.

CloudWatch's periods begin at whole minutes. Here they slide: a period of a minute may last two seconds, and an alarm that
waited for the next whole one would judge by what is over already.
"""

from __future__ import annotations

import bisect
import itertools
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from local_cloud.clock import Clock

_PERCENTILE = re.compile(r"p(\d{1,2}(\.\d{0,10})?|100)")
_STATISTICS = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")


class Point(NamedTuple):
    """What was published once: a value, so many times, or a set of statistics.

    Attributes:
        at: POSIX seconds.
        samples: how many values.
        total: their sum.
        low: the least of them.
        high: the largest.
        unit: as it was published.
    """

    at: float
    samples: float
    total: float
    low: float
    high: float
    unit: str = "None"


class Source(Protocol):
    """Where published metrics are."""

    def newest_first(
        self, account: str, region: str, namespace: str, metric: str, dimensions: Mapping[str, str], since: float
    ) -> list[Point]:
        """The points of exactly these dimensions, from the newest back to a time."""


@dataclass(frozen=True)
class Wanted:
    """Which statistic of which metric is read, and over which periods.

    Attributes:
        account: whose metric.
        region: where.
        namespace: of the metric.
        metric: its name.
        dimensions: all of its dimensions; a metric of others is another metric.
        statistic: SampleCount, Average, Sum, Minimum, Maximum, or a percentile such as p99.
        period_s: the cloud's seconds.
        periods: how many.
        at: where the last period ends, POSIX seconds; None is now.
        unit: only what was published with it; None is any.
    """

    account: str
    region: str
    namespace: str
    metric: str
    dimensions: Mapping[str, str]
    statistic: str
    period_s: float
    periods: int
    at: float | None = None
    unit: str | None = None

    @classmethod
    def of(cls, account: str, region: str, metric: Mapping[str, Any], **what: Any) -> Wanted:
        """The same of a metric as CloudWatch's API writes it; `what` are the other attributes."""
        dimensions = {each["Name"]: each["Value"] for each in metric.get("Dimensions") or []}
        return cls(account, region, metric["Namespace"], metric["MetricName"], dimensions, **what)


class NoStatistic(ValueError):
    """The local cloud does not compute that statistic."""


@dataclass
class Windows:
    """Reads the last periods of metrics.

    Attributes:
        source: where they are.
        clock: how long their periods are.
        publication: which publication was the last, None while one is taken in: what was read before and after the same one
            belongs together.
    """

    source: Source
    clock: Clock
    publication: Callable[[], int | None] = lambda: 0

    def values(self, wanted: Wanted) -> list[float | None]:
        """A statistic of each of the last periods, the oldest first; None where nothing was published.

        Raises:
            NoStatistic: another statistic.
        """
        check_statistic(wanted.statistic)
        end = time.time() if wanted.at is None else wanted.at
        length = self.clock.real(wanted.period_s)
        start = end - wanted.periods * length
        buckets: list[list[Point]] = [[] for _ in range(wanted.periods)]
        for point in self.source.newest_first(
            wanted.account, wanted.region, wanted.namespace, wanted.metric, wanted.dimensions, start
        ):
            # A period includes its start and not its end; what bears the present moment belongs to the last one.
            index = min(wanted.periods - 1, math.floor((point.at - start) / length))
            if index >= 0 and point.at <= end and wanted.unit in (None, point.unit):
                buckets[index].append(point)
        return [_statistic(wanted.statistic, bucket) for bucket in buckets]


_windows: Windows | None = None


def use(windows: Windows) -> None:
    """Make `values` read from there: there is one cloud in a process."""
    global _windows
    _windows = windows


def values(wanted: Wanted) -> list[float | None]:
    """See Windows.values."""
    assert _windows is not None, "the local cloud has not begun"
    return _windows.values(wanted)


def check_statistic(statistic: str) -> None:
    """Refuse what is not computed.

    Raises:
        NoStatistic: with the name, and with those that are.
    """
    if statistic not in _STATISTICS and not _PERCENTILE.fullmatch(statistic):
        raise NoStatistic(
            f"The local cloud does not compute the statistic {statistic}; it has {', '.join(_STATISTICS)} and pNN."
        )


def _statistic(statistic: str, points: Sequence[Point]) -> float | None:
    count = sum(point.samples for point in points)
    if not count:
        return None
    match statistic:
        case "SampleCount":
            return count
        case "Sum":
            return sum(point.total for point in points)
        case "Average":
            return sum(point.total for point in points) / count
        case "Minimum":
            return min(point.low for point in points)
        case "Maximum":
            return max(point.high for point in points)
    return _percentile(float(statistic[1:]), points)


def _percentile(percent: float, points: Sequence[Point]) -> float | None:
    """Between the two nearest values, as CloudWatch does it; None where a set of statistics does not say its values."""
    if any(point.low != point.high for point in points):
        return None
    ordered = sorted((point.low, point.samples) for point in points)
    rank = percent / 100 * max(0.0, sum(count for _, count in ordered) - 1)

    seen = list(itertools.accumulate(count for _, count in ordered))

    def at(index: float) -> float:
        return ordered[min(bisect.bisect_right(seen, index), len(ordered) - 1)][0]

    low, high = at(math.floor(rank)), at(math.floor(rank) + 1)
    return low + (high - low) * (rank - math.floor(rank))
