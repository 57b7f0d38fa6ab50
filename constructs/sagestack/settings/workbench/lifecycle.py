"""What is done to a notebook instance when it is made and each time that it starts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sagestack.settings.base import Settings
from sagestack.settings.errors import Allowed


class AutoStop(Settings):
    """Stops the instance when nobody and nothing works on it."""

    idle_minutes: Annotated[int, Field(ge=5, le=7 * 24 * 60), Allowed("a whole number of minutes, 5 to 10080")] = 60
    warn_minutes: Annotated[int, Field(ge=0, le=60), Allowed("a whole number of minutes before the stop, 0 to 60")] = 5
    opt_out_hours: Annotated[int, Field(ge=0, le=72), Allowed("how long an opt-out holds at most, 0 to 72 hours")] = 12


class LifecycleOptions(Settings):
    """What one lifecycle config does. Nothing said is nothing done."""

    auto_stop: Annotated[AutoStop | None, Allowed("null, or idle_minutes, warn_minutes, opt_out_hours")] = None
