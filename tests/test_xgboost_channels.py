"""The channels of a training job: which files are read, as what, and what is told of them."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
from xgboost_container.contract import Paths, UserError
from xgboost_container.training.input.channels import Channel, open_channels

from tests.xgboost_tables import WRITERS, as_csv, as_libsvm, as_parquet, declared, job, table

ROWS = table()


def train_of(paths: Paths, **options: object) -> Channel:
    return open_channels(paths, **options).train  # type: ignore[arg-type]


def values_of(channel: Channel) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """What XGBoost would train on: the labels, then the features with NaN for what is missing."""
    features = np.full((channel.rows, channel.num_features), np.nan, np.float32)
    matrix = channel.dmatrix(nthread=1).get_data()
    for row in range(channel.rows):
        entries = slice(matrix.indptr[row], matrix.indptr[row + 1])
        features[row, matrix.indices[entries]] = matrix.data[entries]
    return np.column_stack([channel.labels(), features])


@pytest.mark.parametrize("kind", WRITERS)
def test_each_format_gives_the_same_rows(tmp_path: Path, kind: str) -> None:
    rows = ROWS.copy()
    if kind != "recordio":  # its dense rows have no gaps
        rows[::7, 2] = np.nan
    channel = train_of(job(tmp_path, {"train": declared(kind)}, train=WRITERS[kind](rows)))
    np.testing.assert_array_equal(values_of(channel), rows)


@pytest.mark.parametrize("mode", ["File", "FastFile"])
@pytest.mark.parametrize("kind", WRITERS)
def test_gzipped_files_are_unpacked_whatever_their_name(tmp_path: Path, kind: str, mode: str) -> None:
    content = WRITERS[kind](ROWS)
    paths = job(tmp_path, {"train": declared(kind, mode)}, train={"a": gzip.compress(content), "b.gz": content})
    np.testing.assert_array_equal(values_of(train_of(paths)), np.vstack([ROWS, ROWS]))


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("text/csv", "csv"),
        ("csv", "csv"),
        ("Text/CSV; label_size=1; charset=utf8", "csv"),
        ("text/libsvm", "libsvm"),
        ("text/x-libsvm", "libsvm"),
        ("libsvm", "libsvm"),
        ("parquet", "parquet"),
        ("application/x-parquet", "parquet"),
        ("recordio-protobuf", "recordio"),
        ("application/x-recordio-protobuf", "recordio"),
    ],
)
def test_all_spellings_of_a_content_type_are_understood(tmp_path: Path, content_type: str, kind: str) -> None:
    channel = train_of(job(tmp_path, {"train": declared(content_type)}, train=WRITERS[kind](ROWS)))
    assert channel.rows == len(ROWS)


def test_a_channel_without_a_content_type_is_libsvm_and_the_others_are_as_train(tmp_path: Path) -> None:
    config = {"train": {"TrainingInputMode": "File"}, "validation": {}}
    channels = open_channels(job(tmp_path, config, train=as_libsvm(ROWS), validation=as_libsvm(ROWS[:9])))
    assert channels.train.content_type == "libsvm"
    config["train"]["ContentType"] = "text/csv"
    channels = open_channels(job(tmp_path, config, train=as_csv(ROWS), validation=as_csv(ROWS[:9])))
    assert channels.validation is not None
    assert channels.validation.content_type == "csv"


def test_csv_where_no_content_type_is_given_is_told_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train/part-0: row 1.* ContentType is not set, .*set it to text/csv"):
        train_of(job(tmp_path, {"train": {}}, train=as_csv(ROWS)))


@pytest.mark.parametrize(
    ("says", "holds", "hint"),
    [
        ("csv", "parquet", "looks like parquet.*set it to application/x-parquet"),
        ("csv", "libsvm", "looks like libsvm.*set it to text/libsvm"),
        ("libsvm", "recordio", "looks like recordio-protobuf.*set it to application/x-recordio-protobuf"),
        ("parquet", "csv", "looks like csv.*set it to text/csv"),
        ("recordio", "csv", "looks like csv.*set it to text/csv"),
    ],
)
def test_a_file_in_another_format_than_said_is_told_what_to_set(
    tmp_path: Path, says: str, holds: str, hint: str
) -> None:
    with pytest.raises(UserError, match=hint):
        train_of(job(tmp_path, {"train": declared(says)}, train=WRITERS[holds](ROWS)))


def test_channels_may_have_different_formats(tmp_path: Path) -> None:
    config = {"train": declared("csv"), "validation": declared("parquet"), "test": declared("recordio")}
    files = {"train": as_csv(ROWS), "validation": as_parquet(ROWS[:9]), "test": WRITERS["recordio"](ROWS[:5])}
    channels = open_channels(job(tmp_path, config, **files))
    assert [(channel.name, channel.rows) for channel in channels] == [("train", 60), ("validation", 9), ("test", 5)]


def test_files_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    names = ["b/2", "a.csv", "b/1", "B", "a/9/z"]
    files = {name: as_csv(ROWS[i : i + 1]) for i, name in enumerate(names)}
    channel = train_of(job(tmp_path, train=files))
    assert channel.files == ("train/B", "train/a/9/z", "train/a.csv", "train/b/1", "train/b/2")
    np.testing.assert_array_equal(values_of(channel), ROWS[[3, 4, 1, 2, 0]])


def test_hidden_empty_and_deep_files_are_left_out_and_the_log_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = as_csv(ROWS[:, :3])
    left_out = {
        ".hidden.csv": other,
        "_SUCCESS": other,
        "x/.git/a": other,
        "_temporary/a": other,
        "dtrain.cache": other,
    }
    deep = {"a/b/c/too-deep.csv": other}
    channel = train_of(job(tmp_path, train={"a/b/part.csv": as_csv(ROWS), "nothing": b"", **left_out, **deep}))
    assert channel.files == ("train/a/b/part.csv",)
    log = capsys.readouterr().out
    assert "hidden" in log
    assert "train/_SUCCESS" in log
    assert "ignored train/a/b/c/too-deep.csv: deeper than 3 folders" in log
    assert "skipped train/nothing" in log
    assert "train: 60 rows x 4 features from 1 file (csv, 0.0 MB)" in log


def test_links_are_followed_even_in_a_circle(tmp_path: Path) -> None:
    paths = job(tmp_path, train={"part": as_csv(ROWS)})
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "more").write_bytes(as_csv(ROWS[:2]))
    paths.channel("train").joinpath("z").symlink_to(outside)
    outside.joinpath("circle").symlink_to(outside)
    assert train_of(paths).rows == len(ROWS) + 2 * 2  # z/more and z/circle/more


def test_a_link_that_leads_nowhere_is_refused_by_name(tmp_path: Path) -> None:
    paths = job(tmp_path, train={"part": as_csv(ROWS)})
    paths.channel("train").joinpath("z").symlink_to("/nowhere/at/all")
    with pytest.raises(UserError, match="train/z: a link to /nowhere/at/all, which is not there"):
        train_of(paths)


def test_without_a_config_folders_are_channels_and_files_tell_their_format(tmp_path: Path) -> None:
    files = {"train": {"a.parquet": as_parquet(ROWS)}, "validation": {"rows": as_libsvm(ROWS)}, "code": {"a.py": b"1"}}
    paths = job(tmp_path, {}, **files)
    (paths.config / "inputdataconfig.json").unlink()
    channels = open_channels(paths)
    assert [channel.content_type for channel in channels] == ["parquet", "libsvm"]
    assert channels.code == paths.channel("code")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"train": declared("csv"), "eval": {}}, "the channel 'eval' is not one of train, validation, test, code"),
        ({"validation": declared("csv")}, "the channel train is missing; there are: validation"),
        ({"train": declared("text/csv;label_size=2")}, "train: .*label_size must be 1"),
        ({"train": declared("image/png")}, "train: content type 'image/png' is not one of"),
        ({"train": declared("application/json")}, "train: content type 'application/json' is not one of"),
        ({"train": declared("csv", "Stream")}, "train: TrainingInputMode is 'Stream', must be one of"),
        ({"train": declared("csv", S3DistributionType="Some")}, "train: S3DistributionType is 'Some'"),
        ({"train": declared("csv"), "code": {"TrainingInputMode": "Pipe"}}, "code: TrainingInputMode is Pipe"),
        ({"train": "csv"}, "the channel train must be an object"),
    ],
)
def test_a_config_that_cannot_be_followed_is_refused(
    tmp_path: Path, config: dict[str, dict[str, str]], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        open_channels(job(tmp_path, config, train=as_csv(ROWS), validation=as_csv(ROWS), code={"a.py": b""}))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_fingerprint_is_of_the_bytes_in_their_order(tmp_path: Path, kind: str) -> None:
    one, two = WRITERS[kind](ROWS), WRITERS[kind](ROWS[:7])
    channel = train_of(job(tmp_path, {"train": declared(kind)}, train={"1": one, "2": two, "_not": b"x"}))
    assert channel.sha256 == hashlib.sha256(one + two).hexdigest()


def test_the_second_column_of_csv_is_the_weight_when_asked(tmp_path: Path) -> None:
    weighted = np.insert(ROWS, 1, np.arange(1, 61), axis=1)
    config = {name: declared("csv") for name in ("train", "validation", "test")}
    files = {"train": as_csv(weighted), "validation": as_csv(ROWS), "test": as_csv(weighted)}
    channels = open_channels(job(tmp_path, config, **files), csv_weights=True)
    assert channels.validation is not None
    assert channels.test is not None
    for channel, has_weights in ((channels.train, True), (channels.validation, False), (channels.test, True)):
        weights = channel.weights()
        assert (weights is not None) == has_weights
        np.testing.assert_array_equal(values_of(channel), ROWS)
    np.testing.assert_array_equal(channels.train.dmatrix().get_weight(), np.arange(1, 61))


def test_libsvm_carries_weights_and_queries(tmp_path: Path) -> None:
    text = b"1:0.5 qid:7 0:1\n0:0.5 qid:7 1:2\n2:3 qid:4 0:5\n"
    channel = train_of(job(tmp_path, {"train": declared("libsvm")}, train=text))
    channel.check("rank:ndcg")
    matrix = channel.matrix(max_bin=16)
    np.testing.assert_array_equal(channel.weights(), [0.5, 0.5, 3])
    np.testing.assert_array_equal(matrix.get_uint_info("group_ptr"), [0, 2, 3])
    np.testing.assert_array_equal(matrix.get_weight(), [0.5, 3])  # a weight for each query


def test_sparse_channels_take_the_width_of_the_widest(tmp_path: Path) -> None:
    config = {"train": declared("libsvm"), "validation": declared("libsvm")}
    paths = job(tmp_path, config, train=b"1 0:1\n0 2:1\n", validation=b"1 6:1\n0 1:1\n")
    assert [channel.num_features for channel in open_channels(paths)] == [7, 7]
    assert [channel.dmatrix().num_col() for channel in open_channels(paths)] == [7, 7]
    assert len(open_channels(paths).train.summary.count) == 7
    assert [channel.num_features for channel in open_channels(paths, feature_names="abcdefghi")] == [9, 9]


def test_names_come_from_parquet_unless_they_are_given(tmp_path: Path) -> None:
    paths = job(tmp_path, {"train": declared("parquet")}, train=as_parquet(ROWS))
    assert train_of(paths).feature_names == ("x0", "x1", "x2", "x3")
    assert train_of(paths).matrix(max_bin=8).feature_names == ["x0", "x1", "x2", "x3"]
    assert train_of(paths, feature_names="abcd").feature_names == ("a", "b", "c", "d")
    with pytest.raises(UserError, match="feature_names: has 3 names, the channel train has 4 features"):
        train_of(paths, feature_names="abc")
    with pytest.raises(UserError, match="feature_names: two features are named 'a'"):
        train_of(paths, feature_names="abca")


def test_a_channel_without_rows_is_allowed_where_other_hosts_have_some(tmp_path: Path) -> None:
    paths = job(tmp_path, {"train": declared("csv")})
    channel = open_channels(paths, may_be_empty=True).train
    assert channel.rows == 0
    channel.check("reg:squarederror", must_vary=True)


def test_the_same_bytes_in_train_and_validation_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    open_channels(job(tmp_path, train=as_csv(ROWS), validation=as_csv(ROWS)))
    assert "train and validation hold the same bytes" in capsys.readouterr().out


def test_a_row_is_found_again_in_its_file(tmp_path: Path) -> None:
    channels = open_channels(job(tmp_path, train={"a": as_csv(ROWS), "b": as_csv(ROWS)}, validation=as_csv(ROWS[:3])))
    assert channels.train.place(0) == "train/a: row 1"
    assert channels.train.place(60) == "train/b: row 1"
    both = channels.combined()
    assert both.rows == 123
    assert both.place(122) == "validation/part-0: row 3"
    assert both.subset(np.arange(123) % 2 == 0).place(60) == "validation/part-0: row 1"
