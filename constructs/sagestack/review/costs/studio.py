"""What a Studio domain costs, as far as a template knows: people start what costs most of it."""

from __future__ import annotations

from collections.abc import Iterator

from sagestack.review.assembly import Resource
from sagestack.review.costs.site import Site, amount
from sagestack.review.results import CostLine


def domain(site: Site, resource: Resource) -> Iterator[CostLine]:
    """Home directories; and that what people start and make themselves are no resources."""
    if site.load.stored_gb:
        yield site.line(
            resource,
            "home directories in the domain's EFS",
            "load",
            "efs.storage",
            quantity=site.load.stored_gb,
            how=f"{amount(site.load.stored_gb)} GB x {{price}}",
        )
    yield site.unknown(
        resource,
        "Studio applications, and volumes of spaces that people make",
        "load",
        "people start them, on instances and with volumes that they choose; the workbench's budget and idle report count them",
    )


def space(site: Site, resource: Resource) -> Iterator[CostLine]:
    """The volume of a space, which is there as long as the space is, whether an application runs or not."""
    settings = site.reading.get(resource, "SpaceSettings", "SpaceStorageSettings", "EbsStorageSettings") or {}
    size = site.reading.number(settings.get("EbsVolumeSizeInGb"))
    if size is not None:
        yield site.line(
            resource,
            "storage volume of the space",
            "idle",
            "sagemaker.studio.storage",
            quantity=size,
            how=f"{amount(size)} GB x {{price}}, also while nothing runs in it",
        )


def app(site: Site, resource: Resource) -> Iterator[CostLine]:
    """An application that a stack starts, on its instance."""
    instance_type = site.reading.get(resource, "ResourceSpec", "InstanceType")
    yield site.unknown(
        resource,
        f"Studio application, {instance_type or 'on an instance that AWS chooses'}",
        "idle",
        "the price of Studio's instances is not known here",
    )
