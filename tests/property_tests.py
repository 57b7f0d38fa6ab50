"""How many examples a property test draws: some in every run, ten times as many with HYPOTHESIS_PROFILE=thorough."""

from __future__ import annotations

import os

from hypothesis import settings

# No deadline: what an example takes says nothing on a machine that is busy.
settings.register_profile("ordinary", max_examples=100, deadline=None)
settings.register_profile("thorough", max_examples=1000, deadline=None)


def load_profile() -> None:
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ordinary"))


def examples(times: float) -> int:
    """So many times the profile's number, for what is cheap (more than 1) or costly (less)."""
    return max(1, round(times * settings().max_examples))
