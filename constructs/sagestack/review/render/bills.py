"""What an environment costs before and after, line by line, what changed first."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest

from sagestack.review.assembly import Resource
from sagestack.review.results import CostLine, EnvironmentReview, Review


@dataclass(frozen=True)
class BillLine:
    """One thing that is paid for, on both sides; None on the side that does not have it."""

    before: CostLine | None
    after: CostLine | None

    @property
    def line(self) -> CostLine:
        line = self.after or self.before
        assert line is not None
        return line

    @property
    def resource(self) -> Resource:
        return self.line.resource

    @property
    def is_unknown(self) -> bool:
        return any(line is not None and line.usd_per_month is None for line in (self.before, self.after))

    @property
    def change(self) -> float:
        """USD a month; 0 where a price is unknown, which `is_unknown` says."""
        return _usd(self.after) - _usd(self.before)

    @property
    def is_changed(self) -> bool:
        return abs(self.change) >= 0.005 or (self.before and self.before.what) != (self.after and self.after.what)


@dataclass(frozen=True)
class Bill:
    """What one environment costs in a month, on both sides."""

    environment: EnvironmentReview
    lines: tuple[BillLine, ...]

    @property
    def before(self) -> float:
        return self.environment.cost_before.total

    @property
    def after(self) -> float:
        return self.environment.cost_after.total

    @property
    def change(self) -> float:
        return self.after - self.before

    @property
    def changed(self) -> list[BillLine]:
        """The largest change first."""
        return sorted((line for line in self.lines if line.is_changed), key=lambda line: -abs(line.change))

    @property
    def unchanged(self) -> list[BillLine]:
        """The dearest first."""
        return sorted((line for line in self.lines if not line.is_changed), key=lambda line: -_usd(line.after))

    @property
    def unknown(self) -> list[BillLine]:
        return [line for line in self.lines if line.is_unknown]

    @property
    def newly_unknown(self) -> list[BillLine]:
        """What has no known price and was not there, or had one."""
        return [line for line in self.unknown if line.before is None or line.before.usd_per_month is not None]


def bill(environment: EnvironmentReview) -> Bill:
    """Pairs the lines of both sides by resource and kind, in their order."""
    sides: dict[tuple[str, str], tuple[list[CostLine], list[CostLine]]] = {}
    for side, estimate in enumerate((environment.cost_before, environment.cost_after)):
        for line in estimate.lines:
            sides.setdefault((line.resource.address, line.kind), ([], []))[side].append(line)
    return Bill(
        environment,
        tuple(BillLine(one, other) for before, after in sides.values() for one, other in _paired(before, after)),
    )


def loads(review: Review) -> list[tuple[str, tuple[str, ...]]]:
    """What costs under load are computed for, in words, each with the environments that it is stated for."""
    stated: dict[str, list[str]] = {}
    for environment in review.environments:
        if said := environment.cost_after.at_load or environment.cost_before.at_load:
            stated.setdefault(said, []).append(environment.environment)
    return [(said, tuple(names)) for said, names in stated.items()]


def _paired(before: list[CostLine], after: list[CostLine]) -> list[tuple[CostLine | None, CostLine | None]]:
    # The same words are the same thing; only what is left over is one thing that became another.
    pairs: list[tuple[CostLine | None, CostLine | None]] = []
    for line in list(before):
        twin = next((other for other in after if other.what == line.what), None)
        if twin is not None:
            pairs.append((line, twin))
            before.remove(line)
            after.remove(twin)
    return [*pairs, *zip_longest(before, after)]


def _usd(line: CostLine | None) -> float:
    return (line.usd_per_month or 0.0) if line else 0.0
