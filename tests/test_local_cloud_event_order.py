"""What SageMaker tells EventBridge keeps the order of what happened: it is written by then, and nobody has seen it before."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local_cloud.sagemaker import events
from local_cloud.sagemaker.hosting import models
from local_cloud.sagemaker.service import Sagemaker
from tests.local_cloud_fakes import ROLE, USER, FakeCloud
from tests.local_cloud_studio_fakes import StudioCloud
from tests.notebook_fakes import notebook_cloud

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/housing:1"


def an_image(folder: Path) -> None:
    cloud = StudioCloud(folder)
    cloud.call("CreateImage", ImageName="mine", RoleArn=ROLE)
    cloud.until("CREATED", "DescribeImage", "ImageStatus", ImageName="mine")
    cloud.call("UpdateImage", ImageName="mine", DisplayName="Mine")
    cloud.until("CREATED", "DescribeImage", "ImageStatus", ImageName="mine")
    cloud.call("DeleteImage", ImageName="mine")
    cloud.until_gone("DescribeImage", ImageName="mine")
    cloud.close()


def a_notebook_instance(folder: Path) -> None:
    with notebook_cloud(folder) as cloud:
        cloud.ready()
        cloud.stop()
        cloud.call("CreateNotebookInstanceLifecycleConfig", NotebookInstanceLifecycleConfigName="hooks")
        cloud.call("UpdateNotebookInstanceLifecycleConfig", NotebookInstanceLifecycleConfigName="hooks")
        cloud.call("DeleteNotebookInstanceLifecycleConfig", NotebookInstanceLifecycleConfigName="hooks")


def a_model(folder: Path) -> None:
    cloud = FakeCloud(folder)
    request = {"ModelName": "housing", "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": IMAGE}}
    models.create_model(cloud.service, USER, request)
    models.delete_model(cloud.service, USER, {"ModelName": "housing"})
    cloud.close()


@pytest.mark.parametrize("life", [an_image, a_notebook_instance, a_model])
def test_an_event_tells_what_is_written_and_what_nobody_can_have_seen(
    life: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, bool, bool]] = []

    def send(service: Sagemaker, _account: str, _region: str, detail_type: str, *_: Any) -> None:
        store, others = service.store, list[str]()

        def look() -> None:
            if store._lock.acquire(blocking=False):
                others.append("can look")
                store._lock.release()

        other = threading.Thread(target=look)
        other.start()
        other.join()
        told.append((detail_type, not store._connection.in_transaction, not others))

    monkeypatch.setattr(events, "send", send)
    life(tmp_path)
    assert told
    assert [told_of for told_of, is_written, _ in told if not is_written] == []
    assert [told_of for told_of, _, is_unseen in told if not is_unseen] == []
