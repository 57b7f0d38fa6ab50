"""What is the same for all workers of a test run is made by one of them."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from typing import Any

import pytest


def once_per_run(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[], Any]) -> Any:
    """What `make` returns, as JSON has it: made by the first worker that asks, read by the others, which wait for it.

    Args:
        tmp_path_factory: pytest's own.
        name: what it is; a file's name.
        make: called in one process of the run. What it raises is raised there alone: the next worker tries again.
    """
    run, own = os.environ.get("PYTEST_XDIST_TESTRUNUID"), tmp_path_factory.getbasetemp()
    with (own.parent / f"{name}-{run}.json" if run else own / f"{name}.json").open("a+") as shared:
        fcntl.flock(shared, fcntl.LOCK_EX)
        shared.seek(0)
        if not (content := shared.read()):
            content = json.dumps(make())
            shared.write(content)
    return json.loads(content)
