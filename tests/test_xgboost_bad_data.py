"""Data that cannot be trained on: one line that says what, in which file, row and column."""

from __future__ import annotations

import gzip
import os
import resource
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xgboost_container.contract import REASON_BYTES, Paths, UserError, one_line_reason
from xgboost_container.formats import recordio
from xgboost_container.training.input.channels import Channel, open_channels
from xgboost_container.training.input.labels import LabelFacts

from tests.xgboost_tables import WRITERS, as_csv, as_libsvm, as_parquet, declared, job, table

ROWS = table()


def refused(paths: Paths, objective: str | None = None, num_class: int = 0, **options: Any) -> str:
    """The line that a job on these data ends with."""

    def read_and_check() -> None:
        for channel in open_channels(paths, **options):
            channel.check(objective, num_class=num_class, must_vary=channel.name == "train")

    with pytest.raises(UserError) as caught:
        read_and_check()
    line = one_line_reason(caught.value)
    assert len(line.encode()) < REASON_BYTES, "cut"
    assert "\n" not in str(caught.value)
    return str(caught.value)


def csv_job(base: Path, *lines: str, objective: str | None = None, **options: Any) -> str:
    return refused(job(base, train="\n".join(lines).encode()), objective, **options)


def read(base: Path, kind: str, content: bytes) -> Channel:
    return open_channels(job(base, {"train": declared(kind)}, train=content)).train


def test_an_empty_channel_says_what_was_looked_for_and_what_is_there(tmp_path: Path) -> None:
    paths = job(tmp_path, train={".a": b"1,2", "_SUCCESS": b"x", "a": b"", "b/c/d/e": b"1,2"})
    said = refused(paths)
    assert said.startswith("train: no data. Looked in ")
    assert "2 hidden: train/.a, train/_SUCCESS; 1 deeper: train/b/c/d/e; 1 empty: train/a" in said


def test_an_empty_folder_and_a_missing_one_are_told_apart(tmp_path: Path) -> None:
    paths = job(tmp_path, {"train": declared("csv")})
    assert "the channel's folder" in refused(paths)
    paths.channel("train").mkdir(parents=True)
    assert refused(paths).endswith("there is nothing")


@pytest.mark.parametrize("channel", ["train", "validation"])
def test_files_of_blank_lines_are_no_rows(tmp_path: Path, channel: str) -> None:
    files = {"train": as_csv(ROWS), "validation": as_csv(ROWS), channel: {"a": b"\n\n", "b": b" \n"}}
    assert refused(job(tmp_path, None, **files)) == f"{channel}: not one row in {channel}/a, {channel}/b"  # type: ignore[arg-type]


def test_one_column_is_no_label_and_features(tmp_path: Path) -> None:
    assert csv_job(tmp_path, "1", "2").startswith("train/part-0: row 1: has one column, and no feature")


def test_a_label_and_a_weight_are_no_features(tmp_path: Path) -> None:
    said = csv_job(tmp_path, "1,1", "2,1", csv_weights=True)
    assert said.startswith("train/part-0: row 1: has a label and a weight, and no feature")


def test_one_column_of_parquet_is_no_label_and_features(tmp_path: Path) -> None:
    paths = job(tmp_path, {"train": declared("parquet")}, train=as_parquet(ROWS[:, :1]))
    assert refused(paths).startswith("train/part-0: has one column, 'label', and no feature")


@pytest.mark.parametrize("kind", WRITERS)
def test_a_constant_label_teaches_nothing(tmp_path: Path, kind: str) -> None:
    rows = ROWS.copy()
    rows[:, 0] = 3
    said = refused(job(tmp_path, {"train": declared(kind)}, train=WRITERS[kind](rows)))
    assert said.startswith("train: the label is 3 in all 60 rows, so there is nothing to learn")


def test_a_constant_label_is_a_matter_of_all_hosts() -> None:
    shards = [LabelFacts.of(np.full(5, label, np.float32), None) for label in (0, 1)]
    sent = [LabelFacts.from_array(shard.as_array()) for shard in shards]
    sent[0].merge(sent[1]).check("train")
    with pytest.raises(UserError, match="the label is 0 in all 10 rows"):
        sent[0].merge(sent[0]).check("train")
    nothing = LabelFacts.of(np.zeros(0, np.float32), None)
    assert sent[0].merge(nothing) == sent[0]


@pytest.mark.parametrize("missing", ["", "nan", "NA"])
def test_a_missing_label_is_found(tmp_path: Path, missing: str) -> None:
    said = csv_job(tmp_path, "1,2", "0,2", f"{missing},2")
    assert said == "train/part-0: row 3, column 1: the label is missing. Fill it in or remove the row"


def test_a_missing_label_of_parquet_is_found_in_its_file(tmp_path: Path) -> None:
    rows = ROWS.copy()
    rows[5, 0] = np.nan
    paths = job(tmp_path, {"train": declared("parquet")}, train={"a": as_parquet(ROWS), "b": as_parquet(rows)})
    assert refused(paths).startswith("train/b: row 6: the label is missing")


@pytest.mark.parametrize("kind", ["csv", "libsvm", "recordio"])
def test_an_infinite_number_is_refused(tmp_path: Path, kind: str) -> None:
    rows = ROWS.copy()
    rows[5, 2] = np.inf
    assert refused(job(tmp_path, {"train": declared(kind)}, train=WRITERS[kind](rows))).startswith("train/part-0: r")


def test_a_value_beyond_32_bits_is_refused(tmp_path: Path) -> None:
    assert "row 2, column 2: '1e39' does not fit" in csv_job(tmp_path, "1,2", "0,1e39")


def test_a_word_is_found_by_file_row_and_column(tmp_path: Path) -> None:
    paths = job(tmp_path, train={"a": as_csv(ROWS), "b": as_csv(ROWS) + b"1,2,three,4,5\n"})
    assert refused(paths) == "train/b: row 61, column 3: 'three' is not a number"


def test_a_row_is_counted_on_from_chunk_to_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xgboost_container.training.input.streams.CHUNK_BYTES", 200)
    assert csv_job(tmp_path, *["1,2"] * 1000, "1,x") == "train/part-0: row 1001, column 2: 'x' is not a number"


def test_a_header_is_told(tmp_path: Path) -> None:
    assert "header" in csv_job(tmp_path, "price,rooms", "1,2")


def test_rows_of_two_widths_in_a_file(tmp_path: Path) -> None:
    assert csv_job(tmp_path, "1,2", "0,1,2") == "train/part-0: row 2: 3 columns, expected 2"


@pytest.mark.parametrize("kind", ["csv", "recordio", "parquet"])
def test_files_of_two_widths_are_both_named(tmp_path: Path, kind: str) -> None:
    files = {"a": WRITERS[kind](ROWS), "b": WRITERS[kind](ROWS[:, :4])}
    said = refused(job(tmp_path, {"train": declared(kind)}, train=files))
    assert "train/b: row 1: has 3 features, train/a has 4" in said


def test_ten_thousand_features_too_many_are_one_line(tmp_path: Path) -> None:
    wide = table(2, 10_004)
    said = refused(job(tmp_path, train={"a": as_csv(ROWS), "b": as_csv(wide)}))
    assert said.startswith("train/b: row 1: has 10004 features, train/a has 4.")
    paths = job(tmp_path / "p", {"train": declared("parquet")}, train={"a": as_parquet(ROWS), "b": as_parquet(wide)})
    assert "has 10004 features, train/a has 4" in refused(paths)


def test_channels_of_two_widths_are_both_named(tmp_path: Path) -> None:
    said = refused(job(tmp_path, train=as_csv(ROWS), validation=as_csv(ROWS[:, :4])))
    assert said.startswith("validation/part-0: row 1: has 3 features, train/part-0: row 1 has 4")


def test_parquet_files_with_other_names_are_both_named(tmp_path: Path) -> None:
    names = ("label", "x0", "x2", "x1", "x3")
    files = {"a": as_parquet(ROWS), "b": as_parquet(ROWS, names)}
    said = refused(job(tmp_path / "1", {"train": declared("parquet")}, train=files))
    assert said == "train/b: its columns are named otherwise than those of train/a: feature 1 is 'x2', there 'x1'"
    config = {"train": declared("parquet"), "validation": declared("parquet")}
    said = refused(job(tmp_path / "2", config, train=files["a"], validation=files["b"]))
    assert said.startswith("validation/part-0: its columns are named otherwise than those of train/part-0: feature 1")


def test_dense_and_sparse_rows_do_not_mix(tmp_path: Path) -> None:
    config = {"train": declared("csv"), "validation": declared("libsvm")}
    said = refused(job(tmp_path, config, train=as_csv(ROWS), validation=as_libsvm(table(3, 9))))
    assert "has 9 features" in said


@pytest.mark.parametrize("kind", WRITERS)
def test_gzip_that_is_cut_is_named(tmp_path: Path, kind: str) -> None:
    files = {"a": WRITERS[kind](ROWS), "b.gz": gzip.compress(WRITERS[kind](table(3000)))[:-100]}
    said = refused(job(tmp_path, {"train": declared(kind)}, train=files))
    assert said.startswith("train/b.gz: the gzip data is cut off: it ends after ")


def test_gzip_that_is_damaged_is_named(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(as_csv(table(3000))))
    packed[5000] ^= 255
    assert refused(job(tmp_path, train=bytes(packed))).startswith("train/part-0: the gzip data is damaged (")


def test_a_line_of_two_gigabytes_is_refused_in_little_memory(tmp_path: Path) -> None:
    # Through a pipe, so that nothing of that size is ever written anywhere.
    paths = job(tmp_path, {"train": declared("csv", "Pipe")})
    paths.channel("x").parent.mkdir(parents=True)
    pipe = paths.channel("train_0")
    os.mkfifo(pipe)
    written = 0

    def write() -> None:
        nonlocal written
        try:
            with pipe.open("wb", buffering=0) as file:
                for _ in range(2048):
                    written += file.write(b"1," * (1 << 19)) or 0
        except BrokenPipeError:
            pass

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said = refused(paths)
    writer.join(60)
    assert not writer.is_alive()
    assert said.startswith("train_0: row 1: the line is longer than")
    assert written < 200 * 2**20
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 200


@pytest.mark.parametrize("mode", ["File", "FastFile"])
def test_a_file_of_two_gigabytes_without_a_line_end_is_refused(tmp_path: Path, mode: str) -> None:
    paths = job(tmp_path, {"train": declared("csv", mode)}, train=b"1,")
    os.truncate(paths.channel("train") / "part-0", 2 << 30)  # a hole: it takes no room on the disk
    assert refused(paths).startswith("train/part-0: row 1: the line is longer than")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (["1", "-1", "1"], "train/part-0: row 2, column 2: the weight is -1, must be 0 or more"),
        (["1", "1", ""], "train/part-0: row 3, column 2: the weight is missing"),
        (["0", "0", "0"], "train: the weight is 0 in all 3 rows, so no row counts"),
    ],
)
def test_weights_must_weigh(tmp_path: Path, weights: list[str], message: str) -> None:
    assert csv_job(tmp_path, *(f"{i},{w},3" for i, w in enumerate(weights)), csv_weights=True) == message


def test_a_query_in_two_pieces_is_refused(tmp_path: Path) -> None:
    paths = job(tmp_path, {"train": declared("libsvm")}, train=b"1 qid:1 0:1\n0 qid:2 0:2\n2 qid:1 0:3\n")
    assert refused(paths).startswith("train/part-0: row 3: qid 1 came before, with others between")


def test_rows_of_a_query_have_one_weight(tmp_path: Path) -> None:
    paths = job(tmp_path, {"train": declared("libsvm")}, train=b"1:1 qid:1 0:1\n0:2 qid:1 0:2\n")
    assert refused(paths).startswith("train/part-0: row 2: the weight is 2, rows of the same query before have another")


@pytest.mark.parametrize(
    ("other", "what"), [(b"1:2 0:1\n", "has a weight"), (b"1 qid:1 0:1\n", "has a qid")], ids=["weight", "qid"]
)
def test_files_with_and_without_weights_or_queries_do_not_mix(tmp_path: Path, other: bytes, what: str) -> None:
    paths = job(tmp_path, {"train": declared("libsvm")}, train={"a": b"1 0:1\n0 0:2\n", "b": other})
    assert refused(paths).startswith(f"train/b: row 1: {what}, the rows of train/a have none")


@pytest.mark.parametrize(
    ("objective", "good", "bad", "rule"),
    [
        ("binary:logistic", [0, 1, 0.25], 2, "0, 1 or a probability between them"),
        ("binary:logitraw", [0, 1], -1, "0, 1 or a probability"),
        ("reg:logistic", [0, 1], 1.5, "0, 1 or a probability"),
        ("binary:hinge", [0, 1], -1, "0 or 1"),
        ("multi:softmax", [0, 1, 2], 3, "a class from 0 to 2, since num_class is 3"),
        ("multi:softprob", [0, 1, 2], 1.5, "a class from 0 to 2"),
        ("multi:softprob", [0, 1, 2], -1, "a class from 0 to 2"),
        ("reg:squaredlogerror", [0, -0.5], -1, "more than -1"),
        ("count:poisson", [0, 3.5], -1, "0 or more"),
        ("reg:tweedie", [0, 3.5], -0.1, "0 or more"),
        ("reg:gamma", [0.1, 3.5], 0, "more than 0"),
        ("rank:map", [0, 1], 2, "0 or 1"),
        ("rank:ndcg", [0, 3], 0.5, "a relevance: a whole number"),
        ("survival:cox", [1, -2], 0, "a time: positive when the event happened"),
        ("survival:aft", [1, -2], 0, "a time"),
    ],
)
def test_labels_must_suit_the_objective(
    tmp_path: Path, objective: str, good: list[float], bad: float, rule: str
) -> None:
    rows = [f"{label},{i}" for i, label in enumerate(good)]
    channel = read(tmp_path / "good", "csv", "\n".join(rows).encode())
    channel.check(objective, num_class=3, must_vary=True)
    said = csv_job(tmp_path / "bad", *rows, f"{bad},9", objective=objective, num_class=3)
    place = f"train/part-0: row {len(good) + 1}, column 1"
    assert said.startswith(f"{place}: the label is {bad:g}, {objective} needs {rule}")


@pytest.mark.parametrize(
    "objective", ["reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "rank:pairwise"]
)
def test_other_objectives_take_any_label(tmp_path: Path, objective: str) -> None:
    read(tmp_path, "csv", as_csv(ROWS)).check(objective)


def test_records_without_labels_are_refused(tmp_path: Path) -> None:
    scores = recordio.encode(np.ones((3, 1), np.float32))  # labels under another name, and no features
    said = refused(job(tmp_path, {"train": declared("recordio")}, train=scores))
    assert said.startswith("train/part-0: record 1")


@pytest.mark.parametrize(
    ("beginning", "name"),
    [(b"PK\x03\x04", "zip"), (b"BZh91AY", "bzip2"), (b"\xfd7zXZ\x00", "xz"), (b"\x28\xb5\x2f\xfd", "Zstandard")],
)
def test_what_is_packed_otherwise_than_by_gzip_is_named(tmp_path: Path, beginning: bytes, name: str) -> None:
    said = refused(job(tmp_path, train=beginning + bytes(range(128, 256)) * 9))
    assert said == f"train/part-0: is packed with {name}; unpack it, or pack each file with gzip"


def test_noise_is_not_taken_for_libsvm(tmp_path: Path) -> None:
    assert "looks like" not in refused(job(tmp_path, train=b"\xc3\x28:\x9f , :\x80\n" * 9))


def test_labels_alone_are_no_libsvm_to_train_on(tmp_path: Path) -> None:
    said = refused(job(tmp_path, {"train": declared("libsvm")}, train=b"1\n0\n"))
    assert said == "train: not one feature in train/part-0, only labels"


def test_a_feature_beyond_all_tables_is_refused_in_little_memory(tmp_path: Path) -> None:
    said = refused(job(tmp_path, {"train": declared("libsvm")}, train=b"1 1:2\n0 2000000000:1\n"))
    assert "train/part-0: row 1 or one after it names feature 2000000000, at most 1048576 features" in said


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("y", "a[0]", "b", "c", "d"), "train/part-0: a feature is named 'a[0]'; a name must not"),
        (("y", "a<1", "b", "c", "d"), "train/part-0: a feature is named 'a<1'; a name must not"),
    ],
)
def test_names_that_a_model_cannot_hold_are_refused(tmp_path: Path, names: tuple[str, ...], told: str) -> None:
    assert told in refused(job(tmp_path, {"train": declared("parquet")}, train=as_parquet(ROWS, names)))


def test_a_comma_at_the_end_of_each_line_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read(tmp_path, "csv", as_csv(ROWS).replace(b"\n", b",\n"))
    assert "Warning: train: no row has a value in feature 4, counted from 0" in capsys.readouterr().out
