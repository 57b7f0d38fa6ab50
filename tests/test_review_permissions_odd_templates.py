"""Templates that nobody here wrote: whatever stands where a policy is expected, a review is made, and changes are not missed."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property_tests import examples
from tests.review_policies import (
    DATA,
    OBJECTS,
    OWN_KEY_POLICY,
    Raw,
    allow,
    bucket_policy,
    changes,
    deny,
    document,
    key,
    role,
)

ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        {"Fn::If": ["IsProd", {"Ref": "Data"}, {"Ref": "AWS::NoValue"}]},
        {"Fn::If": ["IsProd", [{"Ref": "Nothing"}], "text"]},
        {"Fn::FindInMap": ["Map", {"Ref": "AWS::Region"}, "Name"]},
        {"Fn::Select": [0, {"Fn::GetAZs": ""}]},
        {"Fn::Transform": {"Name": "AWS::Include", "Parameters": {}}},
        {"Fn::GetAtt": "Data.Arn"},
        {"Fn::Sub": ["${One}-${Data.Arn}-${!aws:username}", {"One": {"Ref": "Nothing"}}]},
        {"Ref": "AWS::NoValue"},
        {"Fn::ImportValue": {"Fn::Sub": "${AWS::StackName}-Export"}},
        {},
        [],
        "",
        "*",
        7,
        True,
        None,
    ]
)
TEMPLATE: Raw = {
    "Data": DATA,
    "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"PublicAccessBlockConfiguration": {"BlockPublicAcls": True}}},
    "Role": role(
        allow("s3:GetObject", OBJECTS, Condition={"Bool": {"a": "true"}}), ManagedPolicyArns=["a"], Groups=["g"]
    ),
    "Policy": bucket_policy(deny("s3:*", OBJECTS, Principal={"AWS": "*"})),
    "Managed": {
        "Type": "AWS::IAM::ManagedPolicy",
        "Properties": {"PolicyDocument": document(allow("*")), "Roles": ["r"]},
    },
    "Key": key(OWN_KEY_POLICY),
    "Logs": {"Type": "AWS::Logs::ResourcePolicy", "Properties": {"PolicyDocument": json.dumps(document(allow("*")))}},
    "Invoke": {
        "Type": "AWS::Lambda::Permission",
        "Properties": {"FunctionName": "f", "Action": "lambda:InvokeFunction", "Principal": "1", "SourceArn": "a"},
    },
    "Bus": {
        "Type": "AWS::Events::EventBusPolicy",
        "Properties": {"Principal": "*", "Condition": {"Type": "StringEquals", "Key": "a", "Value": "b"}},
    },
    "Group": {
        "Type": "AWS::EC2::SecurityGroup",
        "Properties": {
            "SecurityGroupIngress": [{"IpProtocol": "tcp", "FromPort": 1, "ToPort": 2, "CidrIp": "10.0.0.0/8"}],
            "SecurityGroupEgress": [],
        },
    },
    "Pull": {
        "Type": "Custom::RepositoryPolicyStatement",
        "Properties": {"RepositoryName": "r", "Account": "222222222222"},
    },
    "Share": {"Type": "AWS::RAM::ResourceShare", "Properties": {"Principals": ["a"], "ResourceArns": ["b"]}},
    "Provider": {"Type": "AWS::IAM::OIDCProvider", "Properties": {"Url": "https://a", "ClientIdList": ["a"]}},
    "Door": {"Type": "AWS::Lambda::Url", "Properties": {"AuthType": "AWS_IAM"}},
    "Table": {
        "Type": "AWS::DynamoDB::Table",
        "Properties": {"ResourcePolicy": {"PolicyDocument": document(allow("*"))}},
    },
}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place inside the properties of a template's resources."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [path] if len(path) > 2 else []
    return found + [
        place for key, each in inner for place in places(each, (*path, key)) if key != "Type" or len(path) > 1
    ]


@pytest.mark.long
@given(st.sampled_from(places(TEMPLATE)), ODD)
@settings(max_examples=examples(0.5), deadline=None)
def test_an_odd_value_anywhere_is_no_error(place: tuple[Any, ...], odd: Any) -> None:
    template = copy.deepcopy(TEMPLATE)
    inside = template
    for key_ in place[:-1]:
        inside = inside[key_]
    inside[place[-1]] = odd

    assert changes(template, template) == ()
    for before, after in ((TEMPLATE, template), (template, TEMPLATE), ({}, template), (template, {})):
        for change in changes(before, after):
            assert change.sentence
            assert not any(
                character > "\U000e0000" for character in str((change.sentence, change.principal, change.targets))
            )
