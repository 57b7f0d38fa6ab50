"""Moves inference components from status to status in the background: up, to another size or specification, away, back.

How far it is stands in the store, from where a restarted local cloud goes on. SageMaker documents no event for the states of
inference components ("Amazon SageMaker AI events" in the EventBridge reference), so none is sent.
"""

from __future__ import annotations

import logging
import time
from functools import partial

from local_cloud.platform import Caller
from local_cloud.sagemaker import notifications, tags
from local_cloud.sagemaker.hosting.fleet import Interrupted
from local_cloud.sagemaker.hosting.hosting import Hosting, Key, key_for
from local_cloud.sagemaker.hosting.provisioning import DeploymentFailed
from local_cloud.sagemaker.hosting.server import NotHealthy
from local_cloud.sagemaker.inference_components import inference_components_rolling
from local_cloud.sagemaker.inference_components.inference_components_copies import Generation, components_of
from local_cloud.sagemaker.inference_components.inference_components_hosts import ENDPOINT
from local_cloud.sagemaker.inference_components.inference_components_placement import NoRoom
from local_cloud.sagemaker.inference_components.inference_components_places import Places
from local_cloud.sagemaker.inference_components.inference_components_rolling import RolledBack
from local_cloud.sagemaker.store import Document

logger = logging.getLogger(__name__)

KIND = "inference-component"
MAX_REASON = 1024
"""FailureReason in the API reference."""
LOOK_EVERY_S = 0.1
"""How often a component that comes back looks for its endpoint."""


def create(hosting: Hosting, caller: Caller, name: str) -> None:
    """Bring a new component up: InService, or Failed with the reason."""
    key = key_for(caller, name)
    document = _document_of(hosting, key)
    target, count = document["Pending"]["Target"], document["Pending"]["CopyCount"]
    try:
        generation = Generation.start(hosting, caller, name, _places(hosting, key, document), target, count)
    except Interrupted:
        return
    except (DeploymentFailed, NoRoom) as error:
        finish(hosting, key, "Failed", str(error), Pending=None, Deployed=target, CopyCount=count)
        return
    components_of(hosting).running[key] = (generation,)
    finish(hosting, key, "InService", None, Pending=None, Deployed=target, CopyCount=count)


def update(hosting: Hosting, caller: Caller, name: str) -> None:
    """Give a component another specification, copy by copy, and another number of copies; or leave it as it was."""
    key = key_for(caller, name)
    document = _document_of(hosting, key)
    pending = document["Pending"]
    (generation,) = components_of(hosting).running[key]
    deployed = document["Deployed"]
    used = {"LastDeploymentConfig": pending["DeploymentConfig"]} if pending.get("DeploymentConfig") else {}
    try:
        if pending["Target"]:
            new = Generation.start(hosting, caller, name, _places(hosting, key, document), pending["Target"], 0)
            show = partial(components_of(hosting).running.__setitem__, key)
            inference_components_rolling.roll(hosting, caller, generation, new, pending, show)
            generation, deployed = new, pending["Target"]
        wanted = pending["CopyCount"]
        if wanted > generation.count:
            generation.grow(wanted)
        else:
            generation.shrink(wanted)
    except Interrupted:
        return
    except Exception as error:
        if hosting.stopping.is_set():
            return
        if not isinstance(error, DeploymentFailed | NoRoom | NotHealthy | RolledBack):
            logger.exception("Inference component %s cannot be updated", name)
        # As after an update of an endpoint that was rolled back: what was there serves, and the reason is told.
        reason, count = str(error), generation.count
        finish(hosting, key, "InService", reason, Pending=None, Deployed=deployed, CopyCount=count, **used)
        return
    finish(hosting, key, "InService", None, Pending=None, Deployed=deployed, CopyCount=wanted, **used)


def delete(hosting: Hosting, caller: Caller, name: str) -> None:
    """End a component's copies and forget it."""
    key = key_for(caller, name)
    document = _document_of(hosting, key)
    for generation in components_of(hosting).running.pop(key, ()):
        generation.end()
    if hosting.stopping.is_set():
        return
    with hosting.service.store.transaction():
        hosting.service.store.delete(KIND, *key)
        tags.forget(hosting.service, caller, document["InferenceComponentArn"])
    notifications.publish(KIND, document["InferenceComponentArn"])


def resume(hosting: Hosting, caller: Caller, name: str) -> None:
    """Continue where the local cloud was stopped or killed, once the endpoint is there again."""
    key = key_for(caller, name)
    document = _document_of(hosting, key)
    status = document["InferenceComponentStatus"]
    if status == "Deleting":
        delete(hosting, caller, name)
        return
    if status == "Failed" or not _await_endpoint(hosting, key, document):
        return
    if status == "Creating":
        create(hosting, caller, name)
        return
    target, count = document["Deployed"], document["CopyCount"]
    try:
        generation = Generation.start(hosting, caller, name, _places(hosting, key, document), target, count)
    except Interrupted:
        return
    except (DeploymentFailed, NoRoom) as error:
        finish(hosting, key, "Failed", f"It did not come back when the local cloud was started again: {error}")
        return
    components_of(hosting).running[key] = (generation,)
    if document["Pending"]:
        update(hosting, caller, name)
    else:
        finish(hosting, key, "InService", document.get("FailureReason"))


def finish(hosting: Hosting, key: Key, status: str, reason: str | None, **members: Document | int | None) -> None:
    """Write a component's new status, and tell whoever waits."""

    def change(document: Document) -> None:
        document.update(members)
        document.update(
            InferenceComponentStatus=status,
            FailureReason=reason[:MAX_REASON] if reason else None,
            LastModifiedTime=time.time(),
        )

    document = hosting.service.store.update(KIND, *key, change)
    if document is not None:
        logger.info("Inference component %s is %s%s", key[-1], status, f": {reason}" if reason else "")
        notifications.publish(KIND, document["InferenceComponentArn"])


def _await_endpoint(hosting: Hosting, key: Key, document: Document) -> bool:
    """Wait until a component's endpoint serves; whether it does."""
    endpoint = _endpoint_key(key, document)
    while not hosting.stopping.wait(LOOK_EVERY_S):
        found = hosting.service.store.get(ENDPOINT, *endpoint)
        status = found["EndpointStatus"] if found else "gone"
        if hosting.router(endpoint):
            return True
        if status in ("gone", "Failed"):
            finish(hosting, key, "Failed", f"Its endpoint {document['EndpointName']} is {status}.")
            return False
    return False


def _places(hosting: Hosting, key: Key, document: Document) -> Places:
    return components_of(hosting).places(_endpoint_key(key, document), document["VariantName"])


def _endpoint_key(key: Key, document: Document) -> Key:
    return key_for(Caller(account=key[0], region=key[1], arn=""), document["EndpointName"])


def _document_of(hosting: Hosting, key: Key) -> Document:
    """The document of a component that is worked on, and so cannot be deleted."""
    document = hosting.service.store.get(KIND, *key)
    assert document is not None, f"inference component {key} is gone while it is worked on"
    return document
