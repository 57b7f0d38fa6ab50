"""What a property test draws: the same examples in every run, ten times as many new ones with HYPOTHESIS_PROFILE=thorough."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Neither a deadline nor a check of how long drawing takes: that says nothing on a machine that is busy.
_NO_HURRY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
# A test's examples follow from its own text: a run that fails is one that somebody's change made fail, not a draw.
settings.register_profile("ordinary", _NO_HURRY, max_examples=100, derandomize=True)
settings.register_profile("thorough", _NO_HURRY, max_examples=1000, derandomize=False)


def load_profile() -> None:
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ordinary"))


def examples(times: float) -> int:
    """So many times the profile's number, for what is cheap (more than 1) or costly (less)."""
    return max(1, round(times * settings().max_examples))
