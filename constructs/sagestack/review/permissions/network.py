"""Security groups: which packets are let through that were not.

Every protocol, port and address that could tell the two sets of rules apart is decided by both.
https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from sagestack.review.assembly import Resource, StackTemplate
from sagestack.review.permissions.globs import is_reference
from sagestack.review.permissions.references import Names, Reader, listed_values
from sagestack.review.permissions.rows import Sides
from sagestack.review.results import PermissionChange, PermissionFlag, Severity

GROUP = "AWS::EC2::SecurityGroup"
_SEPARATE: dict[str, Literal["ingress", "egress"]] = {
    "AWS::EC2::SecurityGroupIngress": "ingress",
    "AWS::EC2::SecurityGroupEgress": "egress",
}
_ALL = "-1"
_NUMBERS = {"1": "icmp", "6": "tcp", "17": "udp", "58": "icmpv6"}
_PORTS = {"tcp", "udp"}
_LAST = 65535
_NOWHERE = "255.255.255.255/32"
"""CDK's way to say that nothing may leave."""
_PEERS = {
    "ingress": ("CidrIp", "CidrIpv6", "SourceSecurityGroupId", "SourceSecurityGroupName", "SourcePrefixListId"),
    "egress": ("CidrIp", "CidrIpv6", "DestinationSecurityGroupId", "DestinationPrefixListId"),
}
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, order=True)
class Rule:
    """One kind of packet from or to one peer; `protocol` -1 is all, and ports are those of TCP and UDP."""

    direction: Literal["ingress", "egress"]
    protocol: str
    first: int
    last: int
    peer: str


@dataclass
class Group:
    resource: Resource
    rules: set[Rule] = field(default_factory=set)


def groups(reader: Reader, names: Names) -> dict[str, Group]:
    """The rules of each security group, wherever they are written; by the group's identity."""
    found: dict[str, Group] = {}
    for stack in reader.assembly.stacks.values() if reader.assembly else ():
        for resource in stack.resources.values():
            if resource.type == GROUP:
                identity = reader.identity(resource)
                group = found.setdefault(identity.address, Group(identity))
                group.resource = identity
                group.rules.update(_inline(resource, stack, reader))
            elif resource.type in _SEPARATE:
                text = reader.text(resource.properties.get("GroupId", resource.properties.get("GroupName", "")), stack)
                identity = names.resource(text) or resource
                key = identity.address if identity is not resource else text
                group = found.setdefault(key, Group(identity))
                group.rules.update(_rules(resource.properties, _SEPARATE[resource.type], stack, reader))
    return found


def _inline(resource: Resource, stack: StackTemplate, reader: Reader) -> Iterator[Rule]:
    for rule in listed_values(resource.properties.get("SecurityGroupIngress")):
        yield from _rules(rule, "ingress", stack, reader)
    if "SecurityGroupEgress" not in resource.properties:
        # Without rules of its own, a group in a VPC lets everything out.
        yield Rule("egress", _ALL, 0, _LAST, "0.0.0.0/0")
    for rule in listed_values(resource.properties.get("SecurityGroupEgress")):
        yield from _rules(rule, "egress", stack, reader)


def _rules(raw: Any, direction: Literal["ingress", "egress"], stack: StackTemplate, reader: Reader) -> Iterator[Rule]:
    if not isinstance(raw, dict) or "IpProtocol" not in raw:
        yield Rule(direction, _ALL, 0, _LAST, reader.text(raw, stack))
        return
    protocol = reader.text(raw["IpProtocol"], stack).lower()
    protocol = _NUMBERS.get(protocol, protocol)
    first, last = (_port(reader.text(raw.get(name, -1), stack)) for name in ("FromPort", "ToPort"))
    if first is None or last is None or protocol not in _PORTS or first == -1:
        first, last = 0, _LAST  # ICMP types are not told apart
    for name in _PEERS[direction]:
        if name in raw and (peer := reader.text(raw[name], stack)) != _NOWHERE:
            yield Rule(direction, protocol, first, last, peer)


def _port(text: str) -> int | None:
    return int(text) if text.lstrip("-").isdigit() else None


def more(before: Iterable[Rule], after: Iterable[Rule]) -> list[Rule]:
    """What the rules after let through and those before do not, cut to the ports that are new."""
    old = list(before)
    return sorted({found for rule in after for found in _beyond(rule, old)})


def _beyond(rule: Rule, old: list[Rule]) -> Iterator[Rule]:
    relevant = [each for each in old if each.direction == rule.direction and each.protocol in (rule.protocol, _ALL)]
    edges = {rule.first, rule.last + 1}
    edges |= {edge for each in relevant for edge in (each.first, each.last + 1) if rule.first < edge <= rule.last}
    ordered = sorted(edges)
    new = [
        (first, end - 1)
        for first, end in itertools.pairwise(ordered)
        if not _reaches(rule.peer, [each.peer for each in relevant if each.first <= first and end - 1 <= each.last])
    ]
    merged: list[tuple[int, int]] = []
    for first, last in new:
        if merged and merged[-1][1] == first - 1:
            merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    for first, last in merged:
        yield Rule(rule.direction, rule.protocol, first, last, rule.peer)


def _reaches(peer: str, peers: list[str]) -> bool:
    if peer in peers:
        return True
    network = _network(peer)
    if network is None:
        return False
    same = [found for each in peers if (found := _network(each)) and found.version == network.version]
    joined: list[Network] = list(ipaddress.collapse_addresses(same))  # type: ignore[type-var]
    return any(network.subnet_of(each) for each in joined)  # type: ignore[arg-type]


def _network(peer: str) -> Network | None:
    try:
        return ipaddress.ip_network(peer, strict=False)
    except ValueError:
        return None


def network_changes(before: Group | None, after: Group | None, sides: Sides) -> Iterator[PermissionChange]:
    """The difference of one security group."""
    group = after or before
    assert group is not None
    old, new = (before.rules if before else set()), (after.rules if after else set())
    for rule in more(old, new):
        yield _row(rule, group.resource, sides, "wider", is_new=before is None)
    for rule in more(new, old):
        yield _row(rule, group.resource, sides, "narrower", is_new=False)


def _row(
    rule: Rule, resource: Resource, sides: Sides, direction: Literal["wider", "narrower"], *, is_new: bool
) -> PermissionChange:
    is_public = _is_public(rule.peer)
    what = _traffic(rule)
    who = "anyone" if rule.direction == "ingress" else "anything"
    everyone = {"0.0.0.0/0": f"{who} on the internet", "::/0": f"{who} on the internet (IPv6)"}
    peer = everyone.get(rule.peer) or sides.names.readable(rule.peer)
    new = " (a new security group)" if is_new else ""
    now = "may now" if direction == "wider" else "may no longer"
    if is_new:
        now = "may"
    if rule.direction == "ingress":
        sentence = f"{peer} {now} reach {resource.path}{new} by {what}"
    else:
        sentence = f"What is in {resource.path}{new} {now} reach {peer} by {what}"
    severity, flags = Severity.NOTICE, set()
    if direction == "wider" and rule.direction == "ingress":
        severity = Severity.DANGER if is_public else Severity.NOTICE if is_new else Severity.WARNING
        flags = {PermissionFlag.PUBLIC} if is_public else set()
    elif direction == "wider" and not is_new:
        severity = Severity.WARNING
    return PermissionChange(
        direction=direction,
        kind="network",
        resource=resource,
        principal=peer if rule.direction == "ingress" else resource.path,
        actions=(what,),
        access_levels=(),
        targets=(resource.path if rule.direction == "ingress" else peer,),
        conditions=(),
        severity=severity,
        sentence=sentence,
        flags=frozenset(flags),
    )


def _is_public(peer: str) -> bool:
    """Whether the addresses are so many that they belong to nobody in particular: wider than /8, than /32 of IPv6.

    The measure is that of S3: https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html
    """
    network = _network(peer)
    if network is None:
        return False
    return network.prefixlen < (8 if network.version == 4 else 32) and not network.is_private


def _traffic(rule: Rule) -> str:
    if rule.protocol == _ALL:
        return "all traffic"
    if rule.protocol not in _PORTS or (rule.first, rule.last) == (0, _LAST):
        return f"all {rule.protocol}" if not is_reference(rule.protocol[:1]) else "a protocol"
    return f"{rule.protocol} {rule.first}" if rule.first == rule.last else f"{rule.protocol} {rule.first}-{rule.last}"
