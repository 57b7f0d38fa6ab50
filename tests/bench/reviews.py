"""Measures `sagestack review`: both sides of a change of four environments, made and reused, and the memory that it all takes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figures import Row, stated
from tests.checkout import Checkout

RUNS = 3
_MB = 1024


class Memory:
    """The most that a process and everything that it starts have at one time, in MB; what is shared counts once."""

    def __init__(self, pid: int) -> None:
        self.most = 0
        self._pid = pid
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(0.1):
            self.most = max(self.most, sum(map(_proportional_set_size, _tree(self._pid))) // _MB)


def _tree(pid: int) -> Iterator[int]:
    yield pid
    try:
        children = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return
    for child in children:
        yield from _tree(child)


def _proportional_set_size(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0)


def _review(checkout: Checkout) -> tuple[float, int]:
    """Seconds and megabytes of one review, as people run it."""
    command = ["sagestack", "review", "--base", "HEAD", "--fail-on", "never"]
    for each in ("html", "markdown", "json", "sarif"):
        command += ["--format", each]
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command, cwd=checkout.folder, env=checkout.environment(), stdout=said, stderr=subprocess.STDOUT
        )
        with Memory(process.pid) as memory:
            code = process.wait()
        seconds = time.perf_counter() - started
        if code:
            said.seek(0)
            sys.exit(f"{' '.join(command)} ended with {code}:\n{said.read()[-4000:]}")
    return seconds, memory.most


def reviews() -> Iterator[Row]:
    """A version is pinned, an instance added and a stack's code touched, in all four environments."""
    with tempfile.TemporaryDirectory() as folder:
        checkout = Checkout(Path(folder))
        files = sorted((checkout.folder / "environments").glob("*.yaml"))
        for file in files:
            file.write_text(file.read_text().replace("served_version: null", "served_version: 3"))
        commit = ("git", "-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "--all", "--quiet")
        checkout.run(*commit, "--message", "served")
        for file in files:
            text = file.read_text().replace("served_version: 3", "served_version: 4")
            file.write_text(text.replace("noncurrent_version_days: 7", "noncurrent_version_days: 8"))
        made, reused, again = [], [], []
        for number in range(RUNS):
            shutil.rmtree(checkout.folder / "cdk.out", ignore_errors=True)
            made.append(_review(checkout))
            reused.append(_review(checkout))
            stack = checkout.folder / "stacks/foundation.py"
            stack.write_text(f"{stack.read_text()}# {number}\n")
            again.append(_review(checkout))
    cores = f"{os.cpu_count()} cores"
    for what, figures, bound in (
        (f"both sides of {len(files)} environments, nothing reused, {cores}", made, "at most 60 s"),
        ("the same again, both sides reused", reused, "clearly less"),
        ("the base reused, the head anew", again, ""),
    ):
        yield what, stated([seconds for seconds, _ in figures]), bound
    most = max(megabytes for _, megabytes in [*made, *reused, *again])
    yield "the most memory, of all its processes together", f"{most} MB", "under 2048 MB"
