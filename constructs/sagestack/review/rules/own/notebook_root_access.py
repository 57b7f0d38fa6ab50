"""Who works on a notebook instance cannot take off what watches it."""

from __future__ import annotations

from collections.abc import Iterator

from sagestack.review.assembly import Resource
from sagestack.review.results import Severity
from sagestack.review.rules.own.rule import Around, Rule
from sagestack.review.rules.own.values import may_be_other_than


def _broken(notebook: Resource, around: Around) -> Iterator[str]:
    # SageMaker's default is root access.
    if may_be_other_than(notebook.properties.get("RootAccess", "Enabled"), "Disabled"):
        yield "Its users are root: they can switch off its auto-stop, and read what other users left. Set RootAccess to Disabled."


RULE = Rule(
    name="SAGESTACK-NotebookRootAccess",
    promise="The users of a notebook instance are not root.",
    severity=Severity.WARNING,
    link="https://docs.aws.amazon.com/sagemaker/latest/dg/nbi-root-access.html",
    types=frozenset({"AWS::SageMaker::NotebookInstance"}),
    broken=_broken,
)
