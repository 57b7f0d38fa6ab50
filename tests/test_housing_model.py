"""The housing model, from its folder: the jobs on this machine give what its README says."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from sagestack.cli.errors import CliError
from sagestack.settings import load_model
from xgboost_container.contract import Paths

from model_code.housing.model.columns import FEATURES, TARGET_FIRST
from model_code.housing.model.preprocess import preprocess
from tests.housing_runs import DATA, FOLDER, expected_scores, finished_run, laptop, program, table


def report(paths: Paths) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = json.loads(
        (paths.processing_output / "evaluation" / "evaluation.json").read_text()
    )
    return found


def test_the_features_that_training_is_told_are_the_columns_that_preprocess_writes() -> None:
    assert load_model("housing").training.hyperparameters["feature_names"] == ",".join(FEATURES)
    assert TARGET_FIRST[1:] == FEATURES


def test_the_report_agrees_with_xgboosts_own_prediction_of_the_held_out_rows() -> None:
    rows = table(finished_run().processing_output / "test" / "test.csv")
    errors = expected_scores(rows[:, 1:]) - rows[:, 0]
    metrics = report(finished_run())["regression_metrics"]
    assert metrics["rmse"]["value"] == pytest.approx(np.sqrt(np.mean(errors**2)), abs=1e-5)
    assert metrics["mae"]["value"] == pytest.approx(np.mean(np.abs(errors)), abs=1e-5)


def test_the_model_passes_its_gate_and_a_useless_one_does_not() -> None:
    quality = load_model("housing").quality
    assert report(finished_run())["regression_metrics"]["rmse"]["value"] < quality.threshold
    parts = {part: table(finished_run().processing_output / part / f"{part}.csv") for part in ("train", "test")}
    always_the_mean = parts["test"][:, 0] - parts["train"][:, 0].mean()
    assert np.sqrt(np.mean(always_the_mean**2)) > 2 * quality.threshold


def test_the_numbers_in_the_readme_are_those_of_a_run() -> None:
    metrics = report(finished_run())["regression_metrics"]
    readme = (FOLDER / "README.md").read_text()
    for name, label in (("rmse", "RMSE"), ("mae", "MAE"), ("r2", "R²")):
        stated = re.search(rf"^\| {label} \| ([0-9.]+) \((?:standard deviation )?([0-9.]+)\) \|$", readme, re.MULTILINE)
        assert stated, label
        assert float(stated[1]) == pytest.approx(metrics[name]["value"], abs=0.005)
        assert float(stated[2]) == pytest.approx(metrics[name]["standard_deviation"], abs=0.005)


def test_the_same_data_gives_the_same_bytes(tmp_path: Path) -> None:
    laptop(tmp_path).run(DATA, quiet=True)
    for name in ("xgboost-model", "model-info.json", "data-summary.json"):
        assert (tmp_path / "model" / name).read_bytes() == (finished_run().model / name).read_bytes()


def test_the_seed_of_the_split_decides_who_is_held_out(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    (paths.processing_input / "data").mkdir(parents=True)
    (paths.processing_input / "data" / DATA.name).write_bytes(DATA.read_bytes())
    preprocess(paths, seed=1)
    file = Path("processing/output/test/test.csv")
    assert (tmp_path / file).read_bytes() != (finished_run().base / file).read_bytes()


def test_a_run_on_this_machine_ends_with_the_first_job_that_fails(tmp_path: Path) -> None:
    data = tmp_path / "rooms.csv"
    data.write_text(DATA.read_text().replace("6.575", "six", 1))
    with pytest.raises(CliError, match="preprocess of the model housing failed with exit code 1"):
        laptop(tmp_path / "ml").run(data, quiet=True)
    assert not Paths(tmp_path / "ml").model.exists()
    assert "rooms.csv: row 1" in Paths(tmp_path / "ml").processing_message.read_text()


def test_a_second_run_in_a_folder_begins_anew_though_its_data_lies_in_there(tmp_path: Path) -> None:
    shutil.copytree(finished_run().base, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model" / "left-behind").write_text("")
    again = laptop(tmp_path).run(tmp_path / "processing/input/data" / DATA.name, quiet=True)
    assert again == report(finished_run())
    assert not (tmp_path / "model" / "left-behind").exists()


def test_no_argument_means_train(tmp_path: Path) -> None:
    done = program(None, tmp_path)
    assert done.returncode == 1
    assert "num_round is missing" in Paths(tmp_path).training_failure.read_text()


def test_a_folder_with_somebodys_files_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "preprocess.py").write_text("precious")
    with pytest.raises(CliError, match="holds files that no run of ours put there"):
        laptop(tmp_path).run(DATA, quiet=True)
    assert (tmp_path / "model" / "preprocess.py").read_text() == "precious"
