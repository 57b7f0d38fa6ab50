"""Training jobs: the API's operations, and what a job does between Starting and Completed."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local_cloud.platform import Caller
from local_cloud.sagemaker.job_data import DataError, JobData, pack
from local_cloud.sagemaker.job_operations import create_job, delete_job, stop_job
from local_cloud.sagemaker.job_records import JobKind, describe, list_jobs, new_job
from local_cloud.sagemaker.job_runs import (
    BY_CLOUD,
    DEFAULT_MAX_RUNTIME_S,
    HOST,
    JobFailed,
    JobRun,
    JobStopped,
    algorithm_error,
)
from local_cloud.sagemaker.request_checks import refuse_members
from local_cloud.sagemaker.service import Request, Response, Sagemaker, operation
from local_cloud.sagemaker.store import Document
from local_cloud.sagemaker.training_request import check, with_defaults

GROUP = "homogeneousCluster"
"""The name that SageMaker gives the instance group of a job that names none (developer guide, resourceconfig.json)."""

_MESSAGES = {
    "Starting": "Starting the training job.",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopping": "Stopping the training job",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
}
"""StatusMessage of each secondary status (SecondaryStatusTransition in the API reference)."""


def _transition(job: Document, status: str, message: str | None = None) -> None:
    now = time.time()
    transitions = job["SecondaryStatusTransitions"]
    if transitions:
        transitions[-1]["EndTime"] = now
    transitions.append({"Status": status, "StartTime": now, "StatusMessage": message or _MESSAGES[status]})
    job["SecondaryStatus"] = status


def _stopping(job: Document) -> None:
    """Write into a training job's Describe response that it is being stopped."""
    job["TrainingJobStatus"] = "Stopping"
    _transition(job, "Stopping")


def _finish(job: Document, status: str, reason: str | None) -> None:
    """Write the end of a training job into its Describe response."""
    job["TrainingJobStatus"] = status
    exceeded = status == "Stopped" and reason == KIND.out_of_time
    if reason and status == "Failed":
        job["FailureReason"] = reason
    if "TrainingStartTime" in job:
        job["TrainingEndTime"] = time.time()
        # At least 1, by the API's own limits; a second that was begun is billed.
        seconds = max(1, math.ceil(job["TrainingEndTime"] - job["TrainingStartTime"]))
        job["TrainingTimeInSeconds"] = job["BillableTimeInSeconds"] = seconds
    _transition(job, "MaxRuntimeExceeded" if exceeded else status)
    job["SecondaryStatusTransitions"][-1]["EndTime"] = time.time()


KIND = JobKind(
    resource="training-job",
    noun="training job",
    prefix="TrainingJob",
    log_group="/aws/sagemaker/TrainingJobs",
    event="SageMaker Training Job State Change",
    out_of_time=_MESSAGES["MaxRuntimeExceeded"],
    stopping=_stopping,
    finish=_finish,
)


@operation("CreateTrainingJob")
def create_training_job(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """CreateTrainingJob."""
    check(request)
    job = new_job(KIND, caller, request)
    job["StoppingCondition"] = {"MaxRuntimeInSeconds": DEFAULT_MAX_RUNTIME_S, **request.get("StoppingCondition", {})}
    job["OutputDataConfig"] = {"KmsKeyId": "", "CompressionType": "GZIP", **request["OutputDataConfig"]}
    if "InputDataConfig" in request:
        job["InputDataConfig"] = [with_defaults(channel) for channel in request["InputDataConfig"]]
    for switch in ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining"):
        job.setdefault(switch, False)
    job["SecondaryStatusTransitions"] = []
    _transition(job, "Starting")
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


class TrainingRun(JobRun):
    """One training job that runs."""

    def work(self) -> Mapping[str, Any]:
        """See JobRun."""
        data, specification = self.data(), self.job["AlgorithmSpecification"]
        self._say_what_differs()
        image = self.preparing(specification["TrainingImage"])
        self._move("Downloading", "Downloading input data")
        self._lay_out()
        self._download(data)
        if not image.done():
            self._move("Downloading", "Downloading the training image")
        ready = self.prepared(image)
        self._move("Training")
        metrics = Metrics(specification.get("MetricDefinitions", []), self)
        entrypoint, arguments = specification.get("ContainerEntrypoint"), specification.get("ContainerArguments")
        try:
            code = self.run_container(
                ready,
                # A training image is started with the argument `train`, unless the request says how to start it.
                arguments=arguments or ([] if entrypoint else ["train"]),
                entrypoint=entrypoint,
                environment={
                    "TRAINING_JOB_NAME": self.name,
                    "TRAINING_JOB_ARN": self.arn,
                    **self.job.get("Environment", {}),
                },
                isolated=self.job["EnableNetworkIsolation"],
                max_runtime_s=self.job["StoppingCondition"]["MaxRuntimeInSeconds"],
                on_line=metrics.line,
            )
        except JobStopped:
            if self.stopped_by is not BY_CLOUD and self.has_started_container:
                # What the algorithm saved after SIGTERM is not lost.
                self._upload(data, always=True)
            raise
        if code != 0:
            reason = self.left_message("output/failure")
            self._upload_after_failure(data)
            raise algorithm_error(reason, code)
        return {**self._upload(data, always=True), **metrics.final()}

    def _move(self, status: str, message: str | None = None) -> None:
        """Go on to a secondary status, unless the job is being stopped."""
        self.check()

        def change(job: Document) -> None:
            # A stop keeps its status until the end; only the upload is seen on the way.
            if job["TrainingJobStatus"] == "InProgress":
                if status == "Downloading":
                    job.setdefault("TrainingStartTime", time.time())
                _transition(job, status, message)

        self.update(change)

    def _say_what_differs(self) -> None:
        resources = self.job["ResourceConfig"]
        self.log.note(
            f"This machine stands for one {resources['InstanceType']}: its processors and memory are what the job has."
        )
        if "VpcConfig" in self.job:
            self.log.note("VpcConfig has no effect here: the job uses this machine's network.")
        for member in ("DebugHookConfig", "ProfilerConfig"):
            if member in self.job:
                self.log.note(f"{member} has no effect here: neither Debugger nor the Profiler is emulated.")
        for definition in self.job["AlgorithmSpecification"].get("MetricDefinitions", []):
            if not re.compile(definition["Regex"]).groups:
                self.log.note(
                    f"The metric {definition['Name']} stays without a value: its Regex has no group around the number."
                )
        for channel in self._channels():
            if self._mode(channel) == "FastFile":
                self.log.note(f"The channel {channel['ChannelName']} is downloaded first; FastFile would stream it.")

    def _channels(self) -> list[dict[str, Any]]:
        channels: list[dict[str, Any]] = self.job.get("InputDataConfig", [])
        return channels

    def _mode(self, channel: Mapping[str, Any]) -> str:
        return str(channel.get("InputMode") or self.job["AlgorithmSpecification"]["TrainingInputMode"])

    def _lay_out(self) -> None:
        """The folders and configuration files of the container contract (developer guide, "How SageMaker provides training
        information")."""
        for folder in ("input/config", "input/data", "model", "output/data"):
            (self.ml / folder).mkdir(parents=True)
        channels = {
            channel["ChannelName"]: {
                "TrainingInputMode": self._mode(channel),
                "S3DistributionType": channel["DataSource"]["S3DataSource"]["S3DataDistributionType"],
                "RecordWrapperType": channel["RecordWrapperType"],
                **({"ContentType": channel["ContentType"]} if "ContentType" in channel else {}),
            }
            for channel in self._channels()
        }
        instance_type = self.job["ResourceConfig"]["InstanceType"]
        resources = {
            "current_host": HOST,
            "current_instance_type": instance_type,
            "current_group_name": GROUP,
            "hosts": [HOST],
            "instance_groups": [
                {"instance_group_name": GROUP, "instance_type": instance_type, "hosts": [HOST]},
            ],
            # One host talks to nobody else; the loopback interface is there even without a network.
            "network_interface_name": "lo",
        }
        config = self.ml / "input/config"
        (config / "hyperparameters.json").write_text(json.dumps(self.job.get("HyperParameters", {})))
        (config / "inputdataconfig.json").write_text(json.dumps(channels))
        (config / "resourceconfig.json").write_text(json.dumps(resources))

    def _download(self, data: JobData) -> None:
        for channel in self._channels():
            source = channel["DataSource"]["S3DataSource"]
            folder: Path = self.ml / "input/data" / channel["ChannelName"]
            folder.mkdir()
            try:
                data.download(source, folder)
            except DataError as error:
                raise JobFailed(
                    f"ClientError: Failed to download data of the channel {channel['ChannelName']}. {error}"
                ) from error

    def _upload(self, data: JobData, *, always: bool) -> dict[str, Any]:
        """Upload the model and the other output; what the Describe response gains.

        Args:
            data: S3 with the role's credentials.
            always: also upload a model folder that is empty, as SageMaker does for a job that did not fail.
        """

        def change(job: Document) -> None:
            _transition(job, "Uploading")

        self.update(change)
        config = self.job["OutputDataConfig"]
        prefix = f"{config['S3OutputPath'].rstrip('/')}/{self.name}/output"
        gained: dict[str, Any] = {}
        try:
            for folder, name in ((self.ml / "model", "model"), (self.ml / "output/data", "output")):
                is_model = name == "model"
                if not folder.is_dir() or not (any(folder.iterdir()) or (is_model and always)):
                    continue
                if config["CompressionType"] == "NONE":
                    uri = f"{prefix}/{'model' if is_model else 'data'}/"
                    data.upload_folder(folder, uri, config["KmsKeyId"] or None)
                else:
                    uri = f"{prefix}/{name}.tar.gz"
                    archive = self.folder / f"{name}.tar.gz"
                    pack(folder, archive)
                    data.upload_file(archive, uri, config["KmsKeyId"] or None)
                    archive.unlink()
                if is_model:
                    gained["ModelArtifacts"] = {"S3ModelArtifacts": uri}
        except DataError as error:
            raise JobFailed(f"ClientError: Failed to upload the job's output. {error}") from error
        return gained

    def _upload_after_failure(self, data: JobData) -> None:
        """What a failed algorithm left may tell why; its own failure is what the job reports, not one of this upload."""
        try:
            self._upload(data, always=False)
        except JobFailed as error:
            self.log.note(str(error))


class Metrics:
    """Finds a job's metrics in its log, by the regular expressions of its MetricDefinitions."""

    def __init__(self, definitions: list[dict[str, str]], run: TrainingRun) -> None:
        patterns = [(definition["Name"], re.compile(definition["Regex"])) for definition in definitions]
        self._patterns = [(name, pattern) for name, pattern in patterns if pattern.groups]
        self._run = run
        self._found: dict[str, dict[str, Any]] = {}

    def line(self, text: str) -> None:
        """Take a line of the log: it is logged, and each metric in it published in CloudWatch."""
        self._run.log.line(text)
        for name, pattern in self._patterns:
            match = pattern.search(text)
            if match is None:
                continue
            try:
                value = float(match[1])
            except (ValueError, TypeError):
                continue
            if not math.isfinite(value):
                continue
            self._found[name] = {"MetricName": name, "Value": value, "Timestamp": time.time()}
            caller = self._run.caller
            self._run.service.platform.put_metric(
                caller.account, caller.region, KIND.log_group, name, value, "None", {"TrainingJobName": self._run.name}
            )

    def final(self) -> dict[str, Any]:
        """FinalMetricDataList: the last value of each."""
        return {"FinalMetricDataList": list(self._found.values())} if self._found else {}
