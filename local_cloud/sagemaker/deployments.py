"""Moves endpoints from status to status in the background: up, to another plan, to another size, away, back after a restart.

How far it is stands in the store, from where a restarted local cloud goes on.
"""

from __future__ import annotations

import logging
import time

from local_cloud.platform import Caller
from local_cloud.sagemaker import events, notifications, tags
from local_cloud.sagemaker.fleet import Fleet, Interrupted, stop_all
from local_cloud.sagemaker.hosting import Hosting, Key, key_for
from local_cloud.sagemaker.provisioning import DeploymentFailed, bring_up
from local_cloud.sagemaker.router import Router
from local_cloud.sagemaker.server import STOP_GRACE_S, NotHealthy
from local_cloud.sagemaker.service import Sagemaker
from local_cloud.sagemaker.store import Document

logger = logging.getLogger(__name__)

KIND = "endpoint"
MAX_REASON = 1024
"""FailureReason in the API reference."""
DRAIN_S = 60.0
"""How long a fleet that is replaced may answer what it has begun: as long as any request may take."""


def create(hosting: Hosting, caller: Caller, name: str) -> None:
    """Bring a new endpoint up: InService, or Failed with the reason."""
    key = key_for(caller, name)
    pending = _document_of(hosting, key)["Pending"]
    try:
        fleet = bring_up(hosting, caller, name, pending)
    except Interrupted:
        return
    except DeploymentFailed as error:
        # What was to be deployed stays known: Describe names the configuration of a failed endpoint.
        finish(hosting, caller, name, "Failed", str(error), Pending=None, Deployed=pending)
        return
    hosting.routers.setdefault(key, Router(name)).send_to((fleet, 1.0))
    finish(hosting, caller, name, "InService", None, Pending=None, Deployed=pending)


def update(hosting: Hosting, caller: Caller, name: str) -> None:
    """Bring a second fleet up, move all traffic to it, and end the first; or leave everything as it was, with the reason."""
    key = key_for(caller, name)
    document = _document_of(hosting, key)
    pending = document["Pending"]
    try:
        fleet = bring_up(hosting, caller, name, pending)
    except Interrupted:
        return
    except DeploymentFailed as error:
        serving = key in hosting.routers
        finish(hosting, caller, name, "InService" if serving else "OutOfService", str(error), Pending=None)
        return
    router = hosting.routers.setdefault(key, Router(name))
    replaced = router.fleets
    router.send_to((fleet, 1.0))
    finish(hosting, caller, name, "InService", None, Pending=None, Deployed=pending)
    for old in replaced:
        _retire(hosting, old, DRAIN_S)


def rescale(hosting: Hosting, caller: Caller, name: str) -> None:
    """Give the variants that serve the counts and weights of the plan (UpdateEndpointWeightsAndCapacities)."""
    key = key_for(caller, name)
    document = _document_of(hosting, key)
    pending = document["Pending"]
    router = hosting.routers.get(key)
    if router is None:
        # After a restart nothing serves yet, so there is nothing to rescale.
        update(hosting, caller, name)
        return
    # Servers that are new are started before anything else changes, so that a failure leaves everything as it was.
    try:
        for planned in pending["Variants"]:
            for fleet in router.fleets:
                fleet.variants[planned["VariantName"]].grow_to(planned["DesiredInstanceCount"], hosting.stopping)
        outcome, reason = pending, None
    except Interrupted:
        return
    except NotHealthy as error:
        if hosting.stopping.is_set():
            return
        outcome, reason = document["Deployed"], str(error)
    surplus = []
    for planned in outcome["Variants"]:
        for fleet in router.fleets:
            variant = fleet.variants[planned["VariantName"]]
            surplus += variant.take_surplus(planned["DesiredInstanceCount"])
            variant.weight = planned["DesiredWeight"]
    finish(hosting, caller, name, "InService", reason, Pending=None, Deployed=outcome)
    stop_all(surplus, DRAIN_S, STOP_GRACE_S)


def delete(hosting: Hosting, caller: Caller, name: str) -> None:
    """End an endpoint's servers and forget it."""
    key = key_for(caller, name)
    document = _document_of(hosting, key)
    router = hosting.routers.pop(key, None)
    for fleet in router.fleets if router else []:
        _retire(hosting, fleet, DRAIN_S)
    kept_tags = tags.current(hosting.service, caller, document["EndpointArn"])
    with hosting.service.store.transaction():
        hosting.service.store.delete(KIND, *key)
        tags.forget(hosting.service, caller, document["EndpointArn"])
    notifications.publish(KIND, document["EndpointArn"])
    send_event(hosting.service, caller, {**document, "EndpointStatus": "Deleted"}, kept_tags)


def resume(hosting: Hosting, caller: Caller, name: str) -> None:
    """Continue where the local cloud was stopped or killed."""
    key = key_for(caller, name)
    document = _document_of(hosting, key)
    status = document["EndpointStatus"]
    if status == "Creating":
        create(hosting, caller, name)
    elif status == "Deleting":
        delete(hosting, caller, name)
    elif status != "Failed":
        _come_back(hosting, caller, name, document)


def _come_back(hosting: Hosting, caller: Caller, name: str, document: Document) -> None:
    """Start the servers of an endpoint that served, then finish what was under way."""
    key = key_for(caller, name)
    updating = document["EndpointStatus"] == "Updating"
    try:
        fleet = bring_up(hosting, caller, name, document["Deployed"])
    except Interrupted:
        return
    except DeploymentFailed as error:
        reason = f"It did not come back when the local cloud was started again: {error}"
        logger.warning("Endpoint %s: %s", name, reason)
        if not updating:
            # Not Failed, which only DeleteEndpoint leaves: an update, or the next start, may cure it.
            finish(hosting, caller, name, "OutOfService", reason, Deployed=document["Deployed"])
            return
    else:
        hosting.routers.setdefault(key, Router(name)).send_to((fleet, 1.0))
    if updating:
        update(hosting, caller, name)
    else:
        # An earlier update that was rolled back stays told.
        finish(hosting, caller, name, "InService", document.get("FailureReason"), Deployed=document["Deployed"])


def _retire(hosting: Hosting, fleet: Fleet, drain_s: float) -> None:
    """Let a fleet that gets no new requests finish, then end it; quickly once the local cloud stops."""
    deadline = time.monotonic() + drain_s
    while time.monotonic() < deadline and not hosting.stopping.is_set():
        if not any(instance.in_flight for instance in fleet.instances):
            break
        time.sleep(0.02)
    if not hosting.stopping.is_set():
        fleet.stop(drain_s=0)


def finish(
    hosting: Hosting, caller: Caller, name: str, status: str, reason: str | None, **members: Document | None
) -> None:
    """Write an endpoint's new status, and tell it."""

    def change(document: Document) -> None:
        document.update(members)
        document.update(
            EndpointStatus=status, FailureReason=reason[:MAX_REASON] if reason else None, LastModifiedTime=time.time()
        )

    document = hosting.service.store.update(KIND, *key_for(caller, name), change)
    if document is None:
        return
    logger.info("Endpoint %s is %s%s", name, status, f": {reason}" if reason else "")
    notifications.publish(KIND, document["EndpointArn"])
    send_event(hosting.service, caller, document)


def send_event(service: Sagemaker, caller: Caller, document: Document, kept_tags: dict[str, str] | None = None) -> None:
    """`SageMaker Endpoint State Change`, in the form that the developer guide shows: IN_SERVICE, times in milliseconds."""
    serving = document.get("Deployed") or document["Pending"]
    status = "".join(f"_{letter}" if letter.isupper() else letter for letter in document["EndpointStatus"])
    detail = {
        "EndpointName": document["EndpointName"],
        "EndpointArn": document["EndpointArn"],
        "EndpointConfigName": serving["EndpointConfigName"],
        "ProductionVariants": [
            {member: variant[member] for member in ("VariantName", "DesiredWeight", "DesiredInstanceCount")}
            for variant in serving["Variants"]
        ],
        "EndpointStatus": status.lstrip("_").upper(),
        **({"FailureReason": document["FailureReason"]} if document.get("FailureReason") else {}),
        "CreationTime": document["CreationTime"] * 1000,
        "LastModifiedTime": document["LastModifiedTime"] * 1000,
        "Tags": tags.current(service, caller, document["EndpointArn"]) if kept_tags is None else kept_tags,
    }
    arn = document["EndpointArn"]
    events.send(service, caller.account, caller.region, "SageMaker Endpoint State Change", detail, [arn])


def _document_of(hosting: Hosting, key: Key) -> Document:
    """The document of an endpoint that is worked on, and so cannot be deleted."""
    document = hosting.service.store.get(KIND, *key)
    assert document is not None, f"endpoint {key} is gone while it is worked on"
    return document
