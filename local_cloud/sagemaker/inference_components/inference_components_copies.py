"""The copies of inference components that run: which there are, and which of them takes a request."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from local_cloud.platform import Caller
from local_cloud.sagemaker.hosting.fleet import Fleet, Variant, stop_all
from local_cloud.sagemaker.hosting.hosting import Hosting, Key
from local_cloud.sagemaker.hosting.instance import Instance
from local_cloud.sagemaker.hosting.provisioning import bring_up
from local_cloud.sagemaker.hosting.server import STOP_GRACE_S
from local_cloud.sagemaker.inference_components.inference_components_instances import Resources
from local_cloud.sagemaker.inference_components.inference_components_placement import SPREAD, Slot
from local_cloud.sagemaker.inference_components.inference_components_places import Places
from local_cloud.sagemaker.store import Document

LOG_GROUP = "/aws/sagemaker/InferenceComponents/"
"""Developer guide, "Log groups and streams that Amazon SageMaker AI sends to Amazon CloudWatch Logs"."""
DRAIN_S = 60.0
"""How long a copy that goes may answer what it has begun: as long as any request may take."""


class Generation:
    """The copies of one specification of a component."""

    def __init__(self, hosting: Hosting, places: Places, target: Document, fleet: Fleet, slots: Sequence[Slot]) -> None:
        self.fleet = fleet
        self._hosting, self._places, self._target = hosting, places, target
        self._slots = list(slots)

    @classmethod
    def start(
        cls, hosting: Hosting, caller: Caller, component: str, places: Places, target: Document, count: int
    ) -> Generation:
        """Start so many copies and wait until they are healthy; fills in the target's DeployedImages.

        Raises:
            NoRoom: the endpoint has no place for them.
            DeploymentFailed: they do not come up.
            Interrupted: the local cloud stops.
        """
        slots = places.take(count, _need(target), _strategy(target))
        planned = {**target["Planned"], "DesiredInstanceCount": count, "LogGroup": LOG_GROUP + component}
        try:
            fleet = bring_up(hosting, caller, component, {"Variants": [planned]})
        except BaseException:
            places.give_back(slots)
            raise
        target["Planned"]["DeployedImages"] = planned["DeployedImages"]
        return cls(hosting, places, target, fleet, slots)

    @property
    def endpoint(self) -> Key:
        """The endpoint that it runs on."""
        return self._places.endpoint

    @property
    def variant(self) -> Variant:
        """The copies; each is an instance of it."""
        return next(iter(self.fleet.variants.values()))

    @property
    def count(self) -> int:
        """How many copies there are."""
        return len(self.variant.instances)

    def grow(self, count: int) -> None:
        """Start what is missing of `count` copies, and wait until they are healthy.

        Raises:
            NoRoom: there is no place for all of them; those that were there serve on.
            NotHealthy: they do not come up, and are gone again.
            Interrupted: the local cloud stops.
        """
        slots = self._places.take(max(0, count - self.count), _need(self._target), _strategy(self._target))
        try:
            self.variant.grow_to(count, self._hosting.stopping)
        except BaseException:
            self._places.give_back(slots)
            raise
        self._slots += slots

    def shrink(self, count: int) -> None:
        """Let the newest copies beyond `count` finish what they have begun, and end them."""
        stop_all(self.variant.take_surplus(count), DRAIN_S, STOP_GRACE_S)
        freed, self._slots = self._slots[count:], self._slots[:count]
        self._places.give_back(freed)

    def end(self) -> None:
        """End all copies."""
        self.fleet.stop(DRAIN_S)
        freed, self._slots = self._slots, []
        self._places.give_back(freed)


@dataclass
class Components:
    """What runs of all inference components, and what the endpoints keep for them."""

    hosting: Hosting
    running: dict[Key, tuple[Generation, ...]] = field(default_factory=dict)
    """By account, region and key of the component; two generations while a new specification takes over."""
    _places: dict[tuple[Key, str], Places] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def places(self, endpoint: Key, variant: str) -> Places:
        """What a variant's instances keep for copies."""
        with self._lock:
            return self._places.setdefault((endpoint, variant), Places(self.hosting, endpoint, variant))

    def ready(self, key: Key) -> list[tuple[Variant, Instance]]:
        """The copies of a component that take requests."""
        variants = [generation.variant for generation in self.running.get(key, ())]
        return [(variant, instance) for variant in variants for instance in variant.ready]

    def serves(self, key: Key, name: str, endpoint: Key) -> bool:
        """Whether a component of exactly that name runs on an endpoint."""
        return any(
            generation.variant.specs[0].endpoint == name and generation.endpoint == endpoint
            for generation in self.running.get(key, ())
        )

    def pick(self, key: Key, but: Sequence[Instance]) -> tuple[Variant, Instance] | None:
        """A copy for a request, none of `but`; None if there is none. Generations count by their copies."""
        variants = [variant for variant, instance in self.ready(key) if instance not in but]
        if not variants:
            return None
        variant = random.choice(variants)  # noqa: S311 - spreads load, guards nothing
        instance = variant.pick(but)
        return (variant, instance) if instance else None


def components_of(hosting: Hosting) -> Components:
    """The components of a hosting, made when they are first asked for."""
    found: Components = hosting.service.background.setdefault("inference_components", Components(hosting))
    return found


def _need(target: Document) -> Resources:
    return Resources(**target["Need"])


def _strategy(target: Document) -> str:
    return str((target["Specification"].get("SchedulingConfig") or {}).get("PlacementStrategy", SPREAD))
