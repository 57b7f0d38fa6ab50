"""A denial that is gone: a danger only where something after the change may do what was denied."""

from __future__ import annotations

from typing import Any

import pytest
from sagestack.review.results import PermissionChange, PermissionFlag, Severity

from tests.review_policies import (
    DATA,
    OBJECTS,
    Raw,
    allow,
    bucket_policy,
    changes,
    deny,
    document,
    key,
    policy,
    role,
    trust,
)

DELETES = allow(["s3:DeleteObject", "s3:GetObject"], OBJECTS)
KEPT = deny("s3:DeleteObject", OBJECTS)
ROLE_ARN = {"Fn::GetAtt": ["Role", "Arn"]}
READS = allow("s3:GetObject", OBJECTS)


def lost(after: Raw, before: Raw | None = None, **others: Raw) -> PermissionChange:
    """The row of the denial; `others` stand on both sides."""
    both = {"Data": DATA, **others}
    found = changes({**both, "Role": before or role(DELETES, KEPT)}, {**both, "Role": after})
    (row,) = [each for each in found if "no longer denied" in each.sentence]
    return row


def test_a_denial_that_goes_with_what_it_limited_is_a_notice_and_no_flag() -> None:
    row = lost(role(READS))
    assert (row.direction, row.severity, row.flags) == ("wider", Severity.NOTICE, frozenset())
    assert (
        row.sentence == "Role: s3:DeleteObject on Data/* is no longer denied, and nothing that is read here allows it"
    )


@pytest.mark.parametrize(
    ("after", "says"),
    [
        pytest.param(role(DELETES), "s3:DeleteObject on Data/*", id="what it limited stays"),
        pytest.param(role(allow("s3:*")), "s3:* on any bucket", id="a wildcard"),
        pytest.param(
            role({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}), "anything but iam:* on", id="all but"
        ),
        pytest.param(
            role({"Effect": "Allow", "Action": "s3:DeleteObject", "NotResource": "arn:aws:s3:::other/*"}),
            "s3:DeleteObject on everything but arn:aws:s3:::other/*",
            id="everywhere but",
        ),
        pytest.param(
            role(allow("s3:DeleteObject", {"Fn::Join": ["", [{"Fn::GetAtt": ["Data", "Arn"]}, "/tmp/*"]]})),
            "s3:DeleteObject on Data/tmp/*",
            id="of a part",
        ),
        pytest.param(
            role(DELETES, deny("s3:DeleteObject", OBJECTS, Condition={"Bool": {"aws:SecureTransport": "false"}})),
            "s3:DeleteObject on Data/*; still denied: s3:DeleteObject on Data/* if aws:SecureTransport is false",
            id="denied under a condition",
        ),
    ],
)
def test_a_denial_is_a_danger_where_an_allow_is_left_and_the_row_names_it(after: Raw, says: str) -> None:
    row = lost(after)
    assert (row.severity, row.flags) == (Severity.DANGER, frozenset({PermissionFlag.LOST_DENIAL}))
    assert f"is no longer denied, and this allows it: {says}" in row.sentence


@pytest.mark.parametrize(
    "left",
    [
        pytest.param(allow("s3:DeleteObject", "arn:aws:s3:::other/*"), id="elsewhere"),
        pytest.param(allow("sqs:*"), id="of another service"),
    ],
)
def test_an_allow_of_something_else_is_no_way(left: Raw) -> None:
    assert lost(role(left)).severity is Severity.NOTICE


def test_an_allow_under_a_condition_that_the_denial_excluded_is_no_way() -> None:
    """The denial was of plain requests, and only encrypted ones are allowed."""
    plain, encrypted = ({"Bool": {"aws:SecureTransport": value}} for value in ("false", "true"))
    before = role(DELETES, deny("s3:DeleteObject", OBJECTS, Condition=plain))
    assert lost(role(allow("s3:DeleteObject", OBJECTS, Condition=encrypted)), before).severity is Severity.NOTICE
    assert lost(role(allow("s3:DeleteObject", OBJECTS, Condition=plain)), before).severity is Severity.DANGER


def test_an_allow_that_another_denial_stops_is_no_way_and_the_row_names_that_denial() -> None:
    below = {"Fn::Join": ["", [{"Fn::GetAtt": ["Data", "Arn"]}, "/tmp/*"]]}
    row = lost(role(allow("s3:DeleteObject", below), deny("s3:DeleteObject", below)))
    assert row.severity is Severity.NOTICE
    assert row.sentence.endswith("nothing that is read here allows it; still denied: s3:DeleteObject on Data/tmp/*")


def test_a_denial_of_other_requests_is_not_said_to_deny_these() -> None:
    tagged, other = ({"StringEquals": {"aws:PrincipalTag/team": team}} for team in ("a", "b"))
    row = lost(
        role(DELETES, deny("s3:*", OBJECTS, Condition=other)),
        role(DELETES, deny("s3:DeleteObject", OBJECTS, Condition=tagged), deny("s3:*", OBJECTS, Condition=other)),
    )
    assert row.severity is Severity.DANGER
    assert "still denied" not in row.sentence  # a request has one team


@pytest.mark.parametrize(
    ("carried", "severity", "says"),
    [
        ("arn:aws:iam::aws:policy/AmazonS3FullAccess", Severity.DANGER, "the managed policy AmazonS3FullAccess"),
        ("arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole", Severity.NOTICE, "nothing that is read"),
        (
            "arn:aws:iam::111111111111:policy/service-role/AWSLambdaBasicExecutionRole",
            Severity.DANGER,
            "the managed policy service-role/AWSLambdaBasicExecutionRole",
        ),
    ],
)
def test_a_managed_policy_that_is_not_read_may_allow_it(carried: str, severity: Severity, says: str) -> None:
    before, after = (role(*each, ManagedPolicyArns=[carried]) for each in ((DELETES, KEPT), (READS,)))
    row = lost(after, before)
    assert row.severity is severity
    assert says in row.sentence


def test_a_managed_policy_of_the_template_is_read() -> None:
    managed = policy("Role", DELETES, kind="AWS::IAM::ManagedPolicy")
    assert lost(role(READS), role(KEPT), Managed=managed).severity is Severity.DANGER


def test_a_policy_that_only_the_deployment_knows_may_allow_it() -> None:
    unknown = {"Policies": [{"PolicyName": "p", "PolicyDocument": {"Fn::GetAtt": ["Maker", "Document"]}}]}
    found = changes({"Data": DATA, "Role": role(KEPT)}, {"Data": DATA, "Role": role(**unknown)})
    (row,) = [each for each in found if "no longer denied" in each.sentence]
    assert row.severity is Severity.DANGER
    assert "whether it is allowed is not known" in row.sentence


@pytest.mark.parametrize(
    ("principal", "severity"),
    [(ROLE_ARN, Severity.DANGER), ("*", Severity.DANGER), ("111111111111", Severity.NOTICE)],
    ids=["the role", "anyone", "the account"],
)
def test_a_bucket_that_lets_the_role_in_allows_it(principal: Any, severity: Severity) -> None:
    """The account lets nobody in by itself: it leaves that to the principals' own policies."""
    open_to = bucket_policy(allow("s3:DeleteObject", OBJECTS, Principal={"AWS": principal}))
    assert lost(role(READS), Open=open_to).severity is severity


def test_a_key_that_lets_the_role_in_allows_what_it_says() -> None:
    with_it = key(allow("kms:Decrypt", Principal={"AWS": ROLE_ARN}))
    before = role(allow("kms:Decrypt"), deny("kms:Decrypt"))
    assert lost(role(READS), before, Key=with_it).severity is Severity.DANGER
    assert lost(role(READS), before).severity is Severity.NOTICE


@pytest.mark.parametrize(
    ("trusted", "denied", "severity"),
    [
        (ROLE_ARN, "Target", Severity.DANGER),
        (ROLE_ARN, "Third", Severity.NOTICE),
        ("111111111111", "Target", Severity.NOTICE),
    ],
    ids=["the role", "of another target", "the account"],
)
def test_a_role_that_trusts_the_role_by_name_may_be_assumed_by_it(
    trusted: Any, denied: str, severity: Severity
) -> None:
    """Within one account the trust policy is enough."""
    target = role(AssumeRolePolicyDocument=trust({"AWS": trusted}))
    before = role(READS, deny("sts:AssumeRole", {"Fn::GetAtt": [denied, "Arn"]}))
    assert lost(role(READS), before, Target=target, Third=role()).severity is severity


def test_an_endpoint_of_a_network_lets_through_and_allows_nothing() -> None:
    endpoint = {"Type": "AWS::EC2::VPCEndpoint", "Properties": {"ServiceName": "s3", "VpcId": "v"}}
    assert lost(role(READS), Endpoint=endpoint).severity is Severity.NOTICE


def test_of_somebody_elses_role_nobody_knows_what_else_it_may() -> None:
    attached = {"Type": "AWS::IAM::Policy", "Properties": {"Roles": ["theirs"], "PolicyDocument": document(KEPT)}}
    found = changes({"Data": DATA, "Policy": attached}, {"Data": DATA})
    assert [(each.severity, "not known" in each.sentence) for each in found] == [(Severity.DANGER, True)]
