"""What the local cloud knows of a job: the Describe response that it keeps, and who is told when that changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.model import ListShape, Shape, StructureShape

from local_cloud.platform import Caller
from local_cloud.sagemaker import events, notifications, tags
from local_cloud.sagemaker.errors import ResourceNotFound
from local_cloud.sagemaker.service import Request, Response, Sagemaker, arn, matching, model, page
from local_cloud.sagemaker.store import Document

TERMINAL = {"Completed", "Failed", "Stopped"}


@dataclass(frozen=True)
class JobKind:
    """What differs between kinds of jobs in the API.

    Attributes:
        resource: as ARNs write it; also the kind of their documents in the store.
        noun: for messages.
        prefix: begins the members of the API: `TrainingJob` gives TrainingJobName, TrainingJobArn, TrainingJobStatus.
        log_group: of CloudWatch Logs.
        event: the detail-type of its EventBridge events.
        out_of_time: the reason of a job that was stopped after its MaxRuntimeInSeconds; empty where the API has no such limit.
    """

    resource: str
    noun: str
    prefix: str
    log_group: str
    event: str
    out_of_time: str = ""

    @property
    def name_key(self) -> str:
        """Of the job's name."""
        return f"{self.prefix}Name"

    @property
    def arn_key(self) -> str:
        """Of the job's ARN."""
        return f"{self.prefix}Arn"

    @property
    def status_key(self) -> str:
        """Of the job's status."""
        return f"{self.prefix}Status"

    @property
    def shape(self) -> StructureShape:
        """Of the Describe response."""
        shape = model().operation_model(f"Describe{self.prefix}").output_shape
        assert isinstance(shape, StructureShape)
        return shape

    def stopping(self, job: Document) -> None:
        """Write into a job's Describe response that it is being stopped."""
        job[self.status_key] = "Stopping"

    def finish(self, job: Document, status: str, reason: str | None) -> None:
        """Write the end into a job's Describe response: a status of `TERMINAL`, and the reason if there is one."""
        job[self.status_key] = status
        if reason and (status == "Failed" or reason == self.out_of_time):
            job["FailureReason"] = reason
        job[f"{self.prefix.removesuffix('Job')}EndTime"] = time.time()


def new_job(kind: JobKind, caller: Caller, request: Request) -> Document:
    """The Describe response of a job that was just created: what the request says, and its first status."""
    now = time.time()
    return {
        **{member: value for member, value in request.items() if member in kind.shape.members and value is not None},
        kind.arn_key: arn(caller, f"{kind.resource}/{request[kind.name_key]}"),
        kind.status_key: "InProgress",
        "CreationTime": now,
        "LastModifiedTime": now,
    }


def describe(service: Sagemaker, kind: JobKind, caller: Caller, name: str) -> Document:
    """A job's Describe response.

    Raises:
        ResourceNotFound: there is no such job.
    """
    job = service.store.get(kind.resource, caller.account, caller.region, name)
    if job is None:
        raise ResourceNotFound(f"Could not find requested {kind.noun} with name: {name}")
    return job


def list_jobs(service: Sagemaker, kind: JobKind, caller: Caller, request: Request, members: Sequence[str]) -> Response:
    """A page of the jobs that a List request asks for, each with these members."""
    jobs = service.store.list(kind.resource, caller.account, caller.region)
    found = matching(jobs, request, name_key=kind.name_key, status_key=kind.status_key)
    summaries = [{member: job[member] for member in members if member in job} for job in found]
    return page(summaries, request, f"{kind.prefix}Summaries")


def update(
    service: Sagemaker, kind: JobKind, caller: Caller, name: str, change: Callable[[Document], None]
) -> Document | None:
    """Change a job's Describe response in the store, and tell everybody; None if the job is gone."""

    def changed(job: Document) -> None:
        change(job)
        job["LastModifiedTime"] = time.time()

    with service.store.undisturbed():
        job = service.store.update(kind.resource, caller.account, caller.region, name, changed)
        if job is not None:
            announce(service, kind, caller, job)
    return job


def announce(service: Sagemaker, kind: JobKind, caller: Caller, job: Document) -> None:
    """Wake who waits for the job, and send the event of its status."""
    notifications.publish(kind.resource, job[kind.name_key])
    # A job's document may have members that only the local cloud knows.
    told = {member: value for member, value in job.items() if member in kind.shape.members}
    detail = _in_milliseconds(told, kind.shape)
    detail["Tags"] = tags.current(service, caller, job[kind.arn_key])
    events.send(service, caller.account, caller.region, kind.event, detail, [job[kind.arn_key]])


def folder_of(service: Sagemaker, kind: JobKind, caller: Caller, name: str) -> Path:
    """The folder of a job: `container.log`, and `ml` (its /opt/ml) while it runs."""
    jobs = service.state_dir / "jobs"
    # Closed to others: what containers must be able to write is open to every user below it.
    jobs.mkdir(mode=0o700, parents=True, exist_ok=True)
    return jobs / f"{caller.account}-{caller.region}" / kind.resource / name


def _in_milliseconds(value: Any, shape: Shape) -> Any:
    """A response as events carry it: times as milliseconds since 1970 (SageMaker developer guide, EventBridge)."""
    if shape.type_name == "timestamp":
        return int(value * 1000)
    if isinstance(shape, StructureShape):
        return {name: _in_milliseconds(item, shape.members[name]) for name, item in value.items()}
    if isinstance(shape, ListShape):
        return [_in_milliseconds(item, shape.member) for item in value]
    return value
