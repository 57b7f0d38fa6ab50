"""How an environment serves a model: on what, how many, how it changes, and what is watched.

What costs money has no default. What keeps an endpoint safe has one, the safe one, so that a short file is a good file.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from sagestack.settings.base import Settings
from sagestack.settings.errors import Allowed
from sagestack.settings.instance_types import Architecture, architecture, check_instance_type

HostingType = Annotated[str, AfterValidator(lambda t: check_instance_type(t, "hosting")), Allowed("like ml.m5.large")]
Count = Annotated[int, Field(ge=1), Allowed("a whole number, at least 1")]
CountFromZero = Annotated[int, Field(ge=0), Allowed("a whole number, 0 or more")]
Percent = Annotated[float, Field(gt=0, le=100), Allowed("more than 0, up to 100")]
Seconds = Annotated[int, Field(ge=0), Allowed("a whole number of seconds")]
Version = Annotated[int, Field(ge=1), Allowed("the number of a version in the model registry")]
VariantName = Annotated[
    str, Field(pattern=r"^[a-zA-Z0-9]([\-a-zA-Z0-9]*[a-zA-Z0-9])?$", max_length=63), Allowed("letters, digits, hyphens")
]


class ScheduledSize(Settings):
    """Other bounds of the autoscaling, from a time on."""

    at: Annotated[
        str,
        Field(pattern=r"^(cron|at|rate)\(.+\)$"),
        Allowed("cron(minute hour day month weekday year), at(yyyy-mm-ddThh:mm:ss) or rate(value unit)"),
    ]
    time_zone: Annotated[str, Allowed("a name like Europe/Berlin")] = "UTC"
    min_capacity: CountFromZero
    max_capacity: Count


class Autoscaling(Settings):
    """How many instances (copies, provisioned concurrency) there are, by load. One target at least, or a schedule.

    Each target is a target tracking policy; where several are set the largest answer counts, as Application Auto Scaling
    does it.
    """

    min_capacity: CountFromZero
    max_capacity: Count
    invocations_per_instance: Annotated[float | None, Field(gt=0), Allowed("requests per minute")] = None
    model_latency_ms: Annotated[float | None, Field(gt=0), Allowed("milliseconds, the mean of a minute")] = None
    cpu_percent: Annotated[float | None, Field(gt=0), Allowed("percent, of all cores: SageMaker's goes beyond 100")] = (
        None
    )
    backlog_per_instance: Annotated[float | None, Field(gt=0), Allowed("queued requests; asynchronous only")] = None
    provisioned_concurrency_utilization: Annotated[
        float | None, Field(gt=0, le=1), Allowed("a share, up to 1; serverless only")
    ] = None
    schedule: list[ScheduledSize] = []
    scale_in_cooldown_in_seconds: Seconds = 300  # Application Auto Scaling's own default for both
    scale_out_cooldown_in_seconds: Seconds = 300


class _Guarded(Settings):
    """What all blue/green updates have in common."""

    bake_in_seconds: Annotated[int, Field(ge=0, le=3600), Allowed("0 to 3600")] = 600
    """How long the alarms are watched at each stage (WaitIntervalInSeconds)."""
    termination_wait_in_seconds: Annotated[int, Field(ge=0, le=3600), Allowed("0 to 3600")] = 0
    """How long the old fleet is kept after the last stage."""
    maximum_execution_in_seconds: Annotated[int, Field(ge=600, le=28800), Allowed("600 to 28800 (8 hours)")] = 3600


class Canary(_Guarded):
    """A part of the traffic first, the rest after it has held."""

    kind: Literal["canary"]
    canary_percent: Annotated[int, Field(ge=1, le=50), Allowed("1 to 50, of the fleet's capacity")] = 10


class Linear(_Guarded):
    """The traffic in equal steps."""

    kind: Literal["linear"]
    step_percent: Annotated[int, Field(ge=10, le=50), Allowed("10 to 50, of the fleet's capacity")] = 25


class AllAtOnce(_Guarded):
    """All traffic at once to a fleet that stands ready; the old one is kept while the new one is watched."""

    kind: Literal["all-at-once"]


class Rolling(Settings):
    """A batch of instances after the other: needs no second fleet."""

    kind: Literal["rolling"]
    batch_percent: Annotated[int, Field(ge=5, le=50), Allowed("5 to 50, of the fleet's capacity")] = 25
    bake_in_seconds: Annotated[int, Field(ge=0, le=3600), Allowed("0 to 3600")] = 300
    maximum_execution_in_seconds: Annotated[int, Field(ge=600, le=28800), Allowed("600 to 28800 (8 hours)")] = 7200


Update = Annotated[Canary | Linear | AllAtOnce | Rolling, Field(discriminator="kind")]


class RollbackLimits(Settings):
    """What an update must not exceed; each is an alarm that rolls it back."""

    error_percent: Percent = 1.0
    """Requests that the container answered with a 5xx, of all."""
    p99_latency_ms: Annotated[float | None, Field(gt=0), Allowed("milliseconds, or null: the model's own budget")] = (
        None
    )
    saturation_percent: Percent = 90.0
    """CPU or memory of an instance, of what it has."""
    topic_arn: Annotated[str | None, Field(pattern=r"^arn:[^:]+:sns:"), Allowed("the ARN of an SNS topic, or null")] = (
        None
    )
    """Where alarms are sent besides; null: a topic of the stack's own."""


class DataCapture(Settings):
    """Requests and answers, kept for monitoring."""

    sampling_percent: Annotated[int, Field(ge=1, le=100), Allowed("1 to 100")] = 100
    retention_days: Annotated[int, Field(ge=1, le=3653), Allowed("1 to 3653")] = 30


class Variant(Settings):
    """Another version beside the served one, with a part of its traffic (A/B)."""

    served_version: Version
    weight: Annotated[float, Field(gt=0), Allowed("more than 0, relative to the served version's 1.0")]
    instance_type: HostingType
    initial_instance_count: Count


class Shadow(Settings):
    """A version that gets a copy of the traffic, and whose answers nobody gets."""

    served_version: Version
    sampling_percent: Percent = 100.0
    instance_type: HostingType
    initial_instance_count: Count


class JwtAuthorizer(Settings):
    """Who may call the front door, by a token."""

    issuer: Annotated[str, Field(pattern=r"^https://"), Allowed("an https:// address of an OpenID provider")]
    audience: Annotated[list[str], Field(min_length=1), Allowed("at least one")]


class FrontDoor(Settings):
    """An HTTP API in front of the endpoint, for callers without AWS credentials (JWT) or with them (IAM)."""

    authorization: Literal["iam"] | JwtAuthorizer
    requests_per_second: Count = 100
    burst: Count = 200


class _OnInstances(Settings):
    """What every kind with instances of its own says."""

    instance_type: HostingType
    initial_instance_count: Count

    @property
    def architecture(self) -> Architecture:
        """What the image must be built for."""
        return architecture(self.instance_type)


class RealTime(_OnInstances):
    """Instances that answer within 60 seconds."""

    kind: Literal["real-time"]
    autoscaling: Autoscaling | None = None
    update: Update | None = None
    """None: a canary where two instances or more start, else all at once: a canary of one instance is all of it."""
    rollback: RollbackLimits = RollbackLimits()
    data_capture: DataCapture | Literal["default"] | None = "default"
    """The default is on, but for the local cloud's environment."""
    variants: dict[VariantName, Variant] = {}
    shadow: Shadow | None = None
    front_door: FrontDoor | None = None


class Serverless(Settings):
    """No instances: memory and a limit of concurrent requests; the first request after a pause waits for a start."""

    kind: Literal["serverless"]
    memory_in_mb: Annotated[Literal[1024, 2048, 3072, 4096, 5120, 6144], Allowed("1024 to 6144, in steps of 1024")]
    max_concurrency: Annotated[int, Field(ge=1, le=200), Allowed("1 to 200")]
    provisioned_concurrency: Annotated[int | None, Field(ge=1, le=200), Allowed("1 to max_concurrency, or null")] = None
    autoscaling: Autoscaling | None = None
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
    answer_retention_days: Annotated[int, Field(ge=1, le=3653), Allowed("1 to 3653")] = 30
    update: Update | None = None
    rollback: RollbackLimits = RollbackLimits()
    data_capture: DataCapture | Literal["default"] | None = "default"


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
