"""An update does not take away the instances that autoscaling added."""

from __future__ import annotations

from collections.abc import Iterator

from sagestack.review.assembly import Resource
from sagestack.review.intrinsics import as_text, referred
from sagestack.review.results import Severity
from sagestack.review.rules.own.rule import Around, Rule
from sagestack.review.rules.own.values import each, may_be_other_than, part


def _is_scaled(endpoint: Resource, around: Around) -> bool:
    name = endpoint.properties.get("EndpointName")
    for target in around.of_type("AWS::ApplicationAutoScaling::ScalableTarget"):
        resource_id = target.properties.get("ResourceId")
        named = as_text(resource_id)
        # A count of instances; copies of a component and provisioned concurrency are no property of the variant.
        if part(target.properties, "ScalableDimension") == "sagemaker:variant:DesiredInstanceCount" and (
            endpoint.logical_id in referred(resource_id)
            or (isinstance(name, str) and named.startswith(f"endpoint/{name}/"))
        ):
            return True
    return False


def _broken(endpoint: Resource, around: Around) -> Iterator[str]:
    if not _is_scaled(endpoint, around):
        return
    if may_be_other_than(endpoint.properties.get("RetainAllVariantProperties", False), True):
        yield "It is scaled, and RetainAllVariantProperties is not set: an update sets the instances back to the initial count."
    excluded = each(endpoint.properties.get("ExcludeRetainedVariantProperties"))
    if any(part(each_, "VariantPropertyType") == "DesiredInstanceCount" for each_ in excluded):
        yield "It is scaled, and an update does not retain DesiredInstanceCount (ExcludeRetainedVariantProperties)."


RULE = Rule(
    name="SAGESTACK-ScaledEndpoint",
    promise="An endpoint whose instances are scaled keeps their number through an update.",
    severity=Severity.DANGER,
    link="https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpoint.html",
    types=frozenset({"AWS::SageMaker::Endpoint"}),
    broken=_broken,
)
