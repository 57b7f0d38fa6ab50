"""Roles, buckets and keys with policies, for tests of what a review says of permissions."""

from __future__ import annotations

from typing import Any

from sagestack.review.assembly import Assembly
from sagestack.review.permissions import permission_changes
from sagestack.review.results import PermissionChange

from tests.review_samples import assembly

Raw = dict[str, Any]

ACCOUNT = "111111111111"
OTHER_ACCOUNT = "222222222222"


def allow(actions: str | list[str], resources: Any = "*", **more: Any) -> Raw:
    return {"Effect": "Allow", "Action": actions, "Resource": resources, **more}


def deny(actions: str | list[str], resources: Any = "*", **more: Any) -> Raw:
    return {**allow(actions, resources, **more), "Effect": "Deny"}


def document(*statements: Raw) -> Raw:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def trust(principal: Any, **condition: Any) -> Raw:
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal}
    return document({**statement, **({"Condition": condition} if condition else {})})


LAMBDA = trust({"Service": "lambda.amazonaws.com"})


def role(*statements: Raw, **properties: Any) -> Raw:
    """A role of a function, with an inline policy."""
    inline = {"Policies": [{"PolicyName": "Inline", "PolicyDocument": document(*statements)}]} if statements else {}
    return {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": LAMBDA, **inline, **properties}}


def policy(name: str, *statements: Raw, kind: str = "AWS::IAM::Policy") -> Raw:
    return {"Type": kind, "Properties": {"PolicyDocument": document(*statements), "Roles": [{"Ref": name}]}}


def bucket_policy(*statements: Raw, bucket: Any = None) -> Raw:
    properties = {"Bucket": bucket or {"Ref": "Data"}, "PolicyDocument": document(*statements)}
    return {"Type": "AWS::S3::BucketPolicy", "Properties": properties}


def key(*statements: Raw) -> Raw:
    return {"Type": "AWS::KMS::Key", "Properties": {"KeyPolicy": document(*statements)}}


DATA: Raw = {"Type": "AWS::S3::Bucket", "Properties": {}}
DATA_ARN = {"Fn::GetAtt": ["Data", "Arn"]}
OBJECTS = {"Fn::Join": ["", [DATA_ARN, "/*"]]}
ROOT = {"Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, ":iam::", {"Ref": "AWS::AccountId"}, ":root"]]}
OWN_KEY_POLICY = allow("kms:*", Principal={"AWS": ROOT})


def changes(before: Raw | None, after: Raw | None) -> tuple[PermissionChange, ...]:
    """What is found between two templates' resources."""

    def side(resources: Raw | None) -> Assembly | None:
        return None if resources is None else assembly(resources)

    return permission_changes(side(before), side(after))


def only(before: Raw | None, after: Raw | None) -> PermissionChange:
    """The one change between them."""
    found = changes(before, after)
    assert len(found) == 1, [each.sentence for each in found]
    return found[0]
