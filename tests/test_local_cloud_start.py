"""How the local cloud starts, or says why it cannot."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.local_cloud_fixtures import PYTHON, ROOT, LocalCloud
from tests.waiting import wait_for


def start(state_dir: Path, port: int, **environment: str) -> subprocess.CompletedProcess[str]:
    """The program, which is expected to end by itself."""
    return subprocess.run(
        [PYTHON, "-m", "local_cloud", "--state-dir", state_dir, "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_taken_port_is_named_with_the_way_out(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = start(tmp_path, port)
    assert ended.returncode == 1
    assert f"Port {port} on 127.0.0.1 cannot be used" in ended.stderr
    assert f"PORT={port + 1} make up" in ended.stderr


def test_two_clouds_on_one_state_are_refused(own_cloud: LocalCloud) -> None:
    ended = start(own_cloud.state_dir, free_port())
    assert ended.returncode == 1
    assert own_cloud.process is not None
    assert f"Another local cloud (process {own_cloud.process.pid}) uses {own_cloud.state_dir}" in ended.stderr


@pytest.mark.parametrize(
    ("runner", "said"),
    [
        ("docker", "SAGESTACK_RUNNER=docker, but no container engine answers (DOCKER_HOST=unix:///nowhere.sock)"),
        ("podman", "SAGESTACK_RUNNER must be auto, docker or process, got 'podman'"),
    ],
)
def test_a_runner_that_is_not_there_is_refused(tmp_path: Path, runner: str, said: str) -> None:
    ended = start(tmp_path, free_port(), SAGESTACK_RUNNER=runner, DOCKER_HOST="unix:///nowhere.sock")
    assert ended.returncode == 1
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="the kernel's list of sockets is Linux's")
def test_it_listens_on_loopback_only(cloud: LocalCloud) -> None:
    def listening() -> set[str]:
        return {
            line.split()[1]
            for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
            if line.split()[3] == "0A" and int(line.split()[1].split(":")[1], 16) == cloud.port
        }

    # The list is read in pieces, between which it changes: one that is there may be missed, or told twice.
    assert wait_for(listening) == {f"0100007F:{cloud.port:04X}"}
