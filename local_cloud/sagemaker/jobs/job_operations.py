"""What the operations of all kinds of jobs share: a job is started, stopped, deleted, and settled after a kill."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from local_cloud.platform import Caller, Credentials, RoleRefused
from local_cloud.sagemaker import tags
from local_cloud.sagemaker.errors import ResourceInUse, ValidationError
from local_cloud.sagemaker.jobs.job_records import TERMINAL, JobKind, announce, describe, folder_of, update
from local_cloud.sagemaker.jobs.job_runs import BY_USER, SESSION, JobRun, runs
from local_cloud.sagemaker.service import Request, Response, Sagemaker
from local_cloud.sagemaker.store import Document, Duplicate

INTERRUPTED = (
    "InternalServerError: The local cloud was stopped while this job was running. Please try again: start the job, or "
    "the pipeline execution that it belongs to, once more."
)


def create_job(
    service: Sagemaker,
    kind: JobKind,
    caller: Caller,
    request: Request,
    job: Document,
    run: Callable[[Sagemaker, JobKind, Caller, Document, Credentials], JobRun],
    role_arn: str | None = None,
) -> Response:
    """Check what only the cloud knows, write the job down, and start it.

    The job runs as the role of its request, which the caller must be allowed to pass; or as `role_arn`, which was passed
    before: with the model of a transform job.

    Raises:
        ResourceInUse: the name is taken.
        AccessDenied: the caller may not pass the role.
        ValidationError: SageMaker cannot assume the role.
    """
    name, place = job[kind.name_key], (caller.account, caller.region)
    if service.store.get(kind.resource, *place, name) is not None:
        raise _taken(kind, job[kind.arn_key])
    if role_arn is None:
        role_arn = request["RoleArn"]
        service.check_pass_role(caller, role_arn)
    try:
        credentials = service.platform.assume_role(role_arn, SESSION)
    except RoleRefused as error:
        raise ValidationError(str(error)) from error
    try:
        with service.store.undisturbed():
            with service.store.transaction():
                tags.save(service, caller, job[kind.arn_key], request.get("Tags"))
                service.store.insert(kind.resource, *place, name, job)
            announce(service, kind, caller, job)
    except BaseException as error:
        service.platform.forget_session(credentials)
        if isinstance(error, Duplicate):
            raise _taken(kind, job[kind.arn_key]) from error
        raise
    begun = run(service, kind, caller, job, credentials)
    runs(service).begin(begun)
    # Whoever has seen it in a list may have stopped it before there was a run to tell.
    written = service.store.get(kind.resource, *place, name)
    if written is not None and written[kind.status_key] == "Stopping":
        begun.stop(BY_USER)
    return {kind.arn_key: job[kind.arn_key]}


def _taken(kind: JobKind, job_arn: str) -> ResourceInUse:
    return ResourceInUse(
        f"{kind.noun.capitalize()} names must be unique within an AWS account and region, and a {kind.noun} with this name "
        f"already exists ({job_arn})"
    )


def stop_job(service: Sagemaker, kind: JobKind, caller: Caller, name: str) -> Response:
    """Set the status to Stopping and tell the run.

    Raises:
        ResourceNotFound: there is no such job.
        ValidationError: it has ended already.
    """
    with service.store.transaction():
        job = describe(service, kind, caller, name)
        status = job[kind.status_key]
        if status in TERMINAL:
            raise ValidationError(f"The request was rejected because the {kind.noun} is in status {status}.")
        if status != "Stopping":
            update(service, kind, caller, name, kind.stopping)
    run = runs(service).get(job[kind.arn_key])
    if run is not None:
        run.stop(BY_USER)
    return {}


def delete_job(service: Sagemaker, kind: JobKind, caller: Caller, name: str) -> Response:
    """Forget a job that has ended, and its folder; its name is free again.

    Raises:
        ResourceNotFound: there is no such job.
        ResourceInUse: it has not ended.
    """
    with service.store.transaction():
        job = describe(service, kind, caller, name)
        if job[kind.status_key] not in TERMINAL:
            raise ResourceInUse(
                f"The {kind.noun} {name} is in status {job[kind.status_key]}; only one in a terminal state can be deleted."
            )
        # Before the name is free, or the next job of this name could lose its files.
        shutil.rmtree(folder_of(service, kind, caller, name), ignore_errors=True)
        service.store.delete(kind.resource, caller.account, caller.region, name)
        tags.forget(service, caller, job[kind.arn_key])
    return {}


def settle(service: Sagemaker, kind: JobKind) -> None:
    """End the jobs that ran when the local cloud ended.

    They are Failed, with a reason of the kind that may be tried again, or Stopped if somebody had asked for that.
    """

    def end(job: Document) -> None:
        asked = job[kind.status_key] == "Stopping"
        kind.finish(job, "Stopped" if asked else "Failed", None if asked else INTERRUPTED)

    for account, region, job in service.store.everywhere(kind.resource):
        if job[kind.status_key] in TERMINAL or runs(service).get(job[kind.arn_key]) is not None:
            continue
        caller = Caller(account=account, region=region, arn=f"arn:aws:iam::{account}:root")
        name = job[kind.name_key]
        update(service, kind, caller, name, end)
        shutil.rmtree(folder_of(service, kind, caller, name) / "ml", ignore_errors=True)
