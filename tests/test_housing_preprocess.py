"""Preprocess: what it refuses, and what its split promises."""

from __future__ import annotations

import csv
import hashlib
import math
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xgboost_container.contract import Paths, UserError

from model_code.housing.model.columns import FEATURES, TARGET, TARGET_FIRST
from model_code.housing.model.preprocess import SHARES, Row, preprocess, read_rows, split
from model_code.housing.model.table import number
from tests.housing_runs import DATA, finished_run, program

PARTS = ("train", "validation", "test")


def given_data(base: Path, content: str | bytes, name: str = "housing.csv") -> Paths:
    folder = base / "processing" / "input" / "data"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return Paths(base)


def lines_of_the_data() -> list[str]:
    return DATA.read_text().splitlines()


def with_cell(row: int, column: str, text: str) -> str:
    """The data with one cell changed; rows count from 1 below the header."""
    lines = [line.split(",") for line in lines_of_the_data()]
    lines[row][lines[0].index(column)] = text
    return "\n".join(",".join(cells) for cells in lines)


def split_files(paths: Paths) -> dict[str, list[str]]:
    return {part: (paths.processing_output / part / f"{part}.csv").read_text().splitlines() for part in PARTS}


# --- the data -----------------------------------------------------------------------------------------


def test_the_committed_data_is_the_documented_file_without_the_column_that_encodes_race() -> None:
    rows = list(csv.reader(DATA.open()))
    assert len(rows) == 1 + 506
    assert "B" not in rows[0]
    assert set(rows[0]) == {TARGET, *FEATURES}
    digest = hashlib.sha256(DATA.read_bytes()).hexdigest()
    assert digest in (DATA.parent / "README.md").read_text(), "the data card names another file"


# --- the split ----------------------------------------------------------------------------------------


def test_every_row_lands_in_exactly_one_part_with_its_numbers_as_they_were_written() -> None:
    header, *rows = [line.split(",") for line in lines_of_the_data()]
    position = [header.index(column) for column in TARGET_FIRST]
    expected = sorted(",".join(row[i] for i in position) for row in rows)
    assert sorted(line for part in split_files(finished_run()).values() for line in part) == expected


def test_the_parts_have_about_the_shares_that_are_asked_for() -> None:
    parts = split_files(finished_run())
    for part, share in SHARES.items():
        # Four standard deviations of a binomial count: a right split never fails here.
        assert abs(len(parts[part]) - share * 506) < 4 * math.sqrt(506 * share * (1 - share))


def test_files_have_no_header_and_the_target_first() -> None:
    header, *rows = [line.split(",") for line in lines_of_the_data()]
    targets = {row[header.index(TARGET)] for row in rows}
    for part in split_files(finished_run()).values():
        assert all(line.split(",")[0] in targets and len(line.split(",")) == 13 for line in part)


def test_the_split_does_not_depend_on_the_order_of_rows_and_columns_or_on_the_number_of_files(tmp_path: Path) -> None:
    header, *rows = [line.split(",") for line in lines_of_the_data()]
    order = random.Random(1).sample(range(13), 13)
    random.Random(2).shuffle(rows)
    for name, chosen in {"a.csv": rows[:200], "b.csv": rows[200:]}.items():
        given_data(tmp_path, "\n".join(",".join(row[i] for i in order) for row in [header, *chosen]), name)
    preprocess(Paths(tmp_path))
    assert split_files(Paths(tmp_path)) == split_files(finished_run())


def test_no_row_changes_its_part_when_the_data_grows() -> None:
    rows = read_rows([DATA])
    of_few, of_all = split(rows[:400]), split(rows)
    for part in PARTS:
        assert set(of_few[part]) <= set(of_all[part])


def test_another_seed_is_another_split() -> None:
    rows = read_rows([DATA])
    assert split(rows, seed=0) == split(rows, seed=0)
    assert split(rows, seed=0)["test"] != split(rows, seed=1)["test"]


# A hash says which part a row falls into: of sixty rows that somebody draws, one draw in ten thousand misses a part, and
# is refused. These, which nobody draws, reach all three.
REACH_EVERY_PART = [2e6 + number for number in range(60)]


@given(st.lists(st.floats(-1e6, 1e6), max_size=60, unique=True))
def test_equal_rows_always_share_a_part(values: list[float]) -> None:
    rows = [Row((str(value),), (value,)) for value in [*values, *REACH_EVERY_PART]]
    parts = split(rows + rows)
    assert sum(len(chosen) for chosen in parts.values()) == 2 * len(rows)
    assert sum(len(set(chosen)) for chosen in parts.values()) == len(rows)


# --- what is refused ----------------------------------------------------------------------------------


def without(column: str) -> str:
    lines = [line.split(",") for line in lines_of_the_data()]
    index = lines[0].index(column)
    return "\n".join(",".join(cells[:index] + cells[index + 1 :]) for cells in lines)


def with_column(name: str) -> str:
    header, *rows = lines_of_the_data()
    return "\n".join([f"{header},{name}", *(f"{row},1" for row in rows)])


REFUSALS: dict[str, tuple[str | bytes, list[str]]] = {
    "missing column": (without("RM"), ["housing.csv", "row 0", "missing column RM"]),
    "missing target": (without("MEDV"), ["housing.csv", "missing column MEDV"]),
    "unknown column": (with_column("POOL"), ["housing.csv", "row 0", "unknown column POOL"]),
    "race": (with_column("B"), ["housing.csv", "column B is refused", "race"]),
    "doubled column": (with_column("RM"), ["housing.csv", "more than once: RM"]),
    "text": (with_cell(3, "RM", "six"), ["housing.csv", "row 3 (line 4)", "column RM", "'six' is not a number"]),
    "NaN": (with_cell(7, "AGE", "NaN"), ["row 7 (line 8)", "column AGE", "'NaN' is not a number"]),
    "NaN target": (with_cell(2, "MEDV", "nan"), ["housing.csv", "row 2 (line 3)", "column MEDV", "'nan'"]),
    "infinite": (with_cell(2, "MEDV", "inf"), ["column MEDV", "'inf' is not a number"]),
    "empty cell": (with_cell(506, "TAX", ""), ["row 506 (line 507)", "column TAX", "empty"]),
    "underscore": (with_cell(1, "TAX", "2_96"), ["row 1", "column TAX", "'2_96' is not a number"]),
    "too large": (with_cell(1, "TAX", "1e39"), ["row 1", "column TAX", "32-bit"]),
    "short row": (DATA.read_text() + "1,2,3\n", ["row 507 (line 508)", "3 values, expected 13"]),
    "no rows": (lines_of_the_data()[0] + "\n", ["housing.csv", "no rows"]),
    "empty file": ("", ["housing.csv", "empty"]),
    "semicolons": (DATA.read_text().replace(",", ";"), ["housing.csv", "missing column"]),
    "too few rows": ("\n".join(lines_of_the_data()[:3]), ["2 rows are too few"]),
    "not text": (DATA.read_bytes().replace(b"18,", b"\xff\xfe,", 1), ["housing.csv", "not UTF-8"]),
    "unclosed quote": (with_cell(4, "RM", '"6.5'), ["housing.csv", "not valid CSV"]),
}


@pytest.mark.parametrize(("content", "expected"), REFUSALS.values(), ids=REFUSALS.keys())
def test_it_refuses(tmp_path: Path, content: str | bytes, expected: list[str]) -> None:
    paths = given_data(tmp_path, content)
    with pytest.raises(UserError) as refusal:
        preprocess(paths)
    for part in expected:
        assert part in str(refusal.value)
    assert not list(paths.processing_output.rglob("*")), "something was written"


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    paths = given_data(tmp_path, b"\xef\xbb\xbf" + DATA.read_bytes().replace(b"\n", b"\r\n"))
    preprocess(paths)
    assert split_files(paths) == split_files(finished_run())


def test_the_program_tells_sagemaker_why_it_failed(tmp_path: Path) -> None:
    paths = given_data(tmp_path, with_cell(3, "RM", "six"))
    done = program("preprocess", tmp_path)
    assert done.returncode == 1
    message = paths.processing_message.read_text()
    assert message == "UserError: housing.csv: row 3 (line 4), column RM: 'six' is not a number\n"
    assert "Traceback" not in done.stderr


def test_no_data_at_all_is_refused_with_the_folder(tmp_path: Path) -> None:
    done = program("preprocess", tmp_path)
    assert done.returncode == 1
    assert str(tmp_path / "processing/input/data") in Paths(tmp_path).processing_message.read_text()


def test_a_second_run_forgets_the_reason_of_the_first(tmp_path: Path) -> None:
    given_data(tmp_path, "nothing")
    assert program("preprocess", tmp_path).returncode == 1
    paths = given_data(tmp_path, DATA.read_bytes())
    assert program("preprocess", tmp_path).returncode == 0
    assert not paths.processing_message.exists()


# --- numbers ------------------------------------------------------------------------------------------


@given(st.floats(-3e38, 3e38))
def test_every_finite_number_that_python_writes_is_read_back_exactly(value: float) -> None:
    assert number(repr(value)) == value
    assert number(f" {value!r} ") == value


@given(st.text(max_size=12))
def test_what_is_read_as_a_number_is_one(text: str) -> None:
    try:
        value = number(text)
    except ValueError:
        return
    assert math.isfinite(value)
    assert value == float(text)
    assert text.strip().isascii()
