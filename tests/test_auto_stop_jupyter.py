"""Auto-stop against a real Jupyter server: the instance is stopped, or not, as a person would want."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import auto_stop
import pytest
from auto_stop_processes import Process
from auto_stop_signs import HERTZ

from tests.auto_stop_instances import MARK, Instance
from tests.jupyter_servers import PROMPT, JupyterServer, WebSocket, jupyter_server, wait_for

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
    root = tmp_path_factory.getbasetemp()
    with jupyter_server(home, root=root, environment={MARK: SERVER_MARK}, program="jupyter-lab") as server:
        yield server


@pytest.fixture
def instance(server: JupyterServer, tmp_path: Path) -> Iterator[Instance]:
    instance = Instance(tmp_path, SERVER_MARK)
    instance.runtime = server.runtime
    yield instance
    instance.close()
    server.close_all()
    # The next test's instance has the same mark.
    wait_for("the end of what it ran", lambda: {each.pid for each in processes(instance)} <= {server.process.pid})


def processes(instance: Instance, command: str = "") -> list[Process]:
    """Those of the instance that run, with this in their command line."""
    instance.see_processes()
    found = []
    for link in instance.proc.iterdir():
        with suppress(OSError):
            if link.is_symlink() and command in " ".join((process := Process(link)).words):
                found.append(process)
    return [each for each in found if not each.has_ended]


def is_never_stopped(instance: Instance, why: str, used: Callable[[], int], each_time: int) -> None:
    """Not stopped, though it is idle after a second: each half of one sees some work, however long that takes on this machine."""
    instance.settings.update(idle_minutes=1 / 60, warn_minutes=0)
    instance.look()
    for _ in range(6):
        before = used()
        wait_for("some work", lambda before=before: used() - before >= each_time)  # type: ignore[misc]
        assert instance.look(0.5 / 60)["state"] == "in use"
        assert why in instance.history[-1]["why"]


def computes(instance: Instance) -> None:
    """What burns is never stopped: a fifth of a processor is enough."""
    ticks = lambda: sum(each.ticks for each in processes(instance, BURN))  # noqa: E731
    is_never_stopped(instance, "of a processor", ticks, HERTZ // 10)


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
    assert instance.minutes_until_stop(25) is None
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
    assert instance.minutes_until_stop(20) == 10


@pytest.mark.parametrize("line", ["sleep 3600", "sleep 3600 &", "bash -c 'sleep 3600; true'"])
def test_a_job_in_a_terminal_is_not_stopped(server: JupyterServer, instance: Instance, line: str) -> None:
    terminal = server.open_terminal()
    server.type(terminal, line, returns=line.endswith("&"))
    wait_for("the job", lambda: "runs in a terminal" in str(instance.look()))
    assert instance.minutes_until_stop(15) is None
    server.request("DELETE", f"terminals/{terminal}")
    wait_for("its end", lambda: not processes(instance, "sleep 3600"))
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
        env={**os.environ, MARK: instance.mark, "PS1": PROMPT},
        preexec_fn=lambda: os.login_tty(terminal),
    )
    instance.children.append(shell)
    os.close(terminal)

    def sees_the_prompt() -> None:
        shown = b""
        while PROMPT.encode() not in shown:
            assert select.select([person], [], [], 60)[0], shown
            shown += os.read(person, 1 << 16)

    try:
        sees_the_prompt()
        os.write(person, b"sleep 3600\n")
        wait_for("the job", lambda: "runs in a terminal" in str(instance.look()))
        assert instance.minutes_until_stop(30) is None
        os.write(person, b"\x03")
        sees_the_prompt()
        wait_for("its end", lambda: not processes(instance, "sleep 3600"))
        assert instance.minutes_until_stop(20) in (10, 11)
    finally:
        os.close(person)


def test_a_detached_job_that_computes_is_not_stopped(server: JupyterServer, instance: Instance) -> None:
    terminal = server.open_terminal()
    server.type(terminal, f"nohup setsid {sys.executable} -c '{BURN}' >/dev/null 2>&1 &")
    wait_for("the job", lambda: any(each.words[0] == sys.executable for each in processes(instance, BURN)))
    server.type(terminal, "exit", returns=False)
    wait_for("its end", lambda: not server.request("GET", "terminals"))
    try:
        computes(instance)
    finally:
        for job in processes(instance, BURN):
            os.kill(job.pid, signal.SIGKILL)
    assert instance.minutes_until_stop(5)


def test_a_detached_job_that_sleeps_is_stopped(instance: Instance) -> None:
    instance.start("nohup", "sleep", "3600")
    instance.look()
    assert instance.minutes_until_stop(20) == 10


@contextmanager
def slow_download() -> Iterator[str]:
    """A URL whose file never ends: 640 kB/s."""
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            try:
                while not ended.wait(0.05):
                    self.wfile.write(bytes(32_000))
            except OSError:
                return

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{web.server_port}/"
        finally:
            ended.set()
            web.shutdown()


def test_a_long_download_is_not_stopped(instance: Instance, tmp_path: Path) -> None:
    # It must not be its processor time that shows it.
    instance.settings.update(cpu_percent=1e9)
    with slow_download() as url:
        script = f"import urllib.request as u; u.urlretrieve({url!r}, {str(tmp_path / 'file')!r})"
        download = instance.start(sys.executable, "-c", script)
        wait_for("the first bytes", lambda: (tmp_path / "file").exists())
        is_never_stopped(instance, "kB/s", lambda: Process(Path(f"/proc/{download.pid}")).moved, 100_000)
        download.send_signal(signal.SIGSTOP)
        assert instance.minutes_until_stop(5)


@pytest.mark.parametrize("ended", [False, True], ids=["attached", "after its terminal is closed"])
def test_a_job_in_tmux_is_not_stopped(server: JupyterServer, instance: Instance, tmp_path: Path, ended: bool) -> None:
    tmux, terminal = f"tmux -S {tmp_path / 'tmux'}", server.open_terminal()
    server.type(terminal, f"{tmux} new-session -d 'sleep 3600'; {tmux} {'ls' if ended else 'attach'}", returns=ended)
    wait_for("the job", lambda: "sleep" in json.dumps(instance.look()))
    if ended:
        server.request("DELETE", f"terminals/{terminal}")
    try:
        assert instance.minutes_until_stop(15) is None
    finally:
        subprocess.run([*tmux.split(), "kill-server"], check=True)


def test_what_a_cell_left_running_counts_when_it_computes(server: JupyterServer, instance: Instance) -> None:
    """As training that a notebook starts with Popen, while its kernel is idle."""
    kernel = server.start_kernel()
    server.run(kernel, f"import subprocess, sys; job = subprocess.Popen([sys.executable, '-c', '{BURN}'])")
    computes(instance)
    server.run(kernel, "job.kill(); job.wait()")
    assert instance.minutes_until_stop(5)


@pytest.mark.parametrize("code", ["input('Which one? ')", "import pdb; pdb.run('1')"], ids=["input", "debugger"])
def test_a_kernel_that_waits_for_an_answer_is_busy(server: JupyterServer, instance: Instance, code: str) -> None:
    """What it holds in memory is somebody's, who comes back to it."""
    kernel = server.start_kernel()
    with server.open_kernel(kernel) as connection:
        connection.execute(code, answers=True)
        while connection.receive()["msg_type"] != "input_request":
            pass
    assert instance.minutes_until_stop(30) is None
    assert "is busy" in instance.history[-1]["why"]


# --- Open connections ------------------------------------------------------------------------------------


def test_an_open_notebook_holds_it_longer_but_not_for_ever(server: JupyterServer, instance: Instance) -> None:
    kernel = idle_kernel(server)
    with server.open_kernel(kernel):
        instance.look()
        assert instance.minutes_until_stop(40) == 20
        assert instance.history[-1]["open_tab"]


def test_a_tab_that_is_closed_holds_nothing_but_the_warning_comes_first(
    server: JupyterServer, instance: Instance
) -> None:
    kernel = idle_kernel(server)
    with server.open_kernel(kernel):
        instance.look()
        assert instance.minutes_until_stop(15) is None
        assert instance.history[-1]["state"] == "idle"
    assert instance.look()["state"] == "stopping soon"
    assert instance.minutes_until_stop(20) == 2


def test_a_tab_that_only_polls_is_stopped(server: JupyterServer, instance: Instance) -> None:
    idle_kernel(server)
    server.open_terminal()
    server.rest()
    instance.look()
    minutes = 0
    while instance.stops == []:
        for path in ("kernels", "sessions", "terminals", "contents", "kernelspecs", "status"):
            server.request("GET", path)
        instance.look()
        minutes += 1
        assert minutes <= 10


def test_who_writes_text_works(server: JupyterServer, instance: Instance) -> None:
    notes = (instance.home.parent / "notes.md").relative_to(server.info["root_dir"])
    instance.look()
    for text in ("one", "two"):
        assert instance.minutes_until_stop(9) is None
        server.request("PUT", f"contents/{notes}", {"type": "file", "format": "text", "content": text})
    assert instance.minutes_until_stop(9) is None
    assert instance.minutes_until_stop(9) == 2


# --- Time ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("years", [-30, -0.001, 0.001, 30])
def test_a_clock_that_is_set_stops_nothing_too_early_and_keeps_nothing_alive(
    server: JupyterServer, instance: Instance, years: float
) -> None:
    idle_kernel(server)
    instance.look()
    assert instance.minutes_until_stop(4) is None
    instance.time += years * 365 * 86400
    assert instance.minutes_until_stop(20) == 6


def test_a_machine_that_was_suspended_gets_its_time_again(server: JupyterServer, instance: Instance) -> None:
    idle_kernel(server)
    instance.look()
    # Hours of the wall clock, and of the monotonic one where it counts them, in which nothing could be seen.
    assert instance.look(600)["state"] == "idle"
    assert instance.minutes_until_stop(20) == 5


def test_a_machine_that_was_started_anew_counts_anew(server: JupyterServer, instance: Instance) -> None:
    idle_kernel(server)
    instance.look()
    assert instance.minutes_until_stop(9) is None
    assert instance.warning.exists()
    instance.boots(2)
    instance.clock = 5.0
    assert instance.look()["state"] == "idle"
    assert not instance.warning.exists()
    assert instance.minutes_until_stop(20) == 10


# --- The warning -----------------------------------------------------------------------------------------


def test_the_warning_is_in_the_folder_and_in_terminals_and_is_no_activity(
    server: JupyterServer, instance: Instance
) -> None:
    terminal = server.open_terminal()
    instance.look()
    assert instance.minutes_until_stop(9) is None
    assert instance.warning.read_text().startswith("This notebook instance stops in about 2 minutes")
    assert instance.minutes_until_stop(9) in (1, 2)
    # Who looks at the terminal again finds it there.
    with WebSocket.to(server, f"terminals/websocket/{terminal}", "") as connection:
        seen = ""
        while "keep-running 4h" not in seen:
            kind, *words = connection.receive()
            seen += words[0] if kind == "stdout" else ""


def test_the_warning_is_withdrawn_when_somebody_works(server: JupyterServer, instance: Instance) -> None:
    kernel = idle_kernel(server)
    instance.look()
    assert instance.minutes_until_stop(9) is None
    assert instance.warning.exists()
    server.run(kernel, "1")
    assert instance.look()["state"] == "in use"
    assert not instance.warning.exists()
    assert instance.minutes_until_stop(20) == 10


# --- Servers ---------------------------------------------------------------------------------------------


@contextmanager
def known_to(instance: Instance, *servers: JupyterServer) -> Iterator[None]:
    """The instance has the runtime files of these servers, as if all were its owner's."""
    usual = instance.runtime
    instance.runtime = instance.home.parent.parent / "runtime"
    instance.runtime.mkdir()
    for server in servers:
        for path in server.runtime.glob("jpserver-*.json"):
            (instance.runtime / path.name).write_bytes(path.read_bytes())
    yield
    instance.runtime = usual


def test_every_server_counts_whatever_its_path_and_token(
    server: JupyterServer, instance: Instance, tmp_path: Path
) -> None:
    options = ("--ServerApp.base_url=/team/ada/", "--IdentityProvider.token=secret")
    with jupyter_server(tmp_path / "second", *options, environment={MARK: SERVER_MARK}) as second:
        idle_kernel(server)
        kernel = second.start_kernel()
        second.run(kernel, "import time; time.sleep(3600)", state="busy")
        with known_to(instance, server, second):
            assert instance.minutes_until_stop(30) is None
            assert instance.history[-1]["could_not_find_out"] == []
            second.request("DELETE", f"kernels/{kernel}")
            assert instance.minutes_until_stop(20) in (10, 11)


def as_of_aws(folder: Path) -> tuple[str, ...]:
    """Options with which a server is like an instance's own: HTTPS with a certificate that nobody signed, and no token."""
    certificate, public = folder / "certificate.pem", folder / "public.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=nobody", "-days", "1"),
            "-keyout",
            str(certificate),
            "-out",
            str(public),
        ],
        check=True,
        capture_output=True,
    )
    certificate.write_text(certificate.read_text() + public.read_text())
    return (
        f"--ServerApp.certfile={certificate}",
        "--IdentityProvider.token=",
        "--ServerApp.disable_check_xsrf=True",
    )


def test_the_instances_own_server_needs_no_token_and_its_certificate_is_its_own(
    instance: Instance, tmp_path: Path
) -> None:
    """As AWS starts it, with no runtime file that we could read."""
    with jupyter_server(tmp_path / "aws", *as_of_aws(tmp_path)) as own:
        instance.runtime = tmp_path / "nothing"
        instance.jupyter = f"https://localhost:{own.info['port']}"
        instance.look()
        assert instance.minutes_until_stop(9) is None
        assert instance.history[-1]["could_not_find_out"] == []
        own.start_kernel()
        assert "kernel python3" in instance.look()["why"]


@contextmanager
def browser(own: JupyterServer, file: str) -> Iterator[Callable[[int], None]]:
    """Downloads a file of the server's folder, so many bytes each time that it is called."""
    with (
        socket.create_connection(("127.0.0.1", own.info["port"]), timeout=60) as plain,
        ssl._create_unverified_context().wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(f"GET /files/{file} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

        def read(count: int) -> None:
            while count > 0:
                count -= len(connection.recv(min(count, 1 << 16)))

        yield read


def test_a_download_by_the_browser_is_not_broken_off(instance: Instance, tmp_path: Path) -> None:
    with jupyter_server(tmp_path / "aws", *as_of_aws(tmp_path), environment={MARK: instance.mark}) as own:
        instance.runtime = own.runtime
        (own.home / "results.bin").write_bytes(bytes(200_000_000))
        # It must not be its processor time that shows it.
        instance.settings.update(cpu_percent=100_000, open_tab_minutes=100)
        with browser(own, "results.bin") as read:
            instance.look()
            for _ in range(12):
                # More than sockets keep to themselves.
                read(15_000_000)
                assert instance.look()["open_tab"]
        assert instance.stops == []
        assert instance.minutes_until_stop(20)


@contextmanager
def hanging(server: JupyterServer, instance: Instance) -> Iterator[None]:
    """It takes connections and answers none."""
    patience, instance.timeout_s = instance.timeout_s, 0.05
    server.process.send_signal(signal.SIGSTOP)
    wait_for("its standstill", lambda: ") T " in Path(f"/proc/{server.process.pid}/stat").read_text())
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)
        instance.timeout_s = patience


def test_a_server_that_is_down_is_idle_after_a_while_unless_something_works(instance: Instance, tmp_path: Path) -> None:
    with jupyter_server(tmp_path / "own", environment={MARK: SERVER_MARK}) as server:
        instance.runtime = server.runtime
        instance.look()
        assert instance.minutes_until_stop(5) is None
        server.process.kill()
        server.process.wait()
    assert list(instance.runtime.glob("jpserver-*.json"))
    # Five more minutes would do for who was idle. But it may be about to be started again, for all that we know.
    assert instance.minutes_until_stop(10) is None
    assert "https://127.0.0.1:1:" in str(instance.history[-1]["could_not_find_out"])
    work = instance.start(sys.executable, "-c", BURN)
    computes(instance)
    work.kill()
    work.wait()
    assert instance.minutes_until_stop(5)


def test_a_server_that_hangs_is_idle_after_a_while(server: JupyterServer, instance: Instance) -> None:
    instance.look()
    with hanging(server, instance):
        assert instance.minutes_until_stop(10) is None
        assert instance.history[-1]["could_not_find_out"]
        assert instance.minutes_until_stop(9) == 1


def test_one_bad_answer_stops_nothing(server: JupyterServer, instance: Instance) -> None:
    kernel = idle_kernel(server)
    instance.look()
    assert instance.minutes_until_stop(9) is None
    server.run(kernel, "import time; time.sleep(3600)", state="busy")
    with hanging(server, instance):
        for _ in range(5):
            assert instance.look()["state"] == "stopping soon"
    assert instance.look()["state"] == "in use"
    assert not instance.warning.exists()


def test_a_hiccup_of_the_server_is_no_activity(server: JupyterServer, instance: Instance) -> None:
    idle_kernel(server)
    server.open_terminal()
    server.rest()
    instance.look()
    assert instance.minutes_until_stop(5) is None
    with hanging(server, instance):
        assert instance.minutes_until_stop(1) is None
    assert instance.minutes_until_stop(9) == 4


def test_a_server_that_wants_another_token_is_in_doubt(server: JupyterServer, instance: Instance) -> None:
    with known_to(instance, server):
        (path,) = instance.runtime.glob("jpserver-*.json")
        path.write_text(json.dumps({**server.info, "token": "wrong"}))
        assert "403" in str(instance.look()["could_not_find_out"])


def test_runtime_files_of_servers_that_are_gone_delay_nothing(server: JupyterServer, instance: Instance) -> None:
    with known_to(instance, server):
        for pid, text in (("999999", json.dumps({**server.info, "pid": 999999, "port": 1})), ("2", "{"), ("3", "[]")):
            (instance.runtime / f"jpserver-{pid}.json").write_text(text)
        instance.look()
        assert instance.minutes_until_stop(20) == 10
        assert instance.history[-1]["could_not_find_out"] == []


# --- As it is started ------------------------------------------------------------------------------------


def test_the_program_stops_the_instance_by_the_command_line_of_aws(instance: Instance, server: JupyterServer) -> None:
    """As the timer runs it, on a machine whose Python has no boto3."""
    folder = instance.home.parent.parent
    aws = folder / "bin" / "aws"
    aws.parent.mkdir()
    aws.write_text(f'#!/bin/sh\necho "$@" >> {folder}/calls\n')
    aws.chmod(0o755)
    (folder / "settings.json").write_text(json.dumps({"idle_minutes": 0.0001, "warn_minutes": 0}))
    environment = {
        "HOME": str(server.home),
        "PATH": f"{aws.parent}:/usr/bin:/bin",
        "SAGESTACK_HOME": str(instance.home),
        "SAGESTACK_METADATA": str(instance.metadata),
        "SAGESTACK_PROC": str(instance.proc),
        "SAGESTACK_AUTO_STOP_STATE": str(instance.state),
        "SAGESTACK_AUTO_STOP_SETTINGS": str(folder / "settings.json"),
    }
    program = Path(auto_stop.__file__)

    def once() -> bool:
        # -I: nothing of the project's environment is there, boto3 neither.
        command = [
            str(Path(sys.base_prefix) / "bin" / "python3"),
            "-c",
            f"import runpy, sys; sys.path[:0] = [{str(program.parent)!r}]; "
            f"sys.modules['boto3'] = None; runpy.run_path({str(program)!r}, run_name='__main__')",
        ]
        subprocess.run(command, env=environment, check=True)
        return (folder / "calls").exists()

    wait_for("the stop", once)
    assert (folder / "calls").read_text().split() == [
        *("sagemaker", "stop-notebook-instance", "--notebook-instance-name", "sagestack-dev-explore"),
        *("--region", "eu-central-1"),
    ]
