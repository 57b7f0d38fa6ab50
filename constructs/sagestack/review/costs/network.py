"""What a way out of a private network costs, by the hour and by the GB."""

from __future__ import annotations

from collections.abc import Iterator

from sagestack.review.assembly import Resource
from sagestack.review.costs.site import HOURS_PER_MONTH, Site, amount
from sagestack.review.results import CostLine


def nat_gateway(site: Site, resource: Resource) -> Iterator[CostLine]:
    """https://aws.amazon.com/vpc/pricing/"""
    yield site.line(
        resource,
        "NAT gateway",
        "idle",
        "nat.hour",
        quantity=HOURS_PER_MONTH,
        how=f"{{price}} x {HOURS_PER_MONTH} h",
    )
    yield from _through(site, resource, "nat.gb")


def interface_endpoint(site: Site, resource: Resource) -> Iterator[CostLine]:
    """One network interface for each subnet; gateway endpoints cost nothing. https://aws.amazon.com/privatelink/pricing/"""
    kind = site.reading.text(resource.properties.get("VpcEndpointType", "Gateway"))
    if kind == "Gateway":
        return
    subnets = site.reading.items(resource.properties.get("SubnetIds", []))
    if kind != "Interface" or subnets is None:
        why = (
            "only the deployment knows its subnets" if kind == "Interface" else f"the price of type {kind} is not known"
        )
        yield site.unknown(resource, "VPC endpoint", "idle", why)
        return
    count = len(subnets)
    yield site.line(
        resource,
        f"interface endpoint in {count} subnets" if count != 1 else "interface endpoint in 1 subnet",
        "idle",
        "interface_endpoint.hour",
        quantity=count * HOURS_PER_MONTH,
        how=f"{count} x {{price}} x {HOURS_PER_MONTH} h",
    )
    yield from _through(site, resource, "interface_endpoint.gb")


def address(site: Site, resource: Resource) -> Iterator[CostLine]:
    """A public IPv4 address, in use or not: https://aws.amazon.com/vpc/pricing/"""
    yield site.line(
        resource,
        "public IPv4 address",
        "idle",
        "public_ipv4.hour",
        quantity=HOURS_PER_MONTH,
        how=f"{{price}} x {HOURS_PER_MONTH} h",
    )


def _through(site: Site, resource: Resource, key: str) -> Iterator[CostLine]:
    if gb := site.load.network_gb:
        yield site.line(resource, "data through it", "load", key, quantity=gb, how=f"{amount(gb)} GB x {{price}}")
