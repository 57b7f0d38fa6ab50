"""Golden records: what evaluation writes, what the gate reads, and when an answer counts as the recorded one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xgboost_container.contract import Paths
from xgboost_container.evaluation.golden import as_csv, chosen
from xgboost_container.prediction.ensemble import combined

from functions.deployment_gate import golden_records
from functions.deployment_gate.answers import Tolerance, is_same, numbers, shown
from functions.deployment_gate.golden_records import FORMAT, GoldenRecords, InvalidRecords, parse
from tests.test_xgboost_evaluate import boosters, files, give, pack, report, rows
from tests.xgboost_tables import as_csv as table_as_csv

RECORD = {"content_type": "text/csv", "accept": "text/csv", "body": "1,2", "answer": "0.5"}


def file(*records: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"format": FORMAT, "records": list(records) or [RECORD], **more}).encode()


# --- What evaluation writes


def evaluated(base: Path, objective: str, count: int = 120, folds: int = 1) -> tuple[GoldenRecords, bytes]:
    """The golden records of a model, and their file."""
    pack(base, files(boosters(objective, folds)))
    give(base, table_as_csv(rows(objective, count, 9)))
    report(base)
    content = (Paths(base).processing_output / "evaluation" / "golden-records.json").read_bytes()
    return parse(content, "golden-records.json"), content


@pytest.mark.parametrize(
    ("objective", "folds"),
    [("reg:squarederror", 1), ("binary:logistic", 3), ("multi:softprob", 1), ("multi:softmax", 1)],
)
def test_each_record_is_a_held_out_row_with_the_answer_of_the_version(
    tmp_path: Path, objective: str, folds: int
) -> None:
    golden, _ = evaluated(tmp_path, objective, folds=folds)

    assert len(golden.records) == 20
    test = rows(objective, 120, 9)[:, 1:]
    models = boosters(objective, folds)
    import xgboost

    for record in golden.records:
        sent = np.array([float(cell) if cell else np.nan for cell in record.body.decode().split(",")], np.float32)
        assert any(np.array_equal(sent, row, equal_nan=True) for row in test), "it is a held-out row"
        matrix = xgboost.DMatrix(sent[None, :], feature_names=["x0", "x1", "x2", "x3"])
        expected = combined([model.predict(matrix) for model in models], objective)
        assert list(numbers(record.answer)) == pytest.approx(expected.reshape(-1).tolist(), rel=1e-6)
        assert (record.content_type, record.accept) == ("text/csv", "text/csv")


def test_the_same_run_writes_the_same_bytes(tmp_path: Path) -> None:
    assert evaluated(tmp_path / "a", "reg:squarederror")[1] == evaluated(tmp_path / "b", "reg:squarederror")[1]


def test_a_small_test_set_is_taken_whole(tmp_path: Path) -> None:
    assert len(evaluated(tmp_path, "reg:squarederror", count=7)[0].records) == 7


def test_the_records_reach_from_the_lowest_answer_to_the_highest() -> None:
    answers = np.random.default_rng(0).normal(size=1000)
    places = chosen(answers, most=20)
    assert len(places) == len(set(places.tolist())) == 20
    assert list(places) == sorted(places)
    assert {int(answers.argmin()), int(answers.argmax())} <= set(places.tolist())
    middle = answers[places]
    assert np.histogram(np.argsort(np.argsort(answers))[places], bins=4)[0].tolist() == [5, 5, 5, 5], middle


def test_each_class_is_met() -> None:
    answers = np.zeros((300, 3))
    answers[np.arange(300), np.repeat([0, 1, 2], [200, 80, 20])] = 0.9
    assert set(answers[chosen(answers)].argmax(axis=1)) == {0, 1, 2}


def test_a_row_is_written_as_a_client_writes_it() -> None:
    assert as_csv(np.array([0.1, np.nan, -3.0, 1e-7, 16777217], np.float32)) == "0.1,,-3.0,1e-07,1.6777216e+07"


# --- What the gate reads


def test_a_file_with_everything_is_read() -> None:
    golden = parse(
        file(
            RECORD,
            {"content_type": "a/b", "accept": "c/d", "body_base64": "AAE=", "answer_base64": "//8="},
            relative_tolerance=0,
        ),
        "there",
    )
    assert [(record.body, record.answer) for record in golden.records] == [(b"1,2", b"0.5"), (b"\0\1", b"\xff\xff")]
    assert golden.tolerance == Tolerance(0.0, 0.0)


def test_the_tolerance_has_a_default() -> None:
    assert parse(file(), "there").tolerance.relative == golden_records.DEFAULT_TOLERANCE == 1e-5


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "there is not JSON"),
        (b"[" * 100_000, "there is not JSON"),
        (b"[]", 'must be an object with "format": "sagestack-golden-records-1", found \'list\''),
        (b'{"format": "other"}', "found 'other'"),
        (file(extra=1), "there: unknown 'extra' (known: format, records, relative_tolerance)"),
        (json.dumps({"format": FORMAT, "records": []}).encode(), "a list of 1 to 100 records, found 0"),
        (json.dumps({"format": FORMAT}).encode(), "a list of 1 to 100 records, found None"),
        (file(*[RECORD] * 101), "found 101"),
        (
            file(RECORD, {**RECORD, "accept": "csv"}),
            "there: record 2: \"accept\" must be a media type like text/csv, is 'csv'",
        ),
        (file({**RECORD, "x": 1}), "there: record 1: unknown 'x'"),
        (file({**RECORD, "body": ""}), '"body" must be text that is not empty'),
        (file({**RECORD, "answer": 0.5}), '"answer" must be text that is not empty, is 0.5'),
        (file({**RECORD, "body_base64": "AAE="}), 'needs one of "body" (text) and "body_base64" (anything else)'),
        (file({"content_type": "a/b", "accept": "a/b", "body": "x"}), 'needs one of "answer" (text)'),
        (file({"content_type": "a/b", "accept": "a/b", "body_base64": "?", "answer": "x"}), "is not base64"),
        (file(relative_tolerance=0.5), '"relative_tolerance" must be a number from 0 to 0.1, is 0.5'),
        (file(relative_tolerance=True), "must be a number from 0 to 0.1, is True"),
        (file(relative_tolerance="1"), "must be a number from 0 to 0.1, is '1'"),
    ],
)
def test_a_file_that_is_not_valid_is_refused_with_the_place(content: bytes, words: str) -> None:
    with pytest.raises(InvalidRecords) as refused:
        parse(content, "there")
    assert words in str(refused.value)


# --- When an answer is the recorded one

EXACT = Tolerance(0.0)
NEAR = Tolerance.of(1e-5, [100.0])


@pytest.mark.parametrize(
    ("expected", "got", "media_type", "tolerance", "same"),
    [
        ("24.1", "24.1", "text/csv", EXACT, True),
        ("24.1", "24.1001", "text/csv", NEAR, True),
        ("24.1", "24.11", "text/csv", NEAR, False),
        ("24.1", "24.10000001", "text/csv", EXACT, False),
        ("0.00001", "0.0000101", "text/csv", NEAR, True),  # as fine as 32 bits are beside a 100
        ("-1", "1", "text/csv", NEAR, False),
        ("1,2,3", "1, 2,3\n", "text/csv; charset=utf-8", NEAR, True),
        ("1,2", "1,2,3", "text/csv", NEAR, False),
        ("cat,0.5", "dog,0.5", "text/csv", NEAR, False),
        ("nan", "nan", "text/csv", NEAR, True),
        ("nan", "1", "text/csv", NEAR, False),
        ("inf", "-inf", "text/csv", NEAR, False),
        ('{"a": 1, "b": [1.0, "x"]}', '{"b":[1.000001,"x"],"a":1.0}', "application/json", NEAR, True),
        ('{"a": 1}', '{"a": 1, "b": 2}', "application/json", NEAR, False),
        ('{"a": "1"}', '{"a": 1}', "application/json", NEAR, False),
        ('{"a": true}', '{"a": 1}', "application/json", NEAR, False),
        ('{"a": null}', '{"a": 0}', "application/json", NEAR, False),
        ('{"a": [1, 2]}', '{"a": [1]}', "application/vnd.x+json", NEAR, False),
        ('{"a": 1}', "Internal error", "application/json", NEAR, False),
        ('{"a": 1}\n{"a": 2}\n', '{"a":1}\n\n{"a":2.00001}', "application/jsonlines", NEAR, True),
        ('{"a": 1}\n{"a": 2}', '{"a": 1}', "application/jsonlines", NEAR, False),
        ("1.0", "1.00000001", "application/octet-stream", NEAR, False),
        ("same", "same", "application/octet-stream", NEAR, True),
    ],
)
def test_numbers_may_differ_a_little_and_nothing_else(
    expected: str, got: str, media_type: str, tolerance: Tolerance, same: bool
) -> None:
    assert is_same(expected.encode(), got.encode(), media_type, tolerance) is same


def test_bytes_that_are_no_text_are_no_answer_in_text() -> None:
    assert not is_same(b"1", b"\xff\xfe", "text/csv", NEAR)
    assert list(numbers(b"\xff")) == []


def test_a_long_answer_is_shortened_in_a_message() -> None:
    assert shown(b"1,2\n3\n") == "1,2\\n3"
    assert shown(b"x" * 500) == "x" * 120 + "... (500 bytes)"
