"""A stack with a Studio domain, its network and its roles, and nothing else of a workbench."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from sagestack.roles import SageMakerRole, grant_volume_encryption
from sagestack.settings import EnvironmentNames
from sagestack.settings.workbench.studio import Studio
from sagestack.workbench.studio.domain import StudioDomain

from constructs import Construct


class Network(Construct):
    """The part of the workbench's network that a domain asks for."""

    def __init__(self, scope: Construct, id: str, subnets: int = 2) -> None:
        super().__init__(scope, id)
        vpc = ec2.CfnVPC(self, "Resource", cidr_block="10.42.0.0/22")
        self.vpc_id = vpc.ref
        self.subnet_ids = [
            ec2.CfnSubnet(self, f"Subnet{index}", vpc_id=vpc.ref, cidr_block=f"10.42.{index}.0/24").ref
            for index in range(subnets)
        ]
        self.vpc = ec2.Vpc.from_vpc_attributes(
            self, "Vpc", vpc_id=vpc.ref, availability_zones=["a"] * subnets, isolated_subnet_ids=self.subnet_ids
        )
        self.security_group = ec2.SecurityGroup(self, "SecurityGroup", vpc=self.vpc, allow_all_outbound=False)


def add_domain(
    stack: cdk.Stack,
    studio: Mapping[str, Any],
    *,
    removal_policy: Any = "destroy",
    subnets: int = 2,
    model_image: Any = "ecr",
) -> None:
    """Puts it into the stack, for the environment `dev`.

    Args:
        studio: what `workbench.studio` says.
        removal_policy: the environment's.
        subnets: how many.
        model_image: how images are published.
    """
    wanted, key = Studio.model_validate(studio), kms.Key(stack, "Key", removal_policy=cdk.RemovalPolicy.DESTROY)
    roles = {
        name: SageMakerRole(stack, f"{name.title()}Role", description=name)
        for name in ("studio", *wanted.user_profiles)
    }
    for role in roles.values():
        grant_volume_encryption(role, key)
    StudioDomain(
        stack,
        "Studio",
        names=EnvironmentNames("dev"),
        studio=wanted,
        removal_policy=removal_policy,
        network=Network(stack, "Network", subnets),  # type: ignore[arg-type]
        execution_role=roles["studio"],
        profile_roles=roles,
        encryption_key=key,
        artifacts=s3.Bucket(stack, "Artifacts", removal_policy=cdk.RemovalPolicy.DESTROY),
        model_image=model_image,
    )
