"""All operations of Studio, and what goes on with them over a restart."""

from __future__ import annotations

from local_cloud.sagemaker.service import Sagemaker
from local_cloud.sagemaker.studio import (
    apps,
    background,
    domains,
    entities,
    image_versions,
    images,
    spaces,
    user_profiles,
)

ENTITIES = (domains.DOMAIN, user_profiles.PROFILE, spaces.SPACE, apps.APP, images.IMAGE, image_versions.VERSION)
"""What has statuses that go on by themselves."""


def start(service: Sagemaker) -> None:
    """Go on with what was in motion when the local cloud ended."""
    apps.sweep(service)
    entities.resume(service, ENTITIES)


def stop(service: Sagemaker) -> None:
    """Leave what is in motion to the next start."""
    background.stop(service)
