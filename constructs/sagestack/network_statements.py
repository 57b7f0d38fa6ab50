"""What CloudFormation does with a workbench's network, as statements of a policy.

EC2 numbers what it makes, so that none of it can be limited by a name.
"""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from sagestack.policy_statements import Scope, allow
from sagestack.settings import EnvironmentNames
from sagestack.settings.workbench import WorkbenchNetwork


class NetworkStatements(Scope):
    """The statements for the network of one workbench."""

    def __init__(self, stack: cdk.Stack, names: EnvironmentNames, network: WorkbenchNetwork) -> None:
        """Begins with what all statements need.

        Args:
            stack: whose account and region are meant.
            names: of the environment that is deployed.
            network: its settings.
        """
        super().__init__(stack, names)
        self._network = network

    def security_groups(self) -> list[iam.PolicyStatement]:
        """Those of notebooks, and rules in those of file systems, which are somebody else's."""
        rules = [
            *(f"{verb}SecurityGroup{side}" for verb in ("Authorize", "Revoke") for side in ("Egress", "Ingress")),
            *(f"UpdateSecurityGroupRuleDescriptions{side}" for side in ("Egress", "Ingress")),
        ]
        return [
            allow(
                "ec2",
                [
                    *("CreateSecurityGroup", "DeleteSecurityGroup", "DescribeSecurityGroup*", *rules),
                    *("CreateTags", "DeleteTags"),
                ],
                "*",
                self.here(),
            )
        ]

    def own(self) -> list[iam.PolicyStatement]:
        """A network that the workbench makes for itself; nothing where it is given one."""
        if self._network.cidr is None:
            return []
        actions = [
            *(f"{verb}{kind}" for kind in ("Route", "RouteTable", "Subnet", "Vpc") for verb in ("Create", "Delete")),
            *("ReplaceRoute", "AssociateRouteTable", "DisassociateRouteTable", "ReplaceRouteTableAssociation"),
            *("ModifySubnetAttribute", "ModifyVpcAttribute", "ModifyVpcTenancy"),
            *("CreateVpcEndpoint", "DeleteVpcEndpoints", "ModifyVpcEndpoint"),
            *("CreateFlowLogs", "DeleteFlowLogs", "DescribeFlowLogs", "DescribeTags"),
            *("DescribeNetworkAcls", "DescribeRouteTables", "DescribeVpcAttribute", "DescribeVpcEndpoints"),
            "DescribeVpcEncryptionControls",
        ]
        if self._network.nat:
            actions += [
                *("AllocateAddress", "ReleaseAddress", "DescribeAddresses"),
                *(f"{verb}InternetGateway" for verb in ("Attach", "Create", "Delete", "Detach")),
                *("CreateNatGateway", "DeleteNatGateway", "DescribeInternetGateways", "DescribeNatGateways"),
            ]
        return [
            allow("ec2", actions, "*", self.here()),
            # An interface endpoint with a private name: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
            allow(
                "route53",
                ["AssociateVPCWithHostedZone"],
                f"arn:{self.stack.partition}:route53:::hostedzone/*",
            ),
        ]
