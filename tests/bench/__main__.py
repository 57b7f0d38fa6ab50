"""Measures what docs/benchmarks.md states and prints it as a table, each row with the command that reproduces it.

Everything is measured the way people run it: the real local cloud as a process, the real CDK CLI, make, the image's own
program in the image's own environment. The machine that this runs on may be busy, so each figure is a median with its
range, and what is compared is run in turn.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.table import Table

from tests.bench import (
    asynchronous_queue,
    endpoint_updates,
    housing_quality,
    killed_server,
    project,
    reviews,
    xgboost_serving,
    xgboost_training,
)
from tests.bench.figures import Row

BENCHMARKS: dict[str, Callable[[], Iterator[Row]]] = {
    "setup": project.setup,
    "steps": project.steps,
    "invocations": project.invocations,
    "synth": project.synths,
    "demo": project.demo,
    "review": reviews.reviews,
    "updates": endpoint_updates.updates,
    "killed": killed_server.killed,
    "queue": asynchronous_queue.queue,
    "serving": xgboost_serving.serving,
    "load": xgboost_serving.load,
    "training": xgboost_training.training,
    "housing": housing_quality.housing,
}


def main() -> None:
    """Measure what is named, or everything."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], help="what to measure; everything by default")
    names = parser.parse_args().names or list(BENCHMARKS)
    table = Table("what", "measured", "bound", "command", title=f"{platform.platform()}, {os.cpu_count()} cores")
    for name in names:
        for what, figure, bound in BENCHMARKS[name]():
            print(f"{name}: {what}: {figure} {bound}", flush=True)
            table.add_row(what, figure, bound, f"python -m tests.bench {name}")
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
