"""Answers one asynchronous request: its input from S3, through the containers, its output to S3, and its topic told.

What is done is written down before the next thing begins, so that a local cloud that is killed in between neither loses a
request nor writes its output twice.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import IO, Any

from botocore.exceptions import BotoCoreError, ClientError

from local_cloud.sagemaker.asynchronous import async_notifications, async_requests
from local_cloud.sagemaker.asynchronous.async_container import CHUNK_BYTES, IN_MEMORY_BYTES, HungUp, Reply, ask, failed
from local_cloud.sagemaker.asynchronous.async_metrics import Processed
from local_cloud.sagemaker.hosting.instance import Instance
from local_cloud.sagemaker.jobs.job_data import Location
from local_cloud.sagemaker.model_data import denied_read
from local_cloud.sagemaker.store import Document

MAX_ATTEMPTS = 3
"""How often a request is given to a container that dies over it: it is processed at least once, but not for ever."""
MAX_REASON = 1024
"""How much of a container's error a message tells; its log has the rest."""


class _NotRead(Exception):
    """The input cannot be had."""


@dataclass
class Work:
    """What processing needs of the endpoint.

    Attributes:
        region: for messages.
        s3: a client with the credentials of the endpoint's role.
        sns: likewise.
        own_s3: a client of the service itself, which may look for outputs where the role may only write.
        save: writes the request down.
        log: takes a line for the data log of an instance.
    """

    region: str
    s3: Any
    sns: Any
    own_s3: Any
    save: Callable[[Document], None]
    log: Callable[[str], None]
    capture: Callable[[Document, IO[bytes], int, Reply], None] = lambda *_: None
    """Takes a request with its input, the input's length and the answer, for data capture."""


def answer(work: Work, document: Document, instance: Instance, variant: str) -> Processed:
    """Process a request on an instance, up to its output; what came of it is in the document's Result.

    Raises:
        Unreachable: a container does not listen; another instance may take the request.
        HungUp: a container ended over it, and it may be tried again.
    """
    began = time.time()
    document["Attempts"] += 1
    work.save(document)
    measured = Processed(
        endpoint=document["Endpoint"],
        variant=variant,
        failed=True,
        backlog_s=max(0.0, began - document["ReceivedTime"]),
        total_s=0.0,
    )
    started = time.monotonic()
    try:
        body, size = _input(work, document)
    except _NotRead as error:
        return fail(work, document, replace(measured, download_failed=True), f"ClientError: {error}")
    with body:
        measured = replace(measured, download_s=time.monotonic() - started)
        reply = _through(document, instance, body, size)
        work.capture(document, body, size, reply)
    with reply.body:
        measured = replace(measured, status=reply.status, model_s=reply.seconds)
        if not reply.succeeded:
            return fail(work, document, measured, _refused(reply))
        return _succeed(work, document, measured, reply)


def fail(work: Work, document: Document, measured: Processed, reason: str) -> Processed:
    """Write a failure to where failures go, if anywhere."""
    reason = reason[:MAX_REASON]
    content = reason.encode()
    location = document.get("FailureLocation")
    document["Result"] = {"Succeeded": False, "Reason": reason, "Location": location}
    if async_notifications.includes_response(document, len(content), succeeded=False):
        document["Result"]["ResponseBody"] = async_notifications.response_body(content)
    work.save(document)
    work.log(f"Inference request failed. {reason}")
    if location:
        try:
            _put(work, document, location, content, "text/plain")
        except (BotoCoreError, ClientError) as error:
            work.log(f"The failure could not be written to {location}: {error}")
            document["Result"]["Location"] = None
            measured = replace(measured, upload_failed=True)
    return replace(measured, total_s=_age(document))


def tell(work: Work, document: Document) -> bool:
    """Publish a request's result; False if its topic could not be told."""
    topic = async_notifications.topic_of(document, succeeded=document["Result"]["Succeeded"])
    if not topic:
        return True
    try:
        work.sns.publish(TopicArn=topic, Message=async_notifications.message(document, work.region))
    except (BotoCoreError, ClientError) as error:
        work.log(f"The topic {topic} could not be told: {error}")
        return False
    return True


def restore(work: Work, document: Document) -> bool:
    """Whether the output of a request that has a Result is in S3, after a restart; a failure is put there again."""
    result = document["Result"]
    if not result["Succeeded"]:
        if result["Location"]:
            _put(work, document, result["Location"], result["Reason"].encode(), "text/plain")
        return True
    location = Location.parse(result["Location"])
    try:
        head = work.own_s3.head_object(Bucket=location.bucket, Key=location.key)
    except ClientError:
        return False
    return bool(head["ETag"].strip('"') == result["ETag"])


def _succeed(work: Work, document: Document, measured: Processed, reply: Reply) -> Processed:
    kind = reply.headers.get("content-type", "application/octet-stream")
    location = document["OutputLocation"]
    document["Result"] = {
        "Succeeded": True,
        "Location": location,
        "ContentType": kind,
        "ETag": _etag(reply.body),
    }
    if async_notifications.includes_response(document, reply.size, succeeded=True):
        document["Result"]["ResponseBody"] = async_notifications.response_body(reply.body.read())
        reply.body.seek(0)
    work.save(document)
    started = time.monotonic()
    try:
        _put(work, document, location, reply.body, kind)
    except (BotoCoreError, ClientError) as error:
        reason = (
            f"ClientError: The output could not be written to {location} as the role {document['RoleArn']}: {error}"
        )
        return fail(work, document, replace(measured, upload_failed=True), reason)
    measured = replace(measured, failed=False, upload_s=time.monotonic() - started, total_s=_age(document))
    work.log(
        f"Inference request succeeded. ModelLatency: {_us(measured.model_s)} us, RequestDownloadLatency: "
        f"{_us(measured.download_s)} us, ResponseUploadLatency: {_us(measured.upload_s)} us, TimeInBacklog: "
        f"{measured.backlog_s * 1e3:.0f} ms, TotalProcessingTime: {measured.total_s * 1e3:.0f} ms"
    )
    return measured


def _input(work: Work, document: Document) -> tuple[IO[bytes], int]:
    """The input from its beginning, and its length."""
    body = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115 - the caller closes it
    if "Body" in document:
        body.write(base64.b64decode(document["Body"]))
    else:
        location = Location.parse(document["InputLocation"])
        try:
            found = work.s3.get_object(Bucket=location.bucket, Key=location.key)
            if found["ContentLength"] > async_requests.MAX_INPUT_BYTES:
                raise _NotRead(
                    f"{location} has {found['ContentLength']} bytes; the limit is {async_requests.MAX_INPUT_BYTES}."
                )
            shutil.copyfileobj(found["Body"], body)
        except (BotoCoreError, ClientError) as error:
            body.close()
            code = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
            why = "there is no such object" if code == "NoSuchKey" else str(error)
            if isinstance(error, ClientError) and code in ("AccessDenied", "403"):
                why = denied_read(location.bucket, location.key, error)
            raise _NotRead(
                f"The input {location} could not be read as the role {document['RoleArn']}: {why}"
            ) from error
    size = body.tell()
    body.seek(0)
    return body, size


def _through(document: Document, instance: Instance, body: IO[bytes], size: int) -> Reply:
    """The answer of the last container; each gets what the one before it answered."""
    timeout_s = document["InvocationTimeoutSeconds"]
    deadline = time.monotonic() + timeout_s
    headers = async_requests.container_headers(document)
    servers = list(instance.servers.values())
    seconds = 0.0
    reply: Reply | None = None
    for server in servers:
        its_headers = {name: value for name, value in headers.items() if name != "Accept" or server is servers[-1]}
        left = max(0.1, deadline - time.monotonic())
        earlier = reply
        try:
            reply = ask(server.port, server.spec.container, its_headers, body, size, left)
        except HungUp as error:
            if document["Attempts"] < MAX_ATTEMPTS:
                raise
            reply = failed(f"{error}, {document['Attempts']} times", 0.0)
        finally:
            if earlier is not None:
                earlier.body.close()
        seconds += reply.seconds
        if not reply.succeeded:
            break
        body, size = reply.body, reply.size
        headers["Content-Type"] = reply.headers.get("content-type", "application/octet-stream")
    assert reply is not None, "an instance without a container"
    reply.seconds = seconds
    return reply


def _put(work: Work, document: Document, location: str, content: IO[bytes] | bytes, kind: str) -> None:
    where = Location.parse(location)
    encryption = (
        {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": document["KmsKeyId"]} if document["KmsKeyId"] else {}
    )
    work.s3.put_object(Bucket=where.bucket, Key=where.key, Body=content, ContentType=kind, **encryption)


def _etag(body: IO[bytes]) -> str:
    """The ETag that S3 gives to an object of one part: the MD5 of its content."""
    digest = hashlib.md5(usedforsecurity=False)
    while chunk := body.read(CHUNK_BYTES):
        digest.update(chunk)
    body.seek(0)
    return digest.hexdigest()


def _refused(reply: Reply) -> str:
    original = reply.body.read(MAX_REASON).decode(errors="replace")
    reply.body.seek(0)
    if reply.status == 0:
        return f"ClientError: {original}"
    kind = "client" if 400 <= reply.status < 500 else "server"
    return (
        f'ClientError: Received {kind} error ({reply.status}) from model with message "{original}". See the SageMaker '
        "Endpoint logs in your account for more information."
    )


def _age(document: Document) -> float:
    return max(0.0, time.time() - float(document["ReceivedTime"]))


def _us(seconds: float | None) -> int:
    return round((seconds or 0.0) * 1e6)
