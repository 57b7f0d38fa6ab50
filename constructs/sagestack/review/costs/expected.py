"""The load that both sides of a change are compared at: what the working tree's environment expects."""

from __future__ import annotations

from pathlib import Path

from sagestack.settings import SettingsError, load_environment
from sagestack.settings.load import Load


def expected_load(root: Path, environment: str) -> Load:
    """What `environments/NAME.yaml` says below `load`.

    The defaults where there is no such environment (any more), or none that can be read: what is wrong in it others say.
    One load for both sides: a change of the expectation is no change of the price.
    """
    try:
        return load_environment(environment, root).load
    except SettingsError:
        return Load()
