"""What can only be replaced has no name of its own, or the new one would collide with the old one."""

from __future__ import annotations

from collections.abc import Iterator

from sagestack.review.assembly import Resource
from sagestack.review.results import Severity
from sagestack.review.rules.own.rule import Around, Rule

_NAMES = {"AWS::SageMaker::Model": "ModelName", "AWS::SageMaker::EndpointConfig": "EndpointConfigName"}


def _broken(resource: Resource, around: Around) -> Iterator[str]:
    name = resource.properties.get(_NAMES[resource.type])
    if isinstance(name, str):
        yield f"It is named {name!r}: the first change fails, since CloudFormation makes the new one before it deletes the old."


RULE = Rule(
    name="SAGESTACK-PhysicalName",
    promise="A model and an endpoint configuration are named by CloudFormation.",
    severity=Severity.WARNING,
    link="https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-properties-name.html",
    types=frozenset(_NAMES),
    broken=_broken,
)
