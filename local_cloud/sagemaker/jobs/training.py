"""Training jobs: the API's operations."""

from __future__ import annotations

from local_cloud.platform import Caller
from local_cloud.sagemaker.jobs.job_operations import create_job, delete_job, stop_job
from local_cloud.sagemaker.jobs.job_records import describe, list_jobs, new_job
from local_cloud.sagemaker.jobs.job_runs import DEFAULT_MAX_RUNTIME_S
from local_cloud.sagemaker.jobs.training_request import check, check_engine, with_defaults
from local_cloud.sagemaker.jobs.training_run import TrainingRun
from local_cloud.sagemaker.jobs.training_status import KIND as KIND
from local_cloud.sagemaker.jobs.training_status import transition
from local_cloud.sagemaker.request_checks import refuse_members
from local_cloud.sagemaker.service import Request, Response, Sagemaker, operation


@operation("CreateTrainingJob")
def create_training_job(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """CreateTrainingJob."""
    check(request)
    check_engine(request, service.engine.kind)
    job = new_job(KIND, caller, request)
    job["StoppingCondition"] = {"MaxRuntimeInSeconds": DEFAULT_MAX_RUNTIME_S, **request.get("StoppingCondition", {})}
    job["OutputDataConfig"] = {"KmsKeyId": "", "CompressionType": "GZIP", **request["OutputDataConfig"]}
    if "InputDataConfig" in request:
        job["InputDataConfig"] = [with_defaults(channel) for channel in request["InputDataConfig"]]
    for switch in ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining"):
        job.setdefault(switch, False)
    job["SecondaryStatusTransitions"] = []
    transition(job, "Starting")
    return create_job(service, KIND, caller, request, job, TrainingRun)


@operation("DescribeTrainingJob")
def describe_training_job(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DescribeTrainingJob."""
    return describe(service, KIND, caller, request["TrainingJobName"])


@operation("ListTrainingJobs")
def list_training_jobs(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """ListTrainingJobs."""
    refuse_members(
        request, {"WarmPoolStatusEquals": "warm pools", "TrainingPlanArnEquals": "training plans"}, path="request "
    )
    members = (
        *("TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingEndTime", "LastModifiedTime"),
        *("TrainingJobStatus", "SecondaryStatus"),
    )
    return list_jobs(service, KIND, caller, request, members)


@operation("StopTrainingJob")
def stop_training_job(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """StopTrainingJob."""
    return stop_job(service, KIND, caller, request["TrainingJobName"])


@operation("DeleteTrainingJob")
def delete_training_job(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DeleteTrainingJob."""
    return delete_job(service, KIND, caller, request["TrainingJobName"])
