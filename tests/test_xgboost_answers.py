"""Predictions into answers: which form, what SageMaker's container writes, and what SAGEMAKER_INFERENCE_OUTPUT selects."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from xgboost_container.contract import UserError
from xgboost_container.serving.accept import PRODUCED, negotiate
from xgboost_container.serving.encode import encode
from xgboost_container.serving.request_error import RequestError
from xgboost_container.serving.selection import WORDS, Selection

CSV, JSON, JSON_LINES, RECORDIO = PRODUCED
SCORES = np.array([0.5, 0.1, 1e-7], np.float32)
CLASSES = np.array([[0.1, 0.7, 0.2], [0.5, 0.25, 0.25]], np.float32)

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)

# --- Accept ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("default", PRODUCED)
@pytest.mark.parametrize("accept", [None, "", "  ", "*/*", "*/*;q=0.1", "image/png, */*"])
def test_who_leaves_the_choice_gets_the_default(accept: str | None, default: str) -> None:
    assert negotiate(accept, default) == default


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        *((kind, kind) for kind in PRODUCED),
        ("APPLICATION/JSON", JSON),
        ("application/json; charset=utf-8", JSON),
        ("application/json, text/csv", JSON),
        ("text/csv, application/json", CSV),
        ("text/csv;q=0.1, application/jsonlines", JSON_LINES),
        ("application/json;q=0.5, application/jsonlines;q=0.9", JSON_LINES),
        ("image/png, application/json;q=0.5", JSON),
        ("application/json, */*", JSON),
        ("application/*", JSON),
        ("application/*, application/json;q=0", JSON_LINES),
        ("text/*", CSV),
        ("text/csv;q=0, */*", JSON),
        ("*/*;q=0.5, application/x-recordio-protobuf;q=0.4", CSV),
        (" , application/json,", JSON),
    ],
)
def test_accept_chooses_the_form(accept: str, expected: str) -> None:
    assert negotiate(accept, CSV) == expected


@pytest.mark.parametrize(
    "accept",
    ["image/png", "text/csv;q=0", "*/*;q=0", "text/csv;q=x", "json", "application/jsonx", "text/csv;q=2", "x" * 5000],
)
def test_what_is_not_produced_is_refused_with_what_is(accept: str) -> None:
    with pytest.raises(RequestError) as refusal:
        negotiate(accept, CSV)
    assert refusal.value.status == 406
    assert all(kind in str(refusal.value) for kind in PRODUCED)
    assert len(str(refusal.value)) < 300


@given(st.text(max_size=60))
def test_any_header_is_answered_or_refused(accept: str) -> None:
    try:
        chosen = negotiate(accept, CSV)
    except RequestError:
        return
    assert chosen in PRODUCED


# --- predictions ----------------------------------------------------------------------------------------------


def test_csv_is_one_line_in_real_time_and_a_line_each_in_a_batch_transform() -> None:
    assert encode(SCORES, CSV) == b"0.5,0.1,1e-7"
    assert encode(SCORES, CSV, batch=True) == b"0.5\n0.1\n1e-7\n"


def test_the_values_of_a_row_stand_in_brackets_in_csv() -> None:
    assert encode(CLASSES, CSV) == b"[0.1, 0.7, 0.2],[0.5, 0.25, 0.25]"
    assert encode(CLASSES, CSV, batch=True) == b"[0.1, 0.7, 0.2]\n[0.5, 0.25, 0.25]\n"
    assert encode(CLASSES[:, :1], CSV) == b"[0.1],[0.5]"


@pytest.mark.parametrize("batch", [False, True])
def test_json_has_a_score_for_each_row(batch: bool) -> None:
    assert encode(SCORES, JSON, batch=batch) == b'{"predictions": [{"score": 0.5}, {"score": 0.1}, {"score": 1e-7}]}'
    assert encode(CLASSES, JSON, batch=batch) == (
        b'{"predictions": [{"score": [0.1, 0.7, 0.2]}, {"score": [0.5, 0.25, 0.25]}]}'
    )
    assert encode(SCORES[:2], JSON_LINES, batch=batch) == b'{"score": 0.5}\n{"score": 0.1}\n'
    assert encode(CLASSES, JSON_LINES, batch=batch) == b'{"score": [0.1, 0.7, 0.2]}\n{"score": [0.5, 0.25, 0.25]}\n'


@given(st.lists(finite, min_size=1, max_size=20), st.integers(1, 3))
def test_a_reader_gets_back_the_very_float32(scores: list[float], columns: int) -> None:
    one = np.array(scores, np.float32)
    several = np.repeat(one[:, np.newaxis], columns, axis=1)
    for prediction in (one, several):
        expected = prediction.tolist()
        text = encode(prediction, CSV).decode()
        assert np.array_equal(np.array(json.loads(f"[{text}]"), np.float32), prediction)
        lines = encode(prediction, CSV, batch=True).decode().splitlines()
        assert np.array_equal(np.array([json.loads(line) for line in lines], np.float32), prediction)
        content = json.loads(encode(prediction, JSON))
        assert np.float32([row["score"] for row in content["predictions"]]).tolist() == expected  # type: ignore[arg-type]
        rows = [json.loads(line) for line in encode(prediction, JSON_LINES).splitlines()]
        assert rows == content["predictions"]


def test_no_number_is_null_in_json_and_python_words_in_csv() -> None:
    scores = np.array([math.nan, 1, math.inf, -math.inf], np.float32)
    assert encode(scores, CSV) == b"nan,1.0,inf,-inf"
    assert encode(scores, CSV, batch=True) == b"nan\n1.0\ninf\n-inf\n"
    assert encode(scores.reshape(2, 2), CSV) == b"[nan, 1.0],[inf, -inf]"
    assert json.loads(encode(scores, JSON)) == {
        "predictions": [{"score": None}, {"score": 1.0}, {"score": None}, {"score": None}]
    }


def test_one_row_and_no_row_are_answered_as_many_are() -> None:
    assert encode(SCORES[:1], CSV) == b"0.5"
    assert encode(SCORES[:1], JSON) == b'{"predictions": [{"score": 0.5}]}'
    none = SCORES[:0]
    assert [encode(none, kind) for kind in PRODUCED] == [b"", b'{"predictions": []}', b"", b""]
    assert encode(none, CSV, batch=True) == b""


def test_predictions_need_not_be_contiguous() -> None:
    assert encode(CLASSES[:, 1], CSV) == b"0.7,0.25"
    assert encode(CLASSES.T, CSV) == b"[0.1, 0.5],[0.7, 0.25],[0.2, 0.25]"


def test_recordio_has_a_record_for_each_row() -> None:
    body = encode(SCORES, RECORDIO)
    assert body.count((0xCED7230A).to_bytes(4, "little")) == 3
    assert body.count(b"score") == 3
    assert np.float32(0.1).tobytes() in body


# --- SAGEMAKER_INFERENCE_OUTPUT ---------------------------------------------------------------------------------


def selected(text: str, objective: str, prediction: Any, num_class: int = 0) -> dict[str, Any]:
    named = Selection.parse(text).of(objective, num_class, np.array(prediction, np.float32))
    return {word: values.tolist() for word, values in named.items()}


def test_words_may_have_spaces_and_capitals() -> None:
    assert Selection.parse("Predicted_Label, probabilities").words == ("predicted_label", "probabilities")


@pytest.mark.parametrize("text", ["label", "predicted_label,", "", "probability;labels", "probability,probability"])
def test_a_wrong_word_is_refused_by_name(text: str) -> None:
    with pytest.raises(UserError, match="SAGEMAKER_INFERENCE_OUTPUT") as refusal:
        Selection.parse(text)
    if "twice" not in str(refusal.value):
        assert all(word in str(refusal.value) for word in WORDS)


def test_binary_logistic_has_labels_probabilities_and_scores() -> None:
    everything = "predicted_label,labels,probability,probabilities,raw_score,raw_scores"
    assert selected(everything, "binary:logistic", [0.75, 0.5]) == {
        "predicted_label": [1, 0],  # over 0.5, not from 0.5
        "labels": [[0, 1], [0, 1]],
        "probability": [0.75, 0.5],
        "probabilities": [[0.25, 0.75], [0.5, 0.5]],
        "raw_score": [0.75, 0.5],
        "raw_scores": [[0.25, 0.75], [0.5, 0.5]],
    }


def test_binary_logitraw_is_cut_at_zero() -> None:
    assert selected("predicted_label,raw_score,raw_scores", "binary:logitraw", [-7.5, 0.25]) == {
        "predicted_label": [0, 1],
        "raw_score": [-7.5, 0.25],
        "raw_scores": [[8.5, -7.5], [0.75, 0.25]],
    }


def test_binary_hinge_predicts_the_class() -> None:
    assert selected("predicted_label,labels,raw_score,raw_scores", "binary:hinge", [1, 0]) == {
        "predicted_label": [1.0, 0.0],
        "labels": [[0, 1], [0, 1]],
        "raw_score": [1.0, 0.0],
        "raw_scores": [[0.0, 1.0], [1.0, 0.0]],
    }


def test_multiclass_takes_the_most_probable_and_the_first_of_equals() -> None:
    everything = "predicted_label,labels,probability,probabilities,raw_score,raw_scores"
    rows = [[0.25, 0.5, 0.25], [0.5, 0.5, 0.0]]
    assert selected(everything, "multi:softprob", rows, 3) == {
        "predicted_label": [1, 0],
        "labels": [[0, 1, 2], [0, 1, 2]],
        "probability": [0.5, 0.5],
        "probabilities": rows,
        "raw_score": [0.5, 0.5],
        "raw_scores": rows,
    }
    assert selected("predicted_label,labels,raw_score", "multi:softmax", [2, 0], 3) == {
        "predicted_label": [2.0, 0.0],
        "labels": [[0, 1, 2], [0, 1, 2]],
        "raw_score": [2.0, 0.0],
    }


@pytest.mark.parametrize(
    "objective", ["reg:squarederror", "reg:logistic", "reg:tweedie", "count:poisson", "rank:ndcg", "survival:cox"]
)
def test_what_has_no_classes_has_a_predicted_score(objective: str) -> None:
    assert selected("predicted_score", objective, [0.5, -7]) == {"predicted_score": [0.5, -7.0]}
    assert Selection.parse("predicted_score,predicted_label").invalid(objective) == ("predicted_label",)


@pytest.mark.parametrize(
    ("objective", "valid"),
    [
        ("reg:squarederror", {"predicted_score"}),
        ("binary:logistic", set(WORDS) - {"predicted_score"}),
        ("binary:logitraw", {"predicted_label", "labels", "raw_score", "raw_scores"}),
        ("binary:hinge", {"predicted_label", "labels", "raw_score", "raw_scores"}),
        ("multi:softmax", {"predicted_label", "labels", "raw_score", "raw_scores"}),
        ("multi:softprob", set(WORDS) - {"predicted_score"}),
    ],
)
def test_what_an_objective_does_not_have_is_nan_in_every_row(objective: str, valid: set[str]) -> None:
    prediction: NDArray[np.float32] = CLASSES if objective == "multi:softprob" else np.array([1, 0], np.float32)
    selection = Selection(WORDS)
    assert set(WORDS) - set(selection.invalid(objective)) == valid
    named = selection.of(objective, 3, prediction)
    assert tuple(named) == WORDS
    assert {word for word, values in named.items() if not np.isnan(values).any()} == valid


def test_several_selected_values_look_as_in_sagemakers_container() -> None:
    named = Selection.parse("predicted_label,probabilities").of(
        "binary:logistic", 0, np.array([0.625, 0.125], np.float32)
    )
    assert encode(named, CSV) == b'1,"[0.375, 0.625]"\n0,"[0.875, 0.125]"'
    assert encode(named, CSV, batch=True) == b'1,"[0.375, 0.625]"\n0,"[0.875, 0.125]"\n'
    first, second = (
        '{"predicted_label": 1, "probabilities": [0.375, 0.625]}',
        '{"predicted_label": 0, "probabilities": [0.875, 0.125]}',
    )
    assert encode(named, JSON).decode() == f'{{"predictions": [{first}, {second}]}}'
    assert encode(named, JSON_LINES).decode() == f"{first}\n{second}\n"
    records = encode(named, RECORDIO)
    assert records.count(b"predicted_label") == records.count(b"probabilities") == 2


def test_invalid_words_are_nan_in_csv_and_null_in_json() -> None:
    named = Selection.parse("predicted_score,predicted_label").of("reg:squarederror", 0, SCORES[:2])
    assert encode(named, CSV) == b"0.5,nan\n0.1,nan"
    assert json.loads(encode(named, JSON)) == {
        "predictions": [
            {"predicted_score": 0.5, "predicted_label": None},
            {"predicted_score": 0.1, "predicted_label": None},
        ]
    }


@given(st.lists(st.sampled_from(WORDS), min_size=1, unique=True), st.integers(0, 4))
def test_every_selection_can_be_read_by_any_reader(words: list[str], rows: int) -> None:
    prediction = np.random.default_rng(rows).random((rows, 3), dtype=np.float32)
    named = Selection(tuple(words)).of("multi:softprob", 3, prediction)
    table = list(csv.reader(io.StringIO(encode(named, CSV).decode())))
    assert [len(row) for row in table] == [len(words)] * rows
    content = json.loads(encode(named, JSON))["predictions"]
    assert [list(row) for row in content] == [words] * rows
    assert [json.loads(line) for line in encode(named, JSON_LINES).splitlines()] == content
