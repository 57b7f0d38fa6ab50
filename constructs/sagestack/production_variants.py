"""What an endpoint's config says of each variant, by the kind of endpoint."""

from __future__ import annotations

from collections.abc import Callable

from aws_cdk import aws_sagemaker as sagemaker

from sagestack import settings
from sagestack.settings.update_checks import MAIN_VARIANT, SHADOW_VARIANT

_Variant = sagemaker.CfnEndpointConfig.ProductionVariantProperty

ModelName = Callable[[str, int | None], str]
"""Gives the name of the model for a variant, by the variant's name and its version; None is the served one."""


def production_variants(hosting: settings.Hosting, model_name: ModelName) -> list[_Variant]:
    """The variants that answer: the served version's, and where there are others (A/B) theirs."""
    match hosting:
        case settings.RealTime():
            return [
                _on_instances(hosting, MAIN_VARIANT, model_name(MAIN_VARIANT, None), hosting.weight),
                *(
                    _on_instances(variant, name, model_name(name, variant.served_version), variant.weight)
                    for name, variant in hosting.variants.items()
                ),
            ]
        case settings.Asynchronous():
            return [_on_instances(hosting, MAIN_VARIANT, model_name(MAIN_VARIANT, None), 1.0)]
        case settings.Serverless():
            return [
                _Variant(
                    variant_name=MAIN_VARIANT,
                    model_name=model_name(MAIN_VARIANT, None),
                    initial_variant_weight=1.0,
                    serverless_config=sagemaker.CfnEndpointConfig.ServerlessConfigProperty(
                        memory_size_in_mb=hosting.memory_in_mb,
                        max_concurrency=hosting.max_concurrency,
                        provisioned_concurrency=hosting.provisioned_concurrency,
                    ),
                )
            ]
        case settings.InferenceComponents():
            return [_for_components(hosting)]


def shadow_variants(hosting: settings.Hosting, model_name: ModelName) -> list[_Variant] | None:
    """The variant that gets copies of requests; None where there is none.

    Its weight, against the 1.0 of the variant that answers, is the share of the requests that it gets a copy of:
    https://docs.aws.amazon.com/sagemaker/latest/dg/model-shadow-deployment.html
    """
    if not isinstance(hosting, settings.RealTime) or hosting.shadow is None:
        return None
    shadow = hosting.shadow
    name = model_name(SHADOW_VARIANT, shadow.served_version)
    return [_on_instances(shadow, SHADOW_VARIANT, name, hosting.weight * shadow.sampling_percent / 100)]


def variant_names(hosting: settings.Hosting) -> list[str]:
    """The variants that answer callers, the served version's first."""
    return [MAIN_VARIANT, *(hosting.variants if isinstance(hosting, settings.RealTime) else [])]


def instance_types(hosting: settings.Hosting) -> dict[str, str] | None:
    """What the variants that answer run on; None where there are no instances to choose."""
    if isinstance(hosting, settings.Serverless):
        return None
    others = hosting.variants if isinstance(hosting, settings.RealTime) else {}
    return {MAIN_VARIANT: hosting.instance_type, **{name: each.instance_type for name, each in others.items()}}


def takes_volume_key(hosting: settings.Hosting) -> bool:
    """Whether the config takes a key for the disks: where there are instances, and their disks are not their own.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html (KmsKeyId)
    """
    return not isinstance(hosting, settings.Serverless) and hosting.takes_volume_key


def _on_instances(
    size: settings.RealTime | settings.Asynchronous | settings.Variant | settings.Shadow,
    name: str,
    model_name: str,
    weight: float,
) -> _Variant:
    return _Variant(
        variant_name=name,
        model_name=model_name,
        instance_type=size.instance_type,
        initial_instance_count=size.initial_instance_count,
        initial_variant_weight=weight,
    )


def _for_components(hosting: settings.InferenceComponents) -> _Variant:
    """Instances without a model: components are placed on them, and SageMaker adds and removes instances to fit."""
    to_zero = hosting.autoscaling is not None and hosting.autoscaling.least == 0
    config = sagemaker.CfnEndpointConfig
    return _Variant(
        variant_name=MAIN_VARIANT,
        instance_type=hosting.instance_type,
        initial_instance_count=hosting.initial_instance_count,
        managed_instance_scaling=config.ManagedInstanceScalingProperty(
            status="ENABLED",
            # Instances can only go where the copies go: https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-zero-instances.html
            min_instance_count=0 if to_zero else hosting.initial_instance_count,
            max_instance_count=hosting.max_instance_count,
        ),
        routing_config=config.RoutingConfigProperty(routing_strategy="LEAST_OUTSTANDING_REQUESTS"),
    )
