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

KILLED_WITHIN_S = 10
"""How long those who are killed may take to be gone: even that needs a processor, which a busy machine gives late."""


class Children:
    """Starts processes and knows how they ended, and takes in those that others have left: process 1 must, or they stay."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._codes: dict[int, int] = {}
        # Kept until they are taken in: a Popen that nobody holds asks for its own end, which the reaper would never hear of.
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._is_closed = False
        threading.Thread(target=self._reap, name="reaper", daemon=True).start()

    def start(self, arguments: list[str], **options: Any) -> subprocess.Popen[bytes]:
        """Start a process in a session of its own, with no input unless one is given; ask `wait` here for its end.

        Raises:
            OSError: it cannot start, or nothing is to start any more.
        """
        # Under the lock: a process that ends at once must not be taken for one of the same number before it.
        with self._changed:
            if self._is_closed:
                raise OSError("the instance is stopping")
            process = subprocess.Popen(arguments, start_new_session=True, **{"stdin": subprocess.DEVNULL, **options})
            self._codes.pop(process.pid, None)
            self._running[process.pid] = process
            self._changed.notify_all()
            return process

    def close(self) -> None:
        """Start nothing any more: what began while everything is ended would be left."""
        with self._changed:
            self._is_closed = True

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
                if (process := self._running.pop(pid, None)) is not None:
                    process.returncode = code
                self._changed.notify_all()


def kill_foreground(script: int) -> None:
    """Kill a script and whom it waits for.

    A shell gives what it starts with `&` the input /dev/null; those, and all below them, stay. A script's own input is another.
    """
    doomed = [script]
    for pid in doomed:
        # Before anybody looks whom it waits for: who goes on may start another one meanwhile.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        for child in [child for child, parent in _parents().items() if parent == pid]:
            with contextlib.suppress(OSError):
                if str(Path(f"/proc/{child}/fd/0").readlink()) != "/dev/null":
                    doomed.append(child)
    for pid in doomed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_descendants() -> None:
    """Kill all that this process, or what it had started, has started: on Linux it has become the parent of those left."""
    deadline = time.monotonic() + KILLED_WITHIN_S
    untouchable = set[int]()
    while time.monotonic() < deadline:
        family, mine = _parents(), {os.getpid()}
        while grown := {child for child, parent in family.items() if parent in mine} - mine:
            mine |= grown
        mine.discard(os.getpid())
        for pid in mine - untouchable:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            except PermissionError:
                # Another user's, as below `sudo`: waiting does not end it.
                untouchable.add(pid)
        if mine <= untouchable:
            return
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
