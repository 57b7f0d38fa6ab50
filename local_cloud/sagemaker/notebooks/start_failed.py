"""What ends the start of a notebook instance."""

from __future__ import annotations


class StartFailed(Exception):
    """The instance is Failed; the message is its FailureReason."""
