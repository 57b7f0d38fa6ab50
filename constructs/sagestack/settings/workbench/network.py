"""Where notebooks and Studio have their network interfaces."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from sagestack.settings.base import Settings
from sagestack.settings.errors import Allowed, Misfit

INTERFACE_ENDPOINTS = (
    "ecr.api",
    "ecr.dkr",
    "elasticfilesystem",
    "kms",
    "logs",
    "monitoring",
    "sagemaker.api",
    "sagemaker.runtime",
    "secretsmanager",
    "ssm",
    "sts",
)
"""The services that the project's own notebooks call. Each costs by the hour in each availability zone."""
OF_MOUNTS, OF_SECRETS = "elasticfilesystem", "secretsmanager"
"""Those that only workbenches with file systems of EFS, or with secrets, call."""
STUDIO_ENDPOINT = "studio"
"""Studio itself, where there is a domain: `aws.sagemaker.REGION.studio`, one of those that a domain without internet needs by
https://docs.aws.amazon.com/sagemaker/latest/dg/studio-updated-and-internet-access.html"""

_PRIVATE = tuple(
    ipaddress.IPv4Network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)
# "Services such as AWS Cloud9 or Amazon SageMaker AI can experience IP address conflicts" there: it is Docker's.
_OF_DOCKER = ipaddress.IPv4Network("172.17.0.0/16")
_KEPT_BY_AWS = 5
"""Addresses of each subnet: https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html"""


def _private_block(cidr: str) -> str:
    try:
        block = ipaddress.ip_network(cidr)
    except ValueError as error:
        raise ValueError(f"{cidr!r} is no block of addresses: {error}") from error
    # https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html
    if not (
        isinstance(block, ipaddress.IPv4Network)
        and 16 <= block.prefixlen <= 25
        and any(block.subnet_of(private) for private in _PRIVATE)
    ):
        raise ValueError(f"{cidr!r} does not fit (allowed: private IPv4 blocks of /16 to /25, like 10.42.0.0/22)")
    if block.overlaps(_OF_DOCKER):
        raise ValueError(f"{cidr!r} does not fit: {_OF_DOCKER} is Docker's on each instance; take another block")
    return cidr


def subnet_blocks(cidr: str) -> list[str]:
    """The quarters of a block. The first is for the way out, the others for up to three zones, whether there are so many or not:
    what comes later must move none of them, for an instance that moves loses its volume."""
    return [str(part) for part in ipaddress.ip_network(cidr).subnets(prefixlen_diff=2)]


class WorkbenchNetwork(Settings):
    """A network of its own (`cidr`), or private subnets that are there already (`vpc_id`, `subnet_ids`)."""

    cidr: Annotated[
        str | None, AfterValidator(lambda c: c if c is None else _private_block(c)), Allowed("a private IPv4 block")
    ] = None
    availability_zones: Annotated[
        int, Field(ge=1, le=3), Allowed("1 to 3; each has its own interface endpoints, which cost")
    ] = 1
    nat: Annotated[bool, Allowed("true or false; a NAT gateway, for repositories and packages outside of AWS")] = False
    interface_endpoints: Annotated[
        Literal["needed", "none"], Allowed("needed, or none: then AWS's services are reached through the NAT gateway")
    ] = "needed"
    """A NAT gateway costs as much as some five of them, and so where there is one anyway, they can be spared."""
    vpc_id: Annotated[str | None, Field(pattern=r"^vpc-[0-9a-f]{8,17}$"), Allowed("like vpc-0123456789abcdef0")] = None
    subnet_ids: Annotated[
        list[Annotated[str, Field(pattern=r"^subnet-[0-9a-f]{8,17}$")]],
        Field(max_length=16),
        Allowed("1 to 16 private subnets, like subnet-0123456789abcdef0"),
    ] = []

    @model_validator(mode="after")
    def _one_or_the_other(self) -> WorkbenchNetwork:
        if (self.cidr is None) == (self.vpc_id is None):
            raise ValueError(
                "network: say either cidr (a network of its own) or vpc_id and subnet_ids (one that is there)"
            )
        if (self.vpc_id is None) != (not self.subnet_ids):
            raise ValueError("network: vpc_id and subnet_ids go together")
        if self.vpc_id is not None and self.nat:
            raise ValueError("network: nat is for a network of its own (cidr); yours has what it has")
        if self.vpc_id is not None and "availability_zones" in self.model_fields_set:
            raise Misfit(
                (("availability_zones",), "is for a network of its own (cidr); here it is subnet_ids that says where")
            )
        if self.interface_endpoints == "none" and not self.nat:
            raise Misfit(
                (
                    ("interface_endpoints",),
                    "'none' needs nat: true; without both, notebooks reach none of AWS's services",
                )
                if self.vpc_id is None
                else (("interface_endpoints",), "is for a network of its own (cidr); yours has those that it has")
            )
        twice = [index for index, subnet in enumerate(self.subnet_ids) if subnet in self.subnet_ids[:index]]
        if twice:
            raise Misfit((("subnet_ids", twice[0]), f"{self.subnet_ids[twice[0]]!r} is there twice"))
        return self

    def services(self, *, has_efs: bool, has_secrets: bool, has_studio: bool) -> tuple[str, ...]:
        """What a network of its own has interface endpoints to.

        Args:
            has_efs: whether anything mounts a file system of EFS.
            has_secrets: whether anything names a secret.
            has_studio: whether there is a Studio domain.
        """
        if self.interface_endpoints == "none":
            return ()
        spared = {OF_MOUNTS: not has_efs, OF_SECRETS: not has_secrets}
        needed = [service for service in INTERFACE_ENDPOINTS if not spared.get(service, False)]
        return (*needed, STUDIO_ENDPOINT) if has_studio else tuple(needed)

    @property
    def addresses(self) -> int | None:
        """How many network interfaces fit into the first subnet, beside its endpoints; None where it is not made here."""
        if self.cidr is None:
            return None
        first = ipaddress.ip_network(subnet_blocks(self.cidr)[1])
        # All of them, also those that `services` spares now: a mount or a secret may come later, when the subnet is full.
        endpoints = 0 if self.interface_endpoints == "none" else len(INTERFACE_ENDPOINTS)
        return first.num_addresses - _KEPT_BY_AWS - endpoints
