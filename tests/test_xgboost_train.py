"""A training job from its folder to its model: what it leaves, what it logs, and whose fault it says a failure is."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from xgboost_container.artifact import read_info
from xgboost_container.contract import AlgorithmError, Paths, Stopped, UserError, run_step
from xgboost_container.training import metrics, saving
from xgboost_container.training.complaints import told_apart
from xgboost_container.training.library import first_line
from xgboost_container.training.metric_lines import metric_line
from xgboost_container.training.train import train

from tests.xgboost_training_job import end, make_job, read_until, start, table, tell, write_channel


def run(base: Path) -> int:
    return run_step(train, Paths(base), Paths(base).training_failure)


def reason(base: Path) -> str:
    return Paths(base).training_failure.read_text()


def info_of(base: Path) -> dict[str, Any]:
    return json.loads((base / "model" / "model-info.json").read_text())  # type: ignore[no-any-return]


# --- what a job leaves


def test_a_job_leaves_the_model_and_what_is_known_about_it(tmp_path: Path) -> None:
    base = make_job(tmp_path, num_round=5, objective="binary:logistic", max_depth=3, feature_names="a,b,c,d,e")
    assert run(base) == 0
    assert sorted(path.name for path in (base / "model").iterdir()) == [
        "data-summary.json",
        "model-info.json",
        "xgboost-model",
    ]
    info = info_of(base)
    assert read_info(base / "model") is not None
    assert info["feature_names"] == ["a", "b", "c", "d", "e"]
    assert info["hyperparameters"].items() >= {"num_round": 5, "max_depth": 3, "seed": 0, "nthread": 1}.items()
    assert info["rounds"] == {"trained": 5, "kept": 5}
    assert info["data"]["train"].keys() == {"rows", "files", "sha256", "content_type"}
    booster = xgboost.Booster(model_file=base / "model" / "xgboost-model")
    row = np.array([info["sample"]["features"]], np.float32)
    said = booster.predict(xgboost.DMatrix(row, feature_names=booster.feature_names))
    assert info["sample"]["prediction"] == pytest.approx(float(said[0]))

    columns = json.loads((base / "model" / "data-summary.json").read_text())["columns"]
    values = table(300, 1)[:, 1:]
    for column, about in enumerate(columns):
        there = values[~np.isnan(values[:, column]), column]
        assert about["name"] == "abcde"[column]
        assert about["count"] + about["missing"] == 300
        assert about["mean"] == pytest.approx(there.mean(), abs=1e-4)
        assert about["standard_deviation"] == pytest.approx(there.std(), abs=1e-4)
    assert columns[2]["missing"] > 0

    history = json.loads((base / "output" / "data" / "history.json").read_text())
    assert [len(history[name]["logloss"]) for name in ("train", "validation")] == [5, 5]
    assert info["metrics"]["validation"]["logloss"] == history["validation"]["logloss"][-1]


def test_the_same_job_gives_the_same_bytes(tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "num_round": 4,
        "objective": "binary:logistic",
        "subsample": 0.6,
        "colsample_bytree": 0.6,
        "seed": 3,
    }
    for name in ("one", "two"):
        assert run(make_job(tmp_path / name, **given)) == 0
    for file in ("xgboost-model", "model-info.json", "data-summary.json"):
        assert (tmp_path / "one" / "model" / file).read_bytes() == (tmp_path / "two" / "model" / file).read_bytes()


def test_early_stopping_keeps_the_best_round_and_its_metrics(tmp_path: Path) -> None:
    base = make_job(tmp_path, num_round=99, objective="binary:logistic", eta=1, early_stopping_rounds=3)
    assert run(base) == 0
    info = info_of(base)
    scores = json.loads((base / "output" / "data" / "history.json").read_text())["validation"]["logloss"]
    assert info["rounds"]["kept"] == int(np.argmin(scores)) + 1 == len(scores) - 3
    assert info["metrics"]["validation"]["logloss"] == min(scores)
    assert xgboost.Booster(model_file=base / "model" / "xgboost-model").num_boosted_rounds() == info["rounds"]["kept"]


def test_the_channel_test_is_measured_once_with_the_model_that_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = make_job(tmp_path, num_round=20, objective="binary:logistic", eta=1, early_stopping_rounds=2)
    write_channel(base, "test", table(100, 3))
    assert run(base) == 0
    rows = np.genfromtxt(base / "input" / "data" / "test" / "part-0.csv", delimiter=",", dtype=np.float32)
    said = xgboost.Booster(model_file=base / "model" / "xgboost-model").predict(xgboost.DMatrix(rows[:, 1:]))
    loss = -np.mean(np.where(rows[:, 0] == 1, np.log(said), np.log(1 - said)))
    assert info_of(base)["metrics"]["test"]["logloss"] == pytest.approx(loss, rel=1e-4)
    assert capsys.readouterr().out.count("#011test-logloss:") == 1


OBJECTIVES: dict[str, tuple[str, dict[str, Any]]] = {
    "reg:squarederror": ("number", {"eval_metric": "rmse,r2,mse"}),
    "reg:absoluteerror": ("number", {}),
    "reg:pseudohubererror": ("number", {"huber_slope": 0.5}),
    "reg:quantileerror": ("number", {"quantile_alpha": "0.1,0.5,0.9"}),
    "reg:logistic": ("binary", {}),
    "binary:logistic": ("binary", {"eval_metric": "auc,accuracy,f1"}),
    "binary:logitraw": ("binary", {"eval_metric": "accuracy"}),
    "binary:hinge": ("binary", {}),
    "multi:softmax": ("classes", {"num_class": 3, "eval_metric": "merror,balanced_accuracy"}),
    "multi:softprob": ("classes", {"num_class": 3, "eval_metric": "mlogloss,auc"}),
    "count:poisson": ("count", {}),
    "reg:tweedie": ("count", {"tweedie_variance_power": 1.3, "eval_metric": "tweedie-nloglik@1.3"}),
    "survival:cox": ("time", {}),
    "survival:aft": ("time", {"aft_loss_distribution": "logistic", "eval_metric": "aft-nloglik"}),
}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_learns_something(tmp_path: Path, objective: str) -> None:
    label, given = OBJECTIVES[objective]
    base = make_job(tmp_path, label, num_round=8, objective=objective, **given)
    assert run(base) == 0
    assert info_of(base)["objective"] == objective
    history = json.loads((base / "output" / "data" / "history.json").read_text())["train"]
    for metric, scores in history.items():
        better = scores[-1] > scores[0] if metrics.maximize(metric) else scores[-1] < scores[0]
        assert better, (metric, scores)


@pytest.mark.parametrize("objective", ["rank:pairwise", "rank:ndcg"])
def test_ranking_learns_within_queries(tmp_path: Path, objective: str) -> None:
    base = make_job(tmp_path, num_round=5, objective=objective, eval_metric="ndcg@5")
    for name, seed in (("train", 1), ("validation", 2)):
        rows = table(200, seed, "relevance")
        lines = [
            f"{row[0]:g} qid:{number // 10} "
            + " ".join(f"{column}:{value:.5g}" for column, value in enumerate(row[1:]) if not np.isnan(value))
            for number, row in enumerate(rows)
        ]
        (base / "input" / "data" / name / "part-0.csv").write_text("\n".join(lines) + "\n")
    channels = {name: {"ContentType": "text/libsvm"} for name in ("train", "validation")}
    (base / "input" / "config" / "inputdataconfig.json").write_text(json.dumps(channels))
    assert run(base) == 0
    history = json.loads((base / "output" / "data" / "history.json").read_text())
    assert history["validation"]["ndcg@5"][-1] > 0.7
    assert info_of(base)["objective"] == objective


@pytest.mark.parametrize(
    "given", [{"booster": "dart", "rate_drop": 0.2}, {"booster": "gblinear"}, {"tree_method": "exact"}]
)
def test_every_booster_trains(tmp_path: Path, given: dict[str, Any]) -> None:
    base = make_job(tmp_path, "number", num_round=5, **given)
    assert run(base) == 0
    assert info_of(base)["metrics"]["validation"]["rmse"] < 2


def test_a_category_is_split_by_its_codes(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    codes, noise = generator.integers(0, 6, 400), generator.normal(size=400)
    labels = np.isin(codes, [1, 4]).astype(float)  # no one threshold tells these apart
    base = make_job(tmp_path, validation=False, num_round=3, objective="binary:logistic", max_depth=1, eta=1)
    write_channel(base, "train", np.column_stack([labels, codes, noise]))
    tell(base, num_round=3, objective="binary:logistic", max_depth=1, eta=1, feature_types="c,q", max_cat_to_onehot=1)
    assert run(base) == 0
    info = info_of(base)
    assert info["feature_types"] == ["c", "q"]
    assert info["metrics"]["train"]["logloss"] < 0.1
    assert info["sample"]["features"][0] in range(6), "the mean of codes would be no code"


# --- metric lines

SAGEMAKERS = r".*\[[0-9]+\].*#011validation-{}:(\S+)"


def test_sagemakers_regular_expressions_find_every_metric_of_every_round(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = make_job(tmp_path, num_round=3, objective="binary:logistic", eval_metric="auc,error,accuracy,logloss")
    assert run(base) == 0
    log = capsys.readouterr().out
    history = json.loads((base / "output" / "data" / "history.json").read_text())["validation"]
    for metric, scores in history.items():
        found = re.findall(SAGEMAKERS.format(metric), log)
        assert [float(text) for text in found] == [pytest.approx(score, abs=1e-5) for score in scores]


def test_a_line_reads_the_same_where_tabs_are_written_out(tmp_path: Path) -> None:
    line = metric_line(12, {"train": {"ndcg@5": 0.5}, "validation": {"ndcg@5": 0.25, "cox-nloglik": 3.0}})
    assert line == "[12] #011train-ndcg@5:0.50000 #011validation-ndcg@5:0.25000 #011validation-cox-nloglik:3.00000"
    assert "\t" not in line


# --- metrics of the container


def test_metrics_of_the_container_are_those_of_the_counts() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    said = np.array([0, 0, 1, 1, 0, 0])
    sums = metrics.statistics("f1", labels, np.eye(4)[said], 4)  # a class that never occurs has no say
    expected = {
        "accuracy": 3 / 6,
        "precision_micro": 3 / 6,
        "balanced_accuracy": (2 / 3 + 1 / 2 + 0) / 3,
        "recall_macro": (2 / 3 + 1 / 2 + 0) / 3,
        "precision_macro": (2 / 4 + 1 / 2 + 0) / 3,
        "f1": (4 / 7 + 1 / 2 + 0) / 3,
    }
    for metric, score in expected.items():
        assert metrics.value(metric, sums) == pytest.approx(score), metric
    two = metrics.statistics("precision", np.array([0, 1, 1, 0]), np.array([0.1, 0.9, 0.2, 0.6]), 2)
    assert metrics.value("precision", two) == 0.5
    assert metrics.value("recall", two) == 0.5
    assert metrics.value("f1_binary", two) == 0.5


def test_metrics_of_parts_add_up_to_the_metric_of_the_whole() -> None:
    generator = np.random.default_rng(0)
    labels, said = generator.normal(size=40), generator.normal(size=40)
    for metric in ("mse", "r2"):
        parts = [metrics.statistics(metric, labels[part], said[part], 0) for part in (slice(0, 7), slice(7, 40))]
        spread = float(np.var(labels))
        mse = np.mean((labels - said) ** 2)
        assert metrics.value(metric, parts[0] + parts[1]) == pytest.approx(mse if metric == "mse" else 1 - mse / spread)


# --- whose fault it is


@pytest.mark.parametrize(
    ("label", "given", "told"),
    [
        ("number", {"objective": "binary:logistic"}, "binary:logistic needs 0, 1 or a probability"),
        ("classes", {"objective": "multi:softprob", "num_class": 2}, "since num_class is 2"),
        ("number", {"objective": "count:poisson"}, "count:poisson needs 0 or more"),
        ("binary", {"num_round": 0}, "num_round must be"),
        ("binary", {"feature_names": "a,b"}, "feature_names: has 2 names"),
        ("binary", {"monotone_constraints": "(1,1,1,1,1,1)"}, "monotone_constraints has 6 entries"),
        ("binary", {"interaction_constraints": "[[0, 9]]"}, "there is no feature 9"),
    ],
)
def test_what_the_user_can_mend_is_a_user_error(tmp_path: Path, label: str, given: dict[str, Any], told: str) -> None:
    base = make_job(tmp_path, label, **{"num_round": 2, **given})
    assert run(base) == 1
    assert reason(base).startswith("UserError: ")
    assert told in reason(base)
    assert len(reason(base).splitlines()) == 1
    assert not (base / "model").exists()


def test_early_stopping_without_a_validation_channel_is_refused(tmp_path: Path) -> None:
    base = make_job(tmp_path, validation=False, num_round=2, early_stopping_rounds=2)
    assert run(base) == 1
    assert "UserError: early_stopping_rounds needs the channel validation" in reason(base)


def test_a_constant_label_is_refused(tmp_path: Path) -> None:
    base = make_job(tmp_path, num_round=2)
    rows = table(20, 1)
    rows[:, 0] = 4
    write_channel(base, "train", rows)
    assert run(base) == 1
    assert "UserError: train: the label is 4 in all 20 rows" in reason(base)


def test_a_missing_channel_is_refused(tmp_path: Path) -> None:
    tell(tmp_path, num_round=2)
    assert run(tmp_path) == 1
    assert reason(tmp_path).startswith("UserError: ")


@pytest.mark.parametrize(
    ("said", "kind", "told"),
    [
        (
            "[07:24:17] /workspace/src/objective/x.cc:27: Check failed: valid: label must be in [0,1].\nStack trace:\n  [bt]",
            UserError,
            "training: XGBoost says: Check failed: valid: label must be in [0,1].",
        ),
        ("[07:24:17] /workspace/src/a.h:1: std::bad_alloc", AlgorithmError, "more memory"),
        ("bad_malloc: Failed to allocate 516096000 bytes.", AlgorithmError, "more memory"),
        ("[07:24:17] /workspace/src/a.cc:1: Check failed: p != nullptr", AlgorithmError, "Check failed: p != nullptr"),
    ],
)
def test_xgboosts_complaints_are_told_apart_by_their_first_line(said: str, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind) as raised, told_apart("training"):
        raise xgboost.core.XGBoostError(said)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "/workspace" not in str(raised.value)


def test_the_first_line_of_a_complaint_is_never_empty() -> None:
    assert first_line("\n\nfoo\n") == "foo"
    assert first_line(ValueError("")) == "ValueError"


def test_lack_of_memory_is_not_the_users_fault() -> None:
    with pytest.raises(AlgorithmError, match="Choose an instance type with more memory"), told_apart("train"):
        raise MemoryError


def test_a_full_disk_is_told_with_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(files: Any) -> None:
        raise OSError(28, "No space left on device", str(next(iter(files))))

    monkeypatch.setattr(saving, "write_together", full)
    base = make_job(tmp_path, num_round=2, objective="binary:logistic")
    assert run(base) == 1
    assert reason(base).startswith(f"AlgorithmError: {base}/model/xgboost-model: No space left on device")


def test_a_model_folder_that_is_a_file_is_told_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = make_job(tmp_path, num_round=2, objective="binary:logistic")
    (base / "model").touch()
    assert run(base) == 1
    assert reason(base) == f"UserError: {base}/model: must be a folder to write to, and {base}/model is a file\n"
    assert "rows x" not in capsys.readouterr().out


def test_a_name_of_bytes_that_are_no_text_is_told_as_it_can_be(tmp_path: Path) -> None:
    base = make_job(tmp_path, num_round=2)
    (base / "input" / "data" / "train" / os.fsdecode(b"\xff.csv")).write_bytes(b"x,1,2,3,4,5\n")
    assert run(base) == 1
    assert reason(base).startswith("UserError: train/\\udcff.csv: row 1, column 1: 'x'")


def test_a_reason_that_cannot_be_removed_does_not_hide_the_next_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "output").touch()
    assert run(tmp_path) == 1
    assert "Failed: UserError: hyperparameters.json: num_round is missing" in capsys.readouterr().err


def test_json_that_is_nested_without_end_is_the_users(tmp_path: Path) -> None:
    base = make_job(tmp_path, num_round=2)
    (base / "input" / "config" / "hyperparameters.json").write_text("[" * 100_000)
    assert run(base) == 1
    assert "hyperparameters.json: not valid JSON" in reason(base)


@pytest.mark.parametrize(
    ("constraints", "names"),
    [("[[0, 1]]", {}), ("[[0, 1]]", {"feature_names": "a,b,c,d,e"}), ('[["a", "b"]]', {"feature_names": "a,b,c,d,e"})],
)
def test_features_interact_only_where_they_may(tmp_path: Path, constraints: str, names: dict[str, Any]) -> None:
    base = make_job(tmp_path, num_round=8, validation=False, interaction_constraints=constraints, **names)
    assert run(base) == 0
    trees = xgboost.Booster(model_file=base / "model" / "xgboost-model").get_dump(dump_format="json")

    def paths(node: dict[str, Any], above: frozenset[str] = frozenset()) -> list[frozenset[str]]:
        if "leaf" in node:
            return [above]
        below = above | {str(node["split"])}
        return [path for child in node["children"] for path in paths(child, below)]

    together = [path for tree in trees for path in paths(json.loads(tree)) if len(path) > 1]
    assert together
    assert all(path <= {"a", "b"} or path <= {"f0", "f1"} for path in together)


def test_early_stopping_on_what_is_no_number_is_refused(tmp_path: Path) -> None:
    base = make_job(tmp_path, num_round=5, objective="binary:logistic", eval_metric="auc", early_stopping_rounds=2)
    rows = table(40, 3)
    rows[:, 0] = 1  # one class alone has no order
    write_channel(base, "validation", rows)
    assert run(base) == 1
    assert reason(base).startswith("UserError: early_stopping_rounds: validation-auc is not a number")


def test_a_metric_of_classes_needs_classes_for_labels(tmp_path: Path) -> None:
    base = make_job(tmp_path, validation=False, num_round=2, objective="binary:logistic", eval_metric="accuracy")
    rows = table(40, 3)
    rows[4, 0] = 0.25  # a probability: fine for the objective
    write_channel(base, "train", rows)
    assert run(base) == 1
    assert "train/part-0.csv: row 5, column 1: the label is 0.25, and an eval_metric that compares" in reason(base)


def test_ranking_without_queries_is_told_to_be_of_one_query(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = make_job(tmp_path, "relevance", validation=False, num_round=2, objective="rank:ndcg")
    assert run(base) == 0
    assert "Warning: train has no queries (qid), so rank:ndcg ranks all of its 300 rows" in capsys.readouterr().out


def test_a_training_that_diverges_leaves_no_model(tmp_path: Path) -> None:
    rows = table(60, 1, "count")
    rows[:, 0] *= 1e37
    base = make_job(tmp_path, validation=False, num_round=30, objective="count:poisson", eta=1, max_delta_step=1000)
    write_channel(base, "train", rows)
    assert run(base) == 1
    assert reason(base).startswith("UserError: the training diverged: ")
    assert not (base / "model").exists()


def test_a_laptop_run_leaves_no_booster_of_the_run_before(tmp_path: Path) -> None:
    base = make_job(tmp_path, num_round=2, objective="binary:logistic", _kfold=2)
    assert run(base) == 0
    tell(base, num_round=2, objective="binary:logistic")
    assert run(base) == 0
    assert [path.name for path in (base / "model").glob("xgboost-model*")] == ["xgboost-model"]


# --- the user's own script

SCRIPT = """
import json, os, pathlib, sys
seen = {name: value for name, value in os.environ.items() if name.startswith("SM_")}
seen["arguments"], seen["here"] = sys.argv[1:], sorted(os.listdir("."))
pathlib.Path(os.environ["SM_MODEL_DIR"], "seen.json").write_text(json.dumps(seen))
"""


def script_job(base: Path, text: str, **given: Any) -> Path:
    make_job(base, **{"sagemaker_program": "fit.py", **given})
    file = base / "input" / "config" / "hyperparameters.json"
    file.write_text(
        json.dumps({name: value for name, value in json.loads(file.read_text()).items() if name != "nthread"})
    )
    folder = base / "input" / "data" / "code"
    folder.mkdir(parents=True)
    (folder / "fit.py").write_text(text)
    return base


def test_a_script_finds_its_folders_and_hyperparameters(tmp_path: Path) -> None:
    base = script_job(tmp_path, SCRIPT, depth=5, name='"a b"', x="1.5")
    (base / "input" / "data" / "code" / "helper.py").write_text("")
    assert run(base) == 0
    seen = json.loads((base / "model" / "seen.json").read_text())
    assert seen["arguments"] == ["--depth", "5", "--name", "a b", "-x", "1.5"]
    assert seen["here"] == ["fit.py", "helper.py"]
    assert json.loads(seen["SM_HPS"]) == {"depth": 5, "name": "a b", "x": 1.5}
    assert json.loads(seen["SM_HOSTS"]) == ["algo-1"]
    assert seen["SM_CURRENT_HOST"] == "algo-1"
    assert seen["SM_MODEL_DIR"] == str(base / "model")
    assert seen["SM_OUTPUT_DATA_DIR"] == str(base / "output" / "data")
    assert seen["SM_CHANNEL_TRAIN"] == str(base / "input" / "data" / "train")
    assert seen["SM_CHANNEL_VALIDATION"] == str(base / "input" / "data" / "validation")
    assert int(seen["SM_NUM_CPUS"]) >= 1
    assert seen["SM_NUM_GPUS"] == "0"
    assert seen["SM_HP_DEPTH"] == "5"
    assert seen["SM_USER_ENTRY_POINT"] == "fit.py"


def test_a_script_that_fails_fails_the_job_with_its_last_words(tmp_path: Path) -> None:
    assert run(script_job(tmp_path, "import pandas_that_is_not_there")) == 1
    assert reason(tmp_path) == (
        "UserError: fit.py ended with exit code 1: ModuleNotFoundError: No module named 'pandas_that_is_not_there'\n"
    )


def test_a_scripts_own_reason_is_kept(tmp_path: Path) -> None:
    text = """
import os, pathlib, sys
pathlib.Path(os.environ["SM_OUTPUT_DIR"], "failure").write_text("no such column")
sys.exit(3)
"""
    assert run(script_job(tmp_path, text)) == 1
    assert reason(tmp_path) == "UserError: fit.py ended with exit code 3: no such column\n"


def test_a_script_that_is_killed_is_not_the_users_fault(tmp_path: Path) -> None:
    assert run(script_job(tmp_path, "import os; os.kill(os.getpid(), 9)")) == 1
    assert reason(tmp_path) == "AlgorithmError: fit.py was killed by signal 9 (out of memory?)\n"


def test_sigterm_reaches_the_script(tmp_path: Path) -> None:
    text = """
import os, pathlib, signal, sys, time
def end(*_):
    pathlib.Path(os.environ["SM_MODEL_DIR"], "told").write_text("yes")
    sys.exit(5)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
while True:
    time.sleep(0.1)
"""
    job = start(script_job(tmp_path, text))
    read_until(job, "ready")
    end(job, signal.SIGTERM)
    assert job.returncode == 143
    assert (tmp_path / "model" / "told").exists()


def test_sigterm_reaches_a_script_that_has_just_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Popen(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            started.append(self)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("xgboost_container.training.script.subprocess.Popen", Popen)
    assert run(script_job(tmp_path, "import time; time.sleep(600)")) == 143
    assert [process.returncode for process in started] == [-signal.SIGTERM]


def archive(base: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    folder = base / "input" / "data" / "code"
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    with tarfile.open(folder / "sourcedir.tar.gz", "w:gz") as opened:
        for member, content in members:
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
    return base


@pytest.mark.parametrize("submitted", ["/opt/ml/input/data/code/sourcedir.tar.gz", "/opt/ml/input/data/code", None])
def test_a_script_may_come_as_an_archive(tmp_path: Path, submitted: str | None) -> None:
    given = {"sagemaker_submit_directory": submitted} if submitted else {}
    base = archive(script_job(tmp_path, "", **given), (tarfile.TarInfo("fit.py"), SCRIPT.encode()))
    assert run(base) == 0
    assert (base / "model" / "seen.json").exists()


def _link(name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


@pytest.mark.parametrize(
    ("member", "told"),
    [
        (tarfile.TarInfo("../outside.py"), "'../outside.py', which leads out of the folder"),
        (tarfile.TarInfo("/absolute.py"), "'/absolute.py', which leads out of the folder"),
        (_link("fit.py", "/etc/passwd"), "a link to '/etc/passwd'"),
    ],
)
def test_an_archive_that_leads_out_of_its_folder_is_refused(tmp_path: Path, member: tarfile.TarInfo, told: str) -> None:
    base = archive(script_job(tmp_path, ""), (member, b""))
    assert run(base) == 1
    assert reason(base).startswith("UserError: sourcedir.tar.gz: holds ")
    assert told in reason(base)


def test_an_archive_that_is_cut_is_refused(tmp_path: Path) -> None:
    base = archive(script_job(tmp_path, ""), (tarfile.TarInfo("fit.py"), SCRIPT.encode() * 99))
    file = base / "input" / "data" / "code" / "sourcedir.tar.gz"
    file.write_bytes(file.read_bytes()[:80])
    assert run(base) == 1
    assert reason(base).startswith("UserError: sourcedir.tar.gz: not a readable .tar.gz")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"sagemaker_submit_directory": "s3://bucket/code.tar.gz"}, "training has no network"),
        ({"sagemaker_submit_directory": "/opt/ml/input/data/train"}, "it must be in the channel code"),
        ({"sagemaker_submit_directory": "/etc"}, "it must be in the channel code"),
        ({"sagemaker_submit_directory": "nowhere"}, "nothing is there"),
        ({"sagemaker_program": "other.py"}, "there is no such file in the channel code, which holds fit.py"),
        ({"sagemaker_program": "../train/part-0.csv"}, "there is no such file in the channel code"),
        ({"sagemaker_program": ""}, "needs the hyperparameter sagemaker_program"),
    ],
)
def test_code_comes_from_its_channel_and_from_nowhere_else(tmp_path: Path, given: dict[str, str], told: str) -> None:
    base = script_job(tmp_path, SCRIPT, **given)
    assert run(base) == 1
    assert reason(base).startswith("UserError: ")
    assert told in reason(base)


def test_a_script_without_its_channel_is_refused(tmp_path: Path) -> None:
    tell(tmp_path, sagemaker_program="fit.py")
    assert run(tmp_path) == 1
    assert "sagemaker_program needs the channel code" in reason(tmp_path)


def test_stopped_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xgboost_container.training import termination

    monkeypatch.setattr(termination.Termination, "is_noted", lambda self: True)
    base = make_job(tmp_path, num_round=50, objective="binary:logistic")
    with pytest.raises(Stopped):
        train(Paths(base))
    assert not (base / "model").exists()
