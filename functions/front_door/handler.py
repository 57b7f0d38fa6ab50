"""Takes a request of the HTTP API to the endpoint, and the answer back.

What is not worth the endpoint's time is refused here: an unknown content type, an empty body, one that is too large. Requests
and answers are never logged, only what became of them.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

from .refusals import Refusal, refusal_of

MOST_BYTES = 6 * 1024 * 1024
"""What Lambda takes and gives in one call, as JSON: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html

A body that is not text travels in base64, so of those a quarter less."""
READ_TIMEOUT_S = 25
"""Less than the 30 seconds after which API Gateway gives up, so that there is an answer that says so."""
_TEXT = ("text/", "application/json", "application/jsonlines", "application/xml")
_PASSED_ON = {
    "x-amzn-sagemaker-target-model": "TargetModel",
    "x-amzn-sagemaker-target-container-hostname": "TargetContainerHostname",
    "x-amzn-sagemaker-inference-id": "InferenceId",
}
"""Which model of several, which container of several, and the caller's name for the request. Not which variant: that is
decided by weights."""
_INFERENCE_ID = "x-amzn-sagemaker-inference-id"
_RESERVED = "sagestack-"
"""Begins the names of the project's own requests, which monitoring leaves out: nobody else may hide behind them."""
VARIANT = "x-amzn-invoked-production-variant"
"""The header that says who answered, called as in SageMaker's own HTTP API."""
_OVERHEAD_BYTES = 4096  # of the JSON around an answer


@dataclass(frozen=True)
class Answer:
    """What a caller gets."""

    status: int
    body: bytes
    headers: Mapping[str, str]


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Answer one request of an HTTP API (payload format 2.0). Raises nothing: what goes wrong is an answer."""
    started = time.monotonic()
    request = _body(event)
    error = ""
    try:
        answer = predict(runtime(), event.get("headers") or {}, request)
        reply = _reply(answer)
    except Refusal as refusal:
        error = refusal.code
        reply = _reply(Answer(refusal.status, refusal.body, refusal.headers))
    _log(event, request, reply, error, time.monotonic() - started)
    return reply


def predict(client: Any, headers: Mapping[str, str], body: bytes) -> Answer:
    """Ask the endpoint. `headers` are in lower case, as API Gateway gives them.

    Raises:
        Refusal: the request is not worth asking, or the endpoint did not answer it.
    """
    _check(headers, body)
    asked = {
        "EndpointName": os.environ["ENDPOINT_NAME"],
        "ContentType": headers["content-type"],
        "Accept": headers.get("accept", "*/*"),
        "Body": body,
    }
    asked |= {member: headers[name] for name, member in _PASSED_ON.items() if name in headers}
    if os.environ.get("INFERENCE_COMPONENT_NAME"):
        asked["InferenceComponentName"] = os.environ["INFERENCE_COMPONENT_NAME"]
    try:
        answer = client.invoke_endpoint(**asked)
        content = answer["Body"].read()
    except ClientError as error:
        raise refusal_of(error.response) from error
    except ReadTimeoutError as error:
        raise Refusal(504, "Timeout", f"The model did not answer within {READ_TIMEOUT_S} seconds.") from error
    except BotoCoreError as error:
        raise Refusal(502, "NoConnection", "The endpoint could not be reached.") from error
    return Answer(
        200,
        content,
        {
            "content-type": answer.get("ContentType") or "application/octet-stream",
            **({VARIANT: answer["InvokedProductionVariant"]} if "InvokedProductionVariant" in answer else {}),
        },
    )


@cache
def runtime() -> Any:
    """The client, once for all requests of one execution environment.

    It asks once: a second attempt after a timeout would come when API Gateway has given up, and double the load of an
    endpoint that is slow already.
    """
    return boto3.client(
        "sagemaker-runtime",
        config=Config(connect_timeout=2, read_timeout=READ_TIMEOUT_S, retries={"total_max_attempts": 1}),
    )


def _check(headers: Mapping[str, str], body: bytes) -> None:
    allowed = os.environ["CONTENT_TYPES"].split(",")
    given = headers.get("content-type", "")
    if given.partition(";")[0].strip().lower() not in {each.lower() for each in allowed}:
        raise Refusal(
            415, "UnsupportedContentType", f"Content-Type {given!r} is not understood (allowed: {', '.join(allowed)})."
        )
    if headers.get(_INFERENCE_ID, "").startswith(_RESERVED):
        raise Refusal(400, "ReservedInferenceId", f"An inference ID may not begin with {_RESERVED}: choose another.")
    if not body:
        raise Refusal(400, "EmptyBody", "The request has no body: there is nothing to predict.")
    if len(body) > MOST_BYTES:
        raise Refusal(
            413, "TooLarge", f"The body has {len(body)} bytes; {MOST_BYTES} are the limit. Send fewer records."
        )


def _body(event: Mapping[str, Any]) -> bytes:
    body = event.get("body") or ""
    return base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()


def _reply(answer: Answer) -> dict[str, Any]:
    """The answer as API Gateway wants it: text as it is, anything else in base64."""
    text = _text(answer)
    body = base64.b64encode(answer.body).decode() if text is None else text
    if len(body.encode()) > MOST_BYTES - _OVERHEAD_BYTES:
        raise Refusal(
            502,
            "AnswerTooLarge",
            f"The model's answer has {len(answer.body)} bytes, more than can be returned. Send fewer records at once.",
        )
    return {"statusCode": answer.status, "headers": dict(answer.headers), "body": body, "isBase64Encoded": text is None}


def _text(answer: Answer) -> str | None:
    if not answer.headers.get("content-type", "").lower().startswith(_TEXT):
        return None
    try:
        return answer.body.decode()
    except UnicodeDecodeError:
        return None


def _log(event: Mapping[str, Any], request: bytes, reply: Mapping[str, Any], error: str, seconds: float) -> None:
    context = event.get("requestContext") or {}
    print(
        json.dumps(
            {
                "request_id": context.get("requestId", ""),
                "source_ip": (context.get("http") or {}).get("sourceIp", ""),
                "status": reply["statusCode"],
                "error": error,
                "variant": reply["headers"].get(VARIANT, ""),
                "request_bytes": len(request),
                "answer_characters": len(reply["body"]),
                "milliseconds": round(seconds * 1000),
            }
        )
    )
