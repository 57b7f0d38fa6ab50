"""What a template says with Ref, GetAtt, Join, Sub and ImportValue, as text that two templates can be compared by."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sagestack.review.assembly import Assembly, Resource, StackTemplate
from sagestack.review.permissions.globs import FIRST_REFERENCE, LAST_REFERENCE, is_reference

Place = tuple[str, str]
"""A stack's name and a logical id."""

_NO_VALUE = {"Ref": "AWS::NoValue"}
_URL_SUFFIXES = {"aws": "amazonaws.com", "aws-cn": "amazonaws.com.cn", "aws-us-gov": "amazonaws.com"}

# What returns an ARN, and what that ARN looks like: https://docs.aws.amazon.com/service-authorization/latest/reference/
# The name in it stays a reference, so that a pattern for all names contains it.
_ARNS = {
    ("AWS::S3::Bucket", "Arn"): "arn:{partition}:s3:::{name}",
    ("AWS::IAM::Role", "Arn"): "arn:{partition}:iam::{account}:role/{name}",
    ("AWS::IAM::User", "Arn"): "arn:{partition}:iam::{account}:user/{name}",
    ("AWS::IAM::ManagedPolicy", "Ref"): "arn:{partition}:iam::{account}:policy/{name}",
    ("AWS::KMS::Key", "Arn"): "arn:{partition}:kms:{region}:{account}:key/{name}",
    ("AWS::Lambda::Function", "Arn"): "arn:{partition}:lambda:{region}:{account}:function:{name}",
    ("AWS::SQS::Queue", "Arn"): "arn:{partition}:sqs:{region}:{account}:{name}",
    ("AWS::SNS::Topic", "Ref"): "arn:{partition}:sns:{region}:{account}:{name}",
    ("AWS::SNS::Topic", "TopicArn"): "arn:{partition}:sns:{region}:{account}:{name}",
    ("AWS::SecretsManager::Secret", "Ref"): "arn:{partition}:secretsmanager:{region}:{account}:secret:{name}",
    ("AWS::Logs::LogGroup", "Arn"): "arn:{partition}:logs:{region}:{account}:log-group:{name}:*",
    ("AWS::DynamoDB::Table", "Arn"): "arn:{partition}:dynamodb:{region}:{account}:table/{name}",
    ("AWS::ECR::Repository", "Arn"): "arn:{partition}:ecr:{region}:{account}:repository/{name}",
    ("AWS::StepFunctions::StateMachine", "Ref"): "arn:{partition}:states:{region}:{account}:stateMachine:{name}",
    ("AWS::StepFunctions::StateMachine", "Arn"): "arn:{partition}:states:{region}:{account}:stateMachine:{name}",
    ("AWS::Events::Rule", "Arn"): "arn:{partition}:events:{region}:{account}:rule/{name}",
    ("AWS::SageMaker::Endpoint", "Ref"): "arn:{partition}:sagemaker:{region}:{account}:endpoint/{name}",
    ("AWS::SageMaker::Model", "Ref"): "arn:{partition}:sagemaker:{region}:{account}:model/{name}",
}
# Whose Ref is the name that stands in the ARN.
_NAMED_BY_REF = {
    "AWS::S3::Bucket",
    "AWS::IAM::Role",
    "AWS::IAM::User",
    "AWS::KMS::Key",
    "AWS::Lambda::Function",
    "AWS::Logs::LogGroup",
    "AWS::DynamoDB::Table",
    "AWS::ECR::Repository",
    "AWS::Events::Rule",
}


@dataclass
class Names:
    """Gives each thing that is referred to its private character, the same on both sides."""

    _characters: dict[tuple[str, ...], str] = field(default_factory=dict)
    _labels: dict[str, str] = field(default_factory=dict)
    _resources: dict[str, Resource] = field(default_factory=dict)

    def of(self, *key: str, label: str, resource: Resource | None = None) -> str:
        if key not in self._characters:
            character = chr(ord(FIRST_REFERENCE) + len(self._characters))
            self._characters[key], self._labels[character] = character, label
        if resource is not None:
            self._resources.setdefault(self._characters[key], resource)
        return self._characters[key]

    def resource(self, text: str) -> Resource | None:
        """What the first reference in it leads to."""
        return next((self._resources[each] for each in text if each in self._resources), None)

    def resources(self, text: str) -> list[Resource]:
        return [self._resources[each] for each in text if each in self._resources]

    def readable(self, text: str) -> str:
        """The text for a person: a reference's ARN is the name of its construct."""
        shorter = _ARN_OF_A_REFERENCE.sub(r"\1", _STREAMS_OF_A_LOG_GROUP.sub(r"\1", text))
        return "".join(self._labels[each] if is_reference(each) else each for each in shorter)


_STREAMS_OF_A_LOG_GROUP = re.compile(rf"(:log-group:[{FIRST_REFERENCE}-{LAST_REFERENCE}]):\*$")
_ARN_OF_A_REFERENCE = re.compile(
    rf"arn:[^:/]*:[^:/]*:[^:/]*:[^:/]*:(?:[a-zA-Z-]+[/:])?([{FIRST_REFERENCE}-{LAST_REFERENCE}])"
)


class Reader:
    """Reads the values of one assembly.

    Args:
        assembly: one of the two sides.
        names: shared by both.
        same: for a resource of this side, the one of the other side that it is; its name serves for both.
    """

    def __init__(self, assembly: Assembly | None, names: Names, same: Mapping[Place, Resource] | None = None) -> None:
        self.assembly = assembly
        self._names = names
        self._same = same or {}
        self._exports: dict[str, tuple[StackTemplate, Any]] = {}
        for stack in assembly.stacks.values() if assembly else ():
            for output in stack.template.get("Outputs", {}).values():
                if "Export" in output:
                    self._exports[self.text(output["Export"]["Name"], stack)] = (stack, output["Value"])

    def identity(self, resource: Resource) -> Resource:
        """The resource that this one is called after."""
        return self._same.get((resource.stack, resource.logical_id), resource)

    def texts(self, value: Any, stack: StackTemplate) -> list[str]:
        """A string or a list of strings."""
        return [self.text(each, stack) for each in listed_values(value)]

    def text(self, value: Any, stack: StackTemplate) -> str:
        """The value as one string; what is only known at deployment is in it as a private character."""
        found = self._computed(value, stack)
        return self._opaque(value, stack) if found is None else found

    def _computed(self, value: Any, stack: StackTemplate) -> str | None:
        """None for what is no string, or a function that only the deployment can compute."""
        match value:
            case str():
                return value
            case bool():
                return str(value).lower()
            case int() | float():
                return str(value)
            case {"Ref": str(name)}:
                return self._reference(name, stack)
            case {"Fn::GetAtt": [str(name), str(attribute)]}:
                return self._attribute(name, attribute, stack)
            case {"Fn::GetAtt": str(both)}:
                name, _, attribute = both.partition(".")
                return self._attribute(name, attribute, stack)
            case {"Fn::Join": [str(separator), list(parts)]}:
                return separator.join(self.text(part, stack) for part in parts)
            case {"Fn::Sub": str(template)}:
                return self._substituted(template, {}, stack)
            case {"Fn::Sub": [str(template), dict(given)]}:
                return self._substituted(template, given, stack)
            case {"Fn::ImportValue": name}:
                return self._imported(self.text(name, stack))
            case {"Fn::FindInMap": [str(name), first, second, *_]}:
                found = stack.template.get("Mappings", {}).get(name, {}).get(self.text(first, stack), {})
                found = found.get(self.text(second, stack))
                return found if isinstance(found, str) else None
        return None

    def _opaque(self, value: Any, stack: StackTemplate) -> str:
        """What cannot be computed here: the same text, with the same references, is the same value."""
        written = json.dumps(self._rendered(value, stack), sort_keys=True)
        return self._names.of("opaque", written, label=self._names.readable(written))

    def _rendered(self, value: Any, stack: StackTemplate) -> Any:
        match value:
            case dict():
                if len(value) == 1 and (found := self._computed(value, stack)) is not None:
                    return found
                return {key: self._rendered(each, stack) for key, each in value.items()}
            case list():
                return [self._rendered(each, stack) for each in value]
        return value

    def _substituted(self, template: str, given: Mapping[str, Any], stack: StackTemplate) -> str:
        def put(match: re.Match[str]) -> str:
            name = match[1]
            if name.startswith("!"):
                return f"${{{name[1:]}}}"
            if name in given:
                return self.text(given[name], stack)
            if "." in name:
                logical_id, _, attribute = name.partition(".")
                return self._attribute(logical_id, attribute, stack)
            return self._reference(name, stack)

        return re.sub(r"\$\{([^}]+)\}", put, template)

    def _imported(self, name: str) -> str:
        if name in self._exports:
            stack, value = self._exports[name]
            return self.text(value, stack)
        return self._names.of("import", name, label=f"import {self._names.readable(name)}")

    def _reference(self, name: str, stack: StackTemplate) -> str:
        if name in stack.resources:
            return self._attribute(name, "Ref", stack)
        if name.startswith("AWS::"):
            return self._pseudo(name, stack)
        return self._names.of("parameter", stack.name, name, label=name)

    def _pseudo(self, name: str, stack: StackTemplate) -> str:
        known = {
            "AWS::Partition": partition(stack),
            "AWS::URLSuffix": _URL_SUFFIXES[partition(stack)],
            "AWS::StackName": stack.name,
        }
        if stack.account.isdigit():
            known["AWS::AccountId"] = stack.account
        if "unknown" not in stack.region:
            known["AWS::Region"] = stack.region
        return known.get(name) or self._names.of("pseudo", stack.name, name, label=name)

    def _attribute(self, name: str, attribute: str, stack: StackTemplate) -> str:
        resource = stack.resources.get(name)
        if resource is None:
            return self._names.of("missing", stack.name, name, attribute, label=f"{name}.{attribute}")
        identity = self.identity(resource)
        arn = _ARNS.get((resource.type, attribute))
        is_name = arn is not None or (attribute == "Ref" and resource.type in _NAMED_BY_REF)
        about = "" if is_name else attribute
        label = identity.path if about in ("", "Arn", "Ref") else f"{identity.path}.{attribute}"
        character = self._names.of("resource", identity.address, about, label=label, resource=identity)
        if arn is None:
            return character
        return arn.format(
            partition=partition(stack),
            region=self._pseudo("AWS::Region", stack),
            account=self._pseudo("AWS::AccountId", stack),
            name=character,
        )


def partition(stack: StackTemplate) -> str:
    """https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html"""
    if stack.region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if stack.region.startswith("us-gov-") else "aws"


def listed_values(value: Any) -> list[Any]:
    """What is there: a list, or one thing where a list may stand."""
    found = value if isinstance(value, list) else [value]
    return [each for each in found if each not in (None, _NO_VALUE)]
