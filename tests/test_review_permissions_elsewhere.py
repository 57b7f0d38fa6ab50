"""Permissions that stand outside of a role's statements: attachments, boundaries, resource policies, settings that open."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sagestack.review.permissions import permission_changes
from sagestack.review.results import PermissionFlag, Severity

from tests.review_policies import (
    DATA,
    OTHER_ACCOUNT,
    Raw,
    allow,
    bucket_policy,
    changes,
    deny,
    document,
    only,
    role,
)
from tests.review_samples import assembly

BOUNDARY = "arn:aws:iam::111111111111:policy/team-boundary"


def aws_policy(name: str) -> Raw:
    return {"Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, f":iam::aws:policy/{name}"]]}


@pytest.mark.parametrize(
    ("name", "severity", "flags"),
    [
        ("AdministratorAccess", "danger", {PermissionFlag.NEW_WILDCARD, PermissionFlag.PERMISSIONS_MANAGEMENT}),
        ("AmazonSageMakerFullAccess", "danger", {PermissionFlag.NEW_WILDCARD, PermissionFlag.PERMISSIONS_MANAGEMENT}),
        ("AmazonS3ReadOnlyAccess", "warning", set()),
        ("service-role/AWSLambdaBasicExecutionRole", "warning", set()),
    ],
)
def test_a_managed_policy_of_aws_is_a_change_by_name(name: str, severity: str, flags: set[PermissionFlag]) -> None:
    change = only({"Role": role()}, {"Role": role(ManagedPolicyArns=[aws_policy(name)])})

    assert (change.severity, set(change.flags)) == (severity, flags)
    assert change.sentence == f"Role now has the managed policy {name}"


def test_a_managed_policy_that_is_taken_away_is_narrower() -> None:
    change = only({"Role": role(ManagedPolicyArns=[aws_policy("AdministratorAccess")])}, {"Role": role()})

    assert (change.direction, change.severity) == ("narrower", Severity.NOTICE)


def test_the_policy_that_every_function_of_cdk_has_is_a_notice_on_a_new_one() -> None:
    logs = aws_policy("service-role/AWSLambdaBasicExecutionRole")
    found = changes({}, {"Role": role(ManagedPolicyArns=[logs])})

    assert {change.severity for change in found} == {Severity.NOTICE}


def test_a_policy_of_the_account_is_not_what_aws_calls_so() -> None:
    name = "service-role/AWSLambdaBasicExecutionRole"
    (own,) = [
        change
        for change in changes({}, {"Role": role(ManagedPolicyArns=[f"arn:aws:iam::111111111111:policy/{name}"])})
        if "managed policy" in change.sentence
    ]

    assert (own.severity, own.access_levels) == (Severity.WARNING, ("Unknown",))


def test_a_boundary_that_is_lost_is_a_danger() -> None:
    change = only({"Role": role(PermissionsBoundary=BOUNDARY)}, {"Role": role()})

    assert (change.kind, change.direction, change.severity) == ("boundary", "wider", Severity.DANGER)
    assert change.flags == {PermissionFlag.LOST_BOUNDARY}
    assert change.sentence == "Role loses its permissions boundary team-boundary"


def test_a_boundary_that_allows_everything_is_none() -> None:
    change = only(
        {"Role": role(PermissionsBoundary=BOUNDARY)},
        {"Role": role(PermissionsBoundary=aws_policy("AdministratorAccess"))},
    )

    assert change.flags == {PermissionFlag.LOST_BOUNDARY}


def test_a_boundary_that_is_another_one_is_looked_at_and_one_that_is_added_is_narrower() -> None:
    other = BOUNDARY.replace("team", "other")
    changed = only({"Role": role(PermissionsBoundary=BOUNDARY)}, {"Role": role(PermissionsBoundary=other)})
    added = only({"Role": role()}, {"Role": role(PermissionsBoundary=BOUNDARY)})

    assert (changed.direction, changed.severity) == ("wider", Severity.WARNING)
    assert "other-boundary, before by team-boundary" in changed.sentence
    assert (added.direction, added.severity) == ("narrower", Severity.NOTICE)


def test_a_boundary_of_the_templates_that_allows_more_is_wider() -> None:
    def bounded(*actions: str) -> Raw:
        boundary = {"PolicyDocument": document(allow(list(actions)))}
        return {
            "Limits": {"Type": "AWS::IAM::ManagedPolicy", "Properties": boundary},
            "Role": role(PermissionsBoundary={"Ref": "Limits"}),
        }

    change = only(bounded("s3:*"), bounded("s3:*", "iam:*"))

    assert (change.kind, change.resource.logical_id, change.severity) == ("boundary", "Limits", Severity.DANGER)
    assert change.actions == ("iam:*",)


QUEUE: Raw = {"Type": "AWS::SQS::Queue", "Properties": {}}
FUNCTION: Raw = {"Type": "AWS::Lambda::Function", "Properties": {}}
FOREIGN = {"Principal": {"AWS": OTHER_ACCOUNT}}
GUARDED: list[tuple[str, Raw, Raw]] = [
    (
        "AWS::SQS::QueuePolicy",
        QUEUE,
        {"Queues": [{"Ref": "Guarded"}], "PolicyDocument": document(allow("sqs:SendMessage", **FOREIGN))},
    ),
    (
        "AWS::SNS::TopicPolicy",
        {"Type": "AWS::SNS::Topic"},
        {"Topics": [{"Ref": "Guarded"}], "PolicyDocument": document(allow("sns:Publish", **FOREIGN))},
    ),
    (
        "AWS::SecretsManager::ResourcePolicy",
        {"Type": "AWS::SecretsManager::Secret"},
        {"SecretId": {"Ref": "Guarded"}, "ResourcePolicy": document(allow("secretsmanager:GetSecretValue", **FOREIGN))},
    ),
    (
        "AWS::Events::EventBusPolicy",
        {"Type": "AWS::Events::EventBus"},
        {
            "EventBusName": {"Ref": "Guarded"},
            "StatementId": "a",
            "Action": "events:PutEvents",
            "Principal": OTHER_ACCOUNT,
        },
    ),
    (
        "AWS::Lambda::Permission",
        FUNCTION,
        {"FunctionName": {"Ref": "Guarded"}, "Action": "lambda:InvokeFunction", "Principal": OTHER_ACCOUNT},
    ),
]


@pytest.mark.parametrize(("kind", "guarded", "properties"), GUARDED, ids=[each[0] for each in GUARDED])
def test_a_policy_is_told_of_what_it_guards(kind: str, guarded: Raw, properties: Raw) -> None:
    before = {"Guarded": guarded}
    change = only(before, {**before, "Policy": {"Type": kind, "Properties": properties}})

    assert (change.kind, change.resource.logical_id) == ("resource", "Guarded")
    assert (change.severity, set(change.flags)) == (Severity.DANGER, {PermissionFlag.CROSS_ACCOUNT})
    assert change.sentence.startswith(f"account {OTHER_ACCOUNT} may now ")
    assert change.sentence.endswith(" on Guarded")


@pytest.mark.parametrize(
    ("kind", "name", "action", "as_text"),
    [
        ("AWS::ECR::Repository", "RepositoryPolicyText", "ecr:BatchGetImage", False),
        ("AWS::EFS::FileSystem", "FileSystemPolicy", "elasticfilesystem:ClientMount", False),
        ("AWS::SageMaker::ModelPackageGroup", "ModelPackageGroupPolicy", "sagemaker:DescribeModelPackageGroup", False),
        ("AWS::Logs::ResourcePolicy", "PolicyDocument", "logs:PutLogEvents", True),
        ("AWS::Logs::ResourcePolicy", "PolicyDocument", "logs:PutLogEvents", False),
    ],
)
def test_a_policy_that_is_a_property_is_read_as_an_object_and_as_text(
    kind: str, name: str, action: str, as_text: bool
) -> None:
    def with_policy(policy: Raw) -> Raw:
        return {"Guarded": {"Type": kind, "Properties": {name: json.dumps(policy) if as_text else policy}}}

    change = only(with_policy(document()), with_policy(document(allow(action, **FOREIGN))))

    assert (change.actions, set(change.flags)) == ((action,), {PermissionFlag.CROSS_ACCOUNT})


def test_a_service_that_calls_a_function_for_one_rule_is_a_notice_only_where_the_function_is_new() -> None:
    source = "arn:aws:events:us-east-1:111111111111:rule/r"
    permission = {
        "Type": "AWS::Lambda::Permission",
        "Properties": {
            "FunctionName": {"Fn::GetAtt": ["Function", "Arn"]},
            "Action": "lambda:InvokeFunction",
            "Principal": "events.amazonaws.com",
            "SourceArn": source,
        },
    }
    both = {"Function": FUNCTION, "Permission": permission}

    assert only({}, both).severity == Severity.NOTICE
    assert only({"Function": FUNCTION}, both).severity == Severity.WARNING
    assert only({}, both).sentence == (
        f"events.amazonaws.com may now lambda:InvokeFunction on Function if aws:SourceArn is like {source}"
    )


def test_a_service_that_calls_a_function_for_whomever_is_looked_at() -> None:
    properties = {"FunctionName": "f", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
    change = only({}, {"Permission": {"Type": "AWS::Lambda::Permission", "Properties": properties}})

    assert change.severity == Severity.WARNING


def test_images_that_another_account_may_fetch_are_told_though_a_function_writes_the_policy() -> None:
    statement = {
        "Type": "Custom::RepositoryPolicyStatement",
        "Properties": {"RepositoryName": "images", "Account": OTHER_ACCOUNT, "ServiceToken": "t"},
    }
    change = only({}, {"Pull": statement})

    assert change.sentence == (
        f"account {OTHER_ACCOUNT} may now ecr:BatchCheckLayerAvailability, ecr:BatchGetImage and"
        " ecr:GetDownloadUrlForLayer on images"
    )
    assert change.flags == {PermissionFlag.CROSS_ACCOUNT}


def test_an_endpoint_into_aws_without_a_policy_lets_everything_through() -> None:
    def endpoint(**properties: Any) -> Raw:
        return {"Endpoint": {"Type": "AWS::EC2::VPCEndpoint", "Properties": properties}}

    own = endpoint(PolicyDocument=document(allow("s3:GetObject", "*", Principal="*")))
    change = only(own, endpoint())

    # It opens nothing by itself: whoever comes through needs a permission as well.
    assert (change.direction, change.severity, set(change.flags)) == ("wider", Severity.WARNING, set())
    assert changes({}, endpoint()) == ()


def bucket(**blocks: bool) -> Raw:
    return {"Data": {"Type": "AWS::S3::Bucket", "Properties": {"PublicAccessBlockConfiguration": blocks}}}


ALL = {"BlockPublicAcls": True, "BlockPublicPolicy": True, "IgnorePublicAcls": True, "RestrictPublicBuckets": True}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(bucket(**ALL), bucket(**{**ALL, "BlockPublicPolicy": False}), id="one is off"),
        pytest.param(bucket(**ALL), {"Data": DATA}, id="all are gone"),
        pytest.param({}, bucket(BlockPublicAcls=True), id="a new bucket that says no to three"),
    ],
)
def test_a_bucket_that_may_be_opened_is_public(before: Raw, after: Raw) -> None:
    change = only(before, after)

    assert (change.direction, change.severity, set(change.flags)) == ("wider", Severity.DANGER, {PermissionFlag.PUBLIC})
    assert change.sentence.startswith("A policy or an ACL may now open Data to the public: ")


def test_a_new_bucket_is_closed_by_default_and_one_that_is_closed_now_is_narrower() -> None:
    assert changes({}, {"Data": DATA}) == ()
    assert only({"Data": DATA}, bucket(**ALL)).direction == "narrower"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("AWS::Lambda::Url", "AuthType"),
        ("AWS::ApiGatewayV2::Route", "AuthorizationType"),
        ("AWS::ApiGateway::Method", "AuthorizationType"),
    ],
)
def test_a_door_that_asks_nobody_who_he_is_is_public(kind: str, name: str) -> None:
    def door(authorization: str) -> Raw:
        return {"Door": {"Type": kind, "Properties": {name: authorization}}}

    opened = only(door("AWS_IAM"), door("NONE"))
    assert (opened.severity, set(opened.flags)) == (Severity.DANGER, {PermissionFlag.PUBLIC})
    assert opened.sentence.endswith("asks callers for nothing, before AWS_IAM")
    assert only({}, door("NONE")).flags == {PermissionFlag.PUBLIC}
    assert only({}, door("AWS_IAM")).severity == Severity.NOTICE
    assert only(door("NONE"), door("AWS_IAM")).direction == "narrower"


def function(acts_as: Any) -> Raw:
    properties = {"Role": acts_as, "Code": {"ZipFile": ""}}
    return {"Role": role(), "Other": role(), "It": {"Type": "AWS::Lambda::Function", "Properties": properties}}


ITS_ROLE = {"Fn::GetAtt": ["Role", "Arn"]}
ADMINISTRATOR = "arn:aws:iam::111111111111:role/Administrator"


@pytest.mark.parametrize(
    ("acts_as", "sentence"),
    [
        ({"Fn::GetAtt": ["Other", "Arn"]}, "It acts as Other (Role), before as Role: compare what the two may"),
        (ADMINISTRATOR, f"It acts as {ADMINISTRATOR} (Role), before as Role: compare what the two may"),
    ],
)
def test_who_acts_as_another_role_may_what_that_one_may(acts_as: Any, sentence: str) -> None:
    found = only(function(ITS_ROLE), function(acts_as))

    assert (found.direction, found.severity, found.sentence) == ("wider", Severity.WARNING, sentence)


def test_a_target_of_a_rule_is_called_as_another_role_whatever_the_order() -> None:
    def rule(*targets: tuple[str, str]) -> Raw:
        made = [{"Id": name, "Arn": "arn", "RoleArn": {"Fn::GetAtt": [acts_as, "Arn"]}} for name, acts_as in targets]
        properties = {"Targets": made, "ScheduleExpression": "rate(1 day)"}
        return {"Role": role(), "Other": role(), "It": {"Type": "AWS::Events::Rule", "Properties": properties}}

    both = (("a", "Role"), ("b", "Other"))
    assert changes(rule(*both), rule(*reversed(both))) == ()
    assert only(rule(("a", "Role")), rule(("a", "Other"))).sentence == (
        "It acts as Other (Targets[a].RoleArn), before as Role: compare what the two may"
    )


def test_a_new_function_is_looked_at_where_nobody_reads_its_role() -> None:
    before = {name: each for name, each in function(ITS_ROLE).items() if name != "It"}

    assert changes(before, function(ITS_ROLE)) == ()
    assert only(before, function(ADMINISTRATOR)).sentence == (
        f"It acts as {ADMINISTRATOR} (Role): what that may is not in this review"
    )


def test_a_role_of_the_service_itself_is_nobodys_gain() -> None:
    linked = "arn:aws:iam::111111111111:role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/x"
    target = {"It": {"Type": "AWS::ApplicationAutoScaling::ScalableTarget", "Properties": {"RoleARN": linked}}}

    assert changes({}, target) == ()


@pytest.mark.parametrize(
    ("destination", "severity", "flags"),
    [
        ({"Bucket": "arn:aws:s3:::copy", "Account": OTHER_ACCOUNT}, "danger", {PermissionFlag.CROSS_ACCOUNT}),
        ({"Bucket": "arn:aws:s3:::copy"}, "warning", set()),
    ],
)
def test_a_bucket_that_is_copied_elsewhere_is_read_there(
    destination: Raw, severity: str, flags: set[PermissionFlag]
) -> None:
    copied = {
        "Type": "AWS::S3::Bucket",
        "Properties": {"ReplicationConfiguration": {"Rules": [{"Status": "Enabled", "Destination": destination}]}},
    }
    found = only({"Data": DATA}, {"Data": copied})

    assert found.severity == severity
    assert found.flags == flags
    assert "What is written to Data is now copied to arn:aws:s3:::copy" in found.sentence
    assert changes({"Data": copied}, {"Data": copied}) == ()


def test_a_provider_of_identities_is_looked_at() -> None:
    def provider(*clients: str) -> Raw:
        properties = {"Url": "https://token.actions.githubusercontent.com", "ClientIdList": list(clients)}
        return {"GitHub": {"Type": "AWS::IAM::OIDCProvider", "Properties": properties}}

    assert only({}, provider("sts.amazonaws.com")).severity == Severity.WARNING
    assert only(provider("sts.amazonaws.com"), provider("sts.amazonaws.com", "other")).actions == ("other",)
    assert changes(provider("a"), provider("a")) == ()


def test_what_is_shared_with_another_account_is_a_danger() -> None:
    def share(*principals: str) -> Raw:
        properties = {
            "Principals": list(principals),
            "ResourceArns": ["arn:aws:sagemaker:us-east-1:111111111111:hub/h"],
        }
        return {"Share": {"Type": "AWS::RAM::ResourceShare", "Properties": properties}}

    assert only(share(), share(OTHER_ACCOUNT)).flags == {PermissionFlag.CROSS_ACCOUNT}


def test_the_most_dangerous_comes_first_and_what_is_wider_before_what_is_narrower() -> None:
    found = changes(
        {"Data": DATA, "Role": role(allow("s3:ListBucket")), "Policy": bucket_policy(deny("s3:*", Principal="*"))},
        {"Data": DATA, "Role": role(allow("s3:GetObject", "arn:aws:s3:::a/*")), "Policy": bucket_policy()},
    )

    assert [(change.severity.value, change.direction) for change in found] == [
        ("danger", "wider"),
        ("warning", "wider"),
        ("notice", "narrower"),
    ]


def test_an_environment_that_is_new_is_all_wider_and_one_that_is_gone_stays_as_it_is() -> None:
    resources = {"Data": DATA, "Role": role(allow("s3:GetObject", "arn:aws:s3:::a/*"))}

    assert {change.direction for change in changes(None, resources)} == {"wider"}
    assert changes(resources, None) == ()
    assert changes(None, None) == ()


def test_a_stack_that_leaves_the_application_goes_on_allowing_what_it_allowed() -> None:
    before = assembly({"Role": role(allow("s3:GetObject"))}, stack="old")

    assert permission_changes(before, assembly({}, stack="new")) == ()
    assert [change.direction for change in permission_changes(before, assembly({}, stack="old"))] == ["narrower"]
