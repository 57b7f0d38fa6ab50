"""What an instance has for the copies of inference components: its vCPUs and its memory, by its type.

The numbers are those of "Amazon EC2 Instance Types" (the guide's specifications of general purpose, compute optimized and
memory optimized instances); an `ml.` type has those of the EC2 type of the same name. Types with accelerators are left out:
no machine of the local cloud has one to give to a copy.
"""

from __future__ import annotations

from dataclasses import dataclass

from local_cloud.sagemaker.errors import NotEmulated

_VCPUS = {
    "large": 2,
    "xlarge": 4,
    "2xlarge": 8,
    "3xlarge": 12,
    "4xlarge": 16,
    "6xlarge": 24,
    "8xlarge": 32,
    "9xlarge": 36,
    "10xlarge": 40,
    "12xlarge": 48,
    "16xlarge": 64,
    "18xlarge": 72,
    "24xlarge": 96,
    "32xlarge": 128,
    "48xlarge": 192,
}
_GIB_PER_VCPU = {
    4: ("m4", "m5", "m5d", "m6g", "m6gd", "m6i", "m6id", "m6a", "m7g", "m7i", "m7a", "m8g"),
    2: ("c5", "c5d", "c6g", "c6gd", "c6gn", "c6i", "c6id", "c6in", "c6a", "c7g", "c7i", "c7a", "c8g"),
    8: ("r5", "r5d", "r6g", "r6gd", "r6i", "r6id", "r7g", "r7i", "r7a", "r8g"),
    1.875: ("c4",),
}
_SPECIAL = {
    "t2.medium": (2, 4.0),
    "t2.large": (2, 8.0),
    "t2.xlarge": (4, 16.0),
    "t2.2xlarge": (8, 32.0),
    "c4.8xlarge": (36, 60.0),
}


@dataclass(frozen=True)
class Resources:
    """CPU cores and megabytes of memory: what an instance has, or what a copy needs of it."""

    cpus: float
    memory_in_mb: int

    def holds(self, other: Resources) -> bool:
        """Whether there is as much here."""
        return self.cpus >= other.cpus and self.memory_in_mb >= other.memory_in_mb

    def without(self, other: Resources) -> Resources:
        """What is left when that is taken."""
        return Resources(self.cpus - other.cpus, self.memory_in_mb - other.memory_in_mb)


def resources_of(instance_type: str) -> Resources:
    """What an instance of a type has. SageMaker keeps a part of it for itself, of which no document says how much.

    Raises:
        NotEmulated: the type is none of those whose numbers are known here.
    """
    name = instance_type.removeprefix("ml.")
    family, _, size = name.partition(".")
    if name in _SPECIAL:
        vcpus, gib = _SPECIAL[name]
        return Resources(vcpus, int(gib * 1024))
    for gib_per_vcpu, families in _GIB_PER_VCPU.items():
        if family in families and size in _VCPUS:
            return Resources(_VCPUS[size], int(_VCPUS[size] * gib_per_vcpu * 1024))
    raise NotEmulated(
        f"The local cloud does not place inference components on {instance_type}: it knows the vCPUs and the memory of the "
        "usual types without accelerators, such as ml.m5.large, ml.c6i.xlarge or ml.r5.2xlarge."
    )
