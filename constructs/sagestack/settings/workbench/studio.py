"""A SageMaker Studio domain: who is in it, what their spaces are, and when they are shut down."""

from __future__ import annotations

from sagestack.settings.base import Settings


class Studio(Settings):
    """The domain."""
