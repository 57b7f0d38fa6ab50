"""Waits for what others do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def wait_for(condition: Callable[[], Any], timeout_s: float = 60, what: str = "it did not happen in time") -> Any:
    """The first value of a condition that is true.

    Args:
        condition: asked twenty times a second.
        timeout_s: how long it is waited for before the test fails; a machine that other tests keep busy is slow.
        what: the failure's words.
    """
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return value
