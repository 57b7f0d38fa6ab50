"""Runs a training job on several hosts, which are processes on the loopback interface with a base folder each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_cloud.sagemaker import loopback_ports
from tests.image_environment import python_path

PACKAGE_ROOT = Path(__file__).parents[1] / "model_code" / "images" / "xgboost"
PLAIN_JOB = (sys.executable, str(Path(__file__).with_name("xgboost_plain_job.py")))
TRAIN = (sys.executable, "-m", "xgboost_container", "train")


@dataclass
class Host:
    """One host of the job.

    Attributes:
        base: its SAGEMAKER_BASE_DIR.
    """

    name: str
    base: Path
    process: subprocess.Popen[bytes]

    @property
    def code(self) -> int:
        """Its exit code, negative where a signal ended it."""
        assert self.process.returncode is not None
        return self.process.returncode

    @property
    def failure(self) -> str:
        file = self.base / "output" / "failure"
        return file.read_text().strip() if file.exists() else ""

    @property
    def log(self) -> str:
        return (self.base / "log").read_text(errors="replace")

    @property
    def model_files(self) -> list[str]:
        folder = self.base / "model"
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def wait_for(self, text: str, seconds: float = 60.0) -> None:
        """Wait until it has logged this."""
        deadline = time.monotonic() + seconds
        while True:
            ended = self.process.poll() is not None  # asked first: the text may come right before the end
            if text in self.log:
                return
            assert not ended, f"{self.name} ended before it logged {text!r}: {self.log}"
            assert time.monotonic() < deadline, f"{self.name} never logged {text!r}: {self.log}"
            time.sleep(0.02)

    def go_on(self) -> None:
        """Let a host of the plain job go on that holds."""
        (self.base / "go").touch()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


class Job:
    """The hosts of one job, by their names."""

    def __init__(self, hosts: list[Host]) -> None:
        self.hosts = hosts

    def __getitem__(self, name: str) -> Host:
        return next(host for host in self.hosts if host.name == name)

    def __iter__(self) -> Iterator[Host]:
        return iter(self.hosts)

    def but(self, name: str) -> list[Host]:
        return [host for host in self.hosts if host.name != name]

    def wait(self, seconds: float = 90.0, *, but: Sequence[str] = ()) -> Job:
        """Wait until every host has ended: far longer than that takes, far shorter than the patience of a job that hangs."""
        deadline = time.monotonic() + seconds
        running = [host for host in self.hosts if host.name not in but]
        while running:
            assert time.monotonic() < deadline, f"still running: {[(host.name, host.log) for host in running]}"
            running = [host for host in running if host.process.poll() is None]
            time.sleep(0.01)
        return self

    def report(self) -> str:
        return "\n".join(
            f"--- {host.name}: {host.process.returncode}, {host.failure}\n{host.log}" for host in self.hosts
        )


@contextmanager
def running(
    folder: Path,
    *,
    hosts: int = 2,
    program: Sequence[str] = PLAIN_JOB,
    plan: Mapping[str, Any] | None = None,
    plans: Mapping[str, Mapping[str, Any]] | None = None,
    environment: Mapping[str, str] | None = None,
    absent: Sequence[str] = (),
    port: int | None = None,
) -> Iterator[Job]:
    """A job on so many hosts, named algo-1, algo-2, ..., with their base folders `folder/algo-1`, ....

    Args:
        plan: for the plain job, what all hosts do.
        plans: what one of them does besides.
        environment: variables besides those that a job has.
        absent: hosts that never start.
        port: where the hosts meet; one of their own where none is given.
    """
    own = loopback_ports.take() if port is None else None
    names = [f"algo-{number}" for number in range(1, hosts + 1)]
    shared = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("SAGEMAKER_", "SM_", "TRAINING_"))},
        "PYTHONPATH": python_path(PACKAGE_ROOT),
        "OMP_NUM_THREADS": "1",
        "SAGEMAKER_HOST_ADDRESSES": json.dumps(dict.fromkeys(names, "127.0.0.1")),
        "SAGEMAKER_HOSTS_PORT": str(port if own is None else own),
        # Longer than a test waits: where hosts start apart, and where one is only slow, is no matter of time.
        "SAGEMAKER_HOSTS_CONNECT_SECONDS": "600",
        "SAGEMAKER_HOSTS_SILENCE_SECONDS": "600",
        **(environment or {}),
    }
    started: list[Host] = []
    try:
        for name in names:
            base = folder / name
            config = base / "input" / "config"
            config.mkdir(parents=True, exist_ok=True)
            resources = {"current_host": name, "hosts": names, "network_interface_name": "lo"}
            (config / "resourceconfig.json").write_text(json.dumps(resources))
            mine = {**(plan or {}), **(plans or {}).get(name, {})}
            (base / "plan.json").write_text(json.dumps(mine))
            if name in absent:
                continue
            with (base / "log").open("wb") as log:
                process = subprocess.Popen(
                    program, env={**shared, "SAGEMAKER_BASE_DIR": str(base)}, stdout=log, stderr=subprocess.STDOUT
                )
            started.append(Host(name, base, process))
        yield Job(started)
    finally:
        for host in started:
            host.process.kill()
            host.process.wait()
        if own is not None:
            loopback_ports.release(own)


def run(folder: Path, **how: Any) -> Job:
    """The same, to its end."""
    with running(folder, **how) as job:
        return job.wait()
