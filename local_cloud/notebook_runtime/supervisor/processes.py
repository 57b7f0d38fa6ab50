"""The processes of an instance: how they begin, how they ended, and who is left of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any


class Children:
    """Starts processes and knows how they ended, and takes in those that others have left: process 1 must, or they stay."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._codes: dict[int, int] = {}
        threading.Thread(target=self._reap, name="reaper", daemon=True).start()

    def start(self, arguments: list[str], **options: Any) -> subprocess.Popen[bytes]:
        """Start a process in a session of its own, with no input unless one is given; ask `wait` here for its end.

        Raises:
            OSError: it cannot start.
        """
        # Under the lock: a process that ends at once must not be taken for one of the same number before it.
        with self._changed:
            process = subprocess.Popen(arguments, start_new_session=True, **{"stdin": subprocess.DEVNULL, **options})
            self._codes.pop(process.pid, None)
            self._changed.notify_all()
            return process

    def wait(self, pid: int, timeout_s: float | None = None) -> int | None:
        """The exit code (128 and the number of the signal), or None where it still runs."""
        with self._changed:
            self._changed.wait_for(lambda: pid in self._codes, timeout_s)
            return self._codes.get(pid)

    def end(self, pid: int, *graces_s: float, group: bool = False) -> None:
        """SIGTERM, then SIGKILL, each with the time to follow it; harmless where it has ended.

        Args:
            pid: the process, or with `group` its whole session.
            graces_s: two times, in seconds.
            group: whether all that it started in its session is meant, too.
        """
        for number, grace_s in zip((signal.SIGTERM, signal.SIGKILL), graces_s, strict=True):
            if self.wait(pid, 0) is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    (os.killpg if group else os.kill)(pid, number)
                self.wait(pid, grace_s)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.wait()
            except ChildProcessError:
                with self._changed:
                    self._changed.wait(0.2)
                continue
            code = os.waitstatus_to_exitcode(status)
            with self._changed:
                self._codes[pid] = code if code >= 0 else 128 - code
                self._changed.notify_all()


def kill_foreground(script: int) -> None:
    """Kill a script and whom it waits for.

    A shell gives what it starts with `&` the input /dev/null; those, and all below them, stay. A script's own input is another.
    """
    family = _parents()
    doomed = [script]
    for pid in doomed:
        for child in [child for child, parent in family.items() if parent == pid]:
            with contextlib.suppress(OSError):
                if str(Path(f"/proc/{child}/fd/0").readlink()) != "/dev/null":
                    doomed.append(child)
    for pid in doomed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_descendants() -> None:
    """Kill all that this process, or what it had started, has started: on Linux it has become the parent of those left."""
    for _ in range(20):
        family, mine = _parents(), {os.getpid()}
        while grown := {child for child, parent in family.items() if parent in mine} - mine:
            mine |= grown
        mine.discard(os.getpid())
        if not mine:
            return
        for pid in mine:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _parents() -> dict[int, int]:
    """Each process's parent, without those that have ended."""
    if not Path("/proc/self").exists():
        # Beside the reaper, which may take its end: the list is in the output.
        listed = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=False).stdout
        return {int(pid): int(parent) for pid, parent in (line.split() for line in listed.splitlines())}
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The second field is the program's name in parentheses, and may hold anything.
            state, parent, *_ = path.read_text(errors="replace").rpartition(")")[2].split()
            if state != "Z":
                found[int(path.parent.name)] = int(parent)
    return found
