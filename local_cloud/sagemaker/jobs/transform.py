"""Transform jobs: the API's operations. `transform_run` says what a job does."""

from __future__ import annotations

import time

from local_cloud.platform import Caller
from local_cloud.sagemaker.jobs.job_operations import create_job, stop_job
from local_cloud.sagemaker.jobs.job_records import JobKind, describe, list_jobs, new_job
from local_cloud.sagemaker.jobs.transform_request import check, model_of, with_defaults
from local_cloud.sagemaker.jobs.transform_run import MODEL, TransformRun
from local_cloud.sagemaker.service import Request, Response, Sagemaker, operation
from local_cloud.sagemaker.store import Document


def _stopping(job: Document) -> None:
    """Write into a transform job's Describe response that it is being stopped."""
    job["TransformJobStatus"] = "Stopping"


def _finish(job: Document, status: str, reason: str | None) -> None:
    """Write the end of a transform job into its Describe response."""
    job["TransformJobStatus"] = status
    if reason and status == "Failed":
        job["FailureReason"] = reason
    job["TransformEndTime"] = time.time()


KIND = JobKind(
    resource="transform-job",
    noun="transform job",
    prefix="TransformJob",
    log_group="/aws/sagemaker/TransformJobs",
    event="SageMaker Transform Job State Change",
    out_of_time="",  # The API has no limit of a transform job's time.
    stopping=_stopping,
    finish=_finish,
)


@operation("CreateTransformJob")
def create_transform_job(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """CreateTransformJob."""
    check(request)
    model = model_of(service, caller, request)
    # Kept with the job, as AWS does: a model that is deleted meanwhile stays with the jobs that it was given to.
    job = {**new_job(KIND, caller, with_defaults(request)), MODEL: model}
    return create_job(service, KIND, caller, request, job, TransformRun, role_arn=model["ExecutionRoleArn"])


@operation("DescribeTransformJob")
def describe_transform_job(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DescribeTransformJob."""
    job = describe(service, KIND, caller, request["TransformJobName"])
    return {member: value for member, value in job.items() if member in KIND.shape.members}


@operation("ListTransformJobs")
def list_transform_jobs(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """ListTransformJobs."""
    members = (
        *("TransformJobName", "TransformJobArn", "CreationTime", "TransformEndTime", "LastModifiedTime"),
        *("TransformJobStatus", "FailureReason"),
    )
    return list_jobs(service, KIND, caller, request, members)


@operation("StopTransformJob")
def stop_transform_job(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """StopTransformJob."""
    return stop_job(service, KIND, caller, request["TransformJobName"])
