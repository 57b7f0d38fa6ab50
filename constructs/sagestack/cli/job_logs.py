"""Reads the CloudWatch logs of jobs and endpoints, once or as they grow."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sagestack.cli.pipeline_runs import Execution, Job

if TYPE_CHECKING:
    from sagestack.cli.session import Session

GROUPS = {"training": "/aws/sagemaker/TrainingJobs", "processing": "/aws/sagemaker/ProcessingJobs"}
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
    """The training or processing job of that name."""
    from botocore.exceptions import ClientError

    lookups = (
        ("training", lambda: session.sagemaker.describe_training_job(TrainingJobName=name)),
        ("processing", lambda: session.sagemaker.describe_processing_job(ProcessingJobName=name)),
    )
    for kind, look_up in lookups:
        try:
            look_up()
        except ClientError as error:
            # A training job that is not there is a ValidationException, a processing job a ResourceNotFound.
            if error.response["Error"]["Code"] not in ("ValidationException", "ResourceNotFound"):
                raise
        else:
            return Job("training" if kind == "training" else "processing", name)
    return None


def read(session: Session, source: Source, tail: int | None) -> list[Line]:
    """The lines that are there, oldest first; at most the last `tail`."""
    lines = [line for _, line in _events(session, source, None)]
    return lines if tail is None else lines[-tail:]


def follow(session: Session, source: Source) -> Iterator[Line]:
    """The lines that are there and those that come, until the job has ended; an endpoint's for ever."""
    seen: set[str] = set()
    newest: int | None = None
    while True:
        ended = source.job is not None and _has_ended(session, source.job)
        if ended:
            time.sleep(SETTLE_S)
        for event_id, line in _events(session, source, newest):
            if event_id not in seen:
                seen.add(event_id)
                yield line
                newest = max(newest or 0, int(line.time.timestamp() * 1000))
        if ended:
            return
        time.sleep(session.poll_seconds)


def _events(session: Session, source: Source, since_ms: int | None) -> Iterator[tuple[str, Line]]:
    from botocore.exceptions import ClientError

    more = {"logStreamNamePrefix": source.prefix} if source.prefix else {}
    since = {} if since_ms is None else {"startTime": since_ms}
    pages = session.logs.get_paginator("filter_log_events").paginate(
        logGroupName=source.group,
        **more,  # type: ignore[arg-type]
        **since,  # type: ignore[arg-type]
    )
    try:
        for page in pages:
            for event in page["events"]:
                # Asked for already, but not every cloud that speaks this API filters by it.
                if not event["logStreamName"].startswith(source.prefix):
                    continue
                moment = datetime.datetime.fromtimestamp(event["timestamp"] / 1000, datetime.UTC)
                yield event["eventId"], Line(moment, event["logStreamName"], event["message"].rstrip("\n"))
    except ClientError as error:
        # The group appears with the first line that a container writes.
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise


def _has_ended(session: Session, job: Job) -> bool:
    if job.kind == "training":
        status: str = session.sagemaker.describe_training_job(TrainingJobName=job.name)["TrainingJobStatus"]
    else:
        status = session.sagemaker.describe_processing_job(ProcessingJobName=job.name)["ProcessingJobStatus"]
    return status in ("Completed", "Failed", "Stopped")
