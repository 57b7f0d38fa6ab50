"""Processing jobs: the API's operations, and what a job does until its outputs are in S3."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local_cloud.platform import Caller
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.jobs.job_data import DataError, JobData
from local_cloud.sagemaker.jobs.job_operations import create_job, delete_job, stop_job
from local_cloud.sagemaker.jobs.job_records import JobKind, describe, list_jobs, new_job
from local_cloud.sagemaker.jobs.job_runs import (
    DEFAULT_MAX_RUNTIME_S,
    HOST,
    REASON_LENGTH,
    JobFailed,
    JobRun,
    algorithm_error,
    left_message,
)
from local_cloud.sagemaker.request_checks import check_instances, check_s3, check_unique, refuse, refuse_members
from local_cloud.sagemaker.service import Request, Response, Sagemaker, operation

ML = "/opt/ml/"
PROCESSING = "/opt/ml/processing/"
"""Where inputs and outputs must be (ProcessingS3Input and ProcessingS3Output in the API reference)."""


KIND = JobKind(
    resource="processing-job",
    noun="processing job",
    prefix="ProcessingJob",
    log_group="/aws/sagemaker/ProcessingJobs",
    event="SageMaker Processing Job State Change",
    out_of_time="ClientError: The processing job exceeded its MaxRuntimeInSeconds and was stopped.",
)


@operation("CreateProcessingJob")
def create_processing_job(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """CreateProcessingJob."""
    _check(request)
    job = new_job(KIND, caller, request)
    job["StoppingCondition"] = request.get("StoppingCondition") or {"MaxRuntimeInSeconds": DEFAULT_MAX_RUNTIME_S}
    if "ProcessingInputs" in request:
        job["ProcessingInputs"] = [_with_defaults(item) for item in request["ProcessingInputs"]]
    return create_job(service, KIND, caller, request, job, ProcessingRun)


@operation("DescribeProcessingJob")
def describe_processing_job(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DescribeProcessingJob."""
    return describe(service, KIND, caller, request["ProcessingJobName"])


@operation("ListProcessingJobs")
def list_processing_jobs(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """ListProcessingJobs."""
    members = (
        *("ProcessingJobName", "ProcessingJobArn", "CreationTime", "ProcessingEndTime", "LastModifiedTime"),
        *("ProcessingJobStatus", "FailureReason", "ExitMessage"),
    )
    return list_jobs(service, KIND, caller, request, members)


@operation("StopProcessingJob")
def stop_processing_job(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """StopProcessingJob."""
    return stop_job(service, KIND, caller, request["ProcessingJobName"])


@operation("DeleteProcessingJob")
def delete_processing_job(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DeleteProcessingJob."""
    return delete_job(service, KIND, caller, request["ProcessingJobName"])


class ProcessingRun(JobRun):
    """One processing job that runs."""

    def work(self) -> Mapping[str, Any]:
        """See JobRun."""
        data, specification = self.data(), self.job["AppSpecification"]
        self._say_what_differs()
        image = self.preparing(specification["ImageUri"])
        self._lay_out()
        self._download(data)
        ready = self.prepared(image)
        self.update(lambda job: job.update(ProcessingStartTime=time.time()))
        spec = self.spec(
            ready,
            arguments=specification.get("ContainerArguments") or [],
            entrypoint=specification.get("ContainerEntrypoint"),
            environment={"PROCESSING_JOB_ARN": self.arn, **self.job.get("Environment", {})},
            isolated=self.job.get("NetworkConfig", {}).get("EnableNetworkIsolation", False),
        )
        code = self.run_containers(
            {HOST: spec}, max_runtime_s=self.job["StoppingCondition"]["MaxRuntimeInSeconds"]
        ).code
        message = left_message(self.ml / "output/message")[:REASON_LENGTH]
        gained = {"ExitMessage": message} if message else {}
        if code != 0:
            if gained:
                self.update(lambda job: job.update(gained))
            raise algorithm_error(message or "See job logs for more information", code)
        self._upload(data)
        return gained

    def _say_what_differs(self) -> None:
        instance_type = self.job["ProcessingResources"]["ClusterConfig"]["InstanceType"]
        self.log.note(f"This machine stands for one {instance_type}: its processors and memory are what the job has.")
        if self.job.get("NetworkConfig", {}).get("VpcConfig"):
            self.log.note("VpcConfig has no effect here: the job uses this machine's network.")

    def _lay_out(self) -> None:
        """The folders and configuration files of the container contract (developer guide, "How Amazon SageMaker Processing
        Configures Your Processing Container")."""
        for folder in ("config", "processing", "output"):
            (self.ml / folder).mkdir(parents=True)
        for output in self._outputs():
            self._local(output["S3Output"]["LocalPath"]).mkdir(parents=True, exist_ok=True)
        specification, outputs = self.job["AppSpecification"], self.job.get("ProcessingOutputConfig", {"Outputs": []})
        cluster = self.job["ProcessingResources"]["ClusterConfig"]
        config = {
            "ProcessingJobArn": self.arn,
            "ProcessingJobName": self.name,
            "AppSpecification": {"ContainerEntrypoint": None, "ContainerArguments": None, **specification},
            "Environment": self.job.get("Environment", {}),
            "ProcessingInputs": self._inputs(),
            "ProcessingOutputConfig": {"KmsKeyId": None, **outputs},
            "ProcessingResources": {"ClusterConfig": {"VolumeKmsKeyId": None, **cluster}},
            "RoleArn": self.job["RoleArn"],
            "StoppingCondition": self.job["StoppingCondition"],
        }
        (self.ml / "config/processingjobconfig.json").write_text(json.dumps(config))
        resources = {"current_host": HOST, "hosts": [HOST]}
        (self.ml / "config/resourceconfig.json").write_text(json.dumps(resources))

    def _download(self, data: JobData) -> None:
        for item in self._inputs():
            source = item["S3Input"]
            folder = self._local(source["LocalPath"])
            folder.mkdir(parents=True, exist_ok=True)
            try:
                data.download(source, folder)
            except DataError as error:
                raise JobFailed(
                    f"ClientError: Failed to download data of the input {item['InputName']}. {error}"
                ) from error

    def _upload(self, data: JobData) -> None:
        kms_key_id = self.job.get("ProcessingOutputConfig", {}).get("KmsKeyId")
        for output in self._outputs():
            target = output["S3Output"]
            try:
                data.upload_folder(self._local(target["LocalPath"]), target["S3Uri"], kms_key_id)
            except DataError as error:
                raise JobFailed(
                    f"ClientError: Failed to upload data of the output {output['OutputName']}. {error}"
                ) from error

    def _inputs(self) -> list[dict[str, Any]]:
        inputs: list[dict[str, Any]] = self.job.get("ProcessingInputs", [])
        return inputs

    def _outputs(self) -> list[dict[str, Any]]:
        outputs: list[dict[str, Any]] = self.job.get("ProcessingOutputConfig", {}).get("Outputs", [])
        return outputs

    def _local(self, path: str) -> Path:
        """A path of the container as one of this machine."""
        return self.ml / path.removeprefix(ML)


def _with_defaults(item: Mapping[str, Any]) -> dict[str, Any]:
    defaults = {"S3InputMode": "File", "S3DataDistributionType": "FullyReplicated", "S3CompressionType": "None"}
    return {"AppManaged": False, **item, "S3Input": {**defaults, **item["S3Input"]}}


def _check(request: Request) -> None:
    """Check what the shapes do not say, and refuse what is not here."""
    refuse_members(request, {"ExperimentConfig": "experiments"})
    cluster = request["ProcessingResources"].get("ClusterConfig")
    if not cluster:
        raise ValidationError("ProcessingResources.ClusterConfig is required.")
    refuse_members(cluster, {"InstancePreferences": "instance preferences"}, "ProcessingResources.ClusterConfig.")
    check_instances(cluster, "ProcessingResources.ClusterConfig", "processing", at_most=1)
    inputs = request.get("ProcessingInputs", [])
    outputs = request.get("ProcessingOutputConfig", {}).get("Outputs", [])
    check_unique("Input", [item["InputName"] for item in inputs])
    check_unique("Output", [item["OutputName"] for item in outputs])
    for item in inputs:
        _check_input(item)
    for output in outputs:
        _check_output(output)


def _check_input(item: Mapping[str, Any]) -> None:
    path = f"ProcessingInputs {item['InputName']}"
    refuse_members(
        item,
        {"AppManaged": "inputs that the container fetches", "DatasetDefinition": "dataset definitions"},
        f"{path}: ",
    )
    source = item.get("S3Input")
    if not source:
        raise ValidationError(f"{path}: S3Input is required.")
    if source.get("S3InputMode", "File") == "Pipe":
        refuse(f"the input mode Pipe ({path}); File is there")
    if source.get("S3CompressionType", "None") != "None":
        raise ValidationError(f"{path}: S3CompressionType Gzip is for the input mode Pipe; leave it out for File.")
    _check_local_path(source.get("LocalPath"), f"{path}: S3Input.LocalPath")
    check_s3(source["S3Uri"], f"{path}: S3Input.S3Uri")


def _check_output(output: Mapping[str, Any]) -> None:
    path = f"ProcessingOutputConfig {output['OutputName']}"
    refuse_members(
        output,
        {"AppManaged": "outputs that the container uploads", "FeatureStoreOutput": "outputs to a feature store"},
        f"{path}: ",
    )
    target = output.get("S3Output")
    if not target:
        raise ValidationError(f"{path}: S3Output is required.")
    if target["S3UploadMode"] == "Continuous":
        refuse(f"the upload mode Continuous ({path}); EndOfJob is there")
    _check_local_path(target.get("LocalPath"), f"{path}: S3Output.LocalPath")
    check_s3(target["S3Uri"], f"{path}: S3Output.S3Uri")


def _check_local_path(local_path: str | None, path: str) -> None:
    if not local_path or not local_path.startswith(PROCESSING) or ".." in local_path.split("/"):
        raise ValidationError(f"{path} must be an absolute path that begins with {PROCESSING}, got {local_path}")
