"""Which server answers a request.

An update puts a second fleet beside the first and then moves the shares, so that no request is lost.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from local_cloud.sagemaker.hosting.fleet import Fleet, Variant
from local_cloud.sagemaker.hosting.instance import Instance

T = TypeVar("T")
Share = float | Mapping[str, float]
"""A fleet's part of the traffic; or of each variant's traffic, by its name."""


@dataclass
class Lease:
    """An instance that a request was given, until it is answered."""

    variant: Variant
    instance: Instance


class UnknownVariant(Exception):
    """The request names a variant that the endpoint does not have."""


class Router:
    """Decides which server answers a request: by the fleets' shares, then the variants' weights, then the instances' load."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.replaced: tuple[Fleet, ...] = ()
        """The fleets that an update under way is about to replace, whether they still get traffic or not."""
        self._lock = threading.Lock()
        self._shares: tuple[tuple[Fleet, Share], ...] = ()

    @property
    def fleets(self) -> list[Fleet]:
        """The fleets that get traffic."""
        return [fleet for fleet, _ in self._shares]

    @property
    def shares(self) -> tuple[tuple[Fleet, Share], ...]:
        """What `send_to` was given last."""
        return self._shares

    def send_to(self, *shares: tuple[Fleet, Share]) -> None:
        """Give all traffic to these fleets, by their shares. After this returns, no other fleet gets a new request."""
        with self._lock:
            self._shares = shares

    def ready_instances(self, variant: str) -> int:
        """How many instances of a variant take requests now, in all fleets."""
        return sum(len(fleet.variants[variant].ready) for fleet in self.fleets if variant in fleet.variants)

    @contextmanager
    def lease(
        self, target_variant: str | None = None, but: Sequence[Instance] = (), target_model: str | None = None
    ) -> Iterator[Lease | None]:
        """An instance for one request; None if none takes requests now.

        Args:
            target_variant: take this variant, whatever the weights are.
            but: instances that were tried already.
            target_model: rather an instance that has loaded this model.

        Raises:
            UnknownVariant: there is no such variant.
        """
        with self._lock:
            leased = self._choose(target_variant, but, target_model)
            if leased:
                leased.instance.in_flight += 1
        try:
            yield leased
        finally:
            if leased:
                with self._lock:
                    leased.instance.in_flight -= 1

    def _choose(self, target_variant: str | None, but: Sequence[Instance], target_model: str | None) -> Lease | None:
        known = False
        usable: list[tuple[Variant, float]] = []
        for fleet, share in self._shares:
            routed = [variant for variant in fleet.variants.values() if not variant.is_shadow]
            total = sum(variant.weight for variant in routed)
            for variant in routed:
                part = share if isinstance(share, float) else share.get(variant.name, 0.0)
                if target_variant is not None:
                    # Named, so that its weight does not matter, also if it is zero.
                    if variant.name != target_variant:
                        continue
                    known = True
                elif total:
                    part *= variant.weight / total
                # What has no server left gives its traffic to the others.
                if part > 0 and variant.pick(but):
                    usable.append((variant, part))
        if target_variant is not None and not known and self._shares:
            raise UnknownVariant(target_variant)
        if not usable:
            return None
        variant = _weighted([variant for variant, _ in usable], [part for _, part in usable])
        instance = variant.pick(but, target_model)
        return Lease(variant, instance) if instance else None


def _weighted(items: Sequence[T], weights: Sequence[float]) -> T:
    return items[0] if len(items) == 1 else random.choices(items, weights)[0]  # noqa: S311 - spreads load, guards nothing
