"""What keeps notebooks from costing more than they should: a report of what idles, and a budget that stops."""

from __future__ import annotations

from sagestack.settings.base import Settings


class IdleReport(Settings):
    """Who left what running."""


class Budget(Settings):
    """What the workbench may cost in a month."""
