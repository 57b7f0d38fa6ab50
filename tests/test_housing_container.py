"""The housing image in a real container engine: the same program, the same numbers, and no more rights than it needs.

Needs the `docker` command and an engine that answers (DOCKER_HOST, where it is not the usual socket). Where
there is none these tests fail: a container that was not run proves nothing.
"""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from model_code.housing.housing.contract import Paths
from tests.housing_runs import DATA, FOLDER, ROW, Answer, archive_of, call, expected_scores, finished_run, table

pytestmark = [pytest.mark.container, pytest.mark.timeout(600)]

IMAGE = "sagestack-housing:test"

# As tight as it gets: nothing of the image can be written, nothing gained.
LOCKED_DOWN = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]


def docker(*arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=timeout, check=False)


def build(tag: str, *arguments: str) -> str:
    # The host's network, because an engine without its own bridge has no other.
    done = docker("build", "--network=host", *arguments, "--tag", tag, str(FOLDER), timeout=500)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return tag


@pytest.fixture(scope="module")
def image() -> str:
    return build(IMAGE)


def step(image: str, base: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a job's container: no network, and the folder mounted where SageMaker would."""
    return docker("run", "--rm", "--network", "none", *LOCKED_DOWN, "--volume", f"{base}:/opt/ml", image, *command)


def open_to_all(base: Path) -> None:
    """The container's user is not the one who runs the tests."""
    for path in [base, *base.rglob("*")]:
        path.chmod(0o777 if path.is_dir() else 0o666)


@pytest.fixture(scope="module")
def run_in_containers(image: str, tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """Preprocess, train and evaluate, each in its container."""
    paths = Paths(tmp_path_factory.mktemp("ml"))
    paths.base.parent.chmod(0o755)
    for folder in (paths.processing_input / "data", paths.processing_output, paths.model, paths.output_data):
        folder.mkdir(parents=True)
    shutil.copy(DATA, paths.processing_input / "data")
    open_to_all(paths.base)
    done = step(image, paths.base, "preprocess")
    assert done.returncode == 0, done.stdout + done.stderr
    for channel in ("train", "validation"):
        shutil.copytree(paths.processing_output / channel, paths.channel(channel))
    open_to_all(paths.base / "input")
    done = step(image, paths.base, "train")
    assert done.returncode == 0, done.stdout + done.stderr
    files = {path.name: path.read_bytes() for path in paths.model.iterdir()}
    archive_of(files, paths.processing_input / "model" / "model.tar.gz")
    shutil.copytree(paths.processing_output / "test", paths.processing_input / "test")
    open_to_all(paths.processing_input)
    done = step(image, paths.base, "evaluate")
    assert done.returncode == 0, done.stdout + done.stderr
    return paths


def test_it_runs_as_a_plain_user_and_can_be_built_for_root(image: str) -> None:
    def user(of: str) -> str:
        return docker("run", "--rm", "--network", "none", "--entrypoint", "id", of, "-u").stdout.strip()

    assert user(image) == "10001"
    assert user(build("sagestack-housing:test-root", "--build-arg", "RUN_AS=root")) == "0"


def test_the_image_holds_the_program_and_nothing_else_of_the_folder(image: str) -> None:
    listed = docker("run", "--rm", "--network", "none", "--entrypoint", "find", image, ".", "-type", "f").stdout
    files = {line for line in listed.split() if "__pycache__" not in line}
    assert "./housing/serve.py" in files
    not_needed = {"on_laptop.py", "measure_quality.py"}
    modules = {f"./housing/{path.name}" for path in (FOLDER / "housing").glob("*.py") if path.name not in not_needed}
    assert files == {"./requirements.txt", *modules}


def test_the_steps_give_the_numbers_that_the_processes_give(run_in_containers: Paths) -> None:
    by_process = finished_run()
    for part in ("train", "validation", "test"):
        file = Path("processing", "output", part, f"{part}.csv")
        assert (run_in_containers.base / file).read_bytes() == (by_process.base / file).read_bytes()
    assert (run_in_containers.model / "model.ubj").read_bytes() == (by_process.model / "model.ubj").read_bytes()
    report = Path("processing", "output", "evaluation", "evaluation.json")
    in_container = json.loads((run_in_containers.base / report).read_text())
    assert in_container == json.loads((by_process.base / report).read_text())


def test_a_failing_step_leaves_its_reason_where_sagemaker_looks(image: str, tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    open_to_all(tmp_path)
    done = step(image, tmp_path, "train")
    assert done.returncode == 1
    assert paths.training_failure.read_text().startswith("/opt/ml/input/data/train: the channel train needs")


def test_a_folder_that_its_user_may_not_write_is_named_with_the_way_out(image: str, tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    (paths.processing_input / "data").mkdir(parents=True)
    shutil.copy(DATA, paths.processing_input / "data")
    open_to_all(tmp_path)
    paths.processing_output.mkdir()
    paths.processing_output.chmod(0o755)
    done = step(image, tmp_path, "preprocess")
    assert done.returncode == 1
    message = paths.processing_message.read_text()
    assert "/opt/ml/processing/output/" in message
    assert "permission denied for user 10001" in message
    assert "--build-arg RUN_AS=root" in message


@contextmanager
def serving_container(image: str, model: Path) -> Iterator[tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    name = f"housing-{uuid.uuid4().hex[:12]}"
    where = ["--env", "SAGEMAKER_BIND_TO_HOST=127.0.0.1", "--env", f"SAGEMAKER_BIND_TO_PORT={port}"]
    mount = ["--volume", f"{model}:/opt/ml/model:ro"]
    started = docker(
        "run", "--detach", "--name", name, "--network", "host", *LOCKED_DOWN, *where, *mount, image, "serve"
    )
    assert started.returncode == 0, started.stderr
    try:
        deadline = time.monotonic() + 30
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


def test_the_server_scores_as_the_booster_does_and_stops_when_told(image: str, run_in_containers: Paths) -> None:
    rows = table(run_in_containers.processing_output / "test" / "test.csv")[:, 1:].tolist()
    body = "\n".join(",".join(repr(value) for value in row) for row in rows)
    with serving_container(image, run_in_containers.model) as (name, port):

        def ask(method: str, path: str, body: str | None = None, content_type: str = "text/csv") -> Answer:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                return call(connection, method, path, body, {"Content-Type": content_type} if body else {})
            finally:
                connection.close()

        assert ask("GET", "/ping").status == 200
        assert ask("POST", "/invocations", body).scores() == expected_scores(rows)
        as_json = ask("POST", "/invocations", json.dumps({"instances": [ROW]}), "application/json")
        assert as_json.scores() == expected_scores([ROW])
        assert ask("POST", "/invocations", "1,2").status == 400

        asked = time.monotonic()
        assert docker("stop", "--time", "20", name).returncode == 0
        assert time.monotonic() - asked < 5, "SIGTERM does not reach the server"
        assert docker("inspect", "--format", "{{.State.ExitCode}}", name).stdout.strip() == "0"
        assert docker("logs", name).stdout.endswith("Stopped\n")
