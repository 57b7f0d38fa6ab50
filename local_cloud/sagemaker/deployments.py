"""Brings the servers of endpoints up and down in the background, and says in the store how far it is.

A deployment works from a plan: everything that the endpoint's configuration and models said when it was asked for. The
plan is kept with the endpoint, so that an endpoint outlives its configuration and its models, as on AWS, and comes back
after a restart of the local cloud.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from local_cloud.containers.engine import NOTE, ContainerError, Image
from local_cloud.platform import Caller, Credentials, RoleRefused
from local_cloud.sagemaker import events, model_data, models, notifications, tags
from local_cloud.sagemaker.fleet import (
    HEALTH_CHECK_TIMEOUT_S,
    STOP_GRACE_S,
    Fleet,
    Interrupted,
    NotHealthy,
    Router,
    ServerSpec,
    Variant,
    stop_all,
)
from local_cloud.sagemaker.log_stream import LogStream
from local_cloud.sagemaker.model_data import BadModelData, ModelData
from local_cloud.sagemaker.names import key_of
from local_cloud.sagemaker.service import Request, Sagemaker
from local_cloud.sagemaker.store import Document

logger = logging.getLogger(__name__)

KIND = "endpoint"
LOG_GROUP = "/aws/sagemaker/Endpoints/"
MAX_REASON = 1024
"""FailureReason in the API reference."""
DRAIN_S = 60.0
"""How long a fleet that is replaced may answer what it has begun: as long as any request may take."""
SHUTDOWN_DRAIN_S = 2.0
SHUTDOWN_GRACE_S = 3.0
"""The local cloud's own end must not take longer than a person waits for it."""

Key = tuple[str, str, str]
"""Account, region and key of an endpoint."""


class DeploymentFailed(Exception):
    """The servers of a plan do not come up; the message is the endpoint's FailureReason."""


@dataclass
class Hosting:
    """What serves right now: a router for each endpoint, and the threads that change something."""

    service: Sagemaker
    routers: dict[Key, Router] = field(default_factory=dict)
    fleets: list[Fleet] = field(default_factory=list)
    """Every fleet that has servers, also those that only drain."""
    workers: list[threading.Thread] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    made: int = 0
    """Fleets made so far; numbers their folders."""

    @property
    def folder(self) -> Path:
        """Where the files of all servers are."""
        return self.service.state_dir / "endpoints"

    def router(self, key: Key) -> Router | None:
        """The router of an endpoint; there is one exactly while it serves."""
        return self.routers.get(key)

    def run(self, name: str, work: Callable[[], None]) -> None:
        """Do something in the background."""

        def logged() -> None:
            try:
                work()
            except Exception:
                logger.exception("%s failed", name)

        thread = threading.Thread(target=logged, name=name, daemon=True)
        with self.lock:
            self.workers = [worker for worker in self.workers if worker.is_alive()]
            self.workers.append(thread)
            thread.start()


def hosting_of(service: Sagemaker) -> Hosting:
    """The hosting of a service, made when it is first asked for."""
    hosting: Hosting = service.background.setdefault("endpoints", Hosting(service))
    return hosting


def plan_of(service: Sagemaker, caller: Caller, config: Document) -> Document:
    """Everything that is needed to serve an endpoint configuration, looked up now.

    Raises:
        ValidationError: a model is not there any more.
    """
    return {
        "EndpointConfigName": config["EndpointConfigName"],
        "DataCaptureConfig": config.get("DataCaptureConfig"),
        "Variants": [_planned(service, caller, config, variant) for variant in config["ProductionVariants"]],
    }


def _planned(service: Sagemaker, caller: Caller, config: Document, variant: Document) -> Document:
    model = models.find(service, caller, variant["ModelName"])
    container = models.container_of(model)
    data = container.model_data
    return {
        "VariantName": variant["VariantName"],
        "Image": container.image,
        "ModelData": vars(data) if data else None,
        "Environment": container.environment,
        "ExecutionRoleArn": model["ExecutionRoleArn"],
        "NetworkIsolation": bool(model.get("EnableNetworkIsolation") or config.get("EnableNetworkIsolation")),
        "DesiredInstanceCount": variant["InitialInstanceCount"],
        "DesiredWeight": float(variant["InitialVariantWeight"]),
        "RoutingConfig": variant.get("RoutingConfig"),
        "HealthCheckTimeout": variant.get("ContainerStartupHealthCheckTimeoutInSeconds"),
        "DeployedImages": [],
    }


def retained(plan: Document, deployed: Document, request: Request) -> Document:
    """The plan with the counts and weights that variants of the same name have now (RetainAllVariantProperties)."""
    excluded = {item["VariantPropertyType"] for item in request.get("ExcludeRetainedVariantProperties", [])}
    now = {variant["VariantName"]: variant for variant in deployed["Variants"]}
    for variant in plan["Variants"]:
        for member in ("DesiredInstanceCount", "DesiredWeight"):
            if variant["VariantName"] in now and member not in excluded:
                variant[member] = now[variant["VariantName"]][member]
    return plan


# --- What happens in the background ------------------------------------------------------------------------------


def create(hosting: Hosting, caller: Caller, name: str) -> None:
    """Bring a new endpoint up: InService, or Failed with the reason."""
    key = _key(caller, name)
    pending = _document(hosting, key)["Pending"]
    try:
        fleet = _bring_up(hosting, caller, name, pending)
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
    key = _key(caller, name)
    document = _document(hosting, key)
    pending = document["Pending"]
    try:
        fleet = _bring_up(hosting, caller, name, pending)
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
    key = _key(caller, name)
    document = _document(hosting, key)
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
    key = _key(caller, name)
    document = _document(hosting, key)
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
    key = _key(caller, name)
    document = _document(hosting, key)
    status = document["EndpointStatus"]
    if status == "Creating":
        create(hosting, caller, name)
    elif status == "Deleting":
        delete(hosting, caller, name)
    elif status != "Failed":
        _come_back(hosting, caller, name, document)


def _come_back(hosting: Hosting, caller: Caller, name: str, document: Document) -> None:
    """Start the servers of an endpoint that served, then finish what was under way."""
    key = _key(caller, name)
    updating = document["EndpointStatus"] == "Updating"
    try:
        fleet = _bring_up(hosting, caller, name, document["Deployed"])
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


def shut_down(hosting: Hosting) -> None:
    """End every server within a few seconds; the store keeps what was under way."""
    hosting.stopping.set()
    with hosting.lock:
        fleets = list(hosting.fleets)
    threads = [
        threading.Thread(target=fleet.stop, args=(SHUTDOWN_DRAIN_S, SHUTDOWN_GRACE_S), daemon=True) for fleet in fleets
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + SHUTDOWN_DRAIN_S + SHUTDOWN_GRACE_S + 2
    for thread in [*threads, *hosting.workers]:
        thread.join(max(0.0, deadline - time.monotonic()))
    hosting.routers.clear()


# --- Fleets ------------------------------------------------------------------------------------------------------


def _bring_up(hosting: Hosting, caller: Caller, name: str, plan: Document) -> Fleet:
    """Start all servers of a plan and wait until they are healthy; fills in the plan's DeployedImages.

    Raises:
        DeploymentFailed: with the reason.
        Interrupted: the local cloud stops.
    """
    with hosting.lock:
        hosting.made += 1
        folder = hosting.folder / f"{key_of(name)}-{hosting.made}"
    sessions: list[Credentials] = []

    def forget() -> None:
        for credentials in sessions:
            hosting.service.platform.forget_session(credentials)
        shutil.rmtree(folder, ignore_errors=True)
        with hosting.lock:
            if fleet in hosting.fleets:
                hosting.fleets.remove(fleet)

    fleet = Fleet([], on_stopped=forget)
    with hosting.lock:
        hosting.fleets.append(fleet)
    try:
        for planned in plan["Variants"]:
            if hosting.stopping.is_set():
                raise Interrupted
            variant = _variant(hosting, caller, name, planned, folder, sessions)
            # Another dictionary, not a change: shutting down may go through the old one right now.
            fleet.variants = {**fleet.variants, variant.name: variant}
        for planned in plan["Variants"]:
            fleet.variants[planned["VariantName"]].grow_to(planned["DesiredInstanceCount"], hosting.stopping)
    except Exception as error:
        fleet.stop(drain_s=0, grace_s=1)
        if isinstance(error, Interrupted) or hosting.stopping.is_set():
            # Whatever fails while the local cloud ends says nothing about the deployment.
            raise Interrupted from error
        if isinstance(error, DeploymentFailed | NotHealthy):
            raise DeploymentFailed(str(error)) from error
        logger.exception("Endpoint %s cannot be deployed", name)
        raise DeploymentFailed(f"The local cloud failed: {type(error).__name__}: {error}") from error
    return fleet


def _variant(
    hosting: Hosting, caller: Caller, name: str, planned: Document, folder: Path, sessions: list[Credentials]
) -> Variant:
    """A variant with its image and model data at hand, and no instance yet."""
    platform, role_arn = hosting.service.platform, planned["ExecutionRoleArn"]
    try:
        credentials = platform.assume_role(role_arn, "SageMaker")
    except RoleRefused as error:
        raise DeploymentFailed(str(error)) from error
    sessions.append(credentials)
    s3 = platform.client("s3", caller.region, credentials)
    image, notes = _image(hosting, s3, planned["Image"], role_arn)
    planned["DeployedImages"] = [_deployed_image(image)]
    model_folder = folder / planned["VariantName"] / "model"
    model_folder.mkdir(parents=True)
    if planned["ModelData"]:
        data = ModelData(**planned["ModelData"])
        try:
            model_data.download(s3, data, model_folder)
        except ClientError as error:
            detail = model_data.denied_read(data.bucket, data.key, error)
            raise DeploymentFailed(model_data.could_not_access(data, role_arn, caller.region, detail)) from error
        except (BadModelData, BotoCoreError) as error:
            raise DeploymentFailed(f"Failed to download model data for {planned['VariantName']}: {error}") from error
    environment = dict(planned["Environment"])
    if not planned["NetworkIsolation"]:
        # An isolated container gets no credentials on AWS either.
        environment = platform.client_environment(caller.region) | credentials.environment() | environment
    timeout = planned["HealthCheckTimeout"]
    spec = ServerSpec(
        endpoint=name,
        variant=planned["VariantName"],
        image=image,
        model_folder=model_folder,
        environment=environment,
        network=not planned["NetworkIsolation"],
        health_check_timeout_s=float(timeout) if timeout else HEALTH_CHECK_TIMEOUT_S,
        notes=notes,
    )
    return Variant(
        hosting.service.engine,
        spec,
        folder / planned["VariantName"],
        lambda stream: LogStream(platform, caller.region, credentials, LOG_GROUP + name, stream),
        weight=planned["DesiredWeight"],
        least_busy=(planned["RoutingConfig"] or {}).get("RoutingStrategy") == "LEAST_OUTSTANDING_REQUESTS",
    )


def _image(hosting: Hosting, s3: Any, uri: str, role_arn: str) -> tuple[Image, list[str]]:
    """The image, ready to run, and what its engine has to say to whoever reads the log of its containers."""
    notes: list[str] = []

    def fetch(path: Path) -> None:
        bucket, key = urlsplit(uri).netloc, urlsplit(uri).path.lstrip("/")
        try:
            model_data.fetch_object(s3, bucket, key, path)
        except ClientError as error:
            detail = model_data.denied_read(bucket, key, error)
            raise DeploymentFailed(f'Could not access the image {uri} as the role "{role_arn}". {detail}') from error

    def on_line(line: str) -> None:
        logger.debug("image %s: %s", uri, line)
        if line.startswith(NOTE):
            notes.append(line)

    try:
        return hosting.service.engine.prepare(uri, fetch, on_line), notes
    except ContainerError as error:
        raise DeploymentFailed(f"The image {uri} cannot be used: {error}") from error


def _deployed_image(image: Image) -> Document:
    """DeployedImage: what was asked for, and what runs (an image id, or the folder of a process environment)."""
    return {"SpecifiedImage": image.uri, "ResolvedImage": image.reference[:255], "ResolutionTime": time.time()}


def _retire(hosting: Hosting, fleet: Fleet, drain_s: float) -> None:
    """Let a fleet that gets no new requests finish, then end it; quickly once the local cloud stops."""
    deadline = time.monotonic() + drain_s
    while time.monotonic() < deadline and not hosting.stopping.is_set():
        if not any(instance.in_flight for instance in fleet.instances):
            break
        time.sleep(0.02)
    if not hosting.stopping.is_set():
        fleet.stop(drain_s=0)


# --- The endpoint's document -------------------------------------------------------------------------------------


def finish(
    hosting: Hosting, caller: Caller, name: str, status: str, reason: str | None, **members: Document | None
) -> None:
    """Write an endpoint's new status, and tell it."""

    def change(document: Document) -> None:
        document.update(members)
        document.update(
            EndpointStatus=status, FailureReason=reason[:MAX_REASON] if reason else None, LastModifiedTime=time.time()
        )

    document = hosting.service.store.update(KIND, *_key(caller, name), change)
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


def _key(caller: Caller, name: str) -> Key:
    return caller.account, caller.region, key_of(name)


def _document(hosting: Hosting, key: Key) -> Document:
    document = hosting.service.store.get(KIND, *key)
    assert document is not None, f"endpoint {key} is gone while it is worked on"
    return document
