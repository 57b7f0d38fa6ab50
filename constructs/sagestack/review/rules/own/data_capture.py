"""Where it counts, somebody can look up later what an endpoint was asked and what it answered."""

from __future__ import annotations

from collections.abc import Iterator

from sagestack.review.assembly import Resource
from sagestack.review.results import Severity
from sagestack.review.rules.own.rule import Around, Rule
from sagestack.review.rules.own.values import may_be_missing, may_be_other_than, part
from sagestack.review.rules.own.variants import CONFIG, holds_components, is_serverless, variants_of


def _broken(config: Resource, around: Around) -> Iterator[str]:
    if not around.retains:
        return
    # SageMaker captures for neither of the two.
    can_capture = any(not is_serverless(variant) and not holds_components(variant) for variant in variants_of(config))
    capture = config.properties.get("DataCaptureConfig")
    enabled = part(capture, "EnableCapture")
    # Without EnableCapture, a configuration of capture is in force.
    if can_capture and (may_be_missing(capture) or (enabled is not None and may_be_other_than(enabled, True))):
        yield "It captures no requests, in an environment that is there to stay: nobody will see that its data drifts."


RULE = Rule(
    name="SAGESTACK-DataCapture",
    promise="A real-time or asynchronous endpoint captures requests where the environment's stacks are protected from deletion.",
    severity=Severity.WARNING,
    link="https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture.html",
    types=frozenset({CONFIG}),
    broken=_broken,
)
