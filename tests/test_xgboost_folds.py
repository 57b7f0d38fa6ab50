"""k-fold cross validation: every row is held out once a repeat, folds look like the whole, files are as SageMaker's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import xgboost
from xgboost_container.contract import Paths, UserError, run_step
from xgboost_container.training.folds import Predictions, folds, mean_metrics
from xgboost_container.training.train import train

from tests.xgboost_training_job import make_job, table, write_channel

LABELS = np.repeat([0.0, 1.0, 2.0], [50, 20, 7])


@pytest.mark.parametrize("k", [2, 3, 5, 7])
def test_each_row_is_held_out_once_in_each_repeat(k: int) -> None:
    found = list(folds(LABELS, None, k=k, repeats=3, seed=1, classes=True))
    assert [fold.number for fold in found] == list(range(3 * k))
    for repeat in range(3):
        held_out = np.concatenate([fold.held_out for fold in found[repeat * k : (repeat + 1) * k]])
        assert sorted(held_out) == list(range(len(LABELS)))
    for fold in found:
        assert sorted([*fold.train, *fold.held_out]) == list(range(len(LABELS)))
        assert (np.diff(fold.train) > 0).all()


def test_each_fold_has_its_share_of_every_class() -> None:
    for fold in folds(LABELS, None, k=5, repeats=2, seed=1, classes=True):
        counts = np.bincount(LABELS[fold.held_out].astype(int), minlength=3)
        assert (np.abs(counts - np.array([50, 20, 7]) / 5) <= 1).all()


def test_repeats_differ_and_the_same_seed_gives_the_same_folds() -> None:
    first = list(folds(LABELS, None, k=3, repeats=2, seed=1, classes=True))
    again = list(folds(LABELS, None, k=3, repeats=2, seed=1, classes=True))
    assert all((a.held_out == b.held_out).all() for a, b in zip(first, again, strict=True))
    assert first[0].held_out.tolist() != first[3].held_out.tolist()
    other = next(folds(LABELS, None, k=3, repeats=1, seed=-2, classes=True))
    assert first[0].held_out.tolist() != other.held_out.tolist()


def test_the_rows_of_a_query_stay_together() -> None:
    qids = np.repeat(np.arange(10), 4)
    for fold in folds(np.zeros(40), qids, k=5, repeats=2, seed=0, classes=False):
        assert set(qids[fold.train]) & set(qids[fold.held_out]) == set()
        assert len(fold.held_out) == 8


def test_more_folds_than_rows_are_refused() -> None:
    with pytest.raises(UserError, match="_kfold is 4 and there are 3 rows"):
        next(folds(np.zeros(3), None, k=4, repeats=1, seed=0, classes=False))
    with pytest.raises(UserError, match="_kfold is 4 and there are 2 queries"):
        next(folds(np.zeros(6), np.repeat([1, 2], 3), k=4, repeats=1, seed=0, classes=False))


def test_predictions_are_the_mean_and_the_class_said_most_often() -> None:
    rows = np.arange(2)
    of_two = Predictions(np.array([1.0, 0.0]), repeats=3, classes=2)
    for repeat, said in enumerate([[0.9, 0.2], [0.4, 0.4], [0.8, 0.6]]):
        of_two.record(rows, repeat, np.array(said))
    assert of_two.as_csv() == b"1.000000,0.700000,1.000000\n0.000000,0.400000,0.000000\n"
    of_three = Predictions(np.array([2.0]), repeats=1, classes=3)
    of_three.record(np.array([0]), 0, np.array([[0.1, 0.2, 0.7]]))
    assert of_three.as_csv() == b"2.000000,0.700000,2.000000\n"
    numbers = Predictions(np.array([5.0]), repeats=2, classes=0)
    numbers.record(np.array([0]), 0, np.array([4.0]))
    numbers.record(np.array([0]), 1, np.array([5.0]))
    assert numbers.as_csv() == b"5.000000,4.500000\n"


def test_metrics_of_folds_are_averaged() -> None:
    of_folds = [{"validation": {"auc": 0.5}}, {"validation": {"auc": 0.75}}]
    assert mean_metrics(of_folds) == {"validation": {"auc": 0.625}}


def test_a_job_leaves_a_model_a_fold_the_predictions_and_the_mean_in_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = make_job(
        tmp_path, num_round=4, objective="binary:logistic", eval_metric="auc,error", _kfold=3, _num_cv_round=2
    )
    assert run_step(train, Paths(base), Paths(base).training_failure) == 0
    log = capsys.readouterr().out

    files = sorted(path.name for path in (base / "model").iterdir())
    assert files == ["data-summary.json", "model-info.json", *(f"xgboost-model-{fold}" for fold in range(6))]
    info = json.loads((base / "model" / "model-info.json").read_text())
    assert info["data"]["train"]["rows"] == 450, "SageMaker's algorithm validates across train and validation"
    history = json.loads((base / "output" / "data" / "history.json").read_text())
    last = [fold["validation"]["auc"][-1] for fold in history["folds"]]
    assert info["metrics"]["validation"]["auc"] == pytest.approx(np.mean(last))

    # Two means of a round each, and the overall one last, where a tuning job takes its value from.
    means = re.findall(r"^\[4\].*#011validation-auc:(\S+)", log, re.MULTILINE)
    assert [float(mean) for mean in means] == [
        pytest.approx(np.mean(part), abs=1e-5) for part in (last[:3], last[3:], last)
    ]

    predictions = np.loadtxt(base / "output" / "data" / "predictions.csv", delimiter=",")
    rows = np.concatenate([table(300, 1), table(150, 2)])
    assert predictions.shape == (450, 3)
    assert (predictions[:, 0] == rows[:, 0]).all()
    assert np.mean((predictions[:, 1] > 0.5) == predictions[:, 0]) > 0.75


def test_a_prediction_is_made_by_a_model_that_has_not_seen_the_row(tmp_path: Path) -> None:
    base = make_job(tmp_path, "number", validation=False, num_round=3, _kfold=3, seed=4)
    assert run_step(train, Paths(base), Paths(base).training_failure) == 0
    rows = np.genfromtxt(base / "input" / "data" / "train" / "part-0.csv", delimiter=",", dtype=np.float32)
    predictions = np.loadtxt(base / "output" / "data" / "predictions.csv", delimiter=",")
    for fold in folds(rows[:, 0], None, k=3, repeats=1, seed=4, classes=False):
        booster = xgboost.Booster(model_file=base / "model" / f"xgboost-model-{fold.number}")
        said = booster.predict(xgboost.DMatrix(rows[fold.held_out, 1:]))
        assert np.allclose(predictions[fold.held_out, 1], said, atol=1e-6)


def test_early_stopping_needs_no_validation_channel_in_cross_validation(tmp_path: Path) -> None:
    base = make_job(
        tmp_path, validation=False, num_round=50, objective="binary:logistic", eta=1, early_stopping_rounds=2, _kfold=2
    )
    assert run_step(train, Paths(base), Paths(base).training_failure) == 0
    info = json.loads((base / "model" / "model-info.json").read_text())
    assert info["rounds"]["kept"] < info["rounds"]["trained"] < 100


def test_cross_validation_on_several_hosts_is_refused(tmp_path: Path) -> None:
    base = make_job(tmp_path, num_round=2, _kfold=2)
    config = {"current_host": "algo-1", "hosts": ["algo-1", "algo-2"]}
    (base / "input" / "config" / "resourceconfig.json").write_text(json.dumps(config))
    assert run_step(train, Paths(base), Paths(base).training_failure) == 1
    assert "_kfold is for one host, and this job has 2" in Paths(base).training_failure.read_text()


def test_a_test_channel_is_not_cross_validated_on(tmp_path: Path) -> None:
    base = make_job(tmp_path, validation=False, num_round=2, objective="binary:logistic", _kfold=2)
    write_channel(base, "test", table(50, 3))
    assert run_step(train, Paths(base), Paths(base).training_failure) == 0
    info = json.loads((base / "model" / "model-info.json").read_text())
    assert info["data"]["train"]["rows"] == 300
