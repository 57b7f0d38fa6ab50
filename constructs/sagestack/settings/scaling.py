"""How the size of an endpoint follows its load."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from sagestack.settings.base import Settings
from sagestack.settings.errors import Allowed
from sagestack.settings.schedules import FORMS, check_schedule, check_time_zone

Count = Annotated[int, Field(ge=1), Allowed("a whole number, at least 1")]
CountFromZero = Annotated[int, Field(ge=0), Allowed("a whole number, 0 or more")]
Seconds = Annotated[int, Field(ge=0), Allowed("a whole number of seconds")]


class ScheduledSize(Settings):
    """Other bounds of the autoscaling, from a time on."""

    at: Annotated[str, AfterValidator(check_schedule), Allowed(FORMS)]
    time_zone: Annotated[str, AfterValidator(check_time_zone), Allowed("a name like Europe/Berlin")] = "UTC"
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
    schedule: Annotated[list[ScheduledSize], Allowed("a list of at, min_capacity, max_capacity")] = []
    scale_in_cooldown_in_seconds: Seconds = 300  # Application Auto Scaling's own default for both
    scale_out_cooldown_in_seconds: Seconds = 300

    @property
    def least(self) -> int:
        """The smallest size that it can come to, by load or by schedule."""
        return min([self.min_capacity, *(size.min_capacity for size in self.schedule)])

    @property
    def most(self) -> int:
        """The largest size that it can come to, by load or by schedule."""
        return max([self.max_capacity, *(size.max_capacity for size in self.schedule)])
