"""No policy of a registry, bucket, key, queue, topic or function lets everybody in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sagestack.review.assembly import Resource
from sagestack.review.results import Severity
from sagestack.review.rules.own.rule import Around, Rule
from sagestack.review.rules.own.values import possible

# Where the policy stands, by type. AWS::Lambda::Permission is a statement by itself.
_POLICIES = {
    "AWS::SageMaker::ModelPackageGroup": "ModelPackageGroupPolicy",
    "AWS::S3::BucketPolicy": "PolicyDocument",
    "AWS::KMS::Key": "KeyPolicy",
    "AWS::SNS::TopicPolicy": "PolicyDocument",
    "AWS::SQS::QueuePolicy": "PolicyDocument",
    "AWS::ECR::Repository": "RepositoryPolicyText",
    "AWS::SecretsManager::ResourcePolicy": "ResourcePolicy",
    "AWS::Lambda::Permission": "",
}

# Keys that say whose request it is: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
# The same that S3 takes for a policy that is not public: access-control-block-public-access.html in its user guide.
_NARROWING = frozenset(
    {
        "aws:principalaccount",
        "aws:principalarn",
        "aws:principalorgid",
        "aws:principalorgpaths",
        "aws:principalservicename",
        "aws:sourceaccount",
        "aws:sourcearn",
        "aws:sourceorgid",
        "aws:sourceowner",
        "aws:sourcevpc",
        "aws:sourcevpce",
        "aws:userid",
        "kms:calleraccount",
        "s3:dataaccesspointaccount",
    }
)
_OPERATORS = (
    "StringEquals",
    "StringLike",
    "ArnEquals",
    "ArnLike",
    "ForAnyValue:StringEquals",
    "ForAnyValue:StringLike",
)


def _broken(resource: Resource, around: Around) -> Iterator[str]:
    for statement in _statements(resource):
        if statement.get("Effect") == "Allow" and _is_everybody(statement) and not _is_narrowed(statement):
            actions = _listed(statement.get("Action", statement.get("NotAction")))
            named = ", ".join(str(action) for action in actions)
            yield f"Everybody, in any account, may {named}: the principal is '*', and no condition says whose request it is."


def _statements(resource: Resource) -> Iterator[Mapping[str, Any]]:
    if resource.type == "AWS::Lambda::Permission":
        properties = resource.properties
        narrowed = {
            key: properties[key] for key in ("SourceAccount", "SourceArn", "PrincipalOrgID") if key in properties
        }
        yield {
            "Effect": "Allow",
            "Principal": properties.get("Principal"),
            "Action": properties.get("Action"),
            "Condition": {"StringEquals": {f"aws:{key}": value for key, value in narrowed.items()}} if narrowed else {},
        }
        return
    for document in possible(resource.properties.get(_POLICIES[resource.type])):
        if isinstance(document, str):
            try:
                document = json.loads(document)
            except ValueError:
                continue
        if isinstance(document, Mapping):
            yield from (each for each in _listed(document.get("Statement")) if isinstance(each, Mapping))


def _is_everybody(statement: Mapping[str, Any]) -> bool:
    if "NotPrincipal" in statement:
        # Allow with NotPrincipal lets in everybody but those.
        return True
    principal = statement.get("Principal")
    if isinstance(principal, Mapping):
        principal = principal.get("AWS")
    return "*" in _listed(principal)


def _is_narrowed(statement: Mapping[str, Any]) -> bool:
    conditions = statement.get("Condition")
    if not isinstance(conditions, Mapping):
        return False
    return any(
        key.lower() in _NARROWING and "*" not in _listed(value)
        for operator, pairs in conditions.items()
        if operator in _OPERATORS and isinstance(pairs, Mapping)
        for key, value in pairs.items()
    )


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


RULE = Rule(
    name="SAGESTACK-PublicPolicy",
    promise="The policy of a model registry, bucket, key, topic, queue, repository, secret or function lets in nobody that it"
    " does not name, by principal or by condition.",
    severity=Severity.DANGER,
    link="https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html",
    types=frozenset(_POLICIES),
    broken=_broken,
)
