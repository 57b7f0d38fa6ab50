"""Pipe mode: a channel is a stream that is read once, file after file, perhaps in records."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arro3.core import Array, Table
from arro3.io import write_parquet
from xgboost_container.contract import Paths, UserError
from xgboost_container.formats.frames import MAGIC
from xgboost_container.training.input.channels import Channel, open_channels
from xgboost_container.training.input.pipe import Unwrapped, parquet_files, wrapped_files

from tests.test_xgboost_channels import values_of
from tests.xgboost_tables import WRITERS, as_csv, as_libsvm, as_parquet, as_recordio, declared, job, table

ROWS = table()
Pipes = Callable[..., Paths]


class Bytes:
    """A stream that gives bytes as they are asked for, or fewer."""

    name = "train_0"

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self, count: int = -1, /) -> bytes:
        count = len(self._content) if count < 0 else count
        given, self._content = self._content[:count], self._content[count:]
        return given


def record(content: bytes, part: int = 0) -> bytes:
    return struct.pack("<II", MAGIC, part << 29 | len(content)) + content + bytes(-len(content) % 4)


@pytest.fixture
def pipes(tmp_path: Path) -> Iterator[Pipes]:
    """Make a job whose channels are named pipes, each with a writer that gives its content in `step` bytes at a time."""
    writers: list[threading.Thread] = []

    def make(kind: str, step: int = 4096, wrapper: str = "None", **channels: bytes) -> Paths:
        config = {name: declared(kind, "Pipe", RecordWrapperType=wrapper) for name in channels}
        paths = job(tmp_path, config)
        paths.channel("x").parent.mkdir(parents=True)
        for name, content in channels.items():
            pipe = paths.channel(f"{name}_0")
            os.mkfifo(pipe)
            writers.append(threading.Thread(target=write, args=(pipe, content, step), daemon=True))
            writers[-1].start()
        return paths

    def write(pipe: Path, content: bytes, step: int) -> None:
        with contextlib.suppress(BrokenPipeError), pipe.open("wb", buffering=0) as file:
            for start in range(0, len(content), step):
                file.write(content[start : start + step])

    yield make
    for writer in writers:
        writer.join(60)
        assert not writer.is_alive()


def train_of(paths: Paths, **options: Any) -> Channel:
    return open_channels(paths, **options).train


@pytest.mark.parametrize("kind", WRITERS)
def test_each_format_is_read_from_a_pipe_that_is_written_in_drops(pipes: Pipes, kind: str) -> None:
    content = WRITERS[kind](ROWS)
    channel = train_of(pipes(kind, step=1 if kind == "csv" else 100, train=content))
    np.testing.assert_array_equal(values_of(channel), ROWS)
    assert channel.files == ("train_0",)
    assert channel.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("kind", WRITERS)
def test_files_that_follow_each_other_in_the_pipe_are_all_read(pipes: Pipes, kind: str) -> None:
    parts = [ROWS[:20], ROWS[20:50], ROWS[50:]]
    channel = train_of(pipes(kind, train=b"".join(WRITERS[kind](part) for part in parts)))
    np.testing.assert_array_equal(values_of(channel), ROWS)


@pytest.mark.parametrize("kind", ["csv", "libsvm", "parquet"])
def test_files_in_records_are_unwrapped(pipes: Pipes, kind: str) -> None:
    parts = [WRITERS[kind](part).rstrip(b"\n") for part in (ROWS[:20], ROWS[20:50], ROWS[50:])]
    channel = train_of(pipes(kind, wrapper="RecordIO", train=b"".join(map(record, parts))))
    np.testing.assert_array_equal(values_of(channel), ROWS)


@pytest.mark.parametrize("kind", WRITERS)
def test_gzip_is_seen_by_its_first_bytes(pipes: Pipes, kind: str) -> None:
    channel = train_of(pipes(kind, step=1000, train=gzip.compress(WRITERS[kind](ROWS))))
    np.testing.assert_array_equal(values_of(channel), ROWS)


def test_both_channels_may_be_pipes_and_weights_come_along(pipes: Pipes) -> None:
    weighted = as_csv(np.insert(ROWS, 1, 2, axis=1))
    channels = open_channels(pipes("csv", train=weighted, validation=weighted), csv_weights=True)
    assert [channel.rows for channel in channels] == [60, 60]
    np.testing.assert_array_equal(channels.train.weights(), np.full(60, 2))


def test_the_last_line_needs_no_end_and_a_writer_that_stops_is_the_end(pipes: Pipes) -> None:
    assert train_of(pipes("csv", train=as_csv(ROWS)[:-1])).rows == 60


def test_a_pipe_without_a_byte_is_an_empty_channel(pipes: Pipes) -> None:
    with pytest.raises(UserError, match="train: not one row in train_0"):
        train_of(pipes("csv", train=b""))


def test_a_pipe_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train: TrainingInputMode is Pipe, and the pipe .*/train_0 is not there"):
        train_of(job(tmp_path, {"train": declared("csv", "Pipe")}))


@pytest.mark.parametrize(
    ("kind", "wrapper", "content", "message"),
    [
        ("csv", "None", gzip.compress(as_csv(ROWS), mtime=0)[:-20], "train_0: the gzip data is cut off"),
        ("csv", "RecordIO", record(as_csv(ROWS))[:-20], "train_0: the stream ends in the middle of a RecordIO record"),
        ("csv", "RecordIO", record(b"1,2\n", part=1), "train_0: the stream ends in the middle of a RecordIO record"),
        ("csv", "RecordIO", record(b"1,2\n") + b"\n", "train_0: the stream ends in the middle of a RecordIO record"),
        ("csv", "RecordIO", as_csv(ROWS), "train_0: not wrapped in RecordIO: .*RecordWrapperType"),
        ("recordio", "None", as_recordio(ROWS)[:-5], "train_0: record 60: is cut"),
        ("parquet", "None", as_parquet(ROWS)[:-5], "train_0: the Parquet file is cut"),
        ("parquet", "None", as_parquet(ROWS) + as_parquet(ROWS)[:-5], "train_0: the Parquet file is cut"),
        ("libsvm", "None", as_libsvm(ROWS) + b"1 0:x\n", "train_0: row 61, token 2: '0:x'"),
    ],
)
def test_a_stream_that_is_cut_or_wrong_is_refused_by_name(
    pipes: Pipes, kind: str, wrapper: str, content: bytes, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        train_of(pipes(kind, wrapper=wrapper, train=content))


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_a_record_that_was_cut_at_the_magic_number_is_whole_again(step: int) -> None:
    magic = struct.pack("<I", MAGIC)
    stream = Bytes(
        record(b"1,2", 1) + record(b"3,4", 2) + record(b"5\n", 3) + record(b"6,7") + record(b"") + record(b"8")
    )
    unwrapped, content = Unwrapped(stream), b""
    while piece := unwrapped.read(step):
        content += piece
    assert content == b"1,2" + magic + b"3,4" + magic + b"5\n6,7\n8"


def test_wrapped_files_keep_their_bytes() -> None:
    contents = [b"PAR1....", b"", b"x" * 1000]
    files = [file.seek(0) or file.read() for file in wrapped_files(Bytes(b"".join(map(record, contents))))]
    assert files == contents


@pytest.mark.parametrize("chunk_bytes", [1 << 23, 64])
def test_a_seam_between_parquet_files_is_told_from_the_same_bytes_inside(
    chunk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xgboost_container.training.input.pipe.CHUNK_BYTES", chunk_bytes)
    # "PAR1PAR1" as a number: a page holds it as it is, here after what could be the length of a short footer.
    noise = np.random.default_rng(0).normal(size=99)
    tricky = np.concatenate([noise, np.frombuffer(b"\0\0\0\0\x21\0\0\0PAR1PAR1")])
    file = io.BytesIO()
    write_parquet(Table.from_pydict({"label": Array.from_numpy(tricky)}), file)
    one, two = file.getvalue(), as_parquet(ROWS)
    assert b"PAR1PAR1" in one[4:-8]
    found = []
    for part in parquet_files(Bytes(one + two + one)):
        part.seek(0)
        found.append(part.read())
    assert found == [one, two, one]
