"""What all measurements share: how a figure is stated, and how commands are run and timed."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.local_cloud_fixtures import ROOT

Row = tuple[str, str, str]
"""What, its figure, its bound."""


def stated(seconds: Sequence[float], unit: str = "s", scale: float = 1.0) -> str:
    """A median with its range."""
    values = [value * scale for value in seconds]
    return f"{statistics.median(values):.2f} {unit} ({min(values):.2f} to {max(values):.2f}, {len(values)} runs)"


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def run(*command: str, cwd: Path = ROOT, environment: dict[str, str] | None = None) -> None:
    """Run a command; its output is shown only if it fails."""
    result = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{result.stdout[-4000:]}")
