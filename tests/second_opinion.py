"""`sklearn.metrics`, imported by the first test that asks it: it takes a second, and every worker imports every test module."""

from __future__ import annotations

import importlib
import sys
from typing import Any


def __getattr__(name: str) -> Any:
    if sys.modules.get("sklearn", "never asked for") is None:
        # tests/cheap_start.py hides it from XGBoost, which has been imported by now.
        del sys.modules["sklearn"]
    return getattr(importlib.import_module("sklearn.metrics"), name)
