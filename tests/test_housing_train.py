"""Train: what it makes of the contract's files, what it leaves behind, and how it fails and stops."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from ruamel.yaml import YAML

from model_code.housing.housing import train as train_module
from model_code.housing.housing.columns import FEATURES
from model_code.housing.housing.contract import REASON_BYTES, InputError, Paths, one_line_reason
from model_code.housing.housing.hyperparameters import Hyperparameters, parse
from model_code.housing.housing.train import train
from tests.housing_runs import (
    FOLDER,
    booster_of,
    copy_of_the_channels,
    errors_by_xgboost,
    finished_run,
    program,
    table,
    write_config,
)

FAST = {"num_round": "3"}


def info_of(paths: Paths) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((paths.model / "model-info.json").read_text())
    return content


# --- what it leaves behind ----------------------------------------------------------------------------


def test_the_model_and_all_that_is_known_about_it_are_data() -> None:
    paths = finished_run()
    assert sorted(path.name for path in paths.model.iterdir()) == ["model-info.json", "model.ubj"]
    info = info_of(paths)
    assert info["feature_names"] == list(FEATURES) == booster_of(paths).feature_names
    assert info["sha256"] == hashlib.sha256((paths.model / "model.ubj").read_bytes()).hexdigest()
    assert info["libraries"]["xgboost"] == xgboost.__version__
    for channel in ("train", "validation"):
        file = paths.channel(channel) / f"{channel}.csv"
        assert info["data"][channel] == {
            "rows": len(table(file)),
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        }


def test_the_model_keeps_the_trees_up_to_its_best_round() -> None:
    paths = finished_run()
    rounds = info_of(paths)["rounds"]
    course = json.loads((paths.output_data / "history.json").read_text())["validation"]["rmse"]
    assert rounds["kept"] == booster_of(paths).num_boosted_rounds() == int(np.argmin(course)) + 1
    assert rounds["trained"] == len(course) == rounds["kept"] + 10, "it went on for the ten rounds of early stopping"


def test_the_recorded_errors_are_those_that_xgboost_itself_reports() -> None:
    paths = finished_run()
    for channel, metrics in info_of(paths)["metrics"].items():
        expected = errors_by_xgboost(table(paths.channel(channel) / f"{channel}.csv"))
        assert {name: metrics[name] for name in ("rmse", "mae")} == pytest.approx(expected, rel=1e-5)


def test_every_round_is_a_line_that_a_metric_definition_can_read() -> None:
    log = (finished_run().base / "log").read_text()
    course = json.loads((finished_run().output_data / "history.json").read_text())
    for name in ("train", "validation"):
        found = re.findall(rf"^\[\d+\].*{name}-rmse:([0-9.]+)", log, re.MULTILINE)
        assert [float(value) for value in found] == pytest.approx(course[name]["rmse"], abs=1e-5)


def test_the_same_data_gives_the_same_bytes(tmp_path: Path) -> None:
    paths = copy_of_the_channels(tmp_path)
    train(paths)
    for name in ("model.ubj", "model-info.json"):
        assert (paths.model / name).read_bytes() == (finished_run().model / name).read_bytes()


def test_no_argument_means_train(tmp_path: Path) -> None:
    paths = copy_of_the_channels(tmp_path)
    write_config(paths, "hyperparameters.json", FAST)
    assert program(None, tmp_path).returncode == 0
    assert info_of(paths)["rounds"]["trained"] == 3


def test_an_unknown_sub_command_is_refused() -> None:
    done = program("launch", finished_run().base)
    assert done.returncode == 2
    assert "launch" in done.stderr


# --- hyperparameters ----------------------------------------------------------------------------------


def test_the_defaults_are_what_model_yaml_sends() -> None:
    sent = YAML(typ="safe").load(FOLDER / "model.yaml")["training"]["hyperparameters"]
    assert parse({name: str(value) for name, value in sent.items()}) == Hyperparameters()
    assert set(sent) == set(asdict(Hyperparameters()))


def test_strings_become_numbers_and_reach_the_model(tmp_path: Path) -> None:
    paths = copy_of_the_channels(tmp_path)
    write_config(paths, "hyperparameters.json", {"max_depth": "1", "num_round": "4", "eta": "0.5"})
    train(paths)
    assert info_of(paths)["hyperparameters"] == asdict(Hyperparameters(max_depth=1, num_round=4, eta=0.5))
    stumps = booster_of(paths).get_dump()
    assert len(stumps) <= 4
    assert all(stump.count("leaf=") <= 2 for stump in stumps)


def test_what_sagemakers_tuning_adds_is_let_through() -> None:
    assert parse({"_tuning_objective_metric": "validation:rmse", "sagemaker_program": "x"}) == Hyperparameters()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("max_dept", "5", "max_dept: unknown, allowed are max_depth, eta"),
        ("max_depth", "5.5", "'5.5' is not a whole number"),
        ("max_depth", "0", "must be from 1 up to 32, got '0'"),
        ("max_depth", "True", "'True' is not a number"),
        ("eta", "fast", "eta: 'fast' is not a number"),
        ("eta", "0", "must be more than 0 up to 1, got '0'"),
        ("subsample", "1.01", "must be more than 0 up to 1, got '1.01'"),
        ("gamma", "-1", "gamma: must be from 0"),
        ("gamma", "nan", "gamma: 'nan' is not a number"),
        ("num_round", "", "num_round: empty, a number is needed"),
        ("seed", "1e12", "must be from 0 up to 2147483647"),
    ],
)
def test_a_hyperparameter_is_refused_by_name_and_bound(name: str, value: str, expected: str) -> None:
    with pytest.raises(InputError, match=r"hyperparameters\.json") as refusal:
        parse({name: value})
    assert expected in str(refusal.value)


def test_all_wrong_hyperparameters_are_named_at_once() -> None:
    with pytest.raises(InputError) as refusal:
        parse({"eta": "2", "depth": "1"})
    assert "eta: " in str(refusal.value)
    assert "depth: " in str(refusal.value)


# --- the contract's other files -----------------------------------------------------------------------


def test_the_files_that_sagemaker_writes_are_understood(tmp_path: Path) -> None:
    paths = copy_of_the_channels(tmp_path)
    write_config(paths, "hyperparameters.json", FAST)
    write_config(
        paths,
        "resourceconfig.json",
        {
            "current_host": "algo-1",
            "hosts": ["algo-1"],
            "network_interface_name": "eth0",
            "current_instance_type": "ml.m5.large",
            "current_group_name": "homogeneousCluster",
        },
    )
    channel = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
    write_config(
        paths,
        "inputdataconfig.json",
        {"train": {**channel, "ContentType": "text/csv"}, "validation": {**channel, "ContentType": "text/csv"}},
    )
    train(paths)
    assert (paths.model / "model.ubj").exists()


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("hyperparameters.json", "{", ["hyperparameters.json", "not valid JSON"]),
        ("hyperparameters.json", "[]", ["hyperparameters.json", "must hold a JSON object"]),
        ("resourceconfig.json", {"hosts": ["algo-1", "algo-2"]}, ["algo-2", "InstanceCount to 1"]),
        ("inputdataconfig.json", {"train": {}}, ["missing channel validation", "found train"]),
        (
            "inputdataconfig.json",
            {"train": {"ContentType": "application/x-parquet"}, "validation": {}},
            ["channel train", "application/x-parquet", "text/csv"],
        ),
        (
            "inputdataconfig.json",
            {"train": {"TrainingInputMode": "Pipe"}, "validation": {}},
            ["channel train", "Pipe", "File"],
        ),
    ],
)
def test_a_config_file_that_it_cannot_work_with_is_refused(
    tmp_path: Path, name: str, content: Any, expected: list[str]
) -> None:
    paths = copy_of_the_channels(tmp_path)
    write_config(paths, name, content)
    with pytest.raises(InputError) as refusal:
        train(paths)
    for part in expected:
        assert part in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("24,1,2\n", ["train.csv", "row 1 (line 1)", "3 values, expected 13"]),
        ("24" + ",1" * 11 + ",low\n", ["train.csv", "row 1", "column LSTAT", "'low'"]),
        ("nan" + ",1" * 12 + "\n", ["train.csv", "row 1", "column MEDV", "'nan'"]),
        ("\n\n", ["train.csv", "no rows"]),
        (None, ["channel train", "at least one file *.csv"]),
    ],
)
def test_a_channel_that_it_cannot_learn_from_is_refused(
    tmp_path: Path, content: str | None, expected: list[str]
) -> None:
    paths = copy_of_the_channels(tmp_path)
    file = paths.channel("train") / "train.csv"
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises(InputError) as refusal:
        train(paths)
    for part in expected:
        assert part in str(refusal.value)
    assert not paths.model.exists()


# --- how it ends --------------------------------------------------------------------------------------


def test_a_failure_leaves_its_reason_in_one_line_and_its_traceback_in_the_log(tmp_path: Path) -> None:
    paths = copy_of_the_channels(tmp_path)
    write_config(paths, "hyperparameters.json", {"eta": "fast"})
    done = program("train", tmp_path)
    assert done.returncode == 1
    assert paths.training_failure.read_text() == "hyperparameters.json: eta: 'fast' is not a number\n"
    assert "Traceback" in done.stderr
    assert not paths.model.exists()


def test_a_fault_of_the_code_is_reported_with_its_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from model_code.housing.housing.contract import run_step

    def broken(paths: Paths) -> None:
        raise ZeroDivisionError("division\nby zero")

    paths = Paths(tmp_path)
    assert run_step(broken, paths, paths.training_failure) == 1
    assert paths.training_failure.read_text() == "ZeroDivisionError: division by zero\n"


def test_the_reason_fits_what_sagemaker_shows_of_it() -> None:
    reason = one_line_reason(InputError("ä" * 2000))
    assert len(reason.encode()) <= REASON_BYTES
    assert set(reason) == {"ä"}, "no character was cut in two"


def test_a_model_that_cannot_be_written_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = copy_of_the_channels(tmp_path)
    write_config(paths, "hyperparameters.json", FAST)
    paths.output_data.parent.mkdir(parents=True)
    paths.output_data.write_text("a file where a folder must be")
    with pytest.raises(OSError, match="data"):
        train_module.train(paths)
    assert not paths.model.exists() or not list(paths.model.iterdir())


def test_sigterm_ends_training_at_once_without_a_model_and_without_a_failure(tmp_path: Path) -> None:
    paths = copy_of_the_channels(tmp_path)
    write_config(paths, "hyperparameters.json", {"num_round": "100000", "early_stopping_rounds": "100000"})
    process = subprocess.Popen(
        [sys.executable, "-m", "housing", "train"],
        cwd=FOLDER,
        env={"SAGEMAKER_BASE_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("[20]"):
                break
        sent = time.monotonic()
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        assert process.wait(timeout=10) == 128 + signal.SIGTERM
    assert time.monotonic() - sent < 5
    assert rest.endswith("Stopped before the end.\n")
    assert "Traceback" not in rest
    assert not paths.model.exists()
    assert not paths.training_failure.exists()
