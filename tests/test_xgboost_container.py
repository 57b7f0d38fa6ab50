"""The XGBoost image in a real container engine: every job of it, with no more rights than it needs.

Needs the `docker` command and an engine that answers (DOCKER_HOST, where it is not the usual socket). Where
there is none these tests fail: a container that was not run proves nothing.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import xgboost
from sagestack.build_context import build_context
from sagestack.settings import load_model
from xgboost_container.contract import Paths

from tests.containers import build, docker, job_containers, open_to_all, serving_container, step, wait
from tests.housing_runs import DATA, FOLDER, archive_of, expected_scores, finished_run, table
from tests.xgboost_records import dense_records
from tests.xgboost_servers import Answer, Client, csv_of, some_rows, trained, write_artifact

pytestmark = [pytest.mark.container, pytest.mark.timeout(600)]

LARGEST_IMAGE = 260e6


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_context(load_model("housing"), tmp_path_factory.mktemp("assembly"))


@pytest.fixture(scope="module")
def image(context: Path) -> str:
    """The housing model's image: the shared one, with what is the model's own."""
    return build(context, "sagestack-housing:test")


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
    shutil.copytree(finished_run().config, paths.config)
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


# --- the image ---


def test_it_runs_as_a_plain_user_and_can_be_built_for_root(image: str, context: Path) -> None:
    def user(of: str) -> str:
        return docker("run", "--rm", "--network", "none", "--entrypoint", "id", of, "-u").stdout.strip()

    assert user(image) == "10001"
    assert user(build(context, "sagestack-housing:test-root", "--build-arg", "RUN_AS=root")) == "0"


def test_it_adds_little_to_its_base(image: str, context: Path) -> None:
    def size(of: str) -> int:
        return int(docker("image", "inspect", "--format", "{{.Size}}", of).stdout)

    base = next(
        line.split()[1] for line in (context / "Dockerfile").read_text().splitlines() if line.startswith("FROM")
    )
    added = size(image) - size(base)
    assert size(image) <= LARGEST_IMAGE, f"{size(image) / 1e6:.0f} MB, of which {added / 1e6:.0f} MB are ours"


def test_its_labels_let_sagemaker_choose_the_port_and_load_many_models(image: str) -> None:
    labels = json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", image).stdout)
    assert labels["com.amazonaws.sagemaker.capabilities.accept-bind-to-port"] == "true"
    assert labels["com.amazonaws.sagemaker.capabilities.multi-models"] == "true"


def test_it_holds_the_program_and_what_is_the_models_own(image: str) -> None:
    listed = docker("run", "--rm", "--network", "none", "--entrypoint", "find", image, ".", "-type", "f").stdout
    files = {line for line in listed.split() if "__pycache__" not in line}
    program = FOLDER.parent / "images" / "xgboost"
    expected = {f"./{path.relative_to(program)}" for path in (program / "xgboost_container").rglob("*.py")}
    expected |= {f"./model/{path.name}" for path in (FOLDER / "model").glob("*.py")}
    assert files == {"./requirements.txt", "./requirements-model.txt", *expected}


def test_no_job_needs_a_shell(image: str, context: Path, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        f"FROM {image}\nUSER root\nRUN rm -f /bin/sh /bin/bash /bin/dash /usr/bin/sh /usr/bin/bash /usr/bin/dash\n"
        "USER 10001\n"
    )
    without = build(tmp_path, "sagestack-housing:test-no-shell")
    base = tmp_path / "ml"
    for folder in ("model", "output/data"):
        (base / folder).mkdir(parents=True)
    shutil.copytree(finished_run().base / "input", base / "input")
    base.chmod(0o755)
    open_to_all(base)
    done = step(without, base, "train")
    assert done.returncode == 0, done.stdout + done.stderr
    with serving_container(without, "--volume", f"{base / 'model'}:/opt/ml/model:ro") as (_, port):
        assert ready(port)


# --- the jobs ---


def test_the_steps_give_the_numbers_that_the_processes_give(run_in_containers: Paths) -> None:
    by_process = finished_run()
    for part in ("train", "validation", "test"):
        file = Path("processing", "output", part, f"{part}.csv")
        assert (run_in_containers.base / file).read_bytes() == (by_process.base / file).read_bytes()
    for name in ("xgboost-model", "data-summary.json"):
        assert (run_in_containers.model / name).read_bytes() == (by_process.model / name).read_bytes()
    report = Path("processing", "output", "evaluation", "evaluation.json")
    in_container = json.loads((run_in_containers.base / report).read_text())
    assert in_container == json.loads((by_process.base / report).read_text())


def test_a_failing_step_leaves_its_reason_where_sagemaker_looks(image: str, tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    open_to_all(tmp_path)
    done = step(image, tmp_path, "train")
    assert done.returncode == 1
    assert paths.training_failure.read_text().startswith("UserError: hyperparameters.json: num_round is missing")


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


@pytest.mark.parametrize("content_type", ["text/libsvm", "application/x-parquet", "application/x-recordio-protobuf"])
def test_it_trains_without_scipy_on_every_format(image: str, tmp_path: Path, content_type: str) -> None:
    base = given_job(tmp_path / "ml", content_type)
    done = step(image, base, "train")
    assert done.returncode == 0, done.stdout + done.stderr
    booster = xgboost.Booster(model_file=bytearray((base / "model" / "xgboost-model").read_bytes()))
    assert booster.num_boosted_rounds() == 5


def given_job(base: Path, content_type: str, *, host: int = 1, hosts: int = 1) -> Path:
    """A folder in the place of /opt/ml with rows of one host's shard."""
    paths = Paths(base)
    for folder in (paths.config, paths.channel("train"), paths.model, paths.output_data):
        folder.mkdir(parents=True)
    rows = some_rows(600)[host - 1 :: hosts]
    labels = rows[:, 0] * 2 + rows[:, 1] * rows[:, 2]
    write_rows(paths.channel("train"), content_type, labels, rows)
    names = [f"algo-{number}" for number in range(1, hosts + 1)]
    channel = {"ContentType": content_type, "TrainingInputMode": "File", "S3DistributionType": "ShardedByS3Key"}
    for name, content in {
        "hyperparameters": {"num_round": "5", "objective": "reg:squarederror", "nthread": "1"},
        "inputdataconfig": {"train": {**channel, "RecordWrapperType": "None"}},
        "resourceconfig": {"current_host": f"algo-{host}", "hosts": names, "network_interface_name": "lo"},
    }.items():
        (paths.config / f"{name}.json").write_text(json.dumps(content))
    base.parent.chmod(0o755)
    open_to_all(base)
    return base


def write_rows(
    folder: Path,
    content_type: str,
    labels: np.ndarray[tuple[int], np.dtype[np.float32]],
    rows: np.ndarray[tuple[int, int], np.dtype[np.float32]],
) -> None:
    table_of_all = np.column_stack([labels, rows])
    match content_type:
        case "text/csv":
            np.savetxt(folder / "rows.csv", table_of_all, delimiter=",")
        case "text/libsvm":
            lines = [
                " ".join([f"{label:g}", *(f"{column}:{value:g}" for column, value in enumerate(row))])
                for label, row in zip(labels, rows, strict=True)
            ]
            (folder / "rows.libsvm").write_text("\n".join(lines) + "\n")
        case "application/x-parquet":
            names = ["label", *(f"f{column}" for column in range(rows.shape[1]))]
            made = pyarrow.table({name: table_of_all[:, column] for column, name in enumerate(names)})
            pyarrow.parquet.write_table(made, folder / "rows.parquet")
        case "application/x-recordio-protobuf":
            (folder / "rows.pbr").write_bytes(dense_records(labels, rows))


def test_two_hosts_train_one_model_with_no_network_but_their_own(image: str, tmp_path: Path) -> None:
    bases = [given_job(tmp_path / f"algo-{host}", "text/csv", host=host, hosts=2) for host in (1, 2)]
    addresses = json.dumps({"algo-1": "127.0.0.1", "algo-2": "127.0.0.1"})
    with job_containers(image, bases, "--env", f"SAGEMAKER_HOST_ADDRESSES={addresses}") as names:
        codes = [wait(name) for name in names]
        logs = [docker("logs", name).stdout for name in names]
    assert codes == [0, 0], logs
    assert [(base / "model" / "xgboost-model").exists() for base in bases] == [True, False]
    info = json.loads((bases[0] / "model" / "model-info.json").read_text())
    assert info["data"]["train"]["rows"] == 600


def test_a_host_that_dies_fails_the_job_with_its_name(image: str, tmp_path: Path) -> None:
    bases = [given_job(tmp_path / f"algo-{host}", "text/csv", host=host, hosts=2) for host in (1, 2)]
    for base in bases:
        file = base / "input/config/hyperparameters.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "num_round": "100000"}))
    addresses = json.dumps({"algo-1": "127.0.0.1", "algo-2": "127.0.0.1"})
    with job_containers(image, bases, "--env", f"SAGEMAKER_HOST_ADDRESSES={addresses}") as names:
        deadline = time.monotonic() + 120
        while "[3]" not in docker("logs", names[0]).stdout:
            assert time.monotonic() < deadline, [docker("logs", name) for name in names]
            time.sleep(0.2)
        docker("kill", names[1])
        assert wait(names[0], 120) == 1
    # Not by its silence, for which the others would wait a minute.
    assert "host algo-2 was lost: its connection broke off" in (bases[0] / "output" / "failure").read_text()


# --- serving ---


def ask(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
    with Client(port) as client:
        return client.call(method, path, body, **headers)


def ready(port: int, seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while ask(port, "GET", "/ping").status != 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return True


def test_the_server_scores_as_the_booster_does_and_stops_when_told(image: str, run_in_containers: Paths) -> None:
    rows = table(run_in_containers.processing_output / "test" / "test.csv")[:, 1:]
    with serving_container(image, "--volume", f"{run_in_containers.model}:/opt/ml/model:ro") as (name, port):
        assert ready(port)

        def invoke(body: bytes) -> Answer:
            return ask(port, "POST", "/invocations", body, content_type="text/csv")

        assert invoke(csv_of(rows)).scores() == pytest.approx(expected_scores(rows), rel=1e-6)
        assert invoke(csv_of(rows[:1])).scores() == pytest.approx(expected_scores(rows[:1]), rel=1e-6)
        assert invoke(b"1,2").status == 400

        assert docker("stop", "--time", "60", name).returncode == 0
        code = docker("inspect", "--format", "{{.State.ExitCode}}", name).stdout.strip()
        assert code == "0", "SIGTERM does not reach the server, which was killed in the end"


def test_many_models_share_a_container(image: str, tmp_path: Path) -> None:
    rows = some_rows(3)
    boosters = {f"model-{seed}": trained(seed=seed) for seed in (1, 2)}
    for name, booster in boosters.items():
        write_artifact(booster, tmp_path / "models" / name / "model")
    tmp_path.chmod(0o755)
    options = ["--env", "SAGEMAKER_MULTI_MODEL=true", "--volume", f"{tmp_path / 'models'}:/opt/ml/models:ro"]
    with serving_container(image, *options) as (_, port):
        assert ready(port)
        for name, booster in boosters.items():
            load = json.dumps({"model_name": name, "url": f"/opt/ml/models/{name}/model"}).encode()
            assert ask(port, "POST", "/models", load, content_type="application/json").status == 200
            answer = ask(port, "POST", f"/models/{name}/invoke", csv_of(rows), content_type="text/csv")
            assert answer.scores() == pytest.approx(booster.predict(xgboost.DMatrix(rows)), rel=1e-6)
        listed = ask(port, "GET", "/models").json()["models"]
        assert {model["modelName"] for model in listed} == set(boosters)
        assert ask(port, "DELETE", "/models/model-1").status == 200
        assert ask(port, "POST", "/models/model-1/invoke", csv_of(rows), content_type="text/csv").status == 404
