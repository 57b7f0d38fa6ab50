"""Asks the services themselves about resources that CloudFormation's drift detection did not compare.

CloudFormation compares the types whose handlers can read them. For an endpoint, what counts is which configuration it has now: an
UpdateEndpoint by hand changes it, and neither the template nor a deployment without changes would ever notice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sagestack.cli.drift.results import Difference, Drifted

if TYPE_CHECKING:
    from sagestack.cli.session import Session

Resources = Mapping[str, Mapping[str, Any]]
"""A stack's resources by logical id, as CloudFormation lists them."""
Found = tuple[tuple[Difference, ...], str] | None
"""What differs, and who changed it; None for what is not there any more."""

_NOT_THERE = ("ValidationException", "ValidationError", "ResourceNotFound", "ResourceNotFoundException")
"""SageMaker answers ValidationException (`Could not find ...`) for most of what is not there."""


def look(
    session: Session, stack: str, logical_id: str, resources: Resources, template: Mapping[str, Any], path: str
) -> tuple[bool, Drifted | None]:
    """Looks at one resource.

    Returns:
        Whether somebody could look at a resource of this type, and what they found.
    """
    from botocore.exceptions import ClientError

    resource = resources[logical_id]
    looks = _LOOKS.get(resource["ResourceType"])
    if looks is None:
        return False, None
    physical_id = str(resource.get("PhysicalResourceId", ""))
    definition = template.get("Resources", {}).get(logical_id, {})
    try:
        found = looks(session, physical_id, definition.get("Properties", {}), resources)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _NOT_THERE:
            raise
        found = None
    if found is not None and not found[0]:
        return True, None
    return True, Drifted(
        stack=stack,
        logical_id=logical_id,
        path=path,
        type=resource["ResourceType"],
        physical_id=physical_id,
        kind="deleted" if found is None else "changed",
        seen_by="sagestack",
        differences=found[0] if found else (),
        detail=found[1] if found else "",
    )


def _name(physical_id: str) -> str:
    """CloudFormation's physical ids of SageMaker's resources are ARNs; its API takes names."""
    return physical_id.rsplit("/", 1)[-1]


def _is_there(ask: Callable[[Session, str], Any]) -> Callable[[Session, str, Mapping[str, Any], Resources], Found]:
    """Of what cannot change: only whether it is there."""

    def look(session: Session, physical_id: str, _properties: Mapping[str, Any], _resources: Resources) -> Found:
        ask(session, _name(physical_id))
        return (), ""

    return look


def _endpoint(session: Session, physical_id: str, properties: Mapping[str, Any], resources: Resources) -> Found:
    now = session.sagemaker.describe_endpoint(EndpointName=_name(physical_id))
    wanted = _referred(properties.get("EndpointConfigName"), resources)
    deployed = _name(str(wanted)) if wanted else None
    # While it updates, the old one is still named. And an ARN of SageMaker's is in lower case, however the name is written.
    if (
        deployed is None
        or now["EndpointStatus"] in ("Updating", "Creating", "RollingBack")
        or deployed.lower() == now.get("EndpointConfigName", "").lower()
    ):
        return (), ""
    changed = now["LastModifiedTime"]
    return (
        Difference("EndpointConfigName", deployed, now.get("EndpointConfigName")),
    ), f"at {changed:%Y-%m-%d %H:%M} UTC"


def _pipeline(session: Session, physical_id: str, properties: Mapping[str, Any], resources: Resources) -> Found:
    """A definition's tokens are not resolved here: SageMaker's own record of its last change tells."""
    now = session.sagemaker.describe_pipeline(PipelineName=_name(physical_id))
    changed = now["LastModifiedTime"]
    # By the type, too: a model's pipeline and its model package group are called alike.
    own = next(
        resource
        for resource in resources.values()
        if (resource["ResourceType"], resource.get("PhysicalResourceId")) == ("AWS::SageMaker::Pipeline", physical_id)
    )
    # CloudFormation stamps a resource after the call that changed it has returned.
    if changed <= own["LastUpdatedTimestamp"]:
        return (), ""
    by = now.get("LastModifiedBy", {})
    who = by.get("UserProfileName") or by.get("IamIdentity", {}).get("Arn") or "somebody"
    return (
        (Difference("PipelineDefinition", f"of {own['LastUpdatedTimestamp']:%Y-%m-%d %H:%M} UTC", "changed since"),),
        f"by {who} at {changed:%Y-%m-%d %H:%M} UTC",
    )


def _scalable_target(session: Session, physical_id: str, properties: Mapping[str, Any], _resources: Resources) -> Found:
    # The physical id is `ResourceId|ScalableDimension|ServiceNamespace`.
    resource_id, dimension, namespace = physical_id.split("|")
    targets = session.autoscaling.describe_scalable_targets(
        ServiceNamespace=namespace,  # type: ignore[arg-type]
        ResourceIds=[resource_id],
        ScalableDimension=dimension,  # type: ignore[arg-type]
    )["ScalableTargets"]
    if not targets:
        return None
    return tuple(
        Difference(key, properties[key], targets[0].get(key))
        for key in ("MinCapacity", "MaxCapacity")
        if isinstance(properties.get(key), int) and properties[key] != targets[0].get(key)
    ), ""


def _referred(value: Any, resources: Resources) -> Any:
    """The physical id that a property refers to; the value itself where it is a string."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        name = value.get("Ref") or value.get("Fn::GetAtt", [None])[0]
        return resources.get(str(name), {}).get("PhysicalResourceId")
    return None


_LOOKS: Mapping[str, Callable[[Session, str, Mapping[str, Any], Resources], Found]] = {
    "AWS::ApplicationAutoScaling::ScalableTarget": _scalable_target,
    "AWS::SageMaker::Endpoint": _endpoint,
    "AWS::SageMaker::EndpointConfig": _is_there(
        lambda session, name: session.sagemaker.describe_endpoint_config(EndpointConfigName=name)
    ),
    "AWS::SageMaker::InferenceComponent": _is_there(
        lambda session, name: session.sagemaker.describe_inference_component(InferenceComponentName=name)
    ),
    "AWS::SageMaker::Model": _is_there(lambda session, name: session.sagemaker.describe_model(ModelName=name)),
    "AWS::SageMaker::ModelPackageGroup": _is_there(
        lambda session, name: session.sagemaker.describe_model_package_group(ModelPackageGroupName=name)
    ),
    "AWS::SageMaker::Pipeline": _pipeline,
}
