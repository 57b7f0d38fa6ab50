"""Runs the scripts of an instance's lifecycle configuration when it starts: OnCreate once, OnStart each time."""

from __future__ import annotations

import time

from local_cloud.notebook_runtime.runtime import Hook, Instance
from local_cloud.platform import Caller
from local_cloud.sagemaker.notebooks import lifecycle_configs, notebook_status
from local_cloud.sagemaker.notebooks.instance_logs import GROUP
from local_cloud.sagemaker.notebooks.running import Notebooks
from local_cloud.sagemaker.notebooks.start_failed import StartFailed
from local_cloud.sagemaker.store import Document

CREATED = "OnCreateHasRun"
"""The member of an instance's document that says so; only the local cloud knows it."""


def run_hooks(notebooks: Notebooks, caller: Caller, document: Document, instance: Instance) -> None:
    """Run what the instance's lifecycle configuration has for this start.

    OnCreate counts as run when it has succeeded: one that failed, or that the end of the local cloud cut off, has not
    created anything. An instance that gets a lifecycle configuration later never runs its OnCreate.

    Raises:
        StartFailed: a script failed or took too long.
        RuntimeRefused: no script can run on this machine.
        ValidationError: the lifecycle configuration was deleted.
    """
    name = document.get("NotebookInstanceLifecycleConfigName")
    config = lifecycle_configs.find(notebooks.service, caller, name) if name else None
    hooks: tuple[Hook, ...] = ("OnStart",) if document.get(CREATED) else ("OnCreate", "OnStart")
    for hook in hooks:
        if config is not None and (script := lifecycle_configs.script_of(config, hook)) is not None:
            _run(notebooks, document, config, instance, hook, script)
        if hook == "OnCreate":
            notebook_status.note(notebooks.service, caller, document["NotebookInstanceName"], **{CREATED: True})


def _run(
    notebooks: Notebooks, document: Document, config: Document, instance: Instance, hook: Hook, script: str
) -> None:
    limit, began = notebooks.hook_limit_s, time.monotonic()
    code = instance.run_hook(hook, script, limit)
    if code == 0:
        return
    which = (
        f"Notebook Instance Lifecycle Config '{config['NotebookInstanceLifecycleConfigArn']}' for Notebook Instance "
        f"'{document['NotebookInstanceArn']}'"
    )
    if code is None:
        # SageMaker's words.
        raise StartFailed(
            f"{which} took longer than {limit / 60:g} minutes. Please check your CloudWatch logs for more details if your "
            "Notebook Instance has Internet access."
        )
    raise StartFailed(
        f"{which} failed: {hook} ended with exit code {code} after {time.monotonic() - began:.1f} s. Please check your "
        f"CloudWatch logs for more details: log group {GROUP}, stream "
        f"{document['NotebookInstanceName']}/LifecycleConfig{hook}."
    )
