"""What all settings have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Typed and unchangeable; a key that nobody reads is refused rather than ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
