"""Security groups in a review: what reaches what, however the rules are written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sagestack.review.permissions.network import Rule, more
from sagestack.review.results import PermissionFlag, Severity

from tests.property_tests import examples
from tests.review_policies import Raw, changes, only

NOTHING_OUT = [{"CidrIp": "255.255.255.255/32", "IpProtocol": "icmp", "FromPort": 252, "ToPort": 86}]


def tcp(first: int, last: int | None = None, **peer: Any) -> Raw:
    return {"IpProtocol": "tcp", "FromPort": first, "ToPort": first if last is None else last, **peer}


def group(*ingress: Raw, egress: Any = NOTHING_OUT) -> Raw:
    properties = {"SecurityGroupIngress": list(ingress), **({} if egress is None else {"SecurityGroupEgress": egress})}
    return {"Group": {"Type": "AWS::EC2::SecurityGroup", "Properties": properties}}


def separate(rule: Raw) -> Raw:
    return {
        "Rule": {
            "Type": "AWS::EC2::SecurityGroupIngress",
            "Properties": {"GroupId": {"Fn::GetAtt": ["Group", "GroupId"]}, **rule},
        }
    }


@pytest.mark.parametrize(
    ("peer", "severity", "flags", "who"),
    [
        ({"CidrIp": "0.0.0.0/0"}, "danger", {PermissionFlag.PUBLIC}, "anyone on the internet"),
        ({"CidrIpv6": "::/0"}, "danger", {PermissionFlag.PUBLIC}, "anyone on the internet (IPv6)"),
        ({"CidrIp": "128.0.0.0/1"}, "danger", {PermissionFlag.PUBLIC}, "128.0.0.0/1"),
        ({"CidrIp": "10.0.0.0/8"}, "warning", set(), "10.0.0.0/8"),
        ({"SourceSecurityGroupId": "sg-1"}, "warning", set(), "sg-1"),
    ],
)
def test_who_may_reach_a_group_now(peer: Raw, severity: str, flags: set[PermissionFlag], who: str) -> None:
    change = only(group(), group(tcp(443, **peer)))

    assert (change.kind, change.severity, set(change.flags)) == ("network", severity, flags)
    assert change.sentence == f"{who} may now reach Group by tcp 443"


def test_a_rule_of_its_own_is_the_same_as_one_in_the_group() -> None:
    rule = tcp(443, CidrIp="10.0.0.0/8", Description="callers")

    assert changes(group(rule), {**group(), **separate(rule)}) == ()
    assert only(group(), {**group(), **separate(rule)}).resource.logical_id == "Group"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([tcp(80, 81, CidrIp="10.0.0.0/8")], [tcp(80, CidrIp="10.0.0.0/8"), tcp(81, CidrIp="10.0.0.0/8")]),
        ([tcp(80, CidrIp="10.0.0.0/8")], [tcp(80, CidrIp="10.0.0.0/9"), tcp(80, CidrIp="10.128.0.0/9")]),
        ([tcp(80, CidrIp="10.0.0.0/8")], [{**tcp(80, CidrIp="10.0.0.0/8"), "IpProtocol": "6"}]),
    ],
    ids=["ports in two", "addresses in two", "a protocol by number"],
)
def test_rules_that_let_the_same_through_are_the_same(before: list[Raw], after: list[Raw]) -> None:
    assert changes(group(*before), group(*after)) == ()


def test_only_what_is_beyond_the_old_rules_is_told() -> None:
    change = only(
        group(tcp(80, 90, CidrIp="10.0.0.0/8")),
        group(tcp(80, 99, CidrIp="10.1.0.0/16"), tcp(80, 90, CidrIp="10.0.0.0/8")),
    )

    assert change.sentence == "10.1.0.0/16 may now reach Group by tcp 91-99"


def test_a_group_that_says_nothing_of_what_leaves_lets_everything_out() -> None:
    found = changes(group(), group(egress=None))

    assert [change.sentence for change in found] == [
        "What is in Group may now reach anything on the internet by all traffic"
    ]
    assert {change.severity for change in found} == {Severity.WARNING}
    assert {change.severity for change in changes({}, group(egress=None))} == {Severity.NOTICE}


RULES = st.builds(
    lambda protocol, first, length, peer: Rule("ingress", protocol, first, min(first + length, 5), peer),
    st.sampled_from(["tcp", "udp"]),
    st.integers(0, 5),
    st.integers(0, 5),
    st.sampled_from(["10.0.0.0/30", "10.0.0.0/31", "10.0.0.2/31", "10.0.0.1/32", "sg-1"]),
) | st.just(Rule("ingress", "-1", 0, 65535, "10.0.0.2/31"))
PACKETS = [
    (protocol, port, peer)
    for protocol in ("tcp", "udp", "icmp")
    for port in range(7)
    for peer in ("10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3", "sg-1")
]


def let_through(rules: list[Rule]) -> set[tuple[str, int, str]]:
    first, second = ["10.0.0.0", "10.0.0.1"], ["10.0.0.2", "10.0.0.3"]
    addresses = {
        "10.0.0.0/30": first + second,
        "10.0.0.0/31": first,
        "10.0.0.2/31": second,
        "10.0.0.1/32": ["10.0.0.1"],
        "sg-1": ["sg-1"],
    }
    return {
        (protocol, port, peer)
        for protocol, port, peer in PACKETS
        for rule in rules
        if rule.protocol in (protocol, "-1") and rule.first <= port <= rule.last and peer in addresses[rule.peer]
    }


@given(st.lists(RULES, max_size=4), st.lists(RULES, max_size=4))
@settings(max_examples=examples(1), deadline=None)
def test_more_is_let_through_where_some_packet_is_and_nowhere_else(before: list[Rule], after: list[Rule]) -> None:
    beyond = let_through(after) - let_through(before)

    assert bool(more(before, after)) == bool(beyond)
    assert beyond <= let_through(more(before, after))
