"""RecordIO with SageMaker's records: read as the protobuf package writes them, written so that it reads them."""

from __future__ import annotations

import io
import itertools
import random
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xgboost_container.formats import recordio
from xgboost_container.formats.dense import Dense
from xgboost_container.formats.errors import FormatError
from xgboost_container.formats.frames import MAGIC, blocks, split
from xgboost_container.formats.recordio import encode, frames, parse, row_blocks
from xgboost_container.formats.sparse import Sparse

from tests.property_tests import examples
from tests.xgboost_records import Packed, Unpacked, frame, framed, message

floats = st.floats(width=32, allow_nan=True, allow_infinity=False)


def one_by_one(content: bytes) -> Dense | Sparse:
    return recordio._one_by_one(split(content), 1)


def assert_same(left: Dense | Sparse, right: Dense | Sparse) -> None:
    assert type(left) is type(right)
    assert left.width == right.width
    np.testing.assert_array_equal(left.dense(left.width), right.dense(right.width))
    assert (left.labels is None) == (right.labels is None)
    if left.labels is not None:
        np.testing.assert_array_equal(left.labels, right.labels)


@st.composite
def dense(draw: st.DrawFn) -> tuple[bytes, np.ndarray[Any, Any], list[float] | None]:
    width, count = draw(st.integers(1, 5)), draw(st.integers(1, 20))
    rows = [draw(st.lists(floats, min_size=width, max_size=width)) for _ in range(count)]
    labels = draw(st.none() | st.lists(st.floats(-9, 9, width=32), min_size=count, max_size=count))
    shape = draw(st.sampled_from([(), (width,)]))
    every = draw(st.sampled_from([0, 1, 3]))  # which rows have an identifier
    tensor = draw(st.sampled_from(["float32_tensor", "float64_tensor"]))
    record = draw(st.sampled_from([Packed, Packed, Unpacked]))
    content = framed(
        *(
            message(
                row,
                shape=shape,
                label=labels and labels[i],
                uid=str(i) if every and i % every == 0 else None,
                tensor=tensor,
                record=record,
            )
            for i, row in enumerate(rows)
        )
    )
    return content, np.array(rows, np.float32), labels


@given(dense())
def test_dense_rows_come_back_as_they_were_written(
    written: tuple[bytes, np.ndarray[Any, Any], list[float] | None],
) -> None:
    content, rows, labels = written
    for block in (parse(content), parse(memoryview(content)), one_by_one(content)):
        assert isinstance(block, Dense)
        assert block.values.dtype == np.float32
        assert block.values.flags.c_contiguous
        np.testing.assert_array_equal(block.values, rows)
        assert (block.labels is None) == (labels is None)
        if labels is not None:
            np.testing.assert_array_equal(block.labels, np.array(labels, np.float32))


@given(
    st.lists(st.dictionaries(st.integers(0, 300), floats, max_size=5), min_size=1, max_size=20).filter(any),
    st.sampled_from([Packed, Unpacked]),
    st.sampled_from([(), (301,), (1, 301)]),
    st.booleans(),
)
def test_sparse_rows_come_back_with_what_they_name(
    rows: list[dict[int, float]], record: Callable[[], Any], shape: tuple[int, ...], labelled: bool
) -> None:
    content = framed(
        *(
            message(
                row.values(), keys=row.keys(), shape=shape, record=record, label=(i if labelled else None), uid="x" * i
            )
            for i, row in enumerate(rows)
        )
    )
    expected = np.full((len(rows), 301), np.nan, np.float32)
    for i, row in enumerate(rows):
        for key, value in row.items():
            expected[i, key] = value
    for block in (parse(content), one_by_one(content)):
        assert isinstance(block, Sparse)
        assert block.width == (301 if shape else max(key for row in rows for key in row) + 1)
        np.testing.assert_array_equal(block.dense(301), expected)
        assert (block.labels is not None) == labelled


@given(st.lists(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=3, max_size=3), min_size=1, max_size=12))
def test_whole_numbers_become_floats(rows: list[list[int]]) -> None:
    content = framed(*(message(row, tensor="int32_tensor", label=1) for row in rows))
    for block in (parse(content), one_by_one(content)):
        np.testing.assert_array_equal(block.dense(3), np.array(rows, np.float32))


def test_many_rows_are_read_in_step() -> None:
    """The quick way, for what writers write: it must not be lost unnoticed."""
    from xgboost_container.formats import record_columns

    ordinary = [
        [message([i, 2], label=i) for i in range(50)],
        [message([i, 2], label=i, uid=str(i)) for i in range(50)],
        [message([i], keys=[i * 7], shape=[1000], label=i) for i in range(50)],
        [message([1.0] * (i % 3), keys=range(i % 3), shape=[1000]) for i in range(50)],
        [message([i, -i], tensor="int32_tensor") for i in range(50)],
    ]
    for messages in ordinary:
        content = framed(*messages)
        rows = record_columns.read(split(content))
        assert rows is not None
        assert_same(rows, one_by_one(content))


def several(last: bytes, first: bytes | None = None) -> bytes:
    """As many good rows as take the quick way, then another."""
    return framed(*[first if first is not None else message([1, 2], label=1)] * 19, last)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (several(message([1, 2, 3], label=1)), "record 20: has 3 values, the first has 2"),
        (several(message([], label=1)), "record 20: has 0 values, the first has 2"),
        (several(message([1, 2])), "record 20: has no label, and the first has one"),
        (several(message([1, 2], label=1), message([1, 2])), "record 20: has a label, and the first has none"),
        (several(message([1, float("inf")], label=1)), "record 20: value 2 is not finite in 32 bits"),
        (several(message([1, 1e39], label=1, tensor="float64_tensor")), "record 20: value 2 is not finite in 32 bits"),
        (several(message([1, 2], label=1, shape=[3])), "record 20: has 2 values, and its shape says 3"),
        (several(message([1, 2], label=1, shape=[2, 1])), "record 20: has the shape [2, 1], must be one row"),
        (several(message([1, 2], label=1, shape=[0])), "record 20: has the shape [0], must be one row"),
        (several(message([1, 2], label=1, name="age")), "record 20: has a feature 'age'; put all numbers into"),
        (several(Packed().SerializeToString()), "record 20: has no feature 'values'"),
        (several(message([1, 2], keys=[0, 1], label=1)), "is dense, and others are sparse"),
        (several(message([1, 2], keys=[1], label=1)), "record 20: has 2 values and 1 keys, must have as many"),
        (several(message([1, 2], keys=[1, 1], label=1)), "record 20: gives feature 1 a second value"),
        (several(message([1], keys=[9], shape=[9], label=1)), "record 20: names feature 9, must be below 9"),
        (several(message([1], keys=[2**31], label=1)), "record 20: names feature 2147483648, must be below 2147483648"),
        (
            several(message([1], keys=[0], shape=[9]), message([1], keys=[0], shape=[8])),
            "record 20: has the width 9, the first has 8",
        ),
        (several(b"{}"), "record 20: is not SageMaker's Record message"),
        (several(b"\x0b\x0c"), "record 20: is not SageMaker's Record message: wire type 3"),
        (several(message([1, 2], label=1)[:-3]), "record 20: is not SageMaker's Record message"),
    ],
)
def test_what_is_wrong_is_named_with_its_record(content: bytes, says: str) -> None:
    with pytest.raises(FormatError) as refused:
        parse(content)
    assert says in str(refused.value)
    assert len(str(refused.value)) < 200
    with pytest.raises(FormatError, match=r"^record 1"):
        parse(content, first_row=101)


def test_bytes_and_several_labels_are_refused_by_name() -> None:
    picture = Packed()
    picture.features["values"].bytes.value.append(b"png")
    with pytest.raises(FormatError, match=r"^record 1: holds bytes, must hold a tensor of numbers"):
        parse(framed(picture.SerializeToString()))
    several_labels = Packed()
    several_labels.features["values"].float32_tensor.values.append(1)
    several_labels.label["values"].float32_tensor.values.extend([1, 2])
    with pytest.raises(FormatError, match=r"^record 1: has 2 labels, must have one"):
        parse(framed(several_labels.SerializeToString()))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (framed(message([1])) + frame(message([1]))[:-5], "record 2: is cut, only"),
        (framed(message([1])) + b"\x0a\x23", "record 2: is cut, only 2 bytes"),
        (framed(message([1])) + b"1,2,3,4\n", "record 2: begins with 0x2c322c31, RecordIO with 0xced7230a"),
        (frame(message([1]), part=2), "record 1: is part 2 of a record where another part must be"),
        (frame(message([1]), part=5), "record 1: is part 5"),
        (frame(b"\x0a", part=1), "record 1: is cut"),
    ],
)
def test_a_stream_that_is_no_recordio_or_is_cut_is_refused(content: bytes, says: str) -> None:
    for read in (parse, lambda content: list(frames(io.BytesIO(content)))):
        with pytest.raises(FormatError) as refused:
            read(content)
        assert says in str(refused.value)


def test_no_record_is_no_row() -> None:
    assert len(parse(b"")) == 0
    assert list(frames(io.BytesIO(b""))) == []
    assert list(row_blocks(io.BytesIO(b""))) == []


def test_a_record_that_its_writer_cut_at_the_magic_number_is_whole_again() -> None:
    number = struct.unpack("<f", struct.pack("<I", MAGIC))[0]
    whole = message([1.5, number, 2.5], label=1)
    before, after = whole.split(struct.pack("<I", MAGIC))
    content = framed(message([1, 2, 3], label=0)) + frame(before, part=1) + frame(after, part=3)
    content += framed(message([4, 5, 6], label=1))
    block = parse(content)
    np.testing.assert_array_equal(block.dense(3), np.array([[1, 2, 3], [1.5, number, 2.5], [4, 5, 6]], np.float32))
    assert list(frames(io.BytesIO(content), block_bytes=7))[1] == whole


class Trickle(io.RawIOBase):
    """A pipe: gives a few bytes at a time."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)
        self._sizes = itertools.cycle([1, 3, 50, 7])

    def read(self, size: int = -1) -> bytes:
        return self._content.read(min(size, next(self._sizes)) if size > 0 else size)


def test_a_pipe_is_read_in_blocks_of_whole_records() -> None:
    messages = [message([i, 2 * i], label=i % 2, uid="u" * (i % 30)) for i in range(200)]
    content = framed(*messages)
    assert list(frames(Trickle(content), block_bytes=100)) == messages  # type: ignore[arg-type]
    read = list(row_blocks(Trickle(content), block_bytes=1000))  # type: ignore[arg-type]
    assert len(read) > 5
    np.testing.assert_array_equal(np.concatenate([block.dense(2) for block in read])[:, 0], np.arange(200))
    assert max(len(records.data) for records in blocks(io.BytesIO(content), block_bytes=1000)) < 1200
    with pytest.raises(FormatError, match=r"^record 200: is cut"):
        list(row_blocks(Trickle(content[:-4]), block_bytes=1000))  # type: ignore[arg-type]


@pytest.mark.parametrize("scores", [np.array([0.25, -1, np.nan]), np.arange(6, dtype=np.float32).reshape(3, 2)])
def test_predictions_are_a_score_in_the_label_of_each_record(scores: np.ndarray[Any, Any]) -> None:
    content = encode(scores)
    answered = []
    for payload in frames(io.BytesIO(content)):
        record = Packed()
        record.ParseFromString(payload)
        assert list(record.label) == ["score"]
        assert not record.features
        answered.append(list(record.label["score"].float32_tensor.values))
    np.testing.assert_array_equal(np.array(answered), scores.astype(np.float32).reshape(3, -1))
    assert encode(scores[:0]) == b""


def test_selected_output_is_a_label_for_each_name() -> None:
    content = encode({"predicted_label": np.array([1, 0]), "probabilities": np.array([[0.25, 0.75], [0.5, 0.5]])})
    records = [Packed() for _ in range(2)]
    for record, payload in zip(records, frames(io.BytesIO(content)), strict=True):
        record.ParseFromString(payload)
    assert {name: list(value.float32_tensor.values) for name, value in records[0].label.items()} == {
        "predicted_label": [1],
        "probabilities": [0.25, 0.75],
    }


@pytest.mark.long
def test_broken_bytes_raise_nothing_else_and_what_is_read_is_what_protobuf_reads() -> None:
    generator = random.Random(7)
    bases = [
        [message([i, 2.5], label=i, uid="ab") for i in range(12)],
        [message([i, 3], keys=[i, 300], shape=[400], label=1) for i in range(12)],
        [message([i, -3], tensor="int32_tensor", record=Unpacked) for i in range(12)],
    ]
    read = 0
    for _ in range(examples(15)):
        messages = list(generator.choice(bases))
        broken = bytearray(messages[generator.randrange(len(messages))])
        for _ in range(generator.randint(1, 2)):
            broken[generator.randrange(len(broken))] = generator.randrange(256)
        messages[5] = bytes(broken)
        content = framed(*messages)
        try:
            block = parse(content)
        except FormatError:
            continue
        read += 1
        assert_same(block, one_by_one(content))
        reference = Packed()
        reference.ParseFromString(bytes(broken))
        value = reference.features["values"]
        tensor = getattr(value, value.WhichOneof("value"))
        expected = np.full((1, block.width), np.nan, np.float32)
        expected[0, list(tensor.keys) or slice(None)] = tensor.values
        np.testing.assert_array_equal(block.dense(block.width)[5:6], expected)
    assert read > examples(0.75)


@pytest.mark.long
@given(st.binary(max_size=80))
def test_no_bytes_raise_anything_else(content: bytes) -> None:
    for attempt in (content, frame(content), several(content)):
        said = set()
        for read in (parse, lambda attempt: list(row_blocks(io.BytesIO(attempt), block_bytes=1 << 16))):
            message = ""
            try:
                read(attempt)
            except FormatError as refused:
                message = str(refused)
            said.add(message)
            assert message.startswith("record ") or not message
        assert len(said) == 1
