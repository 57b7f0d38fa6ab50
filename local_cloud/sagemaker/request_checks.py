"""What requests of jobs are checked for beyond their shapes, and how a part that is not emulated is refused by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from local_cloud.sagemaker.errors import NotEmulated, ValidationError
from local_cloud.sagemaker.jobs.job_data import Location


def refuse(what: str) -> NoReturn:
    """Refuse a part of a request that the local cloud does not have.

    Raises:
        NotEmulated: always.
    """
    raise NotEmulated(f"The local cloud does not emulate {what}. It works unchanged against AWS.")


def refuse_members(request: Mapping[str, Any], members: Mapping[str, str], path: str = "") -> None:
    """Refuse members of a request whose effect would be missing; `members` says what each stands for.

    Raises:
        NotEmulated: one is given, and is not just an empty or false value.
    """
    for member, meaning in members.items():
        if request.get(member):
            refuse(f"{meaning} ({path}{member})")


def check_instances(resources: Mapping[str, Any], path: str, work: str, at_most: int) -> None:
    """Check which and how many instances a job asks for.

    Raises:
        ValidationError: it names no instance type, or no instance.
        NotEmulated: it wants more instances than there are here.
    """
    if not resources.get("InstanceType"):
        raise ValidationError(f"{path}.InstanceType is required.")
    count = resources.get("InstanceCount", 1)
    if count < 1:
        raise ValidationError(f"{path}.InstanceCount must be at least 1, got {count}.")
    if count > at_most:
        more = "several instances" if at_most == 1 else f"more than {at_most} instances"
        refuse(f"{work} on {more} ({path}.InstanceCount is {count})")


def check_unique(noun: str, names: Sequence[str]) -> None:
    """Check that no name is given twice.

    Raises:
        ValidationError: one is.
    """
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValidationError(f"{noun} names must be unique; given more than once: {', '.join(twice)}")


def check_s3(uri: str, path: str) -> None:
    """Check an address.

    Raises:
        ValidationError: it is malformed.
        NotEmulated: it is an https address.
    """
    if uri.startswith("https://"):
        refuse(f"an https address of S3 ({path} {uri}); write s3://bucket/key")
    try:
        Location.parse(uri)
    except ValueError as error:
        raise ValidationError(f"Invalid S3 address at {path}: {error}") from error
