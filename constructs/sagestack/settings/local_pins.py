"""What the local cloud serves: `environments/local.pins.yaml`, which `pins` writes."""

from __future__ import annotations

from sagestack.settings.base import Settings
from sagestack.settings.model_in_environment import ModelName, ServedVersion


class PinnedModel(Settings):
    """What a pins file says of one model."""

    served_version: ServedVersion


class Pins(Settings):
    """`environments/local.pins.yaml`: what the local cloud serves, kept out of git so that the tree stays clean."""

    models: dict[ModelName, PinnedModel]
