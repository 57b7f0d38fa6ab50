"""The hosts of a training job: each has a folder that is its /opt/ml, with the configuration files of the container contract.

Source: "How Amazon SageMaker AI Provides Training Information" in the developer guide.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_cloud.sagemaker.jobs.job_data import Shard
from local_cloud.sagemaker.jobs.job_logs import JobLog

GROUP = "homogeneousCluster"
"""The name that SageMaker gives the instance group of a job that names none (developer guide, resourceconfig.json)."""
CHECKPOINTS = "/opt/ml/checkpoints"
"""LocalPath where CheckpointConfig names none (CheckpointConfig in the API reference)."""


@dataclass(frozen=True)
class Host:
    """One host of a training job, for as long as it has it: a spot job that is interrupted gets new ones.

    Attributes:
        name: algo-1, algo-2, ...
        ml: the folder that is /opt/ml on it.
        log: of its container.
        shard: its part of channels that are sharded.
    """

    name: str
    ml: Path
    log: JobLog
    shard: Shard


def names(job: Mapping[str, Any]) -> list[str]:
    """The names of a job's hosts, the first one first."""
    return [f"algo-{number}" for number in range(1, job["ResourceConfig"].get("InstanceCount", 1) + 1)]


def input_mode(job: Mapping[str, Any], channel: Mapping[str, Any]) -> str:
    """File, FastFile or Pipe."""
    return str(channel.get("InputMode") or job["AlgorithmSpecification"]["TrainingInputMode"])


def checkpoint_folder(job: Mapping[str, Any], ml: Path) -> Path:
    """Where a host keeps the checkpoints of a job that has a CheckpointConfig."""
    local_path = job["CheckpointConfig"].get("LocalPath") or CHECKPOINTS
    return ml / Path(local_path).relative_to("/opt/ml")


def lay_out(job: Mapping[str, Any], host: Host) -> None:
    """Make the folders and configuration files that a container finds on a host."""
    for folder in ("input/config", "input/data", "model", "output/data"):
        (host.ml / folder).mkdir(parents=True)
    files: dict[str, Any] = {
        "hyperparameters": job.get("HyperParameters", {}),
        "inputdataconfig": _channels(job),
        "resourceconfig": _resources(job, host.name),
    }
    if "CheckpointConfig" in job:
        checkpoint_folder(job, host.ml).mkdir(parents=True, exist_ok=True)
        # Not in the guide; SageMaker's own containers read it, to know whether to make checkpoints, and where.
        files["checkpointconfig"] = {"LocalPath": CHECKPOINTS, **job["CheckpointConfig"]}
    for name, content in files.items():
        (host.ml / "input/config" / f"{name}.json").write_text(json.dumps(content))


def _channels(job: Mapping[str, Any]) -> dict[str, Any]:
    return {
        channel["ChannelName"]: {
            # The guide: FastFile is written as File, since a container cannot tell them apart.
            "TrainingInputMode": "Pipe" if input_mode(job, channel) == "Pipe" else "File",
            "S3DistributionType": channel["DataSource"]["S3DataSource"]["S3DataDistributionType"],
            "RecordWrapperType": channel["RecordWrapperType"],
            **({"ContentType": channel["ContentType"]} if "ContentType" in channel else {}),
        }
        for channel in job.get("InputDataConfig", [])
    }


def _resources(job: Mapping[str, Any], current: str) -> dict[str, Any]:
    instance_type = job["ResourceConfig"]["InstanceType"]
    hosts: Sequence[str] = sorted(names(job))
    return {
        "current_host": current,
        "current_instance_type": instance_type,
        "current_group_name": GROUP,
        "hosts": hosts,
        "instance_groups": [{"instance_group_name": GROUP, "instance_type": instance_type, "hosts": hosts}],
        # The hosts of a job share their loopback interface, which is there even without a network.
        "network_interface_name": "lo",
    }
