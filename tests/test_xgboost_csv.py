"""CSV into numbers: the fast readers mean what the exact one means, and every refusal says where."""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from xgboost_container.formats import csv, csv_exact, lines
from xgboost_container.formats.errors import FormatError

from tests.property_tests import examples

TRICKY = (
    "0", "-0", "-0.0", "+1", ".5", "1.", "007", "1e5", "1E+05", "1e-50", "-1e-50", "1e400", "-1e400", "1e-400", "3.4028235e38",
    "3.4028235677973366e38", "3.4028235677973362e38",
    "1e39", "1e307", "1e308", "-1e307", "9007199254740993", "18446744073709551615",
    "18446744073709551616", "-9223372036854775809", "1.00000017881393432617187499", "1.000000178813934326171875001", "0.1e1",
    "", " ", "nan", "NaN", "NA", "N/A", "null", "None", "?", "-nan", " nan ", "na", "inf", "-Infinity", "1_0", "1,5", "x",
    '"1.5"', '""', '"', "1 2", "[1]", "1]", "[", "{}", "true", "1\r", "\r", "\t1", "1 ", "0x1", "1e", "-", "nannan", "0.nan",
    "1\x00", "\x0b1", "٣", "1e308,1", "0.9999999999999999999nan",
)  # fmt: skip

numbers = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(repr),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(2**70), 2**70).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=12).map(str),
)
cells = st.one_of(numbers, st.sampled_from(TRICKY))


@st.composite
def tables(draw: st.DrawFn, cell: st.SearchStrategy[str] = cells) -> bytes:
    width = draw(st.integers(1, 4))
    rows = draw(st.lists(st.lists(cell, min_size=width, max_size=width), min_size=1, max_size=4))
    delimiter = draw(st.sampled_from([",", ",", ",", "\t", ";", "|", " "]))
    line_end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r", "\n\n"]))
    start = draw(st.sampled_from(["", "", "\ufeff", "\n", " ", "\r\n"]))
    end = draw(st.sampled_from(["", "\n", "\r\n", "\n\n", "\r\n \n", " "]))
    return (start + line_end.join(delimiter.join(row) for row in rows) + end).encode()


def outcome(
    text: bytes, width: int | None, delimiter: bytes | None, *, exact: bool
) -> tuple[tuple[int, ...], bytes] | str:
    try:
        if exact:
            values = csv_exact.parse(text, width=width, first_row=1, delimiter=delimiter or csv.sniff(text))
        else:
            values = csv.parse(text, width=width, delimiter=delimiter)
    except FormatError as error:
        return str(error)
    return values.shape, values.tobytes()


def parse(text: str, *, width: int | None = None, first_row: int = 1) -> NDArray[np.float32]:
    return csv.parse(text.encode(), width=width, first_row=first_row)


# --- one meaning ----------------------------------------------------------------------------------------


@given(tables(), st.sampled_from([None, 1, 2, 3, 4]), st.sampled_from([None, None, b",", b"\t", b";", b"|", b" "]))
@settings(max_examples=examples(3))
@example(b"1,2\n3,4,5,1e308,6", 2, None)
@example(b"1,1e307\n,2", 2, None)
@example(b"1,,1e307", 3, None)
@example(b"1,[2,3]", 3, None)
@example(b"1],[2", None, None)
@example(b"1,0.99999999999999999999nan", None, None)
@example(b"1,2\t3", None, b"\t")
def test_the_fast_readers_give_bit_for_bit_what_the_exact_one_gives(
    text: bytes, width: int | None, delimiter: bytes | None
) -> None:
    assert outcome(text, width, delimiter, exact=False) == outcome(text, width, delimiter, exact=True)


@given(st.text(alphabet='0123456789.,-+eE\n\r \t[]{}nNaA":;|x', max_size=40), st.sampled_from([None, 1, 2]))
@settings(max_examples=examples(3))
def test_that_holds_for_any_text_of_such_characters(text: str, width: int | None) -> None:
    assert outcome(text.encode(), width, None, exact=False) == outcome(text.encode(), width, None, exact=True)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    assert outcome(text, None, None, exact=False) == outcome(text, None, None, exact=True)


@given(numbers)
@settings(max_examples=examples(2))
def test_a_number_is_the_float64_that_python_reads_rounded_to_float32(text: str) -> None:
    with np.errstate(over="ignore"):
        expected = np.float32(float(text))
    if np.isinf(expected):
        with pytest.raises(FormatError, match="does not fit a 32-bit float"):
            parse(text)
        return
    values = parse(text)
    assert values.shape == (1, 1)
    assert values[0, 0] == expected
    assert not np.signbit(values[0, 0]) or values[0, 0] < 0, "zero has no sign"


@pytest.mark.parametrize(
    "cell",
    ["+1", ".5", "1.", "007", "1e5", "-2.5E-3", '"1.5"', " 1.5 ", "\t1.5", "1e-50", "123456789012345678901234567890"],
)
def test_every_spelling_of_a_number_is_read(cell: str) -> None:
    expected = np.float32(float(cell.strip(' \t"')))
    assert parse(f"{cell},2")[0].tolist() == [expected, 2]
    assert parse(f"1,2\n{cell},2")[1].tolist() == [expected, 2]


@pytest.mark.parametrize(
    "cell", ["", " ", "nan", "NaN", "NAN", "-nan", "NA", "N/A", "null", "NULL", "None", "?", '""', '"NA"', " nan"]
)
def test_a_missing_cell_is_nan_wherever_it_stands(cell: str) -> None:
    for row in (f"{cell},1,2", f"1,{cell},2", f"1,2,{cell}", f"{cell},{cell},1", f"1,{cell},{cell}"):
        expected = [math.nan if part == cell else float(part) for part in row.split(",")]
        for text in (row, f"{row}\n{row}", f"{row}\r\n{row}\r\n", f"1,2,3\n{row}\n1,2,3"):
            values = parse(text)
            row_of_it = values[1] if text.startswith("1,2,3\n") else values[0]
            np.testing.assert_array_equal(row_of_it, expected)


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|", " "])
def test_the_delimiter_is_found_in_the_first_line(delimiter: str) -> None:
    text = f"1.5{delimiter}-2\n3{delimiter}4\n"
    assert parse(text).tolist() == [[1.5, -2], [3, 4]]
    assert csv.parse(text.encode(), delimiter=delimiter.encode()).tolist() == [[1.5, -2], [3, 4]]
    assert csv.sniff(text.encode()) == delimiter.encode()


def test_a_tab_that_begins_or_ends_a_line_bounds_a_missing_cell() -> None:
    np.testing.assert_array_equal(parse("1\t2\t\n\t5\t6\n"), np.array([[1, 2, math.nan], [math.nan, 5, 6]]))


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\n\n", "\r\n \r\n"])
def test_line_ends_do_not_matter(line_end: str, ending: str) -> None:
    assert parse(f"1,2{line_end}3,4{ending}").tolist() == [[1, 2], [3, 4]]
    assert parse(f"1,2{ending}").tolist() == [[1, 2]]
    assert parse(f"\ufeff{line_end}1,2{ending}").tolist() == [[1, 2]]


@pytest.mark.parametrize("text", ["", "\n", " \r\n\n", "\ufeff"])
def test_text_without_a_row_has_no_rows(text: str) -> None:
    assert parse(text, width=3).shape == (0, 3)
    assert parse(text).shape == (0, 0)


def test_the_numbers_are_contiguous_and_can_be_written_to() -> None:
    for text in ("1,2", "1,2\n3,4", "1,\n3,4", '"1",2'):
        values = parse(text)
        assert values.dtype == np.float32
        assert values.flags.c_contiguous
        values[0, 0] = 7


def test_threads_read_at_the_same_time() -> None:
    texts = {str(number): "\n".join([f"{number},{number}"] * 500) for number in range(8)}
    wrong: list[str] = []

    def read(number: str) -> None:
        for _ in range(50):
            if not (parse(texts[number]) == float(number)).all():
                wrong.append(number)

    threads = [threading.Thread(target=read, args=(number,)) for number in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# --- the fast readers are used -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "1.5,2",
        "1.5,2\n",
        "1.5,2\n3,4",
        "1.5,2\r\n3,4\r\n",
        "1.5, 2\n3, 4",
        "1\t2\n3\t4\n",
        "1,\n,nan\nNaN,NA\n",
        ",,\n1,,\r\n,null,",
    ],
)
def test_what_programs_write_never_needs_the_exact_reader(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = outcome(text.encode(), None, None, exact=True)

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("the exact reader was asked")

    monkeypatch.setattr(csv_exact, "parse", fail)
    assert outcome(text.encode(), None, None, exact=False) == expected


@pytest.mark.parametrize("missing", ["", "nan"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_large_table_is_read_the_same_way(missing: str, share: float) -> None:
    chance = np.random.default_rng(5)
    values = chance.normal(size=(300, 40)).astype(np.float32)
    values[chance.random(values.shape) < share] = np.nan
    text = "\n".join(
        ",".join(missing if math.isnan(value) else repr(value) for value in row) for row in values.tolist()
    )
    np.testing.assert_array_equal(parse(text, width=40), values)
    np.testing.assert_array_equal(csv_exact.parse(text.encode(), width=40, first_row=1, delimiter=b","), values)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_long_text_is_read_as_a_short_one(line_end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"{row},{row / 8}" for row in range(500)]
    rows[123] = ",nan"
    whole = parse(line_end.join(rows))
    monkeypatch.setattr(csv, "_PIECE_BYTES", 100)
    np.testing.assert_array_equal(parse(line_end.join(rows)), whole)
    np.testing.assert_array_equal(parse(line_end.join(rows) + line_end * 2), whole)
    for broken, message in (("", "the line is empty"), ("1", "1 column,"), ("1,x", "column 2: 'x'")):
        for row in (7, 8, 9, 10, 11, 12, 13, 14, 499):
            with pytest.raises(FormatError, match=f"^row {row}[:,] {message}"):
                parse(line_end.join([*rows[: row - 1], broken, *rows[row:], "1,2"]))


# --- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n3,four\n", "row 2, column 2: 'four' is not a number"),
        ("1,2\n3,4 5\n", "row 2, column 2: '4 5' is not a number"),
        ("1,2\n3,inf\n", "row 2, column 2: 'inf' is not a number"),
        ("1,-Infinity", "row 1, column 2: '-Infinity' is not a number"),
        ("1,1_000", "row 1, column 2: '1_000' is not a number"),
        ("1,0x10", "row 1, column 2: '0x10' is not a number"),
        ("1,٣", "row 1, column 2: '٣' is not a number"),
        ("1,true", "row 1, column 2: 'true' is not a number"),
        ("1,[2]", "row 1, column 2: '[2]' is not a number"),
        ("1,2\r3,4", "row 1, column 2: '2\\r3' is not a number"),
        ("1,\x002", "row 1, column 2: '\\x002' is not a number"),
        ("1," + "x" * 10_000, f"row 1, column 2: '{'x' * 37}...' is not a number"),
        ("1,2\n1e400,3", "row 2, column 1: '1e400' does not fit a 32-bit float"),
        ("1,2\n3,-3.5e38", "row 2, column 2: '-3.5e38' does not fit a 32-bit float"),
        ("1,2\n3", "row 2: 1 column, expected 2"),
        ("1,2\n3,4,5", "row 2: 3 columns, expected 2"),
        ("1,2\n3,4,\n", "row 2: 3 columns, expected 2"),
        ("1,2\n\n3,4", "row 2: the line is empty, expected 2 columns"),
        ("1\n\n3", "row 2: the line is empty; write nan for a value that is missing"),
        ("1,2\n3,4,5,1e308,6", "row 2: 5 columns, expected 2"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_row_the_column_and_the_cell(text: str, message: str) -> None:
    with pytest.raises(FormatError) as refusal:
        parse(text)
    assert str(refusal.value) == message


def test_the_wanted_width_is_checked_from_the_first_row_on() -> None:
    with pytest.raises(FormatError, match=r"^row 1: 2 columns, expected 3$"):
        parse("1,2\n3,4", width=3)
    with pytest.raises(FormatError, match=r"^row 1: 1 column, expected 3$"):
        parse("1", width=3)


def test_rows_are_counted_from_the_first_row_of_the_block() -> None:
    with pytest.raises(FormatError, match=r"^row 102, column 1: 'x'"):
        parse("1,2\nx,4", first_row=101)


@pytest.mark.parametrize("header", ["CRIM,ZN", '"CRIM","ZN"', "label,x", "CRIM,"])
def test_a_header_is_refused_in_words_that_say_what_to_do(header: str) -> None:
    with pytest.raises(
        FormatError, match=r"^row 1, column 1: '\w+' is not a number, nor .* no header line, remove it$"
    ):
        parse(f"{header}\n1,2\n")


def test_a_word_in_a_later_block_is_no_header() -> None:
    with pytest.raises(FormatError, match=r"^row 9, column 1: 'a' is not a number$"):
        parse("a,b", first_row=9)


def test_utf_16_is_named() -> None:
    with pytest.raises(FormatError, match="UTF-16"):
        csv.parse("1,2".encode("utf-16"))


def test_ten_thousand_columns_too_many_give_one_short_line() -> None:
    for row in (",".join(["1.5"] * 10_100), ",".join(["1", *["x"] * 10_099]), "," * 10_099):
        with pytest.raises(FormatError) as refusal:
            parse(row, width=100)
        assert str(refusal.value).startswith("row 1: 101")
        assert len(str(refusal.value)) < 80


# --- blocks of lines -----------------------------------------------------------------------------------------


@given(
    st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), max_size=30).map(b"\n".join),
    st.integers(1, 40),
)
def test_blocks_end_at_line_ends_and_together_are_the_stream(text: bytes, chunk_bytes: int) -> None:
    blocks = list(lines.chunks(io.BytesIO(text), chunk_bytes=chunk_bytes))
    assert b"".join(blocks) == text
    assert all(block.endswith(b"\n") for block in blocks[:-1])
    assert all(blocks)


class Endless(io.RawIOBase):
    """A line without an end."""

    given = 0

    def read(self, size: int = -1) -> bytes:
        self.given += size
        return b"1" * size


def test_a_line_without_end_is_refused_before_it_is_in_memory() -> None:
    stream = Endless()
    with pytest.raises(FormatError, match=r"^row 1: the line is longer than 1000000 bytes"):
        for _ in lines.chunks(stream, chunk_bytes=1000, longest_line_bytes=1_000_000):  # type: ignore[arg-type]
            pass
    assert stream.given <= 1_002_000


def test_the_row_of_a_line_that_is_too_long_is_named() -> None:
    def of(text: bytes) -> Iterator[bytes]:
        return lines.chunks(io.BytesIO(text), chunk_bytes=8, longest_line_bytes=10)

    assert b"".join(of(b"1\n2\n" + b"3" * 10 + b"\n4")).count(b"3") == 10
    with pytest.raises(FormatError, match=r"^row 3: "):
        list(of(b"1\n2\n" + b"3" * 11 + b"\n4"))


def test_a_file_that_is_read_in_blocks_has_the_rows_that_it_has_in_one() -> None:
    text = "\n".join(f"{row},{row / 8}" for row in range(1000)).encode()
    row, tables_of_blocks = 1, []
    for block in lines.chunks(io.BytesIO(text), chunk_bytes=100):
        tables_of_blocks.append(csv.parse(block, width=2, first_row=row))
        row += len(tables_of_blocks[-1])
    np.testing.assert_array_equal(np.concatenate(tables_of_blocks), csv.parse(text))
