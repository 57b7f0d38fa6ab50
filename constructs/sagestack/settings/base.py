"""What all settings have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Typed and unchangeable; a key that nobody reads is refused rather than ignored.

    Neither is a number that is infinite or none (`.inf`, `.nan`): no template can say it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
