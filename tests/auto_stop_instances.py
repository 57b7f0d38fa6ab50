"""A notebook instance for tests of auto-stop: a volume, a clock that tests turn, real processes of this test alone."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import auto_stop

MARK = "SAGESTACK_TEST_INSTANCE"


class Instance(auto_stop.World):
    """What the program sees, with a clock that stands still until a test turns it."""

    def __init__(self, folder: Path, mark: str | None = None) -> None:
        self.home = folder / "SageMaker" / ".sagestack"
        self.home.mkdir(parents=True)
        self.warning = self.home.parent / "STOPPING-SOON.txt"
        self.runtime = folder / "runtime"
        self.workspaces = folder / "workspaces"
        self.state = folder / "state.json"
        self.metadata = folder / "resource-metadata.json"
        self.metadata.write_text(
            json.dumps(
                {
                    "ResourceArn": "arn:aws:sagemaker:eu-central-1:123456789012:notebook-instance/sagestack-dev-explore",
                    "ResourceName": "sagestack-dev-explore",
                }
            )
        )
        self.proc = folder / "proc"
        (self.proc / "1").mkdir(parents=True)
        (self.proc / "sys/kernel/random").mkdir(parents=True)
        self.boots(1)
        # Nobody listens at this port: a privileged one, reserved.
        self.jupyter = "https://127.0.0.1:1"
        self.timeout_s = 60.0
        self.settings = {**auto_stop.DEFAULTS, "idle_minutes": 10, "warn_minutes": 2, "open_tab_minutes": 20}
        self.notes = []
        self.mark = mark or secrets.token_hex(8)
        self.clock, self.time = 1000.0, 1_790_000_000.0
        self.failure: Exception | None = None
        self.stops: list[tuple[str, str]] = []
        self.history: list[dict[str, Any]] = []
        self.children: list[subprocess.Popen[bytes]] = []

    def monotonic(self) -> float:
        return self.clock

    def wall(self) -> float:
        return self.time

    def sleep(self, seconds: Any) -> None:
        time.sleep(seconds / 5)

    def stop(self, name: str, region: str) -> None:
        if self.failure is not None:
            raise self.failure
        self.stops.append((name, region))

    def boots(self, number: int) -> None:
        """As after a start of the machine."""
        (self.proc / "sys/kernel/random/boot_id").write_text(f"boot-{number}\n")
        (self.proc / "1/stat").write_text("1 (init) S " + "0 " * 49)

    def see_processes(self) -> None:
        """Its processes are those that have the mark in their environment, and are otherwise as they are."""
        for link in self.proc.iterdir():
            if link.is_symlink():
                link.unlink()
        for folder in Path("/proc").iterdir():
            try:
                if folder.name.isdigit() and f"{MARK}={self.mark}".encode() in (folder / "environ").read_bytes():
                    (self.proc / folder.name).symlink_to(folder)
            except OSError:
                continue

    def look(self, minutes: float = 1) -> dict[str, Any]:
        """The timer runs the program, so many minutes after the last time."""
        self.clock += 60 * minutes
        self.time += 60 * minutes
        self.see_processes()
        self.history.append(auto_stop.run(self))
        return self.history[-1]

    def minutes_until_stop(self, most: int) -> int | None:
        """After how many looks, a minute each, it was stopped; None where it was not."""
        for minute in range(1, most + 1):
            if self.look()["state"] == "stopping":
                return minute
        return None

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """A process of a person, with no terminal."""
        child = subprocess.Popen(
            command,
            env={**os.environ, MARK: self.mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.children.append(child)
        return child

    def close(self) -> None:
        for child in self.children:
            if child.poll() is None:
                child.send_signal(signal.SIGCONT)
                child.kill()
            child.wait()
