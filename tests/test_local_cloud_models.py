"""Models of the local cloud, which are written down until an endpoint serves them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.hosting import models as models  # registers its operations
from tests.local_cloud_fakes import ROLE, FakeCloud, fake_cloud


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCloud]:
    with fake_cloud(tmp_path, monkeypatch) as running:
        yield running


def create(cloud: FakeCloud, **container: str) -> None:
    request = {
        "ModelName": "Mine",
        "ExecutionRoleArn": ROLE,
        "PrimaryContainer": {"Image": "s3://a/b.zip", **container},
    }
    cloud.call("CreateModel", request)


def test_the_check_of_its_role_leaves_no_session(cloud: FakeCloud) -> None:
    create(cloud)
    assert cloud.platform.sessions == {}
    cloud.call("DeleteModel", {"ModelName": "Mine"})
    with pytest.raises(ValidationError, match="Could not find model data at s3://a/model"):
        create(cloud, ModelDataUrl="s3://a/model.tar.gz")
    assert cloud.platform.sessions == {}


def test_a_name_is_taken_whatever_its_case(cloud: FakeCloud) -> None:
    create(cloud)
    with pytest.raises(ValidationError, match=r'Cannot create already existing model ".*:model/mine"'):
        create(cloud)
    assert cloud.call("DescribeModel", {"ModelName": "MINE"})["ModelName"] == "Mine"
    assert [model["ModelName"] for model in cloud.call("ListModels")["Models"]] == ["Mine"]


def test_what_only_the_local_cloud_knows_is_told_to_nobody(cloud: FakeCloud) -> None:
    create(cloud)
    cloud.call("DeleteModel", {"ModelName": "Mine"})
    created, deleted = cloud.sent("SageMaker Model State Change")
    assert created["ModelName"] == deleted["ModelName"] == "Mine"
    assert "ServingContainer" not in created.keys() | deleted.keys()
