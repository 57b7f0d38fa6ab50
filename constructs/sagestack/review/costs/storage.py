"""What is kept costs: buckets, file systems, images, keys, secrets."""

from __future__ import annotations

from collections.abc import Iterator

from sagestack.review.assembly import Resource
from sagestack.review.costs.site import Site, amount
from sagestack.review.results import CostLine


def bucket(site: Site, resource: Resource) -> Iterator[CostLine]:
    """S3 Standard; what a lifecycle rule moves to a cheaper class is counted as if it stayed."""
    load = site.load
    yield site.sum(
        resource,
        "objects in S3 Standard, written and read",
        "load",
        ("s3.storage", load.stored_gb, f"{amount(load.stored_gb)} GB x {{price}}"),
        ("s3.write", load.object_writes, f"{amount(load.object_writes)} writes x {{price}}"),
        ("s3.read", load.object_reads, f"{amount(load.object_reads)} reads x {{price}}"),
    )


def file_system(site: Site, resource: Resource) -> Iterator[CostLine]:
    """EFS Standard; One Zone has a price that is not known here."""
    if resource.properties.get("AvailabilityZoneName"):
        yield site.unknown(resource, "files, EFS One Zone", "load", "its price is not known here")
    elif site.load.stored_gb:
        yield site.line(
            resource,
            "files, EFS Standard",
            "load",
            "efs.storage",
            quantity=site.load.stored_gb,
            how=f"{amount(site.load.stored_gb)} GB x {{price}}",
        )


def repository(site: Site, resource: Resource) -> Iterator[CostLine]:
    """Images in ECR."""
    if site.load.image_gb:
        yield site.line(
            resource,
            "images",
            "load",
            "ecr.storage",
            quantity=site.load.image_gb,
            how=f"{amount(site.load.image_gb)} GB x {{price}}",
        )


def key(site: Site, resource: Resource) -> Iterator[CostLine]:
    """A customer managed key; each of the first two rotations adds as much: https://aws.amazon.com/kms/pricing/"""
    rotates = str(resource.properties.get("EnableKeyRotation", False)).lower() == "true"
    yield site.line(
        resource,
        "key",
        "idle",
        "kms.key",
        quantity=1,
        how="{price} a month" + ("; once more from the first and the second rotation on" if rotates else ""),
    )
    # With a bucket key S3 asks for few keys and not for one per object; this counts one for each write of one bucket.
    if count := site.load.object_writes:
        yield site.line(
            resource, "requests", "load", "kms.request", quantity=count, how=f"{amount(count)} requests x {{price}}"
        )


def secret(site: Site, resource: Resource) -> Iterator[CostLine]:
    """A secret in Secrets Manager."""
    yield site.line(resource, "secret", "idle", "secrets.month", quantity=1, how="{price} a month")


def parameter(site: Site, resource: Resource) -> Iterator[CostLine]:
    """Standard parameters cost nothing: https://aws.amazon.com/systems-manager/pricing/"""
    if site.reading.text(resource.properties.get("Tier", "Standard")) == "Advanced":
        yield site.unknown(resource, "advanced parameter", "idle", "its price is not known here")
