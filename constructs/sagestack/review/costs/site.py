"""Where a resource stands and what it is asked for: all that a line of the estimate is made from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from sagestack.review.assembly import Resource, StackTemplate
from sagestack.review.costs.reading import Reading
from sagestack.review.prices import PriceTable, dollars
from sagestack.review.results import CostLine
from sagestack.settings.load import HOURS_PER_MONTH, Load, ModelLoad

Kind = Literal["idle", "load"]
KB_PER_GB = 1024 * 1024


@dataclass(frozen=True)
class Site:
    """One stack of an environment, at a load, with the prices of its region; None where there are none."""

    stack: StackTemplate
    table: PriceTable | None
    load: Load

    @cached_property
    def reading(self) -> Reading:
        return Reading(self.stack)

    @cached_property
    def model_load(self) -> ModelLoad:
        return self.load.of_stack(self.stack.environment, self.stack.name)

    def of_type(self, *types: str) -> Iterator[Resource]:
        """The resources of this stack that are of one of the types."""
        return (resource for resource in self.stack.resources.values() if resource.type in types)

    def line(
        self,
        resource: Resource,
        what: str,
        kind: Kind,
        *keys: str,
        quantity: float,
        how: str,
    ) -> CostLine:
        """A quantity of something at its price.

        Args:
            resource: that is paid for.
            what: what of it.
            kind: see `CostLine`.
            keys: of the price; of several, the first that is known, which `how` then says.
            quantity: in the price's unit.
            how: the computation, with the price as `{price}`.
        """
        if self.table is None:
            return self.unknown(
                resource,
                what,
                kind,
                f"no price table for {self.stack.region}; `sagestack prices refresh --region {self.stack.region}` fetches one",
            )
        for place, key in enumerate(keys):
            if price := self.table.get(key):
                told = how.format(price=dollars(price.usd))
                told += f" (at the price of {key}: that of {keys[0]} is not known)" if place else ""
                return CostLine(resource, what, kind, quantity * price.usd, told)
        told = how.format(price="?")
        return self.unknown(resource, what, kind, f"no price of {keys[0]} in {self.stack.region}; {told}")

    def sum(self, resource: Resource, what: str, kind: Kind, *parts: tuple[str, float, str]) -> CostLine:
        """One thing that is paid for by several prices.

        Args:
            resource: that is paid for.
            what: what of it.
            kind: see `CostLine`.
            parts: of each the price's key, the quantity, and the computation with the price as `{price}`.
        """
        lines = [self.line(resource, what, kind, key, quantity=quantity, how=how) for key, quantity, how in parts]
        known = [line.usd_per_month for line in lines if line.usd_per_month is not None]
        total = sum(known) if len(known) == len(lines) else None
        return CostLine(resource, what, kind, total, " + ".join(dict.fromkeys(line.how for line in lines)))

    @staticmethod
    def unknown(resource: Resource, what: str, kind: Kind, why: str) -> CostLine:
        return CostLine(resource, what, kind, None, why)


def amount(value: float) -> str:
    """A number for people: `2`, `0.25`, `2,628,000`."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


__all__ = ["HOURS_PER_MONTH", "KB_PER_GB", "Kind", "Site", "amount"]
