"""How an endpoint changes from one version to the next, and what stops the change."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sagestack.settings.base import Settings
from sagestack.settings.errors import Allowed

Percent = Annotated[float, Field(gt=0, le=100), Allowed("more than 0, up to 100")]

# The bounds are SageMaker's own:
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_BlueGreenUpdatePolicy.html
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_RollingUpdatePolicy.html


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
