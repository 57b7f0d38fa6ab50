"""Notebook instances that stand still in a running local cloud, for what is asked of their tags: none is started for it."""

from __future__ import annotations

import time

from local_cloud.sagemaker.notebooks.notebook_status import KIND
from local_cloud.sagemaker.store import Store
from tests.local_cloud_fixtures import LocalCloud


def stopped_notebook(cloud: LocalCloud, name: str, **tags: str) -> str:
    """Writes a stopped instance into the cloud's state, as one that somebody stopped is there, and tags it; its ARN."""
    arn = f"arn:aws:sagemaker:{cloud.region}:{cloud.account}:notebook-instance/{name}"
    document = {
        "NotebookInstanceName": name,
        "NotebookInstanceArn": arn,
        "NotebookInstanceStatus": "Stopped",
        "InstanceType": "ml.t3.medium",
        "CreationTime": time.time(),
    }
    store = Store(cloud.state_dir / "sagemaker.sqlite")
    try:
        store.put(KIND, cloud.account, cloud.region, name, document)
    finally:
        store.close()
    cloud.client("sagemaker").add_tags(
        ResourceArn=arn, Tags=[{"Key": f"sagestack:{key}", "Value": value} for key, value in tags.items()]
    )
    return arn
