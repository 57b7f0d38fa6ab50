"""What Application Auto Scaling is told: what is scaled, by which measure, between which bounds, from zero and back."""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_sagemaker as sagemaker
from aws_cdk.assertions import Template
from sagestack import settings
from sagestack.endpoint_scaling import COPY_COUNT, INSTANCE_COUNT, PROVISIONED_CONCURRENCY, EndpointScaling
from sagestack.settings.scaling_checks import scaling_problems

VARIANT = "endpoint/sagestack-dev-housing/variant/AllTraffic"
COMPONENT = "inference-component/sagestack-dev-housing"
OF_VARIANT = [
    {"Name": "EndpointName", "Value": "sagestack-dev-housing"},
    {"Name": "VariantName", "Value": "AllTraffic"},
]
OF_ENDPOINT = [{"Name": "EndpointName", "Value": "sagestack-dev-housing"}]
KINDS: dict[str, dict[str, Any]] = {
    "real-time": {"instance_type": "ml.m5.large", "initial_instance_count": 2},
    "asynchronous": {"instance_type": "ml.m5.large", "initial_instance_count": 1},
    "serverless": {"memory_in_mb": 2048, "max_concurrency": 10, "provisioned_concurrency": 2},
    "inference-components": {
        "instance_type": "ml.m5.large",
        "initial_instance_count": 1,
        "max_instance_count": 2,
        "copies": 1,
        "cpus_per_copy": 1,
        "memory_per_copy_in_mb": 1024,
    },
}
_MODELS: dict[str, Any] = {
    "real-time": settings.RealTime,
    "asynchronous": settings.Asynchronous,
    "serverless": settings.Serverless,
    "inference-components": settings.InferenceComponents,
}


def hosting(kind: str, scaling: dict[str, Any], **changes: Any) -> settings.Hosting:
    bounds = {"min_capacity": 1, "max_capacity": 4}
    built: settings.Hosting = _MODELS[kind].model_validate(
        {"kind": kind, **KINDS[kind], **changes, "autoscaling": {**bounds, **scaling}}
    )
    return built


def scaled(kind: str, scaling: dict[str, Any], **changes: Any) -> Template:
    stack = cdk.Stack()
    endpoint: sagemaker.CfnEndpoint | sagemaker.CfnInferenceComponent
    if kind == "inference-components":
        endpoint = sagemaker.CfnInferenceComponent(stack, "Component", endpoint_name="sagestack-dev-housing")
    else:
        endpoint = sagemaker.CfnEndpoint(stack, "Endpoint", endpoint_config_name="config")
    dimension = {"serverless": PROVISIONED_CONCURRENCY, "inference-components": COPY_COUNT}.get(kind, INSTANCE_COUNT)
    EndpointScaling(
        stack,
        "Scaling",
        endpoint=endpoint,
        resource_id=COMPONENT if kind == "inference-components" else VARIANT,
        scalable_dimension=dimension,
        hosting=hosting(kind, scaling, **changes),
    )
    return Template.from_stack(stack)


def target(template: Template) -> dict[str, Any]:
    (found,) = template.find_resources("AWS::ApplicationAutoScaling::ScalableTarget").values()
    properties: dict[str, Any] = found["Properties"]
    return properties


def policies(template: Template) -> dict[str, dict[str, Any]]:
    """By what their names begin with."""
    found = template.find_resources("AWS::ApplicationAutoScaling::ScalingPolicy").values()
    return {each["Properties"]["PolicyName"].partition("-")[0]: each["Properties"] for each in found}


def tracked(template: Template, name: str) -> dict[str, Any]:
    configuration: dict[str, Any] = policies(template)[name]["TargetTrackingScalingPolicyConfiguration"]
    return configuration


def names(template: Template) -> set[str]:
    found = template.find_resources("AWS::ApplicationAutoScaling::ScalingPolicy").values()
    return {each["Properties"]["PolicyName"] for each in found}


def test_a_variant_is_registered_after_its_endpoint_with_the_service_linked_role() -> None:
    template = scaled("real-time", {"invocations_per_instance": 600.0, "min_capacity": 2})

    assert target(template) == {
        "ServiceNamespace": "sagemaker",
        "ResourceId": VARIANT,
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
        "MinCapacity": 2,
        "MaxCapacity": 4,
    }
    (registered,) = template.find_resources("AWS::ApplicationAutoScaling::ScalableTarget").values()
    assert next(iter(template.find_resources("AWS::SageMaker::Endpoint"))) in registered["DependsOn"]


def test_invocations_per_instance_are_the_measure_that_application_auto_scaling_knows() -> None:
    cooldowns = {"scale_in_cooldown_in_seconds": 600, "scale_out_cooldown_in_seconds": 60}

    assert tracked(scaled("real-time", {"invocations_per_instance": 600.0, **cooldowns}), "Invocations") == {
        "TargetValue": 600,
        "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
        "ScaleInCooldown": 600,
        "ScaleOutCooldown": 60,
    }


def test_latency_is_written_in_milliseconds_and_tracked_in_microseconds() -> None:
    configuration = tracked(scaled("real-time", {"model_latency_ms": 40.0}), "Latency")

    assert configuration["TargetValue"] == 40_000
    assert configuration["CustomizedMetricSpecification"] == {
        "Namespace": "AWS/SageMaker",
        "MetricName": "ModelLatency",
        "Dimensions": OF_VARIANT,
        "Statistic": "Average",
    }


def test_cpu_is_that_of_the_instances() -> None:
    configuration = tracked(scaled("asynchronous", {"cpu_percent": 150.0}), "Cpu")

    assert configuration["TargetValue"] == 150
    assert configuration["CustomizedMetricSpecification"] == {
        "Namespace": "/aws/sagemaker/Endpoints",
        "MetricName": "CPUUtilization",
        "Dimensions": OF_VARIANT,
        "Statistic": "Average",
    }


def test_several_targets_are_several_policies() -> None:
    template = scaled("real-time", {"invocations_per_instance": 600.0, "model_latency_ms": 40.0, "cpu_percent": 70.0})

    assert set(policies(template)) == {"Invocations", "Latency", "Cpu"}


def test_a_queue_is_kept_short_and_wakes_the_endpoint_from_zero() -> None:
    template = scaled("asynchronous", {"backlog_per_instance": 5.0, "min_capacity": 0})

    assert target(template)["MinCapacity"] == 0
    assert tracked(template, "Backlog")["CustomizedMetricSpecification"] == {
        "Namespace": "AWS/SageMaker",
        "MetricName": "ApproximateBacklogSizePerInstance",
        "Dimensions": OF_ENDPOINT,
        "Statistic": "Average",
    }
    assert policies(template)["FromZero"]["StepScalingPolicyConfiguration"] == {
        "AdjustmentType": "ChangeInCapacity",
        "Cooldown": 300,
        "MetricAggregationType": "Average",
        "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
    }


def test_the_alarm_that_wakes_it_looks_at_the_queue_without_instances() -> None:
    template = scaled("asynchronous", {"backlog_per_instance": 5.0, "min_capacity": 0})

    (alarm,) = template.find_resources("AWS::CloudWatch::Alarm").values()
    by_name = {
        each["Properties"]["PolicyName"]: logical_id
        for logical_id, each in template.find_resources("AWS::ApplicationAutoScaling::ScalingPolicy").items()
    }
    (step,) = [logical_id for name, logical_id in by_name.items() if name.startswith("FromZero")]
    assert alarm["Properties"]["MetricName"] == "HasBacklogWithoutCapacity"
    assert alarm["Properties"]["Dimensions"] == OF_ENDPOINT
    assert alarm["Properties"]["AlarmActions"] == [{"Ref": step}]


def test_an_endpoint_that_never_comes_to_zero_needs_no_waking() -> None:
    template = scaled("asynchronous", {"backlog_per_instance": 5.0})

    assert set(policies(template)) == {"Backlog"}
    template.resource_count_is("AWS::CloudWatch::Alarm", 0)


def test_zero_by_the_clock_is_zero_too() -> None:
    night = {"at": "cron(0 22 * * ? *)", "min_capacity": 0, "max_capacity": 1}
    template = scaled("asynchronous", {"backlog_per_instance": 5.0, "schedule": [night]})

    assert "FromZero" in policies(template)


def test_a_schedule_changes_the_bounds_in_its_time_zone() -> None:
    day = {"at": "cron(0 8 ? * MON-FRI *)", "time_zone": "Europe/Berlin", "min_capacity": 2, "max_capacity": 8}

    assert target(scaled("real-time", {"schedule": [day]}))["ScheduledActions"] == [
        {
            "ScheduledActionName": "schedule-0",
            "Schedule": "cron(0 8 ? * MON-FRI *)",
            "Timezone": "Europe/Berlin",
            "ScalableTargetAction": {"MinCapacity": 2, "MaxCapacity": 8},
        }
    ]


def test_provisioned_concurrency_follows_its_own_utilization() -> None:
    template = scaled("serverless", {"provisioned_concurrency_utilization": 0.7})

    assert target(template)["ScalableDimension"] == "sagemaker:variant:DesiredProvisionedConcurrency"
    assert tracked(template, "Concurrency")["PredefinedMetricSpecification"] == {
        "PredefinedMetricType": "SageMakerVariantProvisionedConcurrencyUtilization"
    }


def test_copies_of_a_component_are_scaled_by_its_own_measures_and_from_zero() -> None:
    template = scaled(
        "inference-components",
        {"invocations_per_instance": 100.0, "cpu_percent": 60.0, "min_capacity": 0},
    )

    assert target(template)["ResourceId"] == COMPONENT
    assert target(template)["ScalableDimension"] == "sagemaker:inference-component:DesiredCopyCount"
    assert tracked(template, "Invocations")["PredefinedMetricSpecification"] == {
        "PredefinedMetricType": "SageMakerInferenceComponentInvocationsPerCopy"
    }
    assert tracked(template, "Cpu")["CustomizedMetricSpecification"] == {
        "Namespace": "/aws/sagemaker/InferenceComponents",
        "MetricName": "CPUUtilizationNormalized",
        "Dimensions": [{"Name": "InferenceComponentName", "Value": "sagestack-dev-housing"}],
        "Statistic": "Average",
    }
    (alarm,) = template.find_resources("AWS::CloudWatch::Alarm").values()
    assert alarm["Properties"]["MetricName"] == "NoCapacityInvocationFailures"


def test_a_policy_is_another_one_on_another_instance_type_and_the_same_with_another_value() -> None:
    """Deregistering deletes the policies, so the ones after it must be new; and no two may track the same metric."""
    first = names(scaled("real-time", {"cpu_percent": 70.0}))

    assert names(scaled("real-time", {"cpu_percent": 70.0})) == first
    assert names(scaled("real-time", {"cpu_percent": 70.0}, instance_type="ml.c5.large")).isdisjoint(first)
    assert names(scaled("real-time", {"cpu_percent": 80.0})) == first


def test_an_endpoint_without_autoscaling_has_nothing_to_register() -> None:
    stack = cdk.Stack()
    fixed = settings.RealTime(kind="real-time", instance_type="ml.m5.large", initial_instance_count=1)

    with pytest.raises(ValueError, match="has no autoscaling in its settings"):
        EndpointScaling(
            stack,
            "Scaling",
            endpoint=sagemaker.CfnEndpoint(stack, "Endpoint", endpoint_config_name="config"),
            resource_id=VARIANT,
            scalable_dimension=INSTANCE_COUNT,
            hosting=fixed,
        )


@pytest.mark.parametrize(
    ("kind", "scaling", "problem"),
    [
        (
            "real-time",
            {"min_capacity": 5, "cpu_percent": 70.0},
            "autoscaling.min_capacity: 5 is more than max_capacity, 4",
        ),
        (
            "real-time",
            {"schedule": [{"at": "rate(1 day)", "min_capacity": 3, "max_capacity": 2}]},
            "autoscaling.schedule[0].min_capacity: 3 is more than max_capacity, 2",
        ),
        (
            "real-time",
            {"min_capacity": 0, "cpu_percent": 70.0},
            "autoscaling.min_capacity: 0 does not fit kind: real-time",
        ),
        (
            "real-time",
            {"backlog_per_instance": 5.0},
            "autoscaling.backlog_per_instance: SageMaker measures no such thing",
        ),
        (
            "asynchronous",
            {"invocations_per_instance": 5.0},
            "autoscaling.invocations_per_instance: SageMaker measures no such thing",
        ),
        (
            "asynchronous",
            {"min_capacity": 0, "cpu_percent": 70.0},
            "autoscaling.min_capacity: 0 without backlog_per_instance",
        ),
        ("serverless", {"cpu_percent": 70.0}, "autoscaling.cpu_percent: SageMaker measures no such thing"),
        (
            "serverless",
            {"provisioned_concurrency_utilization": 0.7, "max_capacity": 11},
            "autoscaling.max_capacity: 11 is more than max_concurrency, 10",
        ),
        ("real-time", {}, "autoscaling: nothing says when to scale"),
    ],
)
def test_what_could_not_work_is_refused_by_its_key(kind: str, scaling: dict[str, Any], problem: str) -> None:
    (found,) = scaling_problems(hosting(kind, scaling))

    assert found.startswith(problem)
    with pytest.raises(ValueError, match="autoscaling"):
        scaled(kind, scaling)


def test_concurrency_that_is_not_provisioned_cannot_be_scaled() -> None:
    on_demand = hosting("serverless", {"provisioned_concurrency_utilization": 0.7}, provisioned_concurrency=None)

    assert "there is none; set provisioned_concurrency" in scaling_problems(on_demand)[0]
