"""What is captured of the requests to an endpoint, and the form in which it is written: AWS's own, one JSON object a line.

The form follows the developer guide, "Capture data from real-time endpoint", and DataCaptureConfig in the API reference.
"""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local_cloud.sagemaker.errors import NotEmulated
from local_cloud.sagemaker.model_data import split
from local_cloud.sagemaker.store import Document

if TYPE_CHECKING:
    from local_cloud.sagemaker.hosting.fleet import Fleet

_MODES = {"Input": {"Input"}, "Output": {"Output"}, "InputAndOutput": {"Input", "Output"}}


@dataclass(frozen=True)
class CaptureSettings:
    """A DataCaptureConfig that captures.

    Attributes:
        share: the part of the requests that is captured, from 0 to 1 (InitialSamplingPercentage).
        bucket: where to.
        prefix: below what, without a slash at its end.
        captures_input: whether requests are captured.
        captures_output: whether answers are captured.
        csv_types: content types that are written as text, with the encoding CSV.
        json_types: those with the encoding JSON. Everything else is written in base64, as DataCaptureConfig says.
        kms_key_id: the key of the objects in S3; empty for the bucket's own encryption.
    """

    share: float
    bucket: str
    prefix: str
    captures_input: bool
    captures_output: bool
    csv_types: frozenset[str]
    json_types: frozenset[str]
    kms_key_id: str = ""

    @classmethod
    def of(cls, config: Mapping[str, Any] | None) -> CaptureSettings | None:
        """From a DataCaptureConfig; None if nothing is to be captured. EnableCapture is true unless it is said to be false.

        Raises:
            NotEmulated: the destination is not s3://bucket/prefix.
        """
        if not config or not config.get("EnableCapture", True):
            return None
        bucket, prefix = _destination(config["DestinationS3Uri"])
        modes = set().union(*(_MODES[option["CaptureMode"]] for option in config["CaptureOptions"]))
        types = config.get("CaptureContentTypeHeader") or {}
        return cls(
            share=config["InitialSamplingPercentage"] / 100,
            bucket=bucket,
            prefix=prefix,
            captures_input="Input" in modes,
            captures_output="Output" in modes,
            csv_types=frozenset(map(str.lower, types.get("CsvContentTypes") or ())),
            json_types=frozenset(map(str.lower, types.get("JsonContentTypes") or ())),
            kms_key_id=config.get("KmsKeyId") or "",
        )


@dataclass(frozen=True)
class Captured:
    """One request and its answer, as they were on the wire.

    Attributes:
        event_id: the record's own id.
        at: when the request came, POSIX seconds.
        headers: of the request, in lower case.
        body: of the request.
        answer_type: the content type of the answer.
        answer: its body.
        answer_attributes: the custom attributes of the answer, None if there are none.
    """

    event_id: str
    at: float
    headers: Mapping[str, str]
    body: bytes
    answer_type: str | None
    answer: bytes
    answer_attributes: str | None = None

    @property
    def size(self) -> int:
        """About what it costs in memory, in bytes."""
        return len(self.body) + len(self.answer) + 1024


def check(config: Mapping[str, Any] | None) -> None:
    """Check the DataCaptureConfig of a CreateEndpointConfig request.

    Raises:
        NotEmulated: the destination is not s3://bucket/prefix.
    """
    if config:
        _destination(config["DestinationS3Uri"])


def summary(config: Mapping[str, Any], fleets: Sequence[Fleet]) -> Document:
    """DataCaptureConfigSummary: what DescribeEndpoint tells. CaptureStatus says "whether data capture is functional".

    Args:
        config: the DataCaptureConfig of the deployed configuration.
        fleets: what serves now. Capture is Stopped where nothing does, and where the last records could not be written.
    """
    enabled = bool(config.get("EnableCapture", True))
    writers = [variant.capture for fleet in fleets for variant in fleet.variants.values() if variant.capture]
    working = bool(writers) and all(writer.working for writer in writers)
    return {
        "EnableCapture": enabled,
        "CaptureStatus": "Started" if enabled and working else "Stopped",
        "CurrentSamplingPercentage": config["InitialSamplingPercentage"],
        "DestinationS3Uri": config["DestinationS3Uri"],
        "KmsKeyId": config.get("KmsKeyId") or "",
    }


def line(settings: CaptureSettings, captured: Captured) -> str:
    """A record as one line of JSON, without its end."""
    data: Document = {}
    if settings.captures_input:
        data["endpointInput"] = _part(settings, "INPUT", captured.headers.get("content-type"), captured.body)
    if settings.captures_output:
        data["endpointOutput"] = _part(settings, "OUTPUT", captured.answer_type, captured.answer)
    metadata: Document = {"eventId": captured.event_id}
    attributes = (captured.headers.get("x-amzn-sagemaker-custom-attributes"), captured.answer_attributes)
    if given := [value for value in attributes if value is not None]:
        metadata["customAttributes"] = given
    if inference_id := captured.headers.get("x-amzn-sagemaker-inference-id"):
        metadata["inferenceId"] = inference_id
    at = datetime.datetime.fromtimestamp(captured.at, datetime.UTC)
    metadata["inferenceTime"] = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    record = {"captureData": data, "eventMetadata": metadata, "eventVersion": "0"}
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False)


def key(settings: CaptureSettings, endpoint: str, variant: str, at: float, file_id: str) -> str:
    """The key of a file whose first record is of that time: a folder for each hour, as the guide shows it."""
    time = datetime.datetime.fromtimestamp(at, datetime.UTC)
    name = f"{time:%M-%S}-{time.microsecond // 1000:03d}-{file_id}.jsonl"
    path = f"{endpoint}/{variant}/{time:%Y/%m/%d/%H}/{name}"
    return f"{settings.prefix}/{path}" if settings.prefix else path


def _part(settings: CaptureSettings, mode: str, content_type: str | None, body: bytes) -> Document:
    """EndpointInput or endpointOutput of a record."""
    media_type = (content_type or "").split(";")[0].strip().lower()
    encoding, data = "BASE64", ""
    if media_type in settings.csv_types | settings.json_types:
        try:
            data = body.decode()
            encoding = "CSV" if media_type in settings.csv_types else "JSON"
        except UnicodeDecodeError:
            # It is not what its content type says; base64 loses nothing of it.
            pass
    if encoding == "BASE64":
        data = base64.b64encode(body).decode()
    observed = {} if content_type is None else {"observedContentType": content_type}
    return {**observed, "mode": mode, "data": data, "encoding": encoding}


def _destination(uri: str) -> tuple[str, str]:
    """The bucket and the prefix of a DestinationS3Uri."""
    if not uri.startswith("s3://"):
        raise NotEmulated(f"The local cloud captures data to s3://bucket/prefix, not to {uri} (DestinationS3Uri).")
    bucket, prefix = split(uri, bucket_alone=True)
    return bucket, prefix.rstrip("/")
