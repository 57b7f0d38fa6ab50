"""Parquet to rows of numbers: as pyarrow, which shares no code with the reader, writes it."""

from __future__ import annotations

import datetime
import io
import os
import random
import tempfile
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xgboost_container.formats import parquet, parquet_process
from xgboost_container.formats.errors import FormatError
from xgboost_container.formats.parquet import Frame, column_names, read, row_groups

from tests.property_tests import examples


def written(table: Any, **options: Any) -> bytes:
    sink = io.BytesIO()
    pa.parquet.write_table(table, sink, **options)
    return sink.getvalue()


def numbers(rows: int, columns: int = 3) -> Any:
    """Column j of row i holds 1000 * j + i: no two cells are alike, and each is exact."""
    return pa.table({f"f{j}": np.arange(rows, dtype=np.float32) + 1000 * j for j in range(columns)})


def joined(frames: list[Frame]) -> np.ndarray[Any, Any]:
    return np.concatenate([frame.values for frame in frames])


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([1.5, None, -2], pa.float32()), [1.5, np.nan, -2]),
        (pa.array([1.1, None, float("nan")], pa.float64()), [1.1, np.nan, np.nan]),
        (pa.array(np.array([1.5, 0, -2], np.float16)), [1.5, 0, -2]),
        (pa.array([True, None, False]), [1, np.nan, 0]),
        (pa.array([-128, None, 127], pa.int8()), [-128, np.nan, 127]),
        (pa.array([0, None, 2**64 - 1], pa.uint64()), [0, np.nan, 2.0**64]),
        (pa.array([2**24, 2**24 + 1, 2**53 + 1]), [2.0**24, 2.0**24, 2.0**53]),
        (pa.array([Decimal("1.25"), None, Decimal("-0.10")], pa.decimal128(10, 2)), [1.25, np.nan, -0.1]),
        (pa.array([Decimal("1.25"), None, Decimal("-0.10")], pa.decimal256(50, 2)), [1.25, np.nan, -0.1]),
        (pa.array([7, None, 9]).dictionary_encode(), [7, np.nan, 9]),
        (pa.nulls(3), [np.nan] * 3),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_numbers_booleans_decimals_and_nulls_become_floats(column: Any, expected: list[float]) -> None:
    frame = read(written(pa.table({"x": column, "y": [1, 2, 3]})))
    assert frame.names == ("x", "y")
    assert frame.values.dtype == np.float32
    assert frame.values.flags.c_contiguous
    np.testing.assert_array_equal(frame.values[:, 0], np.array(expected, np.float32))
    assert frame.values[:, 1].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (pa.array(["a", "b"]), "column 'x' holds Utf8; only numbers and booleans can be read"),
        (pa.array([b"a", b"b"]), "column 'x' holds Binary; only numbers"),
        (pa.array(["a", "b"]).dictionary_encode(), "column 'x' holds categories; send their codes, as numbers from 0"),
        (pa.array([[1], [2]]), "column 'x' holds List(Int64, field: 'element'); give each number a column of its own"),
        (pa.array([{"a": 1}, {"a": 2}]), "column 'x' holds Struct"),
        (pa.array([datetime.datetime(2020, 1, 1)] * 2), "column 'x' holds Timestamp"),
        (pa.array([datetime.date(2020, 1, 1)] * 2), "column 'x' holds Date32; make it a number in the unit"),
        (pa.array([datetime.timedelta(1)] * 2), "column 'x' holds Duration"),
        (pa.array([1, 1e39]), "row 2, column 'x': must be finite, at most 3.4028235e+38 (32 bits)"),
        (pa.array([1, float("-inf")], pa.float32()), "row 2, column 'x': must be finite"),
    ],
)
def test_what_is_no_number_is_refused_by_its_column(column: Any, says: str, tmp_path: Path) -> None:
    content = written(pa.table({"y": [1, 2], "x": column}))
    (tmp_path / "part.parquet").write_bytes(content)
    for attempt in (lambda: read(content), lambda: list(row_groups(tmp_path / "part.parquet"))):
        with pytest.raises(FormatError) as refused:
            attempt()
        assert says in str(refused.value)


def test_two_columns_of_one_name_are_refused() -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(FormatError, match=r"^two columns are named 'a'"):
        read(written(table))


@given(
    st.integers(0, 40),
    st.integers(1, 4),
    st.sampled_from(["none", "snappy", "gzip", "brotli", "zstd", "lz4"]),
    st.sampled_from(["1.0", "2.0"]),
    st.booleans(),
    st.integers(1, 50),
    st.randoms(use_true_random=False),
)
@settings(max_examples=examples(0.3))
def test_rows_come_back_as_they_were_written(
    rows: int, columns: int, compression: str, pages: str, dictionary: bool, group: int, chance: random.Random
) -> None:
    data = {
        f"f{j}": pa.array([None if chance.random() < 0.2 else chance.uniform(-9, 9) for _ in range(rows)], pa.float32())
        for j in range(columns)
    }
    table = pa.table(data)
    content = written(
        table, compression=compression, data_page_version=pages, use_dictionary=dictionary, row_group_size=group
    )
    frame = read(content)
    expected = [[np.nan if value is None else value for value in row.values()] for row in table.to_pylist()]
    assert frame.names == tuple(data)
    np.testing.assert_array_equal(frame.values, np.array(expected, np.float32).reshape(rows, columns))


def test_blocks_are_bounded_whatever_the_files_row_groups(tmp_path: Path) -> None:
    file = tmp_path / "part.parquet"
    pa.parquet.write_table(numbers(300_000), file, row_group_size=300_000)
    frames = list(row_groups(file))
    assert len(frames) > 2
    assert max(frame.values.nbytes for frame in frames) <= 4 << 20
    whole = joined(frames)
    assert whole.shape == (300_000, 3)
    np.testing.assert_array_equal(whole[:, 2], (np.arange(300_000, dtype=np.float32) + 2000))


def test_a_file_is_read_as_often_as_xgboost_likes(tmp_path: Path) -> None:
    file = tmp_path / "part.parquet"
    pa.parquet.write_table(numbers(100_000), file)
    first = joined(list(row_groups(str(file))))
    abandoned = row_groups(file)
    next(abandoned)
    del abandoned
    for _ in range(3):
        np.testing.assert_array_equal(joined(list(row_groups(file))), first)


def test_an_open_file_is_read_wherever_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = written(numbers(50))
    expected = read(content).values
    for opened in (io.BytesIO, tempfile.TemporaryFile):
        with opened() as file:
            file.write(content)
            np.testing.assert_array_equal(joined(list(row_groups(file))), expected)
            monkeypatch.setattr(parquet, "_SENT_BYTES", 0)  # as a large one: on disk, or else sent all the same
            np.testing.assert_array_equal(joined(list(row_groups(file))), expected)
            monkeypatch.undo()


def test_names_are_known_without_reading_rows(tmp_path: Path) -> None:
    pa.parquet.write_table(numbers(10, 4), tmp_path / "part.parquet")
    assert column_names(tmp_path / "part.parquet") == ("f0", "f1", "f2", "f3")


def test_a_file_without_rows_has_columns(tmp_path: Path) -> None:
    (tmp_path / "part.parquet").write_bytes(written(numbers(0)))
    assert read(written(numbers(0))).values.shape == (0, 3)
    assert [frame.values.shape for frame in row_groups(tmp_path / "part.parquet")] == [(0, 3)]


def test_rows_are_counted_over_blocks_and_from_the_number_of_the_first(tmp_path: Path) -> None:
    values = np.zeros(200_000)
    values[150_000] = np.inf
    pa.parquet.write_table(pa.table({"a": values}), tmp_path / "part.parquet")
    with pytest.raises(FormatError, match=r"^row 150001, column 'a'"):
        list(row_groups(tmp_path / "part.parquet"))
    with pytest.raises(FormatError, match=r"^row 150011, column 'a'"):
        list(row_groups(tmp_path / "part.parquet", first_row=11))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the Parquet file is empty"),
        (b"1,2,3\n", "not a Parquet file: it begins with b'1,2,'"),
        (b"PARE" + b"x" * 20, "is encrypted"),
        (written(numbers(9))[:-7], "is cut: it does not end with b'PAR1'"),
        (b"PAR1", "is cut"),
        (b"PAR1" + b"\xff" * 8 + b"PAR1", "its metadata is longer than the file"),
        (b"PAR1" + b"\0" * 8 + b"\x08\0\0\0PAR1", "the Parquet file is broken"),
    ],
)
def test_what_is_no_parquet_file_is_refused(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "part.parquet").write_bytes(content)
    for attempt in (
        lambda: read(content),
        lambda: list(row_groups(tmp_path / "part.parquet")),
        lambda: column_names(tmp_path / "part.parquet"),
    ):
        with pytest.raises(FormatError) as refused:
            attempt()
        assert says in str(refused.value)


def test_a_missing_file_is_not_a_broken_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(row_groups(tmp_path / "none.parquet"))


def test_a_few_bytes_that_stand_for_many_numbers_are_refused() -> None:
    content = written(pa.table({"a": np.zeros(5_000_000, np.float32)}), compression="zstd")
    assert len(content) < 40_000
    with pytest.raises(FormatError, match="holds more than 1000000 values"):
        read(content, max_cells=1_000_000)


def with_negative_offset() -> bytes:
    """Metadata in which a column chunk begins before the file: the decoder aborts where it reads rows."""
    content = written(pa.table({"a": [1.5, 2.5]}), compression="none", use_dictionary=False, write_statistics=False)
    length = int.from_bytes(content[-8:-4], "little")
    start = len(content) - 8 - length
    for position in range(start, len(content) - 8):
        for value in (0x07, 0x7F, 0x01):
            broken = content[:position] + bytes([value]) + content[position + 1 :]
            try:
                read(broken)
            except FormatError as refused:
                if "crashed" in str(refused):
                    return broken
    raise AssertionError("no byte of the metadata makes the decoder abort any more: is the process still needed?")


def test_a_file_that_aborts_the_decoder_ends_neither_us_nor_the_next_file() -> None:
    broken = with_negative_offset()
    for _ in range(3):
        with pytest.raises(FormatError, match="its decoder crashed over it, or ran out of memory"):
            read(broken)
        assert read(written(numbers(4))).values.shape == (4, 3)


def test_broken_bytes_raise_nothing_else() -> None:
    generator = random.Random(11)
    bases = [
        written(pa.table({"a": [1.5, None, 3] * 9, "b": list(range(27)), "c": [True, None, False] * 9}), compression=c)
        for c in ("none", "snappy", "gzip", "zstd")
    ]
    for _ in range(300):
        content = bytearray(generator.choice(bases))
        metadata = int.from_bytes(content[-8:-4], "little")
        start = 4 if generator.random() < 0.7 else len(content) - 8 - metadata
        for _ in range(generator.randint(1, 3)):
            content[generator.randrange(start, len(content) - 8)] = generator.randrange(256)
        message = ""
        try:
            assert read(bytes(content), max_cells=1 << 20).values.dtype == np.float32
        except FormatError as refused:
            message = str(refused)
        assert len(message.splitlines()) <= 1


def test_threads_read_at_the_same_time() -> None:
    contents = [written(numbers(1000 * (i + 1))) for i in range(4)]
    found: dict[int, int] = {}

    def work(number: int) -> None:
        for _ in range(5):
            found[number] = len(read(contents[number]))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {0: 1000, 1: 2000, 2: 3000, 3: 4000}
    assert len(parquet_process._idle._workers) <= 2


def test_it_works_from_a_folder_that_shadows_the_standard_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    parquet_process._idle._close()
    assert len(read(written(numbers(2)))) == 2


def test_a_decoder_that_was_ended_while_it_waited_is_not_the_files_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    parquet_process._idle._close()
    assert len(read(written(numbers(2)))) == 2
    (waiting,) = parquet_process._idle._workers
    waiting._process.kill()
    waiting._process.wait()
    # Ended between the look at it and the file, as by a machine that runs out of memory.
    monkeypatch.setattr(parquet_process._Worker, "alive", property(lambda self: True))
    assert len(read(written(numbers(3)))) == 3


def test_a_decoder_that_cannot_start_is_not_the_files_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    parquet_process._idle._close()
    monkeypatch.setattr(parquet_process, "_PACKAGE_ROOT", tmp_path)
    monkeypatch.setitem(os.environ, "PYTHONPATH", "")
    with pytest.raises(RuntimeError, match="ended with exit code 1"):
        read(written(numbers(2)))


def test_reading_holds_a_small_part_of_the_file(tmp_path: Path) -> None:
    """In this process: the rows of one block. The decoder's own memory is bounded by its pages."""
    import tracemalloc

    file = tmp_path / "part.parquet"
    pa.parquet.write_table(numbers(400_000, 10), file, use_dictionary=False)
    assert file.stat().st_size > 15 << 20
    tracemalloc.start()
    try:
        assert sum(len(frame) for frame in row_groups(file)) == 400_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 12 << 20
