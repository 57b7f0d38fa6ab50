"""Requests into rows: every format and form that is read, and what is said of those that cannot be scored."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from xgboost_container.formats import json_instances, recordio
from xgboost_container.formats.errors import FormatError
from xgboost_container.schema import Schema
from xgboost_container.serving.decode import MAX_CELLS, decode
from xgboost_container.serving.request_error import RequestError

from tests.property_tests import examples

ROOT = Path(__file__).parent.parent
NAMES = ("CRIM", "ZN", "RM")
UNNAMED, NAMED = Schema(3), Schema(3, NAMES)
ROW = [1.5, -2.0, 1e-3]
OTHER = [4.0, None, 6.25]
EXPECTED = np.array([ROW, [4.0, math.nan, 6.25]], np.float32)

JSON, JSON_LINES = "application/json", "application/jsonlines"
KINDS = ("text/csv", "text/libsvm", JSON, JSON_LINES, "application/x-parquet", "application/x-recordio-protobuf")

values = st.one_of(st.none(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False, width=32))
rows_of_numbers = st.lists(st.lists(values, min_size=3, max_size=3), min_size=1, max_size=5)


def as_sparse(row: list[Any]) -> dict[str, Any]:
    keys = [key for key, value in enumerate(row) if value is not None]
    return {"data": {"features": {"keys": keys, "shape": [3], "values": [row[key] for key in keys]}}}


FORMS: dict[str, Any] = {
    "list": lambda row: row,
    "features": lambda row: {"features": row},
    "data": lambda row: {"data": {"features": {"values": row}}},
    "data, all of it": lambda row: {
        "configuration": {},
        "data": {"features": {"keys": [], "shape": [3], "values": row}},
    },
    "data, a list": lambda row: {"data": {"features": row}},
    "sparse": as_sparse,
    "record": lambda row: dict(zip(NAMES, row, strict=True)),
    "record in another order": lambda row: dict(reversed(list(zip(NAMES, row, strict=True)))),
}


def refusal(content_type: str | None, body: bytes | str, schema: Schema = NAMED) -> tuple[int, str]:
    with pytest.raises(RequestError) as refused:
        decode(content_type, body if isinstance(body, bytes) else body.encode(), schema)
    message = str(refused.value)
    assert "\n" not in message
    return refused.value.status, message


def rows_or_refusal(content_type: str, body: bytes, schema: Schema) -> NDArray[np.float32] | RequestError:
    try:
        return decode(content_type, body, schema)
    except RequestError as error:
        return error


def matrix(rows: list[list[Any]]) -> NDArray[np.float32]:
    return (
        np.array([[math.nan if value is None else float(value) for value in row] for row in rows]).astype(np.float32)
        + 0
    )


# --- content types ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/csv",
        "TEXT/CSV",
        "csv",
        "text/csv; charset=utf-8",
        "text/csv;label_size=0",
        "text/csv; label_size=1",
    ],
)
def test_csv_is_the_default_and_its_parameters_change_nothing(content_type: str | None) -> None:
    np.testing.assert_array_equal(decode(content_type, b"1.5,-2,1e-3\n4,,6.25\n", UNNAMED), EXPECTED)


@pytest.mark.parametrize(
    "content_type",
    [
        "image/png",
        "text/plain",
        "text/csv; label_size=2",
        "text/csv; charset=utf-16",
        "text/csv; header=present",
        "x" * 9999,
        ";",
    ],
)
def test_another_content_type_is_refused(content_type: str) -> None:
    status, message = refusal(content_type, b"1,2,3")
    assert status == 415
    assert len(message) < 500


def test_the_refusal_of_a_content_type_says_which_are_read() -> None:
    _, message = refusal("text/plain", b"1,2,3")
    assert all(kind in message for kind in KINDS)


@pytest.mark.parametrize("content_type", KINDS)
def test_an_empty_body_is_no_fault_of_the_server(content_type: str) -> None:
    for body in (b"", b"\n", b" \r\n\n"):
        result = rows_or_refusal(content_type, body, UNNAMED)
        assert result.status == 400 if isinstance(result, RequestError) else result.shape == (0, 3)


def test_the_server_starts_without_the_libraries_of_parquet_and_recordio() -> None:
    program = (
        "import sys; import xgboost_container.serving.decode, xgboost_container.serving.encode;"
        "print([name for name in sys.modules if name.startswith(('arro3', 'google.protobuf', 'scipy'))])"
    )
    imported = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(ROOT / "model_code/images/xgboost")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert imported.stdout.strip() == "[]"


# --- JSON -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@given(rows=rows_of_numbers)
@settings(max_examples=examples(0.3))
def test_every_form_of_an_instance_is_the_same_row(form: str, rows: list[list[Any]]) -> None:
    expected = matrix(rows)
    instances = [FORMS[form](row) for row in rows]
    bodies = [
        (JSON, json.dumps({"instances": instances})),
        (JSON, json.dumps({"instances": instances}, indent=1)),
        (JSON, "\ufeff" + json.dumps(instances, separators=(",", ":"))),
        (JSON_LINES, "\n".join(map(json.dumps, instances))),
        (JSON_LINES, "\r\n".join(map(json.dumps, instances)) + "\r\n\r\n"),
    ]
    if len(rows) == 1:
        bodies.append((JSON, json.dumps(instances[0])))
    for content_type, body in bodies:
        decoded = decode(content_type, body.encode(), NAMED)
        np.testing.assert_array_equal(decoded, expected)
        assert decoded.dtype == np.float32
        assert decoded.flags.c_contiguous


def test_forms_may_be_mixed() -> None:
    instances = [form(ROW) for form in FORMS.values()]
    for content_type, body in (
        (JSON, json.dumps({"instances": instances})),
        (JSON_LINES, "\n".join(map(json.dumps, instances))),
    ):
        np.testing.assert_array_equal(decode(content_type, body.encode(), NAMED), matrix([ROW] * len(instances)))


@given(
    rows=st.lists(
        st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=3, max_size=3), min_size=1
    )
)
def test_lists_of_numbers_are_read_without_an_object_for_each(rows: list[list[float]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_instances, "of", lambda *_: pytest.fail("objects were made"))
        patch.setattr(json_instances, "values", lambda *_: pytest.fail("objects were made"))
        for body in (json.dumps({"instances": rows}), json.dumps(rows, indent=2)):
            np.testing.assert_array_equal(decode(JSON, body.encode(), UNNAMED), matrix(rows))
        np.testing.assert_array_equal(
            decode(JSON_LINES, "\n".join(map(json.dumps, rows)).encode(), UNNAMED), matrix(rows)
        )


# Texts of numbers and brackets alone: what the fast reader must not take for a table.
nested = st.recursive(st.integers(0, 9), lambda inner: st.lists(inner, max_size=4), max_leaves=12)


@given(nested, st.sampled_from([JSON, JSON_LINES]), st.booleans())
@settings(max_examples=examples(2))
def test_only_a_list_of_rows_is_a_list_of_rows(content: Any, content_type: str, wrapped: bool) -> None:
    body = json.dumps({"instances": content} if wrapped and content_type == JSON else content)
    is_one_row = isinstance(content, list) and content and not isinstance(content[0], list)
    rows = content
    if content_type == JSON_LINES or (is_one_row and not wrapped):
        rows = [content]
    good = isinstance(rows, list) and rows and all(isinstance(row, list) and len(row) == 3 for row in rows)
    if good and all(isinstance(value, int) for row in rows for value in row):
        np.testing.assert_array_equal(decode(content_type, body.encode(), UNNAMED), matrix(rows))
    else:
        assert refusal(content_type, body, UNNAMED)[0] == 400


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"instances": [[1, 2, 3], [1, 2]]}', "row 2: 2 values, expected 3"),
        ('{"instances": [[1, 2, 3], [1, 2, 3, 4]]}', "row 2: 4 values, expected 3"),
        ('{"instances": [[1, 2, "3"]]}', 'row 1, column 3 (RM): "3" is not a number'),
        ('{"instances": [[1, true, 3]]}', "row 1, column 2 (ZN): true is not a number"),
        ('{"instances": [[1, [2], 3]]}', "row 1, column 2 (ZN): a list is not a number"),
        ('{"instances": [[1, [2]], 3]}', "row 1: 2 values, expected 3"),
        (
            '{"instances": [[1, 2, 3], [NaN, 2, 3]]}',
            "row 2, column 1 (CRIM): NaN is not a number, write null for a value that is missing",
        ),
        ('{"instances": [[1, 2, -Infinity]]}', "row 1, column 3 (RM): -Infinity is not a number"),
        ('{"instances": [[1, 2, 1e39]]}', "row 1, column 3 (RM): 1e+39 does not fit a 32-bit float"),
        ('{"instances": [[1, 2, 1e999]]}', "row 1, column 3 (RM): inf does not fit a 32-bit float"),
        (f'[[1, 2, {"9" * 5000}]]', "row 1, column 3 (RM): inf does not fit a 32-bit float"),
        (f'[[1, 2, {"9" * 350}]]', "row 1, column 3 (RM): inf does not fit a 32-bit float"),
        ('{"instances": [{"CRIM": 1, "ZN": 2}]}', 'row 1: missing "RM"'),
        ('{"instances": [{"CRIM": 1, "ZN": 2, "RM": 3, "x": 4}]}', 'row 1: unknown "x"'),
        ('{"instances": [{"CRIM": 1, "ZN": 2, "rm": 3}]}', 'row 1: missing "RM"; unknown "rm"'),
        ('{"instances": [{"CRIM": 1, "ZN": "2", "RM": 3}]}', 'row 1, column 2 (ZN): "2" is not a number'),
        ('{"instances": [{"CRIM": 1, "ZN": 2, "RM": 3, "CRIM": 9}]}', '"CRIM" comes twice in one object'),
        ('{"instances": [[1, 2, 3]], "instances": [[4, 5, 6]]}', '"instances" comes twice in one object'),
        ('{"instances": [[1, 2, 3]], "more": 1}', 'unknown key "more" beside "instances"'),
        ('{"instances": []}', "there are no instances"),
        ("[]", "there are no instances"),
        ('{"instances": 5}', '"instances" must be a list, is 5'),
        ('"text"', 'must be {"instances": [[numbers], ...]}, a list of rows, or one row, is "text"'),
        ('{"instances": [[1, 2, 3], null]}', "row 2: must be a list of 3 numbers or an object, is null"),
        ('{"features": [1, 2, 3], "x": 1}', 'row 1: unknown key "x" beside "features"'),
        ('{"data": {"features": {"values": [1, 2]}}}', "row 1: 2 values, expected 3"),
        ('{"data": {"other": [1, 2, 3]}}', 'row 1: unknown key "other" beside "features"'),
        ('{"data": {"features": 5}}', 'row 1: "features" must be a list or {"values": [...]}'),
        ('{"configuration": {"a": 1}, "data": {"features": [1, 2, 3]}}',
         'row 1: "configuration" must be empty, nothing can be set per row'),
        ('{"data": {"features": {"keys": [0, 3], "shape": [3], "values": [1, 2]}}}',
         "row 1: key 3 is not a column, they are numbered 0 to 2"),
        ('{"data": {"features": {"keys": [-1], "values": [1]}}}', "row 1: key -1 is not a column, they are numbered 0 to 2"),
        ('{"data": {"features": {"keys": [1, 1], "values": [1, 2]}}}', "row 1: key 1 comes twice"),
        ('{"data": {"features": {"keys": [1], "values": [1, 2]}}}', 'row 1: "keys" must be as many as the 2 values, is 1 keys'),
        ('{"data": {"features": {"keys": [1], "shape": [2000], "values": [1]}}}', 'row 1: "shape" is [2000], expected [3]'),
        ('{"data": {"features": {"keys": [0.0], "values": [1]}}}', "row 1: key 0.0 is not a column, they are numbered 0 to 2"),
    ],
)  # fmt: skip
def test_a_refusal_of_json_says_where(body: str, message: str) -> None:
    assert refusal(JSON, body) == (400, message)


@pytest.mark.parametrize(
    "body", ['{"instances": [[1, 2, 3', '{"instances"', "[[1, 2, 3]", '{"instances": [[1, 2, 3]]', '"', "{"]
)
def test_a_cut_body_is_called_so(body: str) -> None:
    status, message = refusal(JSON, body)
    assert status == 400
    assert message.startswith("not valid JSON: ")
    assert "(the text ends too early)" in message


@pytest.mark.parametrize(
    "body",
    ["[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"a":' * 100_000, '{"instances": ' + "[" * 5000 + "]" * 5000 + "}",
     "[[1, 2, 3]] x", "[[1,,3]]", "[[01, 2, 3]]", "[[+1, 2, 3]]", "[[1, 2, 3],]", "[[.5, 2, 3]]", "[[1 2 3]]"],
)  # fmt: skip
def test_what_is_no_json_gets_one_short_line(body: str) -> None:
    for content_type in (JSON, JSON_LINES):
        status, message = refusal(content_type, body)
        assert status == 400
        assert "JSON" in message
        assert len(message) < 160


def test_text_that_is_not_utf_8_is_called_so() -> None:
    assert refusal(JSON, b'{"CRIM": "\xff"}') == (400, "not UTF-8 text (byte 11)")


def test_records_need_a_model_that_knows_its_names() -> None:
    status, message = refusal(JSON, '{"CRIM": 1, "ZN": 2, "RM": 3}', UNNAMED)
    assert (status, message.split(": ", 1)[0]) == (400, "row 1")
    assert "this model has no feature names" in message


def test_features_may_be_called_what_the_forms_are_called() -> None:
    schema = Schema(3, ("instances", "features", "data:"))
    record = {"instances": 1, "features": 2, "data:": 3}
    for body in (record, [record], {"instances": [record]}):
        assert decode(JSON, json.dumps(body).encode(), schema).tolist() == [[1, 2, 3]]


def test_one_feature_is_enough() -> None:
    schema = Schema(1, ("CRIM",))
    for body in ('{"CRIM": 1}', "[1]", "[[1]]", '{"instances": [{"CRIM": 1}]}'):
        assert decode(JSON, body.encode(), schema).tolist() == [[1]]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("[1, 2, 3]\n\n[1, 2, 3]", "row 2: the line is empty"),
        ("[1, 2, 3]\n[1, 2", "row 2: not valid JSON: "),
        ("[1\n2,3],[4,5,6]", "row 1: not valid JSON: "),
        ("[1,2,3],[4,5,6]", "row 1: not valid JSON: "),
        ("[1, 2, 3]\n[[4, 5, 6]]", "row 2: 1 values, expected 3"),
        ('{"features": [1, 2, 3]}\n{"features": [1, 2]}', "row 2: 2 values, expected 3"),
        ('[1, 2, 3]\n{"CRIM": 1, "CRIM": 2, "RM": 3}', 'row 2: "CRIM" comes twice in one object'),
        ("[1, 2, 3]\n[1, 2, null]\n[1, 2, false]", "row 3, column 3 (RM): false is not a number"),
    ],
)
def test_a_refusal_of_json_lines_names_the_line(body: str, message: str) -> None:
    status, refused = refusal(JSON_LINES, body)
    assert status == 400
    assert refused.startswith(message)


# --- the other formats ------------------------------------------------------------------------------------------


def test_a_csv_row_of_another_width_is_refused_and_not_scored() -> None:
    assert refusal("text/csv", "1,2,3\n1,2") == (400, "row 2: 2 columns, expected 3")
    assert refusal("text/csv", ",".join(["1"] * 10_003)) == (400, "row 1: 10003 columns, expected 3")


@pytest.mark.parametrize("content_type", ["text/libsvm", "text/x-libsvm", "libsvm"])
@pytest.mark.parametrize("body", ["0:1.5 1:-2 2:1e-3\n2:6.25 0:4\n", "1 0:1.5 1:-2 2:1e-3\n0 0:4 2:6.25"])
def test_libsvm_goes_by_index_with_or_without_a_label(content_type: str, body: str) -> None:
    np.testing.assert_array_equal(decode(content_type, body.encode(), UNNAMED), EXPECTED)


def test_a_libsvm_index_that_the_model_lacks_is_refused() -> None:
    status, message = refusal("text/libsvm", "0:1\n3:1")
    assert status == 400
    assert message.startswith("row 2: ")
    assert "3" in message


def test_few_bytes_cannot_stand_for_more_memory_than_there_is() -> None:
    status, message = refusal("text/libsvm", "0:1\n" * (MAX_CELLS // 100_000 + 1), Schema(100_000))
    assert status == 400
    assert "rows fit one request" in message


def test_recordio_is_read_and_its_width_checked() -> None:
    # Predictions are records as well; their features are what they lack, so these are written by hand.
    def message(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    def record(features: bytes) -> bytes:
        content = message(1, message(1, b"values") + message(2, message(2, features)))
        return (
            (0xCED7230A).to_bytes(4, "little") + len(content).to_bytes(4, "little") + content + bytes(-len(content) % 4)
        )

    dense = [record(message(1, np.array(row, "<f4").tobytes())) for row in EXPECTED.tolist()]
    np.testing.assert_array_equal(decode("application/x-recordio-protobuf", b"".join(dense), UNNAMED), EXPECTED)
    sparse = record(
        message(1, np.array([4, 6.25], "<f4").tobytes()) + message(2, bytes([0, 2])) + message(3, bytes([3]))
    )
    np.testing.assert_array_equal(decode("application/x-recordio-protobuf", sparse, UNNAMED), EXPECTED[1:])
    assert refusal("application/x-recordio-protobuf", dense[0], Schema(4))[0] == 400
    assert refusal("application/x-recordio-protobuf", dense[0][:-3], UNNAMED)[0] == 400
    assert refusal("application/x-recordio-protobuf", recordio.encode(np.zeros(2, np.float32)), UNNAMED)[0] == 400


def parquet_of(columns: dict[str, list[float | None]]) -> bytes:
    import io

    from arro3.core import Array, DataType, Table
    from arro3.io import write_parquet

    target = io.BytesIO()
    arrays: dict[str, Any] = {name: Array(column, DataType.float64()) for name, column in columns.items()}
    write_parquet(Table.from_pydict(arrays), target)
    return target.getvalue()


def test_parquet_goes_by_name_where_the_model_has_names_and_by_position_otherwise() -> None:
    columns: dict[str, list[float | None]] = {"RM": [1e-3, 6.25], "CRIM": [1.5, 4.0], "ZN": [-2.0, None]}
    np.testing.assert_array_equal(decode("application/x-parquet", parquet_of(columns), NAMED), EXPECTED)
    in_order = {name: columns[name] for name in NAMES}
    np.testing.assert_array_equal(decode("application/x-parquet", parquet_of(in_order), NAMED), EXPECTED)
    unnamed = decode("application/x-parquet", parquet_of(columns), UNNAMED)
    np.testing.assert_array_equal(unnamed, EXPECTED[:, [2, 0, 1]])
    assert unnamed.flags.c_contiguous


def test_parquet_with_other_columns_is_refused_by_their_names() -> None:
    body = parquet_of({"CRIM": [1.0], "ZN": [1.0], "AGE": [1.0]})
    assert refusal("application/x-parquet", body) == (400, "the file's columns: missing 'RM'; unknown 'AGE'")
    body = parquet_of({"CRIM": [1.0], "ZN": [1.0]})
    assert refusal("application/x-parquet", body, UNNAMED) == (400, "the file has 2 columns, expected 3")


# --- anything else ------------------------------------------------------------------------------------------------

pieces = st.sampled_from(
    ["1", "-2.5", "nan", "null", "true", '"x"', ",", ":", "[", "]", "{", "}", "\n", "\r\n", " ", "\t", '"features"', '"data"',
     '"values"',     '"keys"', '"shape"', '"instances"', '{"instances": [', "[1, 2, 3]", "0:1", "NaN", "1e999", "\ufeff", "\x00",
     '"CRIM"', "9" * 400]
)  # fmt: skip


@given(st.one_of(st.binary(max_size=80), st.lists(pieces, max_size=25).map(lambda parts: "".join(parts).encode())))
@settings(max_examples=examples(3))
def test_whatever_comes_is_rows_or_a_refusal_in_one_line(body: bytes) -> None:
    for schema in (UNNAMED, NAMED):
        for content_type in KINDS:
            result = rows_or_refusal(content_type, body, schema)
            if isinstance(result, RequestError):
                assert result.status == 400
                assert len(str(result)) < 400
                assert "\n" not in str(result)
            else:
                assert result.shape[1] == 3
                assert result.dtype == np.float32
                assert not np.isinf(result).any()


@given(st.data())
def test_so_is_a_good_body_in_which_bytes_were_changed(data: st.DataObject) -> None:
    good = {
        "text/csv": b"1.5,-2,1e-3\n4,,6.25\n",
        "text/libsvm": b"0:1.5 1:-2 2:1e-3\n2:6.25 0:4\n",
        JSON: json.dumps({"instances": [form(ROW) for form in FORMS.values()]}).encode(),
        JSON_LINES: "\n".join(json.dumps(form(ROW)) for form in FORMS.values()).encode(),
        "application/x-parquet": parquet_of({"CRIM": [1.0], "ZN": [1.0], "RM": [1.0]}),
    }
    content_type = data.draw(st.sampled_from(sorted(good)))
    body = bytearray(good[content_type])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
        if not body:
            break
    result = rows_or_refusal(content_type, bytes(body), NAMED)
    assert result.status == 400 if isinstance(result, RequestError) else result.shape[1] == 3


def test_threads_do_not_mix_up_their_bodies() -> None:
    wrong: list[int] = []

    def read(number: int) -> None:
        body = json.dumps({"instances": [[number] * 3] * 50}).encode()
        for _ in range(100):
            if not (decode(JSON, body, UNNAMED) == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_refusal_of_content_is_a_value_error_with_a_place() -> None:
    assert issubclass(FormatError, ValueError)
