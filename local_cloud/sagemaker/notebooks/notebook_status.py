"""The status of a notebook instance: which change it allows, written to the store, told to whoever waits and to EventBridge."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from local_cloud.platform import Caller
from local_cloud.sagemaker import events, notifications, tags
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.names import key_of
from local_cloud.sagemaker.service import Sagemaker
from local_cloud.sagemaker.store import Document

logger = logging.getLogger(__name__)

KIND = "notebook-instance"
EVENT = "SageMaker Notebook Instance State Change"
MAX_REASON = 1024
"""FailureReason in the API reference."""
ALLOWED = {
    "Pending": ("Stopped", "Failed"),
    "Stopping": ("InService",),
    "Updating": ("Stopped", "Failed"),
    "Deleting": ("Stopped", "Failed"),
}
"""From which statuses an instance can be started, stopped, updated and deleted. Those of Pending, Stopping and Deleting are
in SageMaker's own refusals, which people quote; for Updating no text of AWS's says whether a failed one can be."""
_MOMENT = ("NotebookInstanceStatus", "LastModifiedTime")
"""The members that every change of the status changes: an instance that was stopped and started again has another time."""


def find(service: Sagemaker, caller: Caller, name: str) -> Document:
    """The document of an instance.

    Raises:
        ValidationError: there is none of that name.
    """
    document = service.store.get(KIND, caller.account, caller.region, key_of(name))
    if document is None:
        # SageMaker's one word; clients look for it.
        raise ValidationError("RecordNotFound")
    return document


def refuse_transition(document: Document, wanted: str) -> None:
    """Refuse what the status does not allow, in SageMaker's words.

    Raises:
        ValidationError: it does not.
    """
    status, allowed = document["NotebookInstanceStatus"], ALLOWED[wanted]
    if status not in allowed:
        raise ValidationError(
            f"Status ({status}) not in ([{', '.join(allowed)}]). Unable to transition to ({wanted}) for Notebook Instance "
            f"({document['NotebookInstanceArn']})."
        )


def begin(
    service: Sagemaker, caller: Caller, name: str, wanted: str, change: Callable[[Document], None] = lambda _: None
) -> Document:
    """Enter one of the statuses that something is done in, and tell it.

    Args:
        service: the service.
        caller: whose instance it is.
        name: of the instance.
        wanted: Pending, Stopping, Updating or Deleting.
        change: changes the document with the status, or refuses by an ApiError.

    Raises:
        ValidationError: there is no such instance, or its status does not allow this one.
    """

    def enter(document: Document) -> None:
        refuse_transition(document, wanted)
        change(document)
        document.update(NotebookInstanceStatus=wanted, FailureReason=None, LastModifiedTime=time.time())

    # Told before anybody can see it, and go on: events keep the order of what happened.
    with service.store.undisturbed():
        document = service.store.update(KIND, caller.account, caller.region, key_of(name), enter)
        if document is None:
            raise ValidationError("RecordNotFound")
        tell(service, caller, document)
    return document


def finish(
    service: Sagemaker,
    caller: Caller,
    name: str,
    status: str,
    reason: str | None = None,
    *,
    unchanged_since: Document | None = None,
    **members: Any,
) -> bool:
    """Write the status that something led to, and tell it.

    Args:
        service: the service.
        caller: whose instance it is.
        name: of the instance.
        status: the status.
        reason: FailureReason.
        unchanged_since: only where nothing was done with the instance since this was its document.
        members: of the document, to change with it.

    Returns:
        Whether it was written.
    """
    written = False

    def change(document: Document) -> None:
        nonlocal written
        if unchanged_since is not None and any(document[key] != unchanged_since[key] for key in _MOMENT):
            return
        written = True
        document.update(members)
        document.update(
            NotebookInstanceStatus=status,
            FailureReason=reason[:MAX_REASON] if reason else None,
            LastModifiedTime=time.time(),
        )

    with service.store.undisturbed():
        document = service.store.update(KIND, caller.account, caller.region, key_of(name), change)
        if document is None or not written:
            return False
        tell(service, caller, document)
    logger.info("Notebook instance %s is %s%s", name, status, f": {reason}" if reason else "")
    return True


def note(service: Sagemaker, caller: Caller, name: str, **members: Any) -> None:
    """Write something down that is no status."""
    service.store.update(KIND, caller.account, caller.region, key_of(name), lambda document: document.update(members))


def tell(service: Sagemaker, caller: Caller, document: Document) -> None:
    """Tell of an instance's status: who waits in this process, and EventBridge.

    The event is in none of the developer guide's examples; its members are those of EventBridge's schema registry.
    """
    arn = document["NotebookInstanceArn"]
    notifications.publish(KIND, arn)
    detail = {
        "NotebookInstanceArn": arn,
        "NotebookInstanceName": document["NotebookInstanceName"],
        "NotebookInstanceStatus": document["NotebookInstanceStatus"],
        "FailureReason": document.get("FailureReason"),
        "InstanceType": document["InstanceType"],
        "LastModifiedTime": int(document["LastModifiedTime"] * 1000),
        "CreationTime": int(document["CreationTime"] * 1000),
        "NotebookInstanceLifecycleConfigName": document.get("NotebookInstanceLifecycleConfigName"),
        "Tags": tags.current(service, caller, arn),
    }
    events.send(service, caller.account, caller.region, EVENT, detail, [arn])
