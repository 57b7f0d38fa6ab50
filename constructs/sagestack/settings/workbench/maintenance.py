"""When notebook instances that run may be stopped, for what changed to reach them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sagestack.settings.base import Settings
from sagestack.settings.errors import Allowed
from sagestack.settings.workbench.notebook import Schedule, TimeZone


class Maintenance(Settings):
    """A window in which instances with an older lifecycle config are stopped and started again."""

    schedule: Schedule
    time_zone: TimeZone = "UTC"
    duration_in_minutes: Annotated[int, Field(ge=15, le=24 * 60), Allowed("15 to 1440")] = 120
