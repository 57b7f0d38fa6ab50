"""The step `evaluate`: what a trained model's archive and held-out rows become in the report, and what it refuses."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from numpy.typing import NDArray
from xgboost_container.artifact import as_files
from xgboost_container.contract import Paths, run_step
from xgboost_container.evaluation.evaluate import evaluate
from xgboost_container.prediction.ensemble import combined

from tests import second_opinion as reference
from tests.image_environment import python_path
from tests.xgboost_tables import WRITERS, as_csv, as_parquet
from tests.xgboost_training_job import ROOT

NAMES = ("x0", "x1", "x2", "x3")
Numbers = NDArray[Any]


def rows(objective: str, count: int, seed: int) -> NDArray[np.float32]:
    """(count, 5): a label that suits the objective and four features, some of them missing."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(count, 4)).astype(np.float32)
    score = features[:, 0] + features[:, 1] ** 2 + generator.normal(size=count) * 0.7
    kind = objective.partition(":")[0]
    labels = {
        "binary": score > 1,
        "multi": np.digitize(score, [0.0, 1.5]),
        "count": np.floor(np.exp(score / 3)),
    }.get(kind, np.exp(score / 3))
    if objective == "reg:logistic":
        labels = 1 / (1 + np.exp(-score))
    features[generator.random(count) < 0.1, 2] = np.nan
    return np.column_stack([labels, features]).astype(np.float32)


def boosters(objective: str, count: int = 1, **params: Any) -> list[xgboost.Booster]:
    found = []
    for seed in range(count):
        table = rows(objective, 150, seed)
        matrix = xgboost.DMatrix(table[:, 1:], label=table[:, 0], feature_names=list(NAMES), nthread=1)
        if objective == "survival:aft":
            matrix.set_info(label_lower_bound=table[:, 0], label_upper_bound=table[:, 0])
        told = {"objective": objective, "max_depth": 2, "nthread": 1, **params}
        if objective.startswith("multi:"):
            told["num_class"] = 3
        found.append(xgboost.train(told, matrix, 5))
    return found


def files(models: list[xgboost.Booster]) -> dict[str, bytes]:
    return as_files(
        models,
        sample=[0.5, None, 1.0, -1.0],
        hyperparameters={},
        data={},
        metrics={},
        rounds={"trained": 5, "kept": 5},
        summary=[],
    )


def pack(base: Path, contents: dict[str, bytes], *more: tarfile.TarInfo) -> Path:
    archive = Paths(base).processing_input / "model" / "model.tar.gz"
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz") as opened:
        for member in more:
            opened.addfile(member)
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
    return archive


def give(base: Path, content: bytes, name: str = "test.csv") -> None:
    folder = Paths(base).processing_input / "test"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def report(base: Path) -> dict[str, Any]:
    paths = Paths(base)
    code = run_step(evaluate, paths, paths.processing_message)
    assert code == 0, paths.processing_message.read_text()
    return json.loads((paths.processing_output / "evaluation" / "evaluation.json").read_text())  # type: ignore[no-any-return]


def refusal(base: Path) -> str:
    """The line that the step fails with; and that it leaves no report."""
    paths = Paths(base)
    assert run_step(evaluate, paths, paths.processing_message) == 1
    assert not (paths.processing_output / "evaluation").exists()
    message = paths.processing_message.read_text()
    assert message.startswith("UserError: ")
    assert message.count("\n") == 1
    return message


def values(of: dict[str, Any]) -> dict[str, float]:
    return {name: metric["value"] for name, metric in of.items() if "value" in metric}


def answers(models: list[xgboost.Booster], table: Numbers, margin: bool = False) -> Numbers:
    """The boosters' mean, made with nothing of the step's."""
    matrix = xgboost.DMatrix(table[:, 1:], feature_names=list(NAMES), nthread=1)
    return np.asarray(np.mean([model.predict(matrix, output_margin=margin) for model in models], axis=0))


# --- the numbers are scikit-learn's


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(
    "objective",
    ["reg:squarederror", "reg:gamma", "reg:tweedie", "reg:logistic", "reg:absoluteerror", "count:poisson"],
)
def test_quantities_are_measured_as_by_scikit_learn_in_every_format(tmp_path: Path, objective: str, kind: str) -> None:
    models, test = boosters(objective), rows(objective, 90, 9)
    pack(tmp_path, files(models))
    give(tmp_path, WRITERS[kind](test), {"recordio": "test.pbr"}.get(kind, f"test.{kind}"))

    found = report(tmp_path)

    assert found["dataset"] == {"item_count": 90}
    truth, said = test[:, 0].astype(float), answers(models, test).astype(float)
    assert values(found["regression_metrics"]) == pytest.approx(
        {
            "mae": reference.mean_absolute_error(truth, said),
            "mse": reference.mean_squared_error(truth, said),
            "rmse": reference.root_mean_squared_error(truth, said),
            "r2": reference.r2_score(truth, said),
        },
        rel=1e-5,
    )
    assert all(metric["standard_deviation"] > 0 for metric in found["regression_metrics"].values())


@pytest.mark.parametrize("folds", [1, 3])
@pytest.mark.parametrize("objective", ["binary:logistic", "binary:logitraw", "binary:hinge"])
def test_two_classes_are_measured_as_by_scikit_learn(tmp_path: Path, objective: str, folds: int) -> None:
    models, test = boosters(objective, folds), rows(objective, 120, 9)
    pack(tmp_path, files(models))
    give(tmp_path, as_csv(test))

    found = report(tmp_path)["binary_classification_metrics"]

    truth = test[:, 0].astype(int)
    matrix = xgboost.DMatrix(test[:, 1:], feature_names=list(NAMES))
    each = [model.predict(matrix) for model in models]
    margin = answers(models, test, margin=True)
    said = combined(each, objective) > (0.0 if objective == "binary:logitraw" else 0.5)
    score = combined(each, objective) if objective == "binary:logistic" else margin
    assert found["confusion_matrix"] == {
        str(there): {str(here): int(((truth == there) & (said == here)).sum()) for here in (0, 1)} for there in (0, 1)
    }
    measured = values(found)
    assert measured["accuracy"] == pytest.approx(reference.accuracy_score(truth, said))
    assert measured["precision"] == pytest.approx(reference.precision_score(truth, said))
    assert measured["recall"] == pytest.approx(reference.recall_score(truth, said))
    assert measured["f2"] == pytest.approx(reference.fbeta_score(truth, said, beta=2))
    assert measured["auc"] == pytest.approx(reference.roc_auc_score(truth, score), abs=1e-6)
    if objective == "binary:hinge":  # the margin of a hinge is no log-odds
        assert "log_loss" not in measured
    else:
        probability = score if objective == "binary:logistic" else 1 / (1 + np.exp(-score.astype(float)))
        assert measured["log_loss"] == pytest.approx(reference.log_loss(truth, probability), rel=1e-5)


@pytest.mark.parametrize("folds", [1, 3])
@pytest.mark.parametrize("objective", ["multi:softmax", "multi:softprob"])
def test_several_classes_are_measured_as_by_scikit_learn(tmp_path: Path, objective: str, folds: int) -> None:
    models, test = boosters(objective, folds), rows(objective, 150, 9)
    pack(tmp_path, files(models))
    give(tmp_path, as_csv(test))

    found = report(tmp_path)["multiclass_classification_metrics"]

    truth = test[:, 0].astype(int)
    matrix = xgboost.DMatrix(test[:, 1:], feature_names=list(NAMES))
    answer = combined([model.predict(matrix) for model in models], objective)
    said = (answer.argmax(axis=1) if answer.ndim == 2 else answer).astype(int)
    expected = reference.confusion_matrix(truth, said, labels=[0, 1, 2])
    assert [[found["confusion_matrix"][str(i)][str(j)] for j in range(3)] for i in range(3)] == expected.tolist()
    measured = values(found)
    assert measured["accuracy"] == pytest.approx(reference.accuracy_score(truth, said))
    assert measured["weighted_precision"] == pytest.approx(
        reference.precision_score(truth, said, average="weighted", zero_division=0)
    )
    assert measured["weighted_recall"] == pytest.approx(reference.recall_score(truth, said, average="weighted"))
    assert measured["weighted_f1"] == pytest.approx(reference.f1_score(truth, said, average="weighted"))
    if objective == "multi:softprob":
        assert measured["log_loss"] == pytest.approx(reference.log_loss(truth, answer.astype(float)), rel=1e-5)


def test_an_ensemble_is_measured_by_what_it_answers_not_by_its_mean_margin(tmp_path: Path) -> None:
    """One booster that is very sure outweighs two that are not in the mean of margins, and is outvoted in the answers."""
    test = rows("binary:hinge", 60, 9)
    models = [*boosters("binary:hinge", base_score=25.0), *boosters("binary:hinge", 3)[1:]]
    pack(tmp_path, files(models))
    give(tmp_path, as_csv(test))
    matrix = xgboost.DMatrix(test[:, 1:], feature_names=list(NAMES))
    said = combined([model.predict(matrix) for model in models], "binary:hinge")
    assert (said != (answers(models, test, margin=True) > 0)).any()
    measured = values(report(tmp_path)["binary_classification_metrics"])
    assert measured["accuracy"] == pytest.approx(reference.accuracy_score(test[:, 0], said))


# --- what it refuses


@pytest.mark.parametrize("objective", ["survival:aft", "survival:cox", "rank:ndcg", "reg:quantileerror"])
def test_an_objective_without_metrics_names_the_way_out(tmp_path: Path, objective: str) -> None:
    params = {"quantile_alpha": 0.5} if objective == "reg:quantileerror" else {}
    table = rows("multi:softmax" if objective.startswith("rank:") else objective, 60, 1)
    matrix = xgboost.DMatrix(table[:, 1:], label=table[:, 0], feature_names=list(NAMES), nthread=1)
    if objective == "survival:aft":
        matrix.set_info(label_lower_bound=table[:, 0], label_upper_bound=table[:, 0])
    pack(tmp_path, files([xgboost.train({"objective": objective, "nthread": 1, **params}, matrix, 2)]))
    give(tmp_path, as_csv(table))
    message = refusal(tmp_path)
    assert f"no metrics for the objective {objective}" in message
    assert "model/evaluate.py with a function evaluate(paths)" in message


def _member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    ("member", "told"),
    [
        (_member("/etc/passwd"), "absolute path"),
        (_member("a/../../b"), "leads out of the archive"),
        (_member("xgboost-model", tarfile.SYMTYPE, "/etc/passwd"), "is a link"),
        (_member("zero", tarfile.CHRTYPE), "is a device"),
    ],
)
def test_a_hostile_archive_is_refused_before_a_row_is_read(tmp_path: Path, member: tarfile.TarInfo, told: str) -> None:
    pack(tmp_path, files(boosters("reg:squarederror")), member)
    give(tmp_path, as_csv(rows("reg:squarederror", 20, 9)))
    assert told in refusal(tmp_path)


def test_an_archive_that_is_cut_is_refused(tmp_path: Path) -> None:
    archive = pack(tmp_path, files(boosters("reg:squarederror")))
    archive.write_bytes(archive.read_bytes()[:-100])
    give(tmp_path, as_csv(rows("reg:squarederror", 20, 9)))
    assert "is cut" in refusal(tmp_path)


def test_no_archive_is_refused(tmp_path: Path) -> None:
    give(tmp_path, as_csv(rows("reg:squarederror", 20, 9)))
    assert "model.tar.gz: the model archive is not there" in refusal(tmp_path)


def _labels(change: Callable[[Numbers], None], objective: str) -> bytes:
    test = rows(objective, 20, 9)
    change(test)
    return as_csv(test)


def _set(row: int, label: float) -> Callable[[Numbers], None]:
    def change(test: Numbers) -> None:
        test[row, 0] = label

    return change


@pytest.mark.parametrize(
    ("objective", "content", "told"),
    [
        ("reg:squarederror", b"", "1 empty: test/test.csv"),
        ("reg:squarederror", b"\n\n", "test: no rows, so there is nothing to score"),
        ("reg:squarederror", b"1,2,3\n", "test/test.csv: row 1: has 2 features, the model has 4"),
        ("reg:squarederror", b"1,2,3,4,5,6\n", "test/test.csv: row 1: has 5 features, the model has 4"),
        ("reg:squarederror", b"1,2,3,4,5\n1,2,x,4,5\n", "test/test.csv: row 2, column 3"),
        ("reg:squarederror", _labels(_set(4, np.nan), "reg:squarederror"), "row 5: the label is missing"),
        (
            "binary:logistic",
            _labels(_set(2, 0.5), "binary:logistic"),
            "row 3: the label is 0.5, must be a class from 0",
        ),
        ("multi:softprob", _labels(_set(7, 3), "multi:softprob"), "row 8: the label is 3, must be a class from 0 to 2"),
    ],
)
def test_rows_that_cannot_be_compared_are_refused_by_their_place(
    tmp_path: Path, objective: str, content: bytes, told: str
) -> None:
    pack(tmp_path, files(boosters(objective)))
    give(tmp_path, content)
    assert told in refusal(tmp_path)


def test_columns_with_other_names_are_refused(tmp_path: Path) -> None:
    pack(tmp_path, files(boosters("reg:squarederror")))
    give(tmp_path, as_parquet(rows("reg:squarederror", 20, 9), ("label", "x0", "x2", "x1", "x3")), "test.parquet")
    assert "named otherwise than the model's: feature 1 is 'x2', there 'x1'" in refusal(tmp_path)


# --- the program


def run_program(base: Path, *more: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "xgboost_container", "evaluate"],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(base), "PYTHONPATH": python_path(*more, ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
    )


def test_a_models_own_evaluate_takes_over(tmp_path: Path) -> None:
    package = tmp_path / "own" / "model"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "evaluate.py").write_text(
        "def evaluate(paths):\n    paths.processing_output.mkdir(parents=True)\n    print('own')\n"
    )
    done = run_program(tmp_path / "ml", tmp_path / "own")
    assert (done.returncode, done.stdout) == (0, "own\n"), done.stderr


def test_a_model_without_its_own_gets_the_images(tmp_path: Path) -> None:
    pack(tmp_path, files(boosters("reg:squarederror")))
    give(tmp_path, as_csv(rows("reg:squarederror", 20, 9)))
    done = run_program(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "test-rmse:" in done.stdout
