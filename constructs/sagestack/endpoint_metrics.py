"""What can be measured of an endpoint: the names, units and maths of SageMaker's metrics, without any judgement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch

from sagestack.settings.processors import vcpus

INVOCATIONS = "AWS/SageMaker"
INSTANCES = "/aws/sagemaker/Endpoints"
COMPONENTS = "/aws/sagemaker/InferenceComponents"

PUBLISHED_EVERY = cdk.Duration.minutes(1)
"""How often SageMaker publishes; the period of every metric here that says no other."""


@dataclass(frozen=True)
class EndpointMetrics:
    """The metrics of one variant, or of one inference component.

    `options` of each method are those of `cloudwatch.Metric`. What SageMaker publishes for which kind of endpoint:
    https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
    https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-monitor.html
    https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints-monitoring.html

    Attributes:
        dimensions: what SageMaker files the metrics under.
        instance_type: what the variant runs on; None for serverless and for inference components.
    """

    dimensions: Mapping[str, str]
    instance_type: str | None = None

    @classmethod
    def of_variant(cls, endpoint_name: str, variant_name: str, instance_type: str | None = None) -> EndpointMetrics:
        """Of a production variant: of all its instances, while an update runs those of the old and the new fleet."""
        return cls({"EndpointName": endpoint_name, "VariantName": variant_name}, instance_type)

    @classmethod
    def of_component(cls, component_name: str) -> EndpointMetrics:
        """Of all copies of an inference component."""
        return cls({"InferenceComponentName": component_name})

    @property
    def is_component(self) -> bool:
        return "InferenceComponentName" in self.dimensions

    def metric(
        self, metric_name: str, *, namespace: str = INVOCATIONS, statistic: str = "Average", **options: Any
    ) -> cloudwatch.Metric:
        """Any metric, by its name. The period is a minute, unless `options` say another."""
        return cloudwatch.Metric(
            namespace=namespace,
            metric_name=metric_name,
            dimensions_map=dict(self.dimensions),
            statistic=statistic,
            **{"period": PUBLISHED_EVERY, **options},
        )

    def invocations(self, **options: Any) -> cloudwatch.Metric:
        """How many requests there were. Unit: count. Asynchronous endpoints do not publish it."""
        return self.metric("Invocations", **{"statistic": "Sum", **options})

    def invocations_per_instance(self, **options: Any) -> cloudwatch.Metric:
        """How many requests each instance got. Unit: count; only the sum says something."""
        return self.metric("InvocationsPerInstance", **{"statistic": "Sum", **options})

    def invocation_4xx_errors(self, **options: Any) -> cloudwatch.Metric:
        """How many requests were the caller's mistake. Unit: count; the average is a share."""
        return self.metric("Invocation4XXErrors", **{"statistic": "Sum", **options})

    def invocation_5xx_errors(self, **options: Any) -> cloudwatch.Metric:
        """How many requests were the model's or the service's failure. Unit: count; the average is a share."""
        return self.metric("Invocation5XXErrors", **{"statistic": "Sum", **options})

    def model_latency(self, **options: Any) -> cloudwatch.Metric:
        """How long the container took, by default one request in a hundred. Unit: microseconds."""
        return self.metric("ModelLatency", **{"statistic": "p99", **options})

    def overhead_latency(self, **options: Any) -> cloudwatch.Metric:
        """How long SageMaker took on top of the container; with a serverless endpoint's cold start. Unit: microseconds."""
        return self.metric("OverheadLatency", **{"statistic": "p99", **options})

    def cpu_utilization(self, **options: Any) -> cloudwatch.Metric:
        """What the containers of an instance use of its processors. Unit: percent of one core, so beyond 100 on several."""
        return self.metric("CPUUtilization", namespace=INSTANCES, **options)

    def memory_utilization(self, **options: Any) -> cloudwatch.Metric:
        """What the containers of an instance use of its memory. Unit: percent."""
        if self.is_component:
            return self.metric("MemoryUtilizationNormalized", namespace=COMPONENTS, **options)
        return self.metric("MemoryUtilization", namespace=INSTANCES, **options)


def error_percent(variants: Sequence[EndpointMetrics], **options: Any) -> cloudwatch.MathExpression:
    """The share of the requests that ended in a 5xx, of the worst of some variants. Unit: percent.

    SageMaker sends a one for a 5xx and a zero for any other answer, so the average is the share. It says the same as errors
    over invocations, also for asynchronous endpoints, which do not publish their invocations. No request, no data.
    """
    return _worst(
        [("100 * {errors}", {"errors": each.invocation_5xx_errors(statistic="Average")}) for each in variants],
        **{"label": "5xx answers in percent", **options},
    )


def p99_latency_ms(variants: Sequence[EndpointMetrics], **options: Any) -> cloudwatch.MathExpression:
    """What one request in a hundred takes the container longer than, of the worst of some variants. Unit: milliseconds."""
    return _worst(
        [("{latency} / 1000", {"latency": each.model_latency()}) for each in variants],
        **{"label": "p99 of the model's latency in ms", **options},
    )


def saturation_percent(variants: Sequence[EndpointMetrics], **options: Any) -> cloudwatch.MathExpression:
    """CPU or memory, whichever is nearer to its end, of the fullest instance of some variants. Unit: percent of all there is.

    The CPU is divided by the processors of the instance type; where those are not known, and for serverless endpoints,
    which publish none, memory alone counts. SageMaker's own normalized CPU is there for inference components only, and
    means the part of an instance that a copy has reserved.
    """
    parts = []
    for each in variants:
        parts.append(("{memory}", {"memory": each.memory_utilization(statistic="Maximum")}))
        if each.is_component:
            cpu = each.metric("CPUUtilizationNormalized", namespace=COMPONENTS, statistic="Maximum")
            parts.append(("{cpu}", {"cpu": cpu}))
        elif each.instance_type and (processors := vcpus(each.instance_type)):
            parts.append((f"{{cpu}} / {processors}", {"cpu": each.cpu_utilization(statistic="Maximum")}))
    return _worst(parts, **{"label": "CPU or memory in percent", **options})


def _worst(parts: Sequence[tuple[str, Mapping[str, cloudwatch.IMetric]]], **options: Any) -> cloudwatch.MathExpression:
    """The largest of some expressions, of which some may have no data."""
    metrics: dict[str, cloudwatch.IMetric] = {}
    terms = []
    for number, (term, named) in enumerate(parts):
        # Each term's metrics get names of their own, and those of the only term its plain ones.
        names = {name: name if len(parts) == 1 else f"{name}{number}" for name in named}
        metrics |= {names[name]: metric for name, metric in named.items()}
        filled = {name: own if len(parts) == 1 else f"FILL({own}, 0)" for name, own in names.items()}
        terms.append(term.format(**filled))
    expression = terms[0] if len(terms) == 1 else f"MAX([{', '.join(terms)}])"
    return cloudwatch.MathExpression(
        expression=expression, using_metrics=metrics, **{"period": PUBLISHED_EVERY, **options}
    )
