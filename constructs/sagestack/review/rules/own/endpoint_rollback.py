"""An endpoint takes a new version back by itself."""

from __future__ import annotations

from collections.abc import Iterator

from sagestack.review.assembly import Resource
from sagestack.review.results import Severity
from sagestack.review.rules.own.rule import Around, Rule
from sagestack.review.rules.own.values import may_be_missing, part
from sagestack.review.rules.own.variants import holds_components, is_serverless, variants_of_endpoint


def _broken(endpoint: Resource, around: Around) -> Iterator[str]:
    variants = variants_of_endpoint(endpoint, around)
    if variants and all(is_serverless(variant) or holds_components(variant) for variant in variants):
        # SageMaker has no deployment guardrails for the former; of the latter, components are updated, not the endpoint.
        return
    deployment = endpoint.properties.get("DeploymentConfig")
    if may_be_missing(deployment):
        yield "It has no DeploymentConfig: a bad version gets all the traffic, and stays."
        return
    if may_be_missing(part(deployment, "AutoRollbackConfiguration", "Alarms")):
        yield "No alarm rolls it back (AutoRollbackConfiguration): a bad version stays until somebody sees it."
    if may_be_missing(part(deployment, "BlueGreenUpdatePolicy")) and may_be_missing(
        part(deployment, "RollingUpdatePolicy")
    ):
        yield "It has neither a BlueGreenUpdatePolicy nor a RollingUpdatePolicy: there is nothing to go back to."


RULE = Rule(
    name="SAGESTACK-EndpointRollback",
    promise="An endpoint is updated in steps that alarms watch, and goes back when one of them goes off.",
    severity=Severity.DANGER,
    link="https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html",
    types=frozenset({"AWS::SageMaker::Endpoint"}),
    broken=_broken,
)
