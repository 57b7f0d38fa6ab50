"""What scales an endpoint, in the words of Application Auto Scaling's API, which are CloudFormation's too. No CDK here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sagestack import settings

INSTANCES, INVOCATIONS, COMPONENTS = "/aws/sagemaker/Endpoints", "AWS/SageMaker", "/aws/sagemaker/InferenceComponents"


@dataclass(frozen=True)
class Scaled:
    """What is scaled, and the dimensions that SageMaker files its metrics under.

    Attributes:
        resource_id: `endpoint/NAME/variant/NAME` or `inference-component/NAME`.
    """

    resource_id: str

    @property
    def is_component(self) -> bool:
        return self.resource_id.startswith("inference-component/")

    @property
    def name(self) -> str:
        """Of the endpoint or of the component."""
        return self.resource_id.split("/")[1]

    @property
    def queue(self) -> dict[str, str]:
        """Of the queue, which all variants share; of the component, which has none."""
        return {"InferenceComponentName" if self.is_component else "EndpointName": self.name}

    @property
    def requests(self) -> dict[str, str]:
        """Of what is asked: of the component, or of the variant."""
        return self.queue if self.is_component else {**self.queue, "VariantName": self.resource_id.split("/")[3]}


@dataclass(frozen=True)
class ScalingPolicy:
    """One policy.

    Attributes:
        name: what it keeps even, or does.
        kind: its PolicyType.
        configuration: TargetTrackingScalingPolicyConfiguration or StepScalingPolicyConfiguration.
    """

    name: str
    kind: Literal["TargetTrackingScaling", "StepScaling"]
    configuration: Mapping[str, Any]

    @property
    def configuration_key(self) -> str:
        return f"{self.kind}PolicyConfiguration"


def tracking_policies(scaling: settings.Autoscaling, scaled: Scaled) -> Iterator[ScalingPolicy]:
    """One for each target of the settings; the largest answer counts."""

    def keep(name: str, value: float, measure: Mapping[str, Any]) -> ScalingPolicy:
        cooldowns = {
            "ScaleInCooldown": scaling.scale_in_cooldown_in_seconds,
            "ScaleOutCooldown": scaling.scale_out_cooldown_in_seconds,
        }
        return ScalingPolicy(name, "TargetTrackingScaling", {"TargetValue": value, **measure, **cooldowns})

    if scaling.invocations_per_instance is not None:
        per_copy, per_instance = (
            "SageMakerInferenceComponentInvocationsPerCopy",
            "SageMakerVariantInvocationsPerInstance",
        )
        metric = per_copy if scaled.is_component else per_instance
        yield keep("Invocations", scaling.invocations_per_instance, _predefined(metric))
    if scaling.provisioned_concurrency_utilization is not None:
        metric = "SageMakerVariantProvisionedConcurrencyUtilization"
        yield keep("Concurrency", scaling.provisioned_concurrency_utilization, _predefined(metric))
    if scaling.model_latency_ms is not None:
        # SageMaker measures in microseconds.
        yield keep("Latency", scaling.model_latency_ms * 1000, _custom(INVOCATIONS, "ModelLatency", scaled.requests))
    if scaling.cpu_percent is not None:
        of_copies, of_instances = (COMPONENTS, "CPUUtilizationNormalized"), (INSTANCES, "CPUUtilization")
        namespace, metric = of_copies if scaled.is_component else of_instances
        yield keep("Cpu", scaling.cpu_percent, _custom(namespace, metric, scaled.requests))
    if scaling.backlog_per_instance is not None:
        backlog = _custom(INVOCATIONS, "ApproximateBacklogSizePerInstance", scaled.queue)
        yield keep("Backlog", scaling.backlog_per_instance, backlog)


def from_zero(scaling: settings.Autoscaling) -> ScalingPolicy:
    """Starts the first instance (copy), when an alarm says that requests wait for one in vain.

    Target tracking cannot: without instances there is no load of one.
    https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-autoscale.html
    """
    return ScalingPolicy(
        "FromZero",
        "StepScaling",
        {
            "AdjustmentType": "ChangeInCapacity",
            "MetricAggregationType": "Average",
            "Cooldown": scaling.scale_out_cooldown_in_seconds,
            "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
        },
    )


def scheduled_actions(scaling: settings.Autoscaling) -> list[dict[str, Any]]:
    """Other bounds from a time on; named by their place in the settings."""
    return [
        {
            "ScheduledActionName": f"schedule-{place}",
            "Schedule": at.at,
            "Timezone": at.time_zone,
            "ScalableTargetAction": {"MinCapacity": at.min_capacity, "MaxCapacity": at.max_capacity},
        }
        for place, at in enumerate(scaling.schedule)
    ]


def _predefined(metric: str) -> dict[str, Any]:
    return {"PredefinedMetricSpecification": {"PredefinedMetricType": metric}}


def _custom(namespace: str, metric: str, dimensions: Mapping[str, str]) -> dict[str, Any]:
    return {
        "CustomizedMetricSpecification": {
            "Namespace": namespace,
            "MetricName": metric,
            "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
            "Statistic": "Average",
        }
    }
