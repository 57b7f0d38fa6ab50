"""A training that is interrupted and goes on ends with the bytes of one that never was, whatever kills it and when."""

from __future__ import annotations

import copy
import hashlib
import json
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from xgboost_container.contract import AlgorithmError, Paths, UserError, run_step
from xgboost_container.training import checkpoints
from xgboost_container.training.checkpoints import Checkpoints, decode, encode, folder_of
from xgboost_container.training.distributed.collective import Group
from xgboost_container.training.distributed.hosts import Hosts
from xgboost_container.training.fit import Fitted, Rounds, State, fit
from xgboost_container.training.hyperparameters import Hyperparameters, parse
from xgboost_container.training.train import train

from tests.xgboost_training_job import end, make_job, read_until, rest_of, start, table, tell

ALONE = Group(Hosts(), None)


# --- going on is exact


def matrix(chosen: Hyperparameters, seed: int = 1) -> xgboost.DMatrix:
    label = "classes" if chosen.num_class else "binary"
    rows = table(250, seed, label).astype(np.float32)
    if chosen.needs_plain_matrix:
        return xgboost.DMatrix(rows[:, 1:], label=rows[:, 0], nthread=1)
    return xgboost.QuantileDMatrix(rows[:, 1:], label=rows[:, 0], nthread=1)


def trained(chosen: Hyperparameters, start: State | None = None) -> tuple[Fitted, dict[int, State]]:
    """With new matrices each time, as after a new start of the process."""
    states: dict[int, State] = {}

    def keep(rounds: int, state: Callable[[], State], last: bool) -> None:
        states[rounds] = copy.deepcopy(state())

    unseen = table(100, 2, "classes" if chosen.num_class else "binary").astype(np.float32)
    validation = xgboost.DMatrix(unseen[:, 1:], label=unseen[:, 0], nthread=1)
    fitted = fit(chosen, matrix(chosen), {"validation": validation}, ALONE, Rounds(copy.deepcopy(start), keep))
    return fitted, states


def model(fitted: Fitted) -> bytes:
    return bytes(fitted.booster.save_raw("ubj"))


SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rows are drawn": {"subsample": 0.5},
    "columns are drawn": {"colsample_bytree": 0.6, "colsample_bylevel": 0.8, "colsample_bynode": 0.8},
    "two threads": {"subsample": 0.5, "colsample_bynode": 0.6, "nthread": 2},
    "a forest each round": {"num_parallel_tree": 3, "subsample": 0.5, "colsample_bynode": 0.5},
    "leaf by leaf": {"grow_policy": "lossguide", "max_leaves": 9, "subsample": 0.7},
    "approx": {"tree_method": "approx", "subsample": 0.5, "objective": "reg:squarederror"},
    "approx with columns": {"tree_method": "approx", "colsample_bytree": 0.5},
    "exact": {"tree_method": "exact", "subsample": 0.5, "colsample_bylevel": 0.6},
    "an updater by name": {"updater": "grow_quantile_histmaker", "subsample": 0.5},
    "dart": {"booster": "dart", "rate_drop": 0.3, "skip_drop": 0.2},
    "dart, weighted": {"booster": "dart", "rate_drop": 0.3, "sample_type": "weighted", "one_drop": 1, "subsample": 0.7},
    "linear": {"booster": "gblinear"},
    "linear, shuffled": {"booster": "gblinear", "feature_selector": "shuffle"},
    "classes": {"objective": "multi:softprob", "num_class": 3, "subsample": 0.5, "colsample_bytree": 0.6},
    "a tree for all classes": {"objective": "multi:softprob", "num_class": 3, "multi_strategy": "multi_output_tree"},
    "metrics of the container": {"eval_metric": "accuracy,auc,f1"},
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("stops_early", [False, True])
def test_going_on_after_any_round_ends_with_the_same_bytes(setting: str, stops_early: bool) -> None:
    given: dict[str, Any] = {
        "num_round": 8,
        "objective": "binary:logistic",
        "seed": 5,
        "nthread": 1,
        "eta": 0.7,
        **SETTINGS[setting],
    }
    chosen = parse(given | ({"early_stopping_rounds": 2} if stops_early else {}))
    whole, states = trained(chosen)
    for rounds, state in states.items():
        if rounds not in (1, 3, 4, max(states)):
            continue
        _, from_disk = decode(encode(state, {}))
        went_on, _ = trained(chosen, from_disk)
        assert model(went_on) == model(whole), f"after round {rounds}"
        assert went_on.history == whole.history
        assert went_on.kept == whole.kept


def test_the_same_training_twice_gives_the_same_bytes_and_another_seed_other_ones() -> None:
    given: dict[str, Any] = {"num_round": 5, "objective": "binary:logistic", "subsample": 0.5, "nthread": 1}
    assert model(trained(parse(given))[0]) == model(trained(parse(given))[0])
    assert model(trained(parse(given))[0]) != model(trained(parse({**given, "seed": 1}))[0])


def test_it_trains_the_model_that_xgboost_trains() -> None:
    chosen = parse({"num_round": 6, "objective": "binary:logistic", "max_depth": 3, "nthread": 1})
    plain = xgboost.train(chosen.params, matrix(chosen), 6)
    assert model(trained(chosen)[0]) == bytes(plain.save_raw("ubj"))


def test_early_stopping_is_xgboosts() -> None:
    chosen = parse(
        {"num_round": 60, "objective": "binary:logistic", "eta": 1, "early_stopping_rounds": 4, "nthread": 1}
    )
    unseen = table(100, 2).astype(np.float32)
    validation = xgboost.DMatrix(unseen[:, 1:], label=unseen[:, 0], nthread=1)
    rule = xgboost.callback.EarlyStopping(rounds=4, save_best=True)
    evals = [(validation, "validation")]
    plain = xgboost.train(chosen.params, matrix(chosen), 60, evals=evals, callbacks=[rule], verbose_eval=False)
    fitted, _ = trained(chosen)
    assert fitted.kept == plain.num_boosted_rounds() < fitted.trained < 60
    rows = matrix(chosen, 3)
    assert np.array_equal(fitted.booster.predict(rows), plain.predict(rows))


@pytest.mark.parametrize("booster", ["dart", "gblinear"])
def test_the_best_round_of_a_booster_that_changes_its_past_is_kept_as_it_was(booster: str) -> None:
    more = {"rate_drop": 0.5} if booster == "dart" else {}
    given = {
        "num_round": 40,
        "eta": 1,
        "eval_metric": "error",
        "objective": "binary:logistic",
        "booster": booster,
        "nthread": 1,
        **more,
    }
    fitted, _ = trained(parse({**given, "early_stopping_rounds": 3}))
    assert fitted.kept < fitted.trained
    alone, _ = trained(parse({**given, "num_round": fitted.kept}))
    rows = matrix(parse(given), 3)
    assert np.array_equal(fitted.booster.predict(rows), alone.booster.predict(rows))


def test_more_rounds_can_be_asked_for_and_fewer_than_there_are_cannot() -> None:
    given: dict[str, Any] = {"objective": "binary:logistic", "subsample": 0.5, "nthread": 1}
    _, states = trained(parse({**given, "num_round": 4}))
    longer, _ = trained(parse({**given, "num_round": 7}), states[4])
    assert model(longer) == model(trained(parse({**given, "num_round": 7}))[0])
    with pytest.raises(UserError, match="num_round is 3, and the checkpoint has 4 rounds already"):
        trained(parse({**given, "num_round": 3}), states[4])


# --- the files


def state(rounds: int, best: bytes | None = None) -> State:
    return State(b"model %d" % rounds, {"train": {"rmse": [0.5 / (i + 1) for i in range(rounds)]}}, best)


def test_a_state_comes_back_as_it_was() -> None:
    one = State(b"\x00\n{}" * 9, {"train": {"auc": [0.1 + 0.2, float("inf")]}}, b"\nbest")
    assert decode(encode(one, {"a": 1}))[1] == one
    assert decode(encode(state(2), {}))[1].best is None


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "new", {"a": 1}, every=2)
    for rounds in range(1, 10):
        kept.after(rounds, lambda rounds=rounds: state(rounds), rounds == 9)  # type: ignore[misc]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["checkpoint-0000008", "checkpoint-0000009"]
    latest = Checkpoints(tmp_path / "new", {"a": 1}).latest()
    assert latest is not None
    assert latest.rounds == 9


def test_without_a_number_of_rounds_writing_takes_a_small_part_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(checkpoints, "write_together", lambda files: clock.__setitem__(0, clock[0] + 1.0))
    kept = Checkpoints(tmp_path, {})
    for rounds in range(1, 401):
        clock[0] += 1.0
        kept.after(rounds, lambda: state(1), False)
    writing = clock[0] - 400
    assert 0.04 <= writing / clock[0] <= 0.055


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied"])
def test_a_damaged_checkpoint_is_left_aside_for_the_one_before(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = Checkpoints(tmp_path, {}, every=1)
    for rounds in (1, 2):
        kept.after(rounds, lambda rounds=rounds: state(rounds), False)  # type: ignore[misc]
    newest = tmp_path / "checkpoint-0000002"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes({"cut": bytes(content[:-3]), "flipped": bytes(content), "emptied": b""}[damage])
    latest = kept.latest()
    assert latest is not None
    assert latest.rounds == 1
    assert "checkpoint-0000002: left aside, it is damaged" in capsys.readouterr().out


@pytest.mark.parametrize("header", [b"{}", b"[]", b"no JSON", b'{"format": 2}', b'{"format": 2, "identity": []}'])
def test_what_is_no_checkpoint_of_ours_is_left_aside(
    tmp_path: Path, header: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    content = header + b"\nmodel"
    (tmp_path / "checkpoint-0000007").write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    (tmp_path / "checkpoint-0000008").mkdir()
    assert Checkpoints(tmp_path, {}).latest() is None
    assert "checkpoint-0000007: left aside, " in capsys.readouterr().out


def test_going_on_with_another_number_of_threads_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Checkpoints(tmp_path, {}, every=1, nthread=4).after(1, lambda: state(1), False)
    assert Checkpoints(tmp_path, {}, nthread=4).latest() is not None
    assert capsys.readouterr().out == ""
    assert Checkpoints(tmp_path, {}, nthread=2).latest() is not None
    assert "checkpoint-0000001: was written with nthread 4, and this job has 2" in capsys.readouterr().out


def test_another_trainings_checkpoint_is_refused_with_what_differs(tmp_path: Path) -> None:
    there = {"hyperparameters": {"eta": 0.3}, "data": {"train": "a" * 64}, "xgboost": "3.2.0"}
    Checkpoints(tmp_path, there, every=1).after(1, lambda: state(1), False)
    here = {"hyperparameters": {"eta": 0.2, "gamma": 1.0}, "data": {"train": "b" * 64}, "xgboost": "3.2.0"}
    with pytest.raises(UserError) as raised:
        Checkpoints(tmp_path, here).latest()
    message = str(raised.value)
    assert "hyperparameters eta is 0.3 there and 0.2 here" in message
    assert "hyperparameters gamma is not given there and 1.0 here" in message
    assert "data train is aaaaaaaaaaaa... there and bbbbbbbbbbbb... here" in message
    assert "Empty the S3Uri of CheckpointConfig" in message


def test_checkpoints_of_sagemakers_own_container_are_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "xgboost-checkpoint.7").write_bytes(b"{}")
    assert Checkpoints(tmp_path, {}).latest() is None
    assert "checkpoints of SageMaker's own container" in capsys.readouterr().out


def test_a_full_disk_is_told_with_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(files: Any) -> None:
        raise OSError(28, "No space left on device", str(next(iter(files))))

    monkeypatch.setattr(checkpoints, "write_together", full)
    with pytest.raises(AlgorithmError, match=r"checkpoint-0000001: No space left on device\. Give the job a larger"):
        Checkpoints(tmp_path, {}, every=1).after(1, lambda: state(1), False)


def test_checkpoints_are_where_the_job_says(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    assert folder_of(paths, wanted=False) is None
    assert folder_of(paths, wanted=True) == tmp_path / "checkpoints"
    paths.config.mkdir(parents=True)
    (paths.config / "checkpointconfig.json").write_text('{"LocalPath": "/opt/ml/checkpoints/mine"}')
    assert folder_of(paths, wanted=False) == tmp_path / "checkpoints" / "mine"
    (paths.config / "checkpointconfig.json").write_text('{"LocalPath": "/elsewhere"}')
    assert folder_of(paths, wanted=False) == Path("/elsewhere")


# --- a job that is killed

DRAWN: dict[str, Any] = {
    "nthread": 1,
    "num_round": 20,
    "objective": "binary:logistic",
    "booster": "dart",
    "rate_drop": 0.2,
    "subsample": 0.6,
    "colsample_bynode": 0.7,
    "early_stopping_rounds": 18,
    "checkpoint_rounds": 1,
}


def outcome(base: Path) -> tuple[bytes, bytes]:
    return (base / "model" / "xgboost-model").read_bytes(), (base / "output" / "data" / "history.json").read_bytes()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    base = make_job(tmp_path_factory.mktemp("whole"), **DRAWN)
    assert run_step(train, Paths(base), Paths(base).training_failure) == 0
    return outcome(base)


HOLDS = """
import os, pathlib, sys, time
from xgboost_container.__main__ import main
from xgboost_container.training import fit
last, update = int(sys.argv[1]), fit.xgboost.Booster.update

def update_or_hold(booster, matrix, number):
    while number == last and not pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"], "go").exists():
        time.sleep(0.001)
    update(booster, matrix, number)

fit.xgboost.Booster.update = update_or_hold
sys.exit(main(["train"]))
"""
"""Trains, but not beyond the start of a round, unless there is a file `go`."""


@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_job_that_is_killed_again_and_again_ends_with_the_same_files(
    tmp_path: Path, uninterrupted: tuple[bytes, bytes], how: signal.Signals
) -> None:
    base = make_job(tmp_path, **DRAWN)
    chance = random.Random(int(how))
    for wanted, last in ((3, 8), (10, 18)):
        job = start(base, "-c", HOLDS, str(last))
        read_until(job, f"[{wanted}]")
        time.sleep(chance.random() * 0.01)
        job.send_signal(how)
        (base / "go").touch()
        rest_of(job)
        (base / "go").unlink()
        assert job.returncode == (-9 if how == signal.SIGKILL else 143)
        assert not (base / "model" / "xgboost-model").exists()
    assert run_step(train, Paths(base), Paths(base).training_failure) == 0
    assert outcome(base) == uninterrupted


KILLS_ITSELF = """
import os, pathlib, signal, sys
from xgboost_container.__main__ import main
number, instant = int(sys.argv[1]), sys.argv[2]
write, replace, count = pathlib.Path.write_bytes, pathlib.Path.replace, [0]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def write_some(path, content):
    if "checkpoint-" not in path.name:
        return write(path, content)
    count[0] += 1
    if count[0] == number and instant == "half written":
        write(path, content[: len(content) // 2])
        die()
    result = write(path, content)
    if count[0] == number and instant == "written":
        die()
    return result

def replace_and(path, target):
    result = replace(path, target)
    if count[0] == number and instant == "in place":
        die()
    return result

pathlib.Path.write_bytes, pathlib.Path.replace = write_some, replace_and
sys.exit(main(["train"]))
"""


@pytest.mark.long
@pytest.mark.parametrize("instant", ["half written", "written", "in place"])
def test_a_kill_in_the_middle_of_writing_a_checkpoint_loses_that_one_at_most(
    tmp_path: Path, uninterrupted: tuple[bytes, bytes], instant: str
) -> None:
    base = make_job(tmp_path, **DRAWN)
    job = start(base, "-c", KILLS_ITSELF, "5", instant)
    job.communicate()
    assert job.returncode == -9
    assert run_step(train, Paths(base), Paths(base).training_failure) == 0
    assert outcome(base) == uninterrupted
    assert not list((base / "checkpoints").glob(".*"))


def test_sigterm_keeps_a_checkpoint_of_the_very_last_round(tmp_path: Path) -> None:
    base = make_job(
        tmp_path, **{**DRAWN, "num_round": 100_000, "checkpoint_rounds": 100_000, "early_stopping_rounds": 90_000}
    )
    job = start(base)
    read_until(job, "[5]")
    last = [line for line in end(job, signal.SIGTERM).splitlines() if line.startswith("[")]
    number = int(last[-1][1:].partition("]")[0]) if last else 5
    assert job.returncode == 143
    assert [path.name for path in (base / "checkpoints").iterdir()] == [f"checkpoint-{number + 1:07d}"]
    assert not (base / "output" / "failure").exists()


def test_a_model_is_left_at_sigterm_where_the_job_asks_for_it(tmp_path: Path) -> None:
    base = make_job(tmp_path, num_round=100_000, objective="binary:logistic", save_model_on_termination="true")
    job = start(base)
    read_until(job, "[5]")
    end(job, signal.SIGTERM)
    assert job.returncode == 143
    info = json.loads((base / "model" / "model-info.json").read_text())
    assert 6 <= info["rounds"]["kept"] == info["rounds"]["trained"] < 100_000


def test_a_job_with_other_hyperparameters_does_not_go_on_from_this_ones_checkpoint(tmp_path: Path) -> None:
    base = make_job(tmp_path, num_round=3, objective="binary:logistic", checkpoint_rounds=1)
    assert run_step(train, Paths(base), Paths(base).training_failure) == 0
    tell(base, num_round=3, objective="binary:logistic", checkpoint_rounds=1, max_depth=2)
    assert run_step(train, Paths(base), Paths(base).training_failure) == 1
    reason = Paths(base).training_failure.read_text()
    assert "UserError" in reason
    assert "hyperparameters max_depth is not given there and 2 here" in reason


def test_cross_validation_goes_on_in_the_fold_where_it_was(tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "num_round": 6,
        "objective": "binary:logistic",
        "subsample": 0.5,
        "_kfold": 3,
        "checkpoint_rounds": 1,
    }
    whole = make_job(tmp_path / "whole", validation=False, **given)
    assert run_step(train, Paths(whole), Paths(whole).training_failure) == 0
    base = make_job(tmp_path / "killed", validation=False, **given)
    job = start(base)
    read_until(job, "Fold 2")
    end(job, signal.SIGKILL)
    assert run_step(train, Paths(base), Paths(base).training_failure) == 0
    for name in ("xgboost-model-0", "xgboost-model-1", "xgboost-model-2"):
        assert (base / "model" / name).read_bytes() == (whole / "model" / name).read_bytes()
