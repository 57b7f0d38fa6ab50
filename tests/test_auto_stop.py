"""Auto-stop without a Jupyter server: what it decides, how it stops, what it survives, what people read and write."""

from __future__ import annotations

import ast
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import auto_stop
import auto_stop_processes
import auto_stop_signs
import keep_running
import pytest
from auto_stop_signs import Look

from tests.auto_stop_instances import Instance


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    instance = Instance(tmp_path)
    yield instance
    instance.close()


class FakeProcess:
    """An entry of /proc."""

    def __init__(self, instance: Instance, pid: int, name: str, *words: str, tty: int = 0, parent: int = 0) -> None:
        self._folder = instance.proc / str(pid)
        self._folder.mkdir()
        self._pid, self._name, self._tty, self._parent = pid, name, tty, parent
        (self._folder / "cmdline").write_text("\0".join(words or (name,)) + "\0")
        self.works()

    def works(self, ticks: int = 0, read: int = 0, written: int = 0, state: str = "S") -> None:
        """What it has used since it began."""
        fields = [state, self._parent, 0, 0, self._tty, 0, 0, 0, 0, 0, 0, ticks, 0, 0, 0, 0, 0, 0, 0, 4242]
        (self._folder / "stat").write_text(f"{self._pid} ({self._name}) {' '.join(map(str, fields))}\n")
        (self._folder / "io").write_text(f"rchar: {read}\nwchar: {written}\nsyscr: 1\n")


@contextmanager
def web(status: int, body: bytes, terminals: tuple[int, bytes] = (200, b"[]"), drip: bool = False) -> Iterator[str]:
    """A server that answers so whoever asks, and for terminals so."""
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, text = terminals if "terminals" in self.path else (status, body)
            self.send_response(code)
            self.end_headers()
            while drip and not ended.wait(0.02):
                try:
                    self.wfile.write(b" ")
                except OSError:
                    return
            self.wfile.write(text)

        do_POST = do_GET  # noqa: N815 as AWS's API is asked

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            ended.set()
            server.shutdown()


def look(instance: Instance, minutes: float = 1) -> dict[str, object]:
    """As `Instance.look`, with the processes that the test wrote."""
    instance.clock += 60 * minutes
    instance.time += 60 * minutes
    return auto_stop.run(instance)


def minutes_until_stop(instance: Instance, most: int = 60) -> int | None:
    return next((minute for minute in range(1, most + 1) if look(instance)["state"] == "stopping"), None)


# --- Time and warning ------------------------------------------------------------------------------------


def test_it_warns_first_and_then_stops(instance: Instance) -> None:
    states = [look(instance)["state"] for _ in range(11)]
    assert states == ["idle"] * 8 + ["stopping soon"] * 2 + ["stopping"]


def test_the_warning_lasts_as_long_as_it_says_even_if_it_comes_late(instance: Instance) -> None:
    look(instance)
    instance.settings["idle_minutes"] = 60
    for _ in range(20):
        look(instance)
    instance.settings["idle_minutes"] = 10
    assert [look(instance)["state"] for _ in range(3)] == ["stopping soon", "stopping soon", "stopping"]


def test_no_warning_where_none_is_wanted(instance: Instance) -> None:
    instance.settings["warn_minutes"] = 0
    look(instance)
    assert minutes_until_stop(instance) == 10
    assert not instance.warning.exists()


def test_who_deletes_the_warning_is_there(instance: Instance) -> None:
    while not instance.warning.exists():
        look(instance)
    instance.warning.unlink()
    assert look(instance)["why"] == "STOPPING-SOON.txt was deleted"
    assert minutes_until_stop(instance) == 10


def test_where_no_warning_can_be_written_it_stops_all_the_same(instance: Instance) -> None:
    instance.warning.mkdir()
    (instance.warning / "x").touch()
    instance.warning = instance.warning / "no" / "folder"
    look(instance)
    assert minutes_until_stop(instance) == 10


def test_a_long_gap_counts_as_five_minutes(instance: Instance) -> None:
    look(instance)
    assert look(instance, 500)["idle_minutes"] == 5


def test_a_monotonic_clock_that_went_back_counts_anew(instance: Instance) -> None:
    for _ in range(8):
        look(instance)
    assert look(instance, -5)["idle_minutes"] == 0


def test_a_start_of_the_machine_counts_anew_and_takes_the_old_warning_away(instance: Instance) -> None:
    while not instance.warning.exists():
        look(instance)
    instance.boots(2)
    assert look(instance)["idle_minutes"] == 0
    assert not instance.warning.exists()


def test_the_warning_goes_when_somebody_works(instance: Instance) -> None:
    while not instance.warning.exists():
        look(instance)
    (instance.home.parent / "notes.md").touch()
    assert look(instance)["state"] == "in use"
    assert not instance.warning.exists()
    assert minutes_until_stop(instance) == 10


@pytest.mark.parametrize("text", ["", "{", "[]", '{"boot": 1}', '{"boot": "boot-1 0", "now": "x"}'])
def test_a_state_file_that_is_broken_counts_anew(instance: Instance, text: str) -> None:
    look(instance)
    instance.state.write_text(text)
    assert look(instance)["idle_minutes"] == 0
    assert minutes_until_stop(instance) == 10


def test_a_full_volume_keeps_nothing_alive(instance: Instance, capsys: pytest.CaptureFixture[str]) -> None:
    (instance.home / "auto-stop.json.new").mkdir()
    look(instance)
    assert minutes_until_stop(instance) == 10
    assert "auto-stop.json" in capsys.readouterr().out


# --- Stopping --------------------------------------------------------------------------------------------


def test_what_denies_the_stop_is_said_and_it_is_tried_again_ever_more_rarely(instance: Instance) -> None:
    instance.failure = PermissionError("An error occurred (AccessDeniedException) when calling StopNotebookInstance")
    tried = []
    for minute in range(1, 160):
        count = (json.loads(instance.state.read_text()) if instance.state.exists() else {}).get("attempt", [0])[0]
        look(instance)
        if (json.loads(instance.state.read_text()).get("attempt", [0])[0]) > count:
            tried.append(minute)
    assert [later - earlier for earlier, later in pairwise(tried)] == [2, 4, 8, 16, 32, 60]
    report = json.loads((instance.home / "auto-stop.json").read_text())
    assert report["state"] == "cannot stop"
    assert "sagemaker:StopNotebookInstance" in report["why"]
    instance.failure = None
    assert minutes_until_stop(instance) is not None


def test_a_stop_that_was_granted_is_not_asked_for_every_minute(instance: Instance) -> None:
    minutes_until_stop(instance)
    assert look(instance)["state"] == "stopping"
    assert len(instance.stops) == 1


@pytest.mark.parametrize(
    "text", [None, "", "{}", '{"ResourceName": "x"}', '{"ResourceName": "x", "ResourceArn": "arn"}']
)
def test_it_survives_not_knowing_its_own_name(instance: Instance, text: str | None) -> None:
    if text is None:
        instance.metadata.unlink()
    else:
        instance.metadata.write_text(text)
    states = [look(instance)["state"] for _ in range(20)]
    assert states[-1] == "cannot stop"
    assert instance.stops == []


def test_boto3_is_asked_and_its_refusal_is_a_sentence(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    denied = {"__type": "AccessDeniedException", "message": "User: arn:... is not authorized to perform"}
    with web(400, json.dumps(denied).encode()) as url:
        for name, value in (("AWS_ENDPOINT_URL", url), ("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x")):
            monkeypatch.setenv(name, value)
        with pytest.raises(Exception, match="AccessDenied"):
            auto_stop.World.stop(instance, "sagestack-dev-explore", "eu-central-1")


# --- Opting out ------------------------------------------------------------------------------------------


def opt_out(instance: Instance, text: str, written: float | None = None) -> None:
    path = instance.home / "keep-running-until"
    path.write_text(text)
    os.utime(path, (instance.time, instance.time if written is None else written))


@pytest.mark.parametrize("text", ["2h", "120m", "2 h\n", "{iso}", "{iso}Z"])
def test_an_opt_out_holds_and_ends_with_a_warning(instance: Instance, text: str) -> None:
    look(instance)
    iso = auto_stop.utc(instance.time + 7200).isoformat().removesuffix("+00:00")
    opt_out(instance, text.replace("{iso}", iso))
    assert {look(instance, 4.9)["state"] for _ in range(24)} == {"kept running"}  # 117 minutes and a half
    assert not instance.warning.exists()
    assert minutes_until_stop(instance) == 3
    assert not (instance.home / "keep-running-until").exists()


def test_a_clock_that_is_set_changes_no_opt_out(instance: Instance) -> None:
    look(instance)
    opt_out(instance, "2h")
    look(instance)
    instance.time += 86400
    assert {look(instance, 5)["state"] for _ in range(12)} == {"kept running"}
    instance.time -= 30 * 86400
    assert {look(instance, 5)["state"] for _ in range(11)} == {"kept running"}
    assert minutes_until_stop(instance) == 4


def test_an_opt_out_is_capped_from_when_it_was_written(instance: Instance) -> None:
    instance.settings["opt_out_hours"] = 1
    look(instance)
    opt_out(instance, "3d", written=instance.time - 1800)
    report = look(instance)
    assert report["kept_running_minutes"] == 29
    assert report["notes"] == ["keep-running-until holds 1 hours at most"]
    # Of the future: no trick.
    opt_out(instance, "3d", written=instance.time + 86400)
    assert look(instance)["kept_running_minutes"] == 60


def test_an_opt_out_survives_a_restart_and_is_still_capped(instance: Instance) -> None:
    instance.settings["opt_out_hours"] = 1
    look(instance)
    opt_out(instance, "3d")
    assert look(instance, 20)["kept_running_minutes"] == 40
    instance.boots(2)
    assert look(instance, 20)["kept_running_minutes"] == 20


@pytest.mark.parametrize("text", ["", "soon", "-4h", "4", "4 weeks", "2026-13-01", "9" * 400, "\x00\xff"])
def test_an_opt_out_that_says_no_time_is_said_and_ignored(instance: Instance, text: str) -> None:
    look(instance)
    opt_out(instance, text)
    assert "no time" in str(look(instance)["notes"])
    assert minutes_until_stop(instance) == 9
    assert (instance.home / "keep-running-until").exists()


@pytest.mark.parametrize("text", ["2020-01-01T00:00:00Z", "0h"])
def test_an_opt_out_of_the_past_is_removed(instance: Instance, text: str) -> None:
    look(instance)
    opt_out(instance, text)
    assert look(instance)["notes"] == ["keep-running-until has ended"]
    assert not (instance.home / "keep-running-until").exists()


def test_keep_running_writes_what_is_understood(instance: Instance, capsys: pytest.CaptureFixture[str]) -> None:
    settings = instance.home / "settings.json"
    settings.write_text('{"opt_out_hours": 6}')
    path = instance.home / "keep-running-until"

    def hours() -> float:
        return (auto_stop.until(path.read_text().strip(), 0) - time.time()) / 3600

    assert keep_running.main(["4h"], instance.home, settings) == 0
    assert hours() == pytest.approx(4, abs=0.01)
    assert keep_running.main(["2d"], instance.home, settings) == 0
    assert hours() == pytest.approx(6, abs=0.01)
    assert "6 hours is the longest" in capsys.readouterr().err
    assert keep_running.main([], instance.home, settings) == 0
    assert "It is kept running until" in capsys.readouterr().out
    assert keep_running.main(["off"], instance.home, settings) == 0
    assert not path.exists()


@pytest.mark.parametrize("words", [["4"], ["-4h"], ["h"], ["4h", "5h"], ["tomorrow"]])
def test_keep_running_refuses_what_is_no_time(
    instance: Instance, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert keep_running.main(words, instance.home, instance.home / "none") == 2
    assert "is no time" in capsys.readouterr().err
    assert not (instance.home / "keep-running-until").exists()


def test_keep_running_says_where_it_is_not_allowed(instance: Instance, capsys: pytest.CaptureFixture[str]) -> None:
    settings = instance.home / "settings.json"
    settings.write_text('{"opt_out_hours": 0}')
    assert keep_running.main(["1h"], instance.home, settings) == 1
    assert not (instance.home / "keep-running-until").exists()


# --- Answers of servers ----------------------------------------------------------------------------------

IDLE = json.dumps(
    [{"id": "k", "name": "python3", "execution_state": "idle", "last_activity": "then", "connections": 0}]
)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (200, b"<html>Log in</html>"),
        (200, b"{}x"),
        (200, b"null"),
        (200, b"7"),
        (200, b'{"message": "no"}'),
        (200, b'["k"]'),
        (200, b'[{"id": 7}]'),
        (200, b"[" * 100_000),
        (403, b"{}"),
        (404, b"{}"),
        (500, b"{}"),
    ],
    ids=["empty", "page", "cut", "null", "number", "object", "text", "id", "deep", "403", "404", "500"],
)
def test_an_answer_that_makes_no_sense_stops_nothing_for_the_idle_time(
    instance: Instance, status: int, body: bytes
) -> None:
    with web(status, body) as url:
        instance.jupyter = url
        assert look(instance)["could_not_find_out"]
        instance.look(3)
        instance.look(3)
        instance.look(3.5)
        assert instance.stops == []
        assert minutes_until_stop(instance, 4) is not None


def test_a_server_that_fails_late_postpones_the_stop_by_the_idle_time(instance: Instance) -> None:
    with web(200, IDLE.encode()) as url:
        instance.jupyter = url
        look(instance)
        assert minutes_until_stop(instance, 9) is None
    # Now nobody listens there.
    assert look(instance)["state"] == "stopping soon"
    assert minutes_until_stop(instance) == 10


def test_an_open_connection_holds_it_longer_but_not_for_ever(instance: Instance) -> None:
    connected = IDLE.replace('"connections": 0', '"connections": 1')
    with web(200, connected.encode()) as url:
        instance.jupyter = url
        look(instance)
        assert minutes_until_stop(instance) == 20


def test_the_instances_own_server_is_asked_once_and_with_its_token(instance: Instance) -> None:
    FakeProcess(instance, 100, "jupyter")
    instance.runtime.mkdir()
    instance.jupyter = "https://localhost:8443"
    info = {"pid": 100, "hostname": "0.0.0.0", "secure": True, "port": 8443, "base_url": "/", "token": "secret"}
    (instance.runtime / "jpserver-100.json").write_text(json.dumps(info))
    assert Look(instance, {}, 0).servers() == {"https://localhost:8443": ("secret", 100)}
    (instance.runtime / "jpserver-100.json").write_text(json.dumps({**info, "port": 18443, "base_url": "/a/"}))
    assert Look(instance, {}, 0).servers() == {
        "https://localhost:18443/a": ("secret", 100),
        "https://localhost:8443": ("", 0),
    }


def test_a_server_that_drips_holds_nobody(instance: Instance) -> None:
    with web(200, b"[]", drip=True) as url:
        instance.jupyter, instance.timeout_s = url, 0.1
        # It drips for ever: that there is a report at all is what counts.
        assert "no answer in time" in str(look(instance)["could_not_find_out"])


def test_a_server_without_terminals_is_no_doubt(instance: Instance) -> None:
    with web(200, IDLE.encode(), terminals=(404, b"{}")) as url:
        instance.jupyter = url
        assert look(instance)["could_not_find_out"] == []


def test_no_proxy_is_asked(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    with web(200, b"[]") as url:
        instance.jupyter = url
        assert look(instance)["could_not_find_out"] == []


@pytest.mark.parametrize("state", ["starting", "restarting", "autorestarting", "unknown", "something new", None])
def test_a_kernel_in_another_state_works_for_ten_minutes_at_most(instance: Instance, state: str | None) -> None:
    kernel = [{"id": "k", "name": "julia", "execution_state": state, "last_activity": "then"}]
    with web(200, json.dumps(kernel).encode()) as url:
        instance.jupyter = url
        assert look(instance)["state"] == "in use"
        assert look(instance, 9)["state"] == "in use"
        assert look(instance, 2)["state"] == "idle"


# --- Processes -------------------------------------------------------------------------------------------

PTS = 136 << 8 | 3


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bash", ["bash"]),
        ("bash", ["-bash"]),
        ("bash", ["/bin/bash", "-l", "-i", "--norc"]),
        ("bash", ["/bin/bash", "--init-file", "/home/ec2-user/.vscode-server/shellIntegration-bash.sh"]),
        ("zsh", ["/bin/zsh", "-i", "-o", "nobeep"]),
        ("fish", ["fish", "--init-command", "source integration.fish"]),
        ("sudo", ["sudo", "-i"]),
        ("su", ["su", "-"]),
        ("tmux: client", ["tmux", "attach"]),
        ("screen", ["screen"]),
    ],
)
def test_who_waits_at_a_prompt_does_not_work(instance: Instance, name: str, words: list[str]) -> None:
    FakeProcess(instance, 100, name, *words, tty=PTS)
    assert look(instance)["state"] == "idle"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sleep", ["sleep", "9"]),
        ("bash", ["bash", "train.sh"]),
        ("bash", ["bash", "-c", "sleep 9; true"]),
        ("bash", ["bash", "--rcfile", "setup.sh", "train.sh"]),
        ("bash", ["bash", "-o", "pipefail", "train.sh"]),
        ("sh", ["sh", "-ec", "true"]),
        ("train.sh", ["/bin/bash", "./train.sh"]),
        ("vim", ["vim", "a.py"]),
        ("odd (name) S", ["odd"]),
    ],
)
def test_who_runs_in_a_terminal_works(instance: Instance, name: str, words: list[str]) -> None:
    FakeProcess(instance, 100, name, *words, tty=PTS)
    assert look(instance)["why"] == f"{name} (100) runs in a terminal"


def of_root(instance: Instance, monkeypatch: pytest.MonkeyPatch, *but: int) -> None:
    """All processes are root's, but these, which are the volume's owner's."""
    owner = instance.home.parent.stat().st_uid
    true_stat = Path.stat

    def stat(path: Path, **options: bool) -> os.stat_result:
        result = true_stat(path, **options)
        if path.parent.parent != instance.proc:
            return result
        fields = list(result)
        fields[4] = owner if int(path.parent.name) in but else 999
        return os.stat_result(fields)

    monkeypatch.setattr(Path, "stat", stat)


def test_what_root_runs_for_a_person_counts_and_nothing_else_of_root(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_root(instance, monkeypatch, 200)
    FakeProcess(instance, 100, "daemon", tty=PTS)
    FakeProcess(instance, 200, "sudo", tty=PTS)
    FakeProcess(instance, 201, "training", tty=PTS, parent=200)
    signs = Look(instance, {}, 0)
    assert signs.active == ["training (201) runs in a terminal"]


def test_what_was_started_with_sudo_counts_when_its_terminal_is_closed(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_root(instance, monkeypatch, 200)
    FakeProcess(instance, 200, "bash", tty=PTS)
    training = FakeProcess(instance, 201, "training", parent=200)
    look(instance)
    shutil.rmtree(instance.proc / "200")
    for minute in range(1, 13):
        training.works(ticks=minute * 60 * auto_stop_signs.HERTZ)
        assert look(instance)["why"] == "training (201) uses 100 % of a processor"


def test_a_container_that_computes_counts_and_one_that_waits_does_not(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_root(instance, monkeypatch)
    FakeProcess(instance, 300, "containerd-shim")
    # Its terminal is the container's own, and no number of it says anything about the instance's terminals.
    training = FakeProcess(instance, 301, "python", "python", "train.py", tty=PTS, parent=300)
    assert look(instance)["state"] == "idle"
    training.works(ticks=60 * auto_stop_signs.HERTZ)
    assert look(instance)["why"] == "python (301) uses 100 % of a processor"
    assert minutes_until_stop(instance) == 10


@pytest.mark.parametrize("name", ["publish_metrics.py", "back_up_volume.py"])
def test_programs_of_this_project_that_begin_anew_hold_no_instance(instance: Instance, name: str) -> None:
    """As metrics do each hour, and a backup that fails does each quarter of one: with the clients of AWS to be read."""
    for minute in range(1, 60):
        began = FakeProcess(instance, 100 + minute, "python3", "python3", f"{instance.programs}/{name}", "due")
        began.works(ticks=int(0.5 * 60 * auto_stop_signs.HERTZ), read=12_000_000)
        if look(instance)["state"] == "stopping":
            break
        shutil.rmtree(instance.proc / str(100 + minute))
    assert minute == 11


def test_a_backup_that_uploads_is_not_broken_off(instance: Instance) -> None:
    backup = FakeProcess(instance, 100, "python3", "python3", f"{instance.programs}/back_up_volume.py", "due")
    look(instance)
    for minute in range(1, 13):
        backup.works(read=minute * 60_000_000)
        assert look(instance)["state"] == "in use"


def test_what_computes_works_and_its_ended_children_count(instance: Instance) -> None:
    process = FakeProcess(instance, 100, "python")
    look(instance)
    ticks = 0.09 * 60 * auto_stop_signs.HERTZ
    process.works(ticks=int(ticks))
    assert look(instance)["state"] == "idle"
    process.works(ticks=int(ticks * 2.3))
    assert "% of a processor" in str(look(instance)["why"])


def test_what_ended_does_not_work(instance: Instance) -> None:
    process = FakeProcess(instance, 100, "python", tty=PTS)
    process.works(state="Z")
    assert look(instance)["state"] == "idle"


@pytest.mark.parametrize("way", ["read", "written"])
def test_what_transfers_works(instance: Instance, way: str) -> None:
    process = FakeProcess(instance, 100, "aws")
    look(instance)

    def moved(count: int) -> None:
        process.works(read=count * (way == "read"), written=count * (way == "written"))

    moved(60 * 49_000)
    assert look(instance)["state"] == "idle"
    moved(60 * 100_000)
    assert "kB/s" in str(look(instance)["why"])


def test_what_a_server_moves_holds_it_as_an_open_tab_does(instance: Instance) -> None:
    """A browser downloads, or shows a folder of thousands of files all night."""
    server = FakeProcess(instance, 100, "jupyter-lab")
    with web(200, b"[]") as url:
        port = int(url.rpartition(":")[2])
        info = {"pid": 100, "hostname": "127.0.0.1", "secure": False, "port": port, "base_url": "/", "token": ""}
        instance.runtime.mkdir()
        (instance.runtime / "jpserver-100.json").write_text(json.dumps(info))
        look(instance)
        for minute in range(1, 40):
            server.works(written=minute * 60_000_000)
            if look(instance)["state"] == "stopping":
                break
        assert minute == instance.settings["open_tab_minutes"]


def test_what_we_may_not_see_of_another_account_is_no_work(instance: Instance) -> None:
    FakeProcess(instance, 100, "python")
    (instance.proc / "100" / "io").unlink()
    look(instance)
    assert minutes_until_stop(instance) == 10


# --- Files and steps -------------------------------------------------------------------------------------


def test_files_that_are_hidden_ours_or_of_another_device_are_no_sign(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = instance.home.parent
    (volume / "shared").mkdir()
    true_stat = Path.lstat

    def lstat(path: Path) -> os.stat_result:
        fields = list(true_stat(path))
        fields[2] += path.name == "shared"
        return os.stat_result(fields)

    look(instance)
    monkeypatch.setattr(Path, "lstat", lstat)
    look(instance)
    for name in (".cache", ".sagestack/log", "STOPPING-SOON.txt", "shared/of-others.csv"):
        (volume / name).write_text("x")
    assert look(instance)["state"] == "idle"
    (volume / "notes.md").write_text("x")
    assert look(instance)["why"] == "a file was saved"


def test_a_volume_with_very_many_files_is_looked_at_from_its_top(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auto_stop_signs, "FILES", 50)
    volume = instance.home.parent
    for number in range(20):
        (volume / "a" / "deep" / str(number)).mkdir(parents=True)
        for other in range(20):
            (volume / "a" / "deep" / str(number) / str(other)).touch()
    look(instance)
    (volume / "zzz.ipynb").write_text("{}")
    assert look(instance)["why"] == "a file was saved"
    (volume / "a" / "deep" / "9" / "new").touch()
    assert look(instance)["state"] == "idle"


def test_a_layout_of_jupyterlab_that_changes_is_a_sign(instance: Instance) -> None:
    instance.workspaces.mkdir()
    look(instance)
    (instance.workspaces / "default-37a8.jupyterlab-workspace").write_text("{}")
    assert look(instance)["state"] == "in use"


def test_a_step_that_runs_counts_for_a_day_at_most(instance: Instance) -> None:
    (instance.home / "status.json").write_text(
        json.dumps({"steps": {"backup": {"state": "running"}, "git": {"state": "succeeded"}}})
    )
    assert look(instance)["why"] == "the step backup runs"
    assert look(instance, 23 * 60)["state"] == "in use"
    assert look(instance, 61)["state"] == "idle"


@pytest.mark.parametrize("text", ["", "[]", '{"steps": 7}', '{"steps": {"x": 7}}', '{"steps": {"x": {}}}'])
def test_a_status_file_that_is_broken_is_no_sign(instance: Instance, text: str) -> None:
    (instance.home / "status.json").write_text(text)
    assert look(instance)["state"] == "idle"


# --- Settings, the program itself ------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "[]", "7", '{"idle_minutes": "soon"}', '{"idle_minutes": null}'])
def test_settings_that_cannot_be_read_are_said_and_the_defaults_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "settings.json").write_text(text)
    monkeypatch.setenv("SAGESTACK_AUTO_STOP_SETTINGS", str(tmp_path / "settings.json"))
    world = auto_stop.World()
    assert world.settings == auto_stop.DEFAULTS
    assert "the defaults hold" in world.notes[0]


@pytest.mark.parametrize(("uid", "owner", "taken"), [(0, 1000, True), (0, 0, False), (1000, 1000, False)])
def test_root_takes_the_rights_of_whose_volume_it_is(
    monkeypatch: pytest.MonkeyPatch, uid: int, owner: int, taken: bool
) -> None:
    calls: list[tuple[str, object]] = []
    monkeypatch.setattr(os, "getuid", lambda: uid)
    monkeypatch.setenv("HOME", "/root")
    for name in ("setgroups", "setgid", "setuid"):
        monkeypatch.setattr(os, name, lambda value, name=name: calls.append((name, value)))
    volume = SimpleNamespace(stat=lambda: SimpleNamespace(st_uid=owner, st_gid=1001))
    world = SimpleNamespace(home=SimpleNamespace(parent=volume), user=Path("/home/ec2-user"))
    auto_stop.become_owner(world)  # type: ignore[arg-type]
    # The user last: who is no longer root may give up nothing else.
    assert calls == ([("setgroups", []), ("setgid", 1001), ("setuid", 1000)] if taken else [])
    assert os.environ["HOME"] == ("/home/ec2-user" if taken else "/root")


def test_what_it_says_is_said_once(instance: Instance, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(7):
        look(instance)
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize(
    "module", [auto_stop, auto_stop_processes, auto_stop_signs, keep_running], ids=lambda module: module.__name__
)
def test_the_programs_run_on_python_3_8_with_nothing_installed(module: object) -> None:
    tree = ast.parse(Path(str(module.__file__)).read_text(), feature_version=(3, 8))  # type: ignore[attr-defined]
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    others = {name.split(".")[0] for name in imported} - sys.stdlib_module_names
    # boto3 where it is: the command line of AWS does it, too.
    assert others <= {"auto_stop_processes", "auto_stop_signs", "boto3", "botocore"}
