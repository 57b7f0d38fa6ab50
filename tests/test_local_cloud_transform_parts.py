"""What the local cloud's transform jobs are made of: paths, payloads, filters and joins, and how objects go through a host."""

from __future__ import annotations

import gzip
import io
import struct
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from local_cloud.sagemaker.jobs import transform_host, transform_server
from local_cloud.sagemaker.jobs.job_data import DataError, Location, S3Object
from local_cloud.sagemaker.jobs.job_runs import JobStopped
from local_cloud.sagemaker.jobs.json_path import BadPath, JsonPath, NotThere
from local_cloud.sagemaker.jobs.transform_data import check_names
from local_cloud.sagemaker.jobs.transform_limits import Limits
from local_cloud.sagemaker.jobs.transform_processing import BadData, Processing
from local_cloud.sagemaker.jobs.transform_records import MIB, BadRecord, body_of, payloads
from local_cloud.sagemaker.jobs.transform_server import NotHealthy
from tests.transform_fakes import Transforms
from tests.waiting import wait_for

DOCUMENT = {"id": 7, "features": {"a": 1, "b": [2, 3]}, "rows": [{"x": 1}, {"x": 2}], "SageMakerOutput": 0.5}
ROW = ["id", "1", "2", "3", "answer"]


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transform_host, "RETRY_PAUSE_S", 0.0)


def total(body: str) -> tuple[int, str]:
    """The sum of each line."""
    return 200, "\n".join(str(sum(int(cell) for cell in line.split(","))) for line in body.splitlines())


# --- JSONPath --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value", "taken"),
    [
        ("$", DOCUMENT, DOCUMENT),
        ("$.id", DOCUMENT, 7),
        ("$.features.b", DOCUMENT, [2, 3]),
        ("$.features.b[1]", DOCUMENT, 3),
        ("$.features.*", DOCUMENT, [1, [2, 3]]),
        ("$['id','SageMakerOutput']", DOCUMENT, {"id": 7, "SageMakerOutput": 0.5}),
        ("$.features.['a','b']", DOCUMENT, {"a": 1, "b": [2, 3]}),
        ("$.rows[*].x", DOCUMENT, [1, 2]),
        ("$[0]", ROW, "id"),
        ("$[-1]", ROW, "answer"),
        ("$[0,-1]", ROW, ["id", "answer"]),
        ("$[1:]", ROW, ["1", "2", "3", "answer"]),
        ("$[:-1]", ROW, ["id", "1", "2", "3"]),
        ("$[1:4]", ROW, ["1", "2", "3"]),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("$") else "",
)
def test_a_path_takes_its_part_of_a_value(path: str, value: Any, taken: Any) -> None:
    assert JsonPath.parse(path).of(value) == taken


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("id", "does not begin with $"),
        ("$..id", "'..id' is not understood"),
        ("$[?(@.x)]", "holds neither indexes"),
        ("$[0:2,4:]", "only single range filters of format (eg: [1:5]) are supported"),
        ("$[0,5:]", "only single range filters"),
        ("$[a]", "holds neither indexes"),
        ("$.rows.length()", "'()' is not understood"),
    ],
)
def test_another_path_is_refused(path: str, words: str) -> None:
    with pytest.raises(BadPath) as refusal:
        JsonPath.parse(path).of(DOCUMENT)
    assert words in str(refusal.value)


@pytest.mark.parametrize("path", ["$[5]", "$[-6]", "$[6:]", "$[:6]", "$.id"])
def test_a_path_to_what_is_not_there_is_an_error(path: str) -> None:
    with pytest.raises(NotThere):
        JsonPath.parse(path).of(ROW)


# --- Payloads --------------------------------------------------------------------------------------------------------


def cut(content: bytes, split: str, strategy: str = "MultiRecord", max_bytes: int | None = 10) -> list[bytes]:
    return [body_of(payload, strategy) for payload in payloads(io.BytesIO(content), split, strategy, max_bytes)]


def recordio(*contents: bytes, part: int = 0) -> bytes:
    return b"".join(
        struct.pack("<II", 0xCED7230A, len(content) | part << 29) + content + bytes(-len(content) % 4)
        for content in contents
    )


def tfrecord(content: bytes) -> bytes:
    return struct.pack("<QI", len(content), 1) + content + struct.pack("<I", 2)


@pytest.mark.parametrize(
    ("split", "strategy", "content", "bodies"),
    [
        ("Line", "MultiRecord", b"1,2\n3,4\n5,6\n", [b"1,2\n3,4\n", b"5,6\n"]),
        ("Line", "MultiRecord", b"1,2\r\n3,4", [b"1,2\r\n3,4"]),
        ("Line", "SingleRecord", b"1,2\n3,4\r\n5,6", [b"1,2", b"3,4", b"5,6"]),
        ("Line", "MultiRecord", b"", []),
        ("None", "MultiRecord", b"1,2\n3,4\n", [b"1,2\n3,4\n"]),
        ("None", "SingleRecord", b"", [b""]),
        ("RecordIO", "SingleRecord", recordio(b"abc", b"defgh"), [b"abc", b"defgh"]),
        ("TFRecord", "SingleRecord", tfrecord(b"abc") + tfrecord(b"de"), [b"abc", b"de"]),
    ],
)
def test_an_object_is_cut_into_as_many_records_as_fit_or_one_each(
    split: str, strategy: str, content: bytes, bodies: list[bytes]
) -> None:
    assert cut(content, split, strategy) == bodies


@pytest.mark.parametrize(("split", "content"), [("RecordIO", recordio(b"a", b"b")), ("TFRecord", tfrecord(b"abc"))])
def test_what_surrounds_binary_records_is_kept_where_several_are_sent(split: str, content: bytes) -> None:
    assert cut(content, split, max_bytes=100) == [content]


def test_a_recordio_record_that_was_cut_at_its_magic_number_is_one_again() -> None:
    parts = recordio(b"ab", part=1) + recordio(b"cd", part=2) + recordio(b"ef", part=3)
    magic = struct.pack("<I", 0xCED7230A)
    assert cut(parts, "RecordIO", "SingleRecord", max_bytes=100) == [b"ab" + magic + b"cd" + magic + b"ef"]


@pytest.mark.parametrize(
    ("split", "content", "words"),
    [
        ("Line", b"1,2\n" + b"9" * 11, "Too much data for max payload size"),
        ("None", b"9" * 11, "Too much data for max payload size"),
        ("RecordIO", b"1,2,3,4,5", "a record does not begin with its magic number"),
        ("RecordIO", recordio(b"abcdefgh")[:-2], "it ends within a record"),
        ("RecordIO", recordio(b"ab", part=1), "the last part of a record is missing"),
        ("TFRecord", tfrecord(b"abc")[:-1], "it ends within a record"),
        ("TFRecord", b"abc", "it ends within a record"),
    ],
)
def test_an_object_that_cannot_be_cut_says_why(split: str, content: bytes, words: str) -> None:
    with pytest.raises(BadRecord, match=words):
        cut(content, split)


# --- Filters and joins -----------------------------------------------------------------------------------------------


def processing(content_type: str = "text/csv", *, by_line: bool = True, **members: str) -> Processing:
    return Processing.of(
        {
            "TransformInput": {"ContentType": content_type, "SplitType": "Line" if by_line else "None"},
            "TransformOutput": {"Accept": content_type},
            "DataProcessing": members,
        }
    )


def test_columns_are_left_out_and_answers_stand_beside_what_is_kept_of_their_rows() -> None:
    chosen = processing(InputFilter="$[1:]", JoinSource="Input", OutputFilter="$[0,-1]")
    rows = [b'"a,b",1,2', b"c,3,4"]
    assert chosen.filtered(rows, b"unused") == b"1,2\n3,4\n"
    assert chosen.kept(rows, b"0.5\n0.25\n") == b'"a,b",0.5\nc,0.25'


def test_an_attribute_is_added_to_a_json_object_and_anything_else_becomes_one() -> None:
    joining = processing("application/jsonlines", JoinSource="Input")
    kept = joining.kept([b'{"id":1}', b"[1,2]"], b'{"label":1}\n0.5')
    assert kept == b'{"id":1,"SageMakerOutput":{"label":1}}\n{"SageMakerInput":[1,2],"SageMakerOutput":0.5}'


def test_a_whole_json_document_is_one_record() -> None:
    chosen = processing(
        "application/json",
        by_line=False,
        InputFilter="$.features",
        JoinSource="Input",
        OutputFilter="$['id','SageMakerOutput']",
    )
    document = b'{\n "id": 3,\n "features": [1, 2]\n}'
    assert chosen.filtered([document], document) == b"[1,2]"
    assert chosen.kept([document], b'{\n "score": 0.5\n}') == b'{"id":3,"SageMakerOutput":{"score":0.5}}'


def test_without_filters_nothing_is_read() -> None:
    assert processing().filtered([], b'not "csv') == b'not "csv'
    assert processing().kept([b"a"], b"1\n2\n3") == b"1\n2\n3"


@pytest.mark.parametrize(
    ("row", "answer", "words"),
    [
        (b"1,2", b"1\n2", r"mismatched line count between the input \(1\) and the output \(2\)"),
        (b'1,"2', b"1", "Failed to parse line: '1,\"2' as CSV"),
        (b"1,2", b'"1', "Failed to parse output from the algorithm: '\"1' as CSV"),
        (b"1", b"1", r"unable to evaluate payload provided: \$\[0,2\] asks for index 2 of 2"),
    ],
    ids=["count", "row", "answer", "index"],
)
def test_what_cannot_be_joined_says_why(row: bytes, answer: bytes, words: str) -> None:
    with pytest.raises(BadData, match=words):
        processing(JoinSource="Input", OutputFilter="$[0,2]").kept([row], answer)


# --- Limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("job", "asked", "shown"),
    [
        ({}, {}, "MaxConcurrentTransforms=1, MaxPayloadInMB=6, BatchStrategy=MULTI_RECORD"),
        (
            {},
            {"MaxConcurrentTransforms": 4, "MaxPayloadInMB": 2, "BatchStrategy": "SINGLE_RECORD"},
            "MaxConcurrentTransforms=4, MaxPayloadInMB=2, BatchStrategy=SINGLE_RECORD",
        ),
        (
            {"MaxConcurrentTransforms": 2, "MaxPayloadInMB": 0, "BatchStrategy": "MultiRecord"},
            {"MaxConcurrentTransforms": 4, "MaxPayloadInMB": 2, "BatchStrategy": "SINGLE_RECORD"},
            "MaxConcurrentTransforms=2, MaxPayloadInMB=0, BatchStrategy=MULTI_RECORD",
        ),
        (
            {"MaxConcurrentTransforms": 0},
            {"MaxConcurrentTransforms": "many", "MaxPayloadInMB": -1, "BatchStrategy": None},
            "MaxConcurrentTransforms=1, MaxPayloadInMB=6, BatchStrategy=MULTI_RECORD",
        ),
    ],
    ids=["defaults", "container", "request", "nonsense"],
)
def test_limits_are_the_requests_then_the_containers_then_the_defaults(
    job: dict[str, Any], asked: dict[str, Any], shown: str
) -> None:
    assert str(Limits.of(job, asked)) == shown


# --- Objects ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        ([], "The manifest s3://b/m lists no objects"),
        (
            [S3Object(Location("b", "in/a/ab"), "ab"), S3Object(Location("b", "in/ab"), "ab")],
            "The outputs of s3://b/in/a/ab and s3://b/in/ab would both be ab.out",
        ),
    ],
    ids=["none", "two of one name"],
)
def test_objects_without_an_output_of_their_own_are_refused(objects: list[S3Object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        check_names(objects, "s3://b/m")


# --- A host ----------------------------------------------------------------------------------------------------------


def test_answers_stand_in_the_order_of_their_records_however_long_each_takes(tmp_path: Path) -> None:
    open_at_once, later = threading.Barrier(2), threading.Event()

    def slow_first(body: str) -> tuple[int, str]:
        if body in ("1,1", "3,3"):
            open_at_once.wait(60)
        if body == "1,1":
            assert later.wait(60)
        elif body == "3,3":
            later.set()
        return total(body)

    transforms = Transforms(tmp_path, slow_first, '{"MaxConcurrentTransforms": 3}')
    outputs = transforms.run(b"1,1\n2,2\n3,3\n4,4", b"5,5\n", BatchStrategy="SingleRecord")
    assert outputs == ["2\n4\n6\n8\n", "10\n"]
    assert sorted(transforms.engine.bodies) == ["1,1", "2,2", "3,3", "4,4", "5,5"]
    assert 1 < transforms.engine.most_open <= 3
    assert transforms.log == ["MaxConcurrentTransforms=3, MaxPayloadInMB=6, BatchStrategy=SINGLE_RECORD"]


def test_many_records_go_in_one_request_with_the_types_of_the_request(tmp_path: Path) -> None:
    transforms = Transforms(tmp_path, total)
    assert transforms.run(b"1,1\n2,2\n", source={"ContentType": "text/csv; header=absent"}) == ["2\n4\n"]
    assert transforms.engine.bodies == ["1,1\n2,2\n"]
    (headers,) = transforms.engine.headers
    assert (headers["Content-Type"], headers["Accept"]) == ("text/csv; header=absent", "text/csv")


def test_answers_are_only_put_together_where_no_line_is_asked_for(tmp_path: Path) -> None:
    transforms = Transforms(tmp_path, total)
    assert transforms.run(b"1,1\n2,2\n", BatchStrategy="SingleRecord", target={"AssembleWith": "None"}) == ["24"]


def test_a_refused_record_leaves_no_output_of_its_object_and_the_others_whole(tmp_path: Path) -> None:
    def refuse(body: str) -> tuple[int, str]:
        return (400, "no such column\nin line 1") if "x" in body else total(body)

    transforms = Transforms(tmp_path, refuse)
    assert transforms.run(b"1,1\nx\n2,2\n", b"3,3\n", BatchStrategy="SingleRecord") == [None, "6\n"]
    failure = transforms.works[0].failure
    assert failure is not None
    assert failure.kind == "ClientError"
    assert transforms.engine.bodies.count("x") == 1
    assert transforms.log[1:] == [
        *("b/in/0: ClientError: 400", "b/in/0: ", "b/in/0: Message:", "b/in/0: no such column", "b/in/0: in line 1"),
    ]


@pytest.mark.parametrize(("retries", "asked"), [(0, 1), (2, 3)])
def test_a_container_that_fails_is_asked_again_as_often_as_the_request_says(
    tmp_path: Path, retries: int, asked: int
) -> None:
    transforms = Transforms(tmp_path, lambda body: (500, "out of memory"))
    assert transforms.run(b"1,1\n", ModelClientConfig={"InvocationsMaxRetries": retries}) == [None]
    assert len(transforms.engine.bodies) == asked
    failure = transforms.works[0].failure
    assert failure is not None
    assert failure.kind == "AlgorithmError"
    assert transforms.log[1] == "b/in/0: Bad HTTP status received from algorithm: 500"


def test_a_container_that_recovers_is_forgiven(tmp_path: Path) -> None:
    answers = iter([(503, "starting"), (200, "2")])
    assert Transforms(tmp_path, lambda body: next(answers)).run(b"1,1\n") == ["2\n"]


def test_a_container_that_does_not_answer_in_time_fails_the_object(tmp_path: Path) -> None:
    over = threading.Event()

    def slow(body: str) -> tuple[int, str]:
        over.wait(60)
        return total(body)

    transforms = Transforms(tmp_path, slow)
    client = {"InvocationsMaxRetries": 0, "InvocationsTimeoutInSeconds": 0.1}
    assert transforms.run(b"1,1\n", ModelClientConfig=client) == [None]
    over.set()
    assert transforms.log[1] == "b/in/0: Unable to get response from algorithm: it did not answer within 0.1 seconds"


def test_a_container_that_ends_is_the_end_of_its_host(tmp_path: Path) -> None:
    transforms = Transforms(tmp_path, lambda body: (0, "") if "9" in body else total(body))
    # As late as for a process whose output is read to its end first: connections have broken long before.
    transforms.engine.end_shows_after_s = 0.1
    with pytest.raises(NotHealthy, match="ended with exit code 7"):
        transforms.run(b"1,1\n", b"9,9\n", b"2,2\n", ModelClientConfig={"InvocationsMaxRetries": 0})
    assert [work.is_done for work in transforms.works] == [True, False, False]


def test_a_container_that_takes_its_time_to_say_how_much_it_wants_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transforms = Transforms(tmp_path, total, '{"BatchStrategy": "SINGLE_RECORD"}')
    transforms.engine.parameters_after_s = 0.3
    monkeypatch.setattr(transform_server, "PING_TIMEOUT_S", 0.2)
    transforms.run(b"1,1\n2,2\n")
    assert transforms.engine.bodies == ["1,1", "2,2"]


def test_answers_do_not_pile_up_behind_one_that_takes_long(tmp_path: Path) -> None:
    asked_meanwhile: list[int] = []

    def slow_once(body: str) -> tuple[int, str]:
        if body.startswith("1,"):
            # What may be asked behind it; and that no more is, a moment shows.
            wait_for(lambda: len(transforms.engine.bodies) > 21)
            time.sleep(0.1)
            asked_meanwhile.append(len(transforms.engine.bodies))
        return total(body)

    transforms = Transforms(tmp_path, slow_once)
    rest = [b"2,2\n"] * 20
    transforms.run(*rest, b"1,1\n", *rest, MaxConcurrentTransforms=2)
    assert asked_meanwhile[0] <= 21 + 4
    assert len(transforms.engine.bodies) == 41


def test_a_stop_ends_a_host_between_requests(tmp_path: Path) -> None:
    transforms = Transforms(tmp_path, total)

    def check() -> None:
        if transforms.engine.bodies:
            raise JobStopped

    with pytest.raises(JobStopped):
        transforms.run(*[b"1,1\n"] * 50, check=check)
    assert len(transforms.engine.bodies) < 5


def test_gzip_is_unpacked_before_it_is_cut(tmp_path: Path) -> None:
    transforms = Transforms(tmp_path, total)
    outputs = transforms.run(gzip.compress(b"1,1\n2,2\n"), b"3,3\n", source={"CompressionType": "Gzip"})
    assert outputs == ["2\n4\n", None]
    assert "The object is not compressed with gzip" in transforms.log[-1]


def test_a_payload_of_any_size_is_sent_in_chunks(tmp_path: Path) -> None:
    transforms = Transforms(tmp_path, lambda body: (200, str(len(body))))
    content = b"1" * (7 * MIB)
    assert transforms.run(content, MaxPayloadInMB=0, source={"SplitType": "None"}) == [f"{len(content)}\n"]
    assert transforms.engine.headers[0]["Transfer-Encoding"] == "chunked"


def test_an_object_without_records_has_an_output_without_answers(tmp_path: Path) -> None:
    assert Transforms(tmp_path, total).run(b"", b"1,1") == ["", "2\n"]


def test_what_the_model_cannot_be_told_fails_before_it_is_asked(tmp_path: Path) -> None:
    transforms = Transforms(tmp_path, total)
    assert transforms.run(b"1,1\n", DataProcessing={"InputFilter": "$[5]"}) == [None]
    assert transforms.engine.bodies == []
    assert transforms.log[1] == "b/in/0: ClientError: unable to evaluate payload provided: $[5] asks for index 5 of 2"
