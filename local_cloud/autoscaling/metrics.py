"""What a target tracking policy tracks: the metric behind each predefined type, or the one that the policy brings itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local_cloud.autoscaling.scalable import COPY_COUNT, PROVISIONED_CONCURRENCY, VARIANT_COUNT, Scalable
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.hosting.endpoint_metrics import NAMESPACE

PERIOD_S = 60
"""Of every tracked metric, in the cloud's seconds. AWS looks at the types named HighResolution every 10 seconds; here those
would be windows shorter than the time between two publications of a metric."""


@dataclass(frozen=True)
class Predefined:
    """One predefined metric type.

    Attributes:
        dimension: the scalable dimension that it is for.
        metric: its name in the namespace AWS/SageMaker.
        statistic: what of it is compared with the target.
    """

    dimension: str
    metric: str
    statistic: str


PREDEFINED = {
    "SageMakerVariantInvocationsPerInstance": Predefined(VARIANT_COUNT, "InvocationsPerInstance", "Sum"),
    "SageMakerVariantConcurrentRequestsPerModelHighResolution": Predefined(
        VARIANT_COUNT, "ConcurrentRequestsPerModel", "Average"
    ),
    "SageMakerVariantProvisionedConcurrencyUtilization": Predefined(
        PROVISIONED_CONCURRENCY, "ServerlessProvisionedConcurrencyUtilization", "Average"
    ),
    "SageMakerInferenceComponentInvocationsPerCopy": Predefined(COPY_COUNT, "InvocationsPerCopy", "Sum"),
    "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution": Predefined(
        COPY_COUNT, "ConcurrentRequestsPerCopy", "Average"
    ),
}
"""All of SageMaker's types ("Predefined metrics for target tracking scaling policies"; the guide's tables of metrics).

Sums count what is in one of the cloud's minutes: with a clock factor of 30, 20 requests a second are 40 in a minute."""


def of_policy(configuration: Mapping[str, Any], dimension: str, what: Scalable) -> dict[str, Any]:
    """The members of PutMetricAlarm that say which metric a target tracking policy tracks.

    Args:
        configuration: the policy's TargetTrackingScalingPolicyConfiguration.
        dimension: the scalable dimension.
        what: the resource.

    Raises:
        ValidationError: no metric is given, or two, or one that is not for this dimension.
    """
    predefined = configuration.get("PredefinedMetricSpecification")
    customized = configuration.get("CustomizedMetricSpecification")
    if bool(predefined) == bool(customized):
        raise ValidationError(
            "Exactly one of PredefinedMetricSpecification and CustomizedMetricSpecification must be specified in "
            "TargetTrackingScalingPolicyConfiguration."
        )
    return _predefined(predefined, dimension, what) if predefined else _customized(customized or {})


def _predefined(specification: Mapping[str, Any], dimension: str, what: Scalable) -> dict[str, Any]:
    name = specification["PredefinedMetricType"]
    metric = PREDEFINED.get(name)
    if metric is None or metric.dimension != dimension:
        fitting = sorted(kind for kind, predefined in PREDEFINED.items() if predefined.dimension == dimension) or [
            "none of the predefined ones"
        ]
        raise ValidationError(
            f"PredefinedMetricType {name} is not for the scalable dimension {dimension}; it takes {', '.join(fitting)}, or "
            "a CustomizedMetricSpecification."
        )
    if specification.get("ResourceLabel"):
        raise ValidationError(f"ResourceLabel is not for PredefinedMetricType {name}.")
    return {
        "Namespace": NAMESPACE,
        "MetricName": metric.metric,
        "Dimensions": _listed(what.dimensions),
        "Statistic": metric.statistic,
        "Period": PERIOD_S,
    }


def _customized(specification: Mapping[str, Any]) -> dict[str, Any]:
    metrics = specification.get("Metrics")
    plain = {key for key in ("MetricName", "Namespace", "Statistic", "Dimensions", "Unit") if specification.get(key)}
    if metrics:
        if plain:
            raise ValidationError(
                f"CustomizedMetricSpecification has Metrics and {', '.join(sorted(plain))}: give one or the other."
            )
        return {"Metrics": [_query(query) for query in metrics]}
    if missing := {"MetricName", "Namespace", "Statistic"} - plain:
        raise ValidationError(f"CustomizedMetricSpecification needs {', '.join(sorted(missing))}, or Metrics.")
    return {
        "Namespace": specification["Namespace"],
        "MetricName": specification["MetricName"],
        "Dimensions": [dict(dimension) for dimension in specification.get("Dimensions") or []],
        "Statistic": specification["Statistic"],
        "Period": PERIOD_S,
        **({"Unit": specification["Unit"]} if specification.get("Unit") else {}),
    }


def _query(query: Mapping[str, Any]) -> dict[str, Any]:
    """A metric data query as PutMetricAlarm takes it: the same, with the period that target tracking always has."""
    wanted = dict(query)
    if statistic := wanted.get("MetricStat"):
        wanted["MetricStat"] = {**statistic, "Period": PERIOD_S}
    # PutMetricAlarm's default is True, target tracking's too: exactly one query returns what is tracked.
    wanted.setdefault("ReturnData", True)
    return wanted


def _listed(dimensions: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in dimensions.items()]
