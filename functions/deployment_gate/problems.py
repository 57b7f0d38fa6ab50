"""What stops a deployment."""

from __future__ import annotations


class Problem(Exception):
    """Something that the deployment must not go on with; the message goes to the stack's events and says what to do."""
