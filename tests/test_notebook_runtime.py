"""Where notebook instances run: the supervisor's promises, the files of an instance, the image, and what is refused by name."""

from __future__ import annotations

import ast
import base64
import http.server
import importlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from local_cloud.containers import leftovers
from local_cloud.notebook_runtime import choose_runtime, process_runtime
from local_cloud.notebook_runtime.instance_files import aws_files, system_files, without_keys
from local_cloud.notebook_runtime.notebook_python import NotebookPython
from local_cloud.notebook_runtime.process_runtime import ProcessInstance, ProcessRuntime
from local_cloud.notebook_runtime.runtime import CodeRepository, RuntimeRefused
from local_cloud.notebook_runtime.supervised import SupervisedInstance, landing_page
from local_cloud.notebook_runtime.supervisor import processes
from tests.notebook_instances import ARN, ENVIRONMENT, Printed, instance_spec, project_with_jupyter
from tests.waiting import wait_for

ROOT = Path(__file__).parent.parent
SUPERVISOR = ROOT / "local_cloud" / "notebook_runtime" / "supervisor"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ProcessInstance, Printed, Path]]:
    """An instance for what leaves nothing behind: it, what it prints, and its folder."""
    folder, heard = tmp_path_factory.mktemp("system"), Printed()
    runtime = ProcessRuntime(folder / "state", project_with_jupyter(folder / "project"))
    yield runtime.start(instance_spec(folder, heard)), heard, folder
    runtime.close()


@pytest.fixture
def instance(system: tuple[ProcessInstance, Printed, Path]) -> ProcessInstance:
    return system[0]


@pytest.fixture
def heard(system: tuple[ProcessInstance, Printed, Path]) -> Printed:
    """What the instance has printed in this test."""
    system[1].forget()
    return system[1]


@pytest.fixture
def volume(system: tuple[ProcessInstance, Printed, Path]) -> Iterator[Path]:
    """The instance's volume, empty."""
    path = system[2] / "volume"
    yield path
    for found in path.iterdir():
        shutil.rmtree(found)


@pytest.fixture
def printed() -> Printed:
    return Printed()


@pytest.fixture
def fresh(tmp_path: Path, printed: Printed) -> Iterator[ProcessInstance]:
    """An instance of the test's own."""
    runtime = ProcessRuntime(tmp_path / "state", project_with_jupyter(tmp_path / "project"))
    yield runtime.start(instance_spec(tmp_path, printed))
    runtime.close()


def hook(instance: ProcessInstance, script: str, timeout_s: float = 120) -> int | None:
    """A lifecycle script in the supervisor, on this machine: a process refuses it, so past the refusal."""
    return SupervisedInstance.run_hook(instance, "OnStart", script, timeout_s)


def alive(pid: int) -> bool:
    return leftovers.start_time(pid) is not None


# --- Lifecycle scripts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "code"),
    [("#!/bin/bash\nexit 0\n", 0), ("#!/bin/bash\nexit 7\n", 7), ("exit 3", 3), ("#!/bin/bash\nkill -9 $$", 137)],
    ids=["fine", "failed", "no-first-line", "killed"],
)
def test_a_script_ends_with_its_exit_code(instance: ProcessInstance, script: str, code: int) -> None:
    assert hook(instance, script) == code


def test_a_script_runs_from_the_root_with_the_documented_path_and_nothing_else(
    instance: ProcessInstance, heard: Printed
) -> None:
    assert hook(instance, "#!/bin/bash\npwd\nenv | sort\n") == 0
    lines = heard.of("LifecycleConfigOnStart")
    assert lines[0] == "/"
    names = {line.partition("=")[0] for line in lines[1:]}
    assert names - {"PWD", "SHLVL", "_", "OLDPWD"} == {"PATH"}
    assert "PATH=/sbin:/bin:/usr/sbin:/usr/bin" in lines


def test_no_signal_is_ignored_in_what_an_instance_starts(instance: ProcessInstance, heard: Printed) -> None:
    assert hook(instance, "#!/bin/bash\ngrep SigIgn /proc/self/status") == 0
    (line,) = heard.of("LifecycleConfigOnStart")
    assert int(line.split()[1], 16) & ((1 << signal.SIGINT - 1) | (1 << signal.SIGHUP - 1)) == 0


def test_a_script_with_windows_line_ends_fails_as_on_aws(instance: ProcessInstance, heard: Printed) -> None:
    assert hook(instance, "#!/bin/bash\r\necho never\r\n") not in (0, None)
    assert re.match(r"/tmp/OnStart_\d{4}-\d\d-\d\d", heard.of("LifecycleConfigOnStart")[0])
    assert "never" not in heard.of("LifecycleConfigOnStart")


def test_what_a_script_printed_is_there_when_it_has_ended(instance: ProcessInstance, heard: Printed) -> None:
    assert hook(instance, "#!/bin/bash\nfor i in $(seq 2000); do echo line $i; done\nprintf 'no end'") == 0
    assert heard.of("LifecycleConfigOnStart") == [*(f"line {number}" for number in range(1, 2001)), "no end"]


def test_megabytes_and_bytes_that_are_no_text_arrive_in_pieces(instance: ProcessInstance, heard: Printed) -> None:
    assert hook(instance, "#!/bin/bash\nhead -c 3000000 /dev/zero | tr '\\0' x\nprintf '\\n\\xff\\n'") == 0
    *pieces, broken = heard.of("LifecycleConfigOnStart")
    assert sum(map(len, pieces)) == 3_000_000
    assert max(map(len, pieces)) < 256 * 1024
    assert broken == "\ufffd"


def test_the_background_of_a_script_outlives_it_and_can_still_be_heard(
    instance: ProcessInstance, heard: Printed, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    background = f"(until [ -e {go} ]; do sleep 0.05; done; echo from the background) &"
    assert hook(instance, f"#!/bin/bash\n{background}\necho started\n") == 0
    assert heard.of("LifecycleConfigOnStart") == ["started"]
    go.touch()
    assert heard.has("LifecycleConfigOnStart", "from the background")


def test_a_script_that_takes_too_long_is_killed_with_its_foreground_alone(
    instance: ProcessInstance, heard: Printed, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    script = f"""#!/bin/bash
(echo background begun; until [ -e {go} ]; do sleep 0.05; done; echo the background lives) &
bash -c 'echo foreground $$; sleep 1000; true'
echo never
"""
    # The shortest time in which this machine gets so far that both have begun.
    for limit_s in (0.3, 3, 30):
        assert hook(instance, script, timeout_s=limit_s) is None
        lines = heard.of("LifecycleConfigOnStart")
        if "background begun" in lines and any(line.startswith("foreground") for line in lines):
            break
    foreground = next(line for line in reversed(lines) if line.startswith("foreground"))
    wait_for(lambda: not alive(int(foreground.split()[1])))
    go.touch()
    assert heard.has("LifecycleConfigOnStart", "the background lives")
    assert "never" not in heard.of("LifecycleConfigOnStart")


def test_an_instance_that_is_a_process_refuses_lifecycle_scripts_by_name(instance: ProcessInstance) -> None:
    with pytest.raises(RuntimeRefused, match=r"The lifecycle script OnCreate cannot run: "):
        instance.run_hook("OnCreate", "#!/bin/bash\n", 300)


@pytest.mark.parametrize(
    ("runner", "why", "cure"),
    [
        (None, "no container engine answers", "Start Docker and the local cloud again"),
        (
            "process",
            "SAGESTACK_RUNNER=process chose",
            "Start the local cloud again with Docker and without SAGESTACK_RUNNER",
        ),
    ],
)
def test_the_refusal_of_a_script_says_what_to_do(runner: str | None, why: str, cure: str) -> None:
    said = process_runtime.refusal("OnStart", runner)
    assert why in said
    assert cure in said


# --- Repositories ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with two branches, which a plain web server can serve."""
    folder = tmp_path_factory.mktemp("repositories")
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
    work, repository = folder / "work", folder / "analysis.git"
    for arguments in (
        ["init", "--quiet", "--initial-branch=main", str(work)],
        ["-C", str(work), *identity, "commit", "--quiet", "--allow-empty", "--message=first"],
        ["-C", str(work), "branch", "other"],
        ["clone", "--quiet", "--bare", str(work), str(repository)],
        ["-C", str(repository), "update-server-info"],
    ):
        subprocess.run(["git", *arguments], check=True, capture_output=True)
    return repository


@contextmanager
def web_server(folder: Path, user: str, password: str) -> Iterator[tuple[str, list[str]]]:
    """Serves a folder to whoever knows the password; its address, and the credentials that came."""
    wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    came: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def do_GET(self) -> None:
            given = self.headers.get("Authorization")
            came.extend([given] if given else [])
            if given == wanted:
                super().do_GET()
                return
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", came
        server.shutdown()


def test_a_repository_is_cloned_at_its_branch(instance: ProcessInstance, bare: Path, volume: Path) -> None:
    assert instance.clone(CodeRepository(str(bare), branch="other"), "analysis") is None
    head = (volume / "analysis" / ".git" / "HEAD").read_text()
    assert head == "ref: refs/heads/other\n"


def test_a_folder_that_is_there_is_left_alone(instance: ProcessInstance, bare: Path, volume: Path) -> None:
    mine = volume / "analysis"
    mine.mkdir(parents=True)
    (mine / "notes.txt").write_text("mine")
    assert instance.clone(CodeRepository(str(bare)), "analysis") is None
    assert [path.name for path in mine.iterdir()] == ["notes.txt"]


def test_credentials_reach_the_git_host_and_stay_nowhere(
    instance: ProcessInstance, bare: Path, volume: Path, heard: Printed
) -> None:
    password = "pass word's \"$end"
    with web_server(bare.parent, "ada", password) as (address, came):
        repository = CodeRepository(f"{address}/{bare.name}", username="ada", password=password)
        assert instance.clone(repository, "private") is None
        assert came
        refused = instance.clone(CodeRepository(repository.url, username="ada", password="wrong"), "refused")
        assert refused is not None
        assert "Authentication failed" in refused
        nobody = instance.clone(CodeRepository(repository.url), "nobody")
        assert nobody is not None
        assert "could not read" in nobody
    written = [path.read_bytes() for path in volume.rglob("*") if path.is_file()]
    assert written
    for secret in (password, "wrong"):
        assert not any(secret.encode() in content for content in written)
    assert not any(password in line for stream in ("git", "jupyter.log") for line in heard.of(stream))
    assert repr(repository).count("pass") == 0
    assert {path.name for path in volume.iterdir()} == {"private"}


@pytest.mark.parametrize("folder", ["../elsewhere", "/tmp/elsewhere"])
def test_a_repository_stays_on_the_volume(instance: ProcessInstance, bare: Path, folder: str) -> None:
    assert instance.clone(CodeRepository(str(bare)), folder) == f"the folder {folder} is outside of the volume"


def test_what_git_says_of_a_repository_that_is_not_there_is_passed_on(instance: ProcessInstance) -> None:
    said = instance.clone(CodeRepository("http://127.0.0.1:1/none.git"), "none")
    assert said is not None
    assert "Failed to connect" in said or "Couldn't connect" in said


def test_a_git_host_that_never_answers_is_given_up(tmp_path: Path) -> None:
    program = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from local_cloud.notebook_runtime.supervisor import git_clone
from local_cloud.notebook_runtime.supervisor.processes import Children
from local_cloud.notebook_runtime.supervisor.system import User
import os, socket
git_clone.TIMEOUT_S = 0.2
silent = socket.create_server(("127.0.0.1", 0))
url = f"http://127.0.0.1:{{silent.getsockname()[1]}}/x.git"
user = User(None, {str(tmp_path)!r}, {{"PATH": os.environ["PATH"]}})
print(git_clone.clone(Children(), user, url, None, None, None, Path({str(tmp_path)!r}) / "x"))
print((Path({str(tmp_path)!r}) / "x").exists())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    said, left = done.stdout.splitlines()
    assert re.fullmatch(r"git clone http://127.0.0.1:\d+/x.git took longer than 0.2 seconds", said)
    assert left == "False"


# --- JupyterLab's life -----------------------------------------------------------------------------------


def test_jupyterlab_starts_answers_and_stops(tmp_path: Path, printed: Printed) -> None:
    runtime = ProcessRuntime(tmp_path / "state", project_with_jupyter(tmp_path / "project"))
    instance = runtime.start(instance_spec(tmp_path, printed))
    with pytest.raises(RuntimeRefused, match="JupyterLab does not run"):
        instance.authorize("token", time.time() + 300, 1800)
    url = instance.start_jupyter("my analysis/deep")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
    assert instance.is_running()
    assert printed.has("jupyter.log", "stands for JupyterLab /lab/tree/my%20analysis/deep")
    assert instance.authorize("to/ken", time.time() + 300, 1800) == f"{url}?authToken=to%2Fken"
    pid = instance.jupyter_pid
    assert pid is not None
    instance.stop(5)
    instance.stop(5)
    assert not instance.is_running()
    assert not alive(pid)
    with pytest.raises(RuntimeRefused, match="JupyterLab does not run"):
        instance.authorize("token", time.time() + 300, 1800)
    assert (tmp_path / "volume").is_dir()
    # The system is gone as on AWS: a home, the keys in it, tickets.
    assert not list((tmp_path / "state" / "notebook-instances").rglob("credentials"))
    runtime.close()


def test_a_token_is_kept_nowhere(fresh: ProcessInstance, tmp_path: Path) -> None:
    fresh.start_jupyter(None)
    fresh.authorize("unguessable", time.time() + 300, 1800)
    (ticket,) = (tmp_path / "state").rglob("tickets/*")
    assert stat.S_IMODE(ticket.stat().st_mode) == 0o600
    assert stat.S_IMODE(ticket.parent.stat().st_mode) == 0o700
    assert "unguessable" not in ticket.name + ticket.read_text()


def test_a_jupyterlab_that_ends_is_started_again_until_it_does_so_again_and_again(
    fresh: ProcessInstance, tmp_path: Path, printed: Printed
) -> None:
    url = fresh.start_jupyter(None)

    def jupyter() -> str | None:
        """The process that says that it listens."""
        found = list((tmp_path / "state").rglob("jpserver-*.json"))
        return found[0].stem.rpartition("-")[2] if len(found) == 1 else None

    def answers() -> bool:
        try:
            urllib.request.urlopen(url, timeout=60).close()
        except OSError:
            return False
        return True

    for _ in range(2):
        killed = jupyter()
        assert killed is not None
        os.kill(int(killed), signal.SIGKILL)
        wait_for(lambda killed=killed: jupyter() not in (None, killed) and answers())  # type: ignore[misc]
        assert fresh.is_running()
        assert fresh.authorize("token", time.time() + 300, 1800).startswith(url), "at the address that it had"
    assert printed.has("jupyter.log", "JupyterLab has ended with 137; it is started again.")
    last = jupyter()
    assert last is not None
    os.kill(int(last), signal.SIGKILL)
    wait_for(lambda: not fresh.is_running())


def test_a_jupyterlab_that_is_stopped_is_not_started_again(fresh: ProcessInstance, printed: Printed) -> None:
    fresh.start_jupyter(None)
    fresh.stop(5)
    assert not [line for line in printed.of("jupyter.log") if "started again" in line]


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("print('a reason', flush=True); sys.exit(3)", "a reason\nJupyterLab ended with 3"),
        ("time.sleep(100)", "JupyterLab did not answer within 0.3 seconds"),
    ],
    ids=["ends", "hangs"],
)
def test_a_jupyterlab_that_does_not_come_up_says_why(
    tmp_path: Path, printed: Printed, monkeypatch: pytest.MonkeyPatch, before: str, said: str
) -> None:
    if "within" in said:
        monkeypatch.setattr("local_cloud.notebook_runtime.supervised.JUPYTER_TIMEOUT_S", 0.3)
    runtime = ProcessRuntime(tmp_path / "state", project_with_jupyter(tmp_path / "project", before))
    instance = runtime.start(instance_spec(tmp_path, printed))
    with pytest.raises(RuntimeRefused) as refused:
        instance.start_jupyter(None)
    assert str(refused.value).startswith("JupyterLab did not come up. Its last lines:\n")
    assert str(refused.value).endswith(said)
    runtime.close()


def test_a_port_that_somebody_has_taken_meanwhile_is_given_up_for_another(tmp_path: Path, printed: Printed) -> None:
    taken = "if not pathlib.Path('tried').exists(): pathlib.Path('tried').touch(); sys.exit('Port already in use')"
    runtime = ProcessRuntime(tmp_path / "state", project_with_jupyter(tmp_path / "project", taken))
    instance = runtime.start(instance_spec(tmp_path, printed))
    instance.start_jupyter(None)
    assert instance.is_running()
    runtime.close()


def test_a_machine_without_jupyterlab_is_told_how_to_get_it(tmp_path: Path, printed: Printed) -> None:
    runtime = ProcessRuntime(tmp_path / "state", tmp_path / "project")
    with pytest.raises(RuntimeRefused, match=r"explore cannot start: .* Run `make jupyterlab`"):
        runtime.start(instance_spec(tmp_path, printed))
    runtime.close()


def test_nothing_starts_while_the_local_cloud_ends(tmp_path: Path, printed: Printed) -> None:
    runtime = ProcessRuntime(tmp_path / "state", project_with_jupyter(tmp_path / "project"))
    runtime.close()
    with pytest.raises(RuntimeRefused, match="The local cloud is stopping"):
        runtime.start(instance_spec(tmp_path, printed))


def test_an_instance_whose_files_cannot_be_written_is_refused_and_leaves_nothing(
    tmp_path: Path, printed: Printed
) -> None:
    runtime = ProcessRuntime(tmp_path / "state", project_with_jupyter(tmp_path / "project"))
    (tmp_path / "volume").write_text("a file where the volume belongs")
    with pytest.raises(RuntimeRefused, match="FileExistsError"):
        runtime.start(instance_spec(tmp_path, printed))
    assert not list((tmp_path / "state").rglob("instance-*"))
    runtime.close()


def test_what_belongs_to_another_user_is_not_waited_for_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def forbidden(pid: int, _number: int) -> None:
        tried.append(pid)
        raise PermissionError

    monkeypatch.setattr(processes, "_parents", lambda: {4_194_304: os.getpid(), 4_194_305: 4_194_304})
    monkeypatch.setattr(os, "kill", forbidden)
    processes.kill_descendants()
    assert sorted(tried) == [4_194_304, 4_194_305], "each once"


def test_a_killed_local_cloud_leaves_no_process(tmp_path: Path) -> None:
    project = project_with_jupyter(
        tmp_path / "project", "print('child', subprocess.Popen(['sleep', '1000']).pid, flush=True)"
    )
    program = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from local_cloud.notebook_runtime.process_runtime import ProcessRuntime
from local_cloud.notebook_runtime.runtime import InstanceSpec
runtime = ProcessRuntime(Path({str(tmp_path / "state")!r}), Path({str(project)!r}))
# In one piece each, since they come from several threads.
tell = lambda line: os.write(1, line.encode() + b"\\n")
spec = InstanceSpec("a", "arn", Path({str(tmp_path / "volume")!r}), on_line=lambda _, line: tell(line))
instance = runtime.start(spec)
instance.start_jupyter(None)
tell(f"pids {{instance.pid}} {{instance.jupyter_pid}}")
sys.stdin.read()
"""
    cloud = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert cloud.stdout is not None
    pids: list[int] = []
    # What JupyterLab prints may come after the answer that it is up.
    while len(pids) < 3:
        line = cloud.stdout.readline()
        assert line, "it has ended"
        if line.startswith(("child", "pids")):
            pids += map(int, line.split()[1:])
    assert all(map(alive, pids))
    cloud.kill()
    wait_for(lambda: not any(map(alive, pids)))
    cloud.wait()
    cloud.stdout.close()


def test_the_next_start_ends_what_a_killed_supervisor_left(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "notebook-instances" / "run-old"
    folder.mkdir(parents=True)
    orphan = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    leftovers.record(folder, orphan.pid)
    ProcessRuntime(tmp_path / "state").close()
    assert orphan.wait(60) == -signal.SIGKILL
    assert not folder.exists()


def test_a_volume_is_removed_and_nothing_else(tmp_path: Path) -> None:
    runtime = ProcessRuntime(tmp_path / "state")
    (tmp_path / "volume" / "deep").mkdir(parents=True)
    (tmp_path / "beside").touch()
    runtime.remove_volume(tmp_path / "volume")
    runtime.remove_volume(tmp_path / "volume")
    assert not (tmp_path / "volume").exists()
    assert (tmp_path / "beside").exists()
    runtime.close()


# --- What an instance finds ------------------------------------------------------------------------------


def test_variables_hold_no_keys() -> None:
    variables = without_keys(ENVIRONMENT)
    assert variables["AWS_DEFAULT_REGION"] == "us-east-1"
    assert not {name for name in variables if "KEY" in name or "TOKEN" in name}


def test_every_aws_client_of_a_user_finds_the_roles_keys_and_the_cloud(tmp_path: Path) -> None:
    import boto3
    import botocore.session

    for file in aws_files(ENVIRONMENT, tmp_path, is_users=True):
        Path(file.path).parent.mkdir(exist_ok=True)
        Path(file.path).write_text(file.text)
        assert file.mode == 0o600
    session = botocore.session.Session()
    session.set_config_variable("config_file", str(tmp_path / ".aws" / "config"))
    session.set_config_variable("credentials_file", str(tmp_path / ".aws" / "credentials"))
    client = boto3.Session(botocore_session=session).client("sts")
    assert client.meta.endpoint_url == ENVIRONMENT["AWS_ENDPOINT_URL"]
    assert client.meta.region_name == "us-east-1"
    found = session.get_credentials()
    assert found is not None
    assert (found.access_key, found.secret_key, found.token) == ("ASIAEXAMPLE", "secret-example", "token-example")


def test_an_instance_can_read_who_it_is(tmp_path: Path, printed: Printed) -> None:
    files = {file.path: file for file in system_files(instance_spec(tmp_path, printed), ENVIRONMENT)}
    assert json.loads(files["/opt/ml/metadata/resource-metadata.json"].text) == {
        "ResourceArn": ARN,
        "ResourceName": "explore",
    }
    assert {path for path, file in files.items() if file.is_users} == {
        "/home/ec2-user/.aws/config",
        "/home/ec2-user/.aws/credentials",
    }
    closed = system_files(instance_spec(tmp_path, printed, root_access=False), ENVIRONMENT)
    assert files.keys() - {file.path for file in closed} == {"/etc/sudoers.d/ec2-user"}
    readable = [file.text for file in files.values() if file.mode & 0o044]
    assert not any("secret-example" in text for text in readable)


def test_what_a_process_cannot_do_is_said_in_its_log(tmp_path: Path, printed: Printed) -> None:
    said = process_runtime.limits(instance_spec(tmp_path, printed, direct_internet=False, root_access=False))
    assert [line.split()[0] for line in said] == ["This", "DirectInternetAccess=Disabled", "RootAccess=Disabled"]


@pytest.mark.parametrize(
    ("folder", "page"),
    [(None, "/lab"), ("analysis", "/lab/tree/analysis"), ("my repo?", "/lab/tree/my%20repo%3F")],
)
def test_the_landing_page_is_the_default_repository(folder: str | None, page: str) -> None:
    assert landing_page(folder) == page


@pytest.mark.parametrize("name", ["python3", "conda_python3"])
def test_a_kernel_has_the_name_that_it_has_on_aws(system: tuple[ProcessInstance, Printed, Path], name: str) -> None:
    (found,) = (system[2] / "state").rglob(f"kernels/{name}/kernel.json")
    python = Path(json.loads(found.read_text())["argv"][0])
    assert python.is_relative_to(system[2] / "state"), "what %pip installs must not reach other instances"
    seen = subprocess.run([python, "-c", "import sys; print(sys.prefix, *sys.path)"], capture_output=True, text=True)
    assert seen.stdout.split()[0] == str(python.parents[1])
    assert any(".venv-notebook" in path for path in seen.stdout.split()), "notebooks see what is installed for all"


def test_pip_installs_for_one_instance_and_says_so_where_there_is_none(tmp_path: Path) -> None:
    project = project_with_jupyter(tmp_path)
    settings = project / ".venv-notebook/pyvenv.cfg"
    home = tmp_path / "base"
    (home / "bin").mkdir(parents=True)
    settings.write_text(f"home = {home / 'bin'}\n")
    bundled = home / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/ensurepip/_bundled"

    def files(folder: str) -> dict[str, str]:
        python = NotebookPython(project / ".venv-notebook", tmp_path / folder)
        return {Path(file.path).name: file.text for file in python.files()}

    without = files("without")
    assert f'"{tmp_path}/without/bin/python" -m pip' in without["pip"]
    if "pip.py" in without:  # Not where Debian's wheels are.
        (tmp_path / "pip.py").write_text(without["pip.py"])
        said = subprocess.run([sys.executable, tmp_path / "pip.py", "install", "x"], capture_output=True, text=True)
        assert said.returncode == 1
        assert "This notebook instance has no pip" in said.stderr
    bundled.mkdir(parents=True)
    (bundled / "pip-1-py3-none-any.whl").touch()
    assert files("with")["jupyter.pth"].splitlines()[-1] == str(bundled / "pip-1-py3-none-any.whl")


# --- The image -------------------------------------------------------------------------------------------


def answer(*parts: dict[str, str]) -> Callable[..., Iterator[dict[str, str]]]:
    return lambda **_: iter(parts)


@pytest.fixture
def docker_image(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module, where the `docker` package is only in the local cloud's own environment."""
    docker, errors = ModuleType("docker"), ModuleType("docker.errors")
    base: type[Exception] = Exception
    for name in ("DockerException", "APIError", "ImageNotFound"):
        base = type(name, (base,), {})
        setattr(errors, name, base)
    docker.errors = errors  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "docker", docker)
    monkeypatch.setitem(sys.modules, "docker.errors", errors)
    own = ("local_cloud.containers.docker_engine", "local_cloud.notebook_runtime.docker_image")
    for name in own:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module(own[1])
    for name in own:
        sys.modules.pop(name, None)


class Engine:
    """An engine that has the images that were built in it."""

    def __init__(self, docker_image: Any, build: Callable[..., Iterator[dict[str, str]]]) -> None:
        self.built: list[str] = []
        self._missing = docker_image.docker.errors.ImageNotFound
        self._build = build
        self.api = SimpleNamespace(build=self._builds)
        self.images = SimpleNamespace(get=self._get, list=self._list, remove=self._remove)
        self.labels: dict[str, dict[str, str]] = {}
        """By the tag of the image that has them."""
        self.used: set[str] = set()
        """Tags of images that a container has."""
        self._refused = docker_image.docker.errors.APIError

    def _list(self, filters: dict[str, list[str]]) -> list[Any]:
        wanted = {tuple(label.split("=", 1)) for label in filters["label"]}
        return [SimpleNamespace(tags=[tag]) for tag, labels in self.labels.items() if wanted <= set(labels.items())]

    def _remove(self, tag: str) -> None:
        if tag in self.used:
            raise self._refused("conflict: a container uses it")
        del self.labels[tag]

    def _builds(self, tag: str, path: str, labels: dict[str, str], **more: Any) -> Iterator[dict[str, str]]:
        self.labels[tag] = labels
        self.context = {str(one.relative_to(path)) for one in Path(path).rglob("*") if one.is_file()}
        yield from self._build(**more)
        self.built.append(tag)

    def _get(self, tag: str) -> Any:
        if tag not in self.built:
            raise self._missing(tag)
        return SimpleNamespace(id=f"sha256:{tag}")


def test_the_image_is_built_once_from_what_it_needs(docker_image: Any, tmp_path: Path) -> None:
    engine = Engine(docker_image, answer({"stream": "Step 1/2\n"}, {"status": "x", "progressDetail": ""}))
    lines: list[str] = []
    for _ in range(2):
        assert docker_image.InstanceImage(engine, tmp_path).ensure(lines.append).startswith("sha256:sagestack-local")
    assert len(engine.built) == 1
    assert lines[-1] == "Step 1/2"
    assert {
        "Dockerfile",
        "requirements-notebook.txt",
        "requirements-awscli.txt",
        "supervisor/__main__.py",
        "anaconda3/conda",
    } <= engine.context
    assert not any("__pycache__" in name for name in engine.context)


def test_a_new_image_replaces_those_of_this_projects_earlier_versions_and_no_others(
    docker_image: Any, tmp_path: Path
) -> None:
    engine = Engine(docker_image, answer())
    name, ours = docker_image.REPOSITORY, docker_image.LABELS
    folder = next(key for key in ours if key.endswith(".folder"))
    kept = {
        f"{name}:of-another-folder": {**ours, folder: "another"},
        f"{name}:somebody's": {},
        "my-own:tag": ours,
        f"{name}:in-use": ours,
    }
    engine.labels = {f"{name}:old": ours, f"{name}:older": ours, **kept}
    engine.used = {f"{name}:in-use"}
    image = docker_image.InstanceImage(engine, tmp_path)
    for _ in range(2):
        image.ensure(lambda line: None)
    assert engine.labels.keys() == {image.tag, *kept}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("The command pip returned a non-zero code: 1.", "failed: The command pip returned a non-zero code: 1.\npip:"),
        ("write /x: no space left on device", "Make room for the engine \\(docker system df"),
    ],
    ids=["a-step-fails", "disk-full"],
)
def test_a_build_that_fails_says_why(docker_image: Any, tmp_path: Path, error: str, said: str) -> None:
    engine = Engine(docker_image, answer({"stream": "pip: no such version\n"}, {"error": error}))
    image = docker_image.InstanceImage(engine, tmp_path)
    for _ in range(2):
        # Each start tries again: what was half built is not used.
        with pytest.raises(RuntimeRefused, match=said):
            image.ensure(lambda line: None)


def test_whatever_the_image_is_made_of_is_in_its_tag(docker_image: Any, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("1")
    other.write_text("2")
    digests = {
        docker_image.content_digest(files, user)
        for files in ({"a": one}, {"a": other}, {"b": one}, {"a": one, "b": other})
        for user in (1000, 1001)
    }
    assert len(digests) == 8


def test_the_image_is_built_on_the_base_that_the_models_have() -> None:
    base = re.compile(r"^FROM (\S+)", re.MULTILINE)
    found = {
        match
        for path in (*(ROOT / "model_code").rglob("Dockerfile"), ROOT / "local_cloud/notebook_runtime/image/Dockerfile")
        for match in base.findall(path.read_text())
    }
    assert len(found) == 1


def test_the_image_installs_with_the_projects_uv() -> None:
    pinned = re.search(r"^UV_VERSION := (\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert pinned is not None
    assert f"uv=={pinned[1]} " in (ROOT / "local_cloud/notebook_runtime/image/Dockerfile").read_text()


@pytest.mark.parametrize(
    "name", ["anaconda3/activate", "anaconda3/deactivate", "anaconda3/conda", "profile.d/conda.sh", "systemctl"]
)
def test_the_images_scripts_are_clean(name: str) -> None:
    path = ROOT / "local_cloud/notebook_runtime/image" / name
    done = subprocess.run(["shellcheck", path], capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_the_supervisor_needs_nothing_but_the_standard_library() -> None:
    for path in SUPERVISOR.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                ours = name.startswith("local_cloud.notebook_runtime.supervisor")
                assert ours or name.split(".")[0] in sys.stdlib_module_names, f"{path.name} imports {name}"


def test_processes_stand_for_instances_where_no_engine_answers(tmp_path: Path) -> None:
    runtime = choose_runtime("process", tmp_path)
    assert runtime.kind == "process"
    runtime.close()
