"""Notebook instances as the server sees them: what their operations are, and what starts and stops with the local cloud."""

from __future__ import annotations

import logging
import threading

from local_cloud.notebook_runtime.runtime import RuntimeRefused
from local_cloud.platform import Caller
from local_cloud.sagemaker.notebooks import code_repositories as code_repositories  # registers its operations
from local_cloud.sagemaker.notebooks import instance_life, notebook_instances, notebook_status
from local_cloud.sagemaker.notebooks import presigned_urls as presigned_urls  # registers its operation
from local_cloud.sagemaker.notebooks.running import Notebooks, notebooks_of
from local_cloud.sagemaker.service import Sagemaker

logger = logging.getLogger(__name__)


def start(service: Sagemaker) -> None:
    """Bring back what was in service, and finish what a killed local cloud had begun; returns before that is done.

    An instance that was in service starts as after a maintenance of its host: a new system, the volume as it was, OnStart
    again, OnCreate not.
    """
    notebooks = notebooks_of(service)
    documents = service.store.everywhere(notebook_status.KIND)
    if documents:
        # It ends what a killed local cloud left running, whether or not an instance is started now.
        notebooks.run("notebook runtime", lambda: _choose(notebooks))
    for account, region, document in documents:
        # Nobody called: what is resumed was allowed when it was asked for.
        caller = Caller(account=account, region=region, arn=f"arn:aws:iam::{account}:root")
        name, status = document["NotebookInstanceName"], document["NotebookInstanceStatus"]
        if status in ("InService", "Pending"):
            notebook_status.finish(service, caller, name, "Pending", Url=None)
            notebook_instances.in_background(service, caller, name, instance_life.launch)
        elif status in ("Stopping", "Updating"):
            # Nothing of an earlier run is left to stop; the settings of an update were written with its answer.
            notebook_status.finish(service, caller, name, "Stopped", Url=None)
        elif status == "Deleting":
            notebook_instances.in_background(service, caller, name, instance_life.remove)
    watcher = threading.Thread(target=instance_life.watch, args=(notebooks,), name="notebooks", daemon=True)
    watcher.start()


def _choose(notebooks: Notebooks) -> None:
    try:
        notebooks.runtime()
    except RuntimeRefused as error:
        logger.info("Notebook instances cannot run: %s", error)


def stop(service: Sagemaker) -> None:
    """End every instance within seconds; the next `start` brings back what was in service."""
    notebooks_of(service).close()
