"""Which format a content type means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xgboost_container.formats.content_types import TRAINING, UnknownMediaType, of_media_type, of_training_channel


@pytest.mark.parametrize(
    ("spelling", "meant"),
    [
        ("csv", "csv"),
        ("text/csv", "csv"),
        ("libsvm", "libsvm"),
        ("text/libsvm", "libsvm"),
        ("text/x-libsvm", "libsvm"),
        ("parquet", "parquet"),
        ("application/x-parquet", "parquet"),
        ("recordio-protobuf", "recordio-protobuf"),
        ("application/x-recordio-protobuf", "recordio-protobuf"),
    ],
)
def test_the_nine_spellings_of_training_are_read_in_any_case_and_in_serving_too(spelling: str, meant: str) -> None:
    assert of_training_channel(spelling) == (meant, {})
    assert of_training_channel(f"  {spelling.upper()} ") == (meant, {})
    assert of_media_type(f"{spelling.title()};") == (meant, {})
    assert len(TRAINING) == 9


def test_a_server_reads_json_and_json_lines_and_training_does_not() -> None:
    assert of_media_type("application/json; charset=UTF-8") == ("json", {"charset": "utf-8"})
    assert of_media_type("application/jsonlines")[0] == "jsonlines"
    with pytest.raises(UnknownMediaType, match="'application/json' is not one of csv, text/csv, libsvm"):
        of_training_channel("application/json")


def test_a_channel_without_a_content_type_is_libsvm() -> None:
    assert of_training_channel(None) == of_training_channel(" ") == ("libsvm", {})


def test_csv_has_one_label_in_training() -> None:
    assert of_training_channel("text/csv; Label_Size = 1") == ("csv", {"label_size": "1"})
    assert of_training_channel('text/csv;label_size="1"') == ("csv", {"label_size": "1"})
    with pytest.raises(UnknownMediaType, match="label_size must be 1 or left out"):
        of_training_channel("text/csv;label_size=0")
    assert of_media_type("text/csv;label_size=0") == ("csv", {"label_size": "0"})


def test_parquet_has_no_character_set_to_be_wrong_about() -> None:
    assert of_media_type("application/x-parquet; charset=binary")[0] == "parquet"
    with pytest.raises(UnknownMediaType, match="the character set must be utf-8"):
        of_media_type("text/csv; charset=latin-1")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("text/cvs", "did you mean text/csv?"),
        ("application/parquet", "did you mean application/x-parquet?"),
        ("application/x-recordio-protobuff", "did you mean application/x-recordio-protobuf?"),
        ("", "content type '' is not one of"),
        ("text/csv; header", "'header' is not name=value"),
        ("text/csv; a=1; a=2", "the parameter a is given twice"),
    ],
)
def test_what_is_not_known_is_refused_with_what_is(wrong: str, says: str) -> None:
    with pytest.raises(UnknownMediaType) as refused:
        of_media_type(wrong)
    assert says in str(refused.value)


@given(st.text())
def test_no_text_raises_anything_else(text: str) -> None:
    for function in (of_media_type, of_training_channel):
        message = ""
        try:
            function(text)
        except UnknownMediaType as refused:
            message = str(refused)
        assert len(message.splitlines()) <= 1
        assert len(message) < 600
