"""The difference of permissions against a plain evaluator of policies, which decides request by request."""

from __future__ import annotations

import fnmatch
import functools
import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sagestack.review.permissions import permission_changes

from tests.property_tests import examples
from tests.review_samples import assembly

Raw = dict[str, Any]

OTHER = "arn:aws:iam::222222222222:root"
OTHERS_ROLE = "arn:aws:iam::222222222222:role/reader"
OWN_ROLE = "arn:aws:iam::111111111111:role/reader"

ACTIONS = [
    "s3:GetObject",
    "s3:getobject",
    "s3:Get*",
    "s3:?etObject",
    "s3:PutObject",
    "s3:*",
    "*",
    "kms:Decrypt",
    "my:Own",
]
ASKED_ACTIONS = [
    "s3:GetObject",
    "s3:GetBucketAcl",
    "s3:GetWhatComesNext",
    "s3:SetObject",
    "s3:PutObject",
    "s3:DeleteBucket",
    "kms:Decrypt",
    "kms:Encrypt",
    "my:Own",
    "other:Thing",
]
RESOURCES = st.text("ab*?", min_size=1, max_size=3)
ASKED_RESOURCES = ["".join(each) for length in range(1, 6) for each in itertools.product("abc", repeat=length)]
EVERY_RESOURCE = (1 << len(ASKED_RESOURCES)) - 1
CONDITIONS = st.sampled_from(
    [
        {},
        {"StringEquals": {"k": "a"}},
        {"StringEquals": {"k": ["b", "a"]}},
        {"StringLike": {"k": "a*"}},
        {"StringNotEquals": {"k": "a"}},
        {"StringNotLike": {"K": ["*b", "c"]}},
        {"StringEqualsIfExists": {"k": "a"}},
        {"Bool": {"secure": "true"}},
        {"Bool": {"secure": False}},
        {"Null": {"k": "true"}},
        {"StringEquals": {"k": "a"}, "Bool": {"secure": "true"}},
    ]
)
CONTEXTS = [
    {"k": value, "secure": secure}
    for value in (None, "a", "b", "c", "ab", "ad", "db", "d")
    for secure in (None, "true", "false")
]
PRINCIPALS = ["*", "222222222222", OTHER, OTHERS_ROLE, OWN_ROLE]
ASKED_PRINCIPALS = ["arn:aws:iam::333333333333:role/x", "arn:aws:iam::222222222222:user/x", OTHERS_ROLE, OWN_ROLE]


@st.composite
def statements(draw: st.DrawFn, with_principal: bool = False) -> Raw:
    """One statement over a small alphabet, with lists, negations and conditions now and then."""
    chosen: Raw = {
        "Effect": draw(st.sampled_from(["Allow", "Allow", "Deny"])),
        draw(st.sampled_from(["Action", "Action", "Action", "NotAction"])): draw(
            st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=2)
        ),
        draw(st.sampled_from(["Resource", "Resource", "Resource", "NotResource"])): draw(
            st.lists(RESOURCES, min_size=1, max_size=2)
        ),
    }
    if condition := draw(CONDITIONS):
        chosen["Condition"] = condition
    if with_principal:
        chosen[draw(st.sampled_from(["Principal", "Principal", "NotPrincipal"]))] = {
            "AWS": draw(st.lists(st.sampled_from(PRINCIPALS), min_size=1, max_size=2))
        }
    return chosen


def listed(value: Any) -> list[str]:
    return [
        str(each).lower() if isinstance(each, bool) else each
        for each in (value if isinstance(value, list) else [value])
    ]


def holds(condition: Mapping[str, Mapping[str, Any]], context: Mapping[str, str | None]) -> bool:
    def one(how: str, key: str, values: list[str]) -> bool:
        value = context[key.lower()]
        if how == "Null":
            return (value is None) == (values == ["true"])
        if value is None:
            return how.endswith("IfExists") or "Not" in how
        found = any(fnmatch.fnmatchcase(value, each) if "Like" in how else value == each for each in values)
        return found != ("Not" in how)

    return all(one(how, key, listed(values)) for how, keys in condition.items() for key, values in keys.items())


def is_principal(wanted: str, principal: str) -> bool:
    account = wanted if wanted.isdigit() else wanted.split(":")[4] if wanted.endswith(":root") else None
    return wanted in ("*", principal) or (account is not None and principal.split(":")[4] == account)


@functools.lru_cache
def covered(pattern: str) -> int:
    """Which of the asked resources a pattern takes, a bit for each."""
    return sum(1 << place for place, text in enumerate(ASKED_RESOURCES) if fnmatch.fnmatchcase(text, pattern))


def speaks(statement: Raw, principal: str, action: str, context: Mapping[str, str | None]) -> int:
    """Of which of the asked resources the statement speaks to this principal, a bit for each."""

    def among(name: str, match: Callable[[str], bool], given: Sequence[str]) -> bool:
        return any(match(each) for each in given) != name.startswith("Not")

    for name, value in statement.items():
        if name.endswith("Principal") and not among(name, lambda each: is_principal(each, principal), value["AWS"]):
            return 0
        if name.endswith("Action") and not among(name, lambda each: takes(each, action), listed(value)):
            return 0
    if not holds(statement.get("Condition", {}), context):
        return 0
    name = "Resource" if "Resource" in statement else "NotResource"
    found = functools.reduce(operator.or_, [covered(each) for each in listed(statement[name])])
    return found if name == "Resource" else EVERY_RESOURCE & ~found


@functools.lru_cache
def takes(pattern: str, action: str) -> bool:
    return fnmatch.fnmatchcase(action.lower(), pattern.lower())


def directions(before: Sequence[Raw], after: Sequence[Raw], principals: Sequence[str]) -> set[str]:
    """`wider` if some request is denied no more, or allowed and was not; `narrower` the other way round."""
    found = set()
    # What no condition reads makes no difference.
    contexts = CONTEXTS if any("Condition" in statement for statement in [*before, *after]) else CONTEXTS[:1]
    for principal, action, context in itertools.product(principals, ASKED_ACTIONS, contexts):
        (denied, allowed), (denies, allows) = (
            tuple(
                functools.reduce(
                    operator.or_,
                    [speaks(each, principal, action, context) for each in policy if each["Effect"] == effect],
                    0,
                )
                for effect in ("Deny", "Allow")
            )
            for policy in (before, after)
        )
        if denied & ~denies or allows & ~denies & ~(allowed & ~denied):
            found.add("wider")
        if denies & ~denied or allowed & ~denied & ~(allows & ~denies):
            found.add("narrower")
    return found


TRUST = {
    "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}]
}
ROLE: Raw = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": TRUST}}


def identity(policy: Sequence[Raw]) -> Any:
    attached = {"PolicyDocument": {"Statement": list(policy)}, "Roles": [{"Ref": "Role"}]}
    return assembly({"Role": ROLE, "Policy": {"Type": "AWS::IAM::Policy", "Properties": attached}})


def guarded(policy: Sequence[Raw]) -> Any:
    attached = {"PolicyDocument": {"Statement": list(policy)}, "Bucket": {"Ref": "Bucket"}}
    return assembly(
        {
            "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {}},
            "Policy": {"Type": "AWS::S3::BucketPolicy", "Properties": attached},
        }
    )


@pytest.mark.long
@given(st.lists(statements(), max_size=3), st.lists(statements(), max_size=3))
@settings(max_examples=examples(0.6), deadline=None)
def test_a_role_is_wider_where_some_request_is_decided_more_freely_and_nowhere_else(
    before: list[Raw], after: list[Raw]
) -> None:
    found = permission_changes(identity(before), identity(after))

    assert {change.direction for change in found} == directions(before, after, [OWN_ROLE])


@pytest.mark.long
@given(st.lists(statements(with_principal=True), max_size=2), st.lists(statements(with_principal=True), max_size=2))
@settings(max_examples=examples(0.6), deadline=None)
def test_a_bucket_is_wider_where_some_request_is_decided_more_freely_and_nowhere_else(
    before: list[Raw], after: list[Raw]
) -> None:
    found = permission_changes(guarded(before), guarded(after))

    assert {change.direction for change in found} == directions(before, after, ASKED_PRINCIPALS)


@given(st.lists(statements(), min_size=1, max_size=3), st.data())
@settings(max_examples=examples(0.4), deadline=None)
def test_what_is_only_written_otherwise_is_no_change(policy: list[Raw], data: st.DataObject) -> None:
    rewritten = []
    for number, statement in enumerate(data.draw(st.permutations(policy))):
        key = "Action" if "Action" in statement else "NotAction"
        statement = {**statement, "Sid": f"Other{number}", key: [each.upper() for each in statement[key]][::-1]}
        if "Resource" in statement and data.draw(st.booleans()):
            # One statement for each resource is the same as one for all of them.
            rewritten += [{**statement, "Resource": resource} for resource in statement["Resource"]]
        else:
            rewritten += [statement, statement]

    assert permission_changes(identity(policy), identity(rewritten)) == ()
