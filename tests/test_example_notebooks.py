"""The example notebooks are clean, and run to their end in a local cloud with the rights of a notebook's role and no others."""

from __future__ import annotations

import ast
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.example_runs import EXAMPLES, NOTEBOOK_PYTHON, SDK_PYTHON, ExamplePlatform, Ran
from tests.local_cloud_fixtures import LocalCloud

NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
WITH_THE_SDK = "train-and-deploy-with-the-sagemaker-sdk"
IN_A_KERNEL = [path.stem for path in NOTEBOOKS if path.stem != WITH_THE_SDK]
PREFIX = "sagestack-local-explore-"

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path, kind: str = "code") -> dict[str, str]:
    """The sources of a notebook's cells of one kind, by their ids."""
    return {
        cell["id"]: "".join(cell["source"])
        for cell in json.loads(path.read_text())["cells"]
        if cell["cell_type"] == kind
    }


def test_they_run_on_the_oldest_python_that_notebook_instances_have() -> None:
    sources = [(EXAMPLES / "platform_names.py").read_text()]
    sources += [source for path in NOTEBOOKS for source in cells(path).values()]
    for source in sources:
        ast.parse(source, feature_version=(3, 10))


def test_there_is_one_for_each_thing_that_people_begin_with() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "explore-the-data",
        "invoke-the-endpoint",
        "look-at-the-registry",
        "predict-in-batches",
        "start-the-pipeline",
        "train-and-deploy-with-boto3",
        "train-and-deploy-with-the-sagemaker-sdk",
    ]


@every_notebook
def test_a_notebook_is_committed_without_what_it_printed(path: Path) -> None:
    document = json.loads(path.read_text())
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    assert document["metadata"]["kernelspec"]["name"] == "python3"
    assert set(document["metadata"]) == {"kernelspec", "language_info"}
    ids = [cell["id"] for cell in document["cells"]]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z0-9-]{1,64}", each) for each in ids)
    for cell in document["cells"]:
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None), cell["id"]


@every_notebook
def test_a_notebook_says_what_it_is_and_what_it_needs_before_it_does_anything(path: Path) -> None:
    first = json.loads(path.read_text())["cells"][0]
    text = "".join(first["source"])
    assert first["cell_type"] == "markdown"
    assert text.startswith("# ")
    assert "cost" in text or "On AWS it takes" in text
    assert "grants:" in text or "Every notebook may" in text


@every_notebook
def test_no_name_is_written_into_a_notebook(path: Path) -> None:
    for name, source in cells(path).items():
        texts = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
        for text in (text for text in texts if isinstance(text, str)):
            assert not re.search(r"sagestack-|housing|MEDV|arn:aws|\bml\.\w+\.|\d{12}|us-east|eu-west", text), (
                name,
                text,
            )
    assert "platform = Platform()" in cells(path)["platform"]


@pytest.mark.parametrize("stem", ["train-and-deploy-with-boto3", WITH_THE_SDK])
def test_what_makes_an_endpoint_deletes_it_first_and_last(stem: str) -> None:
    sources = cells(EXAMPLES / f"{stem}.ipynb")
    assert sources["clean-up-first"].endswith("\nclean_up()")
    assert sources["clean-up"].startswith("clean_up()")
    assert list(sources)[-1] == "clean-up"
    about = cells(EXAMPLES / f"{stem}.ipynb", "markdown")["about"]
    assert "If a cell in between fails, run the last cell" in " ".join(about.split())


@pytest.fixture(scope="module")
def platform(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> ExamplePlatform:
    """Deployed; no data, no version, no endpoint."""
    return ExamplePlatform(cloud, tmp_path_factory.mktemp("platform"))


@pytest.fixture(scope="module")
def runs(platform: ExamplePlatform) -> dict[str, Ran]:
    """Each notebook, run once where it has what it needs; and before, where it has not, as `NAME, too early`."""
    assert NOTEBOOK_PYTHON.exists(), f"{NOTEBOOK_PYTHON} is missing: run `make test-notebook`, which installs it"
    ran: dict[str, Ran] = {}
    with ThreadPoolExecutor(2) as pool:

        def run(*notebooks: str, label: str = "") -> None:
            ran.update(zip((name + label for name in notebooks), pool.map(platform.run, notebooks), strict=True))

        run("explore-the-data", "predict-in-batches", "invoke-the-endpoint", label=", too early")
        platform.bring_data()
        first = platform.start_pipeline()
        run("explore-the-data")
        platform.wait_for(first)
        platform.approve_first_version()
        serving = pool.submit(platform.serve)
        run("start-the-pipeline")
        serving.result()
        # As a run that was cut off leaves it.
        platform.leave_a_model(f"{PREFIX}boto3")
        run("train-and-deploy-with-boto3", "predict-in-batches", "look-at-the-registry", "invoke-the-endpoint")
    return ran


@pytest.mark.notebook
@pytest.mark.parametrize("stem", IN_A_KERNEL)
def test_it_runs_to_its_end_with_the_rights_of_the_notebooks_role(runs: dict[str, Ran], stem: str) -> None:
    assert runs[stem].error is None, runs[stem].error
    assert runs[stem].runs == list(cells(EXAMPLES / f"{stem}.ipynb"))


@pytest.mark.notebook
@pytest.mark.parametrize(
    ("stem", "reason", "way_out"),
    [
        ("explore-the-data", "There are no CSV files in s3://", "sagestack run --model housing --env local"),
        ("predict-in-batches", "has no approved version", "sagestack approve --env local"),
        ("invoke-the-endpoint", "local serves no version of housing yet", "sagestack promote --env local"),
    ],
)
def test_where_something_is_not_there_yet_it_says_what_to_do(
    runs: dict[str, Ran], stem: str, reason: str, way_out: str
) -> None:
    error = runs[f"{stem}, too early"].error
    assert error is not None
    assert reason in error
    assert way_out in error
    assert "site-packages" not in error


@pytest.mark.notebook
def test_exploring_shows_the_data_and_two_plots(runs: dict[str, Ran]) -> None:
    ran = runs["explore-the-data"]
    assert "housing/input/housing.csv: 506 rows, 13 columns" in ran.said("read-files")
    assert "0 rows are copies of another one" in ran.said("describe-columns")
    assert (ran.pictures("plot-target"), ran.pictures("plot-relation")) == (1, 1)


@pytest.mark.notebook
def test_the_pipeline_is_watched_step_by_step_to_a_registered_version(runs: dict[str, Ran]) -> None:
    ran = runs["start-the-pipeline"]
    told = ran.said("watch-steps")
    for step in ("Preprocess", "Train", "Evaluate", "CheckQuality", "Register"):
        assert re.search(rf"{step} +Succeeded", told), told
    assert ran.said("show-version") == "Version 2, PendingManualApproval\n"
    assert "rmse" in ran.said("show-metrics")
    assert "sagestack approve 2 --env local" in ran.said("show-commands")


@pytest.mark.notebook
def test_boto3_trains_and_serves_a_model_that_beats_the_mean_and_leaves_nothing(
    platform: ExamplePlatform, runs: dict[str, Ran]
) -> None:
    ran = runs["train-and-deploy-with-boto3"]
    assert ran.said("clean-up-first") == f"Deleted the model {PREFIX}boto3\n", "what an earlier run left is deleted"
    assert "Saved" in ran.said("wait-for-training"), "the last lines of the job's log are shown"
    assert beats_the_mean(ran.said("invoke"))
    assert platform.served_by(PREFIX) == []


@pytest.mark.notebook
def test_a_batch_answers_each_row_once_and_in_its_place(platform: ExamplePlatform, runs: dict[str, Ran]) -> None:
    ran = runs["predict-in-batches"]
    assert ran.said("choose-version") == "Version 1, Approved\n"
    answers = [line.split(",") for line in platform.last_written("rows.csv.out").splitlines()]
    assert [int(row) for row, _ in answers] == list(range(506))
    # The endpoint serves the same version, and was asked for the first rows.
    by_endpoint = json.loads(answers_of(runs["invoke-the-endpoint"])["text/csv"])["predictions"]
    assert [float(score) for _, score in answers[:5]] == pytest.approx([each["score"] for each in by_endpoint])


@pytest.mark.notebook
def test_the_registry_shows_who_decided_what_each_scored_and_where_it_came_from(runs: dict[str, Ran]) -> None:
    ran = runs["look-at-the-registry"]
    assert re.search(r"1 +\d{4}-.* Approved +It scores well", ran.said("list-versions"))
    assert re.search(r"2 +\d{4}-.* PendingManualApproval", ran.said("list-versions"))
    assert re.search(r"max_depth +5", ran.said("show-lineage"))
    assert "Preprocess" in ran.said("show-lineage")
    assert "They differ in: nothing that the platform knows" in ran.said("compare-versions")
    assert re.search(r"rmse +3\.\d+ +3\.\d+ +0\.0", ran.said("compare-versions"))


@pytest.mark.notebook
def test_the_endpoint_answers_alike_in_each_content_type_and_refuses_in_words(runs: dict[str, Ran]) -> None:
    ran = runs["invoke-the-endpoint"]
    assert ran.said("show-kind") == "real-time, InService, 1 instance(s)\n"
    answers = answers_of(ran)
    assert list(answers) == ["text/csv", "application/json", "application/jsonlines"]
    assert len(set(answers.values())) == 1
    assert "50%" in ran.said("measure-latency")
    assert "ModelError, the container's status 400" in ran.said("ask-wrongly")
    assert "row 1: 2 columns, expected 12" in ran.said("ask-wrongly")


@pytest.mark.sdk
def test_the_sdk_trains_and_serves_a_model_that_beats_the_mean_and_leaves_nothing(platform: ExamplePlatform) -> None:
    assert SDK_PYTHON.exists(), f"{SDK_PYTHON} is missing: run `make test-sdk`, which installs it"
    platform.bring_data()
    told = platform.run_with_sdk(WITH_THE_SDK)
    assert beats_the_mean(told)
    assert f"Deleted the Endpoint {PREFIX}sdk" in told
    assert platform.served_by(PREFIX) == []


@pytest.mark.notebook
def test_without_the_sdk_its_notebook_says_how_to_have_it(platform: ExamplePlatform) -> None:
    platform.bring_data()
    ran = platform.run(WITH_THE_SDK)
    assert ran.error is not None
    assert "Version 3 of the SageMaker SDK is not in this kernel" in ran.error
    assert "packages: [{manager: pip" in ran.error


def answers_of(ran: Ran) -> dict[str, str]:
    """What the endpoint answered, by the content type of the question."""
    return dict(re.findall(r"^(\S+) +[\d.]+ ms +(.*)$", ran.said("ask-in-each-type"), re.MULTILINE))


def beats_the_mean(told: str) -> bool:
    found = re.search(r"76 rows, RMSE ([\d.]+); always answering the mean: ([\d.]+)", told)
    assert found is not None, told
    error, lazy_error = map(float, found.groups())
    return 0 < error < lazy_error / 2
