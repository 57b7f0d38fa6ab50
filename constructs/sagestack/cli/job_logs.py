"""Reads the CloudWatch logs of jobs and endpoints, once or as they grow."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sagestack.cli.pipeline_execution import Execution, Job, JobKind

if TYPE_CHECKING:
    from mypy_boto3_logs.type_defs import OutputLogEventTypeDef

    from sagestack.cli.session import Session

GROUPS: dict[JobKind, str] = {
    "training": "/aws/sagemaker/TrainingJobs",
    "processing": "/aws/sagemaker/ProcessingJobs",
    "transform": "/aws/sagemaker/TransformJobs",
}
MAX_PAGE_LINES = 10_000
"""GetLogEvents gives no more at once."""
SETTLE_S = 1.0
"""The last lines of a container arrive a moment after its job has ended."""


@dataclass(frozen=True)
class Source:
    """Where lines come from."""

    title: str
    group: str
    prefix: str
    """Of the streams' names; a job has one stream per instance."""
    job: Job | None = None


@dataclass(frozen=True)
class Line:
    """One line of a log."""

    time: datetime.datetime
    stream: str
    message: str


def of_job(job: Job, title: str | None = None) -> Source:
    return Source(title or job.name, GROUPS[job.kind], f"{job.name}/", job)


def of_endpoint(name: str) -> Source:
    return Source(name, f"/aws/sagemaker/Endpoints/{name}", "")


def of_execution(execution: Execution, step: str | None) -> list[Source]:
    """The logs of an execution's jobs, a failed one first, or of one step alone."""
    steps = [s for s in execution.steps if s.job is not None and step in (None, s.name)]
    steps.sort(key=lambda s: s.status != "Failed")
    return [of_job(s.job, s.name) for s in steps if s.job is not None]


def find_job(session: Session, name: str) -> Job | None:
    """The training, processing or transform job of that name."""
    from botocore.exceptions import ClientError

    for kind in GROUPS:
        job = Job(kind, name)
        try:
            _status(session, job)
        except ClientError as error:
            # A training job that is not there is a ValidationException, the others are a ResourceNotFound.
            if error.response["Error"]["Code"] not in ("ValidationException", "ResourceNotFound"):
                raise
        else:
            return job
    return None


def read(session: Session, source: Source, tail: int | None) -> list[Line]:
    """The lines that are there, oldest first; at most the last `tail`."""
    lines: list[Line] = []
    for stream in _streams(session, source):
        lines += _all(session, source, stream) if tail is None else _last(session, source, stream, tail)
    lines.sort(key=lambda line: line.time)
    return lines if tail is None else lines[-tail:]


def follow(session: Session, source: Source) -> Iterator[Line]:
    """The lines that are there and those that come, until the job has ended; an endpoint's for ever."""
    tokens: dict[str, str] = {}
    while True:
        ended = source.job is not None and _has_ended(session, source.job)
        if ended:
            time.sleep(SETTLE_S)
        lines: list[Line] = []
        for stream in _streams(session, source):
            new, tokens[stream] = _from(session, source, stream, tokens.get(stream))
            lines += new
        yield from sorted(lines, key=lambda line: line.time)
        if ended:
            return
        time.sleep(session.poll_seconds)


def _streams(session: Session, source: Source) -> list[str]:
    more = {"logStreamNamePrefix": source.prefix} if source.prefix else {}
    try:
        pages = session.logs.get_paginator("describe_log_streams").paginate(
            logGroupName=source.group,
            **more,  # type: ignore[arg-type]
        )
        return [stream["logStreamName"] for page in pages for stream in page["logStreams"]]
    except session.logs.exceptions.ResourceNotFoundException:
        # The group appears with the first line that a container writes.
        return []


# Each stream by itself: FilterLogEvents would look through all that other jobs wrote to the group, from its beginning.


def _all(session: Session, source: Source, stream: str) -> list[Line]:
    return _from(session, source, stream, None)[0]


def _from(session: Session, source: Source, stream: str, token: str | None) -> tuple[list[Line], str]:
    """What a stream has after a token, oldest first, and the token of what comes after that."""
    lines: list[Line] = []
    while True:
        page = session.logs.get_log_events(
            logGroupName=source.group,
            logStreamName=stream,
            startFromHead=True,
            **({"nextToken": token} if token else {}),  # type: ignore[arg-type]
        )
        lines += _lines(stream, page["events"])
        # The API says that there is no more by giving the same token again, and only so: a page may be empty before.
        if page["nextForwardToken"] == token:
            return lines, token
        token = page["nextForwardToken"]


def _last(session: Session, source: Source, stream: str, count: int) -> list[Line]:
    """The last lines of a stream, oldest first."""
    lines: list[Line] = []
    token: str | None = None
    while len(lines) < count:
        page = session.logs.get_log_events(
            logGroupName=source.group,
            logStreamName=stream,
            startFromHead=False,
            limit=min(count - len(lines), MAX_PAGE_LINES),
            **({"nextToken": token} if token else {}),  # type: ignore[arg-type]
        )
        lines = _lines(stream, page["events"]) + lines
        if page["nextBackwardToken"] == token:
            break
        token = page["nextBackwardToken"]
    return lines


def _lines(stream: str, events: Iterable[OutputLogEventTypeDef]) -> list[Line]:
    return [
        Line(
            datetime.datetime.fromtimestamp(event["timestamp"] / 1000, datetime.UTC),
            stream,
            event["message"].rstrip("\n"),
        )
        for event in events
    ]


def _has_ended(session: Session, job: Job) -> bool:
    return _status(session, job) in ("Completed", "Failed", "Stopped")


def _status(session: Session, job: Job) -> str:
    match job.kind:
        case "training":
            return session.sagemaker.describe_training_job(TrainingJobName=job.name)["TrainingJobStatus"]
        case "processing":
            return session.sagemaker.describe_processing_job(ProcessingJobName=job.name)["ProcessingJobStatus"]
        case "transform":
            return session.sagemaker.describe_transform_job(TransformJobName=job.name)["TransformJobStatus"]
