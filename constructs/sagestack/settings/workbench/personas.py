"""Who works here: data scientists, ML engineers, reviewers, operators, and from where they sign in."""

from __future__ import annotations

from sagestack.settings.base import Settings


class Personas(Settings):
    """The roles of people."""
