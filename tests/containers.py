"""The docker command, as the tests of images use it."""

from __future__ import annotations

import socket
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from local_cloud.sagemaker import loopback_ports

# As tight as it gets: nothing of the image can be written, nothing gained.
LOCKED_DOWN = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]


def docker(*arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=timeout, check=False)


def build(context: Path, tag: str, *arguments: str) -> str:
    # The host's network, because an engine without its own bridge has no other.
    done = docker("build", "--network=host", *arguments, "--tag", tag, str(context), timeout=500)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return tag


def step(image: str, base: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a job's container: no network, and the folder mounted where SageMaker would."""
    return docker("run", "--rm", "--network", "none", *LOCKED_DOWN, "--volume", f"{base}:/opt/ml", image, *command)


def open_to_all(base: Path) -> None:
    """The container's user is not the one who runs the tests."""
    for path in [base, *base.rglob("*")]:
        path.chmod(0o777 if path.is_dir() else 0o666)


@contextmanager
def serving_container(image: str, *options: str) -> Iterator[tuple[str, int]]:
    """A server on the loopback of this machine: its container's name and its port."""
    port = loopback_ports.take()
    name = f"sagestack-{uuid.uuid4().hex[:12]}"
    where = ["--env", "SAGEMAKER_BIND_TO_HOST=127.0.0.1", "--env", f"SAGEMAKER_BIND_TO_PORT={port}"]
    try:
        started = docker(
            "run", "--detach", "--name", name, "--network", "host", *LOCKED_DOWN, *where, *options, image, "serve"
        )
        assert started.returncode == 0, started.stderr
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, docker("logs", name).stdout
                time.sleep(0.05)
        yield name, port
    finally:
        docker("rm", "--force", name)
        loopback_ports.release(port)


@contextmanager
def job_containers(image: str, bases: Sequence[Path], *options: str) -> Iterator[list[str]]:
    """A training job on several hosts, none of which has a network but the one that they share: their loopback."""
    names = [f"sagestack-{uuid.uuid4().hex[:12]}" for _ in bases]
    try:
        for number, (name, base) in enumerate(zip(names, bases, strict=True)):
            network = "none" if number == 0 else f"container:{names[0]}"
            mount = ["--volume", f"{base}:/opt/ml"]
            done = docker(
                "run", "--detach", "--name", name, "--network", network, *LOCKED_DOWN, *mount, *options, image
            )
            assert done.returncode == 0, done.stderr
        yield names
    finally:
        docker("rm", "--force", *names)


def wait(name: str, seconds: int = 120) -> int:
    """The exit code of a container, once it has one."""
    done = docker("wait", name, timeout=seconds)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)
