"""What SageMaker asks Application Auto Scaling before it changes or deletes an endpoint.

"Update endpoints that use auto scaling" and "Delete endpoints configured for auto scaling" in SageMaker's guide: another
instance type for a variant that is a scalable target is refused; a variant that goes takes its target with it, if its
caller may deregister it.
"""

from __future__ import annotations

from collections.abc import Iterable

from local_cloud.autoscaling.service import SERVICE, TARGET
from local_cloud.platform import Caller
from local_cloud.sagemaker.errors import AccessDenied, ValidationError
from local_cloud.sagemaker.names import key_of
from local_cloud.sagemaker.service import Sagemaker
from local_cloud.sagemaker.store import Document


def refuse_other_types(
    sagemaker: Sagemaker, caller: Caller, endpoint: str, deployed: Document | None, wanted: Document
) -> None:
    """Refuse an update that changes the instance type of a variant that is a scalable target.

    Args:
        sagemaker: the service.
        caller: who updates.
        endpoint: the endpoint's name.
        deployed: the plan that serves now, if one does.
        wanted: the plan of the update.

    Raises:
        ValidationError: with what to do, which is AWS's advice.
    """
    registered = {_variant_of(target): target for target in _targets(sagemaker, caller, endpoint)}
    now = _types(deployed) if deployed else {}
    for variant, instance_type in _types(wanted).items():
        # Of what an earlier version of the local cloud deployed no type is known.
        if variant in registered and now.get(variant) not in (None, instance_type):
            raise ValidationError(
                f"The instance type of variant {variant} of endpoint {endpoint} cannot change from {now[variant]} to "
                f"{instance_type}: the variant is registered as a scalable target with Application Auto Scaling. Delete "
                f"its scaling policies and call DeregisterScalableTarget for {registered[variant]['ResourceId']} "
                f"({registered[variant]['ScalableDimension']}), update the endpoint, and register the variant again."
            )


def _types(plan: Document) -> dict[str, str | None]:
    return {variant["VariantName"]: variant.get("InstanceType") for variant in plan["Variants"]}


def release(sagemaker: Sagemaker, caller: Caller, endpoint: str, variants: Iterable[str] | None = None) -> None:
    """Deregister the scalable targets of variants that go.

    Args:
        sagemaker: the service.
        caller: who deletes or updates; it must be allowed to deregister.
        endpoint: the endpoint's name.
        variants: those that go; None for all of them.

    Raises:
        AccessDenied: the caller may not; nothing is deregistered.
    """
    # Here, for at its top this module would need what needs it: SageMaker's endpoints.
    from local_cloud.autoscaling.background import autoscaling_of
    from local_cloud.autoscaling.targets import forget

    going = None if variants is None else set(variants)
    targets = [
        target for target in _targets(sagemaker, caller, endpoint) if going is None or _variant_of(target) in going
    ]
    for target in targets:
        denied = sagemaker.platform.denied(
            caller, f"{SERVICE}:DeregisterScalableTarget", target["ScalableTargetARN"], {}
        )
        if denied:
            # SageMaker's own words.
            raise AccessDenied(
                "An Application AutoScaling scalable target exists for a variant being deleted, and the IAM identity used "
                f"to invoke DeleteEndpoint does not have {SERVICE}:DeregisterScalableTarget permission to deregister the "
                "scalable target."
            )
    for target in targets:
        forget(autoscaling_of(sagemaker), caller.account, caller.region, target)


def _targets(sagemaker: Sagemaker, caller: Caller, endpoint: str) -> list[Document]:
    return [
        target
        for target in sagemaker.store.list(TARGET, caller.account, caller.region)
        if target["ResourceId"].startswith("endpoint/")
        and key_of(target["ResourceId"].split("/")[1]) == key_of(endpoint)
    ]


def _variant_of(target: Document) -> str:
    return str(target["ResourceId"].rsplit("/", 1)[-1])
