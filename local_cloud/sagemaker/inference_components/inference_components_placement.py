"""On which instance of an endpoint a copy of an inference component goes, and which instances nobody needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from local_cloud.sagemaker.inference_components.inference_components_instances import Resources

SPREAD, BINPACK = "SPREAD", "BINPACK"
"""The strategies of InferenceComponentSchedulingConfig: copies evenly on all instances, or on as few as hold them."""

NO_ROOM = (
    "There is not enough hardware resources on the instances for this endpoint to create a copy of the inference component. "
    "Please update resource requirements for this inference component, remove existing inference components, or increase "
    "the number of instances for this endpoint."
)
"""SageMaker's words."""


class NoRoom(Exception):
    """No instance has what a copy needs, and there may be no further one."""


@dataclass(eq=False)
class Slot:
    """What is kept for one copy.

    Attributes:
        need: how much.
        host: the id of the instance that keeps it.
    """

    need: Resources
    host: str


def choose(
    slots: Sequence[Slot], hosts: Sequence[str], size: Resources, need: Resources, strategy: str = SPREAD
) -> str | None:
    """The instance for one more copy; None if none has room.

    Args:
        slots: what is kept already.
        hosts: the ids of the instances, oldest first.
        size: what each of them has.
        need: of the copy.
        strategy: SPREAD, our default where the component says none, takes the instance with the fewest copies; BINPACK the
            one with the least memory left.
    """
    free = dict.fromkeys(hosts, size)
    copies = dict.fromkeys(hosts, 0)
    for slot in slots:
        if slot.host in free:
            free[slot.host] = free[slot.host].without(slot.need)
            copies[slot.host] += 1
    fitting = [host for host in hosts if free[host].holds(need)]
    if strategy == BINPACK:
        return min(fitting, key=lambda host: free[host].memory_in_mb, default=None)
    return min(fitting, key=lambda host: copies[host], default=None)


def instances_for(needs: Sequence[Resources], size: Resources) -> int | None:
    """How many instances of a size hold all these copies, packed largest first; None if one copy alone is too large."""
    slots: list[Slot] = []
    hosts: list[str] = []
    for need in sorted(needs, key=lambda need: need.memory_in_mb, reverse=True):
        host = choose(slots, hosts, size, need, BINPACK)
        if host is None:
            if not size.holds(need):
                return None
            host = str(len(hosts))
            hosts.append(host)
        slots.append(Slot(need, host))
    return len(hosts)


def idle(slots: Sequence[Slot], hosts: Sequence[str], at_least: int) -> list[str]:
    """The instances without a copy that can go, newest first, while `at_least` stay."""
    used = {slot.host for slot in slots}
    empty = [host for host in reversed(hosts) if host not in used]
    return empty[: max(0, len(hosts) - at_least)]
