"""Where notebooks and Studio have their network interfaces: subnets that nothing from outside reaches."""

from __future__ import annotations

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs

from constructs import Construct
from sagestack.settings.workbench import WorkbenchNetwork
from sagestack.settings.workbench.network import STUDIO_ENDPOINT, subnet_blocks


class PrivateNetwork(Construct):
    """Private subnets and a security group for what works in them: made here, or there already.

    Made here, the subnets have no way to the internet: S3 is reached through a gateway endpoint, the services of AWS through
    interface endpoints. With `nat` they reach out through one NAT gateway, which git hosts and package indexes elsewhere need.
    Written in L1: CDK's `Vpc` asks the account for its zones, and a synth asks nobody.

    Attributes:
        vpc: the network.
        vpc_id: of it.
        subnet_ids: of its private subnets.
        security_group: of notebooks and Studio apps; lets nothing in, and HTTPS out.
        has_internet: whether there is a way out to the internet; None where the network is not ours to know.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        network: WorkbenchNetwork,
        services: Sequence[str],
        proxy_ports: frozenset[int] = frozenset(),
    ) -> None:
        """Makes what is not there.

        Args:
            network: an address block, or the ids of what is there.
            services: what a network that is made has interface endpoints to, as `Workbench.services` says it.
            proxy_ports: besides 443, where instances go out to.
        """
        super().__init__(scope, id)
        if network.cidr is not None:
            self.vpc_id, self.subnet_ids = self._make(network.cidr, network, services)
            self.has_internet: bool | None = network.nat
        else:
            assert network.vpc_id is not None
            self.vpc_id, self.subnet_ids = network.vpc_id, list(network.subnet_ids)
            self.has_internet = None
        # For the security group alone, which asks for no zones and no subnets.
        self.vpc = ec2.Vpc.from_vpc_attributes(
            self, "Vpc", vpc_id=self.vpc_id, availability_zones=[cdk.Fn.select(0, cdk.Fn.get_azs())]
        )
        self.security_group = ec2.SecurityGroup(
            self,
            "SecurityGroup",
            vpc=self.vpc,
            description="Notebooks and Studio apps: nothing comes in, HTTPS goes out",
            allow_all_outbound=False,
        )
        # By address, not by group: S3's gateway endpoint has public addresses, and a repository may be anywhere.
        for port in sorted({443, *proxy_ports}):
            self.security_group.add_egress_rule(
                ec2.Peer.any_ipv4(), ec2.Port.tcp(port), "Services, repositories, packages"
            )

    def _make(self, cidr: str, network: WorkbenchNetwork, services: Sequence[str]) -> tuple[str, list[str]]:
        vpc = ec2.CfnVPC(self, "Resource", cidr_block=cidr, enable_dns_hostnames=True, enable_dns_support=True)
        zones = [cdk.Fn.select(index, cdk.Fn.get_azs()) for index in range(network.availability_zones)]
        blocks = subnet_blocks(cidr)
        subnets = [
            ec2.CfnSubnet(
                self,
                f"Subnet{index}",
                vpc_id=vpc.ref,
                availability_zone=zone,
                cidr_block=block,
                map_public_ip_on_launch=False,
            )
            for index, (zone, block) in enumerate(zip(zones, blocks[1:], strict=False))
        ]
        routes = ec2.CfnRouteTable(self, "RouteTable", vpc_id=vpc.ref)
        for index, subnet in enumerate(subnets):
            ec2.CfnSubnetRouteTableAssociation(
                self, f"SubnetRoutes{index}", subnet_id=subnet.ref, route_table_id=routes.ref
            )
        subnet_ids = [subnet.ref for subnet in subnets]
        self._endpoints(vpc, cidr, subnet_ids, routes, services)
        self._flow_log(vpc)
        if network.nat:
            self._way_out(vpc, zones[0], blocks[0], routes)
        return vpc.ref, subnet_ids

    def _endpoints(
        self, vpc: ec2.CfnVPC, cidr: str, subnet_ids: list[str], routes: ec2.CfnRouteTable, services: Sequence[str]
    ) -> None:
        region = cdk.Stack.of(self).region
        ec2.CfnVPCEndpoint(
            self,
            "S3",
            vpc_id=vpc.ref,
            service_name=f"com.amazonaws.{region}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=[routes.ref],
        )
        if not services:
            return
        group = ec2.CfnSecurityGroup(
            self,
            "EndpointsSecurityGroup",
            vpc_id=vpc.ref,
            group_description="Interface endpoints: HTTPS from the network itself",
            security_group_ingress=[
                ec2.CfnSecurityGroup.IngressProperty(
                    ip_protocol="tcp", from_port=443, to_port=443, cidr_ip=cidr, description="HTTPS"
                )
            ],
            # Without any rule EC2 would add one that lets everything out.
            security_group_egress=[
                ec2.CfnSecurityGroup.EgressProperty(
                    ip_protocol="tcp", from_port=443, to_port=443, cidr_ip=cidr, description="Endpoints begin nothing"
                )
            ],
        )
        for service in services:
            ec2.CfnVPCEndpoint(
                self,
                service.title().replace(".", ""),
                vpc_id=vpc.ref,
                service_name=(
                    f"aws.sagemaker.{region}.studio"
                    if service == STUDIO_ENDPOINT
                    else f"com.amazonaws.{region}.{service}"
                ),
                vpc_endpoint_type="Interface",
                private_dns_enabled=True,
                subnet_ids=subnet_ids,
                security_group_ids=[group.attr_group_id],
            )

    def _flow_log(self, vpc: ec2.CfnVPC) -> None:
        """Who connected to what: the record that is asked for after something happened."""
        log_group = logs.LogGroup(
            self, "FlowLogs", retention=logs.RetentionDays.THREE_MONTHS, removal_policy=cdk.RemovalPolicy.DESTROY
        )
        role = iam.Role(
            self,
            "FlowLogRole",
            description="Writes the flow log of the workbench's network",
            assumed_by=iam.ServicePrincipal(
                "vpc-flow-logs.amazonaws.com",
                conditions={"StringEquals": {"aws:SourceAccount": cdk.Stack.of(self).account}},
            ),
        )
        # https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-iam-role.html
        log_group.grant(role, "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents")
        flow_log = ec2.CfnFlowLog(
            self,
            "FlowLog",
            resource_id=vpc.ref,
            resource_type="VPC",
            traffic_type="ALL",
            log_destination_type="cloud-watch-logs",
            log_group_name=log_group.log_group_name,
            deliver_logs_permission_arn=role.role_arn,
        )
        flow_log.node.add_dependency(role)

    def _way_out(self, vpc: ec2.CfnVPC, zone: str, block: str, routes: ec2.CfnRouteTable) -> None:
        """One NAT gateway in a public subnet of its own; its zone's loss takes the internet away, and nothing else."""
        gateway = ec2.CfnInternetGateway(self, "InternetGateway")
        attached = ec2.CfnVPCGatewayAttachment(self, "Attachment", vpc_id=vpc.ref, internet_gateway_id=gateway.ref)
        subnet = ec2.CfnSubnet(self, "PublicSubnet", vpc_id=vpc.ref, availability_zone=zone, cidr_block=block)
        outward = ec2.CfnRouteTable(self, "PublicRouteTable", vpc_id=vpc.ref)
        ec2.CfnSubnetRouteTableAssociation(self, "PublicSubnetRoutes", subnet_id=subnet.ref, route_table_id=outward.ref)
        route = ec2.CfnRoute(
            self, "PublicRoute", route_table_id=outward.ref, destination_cidr_block="0.0.0.0/0", gateway_id=gateway.ref
        )
        route.add_dependency(attached)
        address = ec2.CfnEIP(self, "Address", domain="vpc")
        address.add_dependency(attached)
        nat = ec2.CfnNatGateway(self, "Nat", subnet_id=subnet.ref, allocation_id=address.attr_allocation_id)
        nat.add_dependency(route)
        ec2.CfnRoute(
            self, "Route", route_table_id=routes.ref, destination_cidr_block="0.0.0.0/0", nat_gateway_id=nat.ref
        )
