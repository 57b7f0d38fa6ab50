"""Lifecycle scripts that really run, as root on an instance of the real local cloud, and one that stops its instance."""

from __future__ import annotations

import time

import pytest

from tests.local_cloud_fakes import patiently
from tests.local_cloud_fixtures import LocalCloud
from tests.notebook_fakes import encoded
from tests.waiting import wait_for

ON_CREATE = """#!/bin/bash
set -e
echo "once, as $(whoami)"
date +%s%N > /home/ec2-user/SageMaker/created
"""
ON_START = """#!/bin/bash
set -e
echo "always, in $(pwd)"
name=$(jq -r .ResourceName /opt/ml/metadata/resource-metadata.json)
# As an auto-stop does: later, and with the credentials that the instance has.
nohup bash -c "until [ -e /home/ec2-user/SageMaker/stop-now ]; do sleep 0.2; done
rm /home/ec2-user/SageMaker/stop-now
aws sagemaker stop-notebook-instance --notebook-instance-name $name" >/dev/null 2>&1 &
"""
BUILD_TIMEOUT_S = 220


def until(cloud: LocalCloud, name: str, *statuses: str) -> dict[str, str]:
    for _ in patiently(f"{name} to be {statuses}", BUILD_TIMEOUT_S):
        found = cloud.client("sagemaker").describe_notebook_instance(NotebookInstanceName=name)
        if found["NotebookInstanceStatus"] in statuses:
            return dict(found)
        time.sleep(0.2)
    raise AssertionError


def lines(cloud: LocalCloud, stream: str) -> list[str]:
    events = cloud.client("logs").get_log_events(
        logGroupName="/aws/sagemaker/NotebookInstances", logStreamName=stream, startFromHead=True
    )
    return [event["message"] for event in events["events"]]


def create(cloud: LocalCloud, name: str, **scripts: str) -> None:
    sagemaker = cloud.client("sagemaker")
    role = cloud.role("scripted", {"Action": ["sagemaker:StopNotebookInstance", "logs:*"], "Resource": "*"})
    hooks = {hook: encoded(script) for hook, script in scripts.items()}
    sagemaker.create_notebook_instance_lifecycle_config(NotebookInstanceLifecycleConfigName=name, **hooks)
    sagemaker.create_notebook_instance(
        NotebookInstanceName=name, InstanceType="ml.t3.medium", RoleArn=role, LifecycleConfigName=name
    )


@pytest.mark.container
def test_on_create_runs_once_on_start_each_time_and_an_instance_stops_itself(cloud: LocalCloud) -> None:
    create(cloud, "scripted", OnCreate=ON_CREATE, OnStart=ON_START)
    made = until(cloud, "scripted", "InService", "Failed")
    assert made["NotebookInstanceStatus"] == "InService", made.get("FailureReason")
    volume = cloud.state_dir / "notebooks/scripted/volume"
    created = (volume / "created").read_text()
    (volume / "stop-now").touch()
    until(cloud, "scripted", "Stopped")
    assert lines(cloud, "scripted/LifecycleConfigOnCreate") == ["once, as root"]
    assert lines(cloud, "scripted/LifecycleConfigOnStart") == ["always, in /"]
    assert lines(cloud, "scripted/jupyter.log")

    cloud.client("sagemaker").start_notebook_instance(NotebookInstanceName="scripted")
    until(cloud, "scripted", "InService")
    wait_for(lambda: lines(cloud, "scripted/LifecycleConfigOnStart") == ["always, in /"] * 2)
    assert (volume / "created").read_text() == created
    (volume / "stop-now").touch()
    until(cloud, "scripted", "Stopped")
    cloud.client("sagemaker").delete_notebook_instance(NotebookInstanceName="scripted")
    for _ in patiently("the volume to be gone", 60):
        if not volume.exists():
            return


@pytest.mark.container
def test_a_script_that_fails_tells_its_exit_code_and_its_last_words_are_in_the_log(cloud: LocalCloud) -> None:
    create(cloud, "failing", OnStart="#!/bin/bash\necho no such thing >&2\nexit 3\n")
    reason = until(cloud, "failing", "Failed", "InService")["FailureReason"]
    assert "OnStart ended with exit code 3" in reason
    assert lines(cloud, "failing/LifecycleConfigOnStart") == ["no such thing"]
