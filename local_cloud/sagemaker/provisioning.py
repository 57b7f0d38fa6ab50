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
from local_cloud.sagemaker.fleet import Fleet, Interrupted, Variant
from local_cloud.sagemaker.hosting import Hosting
from local_cloud.sagemaker.instance import HEALTH_CHECK_TIMEOUT_S, NotHealthy, ServerSpec
from local_cloud.sagemaker.log_stream import LogStream
from local_cloud.sagemaker.model_data import BadModelData, ModelData
from local_cloud.sagemaker.names import key_of
from local_cloud.sagemaker.store import Document

logger = logging.getLogger(__name__)

LOG_GROUP = "/aws/sagemaker/Endpoints/"


class DeploymentFailed(Exception):
    """The servers of a plan do not come up; the message is the endpoint's FailureReason."""


def bring_up(hosting: Hosting, caller: Caller, name: str, plan: Document) -> Fleet:
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
