"""An endpoint takes a new version back by itself."""

from __future__ import annotations

from collections.abc import Iterator

from sagestack.review.assembly import Resource
from sagestack.review.results import Severity
from sagestack.review.rules.own.rule import Around, Rule
from sagestack.review.rules.own.values import each, may_be_missing, part, referred


def _broken(endpoint: Resource, around: Around) -> Iterator[str]:
    if _serves_components(endpoint, around):
        return
    deployment = endpoint.properties.get("DeploymentConfig")
    if may_be_missing(deployment):
        yield "It has no DeploymentConfig: a bad version gets all the traffic, and stays."
        return
    if may_be_missing(part(deployment, "AutoRollbackConfiguration", "Alarms")):
        yield "No alarm rolls it back (AutoRollbackConfiguration): a bad version stays until somebody sees it."
    if may_be_missing(part(deployment, "BlueGreenUpdatePolicy")) and may_be_missing(part(deployment, "RollingUpdatePolicy")):
        yield "It has neither a BlueGreenUpdatePolicy nor a RollingUpdatePolicy: there is nothing to go back to."


def _serves_components(endpoint: Resource, around: Around) -> bool:
    """Whether what is updated is an inference component, with a deployment configuration of its own.

    The variants of such an endpoint name no model.
    """
    names = referred(endpoint.properties.get("EndpointConfigName"))
    configs = [config for config in around.of_type("AWS::SageMaker::EndpointConfig") if config.logical_id in names]
    variants = [variant for config in configs for variant in each(config.properties.get("ProductionVariants"))]
    return bool(variants) and all(part(variant, "ModelName") is None for variant in variants)


RULE = Rule(
    name="SAGESTACK-EndpointRollback",
    promise="An endpoint is updated in steps that alarms watch, and goes back when one of them goes off.",
    severity=Severity.DANGER,
    link="https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html",
    types=frozenset({"AWS::SageMaker::Endpoint"}),
    broken=_broken,
)
