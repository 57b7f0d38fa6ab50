"""Halves what a test process takes before its first test; each worker of pytest-xdist imports all that any test imports."""

from __future__ import annotations

import gc
import sys

# What is loaded until all tests are collected stays: there is no garbage to look for.
gc.disable()

# XGBoost imports scikit-learn wherever it is installed, which takes a second. No test needs that of it; those that ask
# scikit-learn itself do so through tests/second_opinion.py, which lifts this.
sys.modules.setdefault("sklearn", None)  # type: ignore[arg-type]  # None: "not there"


def is_over() -> None:
    """Collect garbage from now on, but none among the modules and the tests: that takes half a second each time."""
    gc.freeze()
    gc.enable()
