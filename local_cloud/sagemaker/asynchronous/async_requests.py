"""One asynchronous request: what InvokeEndpointAsync takes, and what is kept of it until it is answered."""

from __future__ import annotations

import base64
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any

from local_cloud.sagemaker.asynchronous import async_configs
from local_cloud.sagemaker.jobs.job_data import Location
from local_cloud.sagemaker.store import Document

KIND = "async-inference"
"""Of the documents in the store: one for each request that is not answered."""
DEFAULT_TTL_S = 21600
"""RequestTTLSeconds where the request says nothing: 6 hours, in the cloud's seconds (API reference)."""
DEFAULT_TIMEOUT_S = 900
"""InvocationTimeoutSeconds where the request says nothing: 15 minutes, real ones (API reference)."""
MAX_INLINE_BYTES = 128_000
"""The largest body that a request may carry instead of an InputLocation (botocore's model)."""
MAX_INPUT_BYTES = 1024**3
"""The largest input and the largest output ("Asynchronous inference" in the developer guide)."""

_PREFIX = "x-amzn-sagemaker-"
_NUMBERS = {"RequestTTLSeconds": (60, 21600, DEFAULT_TTL_S), "InvocationTimeoutSeconds": (1, 3600, DEFAULT_TIMEOUT_S)}
_FILE_NAME = re.compile(r"(?!.*\..*\.)[a-zA-Z0-9][a-zA-Z0-9\-_.]{0,31}")
_EXTENSION = re.compile(r"(?!s3:|https:)[a-zA-Z0-9!_.*'()/-]{1,512}")


class BadRequest(Exception):
    """The request is refused; the message says why."""


def of(headers: Mapping[str, str], body: bytes, endpoint: str, plan: Document) -> Document:
    """What is kept of a request.

    It carries everything that it needs, so that it ends as it began when the endpoint is updated meanwhile.

    Args:
        headers: of the request, in lower case.
        body: of the request, which may stand for the InputLocation.
        endpoint: the endpoint's name.
        plan: what the endpoint has deployed.

    Raises:
        BadRequest: something is missing or malformed.
    """
    config = plan["AsyncInferenceConfig"]
    output = config["OutputConfig"]
    request_id = str(uuid.uuid4())
    document: Document = {
        "Id": request_id,
        "Endpoint": endpoint,
        "InferenceId": headers.get(f"{_PREFIX}inference-id") or str(uuid.uuid4()),
        "ReceivedTime": time.time(),
        "RoleArn": async_configs.role_of(plan),
        "KmsKeyId": output.get("KmsKeyId"),
        "Topics": async_configs.notified(config),
        "IncludeResponseIn": (output.get("NotificationConfig") or {}).get("IncludeInferenceResponseIn") or [],
        "Concurrency": async_configs.concurrency(config),
        "Attempts": 0,
        **_input(headers, body),
        **{member: _number(headers, member) for member in _NUMBERS},
    }
    for member, header in (
        ("ContentType", "content-type"),
        ("Accept", "accept"),
        ("CustomAttributes", "custom-attributes"),
    ):
        if value := headers.get(_PREFIX + header):
            document[member] = value
    extension = _matching(headers, "s3outputpathextension", "S3OutputPathExtension", _EXTENSION)
    name = _matching(headers, "filename", "Filename", _FILE_NAME) or f"{request_id}.out"
    document["OutputLocation"] = _below(output["S3OutputPath"], extension, name)
    if output.get("S3FailurePath"):
        stem = name.removesuffix(".out")
        document["FailureLocation"] = _below(output["S3FailurePath"], extension, f"{stem}-error.out")
    return document


def container_headers(document: Document) -> dict[str, str]:
    """The headers with which a container gets a request."""
    given = {
        "Content-Type": document.get("ContentType"),
        "Accept": document.get("Accept"),
        "X-Amzn-SageMaker-Custom-Attributes": document.get("CustomAttributes"),
        "X-Amzn-SageMaker-Inference-Id": document["InferenceId"],
    }
    return {name: value for name, value in given.items() if value}


def _input(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    address = headers.get(f"{_PREFIX}inputlocation")
    if address and body:
        raise BadRequest("Give either an InputLocation or a Body, not both.")
    if not address:
        if not body:
            raise BadRequest("Give an InputLocation, the address of the input in S3, or a Body.")
        if len(body) > MAX_INLINE_BYTES:
            raise BadRequest(
                f"1 validation error detected: Value at 'body' failed to satisfy constraint: Member must have length less "
                f"than or equal to {MAX_INLINE_BYTES}, got {len(body)}"
            )
        return {"Body": base64.b64encode(body).decode()}
    try:
        location = Location.parse(address)
    except ValueError as error:
        raise BadRequest(f"Invalid InputLocation: {error}") from error
    if not location.key:
        raise BadRequest(f"Invalid InputLocation: {address} names no object.")
    return {"InputLocation": address}


def _number(headers: Mapping[str, str], member: str) -> int:
    least, most, default = _NUMBERS[member]
    text = headers.get(_PREFIX + member.lower())
    if text is None:
        return default
    if not text.isdigit() or not least <= int(text) <= most:
        raise BadRequest(f"{member} must be a number from {least} to {most}, got {text!r}.")
    return int(text)


def _matching(headers: Mapping[str, str], header: str, member: str, pattern: re.Pattern[str]) -> str | None:
    text = headers.get(_PREFIX + header)
    if text is not None and not pattern.fullmatch(text):
        raise BadRequest(f"{member} must match {pattern.pattern}, got {text!r}.")
    return text


def _below(path: str, extension: str | None, name: str) -> str:
    parts = [path.rstrip("/"), *([extension.strip("/")] if extension else []), name]
    return "/".join(parts)
