"""The image's own training program on several hosts: as good as on one, and as clear about what is wrong."""

from __future__ import annotations

import itertools
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from xgboost_container.contract import UserError
from xgboost_container.training.distributed.agreement import check_for_hosts

from tests.xgboost_hosts import TRAIN, Host, Job, run, running

pytestmark = pytest.mark.long

TREES = {"num_round": 25, "max_depth": 4, "eta": 0.3, "nthread": 1}


@cache
def table(kind: str = "regression", rows: int = 4500) -> NDArray[Any]:
    """Rows of a label and six features, of which two matter together."""
    random = np.random.default_rng(7)
    features = random.normal(size=(rows, 6)).round(3)
    score: NDArray[Any] = 2 * features[:, 0] + features[:, 1] ** 2 - features[:, 2] * (features[:, 3] > 0)
    score += random.normal(scale=0.3, size=rows)
    if kind == "binary":
        score = score > 1
    elif kind == "classes":
        score = np.digitize(score, [-1, 1, 3])
    return np.column_stack([score, features])


def csv(rows: NDArray[Any]) -> bytes:
    return b"".join((",".join(f"{value:.9g}" for value in row) + "\n").encode() for row in rows)


def libsvm(rows: NDArray[Any], qids: Sequence[int] | None = None) -> bytes:
    lines = []
    for number, (label, *features) in enumerate(rows):
        query = "" if qids is None else f" qid:{qids[number]}"
        named = "".join(f" {column}:{value:.9g}" for column, value in enumerate(features) if value)
        lines.append(f"{label:g}{query}{named}\n")
    return "".join(lines).encode()


def shards(rows: NDArray[Any], hosts: int) -> list[bytes]:
    """The rows as one CSV per host, of different lengths."""
    cuts = np.linspace(0, len(rows), hosts + 1).astype(int)
    cuts[1:-1] += np.arange(1, hosts) * 40
    return [csv(rows[start:end]) for start, end in itertools.pairwise(cuts)]


def give(
    folder: Path,
    hyperparameters: Mapping[str, Any],
    train: Sequence[bytes | None],
    validation: Sequence[bytes | None] | None = None,
    content_type: str = "text/csv",
) -> None:
    """Write what SageMaker gives each host: its configuration, and its files of the channels."""
    for number, own in enumerate(train):
        channels = {"train": own} if validation is None else {"train": own, "validation": validation[number]}
        base = folder / f"algo-{number + 1}"
        config = base / "input" / "config"
        config.mkdir(parents=True, exist_ok=True)
        (config / "hyperparameters.json").write_text(
            json.dumps({key: str(value) for key, value in hyperparameters.items()})
        )
        described = {"ContentType": content_type, "TrainingInputMode": "File", "S3DistributionType": "ShardedByS3Key"}
        (config / "inputdataconfig.json").write_text(json.dumps(dict.fromkeys(channels, described)))
        for name, content in channels.items():
            channel = base / "input" / "data" / name
            channel.mkdir(parents=True, exist_ok=True)
            if content is not None:
                (channel / f"part-{number}.txt").write_bytes(content)


def train(
    folder: Path, hyperparameters: Mapping[str, Any], train: Sequence[bytes | None], *more: Any, **other: Any
) -> Job:
    give(folder, hyperparameters, train, *more, **other)
    return run(folder, hosts=len(train), program=TRAIN)


def info(host: Host) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((host.base / "model" / "model-info.json").read_text())
    return content


def model(host: Host) -> bytes:
    return (host.base / "model" / "xgboost-model").read_bytes()


def ended_well(job: Job) -> bool:
    return [host.code for host in job] == [0] * len(job.hosts)


@pytest.fixture(scope="module")
def one_and_two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, Job]:
    """The same rows on one host and on two."""
    rows, jobs = table(), []
    for hosts in (1, 2):
        folder = tmp_path_factory.mktemp(f"{hosts}-hosts")
        chosen = {**TREES, "objective": "reg:squarederror"}
        jobs.append(train(folder, chosen, shards(rows[:3000], hosts), shards(rows[3000:], hosts)))
    return jobs[0], jobs[1]


def test_two_hosts_are_as_good_as_one(one_and_two: tuple[Job, Job]) -> None:
    one, two = one_and_two
    assert ended_well(one), one.report()
    assert ended_well(two), two.report()
    alone, together = (info(job["algo-1"])["metrics"]["validation"]["rmse"] for job in one_and_two)
    # Not the same trees: the bins of a feature are merged from two sketches, and sums are rounded in another order. The label's
    # standard deviation is 2.6, so both are far from having learned nothing.
    assert together == pytest.approx(alone, rel=0.06)
    assert alone < 0.7


def test_only_the_leader_writes_the_model_and_the_metrics(one_and_two: tuple[Job, Job]) -> None:
    leader, other = one_and_two[1]
    assert "xgboost-model" in leader.model_files
    assert other.model_files == []
    assert leader.log.count("#011validation-rmse:") == 25
    assert "#011" not in other.log


def test_the_description_is_of_the_rows_of_all_hosts(one_and_two: tuple[Job, Job]) -> None:
    one, two = (info(job["algo-1"])["data"]["train"] for job in one_and_two)
    assert (one["rows"], two["rows"], two["files"]) == (3000, 3000, 2)
    assert one["sha256"] != two["sha256"]
    alone, together = (
        json.loads((job["algo-1"].base / "model" / "data-summary.json").read_text()) for job in one_and_two
    )
    assert str(alone.keys()) == str(together.keys())
    for here, there in zip(numbers(alone), numbers(together), strict=True):
        assert there == pytest.approx(here, rel=1e-9, abs=1e-12)


def numbers(content: Any) -> list[float]:
    if isinstance(content, dict):
        content = list(content.values())
    if isinstance(content, list):
        return [number for item in content for number in numbers(item)]
    return [content] if isinstance(content, (int, float)) else []


def test_the_same_job_gives_the_same_bytes(one_and_two: tuple[Job, Job], tmp_path: Path) -> None:
    rows = table()
    again = train(tmp_path, {**TREES, "objective": "reg:squarederror"}, shards(rows[:3000], 2), shards(rows[3000:], 2))
    assert model(again["algo-1"]) == model(one_and_two[1]["algo-1"])


def test_four_hosts_are_as_good_as_one_on_classes_that_not_every_host_has(tmp_path: Path) -> None:
    rows = table("binary")
    # Sorted by label: the first host has one class alone.
    training = rows[:3000][np.argsort(rows[:3000, 0], kind="stable")]
    chosen = {**TREES, "objective": "binary:logistic", "eval_metric": "auc,logloss"}
    scores = []
    for hosts in (1, 4):
        job = train(tmp_path / str(hosts), chosen, shards(training, hosts), [csv(rows[3000:])] * hosts)
        assert ended_well(job), job.report()
        scores.append(info(job["algo-1"])["metrics"]["validation"])
    assert scores[1]["auc"] == pytest.approx(scores[0]["auc"], abs=0.01)
    assert scores[1]["logloss"] == pytest.approx(scores[0]["logloss"], rel=0.08)
    assert scores[0]["auc"] > 0.95


@pytest.mark.parametrize(
    ("kind", "chosen"),
    [
        ("regression", {"booster": "dart", "rate_drop": 0.2, "subsample": 0.6, "colsample_bytree": 0.6}),
        ("classes", {"objective": "multi:softprob", "num_class": 4, "eval_metric": "accuracy,mlogloss"}),
    ],
)
def test_hosts_with_unequal_shards_end_with_one_model(tmp_path: Path, kind: str, chosen: dict[str, Any]) -> None:
    # Each draws rows of its own, and all must draw the same columns and drop the same trees: the job compares the models.
    job = train(tmp_path, {**TREES, "num_round": 10, **chosen}, shards(table(kind)[:900], 2))
    assert ended_well(job), job.report()


def test_ranking_works_where_queries_are_whole_and_is_refused_where_one_is_split(tmp_path: Path) -> None:
    rows, qids = table("classes")[:400], [number // 20 for number in range(400)]
    for cut, good in ((200, True), (210, False)):
        parts = [libsvm(rows[:cut], qids[:cut]), libsvm(rows[cut:], qids[cut:])]
        chosen = {**TREES, "num_round": 5, "objective": "rank:ndcg"}
        job = train(tmp_path / str(cut), chosen, parts, content_type="text/libsvm")
        assert ended_well(job) == good, job.report()
        if not good:
            told = "UserError: the rows of query 10 are split over algo-1 and algo-2"
            assert [host.failure.startswith(told) for host in job] == [True, True]


def test_sparse_shards_get_the_width_of_the_widest_and_a_host_without_a_file_is_left_out(tmp_path: Path) -> None:
    rows = table()[:600].copy()
    rows[:300, 4:] = 0  # the second host's rows never name the last features
    parts = [None, libsvm(rows[:300]), libsvm(rows[300:])]
    job = train(tmp_path, {**TREES, "num_round": 5}, parts, content_type="text/libsvm")
    assert ended_well(job), job.report()
    assert ["xgboost-model" in host.model_files for host in job] == [False, True, False]
    assert info(job["algo-2"])["num_features"] == 6
    assert "algo-1 got no rows" in job["algo-2"].log


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ([csv(table()[:50]), csv(table()[:50, :-1])], "UserError: the rows have 6 features on algo-1 and 5 on algo-2"),
        ([b"1,2\n1,3\n", b"1,4\n1,5\n"], "UserError: train: the label is 1 in all 4 rows"),
    ],
)
def test_shards_that_cannot_be_trained_on_are_told_alike_on_all_hosts(
    tmp_path: Path, parts: list[bytes | None], told: str
) -> None:
    job = train(tmp_path, TREES, parts)
    assert [host.code for host in job] == [1, 1]
    assert [host.failure.startswith(told) for host in job] == [True, True], job.report()


def test_a_validation_channel_on_one_host_alone_is_refused(tmp_path: Path) -> None:
    job = train(tmp_path, TREES, shards(table()[:200], 2), [csv(table()[200:250]), None])
    assert ["the channel validation has rows on algo-1 and none on algo-2" in host.failure for host in job] == [
        True,
        True,
    ]


def test_a_bad_row_on_one_host_is_told_on_the_others_with_the_hosts_name(tmp_path: Path) -> None:
    job = train(tmp_path, TREES, [csv(table()[:50]), csv(table()[:50]) + b"1,2,3,x,5,6,7\n"])
    assert [host.code for host in job] == [1, 1]
    own, told = job["algo-2"].failure, job["algo-1"].failure
    assert own.startswith("UserError: train/part-1.txt: row 51, column 4"), job.report()
    assert told == own.replace("UserError: ", "UserError: host algo-2 failed: ")


def test_all_the_rows_on_every_host_are_warned_of(tmp_path: Path) -> None:
    job = train(tmp_path, {**TREES, "num_round": 2}, [csv(table()[:100])] * 2)
    assert ended_well(job)
    assert "each row counts 2 times" in job["algo-1"].log
    assert "ShardedByS3Key" in job["algo-1"].log


def test_a_host_that_is_killed_in_the_middle_of_training_is_named_soon(tmp_path: Path) -> None:
    give(tmp_path, {**TREES, "num_round": 100_000}, shards(table()[:3000], 3))
    with running(tmp_path, hosts=3, program=TRAIN) as job:
        job["algo-1"].wait_for("[5] ")
        job["algo-2"].signal(signal.SIGKILL)
        job.wait()
        for host in job.but("algo-2"):
            assert host.code == 1
            assert host.failure.startswith("AlgorithmError: host algo-2 was lost: "), job.report()
            assert host.model_files == []


TRAIN_AND_STOP = """
import os, signal, sys
from xgboost_container.__main__ import main
from xgboost_container.training import fit

update = fit.xgboost.Booster.update

def counted(booster, matrix, number):
    if number == 21 and os.environ["SAGEMAKER_BASE_DIR"].endswith("algo-2"):
        os.kill(os.getpid(), signal.SIGTERM)
    update(booster, matrix, number)

fit.xgboost.Booster.update = counted
sys.exit(main(["train"]))
"""


def test_a_stopped_job_goes_on_from_the_leaders_checkpoint_alone_and_ends_with_the_same_model(tmp_path: Path) -> None:
    parts = shards(table()[:3000], 2)
    chosen = {**TREES, "num_round": 60, "checkpoint_rounds": 5, "subsample": 0.7, "max_depth": 2}
    whole = train(tmp_path / "whole", chosen, parts)
    assert ended_well(whole), whole.report()

    give(tmp_path / "cut", chosen, parts)
    with running(tmp_path / "cut", program=(sys.executable, "-c", TRAIN_AND_STOP)) as cut:
        cut.wait()
        assert [(host.code, host.failure) for host in cut] == [(143, "")] * 2, cut.report()
    kept = [list((host.base / "checkpoints").glob("checkpoint-*")) for host in cut]
    assert (bool(kept[0]), kept[1]) == (True, [])

    again = run(tmp_path / "cut", program=TRAIN)
    assert ended_well(again), again.report()
    assert "Going on after round 22" in again["algo-1"].log
    assert model(again["algo-1"]) == model(whole["algo-1"])


@pytest.mark.parametrize(
    "chosen",
    [
        {"booster": "gblinear"},
        {"tree_method": "exact"},
        {"updater": ("grow_colmaker", "prune")},
        {"objective": "survival:cox"},
        {"eval_metric": ("rmse", "cox-nloglik")},
        {"_kfold": 3},
    ],
)
def test_what_several_hosts_cannot_train_is_refused_before_they_meet(chosen: dict[str, Any]) -> None:
    with pytest.raises(
        UserError, match=rf"{next(iter(chosen))}.* is for one host, and this job has 2.* InstanceCount to 1"
    ):
        check_for_hosts(chosen, 2)
    check_for_hosts({"booster": "dart", "tree_method": "hist", "eval_metric": ("rmse",), "objective": "rank:ndcg"}, 2)
