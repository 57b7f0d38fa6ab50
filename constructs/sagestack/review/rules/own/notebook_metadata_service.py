"""A notebook's role cannot be stolen by a page that makes the instance ask itself."""

from __future__ import annotations

from collections.abc import Iterator

from sagestack.review.assembly import Resource
from sagestack.review.results import Severity
from sagestack.review.rules.own.rule import Around, Rule
from sagestack.review.rules.own.values import may_be_other_than, part


def _broken(notebook: Resource, around: Around) -> Iterator[str]:
    service = notebook.properties.get("InstanceMetadataServiceConfiguration")
    if may_be_other_than(part(service, "MinimumInstanceMetadataServiceVersion"), "2"):
        yield "It answers IMDSv1, which hands out its role's credentials to a forged request. Set the minimum version to 2."


RULE = Rule(
    name="SAGESTACK-NotebookMetadataService",
    promise="A notebook instance hands out credentials over IMDSv2 alone.",
    severity=Severity.WARNING,
    link="https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_InstanceMetadataServiceConfiguration.html",
    types=frozenset({"AWS::SageMaker::NotebookInstance"}),
    broken=_broken,
)
