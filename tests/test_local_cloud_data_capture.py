"""What an endpoint captures of its requests: AWS's records in S3, written by the endpoint's role, never in a request's way."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud.clock import Clock
from local_cloud.sagemaker.capture import data_capture, data_capture_writer
from local_cloud.sagemaker.capture.data_capture import Captured, CaptureSettings
from local_cloud.sagemaker.capture.data_capture_writer import CaptureWriter
from tests.hosted_images import BUCKET, LOGS, READ, Hosting, fits
from tests.local_cloud_fixtures import LocalCloud
from tests.waiting import wait_for

CONFIG = {
    "EnableCapture": True,
    "InitialSamplingPercentage": 100,
    "DestinationS3Uri": "s3://captured/data",
    "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
    "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]},
}
AT = 1_644_859_549.25


def captured(body: bytes = b"1,2\n", content_type: str | None = "text/csv", **changes: Any) -> Captured:
    headers = {} if content_type is None else {"content-type": content_type}
    members: dict[str, Any] = {
        "event_id": "an-id",
        "at": AT,
        "headers": headers | changes.pop("headers", {}),
        "body": body,
        "answer_type": "text/csv; charset=utf-8",
        "answer": b"0.5",
    }
    return Captured(**(members | changes))


def record(config: dict[str, Any], item: Captured) -> dict[str, Any]:
    settings = CaptureSettings.of(config)
    assert settings
    line = data_capture.line(settings, item)
    assert "\n" not in line
    return dict(json.loads(line))


# --- The records ------------------------------------------------------------------------------------------------------


def test_a_record_has_the_form_that_the_developer_guide_shows() -> None:
    assert record(CONFIG, captured()) == {
        "captureData": {
            "endpointInput": {
                "observedContentType": "text/csv",
                "mode": "INPUT",
                "data": "1,2\n",
                "encoding": "CSV",
            },
            "endpointOutput": {
                "observedContentType": "text/csv; charset=utf-8",
                "mode": "OUTPUT",
                "data": "0.5",
                "encoding": "CSV",
            },
        },
        "eventMetadata": {"eventId": "an-id", "inferenceTime": "2022-02-14T17:25:49Z"},
        "eventVersion": "0",
    }


def test_a_record_has_the_inference_id_and_the_custom_attributes_of_request_and_answer() -> None:
    headers = {"x-amzn-sagemaker-inference-id": "mine", "x-amzn-sagemaker-custom-attributes": "asked"}
    metadata = record(CONFIG, captured(headers=headers, answer_attributes="answered"))["eventMetadata"]
    assert metadata["inferenceId"] == "mine"
    assert metadata["customAttributes"] == ["asked", "answered"]


@pytest.mark.parametrize(
    ("body", "content_type", "encoding"),
    [
        (b'{"a": 1}', "application/json", "JSON"),
        (b'{"a": 1}', "Application/JSON; charset=utf-8", "JSON"),
        (b"1,2", "application/x-other", "BASE64"),
        (b"1,2", None, "BASE64"),
        (b"\xff\xfe", "text/csv", "BASE64"),
    ],
)
def test_data_is_text_only_where_its_content_type_is_listed(
    body: bytes, content_type: str | None, encoding: str
) -> None:
    part = record(CONFIG, captured(body, content_type))["captureData"]["endpointInput"]
    assert part["encoding"] == encoding
    assert (base64.b64decode(part["data"]) if encoding == "BASE64" else part["data"].encode()) == body


def test_without_content_types_everything_is_base64() -> None:
    config = {**CONFIG, "CaptureContentTypeHeader": {}}
    assert record(config, captured())["captureData"]["endpointInput"]["data"] == base64.b64encode(b"1,2\n").decode()


@pytest.mark.parametrize(
    ("modes", "parts"),
    [
        (["Input"], {"endpointInput"}),
        (["Output"], {"endpointOutput"}),
        (["InputAndOutput"], {"endpointInput", "endpointOutput"}),
    ],
)
def test_only_what_the_options_name_is_captured(modes: list[str], parts: set[str]) -> None:
    config = {**CONFIG, "CaptureOptions": [{"CaptureMode": mode} for mode in modes]}
    assert set(record(config, captured())["captureData"]) == parts


def test_capture_is_on_unless_it_is_said_to_be_off() -> None:
    unsaid = {key: value for key, value in CONFIG.items() if key != "EnableCapture"}
    assert CaptureSettings.of(unsaid)
    assert CaptureSettings.of({**CONFIG, "EnableCapture": False}) is None
    assert CaptureSettings.of(None) is None


def test_files_are_below_endpoint_variant_and_hour() -> None:
    settings = CaptureSettings.of(CONFIG)
    assert settings
    key = data_capture.key(settings, "mine", "AllTraffic", AT, "id")
    assert key == "data/mine/AllTraffic/2022/02/14/17/25-49-250-id.jsonl"


# --- The writer -------------------------------------------------------------------------------------------------------


class S3:
    """Keeps what is put, refuses, or hangs."""

    def __init__(self) -> None:
        self.puts: list[dict[str, Any]] = []
        self.refuses = False
        self.hangs = threading.Event()
        self.hangs.set()
        self.asked = 0

    def put_object(self, **arguments: Any) -> None:
        self.asked += 1
        self.hangs.wait(60)
        if self.refuses:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "PutObject")
        self.puts.append(arguments)

    @property
    def records(self) -> int:
        return sum(put["Body"].count(b"\n") for put in self.puts)


class Log:
    """Keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        self.lines.append(line)

    def close(self) -> None:
        pass


def writer(s3: S3, log: Log, factor: float = 240, **changes: Any) -> CaptureWriter:
    settings = CaptureSettings.of({**CONFIG, **changes})
    assert settings
    return CaptureWriter(settings, "mine", "AllTraffic", s3, log, Clock(factor))  # type: ignore[arg-type]


def test_records_of_one_interval_share_a_file_and_those_of_two_hours_do_not() -> None:
    s3 = S3()
    # An interval that does not end before all are taken.
    capture = writer(s3, Log(), factor=1)
    for at in (AT, AT + 1, AT + 3600):
        capture.take(captured(at=at))
    capture.close(60)
    assert [put["Body"].count(b"\n") for put in s3.puts] == [2, 1]
    assert "/2022/02/14/18/" in s3.puts[1]["Key"]


def test_a_minute_of_the_clock_passes_before_a_file_is_written_and_the_end_waits_for_none() -> None:
    s3 = S3()
    capture = writer(s3, Log(), factor=1)
    capture.take(captured())
    time.sleep(0.2)
    assert not s3.puts
    capture.close(60)
    assert s3.records == 1


def test_the_key_of_the_configuration_encrypts_the_files() -> None:
    s3 = S3()
    capture = writer(s3, Log(), KmsKeyId="alias/mine")
    capture.take(captured())
    capture.close(60)
    assert s3.puts[0]["ServerSideEncryption"] == "aws:kms"
    assert s3.puts[0]["SSEKMSKeyId"] == "alias/mine"


def test_what_cannot_be_written_is_told_once_kept_and_written_when_it_can_be() -> None:
    s3, log = S3(), Log()
    s3.refuses = True
    capture = writer(s3, log)
    capture.take(captured())
    # More than once it is tried, and told once.
    wait_for(lambda: s3.asked >= 3)
    assert len(log.lines) == 1
    assert "s3:PutObject on arn:aws:s3:::captured/data/*" in log.lines[0]
    s3.refuses = False
    wait_for(lambda: s3.records == 1)
    wait_for(lambda: capture.working)
    assert "written again" in log.lines[1]


def test_memory_is_bounded_while_nothing_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_capture_writer, "MAX_WAITING_BYTES", 10_000)
    s3, log = S3(), Log()
    s3.hangs.clear()
    capture = writer(s3, log)
    for _ in range(100):
        capture.take(captured(b"x" * 1000))
    assert len(capture._waiting) < 10
    s3.hangs.set()
    capture.close(60)
    assert s3.records < 10
    assert any("requests were answered but not captured" in line for line in log.lines)


def test_what_is_lost_at_the_end_is_counted_in_the_log() -> None:
    s3, log = S3(), Log()
    s3.refuses = True
    capture = writer(s3, log)
    capture.take(captured())
    capture.close(60)
    assert "1 captured requests were lost" in log.lines[-1]


def test_taking_a_record_does_not_wait_for_s3() -> None:
    s3 = S3()
    s3.hangs.clear()
    capture = writer(s3, Log())
    capture.take(captured())
    wait_for(lambda: s3.asked)
    for _ in range(1000):
        capture.take(captured())
    assert not s3.puts, "who waited for it would have waited until it put something"
    s3.hangs.set()
    capture.close(60)
    assert s3.records == 1001


def test_the_sample_is_the_configured_share() -> None:
    capture = writer(S3(), Log(), InitialSamplingPercentage=30)
    assert 2_500 < sum(capture.samples() for _ in range(10_000)) < 3_500
    assert not any(writer(S3(), Log(), InitialSamplingPercentage=0).samples() for _ in range(100))


# --- Endpoints --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hosting(cloud: LocalCloud) -> Iterator[Hosting]:
    hosting = Hosting(cloud)
    cloud.client("s3").create_bucket(Bucket="captured")
    yield hosting
    hosting.sagemaker.delete_endpoint(EndpointName="unwritten")


def variant(model: str) -> dict[str, Any]:
    return {
        "VariantName": "AllTraffic",
        "ModelName": model,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }


def config(hosting: Hosting, name: str, model: str, **capture: Any) -> str:
    hosting.sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[variant(model)],
        DataCaptureConfig={**CONFIG, **capture},
    )
    return name


def objects(hosting: Hosting, prefix: str) -> list[dict[str, Any]]:
    """All records below a prefix."""
    s3 = hosting.cloud.client("s3")
    found = s3.list_objects_v2(Bucket="captured", Prefix=prefix).get("Contents", [])
    bodies = [s3.get_object(Bucket="captured", Key=item["Key"])["Body"].read().decode() for item in found]
    return [json.loads(line) for body in bodies for line in body.splitlines()]


def test_twenty_requests_give_twenty_records_and_an_update_that_switches_it_off_ends_it(hosting: Hosting) -> None:
    write = {"Action": "s3:PutObject", "Resource": "arn:aws:s3:::captured/data/*"}
    model = hosting.model("watched", hosting.cloud.role("writes-captures", READ, LOGS, write))
    hosting.endpoint("watched", config(hosting, "watched", model))
    for number in range(20):
        hosting.runtime.invoke_endpoint(
            EndpointName="watched", Body=f"raw:{number}", ContentType="text/csv", InferenceId=str(number)
        )
    with pytest.raises(ClientError):
        hosting.runtime.invoke_endpoint(EndpointName="watched", Body=json.dumps({"fail": 500}))
    records = wait_for(lambda: len(found := objects(hosting, "data/watched/AllTraffic/")) >= 20 and found)
    # The failed request has no prediction, so it has no record.
    assert sorted(int(item["eventMetadata"]["inferenceId"]) for item in records) == list(range(20))
    for item in records:
        assert item["captureData"]["endpointInput"]["data"] == f"raw:{item['eventMetadata']['inferenceId']}"
        assert item["captureData"]["endpointInput"]["encoding"] == "CSV"
        assert item["captureData"]["endpointOutput"]["observedContentType"] == "text/plain"
    described = hosting.sagemaker.describe_endpoint(EndpointName="watched")
    fits("DescribeEndpoint", described)
    assert described["DataCaptureConfig"] == {
        "EnableCapture": True,
        "CaptureStatus": "Started",
        "CurrentSamplingPercentage": 100,
        "DestinationS3Uri": "s3://captured/data",
        "KmsKeyId": "",
    }
    # Retaining all properties retains no capture: VariantProperty calls that "Not currently supported".
    hosting.sagemaker.update_endpoint(
        EndpointName="watched",
        EndpointConfigName=config(hosting, "unwatched", model, EnableCapture=False),
        RetainAllVariantProperties=True,
    )
    assert hosting.settled("watched")["DataCaptureConfig"]["CaptureStatus"] == "Stopped"
    hosting.ask("watched")
    hosting.sagemaker.delete_endpoint(EndpointName="watched")
    assert hosting.gone("watched")
    assert len(objects(hosting, "data/watched/")) == 20


def test_a_role_that_may_not_write_costs_no_request_and_shows_in_the_log_and_in_the_status(hosting: Hosting) -> None:
    model = hosting.model("unwritten", hosting.cloud.role("writes-no-captures", READ, LOGS))
    hosting.endpoint("unwritten", config(hosting, "unwritten", model))
    for _ in range(5):
        assert hosting.ask("unwritten")["model"] == "unwritten"

    def told() -> list[str]:
        group, stream = "/aws/sagemaker/Endpoints/unwritten", "AllTraffic/data-capture"
        try:
            found = hosting.cloud.client("logs").get_log_events(logGroupName=group, logStreamName=stream)
        except ClientError:
            return []
        return [event["message"] for event in found["events"]]

    lines = wait_for(told)
    assert "s3:PutObject" in lines[0]
    assert hosting.sagemaker.describe_endpoint(EndpointName="unwritten")["DataCaptureConfig"]["CaptureStatus"] == (
        "Stopped"
    )
    assert hosting.ask("unwritten")["model"] == "unwritten"


def test_a_destination_outside_of_s3_is_refused(hosting: Hosting) -> None:
    with pytest.raises(ClientError, match="captures data to s3://bucket/prefix, not to https://captured/data"):
        config(hosting, "elsewhere", "watched", DestinationS3Uri="https://captured/data")


def test_an_asynchronous_request_is_captured_too_and_the_end_of_the_endpoint_writes_the_last_record(
    hosting: Hosting,
) -> None:
    cloud = hosting.cloud
    write = {"Action": "s3:PutObject", "Resource": "arn:aws:s3:::captured/*"}
    model = hosting.model("queued", cloud.role("captures", READ, LOGS, write))
    hosting.sagemaker.create_endpoint_config(
        EndpointConfigName="queued",
        ProductionVariants=[variant(model)],
        DataCaptureConfig=CONFIG,
        AsyncInferenceConfig={"OutputConfig": {"S3OutputPath": "s3://captured/output"}},
    )
    hosting.endpoint("queued", "queued")
    cloud.client("s3").put_object(Bucket=BUCKET, Key="input", Body=b"raw:1,2")
    location = hosting.runtime.invoke_endpoint_async(
        EndpointName="queued", InputLocation=f"s3://{BUCKET}/input", ContentType="text/csv", InferenceId="mine"
    )["OutputLocation"]
    key = location.removeprefix("s3://captured/")
    wait_for(lambda: cloud.client("s3").list_objects_v2(Bucket="captured", Prefix=key)["KeyCount"])
    # At once, long before the interval is over.
    hosting.sagemaker.delete_endpoint(EndpointName="queued")
    assert hosting.gone("queued")
    (item,) = objects(hosting, "data/queued/AllTraffic/")
    assert item["eventMetadata"]["inferenceId"] == "mine"
    assert item["captureData"]["endpointInput"]["data"] == "raw:1,2"
    assert base64.b64decode(item["captureData"]["endpointOutput"]["data"]) == b"raw:1,2"
