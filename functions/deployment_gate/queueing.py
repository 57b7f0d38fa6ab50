"""Sends golden records to an asynchronous endpoint: into S3, and out of it when the answers are there.

One call sends, later ones look, since an endpoint without instances needs minutes to have one. What was sent is written
beside the inputs, so that no call needs to remember.
"""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import ClientError

from .answers import shown
from .asking import INFERENCE_ID, Wrong, refuse_difference
from .golden_records import GoldenRecords

_SENT = "sent.json"


class Queue:
    """The golden records of one deployment in an asynchronous endpoint's queue."""

    def __init__(self, runtime: Any, s3: Any, *, endpoint: str, input_uri: str, request_id: str) -> None:
        """Say where the inputs go.

        Args:
            runtime: a client of sagemaker-runtime.
            s3: a client.
            endpoint: its name.
            input_uri: an S3 prefix that this function may write and the endpoint's role may read.
            request_id: what tells this deployment from others.
        """
        self._runtime, self._s3, self._endpoint = runtime, s3, endpoint
        self._bucket, _, prefix = input_uri.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix.rstrip('/')}/{request_id}".lstrip("/")

    def ask_all(self, what: str, golden: GoldenRecords) -> bool:
        """Send all records, or look for the answers of what was sent; False while some are to come.

        Raises:
            Wrong: an answer differs, or the endpoint wrote a failure.
        """
        sent = self._get(f"{self._prefix}/{_SENT}")
        if sent is None:
            self._put(_SENT, json.dumps([self._send(number, golden) for number in range(1, len(golden.records) + 1)]))
            return False
        complete = True
        for number, (output, failure) in enumerate(json.loads(sent), start=1):
            got = self._get_uri(output)
            if got is not None:
                refuse_difference(what, number, golden, got)
                continue
            failed = self._get_uri(failure) if failure else None
            if failed is not None:
                raise Wrong(
                    f"Golden record {number}: {what} does not answer: {shown(failed)} The request was"
                    f" {shown(golden.records[number - 1].body)}"
                )
            complete = False
        return complete

    def _send(self, number: int, golden: GoldenRecords) -> tuple[str, str]:
        record = golden.records[number - 1]
        key = self._put(f"record-{number}", record.body)
        answer = self._runtime.invoke_endpoint_async(
            EndpointName=self._endpoint,
            InputLocation=f"s3://{self._bucket}/{key}",
            ContentType=record.content_type,
            Accept=record.accept,
            InferenceId=INFERENCE_ID,
        )
        return answer["OutputLocation"], answer.get("FailureLocation", "")

    def _put(self, name: str, content: str | bytes) -> str:
        key = f"{self._prefix}/{name}"
        self._s3.put_object(
            Bucket=self._bucket, Key=key, Body=content.encode() if isinstance(content, str) else content
        )
        return key

    def _get_uri(self, uri: str) -> bytes | None:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return self._get(key, bucket)

    def _get(self, key: str, bucket: str = "") -> bytes | None:
        try:
            return bytes(self._s3.get_object(Bucket=bucket or self._bucket, Key=key)["Body"].read())
        except ClientError as error:
            if error.response["Error"].get("Code", "") in ("NoSuchKey", "404"):
                return None
            raise
