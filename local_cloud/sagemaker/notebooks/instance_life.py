"""Carries a notebook instance through its starts and stops: system, repositories, scripts, JupyterLab, and each status."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local_cloud.notebook_runtime.runtime import Instance, InstanceSpec, RuntimeRefused
from local_cloud.platform import Caller, RoleRefused
from local_cloud.sagemaker import notifications, tags
from local_cloud.sagemaker.errors import ApiError
from local_cloud.sagemaker.names import key_of
from local_cloud.sagemaker.notebooks import notebook_status
from local_cloud.sagemaker.notebooks.instance_hooks import CREATED, run_hooks
from local_cloud.sagemaker.notebooks.instance_logs import GROUP, InstanceLogs
from local_cloud.sagemaker.notebooks.instance_repositories import cloned
from local_cloud.sagemaker.notebooks.instance_requests import SESSION
from local_cloud.sagemaker.notebooks.notebook_status import KIND, finish
from local_cloud.sagemaker.notebooks.running import Key, Notebooks, Running, key_for
from local_cloud.sagemaker.notebooks.start_failed import StartFailed
from local_cloud.sagemaker.store import Document

logger = logging.getLogger(__name__)

FOLDER = "Folder"
HIDDEN = frozenset({FOLDER, CREATED})
"""The members of an instance's document that only the local cloud knows."""
STOP_GRACE_S = 10.0
"""How long what runs on an instance has to end after SIGTERM, in real seconds; AWS documents no time."""
WATCH_EVERY_S = 2.0
WRITE_AGAIN_S = 1.0
MISSES = 3
"""How often an instance must not answer, one time after the other, before it counts as ended."""


def launch(notebooks: Notebooks, caller: Caller, name: str) -> None:
    """Start an instance that is Pending; it is InService or Failed then."""
    try:
        document = notebook_status.find(notebooks.service, caller, name)
        url = _start(notebooks, caller, document)
    except (StartFailed, RuntimeRefused, ApiError) as error:
        reason = str(error)
    except Exception as error:
        if not notebooks.closing.is_set():
            logger.exception("Notebook instance %s cannot be started", name)
        reason = (
            f"InternalServerError: The local cloud failed ({error!r}); its log has the traceback. Please try again."
        )
    else:
        settle(notebooks, caller, name, "InService", Url=url)
        return
    settle(notebooks, caller, name, "Failed", reason, Url=None)


def halt(notebooks: Notebooks, caller: Caller, name: str) -> None:
    """Stop an instance that is Stopping."""
    if (running := notebooks.running.get(key_for(caller, name))) is not None:
        _end(notebooks, key_for(caller, name), running)
    settle(notebooks, caller, name, "Stopped", Url=None)


def settle_update(notebooks: Notebooks, caller: Caller, name: str) -> None:
    """End the update of an instance: there is nothing to change but what the next start reads."""
    settle(notebooks, caller, name, "Stopped")


def settle(
    notebooks: Notebooks, caller: Caller, name: str, status: str, reason: str | None = None, **more: Any
) -> None:
    """Write the status that something led to, as `_write` does.

    Args:
        notebooks: the notebook instances.
        caller: whose instance it is.
        name: of the instance.
        status: the status.
        reason: FailureReason.
        more: see `notebook_status.finish`.
    """
    _write(notebooks, name, status, lambda: finish(notebooks.service, caller, name, status, reason, **more))


def _write(notebooks: Notebooks, name: str, what: str, write: Callable[[], object]) -> bool:
    """Write down what has become of an instance, and again for as long as the store cannot take it, as where the disk is full:
    an instance that stays in the status before can neither be started, nor stopped, nor deleted. Nothing is written once
    the local cloud ends: that fails everything, and the next start takes it up again. Whether it was written."""
    while not notebooks.closing.is_set():
        try:
            write()
        except sqlite3.OperationalError as error:
            logger.warning("Notebook instance %s is %s, which cannot be written down yet: %s", name, what, error)
            notebooks.closing.wait(WRITE_AGAIN_S)
        else:
            return True
    return False


def remove(notebooks: Notebooks, caller: Caller, name: str) -> None:
    """Delete an instance that is Deleting: its volume, its logs' files, its tags, and the instance."""
    document = notebook_status.find(notebooks.service, caller, name)
    folder = notebooks.folder / document[FOLDER]
    try:
        _remove_volume(notebooks, folder / "volume")
    except Exception as error:
        if not notebooks.closing.is_set():
            logger.exception("The volume of notebook instance %s cannot be deleted", name)
            reason = f"InternalServerError: The volume cannot be deleted ({error}). Delete the notebook instance again."
            settle(notebooks, caller, name, "Failed", reason)
        return
    shutil.rmtree(folder, ignore_errors=True)

    def forget() -> None:
        with notebooks.service.store.transaction():
            tags.forget(notebooks.service, caller, document["NotebookInstanceArn"])
            notebooks.service.store.delete(KIND, caller.account, caller.region, key_of(name))

    if not _write(notebooks, name, "deleted", forget):
        return
    notifications.publish(KIND, document["NotebookInstanceArn"])
    logger.info("Notebook instance %s is deleted", name)


def _remove_volume(notebooks: Notebooks, volume: Path) -> None:
    try:
        runtime = notebooks.runtime()
    except RuntimeRefused:
        # Then none ever ran, and the folder is this machine's user's.
        shutil.rmtree(volume, ignore_errors=True)
        return
    runtime.remove_volume(volume)


def watch(notebooks: Notebooks) -> None:
    """Fail instances that ended by themselves, until the local cloud ends."""
    missed: dict[Running, int] = {}
    while not notebooks.closing.wait(WATCH_EVERY_S):
        registered = list(notebooks.running.items())
        # Only of those that run, and each start for itself: one that is started again begins anew.
        missed = {each: 0 if each.instance.is_running() else missed.get(each, 0) + 1 for _, each in registered}
        for key, running in [(key, each) for key, each in registered if missed[each] >= MISSES]:
            try:
                _fail_ended(notebooks, key, running)
            except Exception:
                logger.exception("Notebook instance %s has ended, which cannot be written down", key[-1])


def _fail_ended(notebooks: Notebooks, key: Key, running: Running) -> None:
    account, region, name = key
    caller = Caller(account=account, region=region, arn=f"arn:aws:iam::{account}:root")
    document = notebooks.service.store.get(KIND, *key)
    # One that is being stopped ends on purpose; and somebody may have stopped it and started it again since it was looked at.
    if document is None or document["NotebookInstanceStatus"] != "InService" or notebooks.running.get(key) != running:
        return
    reason = (
        f"InternalServerError: JupyterLab has ended and does not stay up; log group {GROUP}, stream "
        f"{document['NotebookInstanceName']}/jupyter.log. Start the notebook instance again: its volume is as it was."
    )
    # What is left of it goes first: once it is Failed, somebody may start it on the same volume.
    _end(notebooks, key, running)
    settle(notebooks, caller, name, "Failed", reason, unchanged_since=document, Url=None)


def _end(notebooks: Notebooks, key: Key, running: Running) -> None:
    with running.ending:
        if notebooks.running.get(key) is not running:
            return
        try:
            running.instance.stop(STOP_GRACE_S)
        except Exception:
            # What cannot be stopped is gone, or the runtime ends it with the local cloud; nobody can use it any more.
            logger.exception("Notebook instance %s did not stop cleanly", key[-1])
        # Only now: what runs on the instance may use its role to the end.
        running.logs.close()
        notebooks.service.platform.forget_session(running.credentials)
        notebooks.running.pop(key, None)


def _start(notebooks: Notebooks, caller: Caller, document: Document) -> str:
    """Start the system and all that belongs on it; where JupyterLab listens."""
    platform, name = notebooks.service.platform, document["NotebookInstanceName"]
    folder = notebooks.folder / document[FOLDER]
    runtime = notebooks.runtime()
    try:
        credentials = platform.assume_role(document["RoleArn"], SESSION)
    except RoleRefused as error:
        raise StartFailed(str(error)) from error
    logs = InstanceLogs(platform, caller.region, credentials, name, folder / "log")
    instance: Instance | None = None
    try:
        instance = runtime.start(
            InstanceSpec(
                name=name,
                arn=document["NotebookInstanceArn"],
                volume=_volume(folder),
                environment=platform.client_environment(caller.region) | credentials.environment(),
                root_access=document["RootAccess"] == "Enabled",
                platform=document["PlatformIdentifier"],
                direct_internet=document["DirectInternetAccess"] == "Enabled",
                on_line=logs.line,
            )
        )
        default_folder = cloned(notebooks.service, caller, document, instance, credentials)
        run_hooks(notebooks, caller, document, instance)
        url = instance.start_jupyter(default_folder)
    except BaseException:
        if instance is not None:
            instance.stop(0.0)
        logs.close()
        platform.forget_session(credentials)
        raise
    notebooks.running[key_for(caller, name)] = Running(instance, credentials, logs)
    # As AWS's: a host without a scheme.
    return url.partition("://")[2].rstrip("/")


def _volume(folder: Path) -> Path:
    # Closed to others, like the folders of jobs: what an instance must be able to write is open to every user below it.
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / "volume"
