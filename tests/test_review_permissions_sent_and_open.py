"""What opens or leaves without a policy: public addresses, access lists of subnets, and what is sent to other accounts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sagestack.review.permissions.network_acls import Rule, more
from sagestack.review.results import PermissionFlag, Severity

from tests.review_policies import ACCOUNT, OTHER_ACCOUNT, Raw, changes, only


def it(type_name: str, **properties: Any) -> Raw:
    return {"It": {"Type": type_name, "Properties": properties}}


def arn(service: str, account: str = OTHER_ACCOUNT) -> str:
    return f"arn:aws:{service}:us-east-1:{account}:there"


# --- Public addresses ---


@pytest.mark.parametrize(
    "type_name", ["AWS::RDS::DBInstance", "AWS::RDS::DBCluster", "AWS::Redshift::Cluster", "AWS::AmazonMQ::Broker"]
)
def test_a_database_with_a_public_address_is_open_to_the_public(type_name: str) -> None:
    closed, opened = it(type_name, PubliclyAccessible=False), it(type_name, PubliclyAccessible="true")
    for before in (closed, it(type_name), {}):
        found = only(before, opened)
        assert (found.severity, found.flags) == (Severity.DANGER, frozenset({PermissionFlag.PUBLIC}))
    assert only(opened, closed).direction == "narrower"
    assert changes(opened, opened) == changes(it(type_name), closed) == ()


def test_what_is_public_unless_it_says_otherwise_is_public_without_a_word() -> None:
    assert only({}, it("AWS::DMS::ReplicationInstance")).flags == {PermissionFlag.PUBLIC}


# --- What is sent ---

SENT: dict[str, tuple[str, Callable[[str], Raw], str]] = {
    "log events": ("AWS::Logs::SubscriptionFilter", lambda to: {"DestinationArn": to}, "logs"),
    "metrics": ("AWS::CloudWatch::MetricStream", lambda to: {"FirehoseArn": to}, "firehose"),
    "metrics, logs and traces": ("AWS::Oam::Link", lambda to: {"SinkIdentifier": to}, "oam"),
    "events": ("AWS::Events::Rule", lambda to: {"Targets": [{"Id": "a", "Arn": to}]}, "events"),
    "messages": ("AWS::SNS::Subscription", lambda to: {"Protocol": "sqs", "Endpoint": to}, "sqs"),
    "notices of objects": (
        "AWS::S3::Bucket",
        lambda to: {"NotificationConfiguration": {"QueueConfigurations": [{"Event": "s3:*", "Queue": to}]}},
        "sqs",
    ),
}


@pytest.mark.parametrize("what", SENT)
def test_what_is_sent_to_another_account_is_a_danger_and_within_the_account_no_line(what: str) -> None:
    type_name, properties, service = SENT[what]
    away, here = it(type_name, **properties(arn(service))), it(type_name, **properties(arn(service, ACCOUNT)))
    found = only(here, away)
    assert (found.severity, found.flags) == (Severity.DANGER, frozenset({PermissionFlag.CROSS_ACCOUNT}))
    assert found.sentence == f"It now sends {what} to {arn(service)} in account {OTHER_ACCOUNT}"
    assert only(away, here).direction == "narrower"
    assert changes(away, away) == changes(it(type_name), here) == ()


@pytest.mark.parametrize("endpoint", ["ada@example.org", "+491700000000", {"Ref": "Mail"}])
def test_somebodys_mail_is_no_other_account(endpoint: Any) -> None:
    assert changes({}, it("AWS::SNS::Subscription", Protocol="email", Endpoint=endpoint)) == ()


def test_a_web_hook_is_a_warning_and_its_path_is_not_repeated() -> None:
    found = only({}, it("AWS::SNS::Subscription", Protocol="https", Endpoint="https://example.org/hook/s3cret?t=1"))
    assert (found.severity, found.sentence) == (Severity.WARNING, "It now sends messages to https://example.org")


def test_a_bucket_that_no_template_makes_may_be_anybodys() -> None:
    def logs_to(name: str) -> Raw:
        return it("AWS::EC2::FlowLog", LogDestination=f"arn:aws:s3:::{name}/flows", LogDestinationType="s3")

    found = only({}, logs_to("theirs"))
    assert (found.severity, found.flags) == (Severity.WARNING, frozenset())
    assert found.sentence == (
        "It now sends flow logs to arn:aws:s3:::theirs/flows, and no template tells whose bucket that is"
    )
    made = {"Made": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "ours"}}}
    assert changes(made, {**made, **logs_to("ours")}) == ()
    call = {"Target": {"Arn": "arn:aws:scheduler:::aws-sdk:sqs:sendMessage"}}
    assert changes({}, it("AWS::Scheduler::Schedule", **call)) == ()


def test_whose_account_only_the_deployment_knows_is_a_warning() -> None:
    found = only({}, it("AWS::Logs::SubscriptionFilter", DestinationArn={"Ref": "Where"}))
    assert (found.severity, found.flags) == (Severity.WARNING, frozenset())
    assert "only the deployment knows" in found.sentence


# --- Access lists ---


def rule(number: int, action: str = "allow", peer: str = "10.0.0.0/8", **more: Any) -> Rule:
    values = {"leaves": False, "protocol": "6", "first": 443, "last": 443, **more}
    return Rule(number=number, allows=action == "allow", peer=peer, **values)


ADDRESS = "\U000f0000/32"
"""Of a resource, which the deployment gives it."""
ANY: dict[str, Any] = {"protocol": "-1", "first": 0, "last": 65535}


@pytest.mark.parametrize(
    ("before", "after", "wider"),
    [
        pytest.param([], [rule(100)], [100], id="a rule more"),
        pytest.param([rule(100)], [rule(200)], [], id="another number"),
        pytest.param([rule(100)], [rule(100, peer="0.0.0.0/0")], [100], id="a wider network"),
        pytest.param([rule(100, peer="0.0.0.0/0")], [rule(100)], [], id="a narrower network"),
        pytest.param([rule(100)], [rule(100, last=444)], [100], id="a port more"),
        pytest.param([rule(100)], [rule(100, **ANY)], [100], id="all protocols"),
        pytest.param([rule(100, **ANY)], [rule(100), rule(200, protocol="17")], [], id="parts of what was"),
        pytest.param([rule(90, "deny"), rule(100, **ANY)], [rule(100, **ANY)], [100], id="a denial less"),
        pytest.param([rule(90, "deny"), rule(100, **ANY)], [rule(110, "deny"), rule(100, **ANY)], [100], id="too late"),
        pytest.param([rule(100)], [rule(100), rule(110, peer="10.1.0.0/16")], [], id="within another"),
        pytest.param([rule(100)], [rule(100), rule(50, leaves=True)], [50], id="the other way"),
        pytest.param([rule(100)], [rule(100, peer="::/0")], [100], id="of the other version"),
        pytest.param(
            [rule(90, "deny", ADDRESS), rule(100, peer="0.0.0.0/0")],
            [rule(100, peer="0.0.0.0/0")],
            [100],
            id="a denial less of what is deployed",
        ),
        pytest.param([rule(100, peer="0.0.0.0/0")], [rule(100, peer=ADDRESS)], [], id="a part that is deployed"),
    ],
)
def test_a_list_is_wider_by_the_packets_that_it_lets_through(
    before: list[Rule], after: list[Rule], wider: list[int]
) -> None:
    assert [each.number for each in more(before, after)] == wider


def acl(**entries: Raw) -> Raw:
    made = {
        name: {
            "Type": "AWS::EC2::NetworkAclEntry",
            "Properties": {"NetworkAclId": {"Ref": "List"}, "Protocol": 6, "RuleAction": "allow", **entry},
        }
        for name, entry in entries.items()
    }
    return {"List": {"Type": "AWS::EC2::NetworkAcl", "Properties": {"VpcId": "vpc-1"}}, **made}


SSH = {"RuleNumber": 100, "CidrBlock": "0.0.0.0/0", "PortRange": {"From": 22, "To": 22}}


def test_a_rule_of_a_list_is_a_warning_for_groups_decide_besides() -> None:
    found = only(acl(), acl(Ssh=SSH))
    assert (found.resource.path, found.severity, found.flags) == ("List", Severity.WARNING, frozenset())
    assert found.sentence == "List now lets through tcp 22 from 0.0.0.0/0 by its rule 100, more of it than before"
    assert only(acl(Ssh=SSH), acl()).direction == "narrower"
    assert changes(acl(Ssh=SSH), acl(Other=SSH)) == ()


@pytest.mark.parametrize(
    ("kind", "code", "traffic"), [(-1, -1, "icmp"), (3, -1, "icmp type 3"), (8, 0, "icmp type 8 code 0")]
)
def test_another_kind_of_icmp_is_more(kind: int, code: int, traffic: str) -> None:
    def icmp(kind: int, code: int) -> Raw:
        return acl(It={**SSH, "Protocol": 1, "Icmp": {"Type": kind, "Code": code}})

    (found,) = [each for each in changes(icmp(3, 4), icmp(kind, code)) if each.direction == "wider"]
    assert found.actions == (traffic,)
    if kind != 8:
        assert only(icmp(kind, code), icmp(3, 4)).direction == "narrower"


def test_a_new_list_opens_nothing_and_one_that_goes_leaves_its_subnets_open() -> None:
    assert changes({}, acl(Ssh=SSH)) == ()
    found = only(acl(Ssh=SSH), {})
    assert (found.direction, found.severity) == ("wider", Severity.WARNING)
