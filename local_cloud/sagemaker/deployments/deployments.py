"""Moves endpoints from status to status in the background: up, to another plan, to another size, away, back after a restart.

How far it is stands in the store, from where a restarted local cloud goes on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from local_cloud.platform import Caller
from local_cloud.sagemaker import notifications, tags
from local_cloud.sagemaker.asynchronous import async_endpoints
from local_cloud.sagemaker.deployments import deployment_policy, guarded_update
from local_cloud.sagemaker.deployments.deployment_policy import Policy
from local_cloud.sagemaker.hosting.endpoint_status import KIND, document_of, finish, send_event
from local_cloud.sagemaker.hosting.fleet import Fleet, Interrupted, stop_all
from local_cloud.sagemaker.hosting.hosting import Hosting, key_for
from local_cloud.sagemaker.hosting.instance import Instance
from local_cloud.sagemaker.hosting.provisioning import DeploymentFailed, bring_up
from local_cloud.sagemaker.hosting.router import Router
from local_cloud.sagemaker.hosting.server import STOP_GRACE_S, NotHealthy
from local_cloud.sagemaker.store import Document

logger = logging.getLogger(__name__)

__all__ = ["KIND", "create", "delete", "finish", "rescale", "resume", "send_event", "update"]

_OF_DEPLOYMENT = ("DeploymentConfig", "Stage", "WaitedS", "Restarts")
"""Members of a pending plan that end with its deployment."""
DRAIN_S = 60.0
"""How long a fleet that is replaced may answer what it has begun: as long as any request may take."""


def create(hosting: Hosting, caller: Caller, name: str) -> None:
    """Bring a new endpoint up: InService, or Failed with the reason."""
    key = key_for(caller, name)
    pending = document_of(hosting, key)["Pending"]
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
    """Replace what serves by what is planned, as the DeploymentConfig says; or leave everything as it was, with the reason.

    Without one: a second fleet, all traffic to it once it is healthy, and the end of the first.
    """
    key = key_for(caller, name)
    pending = document_of(hosting, key)["Pending"]
    policy = deployment_policy.policy_of(pending.get("DeploymentConfig"))
    router = hosting.routers.get(key)
    if policy and router and router.fleets:
        _update_guarded(hosting, caller, name, pending, policy, router)
        return
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
    _updated(hosting, caller, name, pending)
    for old in replaced:
        _retire(hosting, old, DRAIN_S)


def _update_guarded(
    hosting: Hosting, caller: Caller, name: str, pending: Document, policy: Policy, router: Router
) -> None:
    def end(instances: Sequence[Instance]) -> None:
        stop_all(instances, DRAIN_S, STOP_GRACE_S)

    try:
        outcome = guarded_update.update(hosting, caller, name, pending, policy, router, end)
    except Interrupted:
        return
    if outcome.reason is None:
        _updated(hosting, caller, name, pending)
        for fleet in outcome.retired:
            _retire(hosting, fleet, DRAIN_S)
        return
    # It is rolling back until nothing of the new version is left.
    for fleet in outcome.retired:
        _retire(hosting, fleet, DRAIN_S)
    finish(hosting, caller, name, outcome.status, outcome.reason, Pending=None)


def _updated(hosting: Hosting, caller: Caller, name: str, pending: Document) -> None:
    """What was planned serves."""
    if pending.get("Restarts"):
        logger.warning(
            "Endpoint %s: the update to %s, which the end of the local cloud had cut off, is finished",
            name,
            pending["EndpointConfigName"],
        )
    finish(hosting, caller, name, "InService", None, Pending=None, Deployed=_deployed(pending))


def _deployed(pending: Document) -> Document:
    """The plan without what only its deployment needed."""
    return {key: value for key, value in pending.items() if key not in _OF_DEPLOYMENT}


def rescale(hosting: Hosting, caller: Caller, name: str) -> None:
    """Give the variants that serve the counts and weights of the plan (UpdateEndpointWeightsAndCapacities)."""
    key = key_for(caller, name)
    document = document_of(hosting, key)
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
                fleet.variants[planned["VariantName"]].reach(planned, hosting.stopping)
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
            surplus += variant.surplus(planned)
            variant.weight = planned["DesiredWeight"]
    finish(hosting, caller, name, "InService", reason, Pending=None, Deployed=outcome)
    stop_all(surplus, DRAIN_S, STOP_GRACE_S)


def delete(hosting: Hosting, caller: Caller, name: str) -> None:
    """End an endpoint's servers and forget it."""
    key = key_for(caller, name)
    document = document_of(hosting, key)
    router = hosting.routers.pop(key, None)
    async_endpoints.forget(hosting, key)
    for fleet in router.fleets if router else []:
        _retire(hosting, fleet, DRAIN_S)
    with hosting.service.store.undisturbed():
        with hosting.service.store.transaction():
            kept_tags = tags.current(hosting.service, caller, document["EndpointArn"])
            hosting.service.store.delete(KIND, *key)
            tags.forget(hosting.service, caller, document["EndpointArn"])
        send_event(hosting.service, caller, {**document, "EndpointStatus": "Deleted"}, kept_tags)
    notifications.publish(KIND, document["EndpointArn"])


def resume(hosting: Hosting, caller: Caller, name: str) -> None:
    """Continue where the local cloud was stopped or killed.

    What served comes back first. An update that was cut off then begins again at its first stage: how far it had come says
    nothing about servers that are all gone, and an alarm may have been missed. Its MaximumExecutionTimeoutInSeconds counts
    on, and what it tells says that it was started again. A roll-back that was cut off is over: the old version serves,
    with the reason.
    """
    key = key_for(caller, name)
    document = document_of(hosting, key)
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
            finish(hosting, caller, name, "OutOfService", reason, Pending=None, Deployed=document["Deployed"])
            return
    else:
        hosting.routers.setdefault(key, Router(name)).send_to((fleet, 1.0))
    if updating:
        logger.warning("Endpoint %s: its update, which the end of the local cloud had cut off, begins again", name)
        hosting.service.store.update(KIND, *key, _begun_again)
        update(hosting, caller, name)
        return
    told: str | None = document.get("FailureReason")
    if document["EndpointStatus"] == "RollingBack":
        logger.warning("Endpoint %s: its update was being rolled back, and now is: %s", name, told)
    elif document["EndpointStatus"] == "UpdateRollbackFailed":
        told = f"{told} The local cloud was restarted since: only the old version answers."
    # An earlier update that was rolled back stays told.
    finish(hosting, caller, name, "InService", told, Pending=None, Deployed=document["Deployed"])


def _begun_again(document: Document) -> None:
    document["Pending"] = {**document["Pending"], "Restarts": document["Pending"].get("Restarts", 0) + 1, "Stage": None}


def _retire(hosting: Hosting, fleet: Fleet, drain_s: float) -> None:
    """Let a fleet that gets no new requests finish, then end it; quickly once the local cloud stops."""
    deadline = time.monotonic() + drain_s
    while time.monotonic() < deadline and not hosting.stopping.is_set():
        if not any(instance.in_flight for instance in fleet.instances):
            break
        time.sleep(0.02)
    if not hosting.stopping.is_set():
        fleet.stop(drain_s=0)
