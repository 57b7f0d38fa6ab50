"""`sagestack laptop`: what it asks of the model's program, and what it says. The program itself: tests/test_housing_model.py."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from sagestack.cli import laptop
from sagestack.cli.main import app
from typer.testing import CliRunner

from tests.cli_fakes import make_project

REPORT = {"regression_metrics": {"rmse": {"value": 3.5}}}
JOB = """
import os, sys
from pathlib import Path
with open(sys.argv[1], "a") as jobs:
    print(sys.argv[2], os.environ["SAGEMAKER_BASE_DIR"], file=jobs)
print("said by", sys.argv[2])
output = Path(os.environ["SAGEMAKER_BASE_DIR"], "processing/output")
for part in ("train", "validation", "test", "evaluation"):
    (output / part).mkdir(parents=True, exist_ok=True)
(output / "evaluation/evaluation.json").write_text(sys.argv[3])
(output.parent.parent / "model").mkdir(exist_ok=True)
sys.exit(int(sys.argv[4]) if sys.argv[2] == "serve" else 0)
"""

runner = CliRunner()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose model has jobs that only say that they ran; `serve` ends at once, as if by Ctrl-C in good order."""
    made = make_project(tmp_path)
    file = made / "model_code/housing/model.yaml"
    file.write_text(file.read_text().replace("own-container", "xgboost").replace("max_depth: 5", "num_round: 5"))
    monkeypatch.chdir(made)
    jobs_say(monkeypatch, made, serve_exit_code=0)
    return made


def jobs_say(monkeypatch: pytest.MonkeyPatch, root: Path, serve_exit_code: int) -> None:
    def command(_: laptop.Laptop, job: str) -> list[str]:
        return [sys.executable, "-c", JOB, str(root / "jobs"), job, json.dumps(REPORT), str(serve_exit_code)]

    monkeypatch.setattr(laptop.Laptop, "command", command)


def jobs(root: Path) -> list[str]:
    return [line.split()[0] for line in (root / "jobs").read_text().splitlines()]


def test_it_runs_the_jobs_in_the_projects_own_folder_and_says_where_the_model_is(root: Path) -> None:
    result = runner.invoke(app, ["laptop"])
    assert result.exit_code == 0, result.output
    assert jobs(root) == ["preprocess", "train", "evaluate"]
    assert {line.split()[1] for line in (root / "jobs").read_text().splitlines()} == {str(root / ".laptop/housing")}
    said = " ".join(result.output.split())
    assert str(root / ".laptop/housing/model") in said.replace(" ", "")
    assert "sagestack laptop --serve" in said


def test_with_serve_the_server_comes_last_and_works_in_the_same_folder(root: Path, tmp_path: Path) -> None:
    result = runner.invoke(app, ["laptop", str(tmp_path / "ml"), "--serve"])
    assert result.exit_code == 0, result.output
    assert jobs(root) == ["preprocess", "train", "evaluate", "serve"]
    assert (root / "jobs").read_text().splitlines()[-1].split()[1] == str(tmp_path / "ml")
    assert "--serve" not in result.output


def test_under_json_stdout_is_one_document_though_jobs_and_server_print(
    root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "ml"
    with pytest.raises(SystemExit) as ended:
        app(["laptop", str(folder), "--serve", "--json"])
    assert ended.value.code == 0
    said = capfd.readouterr()
    assert json.loads(said.out) == {"folder": str(folder), "evaluation": REPORT}
    assert said.err.split(os.linesep)[:4] == [f"said by {job}" for job in ("preprocess", "train", "evaluate", "serve")]


def test_a_server_that_ends_badly_is_an_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs_say(monkeypatch, root, serve_exit_code=3)
    result = runner.invoke(app, ["laptop", "--serve"])
    assert result.exit_code == 1
    assert "The server of the model housing ended with exit code 3" in " ".join(result.output.split())


def test_a_file_that_is_not_there_is_named_before_anything_runs(root: Path) -> None:
    result = runner.invoke(app, ["laptop", "--data", "nowhere.csv"])
    assert result.exit_code == 1
    assert "There is no file nowhere.csv" in " ".join(result.output.split())
    assert not (root / "jobs").exists()


def test_a_model_with_an_image_of_its_own_is_refused(root: Path) -> None:
    file = root / "model_code/housing/model.yaml"
    file.write_text(file.read_text().replace("xgboost", "own-container"))
    result = runner.invoke(app, ["laptop"])
    assert result.exit_code == 1
    assert "has an image of its own" in " ".join(result.output.split())
