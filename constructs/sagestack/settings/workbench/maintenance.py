"""When notebook instances that run may be stopped, so that what changed reaches them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sagestack.settings.base import Settings
from sagestack.settings.errors import Allowed
from sagestack.settings.workbench.notebook import TimeZone

Day = Literal["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]


class Maintenance(Settings):
    """A window in which instances that run with an older lifecycle config are stopped and started again."""

    days: Annotated[list[Day], Field(min_length=1, max_length=7), Allowed("MON, TUE, WED, THU, FRI, SAT, SUN")]
    at: Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$"), Allowed("a time in quotes, like '03:00'")]
    time_zone: TimeZone = "UTC"
    # A stop and a start take some ten minutes; what begins in the window is brought to its end.
    duration_in_minutes: Annotated[int, Field(ge=30, le=12 * 60), Allowed("a whole number of minutes, 30 to 720")] = 120

    @model_validator(mode="after")
    def _each_day_once(self) -> Maintenance:
        if len(set(self.days)) < len(self.days):
            raise ValueError(f"days: {', '.join(self.days)} names one twice")
        return self
