"""Where notebooks and Studio have their network interfaces."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from sagestack.settings.base import Settings
from sagestack.settings.errors import Allowed


def _private_block(cidr: str) -> str:
    try:
        block = ipaddress.ip_network(cidr)
    except ValueError as error:
        raise ValueError(f"{cidr!r} is no block of addresses: {error}") from error
    # https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html
    if block.version != 4 or not 16 <= block.prefixlen <= 26 or not block.is_private:
        raise ValueError(f"{cidr!r} does not fit (allowed: private IPv4 blocks of /16 to /26, like 10.42.0.0/22)")
    return cidr


class WorkbenchNetwork(Settings):
    """A network of its own (`cidr`), or private subnets that are there already (`vpc_id`, `subnet_ids`)."""

    cidr: Annotated[
        str | None, AfterValidator(lambda c: c if c is None else _private_block(c)), Allowed("a private IPv4 block")
    ] = None
    availability_zones: Annotated[
        int, Field(ge=1, le=3), Allowed("1 to 3; each has its own interface endpoints, which cost")
    ] = 1
    nat: Annotated[bool, Allowed("true or false; a NAT gateway, for repositories and packages outside of AWS")] = False
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
        return self
