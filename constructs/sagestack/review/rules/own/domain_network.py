"""A Studio domain's users reach the internet through your network, or not at all."""

from __future__ import annotations

from collections.abc import Iterator

from sagestack.review.assembly import Resource
from sagestack.review.results import Severity
from sagestack.review.rules.own.rule import Around, Rule
from sagestack.review.rules.own.values import may_be_other_than


def _broken(domain: Resource, around: Around) -> Iterator[str]:
    # SageMaker's default is its own way to the internet.
    if may_be_other_than(domain.properties.get("AppNetworkAccessType", "PublicInternetOnly"), "VpcOnly"):
        yield "Its apps have SageMaker's own way to the internet, past your network. Set AppNetworkAccessType to VpcOnly."


RULE = Rule(
    name="SAGESTACK-DomainNetwork",
    promise="The apps of a Studio domain use your network alone.",
    severity=Severity.WARNING,
    link="https://docs.aws.amazon.com/sagemaker/latest/dg/studio-notebooks-and-internet-access.html",
    types=frozenset({"AWS::SageMaker::Domain"}),
    broken=_broken,
)
