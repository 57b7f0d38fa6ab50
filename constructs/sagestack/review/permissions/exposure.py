"""Whom a statement lets in from outside: everybody, another account, or, by its conditions, not quite."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal

from sagestack.review.permissions.conditions import Condition, Conditions
from sagestack.review.permissions.globs import is_reference
from sagestack.review.permissions.references import Names
from sagestack.review.permissions.statements import ANYONE

Exposure = Literal["public", "cross-account", "service without a source", "own"]

_NARROWING = {
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:principalaccount",
    "aws:principalarn",
    "aws:sourcearn",
    "aws:sourceaccount",
    "aws:sourceowner",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:sourceorgid",
    "aws:userid",
    "s3:x-amz-server-side-encryption-aws-kms-key-id",
    "s3:dataaccesspointarn",
    "s3:dataaccesspointaccount",
    "kms:calleraccount",
    "lambda:eventsourcetoken",
}
"""Keys that, with a fixed value, make a policy not public, as S3 and Lambda judge it, and the caller's account for KMS.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html
https://docs.aws.amazon.com/lambda/latest/dg/access-control-resource-based.html
"""
_ACCOUNT_KEYS = {
    "aws:principalaccount",
    "aws:sourceaccount",
    "aws:sourceowner",
    "kms:calleraccount",
    "s3:dataaccesspointaccount",
}
_SOURCE_KEYS = {"aws:sourcearn", "aws:sourceaccount", "aws:sourceowner", "aws:sourceorgid", "aws:sourceorgpaths"}
_IN_ACCOUNT_KEYS = {"aws:sourcevpc", "aws:sourcevpce"}
_WIDEST_NETWORK = {4: 8, 6: 32}
"""Prefix lengths below which S3 calls a network public."""
_FIXING = {"stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike", "foranyvalue:stringequals"}


def exposure(principal: str, conditions: Conditions, account: str, names: Names, *, is_trust: bool = False) -> Exposure:
    """Who gets in.

    Args:
        principal: as in a statement.
        account: that of the stack whose resource it is.
        is_trust: whether it is about who may take a role: whom an address or a network lets in there may be of any account.
    """
    narrowing = [each for each in conditions if _narrows(each)]
    accounts = {found for each in narrowing for found in _accounts_of(each, names)}
    if principal == ANYONE or principal.startswith(("not ", "CanonicalUser:*")):
        if not narrowing:
            return "public"
        if accounts:
            return "own" if accounts <= {account} else "cross-account"
        # An organization is more than this account; a VPC, an ARN without an account and addresses say nothing of accounts.
        is_wider = is_trust or any("principalorg" in each.key.lower() for each in narrowing)
        return "cross-account" if is_wider else "own"
    kind, _, name = principal.partition(":")
    if kind == "Federated":
        return _federated(conditions)
    if kind == "Service":
        if accounts - {account}:
            return "cross-account"
        return "own" if any(each.key.lower() in _SOURCE_KEYS for each in narrowing) else "service without a source"
    if kind == "AWS":
        return "own" if _account(name, names) in (account, None) else "cross-account"
    return "own"


def _federated(conditions: Conditions) -> Exposure:
    """A provider of identities serves more people than this project: its `aud` names an application, its `sub` a person.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_create_for-idp_oidc.html
    """
    for each in conditions:
        about_whom = each.key.lower().rpartition(":")[2]
        if (
            about_whom in ("sub", "aud", "amr", "job_workflow_ref", "repository", "iss")
            and about_whom != "aud"
            and _is_positive(each)
            and all(value.strip("*?:/") not in ("", "repo") for value in each.values)
        ):
            return "own"
        if about_whom == "aud" and _is_positive(each) and each.key.lower().startswith(("saml:", "cognito-identity.")):
            return "own"
    return "public"


def _is_positive(condition: Condition) -> bool:
    return (
        condition.base in _FIXING and not condition.is_negated and not condition.operator.lower().endswith("ifexists")
    )


def _narrows(condition: Condition) -> bool:
    if condition.base.endswith("ipaddress") and condition.key.lower() == "aws:sourceip" and not condition.is_negated:
        return all(is_narrow_network(value) for value in condition.values)
    if condition.key.lower() not in _NARROWING or not _is_positive(condition):
        return False
    return all(_is_fixed(condition.key.lower(), value) for value in condition.values)


def _is_fixed(key: str, value: str) -> bool:
    if "arn" in key and value.startswith("arn:") and len(value.split(":")) > 4:
        # The account in an ARN is enough of a fixed value; S3's buckets have none, but a name of their own.
        parts = value.split(":")
        return "*" not in parts[4] and (bool(parts[4]) or not parts[5].startswith("*"))
    return "*" not in value and "?" not in value and "${" not in value


def is_narrow_network(cidr: str) -> bool:
    """Whether S3 would call the addresses a set of somebody's, and not the public."""
    try:
        network = ipaddress.ip_network(cidr, strict=False)
    except ValueError:
        return any(is_reference(each) for each in cidr)
    return network.is_private or network.prefixlen >= _WIDEST_NETWORK[network.version]


def _accounts_of(condition: Condition, names: Names) -> set[str]:
    if condition.key.lower() in _ACCOUNT_KEYS:
        return set(condition.values)
    if "arn" in condition.key.lower():
        return {found for value in condition.values if (found := _account(value, names))}
    return set()


def _account(text: str, names: Names) -> str | None:
    """The account in an ARN, or of the resource that the text refers to; None where it does not tell."""
    found = re.match(r"arn:[^:]*:[^:]*:[^:]*:([^:]+):", text)
    if found:
        return found[1]
    return None
