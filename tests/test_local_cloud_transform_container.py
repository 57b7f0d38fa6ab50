"""Batch transform in a real container engine: the image as it is, a server for each instance, and nothing left of them.

Needs a Docker engine that answers; where there is none this test fails, since a container that was not run proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.local_cloud_fixtures import LocalCloud
from tests.test_local_cloud_docker import containers
from tests.transform_jobs import Batches

pytestmark = [pytest.mark.container, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def docker_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    cloud = LocalCloud(tmp_path_factory.mktemp("docker-cloud") / "state")
    cloud.start()
    assert cloud.description["runner"] == "docker"
    yield cloud
    cloud.stop()


def test_a_transform_job_serves_on_two_instances_and_leaves_no_container(docker_cloud: LocalCloud) -> None:
    batches = Batches(docker_cloud)
    for number in range(2):
        batches.put(f"lines/{number}.csv", f"{number},1\n{number},2\n".encode())
    name = batches.start(
        batches.serving(),
        f"s3://{batches.bucket}/lines/",
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 2},
        DataProcessing={"JoinSource": "Input", "OutputFilter": "$[0,-1]"},
    )
    job = batches.transformed(name, timeout_s=300)
    assert job["TransformJobStatus"] == "Completed", (job, batches.logged(name), batches.logged(name, data=True))
    assert batches.outputs(name) == {"0.csv.out": "0,1.0\n0,2.0\n", "1.csv.out": "1,2.0\n1,3.0\n"}
    assert containers(docker_cloud) == []
