"""Ends the processes that a killed local cloud left: at once by a watcher, or at the next start.

Run as a program (`python leftovers.py FOLDER`) it is the watcher: the local cloud holds the other end of its standard
input, which closes when the local cloud ends, however it ends. Standard library only, so that it starts in milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path


def start_time(pid: int) -> str | None:
    """When a process was started, in whatever unit the system has; None if there is no such process.

    With the pid it names one process for good: a pid alone may belong to another one later.
    """
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self").exists():
        try:
            # The second field is the program's name in parentheses, and may hold spaces; the start time is field 22.
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] == "Z" else fields[19]
    listed = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout.strip() or None


def record(folder: Path, pid: int) -> Path:
    """Note a process group's leader, to be ended if the local cloud dies; remove the file when it has ended."""
    path = folder / f"{pid}.pid"
    path.write_text(start_time(pid) or "")
    return path


def kill_group(leader: int) -> None:
    """Kill a process and all that it started; harmless if nobody of them is left."""
    # EPERM is macOS's answer where only zombies are left in the group.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def end_all(folder: Path) -> int:
    """Kill every process group that is on record in a folder; how many there were."""
    ended = 0
    for path in _records(folder):
        pid = int(path.stem)
        try:
            started = path.read_text()
        except OSError:
            continue
        if started and start_time(pid) == started:
            kill_group(pid)
            ended += 1
        path.unlink(missing_ok=True)
    return ended


def _records(folder: Path) -> list[Path]:
    # The watcher of a local cloud that was killed and the next one both clean up, and one of them is first.
    with contextlib.suppress(FileNotFoundError):
        return [path for path in folder.iterdir() if path.suffix == ".pid"]
    return []


def run_folder(runs: Path) -> tuple[Path, int]:
    """A folder for the records of a run that begins, once those of runs that were killed are gone with their processes.

    Returns:
        The folder, and how many process groups were left.
    """
    # Not above: the watcher does without, and is to start at once.
    import tempfile

    ended = 0
    for folder in runs.glob("run-*"):
        ended += end_all(folder)
        shutil.rmtree(folder, ignore_errors=True)
    runs.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="run-", dir=runs)), ended


def main() -> None:
    """Wait until the local cloud has ended, then clean up after it."""
    # Whoever stops the local cloud with Ctrl-C means the cloud: it tells its containers itself.
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_number, signal.SIG_IGN)
    folder = Path(sys.argv[1])
    sys.stdin.buffer.read()
    end_all(folder)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
