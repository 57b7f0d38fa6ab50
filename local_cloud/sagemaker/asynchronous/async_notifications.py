"""What the topics of an asynchronous endpoint are told.

The guide shows no message; the form is that of messages that users have published, members in their order.
"""

from __future__ import annotations

import base64
import datetime
import json
import time
from typing import Any

from local_cloud.sagemaker.store import Document

MAX_RESPONSE_BYTES = 128 * 1024
"""The largest answer that goes into a message (AsyncInferenceNotificationConfig in the API reference)."""
_INCLUDED = {"SuccessTopic": "SUCCESS_NOTIFICATION_TOPIC", "ErrorTopic": "ERROR_NOTIFICATION_TOPIC"}


def topic_of(document: Document, *, succeeded: bool) -> str | None:
    """Who is to be told of a request's end."""
    topic: str | None = document["Topics"].get(_member(succeeded))
    return topic


def includes_response(document: Document, size: int, *, succeeded: bool) -> bool:
    """Whether the message carries the answer itself."""
    return size <= MAX_RESPONSE_BYTES and _INCLUDED[_member(succeeded)] in document["IncludeResponseIn"]


def response_body(content: bytes) -> Document:
    """The answer, as a message carries it: these three members are known, the words of `message` are ours."""
    return {
        "content": base64.b64encode(content).decode(),
        "message": "Response body was base64 encoded",
        "encoding": "BASE64",
    }


def message(document: Document, region: str) -> str:
    """The message about a request that has a Result."""
    result = document["Result"]
    members: dict[str, Any] = {
        "awsRegion": region,
        "eventTime": _iso(time.time()),
        "receivedTime": _iso(document["ReceivedTime"]),
        "invocationStatus": "Completed" if result["Succeeded"] else "Failed",
    }
    if not result["Succeeded"]:
        members["failureReason"] = result["Reason"]
    asked = {
        "accept": document.get("Accept"),
        "contentType": document.get("ContentType"),
        "customAttributes": document.get("CustomAttributes"),
        "endpointName": document["Endpoint"],
        "inputLocation": document.get("InputLocation"),
    }
    members["requestParameters"] = {name: value for name, value in asked.items() if value}
    if result["Location"]:
        kind = {"contentType": result["ContentType"]} if result["Succeeded"] else {}
        members["responseParameters"] = {**kind, "outputLocation": result["Location"]}
    if result.get("ResponseBody"):
        members["responseBody"] = result["ResponseBody"]
    members |= {
        "inferenceId": document["InferenceId"],
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }
    return json.dumps(members, separators=(",", ":"))


def _member(succeeded: bool) -> str:
    return "SuccessTopic" if succeeded else "ErrorTopic"


def _iso(seconds: float) -> str:
    return (
        datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
