"""Evaluate: are the numbers right, and is the archive treated as something that may be hostile."""

from __future__ import annotations

import io
import json
import pickle
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from model_code.housing.housing.artifact import from_archive, from_folder
from model_code.housing.housing.contract import InputError, Paths
from model_code.housing.housing.evaluate import evaluate
from model_code.housing.housing.metrics import regression_metrics, with_standard_deviation
from tests.housing_runs import FOLDER, archive_of, errors_by_xgboost, finished_run, program, table


def model_files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in finished_run().model.iterdir()}


def given_inputs(base: Path, test: str | None = None) -> Paths:
    paths = Paths(base)
    archive_of(model_files(), paths.processing_input / "model" / "model.tar.gz")
    rows = (finished_run().processing_output / "test" / "test.csv").read_text()
    (paths.processing_input / "test").mkdir()
    (paths.processing_input / "test" / "test.csv").write_text(rows if test is None else test)
    return paths


# --- the numbers --------------------------------------------------------------------------------------


def test_the_metrics_agree_with_a_published_example() -> None:
    # The example in scikit-learn's documentation of mean_absolute_error, mean_squared_error and r2_score.
    metrics = regression_metrics(np.array([3, -0.5, 2, 7]), np.array([2.5, 0.0, 2, 8]))
    assert metrics == pytest.approx({"mae": 0.5, "mse": 0.375, "rmse": 0.6123724, "r2": 0.9486081}, abs=1e-7)


def test_r2_is_defined_where_the_truth_does_not_vary() -> None:
    constant = np.array([2.0, 2.0])
    assert regression_metrics(constant, constant)["r2"] == 1
    assert regression_metrics(constant, np.array([2.0, 3.0]))["r2"] == 0


def test_the_standard_deviation_is_that_of_sampling() -> None:
    generator = np.random.default_rng(5)
    truth = generator.normal(size=400)
    predicted = truth + generator.normal(size=400)
    mae = with_standard_deviation(truth, predicted)["mae"]
    # A mean's standard error has a formula; the bootstrap must find the same.
    assert mae["standard_deviation"] == pytest.approx(np.abs(predicted - truth).std() / 20, rel=0.1)


def test_the_report_agrees_with_xgboosts_own_evaluation_of_the_held_out_rows() -> None:
    report = json.loads((finished_run().processing_output / "evaluation" / "evaluation.json").read_text())
    rows = table(finished_run().processing_output / "test" / "test.csv")
    metrics = report["regression_metrics"]
    expected = errors_by_xgboost(rows)
    assert {name: metrics[name]["value"] for name in ("rmse", "mae")} == pytest.approx(expected, rel=1e-5)
    assert metrics["mse"]["value"] == pytest.approx(expected["rmse"] ** 2, rel=1e-5)
    unexplained = metrics["mse"]["value"] / np.var(rows[:, 0])
    assert metrics["r2"]["value"] == pytest.approx(1 - unexplained)
    assert report["dataset"] == {"item_count": len(rows)}
    assert all(set(metric) == {"value", "standard_deviation"} for metric in metrics.values())


def test_the_default_model_passes_the_gate_and_a_useless_one_does_not() -> None:
    bound = YAML(typ="safe").load(FOLDER / "model.yaml")["quality"]["at_most"]
    report = json.loads((finished_run().processing_output / "evaluation" / "evaluation.json").read_text())
    assert report["regression_metrics"]["rmse"]["value"] < bound - 0.5
    rows = {part: table(finished_run().processing_output / part / f"{part}.csv") for part in ("train", "test")}
    # A straight line is the least that a model of trees must beat.
    with_one = {part: np.c_[values[:, 1:], np.ones(len(values))] for part, values in rows.items()}
    weights, *_ = np.linalg.lstsq(with_one["train"], rows["train"][:, 0], rcond=None)
    line = regression_metrics(rows["test"][:, 0], with_one["test"] @ weights)
    assert line["rmse"] > bound


# --- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("", ["test.csv", "no rows"]),
        ("1,2\n", ["test.csv", "row 1 (line 1)", "2 values, expected 13"]),
        ("24" + ",1" * 11 + ",x\n", ["test.csv", "row 1", "column LSTAT", "'x'"]),
        ("nan" + ",1" * 12 + "\n", ["test.csv", "row 1", "column MEDV", "'nan'"]),
    ],
)
def test_test_rows_that_do_not_fit_are_refused(tmp_path: Path, test: str, expected: list[str]) -> None:
    paths = given_inputs(tmp_path, test)
    with pytest.raises(InputError) as refusal:
        evaluate(paths)
    for part in expected:
        assert part in str(refusal.value)
    assert not paths.processing_output.exists()


def test_the_program_says_why_it_failed(tmp_path: Path) -> None:
    paths = given_inputs(tmp_path)
    (paths.processing_input / "model" / "model.tar.gz").write_bytes(b"not an archive")
    done = program("evaluate", tmp_path)
    assert done.returncode == 1
    assert paths.processing_message.read_text().startswith("model.tar.gz: not a readable .tar.gz")


class Mischief:
    """Unpickling this creates a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.file,)


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    for name in ("model.ubj", "model-info.json"):
        archive = archive_of({**model_files(), name: pickle.dumps(Mischief(trace))}, tmp_path / "model.tar.gz")
        with pytest.raises(InputError, match=re.escape(name)):
            from_archive(archive)
    assert not trace.exists()


def damaged(name: str, content: bytes) -> dict[str, bytes]:
    return {**model_files(), name: content}


@pytest.mark.parametrize("kind", ["empty", "half", "flipped", "other"])
def test_a_damaged_model_is_refused_before_xgboost_sees_it(tmp_path: Path, kind: str) -> None:
    # With some of these bytes XGBoost aborts the process or takes all the memory.
    good = model_files()["model.ubj"]
    bad = {"empty": b"", "half": good[: len(good) // 2], "flipped": good[:3000] + b"\xff" + good[3001:], "other": b"{L"}
    for name, content in damaged("model.ubj", bad[kind]).items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=r"model\.ubj: damaged"):
        from_folder(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"feature_names": [], "sample": 3, "sha256": ""}'])
def test_a_damaged_description_is_refused(tmp_path: Path, content: bytes) -> None:
    archive = archive_of(damaged("model-info.json", content), tmp_path / "model.tar.gz")
    with pytest.raises(InputError, match=r"model-info\.json"):
        from_archive(archive)


def test_a_description_of_other_features_or_scores_is_refused(tmp_path: Path) -> None:
    info = json.loads(model_files()["model-info.json"])
    swapped = {**info, "feature_names": info["feature_names"][::-1]}
    other = {**info, "sample": {**info["sample"], "score": info["sample"]["score"] + 1}}
    for changed, expected in ((swapped, "has the features"), (other, "scores the sample row")):
        archive = archive_of(damaged("model-info.json", json.dumps(changed).encode()), tmp_path / "model.tar.gz")
        with pytest.raises(InputError, match=expected):
            from_archive(archive)


@pytest.mark.parametrize("missing", ["model.ubj", "model-info.json"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    files = {name: content for name, content in model_files().items() if name != missing}
    with pytest.raises(InputError, match=f"needs the file {missing}"):
        from_archive(archive_of(files, tmp_path / "model.tar.gz"))


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the model archive is not there"):
        from_archive(tmp_path / "model.tar.gz")


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    archive = archive_of(model_files(), tmp_path / "model.tar.gz")
    archive.write_bytes(archive.read_bytes()[:-2000])
    with pytest.raises(InputError, match=r"model\.tar\.gz"):
        from_archive(archive)


def test_nothing_in_an_archive_leads_out_of_it(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(model_files()["model.ubj"])
    archive = tmp_path / "in" / "model.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as packed:
        for name in ("../escaped", str(tmp_path / "escaped"), "./model-info.json"):
            member = tarfile.TarInfo(name)
            content = model_files()["model-info.json"]
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("model.ubj")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        packed.addfile(link)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r"needs the file model\.ubj"):
        from_archive(archive)
    assert sorted(tmp_path.rglob("*")) == before
