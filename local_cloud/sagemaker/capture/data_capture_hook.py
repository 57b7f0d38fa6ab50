"""Hands an answered request to what captures its variant, where there is something."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING

from local_cloud.sagemaker.capture.data_capture import Captured
from local_cloud.sagemaker.hosting.container_calls import MAX_BODY_BYTES, Reply
from local_cloud.sagemaker.store import Document

if TYPE_CHECKING:
    from local_cloud.sagemaker.asynchronous import async_container
    from local_cloud.sagemaker.hosting.fleet import Variant

logger = logging.getLogger(__name__)

MAX_FILE_BYTES = 2 * MAX_BODY_BYTES
"""Inputs and outputs of asynchronous requests that are larger together are not captured: a real-time request's are not
either, and a gigabyte does not belong into a line of JSON."""


def keep(variant: Variant, at: float, headers: Mapping[str, str], body: bytes, reply: Reply) -> None:
    """Capture a request and its answer, if the variant captures and the sample takes it. Costs microseconds.

    Only what was answered is captured: no document of SageMaker says what a record of a failed request looks like, and
    whoever reads one would take the error's text for a prediction.

    Args:
        variant: the variant that answered.
        at: when the request came, POSIX seconds.
        headers: of the request, in lower case.
        body: of the request.
        reply: the answer.
    """
    capture = variant.capture
    if capture is None or not reply.succeeded or not capture.samples():
        return
    capture.take(
        Captured(
            event_id=str(uuid.uuid4()),
            at=at,
            headers=headers,
            body=body,
            answer_type=reply.headers.get("content-type"),
            answer=reply.body,
            answer_attributes=reply.headers.get("x-amzn-sagemaker-custom-attributes"),
        )
    )


def keep_file(variant: Variant, document: Document, body: IO[bytes], size: int, reply: async_container.Reply) -> None:
    """Capture an asynchronous request, likewise; never raises, since the request must not fail of it.

    Args:
        variant: the variant that answered.
        document: the request, as it is kept.
        body: its input.
        size: how many bytes that has.
        reply: the answer, whose body is left where it began.
    """
    capture = variant.capture
    if capture is None or not reply.succeeded or not capture.samples():
        return
    if size + reply.size > MAX_FILE_BYTES:
        capture.drop()
        return
    members = {
        "content-type": "ContentType",
        "x-amzn-sagemaker-custom-attributes": "CustomAttributes",
        "x-amzn-sagemaker-inference-id": "InferenceId",
    }
    try:
        body.seek(0)
        asked, answered = body.read(), reply.body.read()
        reply.body.seek(0)
    except (OSError, ValueError):
        logger.exception("A request to variant %s could not be captured", variant.name)
        return
    capture.take(
        Captured(
            event_id=str(uuid.uuid4()),
            at=document["ReceivedTime"],
            headers={header: document[member] for header, member in members.items() if document.get(member)},
            body=asked,
            answer_type=reply.headers.get("content-type"),
            answer=answered,
            answer_attributes=reply.headers.get("x-amzn-sagemaker-custom-attributes"),
        )
    )
