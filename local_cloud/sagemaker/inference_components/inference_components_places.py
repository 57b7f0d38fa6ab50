"""What the instances of an endpoint keep for the copies of inference components, and how many instances that takes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from local_cloud.sagemaker.hosting.fleet import Variant, stop_all
from local_cloud.sagemaker.hosting.hosting import Hosting, Key
from local_cloud.sagemaker.inference_components.inference_components_hosts import ENDPOINT, is_managed, most
from local_cloud.sagemaker.inference_components.inference_components_instances import Resources, resources_of
from local_cloud.sagemaker.inference_components.inference_components_placement import (
    NO_ROOM,
    SPREAD,
    NoRoom,
    Slot,
    choose,
    idle,
)
from local_cloud.sagemaker.store import Document

logger = logging.getLogger(__name__)


class Places:
    """What the instances of one variant keep for copies. With managed instance scaling there are as many as are needed."""

    def __init__(self, hosting: Hosting, endpoint: Key, variant: str) -> None:
        self.endpoint = endpoint
        self._hosting, self._variant = hosting, variant
        self._slots: list[Slot] = []
        self._lock = threading.Lock()

    def take(self, count: int, need: Resources, strategy: str = SPREAD) -> list[Slot]:
        """Keep room for so many copies, on further instances where managed scaling allows them.

        Raises:
            NoRoom: there is none for all of them; nothing is kept.
        """
        taken: list[Slot] = []
        with self._lock:
            plan = self._plan()
            if plan is None:
                raise NoRoom("The endpoint is not there any more, or has another variant.")
            size = resources_of(plan["InstanceType"])
            self._settle(size)
            try:
                for _ in range(count):
                    host = choose(self._slots, self._hosts(), size, need, strategy)
                    if host is None and size.holds(need):
                        host = self._add_instance(plan)
                    if host is None:
                        raise NoRoom(
                            f"{NO_ROOM} A copy needs {need.cpus:g} vCPUs and {need.memory_in_mb} MB; an instance of "
                            f"{plan['InstanceType']} has {size.cpus:g} and {size.memory_in_mb}, and variant "
                            f"{self._variant} may have {most(plan)}, which hold {len(self._slots)} copies."
                        )
                    slot = Slot(need, host)
                    self._slots.append(slot)
                    taken.append(slot)
            except NoRoom:
                self._release(taken)
                raise
        return taken

    def give_back(self, slots: Sequence[Slot]) -> None:
        """Free what is kept for copies that are gone, and the instances that nobody needs then."""
        with self._lock:
            self._release(slots)

    def _release(self, slots: Sequence[Slot]) -> None:
        for slot in slots:
            self._slots.remove(slot)
        plan = self._plan()
        if plan is None or not is_managed(plan) or self._hosting.stopping.is_set():
            return
        least = plan["ManagedInstanceScaling"].get("MinInstanceCount", 0)
        gone = set(idle(self._slots, self._hosts(), least))
        if not gone:
            return
        removed = []
        for variant in self._variants():
            removed += [instance for instance in variant.instances if instance.id in gone]
            variant.instances = tuple(instance for instance in variant.instances if instance.id not in gone)
        stop_all(removed, drain_s=0, grace_s=0)
        self._tell()

    def _settle(self, size: Resources) -> None:
        """Find a place for copies whose instance an update of the endpoint has replaced. They need not start again here."""
        hosts = self._hosts()
        for slot in [slot for slot in self._slots if slot.host not in hosts]:
            others = [other for other in self._slots if other is not slot]
            slot.host = choose(others, hosts, size, slot.need) or slot.host

    def _add_instance(self, plan: Document) -> str | None:
        before = self._hosts()
        if len(before) >= most(plan) or not is_managed(plan):
            return None
        for variant in self._variants()[-1:]:
            variant.grow_to(len(variant.instances) + 1, self._hosting.stopping)
        self._tell()
        return next((host for host in self._hosts() if host not in before), None)

    def _tell(self) -> None:
        """Write how many instances there are now: DescribeEndpoint tells it, and a restart brings so many back."""
        count = len(self._hosts())

        def change(document: Document) -> None:
            for variant in (document["Deployed"] or {}).get("Variants", []):
                if variant["VariantName"] == self._variant:
                    variant["DesiredInstanceCount"] = count

        self._hosting.service.store.update(ENDPOINT, *self.endpoint, change)
        logger.info("Variant %s of endpoint %s has %d instances now", self._variant, self.endpoint[-1], count)

    def _plan(self) -> Document | None:
        document = self._hosting.service.store.get(ENDPOINT, *self.endpoint) or {}
        variants = (document.get("Deployed") or {}).get("Variants", [])
        found = [variant for variant in variants if variant["VariantName"] == self._variant]
        return found[0] if found and not found[0].get("Containers", True) else None

    def _variants(self) -> list[Variant]:
        router = self._hosting.router(self.endpoint)
        fleets = router.fleets if router else []
        return [fleet.variants[self._variant] for fleet in fleets if self._variant in fleet.variants]

    def _hosts(self) -> list[str]:
        return [instance.id for variant in self._variants() for instance in variant.instances]
