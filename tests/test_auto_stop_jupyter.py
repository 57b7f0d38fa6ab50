"""Auto-stop against a real Jupyter server: the instance is stopped, or not, as a person would want."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.auto_stop_instances import MARK, Instance
from tests.jupyter_servers import JupyterServer, jupyter_server, wait_for

pytestmark = pytest.mark.notebook

SERVER_MARK = f"server-{os.getpid()}"
BURN = "while True: pass"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """JupyterLab, whose kernels and terminals have the mark that makes them the instance's processes."""
    home = tmp_path_factory.mktemp("jupyter")
    kernels = home / ".local/share/jupyter/kernels"
    for name, argv in {"never-ready": ["sleep", "3600"]}.items():
        (kernels / name).mkdir(parents=True)
        (kernels / name / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": name, "language": "x"}))
    with jupyter_server(home, environment={MARK: SERVER_MARK}, program="jupyter-lab") as server:
        yield server


@pytest.fixture
def instance(server: JupyterServer, tmp_path: Path) -> Iterator[Instance]:
    instance = Instance(tmp_path, SERVER_MARK)
    instance.runtime = server.runtime
    yield instance
    instance.close()
    server.close_all()


def idle_kernel(server: JupyterServer) -> str:
    kernel = server.start_kernel()
    server.run(kernel, "1")
    return kernel


# --- Kernels ---------------------------------------------------------------------------------------------


def test_it_stops_where_nobody_ever_opened_a_notebook(instance: Instance) -> None:
    instance.look()
    assert instance.minutes_until_stop(20) == 10
    assert instance.stops == [("sagestack-dev-explore", "eu-central-1")]


def test_an_idle_kernel_is_stopped(server: JupyterServer, instance: Instance) -> None:
    idle_kernel(server)
    instance.look()
    assert instance.minutes_until_stop(20) == 10


def test_a_busy_kernel_is_never_stopped(server: JupyterServer, instance: Instance) -> None:
    kernel = idle_kernel(server)
    server.run(kernel, "import time; time.sleep(3600)", state="busy")
    assert instance.minutes_until_stop(100) is None
    assert "is busy" in instance.history[-1]["why"]


def test_the_time_counts_from_when_the_kernel_was_done(server: JupyterServer, instance: Instance) -> None:
    kernel = idle_kernel(server)
    server.run(kernel, "import time; time.sleep(3600)", state="busy")
    assert instance.minutes_until_stop(15) is None
    server.request("POST", f"kernels/{kernel}/interrupt")
    wait_for("the kernel", lambda: server.state(kernel) == "idle")
    assert instance.minutes_until_stop(20) == 11  # the first of them sees that it has worked


def test_who_runs_a_cell_now_and_then_works(server: JupyterServer, instance: Instance) -> None:
    kernel = idle_kernel(server)
    instance.look()
    for _ in range(3):
        assert instance.minutes_until_stop(9) is None
        server.run(kernel, "1")
    assert instance.minutes_until_stop(9) is None


def test_a_kernel_that_never_gets_ready_keeps_nothing_alive(server: JupyterServer, instance: Instance) -> None:
    kernel = server.start_kernel("never-ready")
    instance.look()
    assert server.state(kernel) == "starting"
    assert instance.minutes_until_stop(9) is None
    assert "is starting" in instance.history[-1]["why"]
    # Ten minutes in which it counts as work, then ten in which nothing does.
    assert instance.minutes_until_stop(30) == 10


# --- Terminals and processes -----------------------------------------------------------------------------


def test_a_terminal_at_its_prompt_is_stopped(server: JupyterServer, instance: Instance) -> None:
    server.type(server.open_terminal(), "echo hello")
    instance.look()
    assert instance.minutes_until_stop(20) in (10, 11)  # the prompt may come after the first look


@pytest.mark.parametrize("line", ["sleep 3600", "sleep 3600 &", "bash -c 'sleep 3600; true'"])
def test_a_job_in_a_terminal_is_not_stopped(server: JupyterServer, instance: Instance, line: str) -> None:
    terminal = server.open_terminal()
    server.type(terminal, line)
    wait_for("the job", lambda: "runs in a terminal" in str(instance.look()))
    assert instance.minutes_until_stop(50) is None
    server.request("DELETE", f"terminals/{terminal}")
    assert instance.minutes_until_stop(20) in (10, 11)


def test_who_types_in_a_terminal_works(server: JupyterServer, instance: Instance) -> None:
    terminal = server.open_terminal()
    instance.look()
    for word in ("one", "two"):
        assert instance.minutes_until_stop(9) is None
        server.type(terminal, f"echo {word}")
    assert instance.minutes_until_stop(9) is None


def test_a_shell_that_jupyter_knows_nothing_of_is_seen(instance: Instance) -> None:
    """As over SSH, or in tmux."""
    person, terminal = pty.openpty()
    shell = subprocess.Popen(
        ["bash", "--norc", "-i"],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, MARK: instance.mark},
        preexec_fn=lambda: os.login_tty(terminal),
    )
    instance.children.append(shell)
    os.close(terminal)
    try:
        os.write(person, b"sleep 3600\n")
        wait_for("the job", lambda: "runs in a terminal" in str(instance.look()))
        assert instance.minutes_until_stop(30) is None
        os.write(person, b"\x03")
        assert instance.minutes_until_stop(20) in (10, 11)
    finally:
        os.close(person)


def test_a_detached_job_that_computes_is_not_stopped(server: JupyterServer, instance: Instance) -> None:
    terminal = server.open_terminal()
    server.type(terminal, f"nohup setsid {sys.executable} -c '{BURN}' >/dev/null 2>&1 & sleep 0.5; disown")
    instance.look()
    server.request("DELETE", f"terminals/{terminal}")
    try:
        for _ in range(15):
            # The clock of the test is fast, the processor is not: a second of it, a tenth of which is work.
            time.sleep(0.3)
            instance.look(1 / 60)
            instance.clock += 30
        assert instance.stops == []
        assert "of a processor" in str(instance.history[-1])
    finally:
        kill_marked(instance, BURN)


def test_a_detached_job_that_sleeps_is_stopped(instance: Instance) -> None:
    instance.start("nohup", "sleep", "3600")
    instance.look()
    assert instance.minutes_until_stop(20) == 10


def kill_marked(instance: Instance, command: str) -> None:
    instance.see_processes()
    for folder in instance.proc.iterdir():
        if folder.is_symlink() and command in (folder / "cmdline").read_text():
            os.kill(int(folder.name), signal.SIGKILL)
