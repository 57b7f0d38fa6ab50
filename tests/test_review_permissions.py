"""What a reviewer is told about permissions: what is allowed that was not, and nothing about how it is written."""

from __future__ import annotations

import functools
import re
from typing import Any

import pytest
from sagestack.review.results import PermissionFlag, Severity
from sagestack.settings import PROJECT_ROOT

from tests.review_policies import (
    DATA,
    DATA_ARN,
    OBJECTS,
    OTHER_ACCOUNT,
    OWN_KEY_POLICY,
    ROOT,
    Raw,
    allow,
    bucket_policy,
    changes,
    deny,
    document,
    key,
    only,
    policy,
    role,
    trust,
)

READ = allow("s3:GetObject", OBJECTS)
ASSETS = "arn:aws:s3:::cdk-hnb659fds-assets-111111111111-us-east-1"
FIRST_PRINCIPAL = f"arn:aws:iam::{OTHER_ACCOUNT}:role/reader"


def with_role(*statements: Raw, **properties: Any) -> Raw:
    return {"Data": DATA, "Role": role(*statements, **properties)}


def with_policy(*statements: Raw) -> Raw:
    return {"Data": DATA, "Policy": bucket_policy(*statements)}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(
            with_role(allow(["s3:GetObject", "s3:PutObject"], OBJECTS)),
            with_role(allow("s3:PutObject", OBJECTS), {**READ, "Sid": "Read"}),
            id="a statement is split and the parts have another order",
        ),
        pytest.param(
            with_role(READ), {**with_role(), "Policy": policy("Role", READ)}, id="inline becomes a policy of its own"
        ),
        pytest.param(
            with_role(allow("s3:GetObject", f"{ASSETS}/{'a' * 64}.sh")),
            with_role(allow("s3:GetObject", f"{ASSETS}/{'b' * 64}.sh")),
            id="a published file has another content, and so another name",
        ),
        pytest.param(
            with_role(READ),
            {**with_role(), "Policy": policy("Role", READ, kind="AWS::IAM::ManagedPolicy")},
            id="inline becomes a managed policy that names the role",
        ),
        pytest.param(
            with_role(READ),
            {
                **with_role(ManagedPolicyArns=[{"Ref": "Policy"}]),
                "Policy": {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": document(READ)}},
            },
            id="inline becomes a managed policy that the role names",
        ),
        pytest.param(
            with_role(READ),
            {
                **with_role(),
                "Policy": {
                    "Type": "AWS::IAM::RolePolicy",
                    "Properties": {"RoleName": {"Ref": "Role"}, "PolicyDocument": document(READ)},
                },
            },
            id="inline becomes a RolePolicy",
        ),
        pytest.param(
            with_role(READ), with_role(allow(["S3:getobject"], [OBJECTS])), id="case of actions, lists of one"
        ),
        pytest.param(
            with_role(READ), with_role(allow("s3:GetObject", {"Fn::Sub": "${Data.Arn}/*"})), id="Sub instead of Join"
        ),
        pytest.param(
            with_role(READ),
            with_role(allow("s3:GetObject", {"Fn::Sub": "arn:${AWS::Partition}:s3:::${Data}/*"})),
            id="the bucket's name in an ARN instead of its ARN",
        ),
        pytest.param(
            with_role(allow("s3:Get*", OBJECTS)),
            with_role(allow(["s3:Get*", "s3:GetObject"], [OBJECTS, {"Fn::Sub": "${Data.Arn}/train/*"}])),
            id="what a wildcard includes is written as well",
        ),
        pytest.param(
            with_role(
                allow("s3:GetObject", OBJECTS, Condition={"StringEquals": {"aws:SourceVpc": ["vpc-2", "vpc-1"]}})
            ),
            with_role(
                allow("s3:GetObject", OBJECTS, Condition={"StringEquals": {"AWS:SourceVpc": "vpc-1"}}),
                allow("s3:GetObject", OBJECTS, Condition={"StringEquals": {"aws:sourceVpc": ["vpc-2"]}}),
            ),
            id="values of a condition in two statements",
        ),
        pytest.param(
            with_policy(deny("s3:*", OBJECTS, Principal="*", Condition={"Bool": {"aws:SecureTransport": "false"}})),
            with_policy(
                deny("s3:*", OBJECTS, Principal={"AWS": "*"}, Condition={"Bool": {"aws:SecureTransport": False}})
            ),
            id="anyone written otherwise",
        ),
        pytest.param(
            {"Key": key(OWN_KEY_POLICY)},
            {"Key": key(allow("kms:*", Principal={"AWS": "111111111111"}))},
            id="an account by its number",
        ),
        pytest.param(
            with_role(READ), {"Data": DATA, "Renamed": role(READ)}, id="a role that was renamed with its policy"
        ),
        pytest.param(
            {"Data": DATA, "Role": role(READ), "Policy": bucket_policy(deny("s3:*", OBJECTS, Principal="*"))},
            {
                "Renamed": DATA,
                "Role": role(allow("s3:GetObject", {"Fn::Sub": "${Renamed.Arn}/*"})),
                "Policy": bucket_policy(
                    deny("s3:*", {"Fn::Sub": "${Renamed.Arn}/*"}, Principal="*"), bucket={"Ref": "Renamed"}
                ),
            },
            id="a bucket that was renamed",
        ),
        pytest.param(with_role(READ, Description="Reads"), with_role(READ, Description="Reads on"), id="a description"),
    ],
)
def test_it_is_silent_about_how_a_permission_is_written(before: Raw, after: Raw) -> None:
    assert [change.sentence for change in changes(before, after)] == []
    assert [change.sentence for change in changes(after, before)] == []


def test_what_a_role_may_do_on_more_than_before_is_said_with_where_it_could_before() -> None:
    own = {"Key": key(OWN_KEY_POLICY)}
    found = changes(
        {**own, "Role": role(allow("kms:Decrypt", {"Fn::GetAtt": ["Key", "Arn"]}))},
        {**own, "Role": role(allow("kms:Decrypt"))},
    )

    assert [change.sentence for change in found] == ["Role may now kms:Decrypt on any key, before only on Key"]
    assert found[0].flags == {PermissionFlag.NEW_WILDCARD}
    assert (found[0].direction, found[0].actions, found[0].targets) == ("wider", ("kms:Decrypt",), ("*",))


def test_a_new_action_has_its_access_level() -> None:
    change = only(with_role(READ), with_role(allow(["s3:GetObject", "s3:PutObject"], OBJECTS)))

    assert change.sentence == "Role may now s3:PutObject on Data/*"
    assert (change.actions, change.access_levels) == (("s3:PutObject",), ("Write",))
    assert (change.severity, change.resource.logical_id, change.principal) == (Severity.WARNING, "Role", "Role")


def test_an_action_that_nobody_knows_is_called_unknown_and_looked_at() -> None:
    change = only(with_role(READ), with_role(READ, allow("s3:ComesNextYear", OBJECTS)))

    assert change.access_levels == ("Unknown",)
    assert change.severity == Severity.WARNING


def test_an_action_that_nobody_knows_is_looked_at_on_a_new_role_as_well() -> None:
    found = changes({"Data": DATA}, with_role(allow("s3:ComesNextYear", OBJECTS)))

    assert found[0].severity == documented()["an access level is `Unknown`"]


def test_an_allow_that_the_same_role_is_denied_gives_nothing() -> None:
    found = changes(with_role(), with_role(allow("s3:PutObject", OBJECTS), deny("s3:Put*", "*")))

    assert [change.sentence for change in found] == ["Role: s3:Put* on any bucket is now denied"]


def test_one_character_of_a_pattern_is_no_name_that_nobody_knows_yet() -> None:
    change = only(
        with_role(allow("s3:GetObject", "arn:aws:s3:::?/*")),
        with_role(allow("s3:GetObject", ["arn:aws:s3:::?/*", OBJECTS])),
    )

    assert (change.direction, change.targets) == ("wider", ("Data/*",))


def test_a_condition_that_absence_satisfies_is_wider_than_one_that_needs_the_key() -> None:
    def bound(operator: str) -> Raw:
        return with_role(allow("s3:GetObject", OBJECTS, Condition={operator: {"aws:SourceVpc": "vpc-1"}}))

    assert [each.direction for each in changes(bound("StringEquals"), bound("StringEqualsIfExists"))] == ["wider"]
    assert [each.direction for each in changes(bound("StringEqualsIfExists"), bound("StringEquals"))] == ["narrower"]


def test_a_wildcard_is_wider_than_all_that_it_includes_today() -> None:
    from sagestack.review.permissions.actions import known_actions

    everything = with_role(allow(sorted(known_actions("sqs:*")), "arn:aws:sqs:us-east-1:111111111111:queue"))
    change = only(everything, with_role(allow("sqs:*", "arn:aws:sqs:us-east-1:111111111111:queue")))

    assert change.actions == ("sqs:*",)
    assert change.flags >= {PermissionFlag.NEW_WILDCARD}


def test_what_is_lost_is_narrower_and_a_notice() -> None:
    change = only(with_role(READ, allow("s3:PutObject", OBJECTS)), with_role(READ))

    assert (change.direction, change.severity, change.flags) == ("narrower", Severity.NOTICE, frozenset())
    assert change.sentence == "Role may no longer s3:PutObject on Data/*"


def test_a_condition_that_is_added_narrows_and_one_that_is_taken_away_widens() -> None:
    free = with_role(allow("s3:GetObject", OBJECTS))
    bound = with_role(allow("s3:GetObject", OBJECTS, Condition={"StringEquals": {"aws:SourceVpc": "vpc-1"}}))

    wider, narrower = only(bound, free), only(free, bound)

    assert wider.sentence == "Role may now s3:GetObject on Data/*, before only if aws:SourceVpc is vpc-1"
    assert narrower.sentence == "Role may no longer s3:GetObject on Data/*, only if aws:SourceVpc is vpc-1"
    assert (wider.direction, narrower.direction) == ("wider", "narrower")


def test_another_value_in_a_condition_is_wider_for_that_value() -> None:
    def within(*vpcs: str) -> Raw:
        return with_role(allow("s3:GetObject", OBJECTS, Condition={"StringEquals": {"aws:SourceVpc": list(vpcs)}}))

    assert [each.direction for each in changes(within("vpc-1"), within("vpc-1", "vpc-2"))] == ["wider"]
    assert {each.direction for each in changes(within("vpc-1"), within("vpc-2"))} == {"wider", "narrower"}


@pytest.mark.parametrize(
    ("condition", "wider"),
    [
        ({"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "192.168.0.0/16"]}}, {"wider"}),
        ({"IpAddress": {"aws:SourceIp": {"Ref": "Office"}}}, {"wider", "narrower"}),
        ({"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, {"wider", "narrower"}),
        ({"NumericLessThan": {"s3:max-keys": "10"}}, {"wider", "narrower"}),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a"]}}, {"wider", "narrower"}),
    ],
)
def test_what_cannot_be_computed_counts_as_changed(condition: Raw, wider: set[str]) -> None:
    before = with_role(allow("s3:GetObject", OBJECTS, Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}))
    after = with_role(allow("s3:GetObject", OBJECTS, Condition=condition))

    assert {each.direction for each in changes(before, after)} == wider


@pytest.mark.parametrize(
    ("before", "after", "directions"),
    [
        pytest.param(["203.0.113.0/24"], ["203.0.0.0/16"], ["wider"], id="a larger network"),
        pytest.param(["203.0.113.0/24"], ["203.0.113.0/25"], ["narrower"], id="half of it"),
        pytest.param(["203.0.113.0/24"], ["203.0.113.0/25", "203.0.113.128/25"], [], id="its two halves"),
        pytest.param(["203.0.113.7"], ["203.0.113.7/32"], [], id="an address"),
        pytest.param(["203.0.113.0/24"], ["198.51.100.0/24"], ["wider", "narrower"], id="another"),
        pytest.param(["2001:db8::/48"], ["2001:db8::/32"], ["wider"], id="of IPv6"),
        pytest.param(["203.0.113.0/24"], ["0.0.0.0/0"], ["wider"], id="everywhere"),
    ],
)
@pytest.mark.parametrize("effect", ["allow", "deny"])
def test_networks_are_compared_by_their_addresses(
    effect: str, before: list[str], after: list[str], directions: list[str]
) -> None:
    def within(networks: list[str]) -> Raw:
        if effect == "allow":
            return with_role(allow("s3:GetObject", OBJECTS, Condition={"IpAddress": {"aws:SourceIp": networks}}))
        guard = deny("s3:GetObject", OBJECTS, Condition={"NotIpAddressIfExists": {"aws:SourceIp": networks}})
        return with_role(allow("s3:GetObject", OBJECTS), guard)

    assert [each.direction for each in changes(within(before), within(after))] == directions


def test_all_but_some_actions_are_told_as_such_and_manage_permissions() -> None:
    found = only(with_role(), with_role({"Effect": "Allow", "NotAction": ["iam:*"], "Resource": "*"}))

    assert found.sentence == "Role may now do anything but iam:* on anything"
    assert found.severity == "danger"
    assert found.flags == {PermissionFlag.NEW_WILDCARD, PermissionFlag.PERMISSIONS_MANAGEMENT}


@pytest.mark.parametrize(
    "condition",
    [
        {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}},
        {"StringEquals": {"aws:SourceVpc": "vpc-1"}},
    ],
)
def test_a_role_that_anyone_may_take_from_a_network_is_open_to_other_accounts(condition: Raw) -> None:
    before, after = (
        {"Role": role(AssumeRolePolicyDocument=each)}
        for each in (trust({"Service": "lambda.amazonaws.com"}), trust({"AWS": "*"}, **condition))
    )
    (found,) = [each for each in changes(before, after) if each.direction == "wider"]

    assert found.severity == "danger"
    assert found.flags == {PermissionFlag.CROSS_ACCOUNT}


def test_many_conditions_are_compared_without_trying_every_request() -> None:
    def conditioned(*keys: int) -> list[Raw]:
        return [
            allow("s3:GetObject", OBJECTS, Condition={"StringEquals": {f"aws:RequestTag/{key}": ["a", "b"]}})
            for key in keys
        ]

    assert changes(with_role(*conditioned(*range(9))), with_role(*conditioned(*reversed(range(9))))) == ()
    (change,) = changes(with_role(*conditioned(*range(9))), with_role(*conditioned(*range(10))))
    assert change.conditions == ("aws:RequestTag/9 is a or b",)


def test_a_denial_that_is_lost_is_a_danger() -> None:
    insecure = deny("s3:*", OBJECTS, Principal="*", Condition={"Bool": {"aws:SecureTransport": "false"}})
    change = only(with_policy(insecure), {"Data": DATA})

    assert change.sentence == "s3:* on Data/* is no longer denied if aws:SecureTransport is false"
    assert (change.direction, change.severity) == ("wider", Severity.DANGER)
    assert change.flags == {PermissionFlag.LOST_DENIAL}


def test_a_denial_that_is_weakened_is_lost_in_part() -> None:
    change = only(
        with_role(allow("s3:*", OBJECTS), deny(["s3:DeleteObject", "s3:PutObject"], OBJECTS)),
        with_role(allow("s3:*", OBJECTS), deny("s3:DeleteObject", OBJECTS)),
    )

    assert change.sentence == "Role: s3:PutObject on Data/* is no longer denied, and this allows it: s3:* on Data/*"


def test_a_denial_that_is_added_is_narrower() -> None:
    change = only(with_policy(), with_policy(deny("s3:DeleteBucket", DATA_ARN, Principal="*")))

    assert (change.direction, change.severity) == ("narrower", Severity.NOTICE)
    assert change.sentence == "s3:DeleteBucket on Data is now denied"


def test_a_denial_that_goes_with_its_bucket_lets_nobody_in() -> None:
    assert changes(with_policy(deny("s3:*", OBJECTS, Principal="*")), {}) == ()


def test_everything_but_is_wider_where_less_is_excepted() -> None:
    def but(*actions: str) -> Raw:
        return with_role({"Effect": "Allow", "NotAction": list(actions), "Resource": "*"})

    change = only(but("iam:*", "kms:*"), but("iam:*"))

    assert change.direction == "wider"
    assert change.severity == Severity.DANGER
    assert any(action.startswith("kms:") for action in change.actions)
    assert {each.direction for each in changes(but("iam:*"), but("iam:*", "kms:*"))} == {"narrower"}


def test_a_statement_under_a_condition_of_the_template_is_read() -> None:
    maybe = {"Fn::If": ["IsProd", READ, {"Ref": "AWS::NoValue"}]}

    assert changes(with_role(maybe), with_role(maybe)) == ()
    assert only(with_role(maybe), with_role(READ)).direction == "wider"


def test_a_document_that_cannot_be_read_is_never_called_harmless() -> None:
    def given(parameter: str) -> Raw:
        properties = {"PolicyDocument": {"Ref": parameter}, "Roles": [{"Ref": "Role"}]}
        return {"Role": role(), "Policy": {"Type": "AWS::IAM::Policy", "Properties": properties}}

    assert changes(given("Document"), given("Document")) == ()
    change = only(given("Document"), given("Another"))
    assert (change.direction, change.severity, change.access_levels) == ("wider", Severity.WARNING, ("Unknown",))
    assert "cannot be read before it is deployed" in change.sentence


def test_a_new_role_tells_all_that_it_may_in_rows_of_a_service_and_its_targets() -> None:
    found = changes(
        {"Data": DATA},
        with_role(allow(["s3:GetObject", "logs:PutLogEvents"], OBJECTS), allow("s3:ListBucket", DATA_ARN)),
    )

    assert [change.sentence for change in found] == [
        "Role (a new role) may logs:PutLogEvents on Data/*",
        "Role (a new role) may s3:GetObject on Data/*",
        "Role (a new role) may s3:ListBucket on Data",
        "Role (a new role) may be assumed by lambda.amazonaws.com",
    ]


def test_a_role_that_is_gone_is_one_line() -> None:
    change = only(with_role(READ, allow("kms:Decrypt")), {"Data": DATA})

    assert (change.direction, change.severity) == ("narrower", Severity.NOTICE)
    assert change.sentence == "Role is gone, with its permissions in kms and s3"


def test_a_role_that_was_renamed_and_widened_shows_only_what_is_wider() -> None:
    before = with_role(READ, allow("s3:ListBucket", DATA_ARN), allow("s3:GetBucketLocation", DATA_ARN))
    after = {
        "Data": DATA,
        "Renamed": role(
            READ,
            allow("s3:ListBucket", DATA_ARN),
            allow("s3:GetBucketLocation", DATA_ARN),
            allow("s3:PutObject", OBJECTS),
        ),
    }

    assert [change.sentence for change in changes(before, after)] == ["Renamed may now s3:PutObject on Data/*"]


def test_another_role_is_not_taken_for_the_old_one_renamed() -> None:
    found = changes(
        {"Reader": role(allow("s3:GetObject", "arn:aws:s3:::a/*"))},
        {"Invoker": role(allow("lambda:InvokeFunction", "arn:aws:lambda:us-east-1:111111111111:function:f"))},
    )

    assert any(change.sentence.startswith("Invoker (a new role) may lambda:InvokeFunction") for change in found)
    assert any(change.sentence.startswith("Reader is gone") for change in found)


@functools.cache
def documented() -> dict[str, str]:
    """What happens, and how grave the reference says that it is."""
    text = (PROJECT_ROOT / "docs/reference/review.md").read_text(encoding="utf-8")
    table = text.partition("### How grave a permission is")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| (.+?) \| (danger|warning|notice) \|$", table, re.MULTILINE))


OWN_QUEUE = {"Fn::GetAtt": ["Queue", "Arn"]}
QUEUE: Raw = {"Type": "AWS::SQS::Queue", "Properties": {}}


@pytest.mark.parametrize(
    ("rule", "statement"),
    [
        ("reads one bucket", allow("s3:GetObject", OBJECTS)),
        ("uses a key", allow(["kms:Decrypt", "kms:GenerateDataKey*"], "arn:aws:kms:*:*:key/1")),
        ("writes its log", allow("logs:PutLogEvents", "arn:aws:logs:*:*:log-group:a:*")),
        ("takes an action that no resource limits", allow("ecr:GetAuthorizationToken")),
        ("writes what is new with it", allow("sqs:SendMessage", OWN_QUEUE)),
        ("writes what is there", allow("s3:PutObject", OBJECTS)),
        (
            "hands on what it may, on named resources and under a condition",
            allow(
                "kms:CreateGrant", "arn:aws:kms:*:*:key/1", Condition={"Bool": {"kms:GrantIsForAWSResource": "true"}}
            ),
        ),
        ("reads everything of a service", allow("s3:GetObject")),
        ("passes any role", allow("iam:PassRole", "arn:aws:iam::111111111111:role/*")),
        ("manages permissions without a condition", allow("s3:PutBucketPolicy", DATA_ARN)),
        ("writes everything of a service", allow("s3:PutObject", "arn:aws:s3:::*/*")),
        ("does everything", allow("*")),
        (
            "writes everything with a tag",
            allow("ec2:DeleteVolume", Condition={"StringEquals": {"aws:ResourceTag/team": "ml"}}),
        ),
        (
            "writes everything, by an encrypted connection",
            allow("ec2:DeleteVolume", Condition={"Bool": {"aws:SecureTransport": "true"}}),
        ),
        (
            "makes what has no name yet in one subnet",
            allow(
                "ec2:CreateNetworkInterface", ["arn:aws:ec2:*:*:subnet/subnet-1", "arn:aws:ec2:*:*:network-interface/*"]
            ),
        ),
    ],
)
def test_how_much_a_reviewer_should_care_about_what_a_new_role_may(rule: str, statement: Raw) -> None:
    found = changes({"Data": DATA}, {**with_role(statement), "Queue": QUEUE})

    assert found[0].severity == documented()[f"a new role {rule}"], found[0].sentence


@pytest.mark.parametrize(
    ("rule", "statement"),
    [
        ("lists", allow("s3:ListBucket", DATA_ARN)),
        ("reads", allow("s3:GetObject", OBJECTS)),
        ("writes", allow("s3:PutObject", OBJECTS)),
        ("does all to one bucket", allow("s3:*", OBJECTS)),
        ("writes everything of a service", allow("s3:PutObject")),
        ("manages permissions", allow("iam:AttachRolePolicy", "arn:aws:iam::111111111111:role/r")),
    ],
)
def test_how_much_a_reviewer_should_care_about_what_a_role_may_now(rule: str, statement: Raw) -> None:
    found = changes(with_role(), with_role(statement))

    assert found[0].severity == documented()[f"a role that is there now also {rule}"], found[0].sentence


@pytest.mark.parametrize(
    ("principal", "condition", "flags", "severity"),
    [
        pytest.param("*", {}, {PermissionFlag.PUBLIC}, "danger", id="anyone"),
        pytest.param(
            {"AWS": "*"}, {"StringLike": {"aws:SourceVpc": "vpc-*"}}, {PermissionFlag.PUBLIC}, "danger", id="any VPC"
        ),
        pytest.param(
            "*", {"IpAddress": {"aws:SourceIp": "0.0.0.0/1"}}, {PermissionFlag.PUBLIC}, "danger", id="half the internet"
        ),
        pytest.param("*", {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}, set(), "warning", id="an office"),
        pytest.param("*", {"StringEquals": {"aws:SourceVpce": "vpce-1"}}, set(), "warning", id="a VPC endpoint"),
        pytest.param(
            "*",
            {"StringEquals": {"aws:PrincipalOrgID": "o-1"}},
            {PermissionFlag.CROSS_ACCOUNT},
            "danger",
            id="an organization",
        ),
        pytest.param(
            "*", {"StringEquals": {"aws:PrincipalAccount": "111111111111"}}, set(), "warning", id="this account"
        ),
        pytest.param(
            "*", {"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}}, {PermissionFlag.PUBLIC}, "danger", id="all but one"
        ),
        pytest.param({"AWS": OTHER_ACCOUNT}, {}, {PermissionFlag.CROSS_ACCOUNT}, "danger", id="another account"),
        pytest.param(
            {"AWS": FIRST_PRINCIPAL}, {}, {PermissionFlag.CROSS_ACCOUNT}, "danger", id="a role of another account"
        ),
        pytest.param({"AWS": ROOT}, {}, set(), "warning", id="the account itself"),
        pytest.param({"AWS": {"Fn::GetAtt": ["Role", "Arn"]}}, {}, set(), "warning", id="a role of this account"),
        pytest.param({"Service": "logging.s3.amazonaws.com"}, {}, set(), "warning", id="a service"),
        pytest.param(
            {"Service": "s3.amazonaws.com"},
            {"StringEquals": {"aws:SourceAccount": OTHER_ACCOUNT}},
            {PermissionFlag.CROSS_ACCOUNT},
            "danger",
            id="a service for another account",
        ),
    ],
)
def test_who_is_let_into_a_bucket(principal: Any, condition: Raw, flags: set[PermissionFlag], severity: str) -> None:
    statement = allow("s3:GetObject", OBJECTS, Principal=principal, **({"Condition": condition} if condition else {}))
    before = {"Data": DATA, "Role": role()}
    change = only(before, {**before, "Policy": bucket_policy(statement)})

    assert (change.kind, change.resource.logical_id) == ("resource", "Data")
    assert (set(change.flags), change.severity) == (flags, severity)


def test_people_are_named_as_a_reviewer_knows_them() -> None:
    before = {"Data": DATA, "Role": role()}
    said = [
        only(before, {**before, "Policy": bucket_policy(allow("s3:GetObject", OBJECTS, Principal=principal))}).sentence
        for principal in ("*", {"AWS": OTHER_ACCOUNT}, {"AWS": ROOT}, {"AWS": {"Fn::GetAtt": ["Role", "Arn"]}})
    ]

    assert said == [
        "anyone may now s3:GetObject on Data/*",
        f"account {OTHER_ACCOUNT} may now s3:GetObject on Data/*",
        "this account (111111111111) may now s3:GetObject on Data/*",
        "Role may now s3:GetObject on Data/*",
    ]


def test_a_role_of_an_account_that_is_let_in_already_is_nothing_new() -> None:
    every = with_policy(allow("s3:GetObject", OBJECTS, Principal={"AWS": OTHER_ACCOUNT}))
    one = with_policy(allow("s3:GetObject", OBJECTS, Principal={"AWS": [FIRST_PRINCIPAL, OTHER_ACCOUNT]}))

    assert changes(every, one) == ()


def test_the_policy_of_a_new_key_hands_the_decision_to_the_account_and_that_is_a_notice() -> None:
    change = only({}, {"Key": key(OWN_KEY_POLICY)})

    assert (change.kind, change.severity, change.flags) == ("key", Severity.NOTICE, frozenset())
    assert change.sentence == "this account (111111111111) may now kms:* on Key"


def test_a_key_that_another_account_may_use_is_a_danger() -> None:
    foreign = allow("kms:Decrypt", Principal={"AWS": OTHER_ACCOUNT})
    change = only({"Key": key(OWN_KEY_POLICY)}, {"Key": key(OWN_KEY_POLICY, foreign)})

    assert (change.kind, change.severity) == ("key", Severity.DANGER)
    assert change.sentence == f"account {OTHER_ACCOUNT} may now kms:Decrypt on Key"


GITHUB = {"Federated": "arn:aws:iam::111111111111:oidc-provider/token.actions.githubusercontent.com"}
FOR_AWS = {"token.actions.githubusercontent.com:aud": "sts.amazonaws.com"}
ONE_REPOSITORY = {"token.actions.githubusercontent.com:sub": "repo:team/ml:environment:prod"}


@pytest.mark.parametrize(
    ("document", "flags", "severity"),
    [
        pytest.param(trust({"Service": "sagemaker.amazonaws.com"}), set(), "warning", id="another service"),
        pytest.param(trust({"AWS": ROOT}), set(), "warning", id="the account itself"),
        pytest.param(trust({"AWS": OTHER_ACCOUNT}), {PermissionFlag.CROSS_ACCOUNT}, "danger", id="another account"),
        pytest.param(trust({"AWS": "*"}), {PermissionFlag.PUBLIC}, "danger", id="anyone"),
        pytest.param(
            trust({"AWS": "*"}, StringEquals={"sts:ExternalId": "x"}),
            {PermissionFlag.PUBLIC},
            "danger",
            id="who knows a word",
        ),
        pytest.param(
            trust(GITHUB, StringEquals=FOR_AWS), {PermissionFlag.PUBLIC}, "danger", id="any repository of GitHub"
        ),
        pytest.param(
            trust(GITHUB, StringLike={"token.actions.githubusercontent.com:sub": "repo:*"}, StringEquals=FOR_AWS),
            {PermissionFlag.PUBLIC},
            "danger",
            id="any repository, in other words",
        ),
        pytest.param(trust(GITHUB, StringEquals={**FOR_AWS, **ONE_REPOSITORY}), set(), "warning", id="one repository"),
    ],
)
def test_who_may_assume_a_role_now(document: Raw, flags: set[PermissionFlag], severity: str) -> None:
    before = role()["Properties"]["AssumeRolePolicyDocument"]
    both = {"Statement": [*before["Statement"], *document["Statement"]]}
    change = only({"Role": role()}, {"Role": role(AssumeRolePolicyDocument=both)})

    assert (change.kind, change.direction) == ("trust", "wider")
    assert (set(change.flags), change.severity) == (flags, severity)
    assert "may now assume Role" in change.sentence


def test_a_service_that_assumes_a_new_role_is_a_notice_and_another_account_a_danger() -> None:
    assert only({}, {"Role": role()}).severity == Severity.NOTICE
    found = only({}, {"Role": role(AssumeRolePolicyDocument=trust({"AWS": OTHER_ACCOUNT}))})
    assert found.sentence == f"Role (a new role) may be assumed by account {OTHER_ACCOUNT}"
    assert found.severity == Severity.DANGER
