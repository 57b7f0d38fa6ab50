"""The network that containers run in, where an environment has one."""

from __future__ import annotations

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from sagestack import settings


def vpc_config(network: settings.Network | None) -> dict[str, list[str]] | None:
    """The network as SageMaker's requests spell it; `None` where there is none."""
    if network is None:
        return None
    return {"Subnets": list(network.subnet_ids), "SecurityGroupIds": list(network.security_group_ids)}


def grant_network_interfaces(role: iam.IRole, network: settings.Network | None) -> None:
    """Lets SageMaker put network interfaces into the subnets, and take them away again; nothing without a network.

    The actions are those that SageMaker's documentation lists for a VPC; describing takes no resource:
    https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html
    """
    if network is not None:
        grant_interfaces_in(role, network.subnet_ids, network.security_group_ids)


def grant_interfaces_in(role: iam.IRole, subnet_ids: Sequence[str], security_group_ids: Sequence[str]) -> None:
    """The same, for subnets and security groups whose ids may be known at deployment only."""
    stack = cdk.Stack.of(role)

    def arn(resource: str, name: str) -> str:
        return stack.format_arn(service="ec2", resource=resource, resource_name=name)

    role.add_to_principal_policy(
        iam.PolicyStatement(
            actions=["ec2:CreateNetworkInterface"],
            resources=[
                *(arn("subnet", subnet) for subnet in subnet_ids),
                *(arn("security-group", group) for group in security_group_ids),
                arn("network-interface", "*"),
            ],
        )
    )
    role.add_to_principal_policy(
        iam.PolicyStatement(
            actions=[
                "ec2:CreateNetworkInterfacePermission",
                "ec2:DeleteNetworkInterface",
                "ec2:DeleteNetworkInterfacePermission",
            ],
            resources=[arn("network-interface", "*")],
            conditions={"ArnEquals": {"ec2:Subnet": [arn("subnet", subnet) for subnet in subnet_ids]}},
        )
    )
    role.add_to_principal_policy(
        iam.PolicyStatement(
            actions=[
                "ec2:DescribeDhcpOptions",
                "ec2:DescribeNetworkInterfaces",
                "ec2:DescribeSecurityGroups",
                "ec2:DescribeSubnets",
                "ec2:DescribeVpcs",
            ],
            resources=["*"],
        )
    )
