"""From a channel's rows to XGBoost's matrices: the same model whatever the format, the blocks and the matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from xgboost_container.contract import AlgorithmError, UserError
from xgboost_container.formats.sparse import Sparse
from xgboost_container.training.input import blocks as blocks_module
from xgboost_container.training.input.blocks import Blocks, Chosen
from xgboost_container.training.input.channels import Channel, open_channels
from xgboost_container.training.input.declarations import find
from xgboost_container.training.input.loading import load
from xgboost_container.training.input.matrices import plain_matrix, quantile_matrix
from xgboost_container.training.input.readers import Layout

from tests.xgboost_tables import WRITERS, as_csv, as_libsvm, as_parquet, declared, job, table

import xgboost  # isort: skip

HIST = {"tree_method": "hist", "nthread": 1, "max_bin": 32}
NAMES = ("a", "b", "c", "d")


def gappy(rows: int = 500, seed: int = 3) -> NDArray[np.float32]:
    values = table(rows, seed=seed)
    values[::7, 2] = np.nan
    values[1::5, 4] = np.nan
    return values


def model(matrix: xgboost.DMatrix, **parameters: Any) -> bytes:
    chosen = {"nthread": 1, **parameters} if "booster" in parameters else {**HIST, **parameters}
    return bytes(xgboost.train(chosen, matrix, 5).save_raw("ubj"))


def read(base: Path, kind: str, content: bytes, **options: Any) -> Channel:
    return open_channels(job(base, {"train": declared(kind)}, train=content), **options).train


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few rows, so that a small table has many."""
    monkeypatch.setattr(blocks_module, "BLOCK_BYTES", 700)


@pytest.mark.usefixtures("small_blocks")
def test_a_table_gives_the_same_model_in_every_format_as_from_numpy(tmp_path: Path) -> None:
    rows = table(500)
    plain = xgboost.DMatrix(rows[:, 1:], label=rows[:, 0], feature_names=list(NAMES))
    expected = model(plain)
    for kind, write in WRITERS.items():
        channel = read(tmp_path / kind, kind, write(rows), feature_names=NAMES)
        assert model(channel.matrix(max_bin=32, nthread=1)) == expected, kind
        assert model(channel.dmatrix(nthread=1)) == expected, kind


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("kind", ["csv", "libsvm", "parquet"])
def test_missing_values_are_missing_in_every_format(tmp_path: Path, kind: str) -> None:
    rows = gappy()
    expected = model(xgboost.DMatrix(rows[:, 1:], label=rows[:, 0], feature_names=list(NAMES)))
    channel = read(tmp_path, kind, WRITERS[kind](rows), feature_names=NAMES)
    assert model(channel.matrix(max_bin=32, nthread=1)) == expected


@pytest.mark.usefixtures("small_blocks")
def test_weights_count_in_the_cuts_between_bins_too(tmp_path: Path) -> None:
    rows = gappy()
    weights = np.random.default_rng(1).random(len(rows)).astype(np.float32)
    expected = model(xgboost.DMatrix(rows[:, 1:], label=rows[:, 0], weight=weights))
    channel = read(tmp_path, "csv", as_csv(np.insert(rows, 1, weights, axis=1)), csv_weights=True)
    assert model(channel.matrix(max_bin=32, nthread=1)) == expected
    assert model(channel.dmatrix(nthread=1)) == expected


@pytest.mark.usefixtures("small_blocks")
def test_queries_go_on_from_block_to_block(tmp_path: Path) -> None:
    rows = table(300)
    labels, qids = (rows[:, 0] > 0).astype(int), np.repeat(np.arange(12), 25)
    lines = as_libsvm(rows).split(b"\n")
    text = b"\n".join(b"%d qid:%d %b" % (labels[i], qids[i], lines[i].partition(b" ")[2]) for i in range(len(rows)))
    expected = model(xgboost.DMatrix(rows[:, 1:], label=labels, qid=qids), objective="rank:ndcg")
    channel = read(tmp_path, "libsvm", text)
    channel.check("rank:ndcg", must_vary=True)
    assert model(channel.matrix(max_bin=32, nthread=1), objective="rank:ndcg") == expected


@pytest.mark.usefixtures("small_blocks")
def test_categories_are_passed_on(tmp_path: Path) -> None:
    rows = gappy()
    rows[:, 3] = np.random.default_rng(0).integers(0, 40, len(rows))
    types = ["float", "q", "c", "q"]
    plain = xgboost.DMatrix(rows[:, 1:], label=rows[:, 0], feature_types=types, enable_categorical=True)
    for kind in ("csv", "libsvm"):
        channel = read(tmp_path / kind, kind, WRITERS[kind](rows))
        for matrix in (channel.matrix(max_bin=32, feature_types=types), channel.dmatrix(feature_types=types)):
            assert model(matrix) == model(plain)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("kind", "value", "shown"), [("csv", -1, "-1"), ("csv", 1.5, "1.5"), ("libsvm", 2**24, "16777216")]
)
def test_a_category_must_be_a_code(tmp_path: Path, kind: str, value: float, shown: str) -> None:
    rows = np.round(table(50))
    rows[:, 3] = np.abs(rows[:, 3])
    rows[41, 3] = value
    channel = read(tmp_path, kind, WRITERS[kind](rows), feature_names=NAMES)
    message = rf"train/part-0: row 42: feature 2 \(c\) is a category, .*from 0 to 16777215, got {shown}"
    with pytest.raises(UserError, match=message):
        channel.matrix(feature_types=["q", "q", "c", "q"])


def test_feature_types_are_checked(tmp_path: Path) -> None:
    channel = read(tmp_path, "csv", as_csv(table()))
    with pytest.raises(UserError, match="feature_types: has 3 types, the channel train has 4 features"):
        channel.matrix(feature_types=["q"] * 3)
    with pytest.raises(UserError, match="feature_types: feature 1 is 'category', must be one of q, float, int, i, c"):
        channel.dmatrix(feature_types=["q", "category", "q", "q"])


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("booster", [{"tree_method": "exact"}, {"tree_method": "approx"}, {"booster": "gblinear"}])
def test_what_needs_values_gets_a_plain_matrix(tmp_path: Path, booster: dict[str, str]) -> None:
    rows = gappy()
    channel = read(tmp_path, "csv", as_csv(rows))
    expected = model(xgboost.DMatrix(rows[:, 1:], label=rows[:, 0]), **booster)
    assert model(channel.dmatrix(nthread=1), **booster) == expected


def test_rows_for_evaluation_are_measured_as_the_model_predicts_them(tmp_path: Path) -> None:
    # Values far outside of what was trained on: bins made for the training rows would put some on the wrong side.
    rows, others = gappy(2000), gappy(2000, seed=4)
    rows[:, 0] = np.where(np.isnan(rows[:, 2]), 5, rows[:, 1])
    others[:, 0] = np.where(np.isnan(others[:, 2]), 5, others[:, 1])
    others[:, 1:] *= 5
    channels = open_channels(job(tmp_path, train=as_csv(rows), validation=as_csv(others)))
    assert channels.validation is not None
    train = channels.train.matrix(max_bin=32, nthread=1)
    validation = channels.validation.matrix(max_bin=32, nthread=1, ref=train)
    told: dict[str, Any] = {}
    booster = xgboost.train(HIST, train, 10, evals=[(validation, "v")], evals_result=told, verbose_eval=False)
    predicted = booster.inplace_predict(others[:, 1:])
    np.testing.assert_allclose(told["v"]["rmse"][-1], np.sqrt(np.mean((predicted - others[:, 0]) ** 2)), rtol=1e-5)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("kind", ["csv", "libsvm"])
def test_a_subset_is_what_its_rows_alone_would_be(tmp_path: Path, kind: str) -> None:
    rows = gappy()
    some = np.random.default_rng(5).random(len(rows)) < 0.7
    whole = read(tmp_path / "whole", kind, WRITERS[kind](rows))
    alone = read(tmp_path / "alone", kind, WRITERS[kind](rows[some]))
    subset = whole.subset(some)
    assert model(subset.matrix(max_bin=32, nthread=1)) == model(alone.matrix(max_bin=32, nthread=1))
    assert model(subset.subset(np.arange(200)).dmatrix()) == model(alone.subset(np.arange(200)).dmatrix())
    np.testing.assert_allclose(subset.summary.mean, alone.summary.mean, rtol=1e-9)
    with pytest.raises(ValueError, match="must rise"):
        whole.subset(np.array([3, 1]))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("kind", ["csv", "libsvm"])
def test_joined_channels_are_what_one_file_would_be(tmp_path: Path, kind: str) -> None:
    rows = gappy()
    config = {"train": declared(kind), "validation": declared(kind)}
    parts = {"train": WRITERS[kind](rows[:300]), "validation": WRITERS[kind](rows[300:])}
    joined = open_channels(job(tmp_path / "two", config, **parts)).combined()
    whole = read(tmp_path / "one", kind, WRITERS[kind](rows))
    assert model(joined.matrix(max_bin=32, nthread=1)) == model(whole.matrix(max_bin=32, nthread=1))
    assert model(joined.dmatrix(nthread=1)) == model(whole.dmatrix(nthread=1))
    np.testing.assert_allclose(joined.summary.as_array(), whole.summary.as_array(), rtol=1e-9)


def test_released_rows_leave_everything_else(tmp_path: Path) -> None:
    channel = read(tmp_path, "csv", as_csv(table()))
    channel.release()
    assert (channel.rows, channel.num_features) == (60, 4)
    assert channel.summary.rows == 60
    assert channel.place(59) == "train/part-0: row 60"


@pytest.mark.usefixtures("small_blocks")
def test_rows_beyond_the_memory_limit_go_to_a_file_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "spill"))
    (tmp_path / "spill").mkdir()
    rows = gappy()
    paths = job(tmp_path, train=as_csv(rows))
    in_memory = load(find(paths)["train"], Layout())
    on_disk = load(find(paths)["train"], Layout(), memory_limit=2000)
    assert isinstance(on_disk.rows, Blocks)
    assert on_disk.rows._bytes_in_memory <= 2000 < on_disk.rows.nbytes
    assert not list((tmp_path / "spill").iterdir())
    for table_ in (in_memory, on_disk, on_disk):  # twice: it is read again for every pass
        np.testing.assert_array_equal(np.vstack([dense(block) for block in table_.rows]), rows[:, 1:])
    chosen = Chosen(on_disk.rows, np.arange(3, 400, 2))
    np.testing.assert_array_equal(np.vstack([dense(block) for block in chosen]), rows[3:400:2, 1:])


def dense(block: Any) -> NDArray[np.float32]:
    return block.dense(4) if isinstance(block, Sparse) else block


@pytest.mark.usefixtures("small_blocks")
def test_a_full_disk_is_no_fault_of_the_users_data(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __call__(self, **_: object) -> Full:
            return self

        def seek(self, *_: object) -> int:
            return 0

        tell = fileno = seek

        def write(self, _: object) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", Full())
    with pytest.raises(AlgorithmError, match=r"no room for .* bytes of parsed rows \(No space left on device\)"):
        list(Blocks(0).add(table()))


def test_the_matrix_is_streamed_and_nothing_is_parsed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = read(tmp_path, "csv", as_csv(table(500)))
    monkeypatch.setattr("xgboost_container.formats.csv.parse", None)
    monkeypatch.setattr("pathlib.Path.open", None)
    matrix = channel.matrix(max_bin=32)
    assert isinstance(matrix, xgboost.QuantileDMatrix)
    assert matrix.num_row() == 500


def test_a_fault_in_a_pass_is_told_and_does_not_make_a_shorter_matrix() -> None:
    class Breaking(Blocks):
        def __iter__(self) -> Any:
            yield table(10)[:, 1:]
            raise OSError("the disk is gone")

    rows = Breaking()
    rows.width, rows.row_count = 4, 20
    with pytest.raises(OSError, match="the disk is gone"):
        quantile_matrix(rows, weights=None, max_bin=8, nthread=1)
    with pytest.raises(OSError, match="the disk is gone"):
        plain_matrix(rows, nthread=1)


def test_survival_labels_become_bounds(tmp_path: Path) -> None:
    rows = np.abs(table(100))
    rows[::4, 0] *= -1
    channel = read(tmp_path, "csv", as_csv(rows))
    channel.check("survival:aft", must_vary=True)
    matrix = channel.matrix(max_bin=32, objective="survival:aft")
    np.testing.assert_array_equal(matrix.get_float_info("label_lower_bound"), np.abs(rows[:, 0]))
    upper = matrix.get_float_info("label_upper_bound")
    assert np.isinf(upper[::4]).all()
    np.testing.assert_array_equal(upper[1::4], rows[1::4, 0])
    assert model(matrix, objective="survival:aft")


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_channel_of_many_small_files_has_few_blocks(tmp_path: Path, kind: str) -> None:
    write = as_parquet if kind == "parquet" else as_csv
    files = {f"{i:03}": write(table(3, seed=i)) for i in range(40)}
    channel = open_channels(job(tmp_path, {"train": declared(kind)}, train=files)).train
    assert channel.rows == 120
    assert len(list(channel._table.rows)) == 1
