"""What an image must say that it can do, by its labels, before it serves many models or shares an instance."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from local_cloud.containers import dockerfile, images
from local_cloud.containers.engine import ContainerError
from local_cloud.sagemaker import model_data
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.hosting.serving_containers import ServingContainer
from local_cloud.sagemaker.service import Sagemaker

MULTI_MODELS = "com.amazonaws.sagemaker.capabilities.multi-models"
ACCEPT_BIND_TO_PORT = "com.amazonaws.sagemaker.capabilities.accept-bind-to-port"


def needed(container: ServingContainer, containers: int) -> list[str]:
    """The labels that the image of one of so many containers of a model needs."""
    return [MULTI_MODELS] * (container.archives is not None) + [ACCEPT_BIND_TO_PORT] * (containers > 1)


def missing(image: str, labels: Mapping[str, str], wanted: Sequence[str]) -> str | None:
    """SageMaker's words for an image without a label that it needs; None if it has all of them."""
    absent = [f"{label}=true" for label in wanted if labels.get(label, "").lower() != "true"]
    if not absent:
        return None
    return f"Your Ecr Image {image} does not contain required {', '.join(absent)} Docker label(s)."


def check_model(service: Sagemaker, s3: Any, container: ServingContainer, wanted: Sequence[str]) -> None:
    """Check an image when its model is made, as far as it is known without building or pulling it.

    A process stands for its Dockerfile alone, so that counts. In an engine a label may come from the base image, and an
    image of a registry is not read at all: the deployment checks it there.

    Args:
        service: its engine runs the image.
        s3: a client with the credentials of the model's role.
        container: its image.
        wanted: the labels that it needs.

    Raises:
        ValidationError: it lacks one, or cannot be read.
    """
    image = container.image
    if not wanted or not images.is_build_context(image) or service.engine.kind != "process":
        return
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "context.zip"
        bucket, key = urlsplit(image).netloc, urlsplit(image).path.lstrip("/")
        try:
            model_data.fetch_object(s3, bucket, key, archive)
            labels = dockerfile.labels(images.dockerfile_of(archive, image))
        except ClientError as error:
            detail = model_data.denied_read(bucket, key, error)
            raise ValidationError(f"Could not access the image {image} as the model's role. {detail}") from error
        except ContainerError as error:
            raise ValidationError(f"The image {image} cannot be used: {error}") from error
    if message := missing(image, labels, wanted):
        raise ValidationError(message)
