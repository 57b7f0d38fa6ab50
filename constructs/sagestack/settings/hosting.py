"""How an environment serves a model: the kinds of endpoint, on what they run and how many, and what they keep.

What costs money has no default. What keeps an endpoint safe has one, the safe one, so that a short file is a good file.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from sagestack.settings.base import Settings
from sagestack.settings.errors import Allowed
from sagestack.settings.front_door import FrontDoor, JwtAuthorizer
from sagestack.settings.instance_types import Architecture, architecture, check_instance_type, takes_volume_key
from sagestack.settings.scaling import Autoscaling, Count, ScheduledSize
from sagestack.settings.updates import (
    AllAtOnce,
    Canary,
    Linear,
    Percent,
    RollbackLimits,
    Rolling,
    Update,
)

__all__ = [
    "AllAtOnce",
    "Asynchronous",
    "Autoscaling",
    "Canary",
    "DataCapture",
    "FrontDoor",
    "Hosting",
    "InferenceComponents",
    "JwtAuthorizer",
    "Linear",
    "RealTime",
    "RollbackLimits",
    "Rolling",
    "ScheduledSize",
    "Serverless",
    "Shadow",
    "Update",
    "Variant",
]

HostingType = Annotated[str, AfterValidator(lambda t: check_instance_type(t, "hosting")), Allowed("like ml.m5.large")]
Version = Annotated[int, Field(ge=1), Allowed("the number of a version in the model registry")]
Weight = Annotated[float, Field(ge=0), Allowed("0 or more, relative to the sum of all weights")]
VariantName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9]([\-a-zA-Z0-9]*[a-zA-Z0-9])?$", max_length=63)]
Days = Annotated[int, Field(ge=1, le=3653), Allowed("a whole number of days, 1 to 3653")]


class _OnInstances(Settings):
    """What every kind with instances of its own says."""

    instance_type: HostingType
    initial_instance_count: Count

    @property
    def architecture(self) -> Architecture:
        """What the image must be built for."""
        return architecture(self.instance_type)

    @property
    def takes_volume_key(self) -> bool:
        """Whether SageMaker takes a key for the disks; where not, the hardware encrypts them."""
        return takes_volume_key(self.instance_type)


class DataCapture(Settings):
    """Requests and answers, kept for monitoring."""

    sampling_percent: Annotated[int, Field(ge=1, le=100), Allowed("1 to 100")] = 100
    retention_days: Days = 30


Capture = Annotated[DataCapture | None, Allowed("null, or sampling_percent and retention_days")]


class Variant(_OnInstances):
    """Another version beside the served one, with a part of its traffic (A/B)."""

    served_version: Version
    weight: Weight


class Shadow(_OnInstances):
    """A version that gets a copy of the traffic, and whose answers nobody gets."""

    served_version: Version
    sampling_percent: Percent = 100.0


class RealTime(_OnInstances):
    """Instances that answer within 60 seconds."""

    kind: Literal["real-time"]
    weight: Weight = 1.0
    """The served version's share of the traffic where there are variants."""
    serves_archives: bool = False
    """Of a multi-model model: the endpoint is there, for whatever archives lie below its prefix."""
    autoscaling: Autoscaling | None = None
    update: Update | None = None
    """None: a canary where two instances or more start, else all at once: a canary of one instance is all of it."""
    rollback: RollbackLimits = RollbackLimits()
    data_capture: Capture = DataCapture()
    """On, but for the environment `local`, where it is off unless the file says otherwise."""
    variants: Annotated[
        dict[VariantName, Variant], Field(max_length=9), Allowed("up to 9 names in letters, digits and hyphens")
    ] = {}
    shadow: Shadow | None = None
    front_door: FrontDoor | None = None


class Serverless(Settings):
    """No instances: memory and a limit of concurrent requests; the first request after a pause waits for a start."""

    kind: Literal["serverless"]
    memory_in_mb: Annotated[
        Literal[1024, 2048, 3072, 4096, 5120, 6144], Allowed("1024, 2048, 3072, 4096, 5120 or 6144")
    ]
    max_concurrency: Annotated[int, Field(ge=1, le=200), Allowed("1 to 200")]
    provisioned_concurrency: Annotated[
        int | None, Field(ge=1, le=200), Allowed("1 to 200, up to max_concurrency, or null")
    ] = None
    autoscaling: Autoscaling | None = None
    """Of the provisioned concurrency; what is beyond it scales by itself, up to max_concurrency."""
    rollback: RollbackLimits = RollbackLimits()
    front_door: FrontDoor | None = None

    @property
    def architecture(self) -> Architecture:
        """Serverless runs on x86 alone."""
        return "amd64"


class Asynchronous(_OnInstances):
    """Requests wait in a queue, answers go to S3; may scale to zero instances and back."""

    kind: Literal["asynchronous"]
    autoscaling: Autoscaling | None = None
    max_concurrent_invocations_per_instance: Annotated[int, Field(ge=1, le=1000), Allowed("1 to 1000")] = 4
    answer_retention_days: Days = 30
    """How long requests, answers and failures stay in the artefact bucket."""
    update: Update | None = None
    rollback: RollbackLimits = RollbackLimits()
    data_capture: Capture = DataCapture()


class InferenceComponents(_OnInstances):
    """Instances that several copies of the model share, each with its part of CPU and memory."""

    kind: Literal["inference-components"]
    max_instance_count: Count
    copies: Count
    cpus_per_copy: Annotated[float, Field(ge=0.25), Allowed("at least 0.25")]
    memory_per_copy_in_mb: Annotated[int, Field(ge=128), Allowed("at least 128")]
    autoscaling: Autoscaling | None = None
    """Of the copies; the instances follow by themselves, up to max_instance_count."""
    update: Rolling | None = None
    rollback: RollbackLimits = RollbackLimits()
    front_door: FrontDoor | None = None


Hosting = Annotated[RealTime | Serverless | Asynchronous | InferenceComponents, Field(discriminator="kind")]
