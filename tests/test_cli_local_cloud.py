"""`up`, `down` and `env`, with a program in place of the local cloud that keeps the same promises."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from sagestack.cli import local_cloud, registry
from sagestack.cli.main import app
from sagestack.cli.session import Session, local_client
from typer.testing import CliRunner

from local_cloud.sagemaker.loopback_ports import loopback_port
from tests import cli_fakes

runner = CliRunner()

# Holds the lock, answers ListEndpoints, writes cloud.json when ready and removes it when asked to stop.
PROGRAM = """
import argparse, fcntl, http.server, json, os, pathlib, signal, sys, threading
parser = argparse.ArgumentParser()
parser.add_argument("--state-dir", type=pathlib.Path)
parser.add_argument("--port", type=int)
parser.add_argument("--clock-factor", type=float, default=30)
args = parser.parse_args()
if os.environ.get("FAKE_CLOUD_DIES"):
    sys.exit("the disk is full")
lock = open(args.state_dir / "lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
lock.write(str(os.getpid())); lock.flush()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = b'{"Endpoints": [], "PipelineSummaries": []}'
        self.send_response(200); self.send_header("Content-Length", str(len(answer))); self.end_headers()
        self.wfile.write(answer)
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", args.port), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
description = json.loads(os.environ["FAKE_CLOUD"]) | {
    "pid": os.getpid(), "port": args.port, "endpoint_url": f"http://127.0.0.1:{args.port}",
    "clock_factor": args.clock_factor}
(args.state_dir / "cloud.tmp").write_text(json.dumps(description))
(args.state_dir / "cloud.tmp").rename(args.state_dir / "cloud.json")
server.serve_forever()
(args.state_dir / "cloud.json").unlink()
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project whose local cloud is the program above; whatever a test leaves running is stopped."""
    root = cli_fakes.make_project(tmp_path / "with space")
    (root / "local_cloud").mkdir()
    (root / "local_cloud/__main__.py").write_text(PROGRAM)
    (root / ".venv-local-cloud/bin").mkdir(parents=True)
    (root / ".venv-local-cloud/bin/python").symlink_to(sys.executable)
    monkeypatch.chdir(root)
    monkeypatch.setenv("FAKE_CLOUD", json.dumps(asdict(cli_fakes.local_cloud())))
    yield root
    local_cloud.stop(root)


@pytest.fixture
def port() -> Iterator[int]:
    with loopback_port() as port:
        yield port


def _json(*command: str) -> Any:
    result = runner.invoke(app, [*command, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_up_waits_until_it_answers_and_down_stops_it(root: Path, port: int) -> None:
    up = _json("up", "--port", str(port))
    assert up["started"]
    assert up["port"] == port
    assert up["endpoint_url"] == f"http://127.0.0.1:{port}"
    down = _json("down")
    assert (down["stopped"], down["pid"]) == (True, up["pid"])
    assert local_cloud.find(root) is None
    assert not (root / ".local-cloud/cloud.json").exists()


def test_up_twice_leaves_the_first_alone(root: Path, port: int) -> None:
    first = _json("up", "--port", str(port))
    for arguments in ((), ("--port", str(port))):
        again = _json("up", *arguments)
        assert (again["started"], again["pid"]) == (False, first["pid"])
    other = runner.invoke(app, ["up", "--port", str(port + 1)])
    assert other.exit_code == 1
    assert f"already runs on port {port}" in other.stderr
    assert f"PORT={port + 1} make up" in other.stderr


def test_the_clock_is_told_to_the_cloud_and_cannot_change_while_it_runs(root: Path, port: int) -> None:
    assert _json("up", "--port", str(port), "--clock-factor", "60")["clock_factor"] == 60
    assert _json("up")["clock_factor"] == 60
    assert _json("up", "--clock-factor", "60")["started"] is False
    other = runner.invoke(app, ["up", "--clock-factor", "1"])
    assert other.exit_code == 1
    assert "already runs with the clock factor 60" in other.stderr
    assert "sagestack up --clock-factor 1" in other.stderr


@pytest.mark.parametrize("factor", ["0.5", "nan", "fast", "1000"])
def test_a_clock_factor_that_is_none_is_refused(root: Path, factor: str) -> None:
    error = json.loads(runner.invoke(app, ["up", "--clock-factor", factor, "--json"]).stdout)["error"]
    assert f"{factor!r} is not a clock factor (allowed: a number, 1 (as slow as AWS) to 240)" in error["message"]


def test_ctrl_c_in_the_terminal_does_not_reach_it(root: Path, port: int) -> None:
    pid = _json("up", "--port", str(port))["pid"]
    assert os.getsid(pid) != os.getsid(0)


def test_a_taken_port_names_who_has_it_and_the_way_out(root: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = runner.invoke(app, ["up", "--port", str(port)])
    assert result.exit_code == 1
    assert f"Port {port} on 127.0.0.1 cannot be used" in result.stderr
    assert "make up" in result.stderr
    if Path("/proc/net/tcp").exists():
        assert f"process {os.getpid()}" in result.stderr


def test_a_port_that_is_none_is_refused(root: Path) -> None:
    error = json.loads(runner.invoke(app, ["up", "--port", "70000", "--json"]).stdout)["error"]
    assert "'70000' is not a port (allowed: a whole number, 1 to 65535)" in error["message"]


def test_one_that_dies_shows_its_last_words(root: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_CLOUD_DIES", "1")
    result = runner.invoke(app, ["up", "--port", str(port)])
    assert result.exit_code == 1
    assert "exit code 1" in result.stderr
    assert "the disk is full" in result.stderr


def test_one_that_is_not_installed_says_how_to_install_it(root: Path) -> None:
    (root / ".venv-local-cloud/bin/python").unlink()
    result = runner.invoke(app, ["up"])
    assert "is not installed" in result.stderr
    assert "make setup" in result.stderr


def test_a_killed_one_is_not_taken_for_a_running_one(root: Path, port: int) -> None:
    pid = _json("up", "--port", str(port))["pid"]
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert (root / ".local-cloud/cloud.json").exists(), "it had no time to take it away"
    assert runner.invoke(app, ["status"]).exit_code == 1
    assert _json("up", "--port", str(port))["started"]


def test_a_command_whose_cloud_ends_meanwhile_says_so(root: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = _json("up", "--port", str(port))["pid"]
    whole = registry.group_name

    def killing(session: Session, model: str) -> str:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return whole(session, model)

    monkeypatch.setattr(registry, "group_name", killing)
    result = runner.invoke(app, ["approve", "1", "--json"])
    assert result.exit_code == 1
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "not-running"
    assert error["message"] == f"The local cloud (process {pid}) ended while this command worked with it."
    assert "make up" in error["hint"]
    assert str(root / ".local-cloud/cloud.log") in error["hint"]


def test_a_process_that_got_the_id_of_a_killed_one_is_not_touched(root: Path) -> None:
    # Alive, but without the lock: our own process.
    (root / ".local-cloud").mkdir()
    (root / ".local-cloud/lock").write_text(str(os.getpid()))
    (root / ".local-cloud/cloud.json").write_text(json.dumps(asdict(cli_fakes.local_cloud())))
    assert local_cloud.find(root) is None
    assert _json("down") == {"stopped": False, "pid": None, "interrupted_executions": [], "forgotten": False}


def test_a_lock_that_another_program_holds_is_not_answered_with_a_signal(root: Path) -> None:
    (root / ".local-cloud").mkdir()
    sleeper = subprocess.Popen(["sleep", "600"])
    try:
        with (root / ".local-cloud/lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.write(str(sleeper.pid))
            lock.flush()
            result = runner.invoke(app, ["down"])
        assert result.exit_code == 1
        assert f"process {sleeper.pid} is not the local cloud" in result.stderr
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()


def test_down_without_one_says_so_and_is_content(root: Path) -> None:
    result = runner.invoke(app, ["down"])
    assert result.exit_code == 0
    assert "is not running" in result.stdout


def test_forget_deletes_the_state_and_the_pins_but_not_what_is_slow_to_build(root: Path, port: int) -> None:
    _json("up", "--port", str(port))
    state = root / ".local-cloud"
    (state / "s3/bucket").mkdir(parents=True)
    (state / "images/abc").mkdir(parents=True)
    pins = root / "environments/local.pins.yaml"
    pins.write_text("models: {housing: {served_version: 3}}\n")
    assert _json("down", "--forget")["forgotten"]
    assert not (state / "s3").exists()
    assert (state / "images/abc").exists()
    assert not pins.exists(), "it would name a version that is no more"
    assert not _json("down", "--forget")["forgotten"]


def test_env_is_for_eval(root: Path, port: int) -> None:
    _json("up", "--port", str(port))
    printed = runner.invoke(app, ["env"]).stdout
    script = f"AWS_PROFILE=mine; {printed}\n" + 'printf "%s|%s|%s" "$AWS_ENDPOINT_URL" "$AWS_CA_BUNDLE" "$AWS_PROFILE"'
    seen = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert seen == f"http://127.0.0.1:{port}|/with space/certificate.pem|"
    assert shlex.quote("/with space/certificate.pem") in printed
    undo = runner.invoke(app, ["env", "--unset"]).stdout
    script = f"{printed}\n{undo}\nenv"
    left = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, env={}).stdout
    assert "AWS_" not in left
    assert "NODE_EXTRA_CA_CERTS" not in left


def test_env_keeps_a_proxy_away_from_the_local_cloud(root: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    _json("up", "--port", str(port))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert "no_proxy" not in runner.invoke(app, ["env"]).stdout
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", ".corp.example")
    printed = runner.invoke(app, ["env"]).stdout
    assert "export no_proxy=.corp.example,127.0.0.1,localhost" in printed
    assert "export NO_PROXY=.corp.example,127.0.0.1,localhost" in printed


def test_env_without_a_cloud_prints_nothing_to_evaluate(root: Path) -> None:
    result = runner.invoke(app, ["env"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "not running" in result.stderr


def test_a_description_that_cannot_be_read_is_named(root: Path) -> None:
    (root / ".local-cloud").mkdir()
    (root / ".local-cloud/cloud.json").write_text("{")
    assert "cloud.json cannot be read" in runner.invoke(app, ["status"]).stderr


def test_the_machines_own_profile_and_proxy_do_not_reach_the_local_cloud(
    root: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _json("up", "--port", str(port))
    monkeypatch.setenv("AWS_PROFILE", "not-there")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    cloud = local_cloud.require(root)
    assert local_client(cloud, "sagemaker").list_endpoints()["Endpoints"] == []


def test_a_second_demo_names_the_first(root: Path) -> None:
    (root / ".local-cloud").mkdir()
    with (root / ".local-cloud/demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4711")
        lock.flush()
        result = runner.invoke(app, ["demo", "--json"])
    assert result.exit_code == 1
    error = json.loads(result.stdout)["error"]
    assert (error["code"], error["pid"]) == ("busy", 4711)
