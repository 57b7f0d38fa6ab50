"""LibSVM text to sparse rows, and what sparse rows can do."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xgboost_container.formats import libsvm_exact, libsvm_fast
from xgboost_container.formats.errors import FormatError
from xgboost_container.formats.libsvm import parse
from xgboost_container.formats.sparse import Sparse, concatenate, empty
from xgboost_container.without_scipy import csr_matrix  # noqa: F401  (before xgboost)

from tests.property_tests import examples

import xgboost  # isort: skip

numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)


def same(left: Sparse, right: Sparse) -> bool:
    """The same numbers in the same types, NaN included."""
    for name in ("indptr", "indices", "values", "labels", "weights", "qids"):
        one, other = getattr(left, name), getattr(right, name)
        if (one is None) != (other is None):
            return False
        if one is not None and (one.dtype != other.dtype or not np.array_equal(one, other, equal_nan=True)):
            return False
    return left.width == right.width


def outcome(read: Callable[[], Sparse]) -> Sparse | str:
    """The rows, or what is said of the text. Any other error ends the test."""
    try:
        return read()
    except FormatError as wrong:
        return str(wrong)


def exact(text: bytes, needs_label: bool = True) -> Sparse:
    return libsvm_exact.parse(text, 1, needs_label)


def assert_same(left: Sparse | str, right: Sparse | str) -> None:
    if isinstance(left, str) or isinstance(right, str):
        assert left == right
    else:
        assert same(left, right) or len(left) == len(right) == 0


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """Rows as many writers write them: weights, groups, spaces, comments, indices in any order."""
    weighted, grouped = draw(st.booleans()), draw(st.booleans())
    gap = st.sampled_from([" ", "  ", "\t"])
    write = st.sampled_from([repr, "{:.6g}".format, "{:+}".format, "{:e}".format])
    lines = []
    for _ in range(draw(st.integers(0, 6))):
        label = draw(write)(draw(numbers))
        tokens = [f"{label}:{draw(st.floats(0, 10, width=32))}" if weighted else label]
        if grouped:
            tokens.append(f"qid:{draw(st.integers(0, 2**32 - 1))}")
        for index in draw(st.lists(st.integers(0, 2**31 - 1) | st.integers(0, 9), max_size=6, unique=True)):
            tokens.append(f"{index}:{draw(write)(draw(numbers))}")
        end = draw(st.sampled_from(["", " ", "\t", " # a comment 3:4", "\r"]))
        lines.append(draw(gap).join(tokens) + end)
        lines += draw(st.sampled_from([[], [""], ["  "], ["# only a comment"]]))
    return "\n".join(lines).encode()


def test_a_row_is_a_label_and_what_it_names() -> None:
    block = parse(b"1 0:0.5 3:-2\n0 1:1e3\n")
    assert block.labels is not None
    assert block.labels.tolist() == [1, 0]
    assert block.width == 4
    assert block.weights is None
    assert block.qids is None
    expected = np.full((2, 5), np.nan, np.float32)
    expected[0, [0, 3]] = 0.5, -2
    expected[1, 1] = 1000
    np.testing.assert_array_equal(block.dense(5), expected)


@given(texts(), st.booleans())
def test_the_fast_reader_gives_what_the_exact_one_gives(text: bytes, needs_label: bool) -> None:
    assert_same(outcome(lambda: parse(text, needs_label=needs_label)), outcome(lambda: exact(text, needs_label)))


@pytest.mark.parametrize(
    "text",
    [
        b"1 0:1 2:3\n0 1:2\n",
        b"+1 0:1 2:+3.5\n-1 1:2e+3 \n",
        b"1:0.5 qid:3 0:1\r\n0:2 qid:4 1:-2\r\n",
        b"1\t0:.5\t1:5.\n\n# comment\n0 1:nan",
        b"1 2:3 0:1\n0\n",
    ],
)
def test_ordinary_texts_take_the_fast_way(text: bytes) -> None:
    quick = libsvm_fast.parse(text, True)
    assert quick is not None
    assert same(quick, libsvm_exact.parse(text, 1, True))


def write(path: Path, seed: int, *, weighted: bool, grouped: bool) -> bytes:
    generator = np.random.default_rng(seed)
    lines = []
    for row in range(60):
        columns = np.sort(generator.choice(20, generator.integers(1, 12), replace=False))
        head = f"{generator.integers(0, 2)}" + (f":{generator.uniform(0.5, 2):.3f}" if weighted else "")
        head += f" qid:{row // 7}" if grouped else ""
        lines.append(" ".join([head, *(f"{column}:{generator.normal():.5f}" for column in columns)]))
    text = ("\n".join(lines) + "\n").encode()
    path.write_bytes(text)
    return text


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
def test_training_sees_what_xgboosts_own_loader_sees(tmp_path: Path, weighted: bool, grouped: bool) -> None:
    text = write(tmp_path / "train.libsvm", 3, weighted=weighted, grouped=grouped)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the loader is deprecated; a second opinion it still is
        theirs = xgboost.DMatrix(f"{tmp_path / 'train.libsvm'}?format=libsvm", silent=True)
    block = parse(text)
    ours = xgboost.DMatrix(block.csr(block.width), label=block.labels, weight=block.weights, qid=block.qids)
    assert (ours.num_row(), ours.num_col()) == (theirs.num_row(), theirs.num_col())
    np.testing.assert_array_equal(ours.get_label(), theirs.get_label())
    np.testing.assert_allclose(ours.get_weight(), theirs.get_weight(), rtol=1e-6)
    np.testing.assert_array_equal(ours.get_uint_info("group_ptr"), theirs.get_uint_info("group_ptr"))
    if grouped and weighted:
        return  # XGBoost wants a weight for each group there, and the loader gives one for each row
    parameters = {"objective": "rank:pairwise" if grouped else "binary:logistic", "max_depth": 3, "nthread": 1}
    booster = xgboost.train(parameters, ours, 5)
    reference = xgboost.train(parameters, theirs, 5)
    np.testing.assert_allclose(booster.predict(theirs), reference.predict(theirs), atol=1e-5)
    np.testing.assert_array_equal(booster.inplace_predict(block.dense(block.width)), booster.predict(ours))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"1 0:1\nabc 0:1\n", "row 2, token 1: 'abc': the label must be a number"),
        (b"1 0:1\n0 0:1 7:abc\n", "row 2, token 3: '7:abc': the value must be a number"),
        (b"1 5\n", "row 1, token 2: '5': is not index:value"),
        (b"1 5:\n", "row 1, token 2: '5:': the value is missing"),
        (b"1 :5\n", "row 1, token 2: ':5': the index must be a whole number from 0"),
        (b"1 -1:5\n", "row 1, token 2: '-1:5': the index must be a whole number from 0"),
        (b"1 1.0:5\n", "row 1, token 2: '1.0:5': the index must be a whole number from 0"),
        (b"1 1e2:5\n", "row 1, token 2: '1e2:5': the index must be a whole number from 0"),
        (b"1 2147483648:5\n", "row 1, token 2: '2147483648:5': the index must be at most 2147483647"),
        (b"1 " + b"9" * 9999 + b":5\n", "the index must be at most 2147483647"),
        (b"1 3:1 3:2\n", "row 1, token 3: '3:2': gives feature 3 a second value"),
        (b"1 0:1 1:2:3\n", "row 1, token 3: '1:2:3': the value must be a number"),
        (b"1 0:inf\n", "row 1, token 2: '0:inf': the value must be finite"),
        (b"1 0:1e39\n", "row 1, token 2: '0:1e39': the value must be finite, at most 3.4028235e+38"),
        (b"1e400 0:1\n", "row 1, token 1: '1e400': the label must be finite"),
        (b"1 0:1_000\n", "row 1, token 2: '0:1_000': the value must be a number"),
        (b"1 0:+-1\n", "row 1, token 2: '0:+-1': the value must be a number"),
        (b"1 0:[1]\n", "row 1, token 2: '0:[1]': the value must be a number"),
        (b"1 0 :1\n", "row 1, token 2: '0': is not index:value"),
        (b"1:0.5 0:1\n0 0:1\n", "row 2: has no weight, the rows before have a weight; give one to each row or to none"),
        (b"1:-1 0:1\n", "row 1, token 1: '1:-1': the weight must be a number of at least 0"),
        (b"1 0:1\n1 qid:1 0:1\n", "row 2: has a qid, the rows before have no qid"),
        (b"1 0:1 qid:3\n", "row 1, token 3: 'qid:3': must come once, right after the label"),
        (b"1 qid:3 qid:3 0:1\n", "row 1, token 3: 'qid:3': must come once, right after the label"),
        (b"1 qid:x 0:1\n", "row 1, token 2: 'qid:x': qid must be a whole number from 0 to 4294967295"),
        (b"1 qid:4294967296 0:1\n", "qid must be a whole number from 0 to 4294967295"),
        (b"qid:3 0:1\n", "row 1, token 1: 'qid:3': must come after the label"),
        (b"1 0:1\n\xff\xfe 0:1\n", r"row 2, token 1: '\\xff\\xfe': the label must be a number"),
    ],
)
def test_what_is_wrong_is_named_with_its_row_and_token(text: bytes, says: str) -> None:
    with pytest.raises(FormatError) as refused:
        parse(text)
    assert says in str(refused.value)
    assert len(str(refused.value)) < 200


def test_rows_are_counted_without_blank_lines_and_from_the_number_of_the_first() -> None:
    with pytest.raises(FormatError, match=r"^row 12, token 2"):
        parse(b"\n# rows of the second block\n1 0:1\n\n0 x:1\n", first_row=11)


def test_a_fault_behind_many_rows_is_found_in_its_row() -> None:
    text = b"1 0:1 5:2.5\n" * 60_000 + b"1 0:x\n"
    with pytest.raises(FormatError, match=r"^row 60001, token 2: '0:x'"):
        parse(text)


def test_blocks_of_one_text_must_agree_on_weights() -> None:
    text = b"1 0:1 5:2.5\n" * 60_000 + b"1:2 0:1\n"
    with pytest.raises(FormatError, match=r"^row 60001: has a weight, the rows before have no weight"):
        parse(text)


def test_a_server_takes_rows_with_and_without_a_label() -> None:
    assert parse(b"0:1 3:2\n", needs_label=False).labels is None
    labelled = parse(b"7 0:1 3:2\n", needs_label=False)
    assert labelled.labels is not None
    assert labelled.labels.tolist() == [7]
    mixed = parse(b"7 0:1\n1:5\n", needs_label=False)
    assert mixed.labels is None
    assert mixed.indptr.tolist() == [0, 1, 2]
    assert mixed.indices.tolist() == [0, 1]


def test_rows_may_name_nothing_and_texts_may_hold_no_row() -> None:
    assert parse(b"1\n0\n").dense(2).shape == (2, 2)
    assert np.isnan(parse(b"1\n0\n").dense(2)).all()
    for nothing in (b"", b"\n\n", b"# nothing\n", b"\xef\xbb\xbf"):
        assert len(parse(nothing)) == 0
    assert parse(b"\xef\xbb\xbf1 0:1").width == 1


def test_indices_in_any_order_come_back_rising() -> None:
    block = parse(b"1 5:5 0:0 3:3\n0 2:2 1:1\n")
    assert block.indices.tolist() == [0, 3, 5, 1, 2]
    assert block.values.tolist() == [0, 3, 5, 1, 2]


def test_a_feature_that_the_model_lacks_is_named() -> None:
    block = parse(b"1 0:1\n0\n0 1:1 4:2\n")
    for widen in (block.dense, block.csr):
        with pytest.raises(FormatError, match=r"^row 3: names feature 4, but there are 3, numbered from 0 to 2"):
            widen(3)
        with pytest.raises(FormatError, match=r"^row 12: names feature 4"):
            widen(3, first_row=10)
    assert block.csr(9).shape == (3, 9)


@given(texts(), st.data())
def test_chosen_rows_are_the_rows_of_the_matrix(text: bytes, data: st.DataObject) -> None:
    try:
        block = parse(text)
    except FormatError:
        return
    if block.width > 10 or not len(block):
        return
    matrix = block.dense(10)
    numbers = np.array(data.draw(st.lists(st.integers(0, len(block) - 1))), np.int64)
    np.testing.assert_array_equal(block.rows(numbers).dense(10), matrix[numbers])
    np.testing.assert_array_equal(block.rows(slice(1, None)).dense(10), matrix[1:])
    mask = matrix[:, 0] > 0
    np.testing.assert_array_equal(block.rows(mask).dense(10), matrix[mask])
    assert same(concatenate([block.rows(slice(0, 1)), empty(), block.rows(slice(1, None))]), block)


def test_blocks_join_to_the_widest() -> None:
    joined = concatenate([parse(b"1 0:1\n"), parse(b""), parse(b"0 7:1\n")])
    assert joined.width == 8
    assert joined.labels is not None
    assert joined.labels.tolist() == [1, 0]
    with pytest.raises(FormatError, match=r"^row 2: has a weight"):
        concatenate([parse(b"1 0:1\n"), parse(b"0:1 7:1\n")])


@given(st.binary(max_size=60) | st.text("01:.-+e \n\tqidnaf#_", max_size=60).map(str.encode), st.booleans())
@settings(max_examples=examples(2))
def test_no_bytes_raise_anything_else(content: bytes, needs_label: bool) -> None:
    if not content.startswith(b"\xef\xbb\xbf"):
        assert_same(
            outcome(lambda: parse(content, needs_label=needs_label)), outcome(lambda: exact(content, needs_label))
        )


def test_mutated_texts_are_read_alike_or_refused_alike() -> None:
    generator = random.Random(5)
    base = b"1:0.5 qid:3 0:1.25 17:-2e-3\n0:2 qid:3 1:+5 # x\n" * 3
    for _ in range(3000):
        text = bytearray(base)
        for _ in range(generator.randint(1, 3)):
            text[generator.randrange(len(text))] = generator.choice(b"0123456789:.-+e \n#qidnan\x00\xff")
        mutated = bytes(text)
        assert_same(outcome(lambda mutated=mutated: parse(mutated)), outcome(lambda mutated=mutated: exact(mutated)))  # type: ignore[misc]
