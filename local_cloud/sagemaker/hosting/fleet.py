"""The servers behind an endpoint: the instances of a production variant, and the variants of a deployed configuration."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from local_cloud.containers.engine import ContainerEngine
from local_cloud.sagemaker.hosting.instance import Instance
from local_cloud.sagemaker.hosting.server import STOP_GRACE_S, NotHealthy, ServerSpec
from local_cloud.sagemaker.hosting.serving_containers import SERIAL
from local_cloud.sagemaker.log_stream import LogStream

if TYPE_CHECKING:
    from local_cloud.sagemaker.capture.data_capture_writer import CaptureWriter
    from local_cloud.sagemaker.capture.shadow import Shadow
from local_cloud.sagemaker.store import Document


class Interrupted(Exception):
    """The local cloud stops while servers start."""


class Variant:
    """The instances of one variant.

    Attributes:
        shadow: what copies its requests to its shadow, if it has one.
        capture: what captures its requests and answers, if anything does.
        active: how many of its instances take traffic; None for all. The others are healthy and wait for theirs.
    """

    def __init__(
        self,
        engine: ContainerEngine,
        specs: Sequence[ServerSpec],
        folder: Path,
        open_log: Callable[[str], LogStream],
        *,
        weight: float,
        least_busy: bool,
        mode: str = SERIAL,
        is_shadow: bool = False,
        name: str = "",
    ) -> None:
        """Take what its instances run.

        Args:
            engine: starts them.
            specs: what the containers of each run, in the model's order.
            folder: a folder of its own for their files.
            open_log: makes a log stream by its name.
            weight: its part of the fleet's traffic, against the other variants' weights.
            least_busy: ask the instance with the fewest requests in flight (LEAST_OUTSTANDING_REQUESTS), not any (RANDOM,
                SageMaker's default).
            mode: how requests reach several containers: `Serial`, one after the other, or `Direct`, by name.
            is_shadow: whether it gets copies alone: no request is routed to it.
            name: its name, where there are no containers that tell it: instances for inference components.
        """
        self.specs = tuple(specs)
        self.mode = mode
        self.weight = weight
        self.instances: tuple[Instance, ...] = ()
        self.active: int | None = None
        self.is_shadow = is_shadow
        self.shadow: Shadow | None = None
        self.capture: CaptureWriter | None = None
        self._name = name
        self._least_busy = least_busy
        self._new_instance: Callable[[], Instance] = lambda: Instance(engine, self.specs, folder, open_log)

    @property
    def name(self) -> str:
        """The production variant's name."""
        return self._name or self.specs[0].variant

    @property
    def is_multi_model(self) -> bool:
        """Whether a request must name a model."""
        return any(spec.models for spec in self.specs)

    @property
    def ready(self) -> list[Instance]:
        """The instances that take requests."""
        return [instance for instance in self.instances[: self.active] if instance.ready]

    def grow_to(self, count: int, stopping: threading.Event) -> None:
        """Start what is missing of `count` instances, all at once, and wait until they are healthy.

        Raises:
            NotHealthy: one is not; those that were started are gone again.
            Interrupted: `stopping` was set in between.
        """
        new = [self._new_instance() for _ in range(count - len(self.instances))]
        try:
            for instance in new:
                instance.start()
            for instance in new:
                while not instance.wait_settled(0.1):
                    if stopping.is_set():
                        raise Interrupted
                if instance.failure:
                    raise instance.failure
            if stopping.is_set():
                raise Interrupted
        except (NotHealthy, Interrupted):
            stop_all(new, drain_s=0, grace_s=1)
            raise
        self.instances += tuple(new)

    def reach(self, planned: Document, stopping: threading.Event) -> None:
        """Start what a planned variant wants and is not there; raises as `grow_to` does."""
        self.grow_to(planned["DesiredInstanceCount"], stopping)

    def surplus(self, planned: Document) -> list[Instance]:
        """Take what a planned variant does not want out of service; the caller stops it."""
        return self.take_surplus(planned["DesiredInstanceCount"])

    def close(self) -> None:
        """Start nothing more: its fleet stops."""

    def take_surplus(self, count: int) -> list[Instance]:
        """Take the newest instances beyond `count` out of service; the caller stops them."""
        surplus = list(self.instances[count:])
        self.instances = self.instances[:count]
        return surplus

    def pick(self, but: Sequence[Instance], target_model: str | None = None) -> Instance | None:
        """An instance that takes requests and is none of `but`; None if there is none.

        One that has loaded `target_model` is taken before others: loading takes time and memory.
        """
        ready = [instance for instance in self.ready if instance not in but]
        if not ready:
            return None
        if target_model is not None:
            ready = [instance for instance in ready if instance.has_loaded(target_model)] or ready
        if self._least_busy:
            least = min(instance.in_flight for instance in ready)
            ready = [instance for instance in ready if instance.in_flight == least]
        return random.choice(ready)  # noqa: S311 - spreads load, guards nothing


class Fleet:
    """All variants of one deployed endpoint configuration."""

    def __init__(self, variants: Sequence[Variant], on_stopped: Callable[[], None] = lambda: None) -> None:
        self.variants = {variant.name: variant for variant in variants}
        self.asynchronous = False
        """Whether its requests come through a queue (AsyncInferenceConfig)."""
        self._on_stopped = on_stopped

    @property
    def instances(self) -> list[Instance]:
        """Every instance of every variant."""
        return [instance for variant in self.variants.values() for instance in variant.instances]

    def stop(self, drain_s: float, grace_s: float = STOP_GRACE_S) -> None:
        """Let requests in flight finish for up to `drain_s` seconds, then end every server."""
        for variant in self.variants.values():
            variant.close()
        stop_all(self.instances, drain_s, grace_s)
        self._on_stopped()


def stop_all(instances: Sequence[Instance], drain_s: float, grace_s: float) -> None:
    """Stop instances side by side, each when its requests in flight are answered or `drain_s` seconds are over."""

    def drain_and_stop(instance: Instance) -> None:
        deadline = time.monotonic() + drain_s
        while instance.in_flight and time.monotonic() < deadline:
            time.sleep(0.02)
        instance.stop(grace_s)

    threads = [threading.Thread(target=drain_and_stop, args=(instance,), daemon=True) for instance in instances]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
