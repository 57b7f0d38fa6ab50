"""Access lists of subnets: which packets they let through that they did not.

The first rule by its number that a packet fits decides, and what fits none is denied, so the lists are compared packet by packet:
one for each protocol, port and address that could tell them apart. An address that only the deployment knows is within its own
rules and those of all addresses. Which subnets have a list (`AWS::EC2::SubnetNetworkAclAssociation`) is not read.
https://docs.aws.amazon.com/vpc/latest/userguide/nacl-rules.html
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from sagestack.review.assembly import Resource
from sagestack.review.permissions.references import Names, Reader
from sagestack.review.permissions.rows import Sides
from sagestack.review.results import PermissionChange, Severity

LIST = "AWS::EC2::NetworkAcl"
_RULE = "AWS::EC2::NetworkAclEntry"
_ALL = "-1"
_WITH_PORTS = {"6": "tcp", "17": "udp"}
_ICMP = {"1": "icmp", "58": "icmpv6"}
_OTHER = "another protocol"
_NUMBERED = {*_WITH_PORTS, *_ICMP}
_LAST = 65535
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Packet = tuple[bool, str, int, str]
"""Whether it leaves, its protocol by number, its port, its address or a reference to one.

Of ICMP, 256 times its type and its code stand for the port.
"""


@dataclass(frozen=True, order=True)
class Rule:
    number: int
    leaves: bool
    allows: bool
    protocol: str
    first: int
    last: int
    peer: str

    def fits(self, packet: Packet) -> bool:
        leaves, protocol, port, address = packet
        if leaves != self.leaves or self.protocol not in (_ALL, protocol):
            return False
        if protocol in _NUMBERED and self.protocol != _ALL and not self.first <= port <= self.last:
            return False
        network, other = _network(self.peer), _network(address)
        if network is None or other is None:
            return self.peer == address or (network is not None and network.prefixlen == 0)
        return network.version == other.version and other.subnet_of(network)  # type: ignore[arg-type]


@dataclass
class AccessList:
    resource: Resource
    rules: set[Rule] = field(default_factory=set)


def access_lists(reader: Reader, names: Names) -> dict[str, AccessList]:
    """The lists that these templates make, with their rules, wherever those stand; by the list's identity."""
    found: dict[str, AccessList] = {}
    for stack in reader.assembly.stacks.values() if reader.assembly else ():
        for resource in stack.resources.values():
            if resource.type == LIST:
                identity = reader.identity(resource)
                found.setdefault(identity.address, AccessList(identity))
            elif resource.type == _RULE:
                text = reader.text(resource.properties.get("NetworkAclId", ""), stack)
                identity = names.resource(text) or reader.identity(resource)
                key = identity.address if identity.type == LIST else text
                read = {name: reader.text(value, stack) for name, value in _flat(resource.properties)}
                found.setdefault(key, AccessList(identity)).rules.add(_rule(read))
    return found


def _flat(properties: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    ports = properties.get("PortRange")
    yield from ((name, value) for name, value in properties.items() if name not in ("PortRange", "Icmp"))
    yield from ports.items() if isinstance(ports, dict) and {"From", "To"} <= ports.keys() else ()
    icmp = properties.get("Icmp")
    yield from icmp.items() if isinstance(icmp, dict) and {"Type", "Code"} <= icmp.keys() else ()


def _rule(read: Mapping[str, str]) -> Rule:
    protocol = read.get("Protocol", _ALL)
    first, last = _number(read.get("From", ""), 0), _number(read.get("To", ""), _LAST)
    if protocol in _ICMP:
        first, last = _types(read)
    return Rule(
        number=_number(read.get("RuleNumber", ""), 0),
        leaves=read.get("Egress", "false").lower() == "true",
        allows=read.get("RuleAction", "").lower() != "deny",
        protocol=protocol,
        first=first,
        last=last,
        peer=read.get("CidrBlock") or read.get("Ipv6CidrBlock") or "",
    )


def _types(read: Mapping[str, str]) -> tuple[int, int]:
    """The first and the last of ICMP's messages, as in a packet; -1 is every type, or every code of one."""
    kind, code = (_number(read.get(name, ""), -1) for name in ("Type", "Code"))
    if kind < 0:
        return 0, _LAST
    return kind * 256 + max(code, 0), kind * 256 + (255 if code < 0 else code)


def _number(text: str, missing: int) -> int:
    return int(text) if text.isascii() and text.isdecimal() else missing


def access_list_changes(
    before: AccessList | None, after: AccessList | None, sides: Sides
) -> Iterator[PermissionChange]:
    """The difference of one list.

    Associations are not read, so a new list counts as narrower than what its subnets had, as it is where that was the VPC's own,
    which lets everything through; one that goes counts as leaving its subnets to that.
    """
    scope = after or before
    assert scope is not None
    if scope.resource.type == LIST and (before is None or after is None):
        if after is None:
            yield _row(scope.resource, "wider", f"{scope.resource.path} is gone: its subnets have the VPC's own list, which"
                       " lets everything through where nobody changed it", "all traffic")  # fmt: skip
        return
    old, new = before.rules if before else set(), after.rules if after else set()
    for direction, was, is_now in (("wider", old, new), ("narrower", new, old)):
        for rule in more(was, is_now):
            yield _told(rule, scope.resource, sides.names, direction)  # type: ignore[arg-type]


def more(before: Iterable[Rule], after: Iterable[Rule]) -> list[Rule]:
    """The rules after that let a packet through which was denied before."""
    old, new = sorted(before), sorted(after)
    if old == new:
        return []
    found = set()
    for packet in _packets([*old, *new]):
        deciding = next((rule for rule in new if rule.fits(packet)), None)
        if deciding is not None and deciding.allows and deciding not in found:
            was = next((rule for rule in old if rule.fits(packet)), None)
            if was is None or not was.allows:
                found.add(deciding)
    return sorted(found)


def _packets(rules: list[Rule]) -> Iterator[Packet]:
    protocols = {rule.protocol for rule in rules} - {_ALL} | {_OTHER}
    protocols |= _WITH_PORTS.keys() if any(rule.protocol in _WITH_PORTS for rule in rules) else set()
    ports = {0, *(edge for rule in rules for edge in (rule.first, rule.last + 1) if edge <= _LAST)}
    addresses = {each for rule in rules for each in _addresses(rule.peer)}
    return itertools.product((False, True), sorted(protocols), sorted(ports), sorted(addresses))


def _addresses(peer: str) -> Iterator[str]:
    """One inside, and one right behind the end: between them all networks are told apart."""
    network = _network(peer)
    if network is None:
        yield peer
        return
    yield str(network.network_address)
    if int(network.broadcast_address) + 1 < 2**network.max_prefixlen:
        yield str(network.broadcast_address + 1)


@cache
def _network(peer: str) -> Network | None:
    try:
        return ipaddress.ip_network(peer, strict=False)
    except ValueError:
        return None


def _told(rule: Rule, resource: Resource, names: Names, direction: Literal["wider", "narrower"]) -> PermissionChange:
    traffic = _traffic(rule)
    way = f"to {names.readable(rule.peer)}" if rule.leaves else f"from {names.readable(rule.peer)}"
    now = "now lets through" if direction == "wider" else "no longer lets through all of"
    more_than = ", more of it than before" if direction == "wider" else ""
    sentence = f"{resource.path} {now} {traffic} {way} by its rule {rule.number}{more_than}"
    return _row(resource, direction, sentence, traffic)


def _traffic(rule: Rule) -> str:
    if rule.protocol == _ALL:
        return "all traffic"
    if rule.protocol in _WITH_PORTS:
        ports = f"{rule.first}" if rule.first == rule.last else f"{rule.first}-{rule.last}"
        return f"{_WITH_PORTS[rule.protocol]} {ports}"
    if rule.protocol not in _ICMP:
        return f"protocol {rule.protocol}"
    if (rule.first, rule.last) == (0, _LAST):
        return _ICMP[rule.protocol]
    kind, code = divmod(rule.first, 256)
    return f"{_ICMP[rule.protocol]} type {kind}" + (f" code {code}" if rule.first == rule.last else "")


def _row(resource: Resource, direction: Literal["wider", "narrower"], sentence: str, traffic: str) -> PermissionChange:
    return PermissionChange(
        direction=direction,
        kind="network",
        resource=resource,
        principal=resource.path,
        actions=(traffic,),
        access_levels=(),
        targets=(resource.path,),
        conditions=(),
        # Security groups decide besides, so that it opens nothing by itself.
        severity=Severity.WARNING if direction == "wider" else Severity.NOTICE,
        sentence=sentence,
    )
