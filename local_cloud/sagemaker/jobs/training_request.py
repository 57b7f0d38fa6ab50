"""What a CreateTrainingJob request must say, what it may leave out, and what of it the local cloud does not have."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.jobs.job_runs import DEFAULT_MAX_RUNTIME_S
from local_cloud.sagemaker.jobs.training_hosts import CHECKPOINTS
from local_cloud.sagemaker.request_checks import check_instances, check_s3, check_unique, refuse, refuse_members
from local_cloud.sagemaker.service import Request

_REFUSED = {
    "DebugRuleConfigurations": "Debugger's rules",
    "ProfilerRuleConfigurations": "the Profiler's rules",
    "TensorBoardOutputConfig": "TensorBoard output",
    "ExperimentConfig": "experiments",
    "RetryStrategy": "retries of a training job (a pipeline's retry policies are there)",
    "SessionChainingConfig": "session chaining",
    "ServerlessJobConfig": "serverless training",
    "MlflowConfig": "MLflow tracking",
    "ModelPackageConfig": "training into a model package",
}
MAX_INSTANCES = 8
"""Of one job: each is a container or a process with the data of its own, on one laptop."""
_REFUSED_RESOURCES = {
    "InstanceGroups": "instance groups",
    "KeepAlivePeriodInSeconds": "warm pools",
    "TrainingPlanArn": "training plans",
    "InstancePlacementConfig": "instance placement",
    "InstancePreferences": "instance preferences",
}


def with_defaults(channel: Mapping[str, Any]) -> dict[str, Any]:
    """A channel with what the API fills in."""
    source = {"S3DataDistributionType": "FullyReplicated", **channel["DataSource"]["S3DataSource"]}
    return {
        "CompressionType": "None",
        "RecordWrapperType": "None",
        **channel,
        "DataSource": {"S3DataSource": source},
    }


def check(request: Request) -> None:
    """Check what the shapes do not say, and refuse what is not here.

    Raises:
        ValidationError: it says too little, or what does not fit together.
        NotEmulated: it asks for what the local cloud does not have.
    """
    refuse_members(request, _REFUSED)
    resources = request.get("ResourceConfig")
    if not resources:
        raise ValidationError("ResourceConfig is required: the instance type and count of the training job.")
    refuse_members(resources, _REFUSED_RESOURCES, "ResourceConfig.")
    check_instances(resources, "ResourceConfig", "training", MAX_INSTANCES)
    _check_spot(request)
    _check_checkpoints(request.get("CheckpointConfig"))
    if (request.get("RemoteDebugConfig") or {}).get("EnableRemoteDebug"):
        refuse("remote debugging (RemoteDebugConfig)")
    if (request.get("InfraCheckConfig") or {}).get("EnableInfraCheck"):
        refuse("infrastructure checks (InfraCheckConfig)")
    specification = request["AlgorithmSpecification"]
    if specification.get("AlgorithmName"):
        refuse("algorithm resources (AlgorithmSpecification.AlgorithmName)")
    if not specification.get("TrainingImage"):
        raise ValidationError("AlgorithmSpecification.TrainingImage is required.")
    for definition in specification.get("MetricDefinitions", []):
        try:
            re.compile(definition["Regex"])
        except re.error as error:
            raise ValidationError(
                f"The Regex of the metric {definition['Name']} is not a regular expression: {error}: {definition['Regex']}"
            ) from error
    check_s3(request["OutputDataConfig"]["S3OutputPath"], "OutputDataConfig.S3OutputPath")
    channels = request.get("InputDataConfig", [])
    check_unique("Channel", [channel["ChannelName"] for channel in channels])
    instances = resources.get("InstanceCount", 1)
    for channel in channels:
        _check_channel(channel, specification["TrainingInputMode"], instances)
    _check_pipe_names(channels, specification["TrainingInputMode"])


def check_engine(request: Request, engine_kind: str) -> None:
    """Refuse what the container engine of this machine cannot do.

    Raises:
        NotEmulated: a channel is streamed, and the engine has a machine of its own, through whose mounts no pipe leads.
    """
    if engine_kind != "docker" or sys.platform == "linux":
        return
    default_mode = request["AlgorithmSpecification"]["TrainingInputMode"]
    for channel in request.get("InputDataConfig", []):
        if channel.get("InputMode", default_mode) == "Pipe":
            refuse(
                f"the input mode Pipe (InputDataConfig {channel['ChannelName']}) in a container engine on {sys.platform}; "
                "SAGESTACK_RUNNER=process runs jobs as processes"
            )


def _check_spot(request: Request) -> None:
    condition = request.get("StoppingCondition", {})
    max_wait_s = condition.get("MaxWaitTimeInSeconds")
    if not request.get("EnableManagedSpotTraining"):
        if max_wait_s is not None:
            raise ValidationError(
                "Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining is set to true"
            )
        return
    if max_wait_s is None or max_wait_s < condition.get("MaxRuntimeInSeconds", DEFAULT_MAX_RUNTIME_S):
        raise ValidationError(
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds"
        )


def _check_checkpoints(config: Mapping[str, Any] | None) -> None:
    if config is None:
        return
    check_s3(config["S3Uri"], "CheckpointConfig.S3Uri")
    local_path = config.get("LocalPath") or CHECKPOINTS
    parts = PurePosixPath(local_path).parts
    if parts[:3] != ("/", "opt", "ml") or len(parts) < 4 or ".." in parts:
        refuse(f"checkpoints outside /opt/ml (CheckpointConfig.LocalPath is {local_path})")


def _check_pipe_names(channels: Sequence[Mapping[str, Any]], default_mode: str) -> None:
    for channel in channels:
        pipe = re.compile(rf"{re.escape(channel['ChannelName'])}_\d+")
        if channel.get("InputMode", default_mode) != "Pipe":
            continue
        if clash := next((other["ChannelName"] for other in channels if pipe.fullmatch(other["ChannelName"])), None):
            raise ValidationError(
                f"The channel {clash} has the name of a pipe of the channel {channel['ChannelName']}, whose input mode is Pipe."
            )


def _check_channel(channel: Mapping[str, Any], default_mode: str, instances: int) -> None:
    path = f"InputDataConfig {channel['ChannelName']}"
    source = channel["DataSource"].get("S3DataSource")
    refuse_members(
        channel["DataSource"],
        {"FileSystemDataSource": "channels on a file system", "DatasetSource": "channels of a hub's dataset"},
        f"{path}: DataSource.",
    )
    if not source:
        raise ValidationError(f"{path}: DataSource has no S3DataSource.")
    mode = channel.get("InputMode", default_mode)
    if source["S3DataType"] not in ("S3Prefix", "ManifestFile"):
        refuse(f"the S3DataType {source['S3DataType']} ({path})")
    # Both are for Pipe mode alone (Channel in the API reference).
    for member, noun in (("CompressionType", "compression type"), ("RecordWrapperType", "record wrapper type")):
        if mode != "Pipe" and channel.get(member, "None") != "None":
            raise ValidationError(
                f"Invalid {noun} for channel {channel['ChannelName']}: {mode} mode only supports NONE, got {channel[member]} "
                "instead"
            )
    # In the other modes the order of objects shows only in which host gets which of them.
    is_sharded = source.get("S3DataDistributionType") == "ShardedByS3Key" and instances > 1
    if channel.get("ShuffleConfig") and (mode == "Pipe" or is_sharded):
        refuse(f"shuffled channels ({path}: ShuffleConfig)")
    refuse_members(
        source,
        {
            "AttributeNames": "augmented manifests",
            "InstanceGroupNames": "instance groups",
            "ModelAccessConfig": "model access",
            "HubAccessConfig": "hubs",
        },
        f"{path}: S3DataSource.",
    )
    check_s3(source["S3Uri"], f"{path}: S3DataSource.S3Uri")
