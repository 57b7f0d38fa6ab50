"""Brings the fleet of a plan up: the roles' credentials, the images, the model data, and a healthy server per instance."""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from local_cloud.containers.engine import NOTE, ContainerError, Image
from local_cloud.platform import Caller, Credentials, RoleRefused
from local_cloud.sagemaker import model_data
from local_cloud.sagemaker.asynchronous import async_configs
from local_cloud.sagemaker.capture import data_capture_writer, shadow
from local_cloud.sagemaker.hosting import capabilities, container_http, endpoint_metrics, endpoint_plans
from local_cloud.sagemaker.hosting.container_calls import Call, Reply
from local_cloud.sagemaker.hosting.endpoint_metrics import ModelEvent
from local_cloud.sagemaker.hosting.fleet import Fleet, Interrupted, Variant
from local_cloud.sagemaker.hosting.hosting import Hosting
from local_cloud.sagemaker.hosting.loaded_models import ModelHost
from local_cloud.sagemaker.hosting.server import HEALTH_CHECK_TIMEOUT_S, NotHealthy, ServerSpec
from local_cloud.sagemaker.hosting.serving_containers import ServingContainer
from local_cloud.sagemaker.log_stream import LogStream
from local_cloud.sagemaker.model_data import BadModelData
from local_cloud.sagemaker.names import key_of
from local_cloud.sagemaker.serverless.serverless_metrics import Idle
from local_cloud.sagemaker.serverless.serverless_variant import ServerlessVariant
from local_cloud.sagemaker.service import Sagemaker
from local_cloud.sagemaker.store import Document

logger = logging.getLogger(__name__)

LOG_GROUP = "/aws/sagemaker/Endpoints/"


class DeploymentFailed(Exception):
    """The servers of a plan do not come up; the message is the endpoint's FailureReason."""


def bring_up(hosting: Hosting, caller: Caller, name: str, plan: Document, *, start: bool = True) -> Fleet:
    """Start all servers of a plan and wait until they are healthy; fills in the plan's DeployedImages.

    Without `start` everything is at hand, and no server started: a rolling update starts them batch by batch.

    Raises:
        DeploymentFailed: with the reason.
        Interrupted: the local cloud stops.
    """
    with hosting.lock:
        hosting.made += 1
        folder = hosting.folder / f"{key_of(name)}-{hosting.made}"
    sessions: list[Credentials] = []
    if refusal := async_configs.refusal(hosting.service, caller, plan):
        raise DeploymentFailed(refusal)

    def forget() -> None:
        for variant in fleet.variants.values():
            if variant.capture:
                # While its credentials are still good.
                is_end = hosting.stopping.is_set()
                writer = data_capture_writer
                variant.capture.close(writer.SHUTDOWN_TIMEOUT_S if is_end else writer.CLOSE_TIMEOUT_S)
        for credentials in sessions:
            hosting.service.platform.forget_session(credentials)
        shutil.rmtree(folder, ignore_errors=True)
        with hosting.lock:
            if fleet in hosting.fleets:
                hosting.fleets.remove(fleet)

    fleet = Fleet([], on_stopped=forget)
    fleet.asynchronous = bool(plan.get("AsyncInferenceConfig"))
    with hosting.lock:
        hosting.fleets.append(fleet)
    try:
        for planned in plan["Variants"]:
            if hosting.stopping.is_set():
                raise Interrupted
            variant = _variant(hosting, caller, name, planned, folder, sessions)
            variant.capture = data_capture_writer.writer_of(
                hosting.service,
                caller.region,
                sessions[-1],
                LOG_GROUP + name,
                name,
                variant.name,
                plan.get("DataCaptureConfig"),
            )
            # Another dictionary, not a change: shutting down may go through the old one right now.
            fleet.variants = {**fleet.variants, variant.name: variant}
        shadow.pair(fleet)
        for planned in plan["Variants"] if start else ():
            fleet.variants[planned["VariantName"]].reach(planned, hosting.stopping)
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
    containers, mode = endpoint_plans.containers_of(planned)
    specs = [
        _spec(hosting, caller, name, planned, container, len(containers), folder, s3, credentials)
        for container in containers
    ]
    planned["DeployedImages"] = [_deployed_image(spec.image) for spec in specs]

    def open_log(stream: str) -> LogStream:
        return LogStream(platform, caller.region, credentials, planned.get("LogGroup") or LOG_GROUP + name, stream)

    if planned.get("ServerlessConfig"):
        recorder = endpoint_metrics.recorder_of(hosting.service)
        return ServerlessVariant(
            hosting.service.engine,
            specs,
            folder / planned["VariantName"],
            open_log,
            config=planned["ServerlessConfig"],
            weight=planned["DesiredWeight"],
            clock=hosting.service.clock,
            tell_idle=lambda idle: recorder.record(caller.region, Idle(name, planned["VariantName"], idle)),
        )
    return Variant(
        hosting.service.engine,
        specs,
        folder / planned["VariantName"],
        open_log,
        weight=planned["DesiredWeight"],
        least_busy=(planned["RoutingConfig"] or {}).get("RoutingStrategy") == "LEAST_OUTSTANDING_REQUESTS",
        mode=mode,
        is_shadow=planned.get("IsShadow", False),
        name=planned["VariantName"],
    )


def _spec(
    hosting: Hosting,
    caller: Caller,
    name: str,
    planned: Document,
    container: ServingContainer,
    containers: int,
    folder: Path,
    s3: Any,
    credentials: Credentials,
) -> ServerSpec:
    """What one of so many containers of a variant runs, its image and model data at hand."""
    image, notes = _image(hosting, s3, container.image, planned["ExecutionRoleArn"])
    if message := capabilities.missing(image.uri, image.labels, capabilities.needed(container, containers)):
        raise DeploymentFailed(message)
    environment = dict(container.environment)
    if not planned["NetworkIsolation"]:
        # An isolated container gets no credentials on AWS either.
        platform = hosting.service.platform
        environment = platform.client_environment(caller.region) | credentials.environment() | environment
    models = None
    if container.archives:
        # How a container knows that it is to speak the multi-model contract.
        environment["SAGEMAKER_MULTI_MODEL"] = "true"
        models = _model_host(hosting.service, caller.region, name, planned["VariantName"], container, s3)
    timeout = planned["HealthCheckTimeout"]
    return ServerSpec(
        endpoint=name,
        variant=planned["VariantName"],
        image=image,
        model_folder=None if models else _model_folder(caller, planned, container, folder, s3),
        environment=environment,
        network=not planned["NetworkIsolation"],
        health_check_timeout_s=float(timeout) if timeout else HEALTH_CHECK_TIMEOUT_S,
        notes=notes,
        container=container.name,
        models=models,
    )


def _model_folder(caller: Caller, planned: Document, container: ServingContainer, folder: Path, s3: Any) -> Path:
    """The folder with a container's model data, downloaded; empty for one that has none."""
    # No instance has such a name.
    model_folder: Path = folder / planned["VariantName"] / "models" / container.name
    model_folder.mkdir(parents=True)
    if data := container.model_data:
        try:
            model_data.download(s3, data, model_folder)
        except ClientError as error:
            detail = model_data.denied_read(data.bucket, data.key, error)
            role_arn = planned["ExecutionRoleArn"]
            raise DeploymentFailed(model_data.could_not_access(data, role_arn, caller.region, detail)) from error
        except (BadModelData, BotoCoreError) as error:
            raise DeploymentFailed(f"Failed to download model data for {planned['VariantName']}: {error}") from error
    return model_folder


def _model_host(
    service: Sagemaker, region: str, endpoint: str, variant: str, container: ServingContainer, s3: Any
) -> ModelHost:
    """What a multi-model container is given."""
    assert container.archives is not None
    recorder = endpoint_metrics.recorder_of(service)

    async def ask(port: int, call: Call, timeout_s: float) -> Reply:
        return await container_http.ask(service, port, call, container.name, timeout_s)

    def tell(metric: str, value: float) -> None:
        recorder.record(region, ModelEvent(endpoint, variant, metric, value))

    return ModelHost(container.archives, s3, ask, tell)


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
