"""What a CreateTrainingJob request must say, what it may leave out, and what of it the local cloud does not have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.request_checks import check_one_instance, check_s3, check_unique, refuse, refuse_members
from local_cloud.sagemaker.service import Request

_REFUSED = {
    "EnableManagedSpotTraining": "managed spot training",
    "CheckpointConfig": "checkpoints",
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
    check_one_instance(resources, "ResourceConfig", "training")
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
    for channel in channels:
        _check_channel(channel, specification["TrainingInputMode"])


def _check_channel(channel: Mapping[str, Any], default_mode: str) -> None:
    path = f"InputDataConfig {channel['ChannelName']}"
    source = channel["DataSource"].get("S3DataSource")
    refuse_members(
        channel["DataSource"],
        {"FileSystemDataSource": "channels on a file system", "DatasetSource": "channels of a hub's dataset"},
        f"{path}: DataSource.",
    )
    if not source:
        raise ValidationError(f"{path}: DataSource has no S3DataSource.")
    if channel.get("InputMode", default_mode) == "Pipe":
        refuse(f"the input mode Pipe ({path}); File and FastFile are there")
    if source["S3DataType"] not in ("S3Prefix", "ManifestFile"):
        refuse(f"the S3DataType {source['S3DataType']} ({path})")
    # Both are for Pipe mode alone (Channel in the API reference).
    for member in ("CompressionType", "RecordWrapperType"):
        if channel.get(member, "None") != "None":
            raise ValidationError(
                f"{path}: {member} {channel[member]} is for the input mode Pipe; leave it out for File."
            )
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
