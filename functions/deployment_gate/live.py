"""What an endpoint really serves, against what was wanted: SageMaker may have rolled an update back without a word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .problems import Problem

CHANGING = ("Creating", "Updating", "SystemUpdating", "RollingBack")


class Differs(Problem):
    """The endpoint does not serve what it should; the message says what, and SageMaker's own reason."""


@dataclass(frozen=True)
class WantedVariant:
    """What a variant, or an inference component, must be.

    Attributes:
        name: of the variant.
        model_package_arns: the versions that its model is made of; empty where it has no model of its own.
        min_instances, max_instances: how many instances, or copies, autoscaling or the lack of it allows; None without.
    """

    name: str
    model_package_arns: tuple[str, ...]
    min_instances: int | None = None
    max_instances: int | None = None

    @classmethod
    def of(cls, properties: Mapping[str, Any]) -> WantedVariant:
        """From the properties of the custom resource, in which all numbers are text."""
        return cls(
            properties["Name"],
            tuple(properties.get("ModelPackageArns", ())),
            _number(properties, "MinInstances"),
            _number(properties, "MaxInstances"),
        )


def is_settled(described: Mapping[str, Any]) -> bool:
    """Whether nothing changes any more: the update is over, and every variant has the instances that it should have."""
    return described["EndpointStatus"] not in CHANGING and all(
        variant.get("CurrentInstanceCount") == variant["DesiredInstanceCount"]
        for variant in described.get("ProductionVariants", [])
        # A serverless variant has none that anybody desires.
        if "DesiredInstanceCount" in variant
    )


def compare(
    sagemaker: Any,
    described: Mapping[str, Any],
    config_name: str,
    variants: list[WantedVariant],
    shadows: list[WantedVariant],
) -> None:
    """Compare a settled endpoint with what was wanted.

    Args:
        sagemaker: a client.
        described: the answer of DescribeEndpoint.
        config_name: the configuration that the template names.
        variants: all production variants.
        shadows: all shadow variants.

    Raises:
        Differs: the status, the configuration, the variants, their versions or their sizes are others.
    """
    name, status, live = described["EndpointName"], described["EndpointStatus"], described["EndpointConfigName"]
    reason = described.get("FailureReason")
    because = f" SageMaker says: {reason}" if reason else ""
    if live != config_name:
        raise Differs(
            f"Endpoint {name} still serves the configuration {live}, not {config_name}: SageMaker rolled the update back."
            f"{because or ' It gives no reason; see the log of the endpoint and the alarms of its roll-back.'}"
        )
    if status != "InService":
        raise Differs(f"Endpoint {name} is {status}, not InService.{because}")
    _compare_names(name, "variants", described.get("ProductionVariants", []), variants)
    _compare_names(name, "shadow variants", described.get("ShadowProductionVariants", []), shadows)
    config = sagemaker.describe_endpoint_config(EndpointConfigName=live)
    configured = {
        variant["VariantName"]: variant
        for variant in [*config.get("ProductionVariants", []), *config.get("ShadowProductionVariants", [])]
    }
    for wanted in [*variants, *shadows]:
        model = configured[wanted.name].get("ModelName")
        served = tuple(model_packages(sagemaker, model)) if model else ()
        if served != wanted.model_package_arns:
            raise Differs(
                f"Variant {wanted.name} of endpoint {name} serves {_listed(served)}, not {_listed(wanted.model_package_arns)}:"
                f" its model {model} was changed outside of this stack. Deploy again."
            )
    counts = {v["VariantName"]: v.get("DesiredInstanceCount") for v in described.get("ProductionVariants", [])}
    for wanted in variants:
        _compare_count(f"Variant {wanted.name} of endpoint {name}", "instances", counts[wanted.name], wanted, because)


def model_packages(sagemaker: Any, model_name: str) -> list[str]:
    """The model packages that a model's containers are of, in their order."""
    model = sagemaker.describe_model(ModelName=model_name)
    containers = [model["PrimaryContainer"]] if model.get("PrimaryContainer") else model.get("Containers", [])
    return [container["ModelPackageName"] for container in containers if container.get("ModelPackageName")]


def _compare_names(endpoint: str, what: str, live: list[Mapping[str, Any]], wanted: list[WantedVariant]) -> None:
    found, asked = sorted(v["VariantName"] for v in live), sorted(v.name for v in wanted)
    if found != asked:
        raise Differs(f"Endpoint {endpoint} has the {what} {_listed(found)}, not {_listed(asked)}.")


def _compare_count(what: str, unit: str, count: int | None, wanted: WantedVariant, because: str) -> None:
    least, most = wanted.min_instances, wanted.max_instances
    if least is None or most is None:
        return
    if count is None or not least <= count <= most:
        bounds = f"{least}" if least == most else f"{least} to {most}"
        raise Differs(f"{what} has {count} {unit}, not {bounds}.{because}")


def _listed(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(names) or "none"


def _number(properties: Mapping[str, Any], key: str) -> int | None:
    value = properties.get(key)
    return None if value in (None, "") else int(value)


def components_settled(sagemaker: Any, components: list[WantedVariant]) -> bool:
    """Compare inference components, by name, with what was wanted; False while one of them changes.

    Raises:
        Differs: one failed, serves another version, or has a number of copies that is not allowed.
    """
    for wanted in components:
        described = sagemaker.describe_inference_component(InferenceComponentName=wanted.name)
        status, copies = described["InferenceComponentStatus"], described.get("RuntimeConfig", {})
        if status in CHANGING:
            return False
        reason = described.get("FailureReason")
        because = f" SageMaker says: {reason}" if reason else ""
        if status != "InService":
            raise Differs(f"Inference component {wanted.name} is {status}, not InService.{because}")
        served = tuple(model_packages(sagemaker, described["Specification"]["ModelName"]))
        if served != wanted.model_package_arns:
            raise Differs(
                f"Inference component {wanted.name} serves {_listed(served)}, not {_listed(wanted.model_package_arns)}:"
                f" SageMaker rolled the update back.{because}"
            )
        if copies.get("CurrentCopyCount") != copies.get("DesiredCopyCount"):
            return False
        _compare_count(f"Inference component {wanted.name}", "copies", copies.get("DesiredCopyCount"), wanted, because)
    return True
