"""Transform jobs: the API's operations. `transform_run` says what a job does."""

from __future__ import annotations

from local_cloud.platform import Caller
from local_cloud.sagemaker.jobs.job_operations import create_job, stop_job
from local_cloud.sagemaker.jobs.job_records import JobKind, describe, list_jobs, new_job
from local_cloud.sagemaker.jobs.transform_request import check, model_of, with_defaults
from local_cloud.sagemaker.jobs.transform_run import MODEL, TransformRun
from local_cloud.sagemaker.service import Request, Response, Sagemaker, operation

KIND = JobKind(
    resource="transform-job",
    noun="transform job",
    prefix="TransformJob",
    log_group="/aws/sagemaker/TransformJobs",
    event="SageMaker Transform Job State Change",
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
