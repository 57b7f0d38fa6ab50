"""The rules of Application Auto Scaling in the local cloud, each by itself: with alarms, metrics and a time that are made up."""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud.autoscaling import endpoint_changes, schedules, steps, tracking
from local_cloud.autoscaling.errors import ObjectNotFound, ResourceNotFound
from local_cloud.autoscaling.service import TARGET
from local_cloud.clock import Clock
from local_cloud.sagemaker.errors import AccessDenied, NotEmulated, ValidationError
from tests.scaling_fakes import ACCOUNT, CONCURRENCY, COPIES, INVOCATIONS, USER, VARIANT, Scaling

SET = "desired instance count to {}"


@pytest.fixture
def scaling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scaling]:
    running = Scaling(tmp_path, monkeypatch)
    yield running
    running.sagemaker.store.close()


# --- Targets -------------------------------------------------------------------------------------------------------


def test_a_target_is_described_as_it_was_registered(scaling: Scaling) -> None:
    arn = scaling.register(1, 4, Tags={"team": "risk"})
    target = scaling.target()
    assert {**VARIANT, "MinCapacity": 1, "MaxCapacity": 4, "ScalableTargetARN": arn}.items() <= target.items()
    assert target["RoleARN"].endswith("/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint")
    assert not any(target["SuspendedState"].values())
    assert scaling.call("ListTagsForResource", {"ResourceARN": arn}) == {"Tags": {"team": "risk"}}


def test_registering_again_changes_only_what_is_said(scaling: Scaling) -> None:
    arn = scaling.register(1, 4)
    again = scaling.call(
        "RegisterScalableTarget", VARIANT, MaxCapacity=6, SuspendedState={"ScheduledScalingSuspended": True}
    )
    assert again["ScalableTargetARN"] == arn
    target = scaling.target()
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 6)
    assert target["SuspendedState"]["ScheduledScalingSuspended"]
    assert not target["SuspendedState"]["DynamicScalingInSuspended"]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"MinCapacity": 3, "MaxCapacity": 2}, "Maximum capacity cannot be less than minimum capacity"),
        ({"MinCapacity": 0, "MaxCapacity": 2}, "less than 1, .*only asynchronous endpoints and inference components"),
        ({"MinCapacity": -1, "MaxCapacity": 2}, "cannot be less than 0, got -1"),
        ({"MinCapacity": 1}, "MaxCapacity must be specified when registering a new scalable target"),
        ({"ResourceId": "endpoint/other/variant/AllTraffic"}, 'Could not find endpoint "other"'),
        ({"ResourceId": "endpoint/churn/variant/Blue"}, "Could not find variant Blue .* it has: AllTraffic"),
        ({"ResourceId": "churn"}, "has the form endpoint/NAME/variant/NAME, got churn"),
        ({"ScalableDimension": "ecs:service:DesiredCount"}, "Unsupported service namespace, resource type or scalable"),
        ({"ScalableDimension": COPIES["ScalableDimension"]}, "has the form inference-component/NAME"),
        ({"ScalableDimension": CONCURRENCY["ScalableDimension"]}, "has no provisioned concurrency to scale"),
    ],
)
def test_a_target_that_cannot_be_is_refused(scaling: Scaling, request_: dict[str, Any], words: str) -> None:
    bounds = {} if "MinCapacity" in request_ else {"MinCapacity": 1, "MaxCapacity": 2}
    with pytest.raises(ValidationError, match=words):
        scaling.call("RegisterScalableTarget", {**VARIANT, **bounds, **request_})
    assert scaling.call("DescribeScalableTargets", {"ServiceNamespace": "sagemaker"})["ScalableTargets"] == []


def test_zero_is_a_minimum_where_the_kind_allows_it(scaling: Scaling) -> None:
    scaling.sagemaker.is_async = True
    scaling.register(0, 4)
    scaling.register(0, 4, COPIES)
    scaling.sagemaker.concurrency = 2
    scaling.register(1, 4, CONCURRENCY)
    with pytest.raises(ValidationError, match="takes no ProvisionedConcurrency below 1"):
        scaling.register(0, 4, CONCURRENCY)
    with pytest.raises(ValidationError, match="is serverless and has no instances"):
        scaling.register(1, 4)


def test_other_services_are_refused_by_name(scaling: Scaling) -> None:
    with pytest.raises(NotEmulated, match="does not emulate Application Auto Scaling of ecs"):
        scaling.call("DescribeScalableTargets", {"ServiceNamespace": "ecs"})
    with pytest.raises(NotEmulated, match="GetPredictiveScalingForecast"):
        scaling.service.call("GetPredictiveScalingForecast", USER, {})


def test_what_belongs_to_a_target_goes_with_it(scaling: Scaling) -> None:
    arn = scaling.register(1, 4, Tags={"team": "risk"})
    scaling.track("tracking", 10)
    scaling.call(
        "PutScheduledAction",
        VARIANT,
        ScheduledActionName="morning",
        Schedule="cron(0 8 * * ? *)",
        ScalableTargetAction={"MinCapacity": 2},
    )
    scaling.call("DeregisterScalableTarget", VARIANT)
    assert scaling.platform.cloudwatch.alarms == {}
    namespace = {"ServiceNamespace": "sagemaker"}
    assert scaling.call("DescribeScalingPolicies", namespace)["ScalingPolicies"] == []
    assert scaling.call("DescribeScheduledActions", namespace)["ScheduledActions"] == []
    with pytest.raises(ResourceNotFound):
        scaling.call("ListTagsForResource", {"ResourceARN": arn})
    with pytest.raises(
        ObjectNotFound, match="No scalable target registered for service namespace: sagemaker, resource"
    ):
        scaling.call("DeregisterScalableTarget", VARIANT)


def test_lists_come_in_pages(scaling: Scaling) -> None:
    scaling.register(1, 4)
    scaling.register(0, 4, COPIES)
    first = scaling.call("DescribeScalableTargets", {"ServiceNamespace": "sagemaker", "MaxResults": 1})
    second = scaling.call(
        "DescribeScalableTargets",
        {"ServiceNamespace": "sagemaker", "MaxResults": 1, "NextToken": first["NextToken"]},
    )
    assert [page["ScalableTargets"][0]["ResourceId"] for page in (first, second)] == [
        VARIANT["ResourceId"],
        COPIES["ResourceId"],
    ]
    assert "NextToken" not in second


def test_capacity_outside_of_new_bounds_is_brought_between_them(scaling: Scaling) -> None:
    scaling.register(3, 5)
    scaling.look()
    scaling.settle()
    assert scaling.sagemaker.count == 3
    [activity] = scaling.activities()
    assert activity["StatusCode"] == "Successful"
    assert activity["Cause"] == "minimum capacity was set to 3"
    assert activity["Description"] == "Setting desired instance count to 3."
    assert activity["StatusMessage"] == f"Successfully set {SET.format(3)}. Change successfully fulfilled by sagemaker."
    scaling.call("RegisterScalableTarget", VARIANT, MinCapacity=1, MaxCapacity=2)
    scaling.look()
    assert scaling.sagemaker.count == 2
    assert scaling.activities()[0]["Cause"] == "maximum capacity was set to 2"
    assert scaling.activities()[0]["StatusCode"] == "InProgress"


# --- Policies ------------------------------------------------------------------------------------------------------


def test_target_tracking_makes_the_alarms_that_aws_makes(scaling: Scaling) -> None:
    scaling.register(1, 4)
    high, low = scaling.track("by-invocations", 70)
    made = scaling.platform.cloudwatch.alarms
    assert high.startswith("TargetTracking-endpoint/churn/variant/AllTraffic-AlarmHigh-")
    assert low.startswith("TargetTracking-endpoint/churn/variant/AllTraffic-AlarmLow-")
    assert (made[high]["Threshold"], made[high]["EvaluationPeriods"]) == (70, 3)
    assert (made[low]["Threshold"], made[low]["EvaluationPeriods"]) == (63, 15)
    for alarm in made.values():
        assert (alarm["MetricName"], alarm["Statistic"], alarm["Period"]) == ("InvocationsPerInstance", "Sum", 60)
        assert {"Name": "VariantName", "Value": "AllTraffic"} in alarm["Dimensions"]
    [policy] = scaling.call("DescribeScalingPolicies", {"ServiceNamespace": "sagemaker"})["ScalingPolicies"]
    assert [alarm["AlarmName"] for alarm in policy["Alarms"]] == [high, low]
    assert scaling.track("by-invocations", 50) == [high, low]
    assert made[high]["Threshold"] == 50
    scaling.call("DeleteScalingPolicy", VARIANT, PolicyName="by-invocations")
    assert made == {}


def test_a_metric_of_ones_own_is_tracked(scaling: Scaling) -> None:
    scaling.register(1, 4)
    cpu = {
        "MetricName": "CPUUtilization",
        "Namespace": "/aws/sagemaker/Endpoints",
        "Statistic": "Average",
        "Dimensions": [{"Name": "EndpointName", "Value": "churn"}],
    }
    high, _ = scaling.track("by-cpu", 60, CustomizedMetricSpecification=cpu)
    assert cpu.items() <= scaling.platform.cloudwatch.alarms[high].items()


def test_an_expression_of_metrics_is_tracked(scaling: Scaling) -> None:
    scaling.register(1, 10)
    stat = {"Metric": {"Namespace": "AWS/SageMaker", "MetricName": "Invocations"}, "Stat": "Sum"}
    queries = [
        {"Id": "all", "MetricStat": stat, "ReturnData": False},
        {"Id": "half", "Expression": "all / 2"},
    ]
    high, _ = scaling.track("by-half", 10, CustomizedMetricSpecification={"Metrics": queries})
    made = scaling.platform.cloudwatch.alarms[high]["Metrics"]
    assert made[0]["MetricStat"]["Period"] == 60
    assert [query["ReturnData"] for query in made] == [False, True]
    scaling.set(high, "ALARM")
    scaling.readings = [60.0] * 3
    scaling.look()
    assert scaling.sagemaker.count == 3


def test_a_metric_that_cloudwatch_cannot_watch_leaves_nothing_behind(
    scaling: Scaling, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaling.register(1, 4)
    cloudwatch = scaling.platform.cloudwatch
    make = cloudwatch.put_metric_alarm

    def refuse_the_second(**alarm: Any) -> None:
        if cloudwatch.alarms:
            error = {"Error": {"Code": "ValidationError", "Message": "no such function: FORECAST"}}
            raise ClientError(error, "PutMetricAlarm")  # type: ignore[arg-type]
        make(**alarm)

    monkeypatch.setattr(cloudwatch, "put_metric_alarm", refuse_the_second)
    with pytest.raises(ValidationError, match="refuses the alarm of policy odd: no such function: FORECAST"):
        scaling.track("odd", 10)
    assert cloudwatch.alarms == {}
    assert scaling.call("DescribeScalingPolicies", {"ServiceNamespace": "sagemaker"})["ScalingPolicies"] == []


def tracking_policy(**configuration: Any) -> dict[str, Any]:
    return {
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {"TargetValue": 1, **configuration},
    }


def step_policy(*adjustments: dict[str, float], **configuration: Any) -> dict[str, Any]:
    wanted = {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": list(adjustments), **configuration}
    return {"PolicyType": "StepScaling", "StepScalingPolicyConfiguration": wanted}


def adjustment(low: float | None, high: float | None, by: int = 1) -> dict[str, float]:
    bounds = {"MetricIntervalLowerBound": low, "MetricIntervalUpperBound": high}
    return {**{key: value for key, value in bounds.items() if value is not None}, "ScalingAdjustment": by}


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (tracking_policy(), "Exactly one of PredefinedMetricSpecification and CustomizedMetricSpecification"),
        (
            tracking_policy(PredefinedMetricSpecification={"PredefinedMetricType": "ECSServiceAverageCPUUtilization"}),
            "is not for the scalable dimension .*; it takes .*, SageMakerVariantInvocationsPerInstance, or",
        ),
        (
            tracking_policy(PredefinedMetricSpecification={"PredefinedMetricType": "Invocations"}),
            "Member must satisfy enum value set",
        ),
        (tracking_policy(**INVOCATIONS) | {"PolicyType": "StepScaling"}, "StepScalingPolicyConfiguration must be specified"),
        (tracking_policy(**INVOCATIONS, ScaleInCooldown=-1), "ScaleInCooldown must not be negative, got -1"),
        (tracking_policy(**INVOCATIONS, TargetValue=0), "TargetValue must be greater than 0"),
        (tracking_policy(CustomizedMetricSpecification={"MetricName": "A"}), "needs Namespace, Statistic, or Metrics"),
        ({"PolicyType": "PredictiveScaling"}, "only supported for Amazon ECS"),
        ({}, "PolicyType must be specified"),
        (step_policy(), "At least one StepAdjustment"),
        (step_policy(adjustment(None, None)), "at least one upper or lower bound"),
        (step_policy(adjustment(0, 5), adjustment(6, None)), "can't have a gap: one ends at 5, the next begins at 6"),
        (step_policy(adjustment(0, 5), adjustment(4, None)), "can't have an overlap"),
        (step_policy(adjustment(0, 5)), "needs one with a null upper bound"),
        (step_policy(adjustment(-5, 0)), "needs one with a null lower bound"),
        (step_policy(adjustment(5, 5)), "must be less than its MetricIntervalUpperBound"),
        (step_policy(adjustment(0, None), MinAdjustmentMagnitude=2), "is for AdjustmentType PercentChangeInCapacity"),
        (step_policy(adjustment(0, None), AdjustmentType=None), "AdjustmentType must be specified"),
    ],
)  # fmt: skip
def test_a_policy_that_cannot_be_is_refused(scaling: Scaling, policy: dict[str, Any], words: str) -> None:
    scaling.register(1, 4)
    with pytest.raises(ValidationError, match=words):
        scaling.call("PutScalingPolicy", VARIANT, PolicyName="wrong", **policy)
    assert scaling.call("DescribeScalingPolicies", {"ServiceNamespace": "sagemaker"})["ScalingPolicies"] == []


@pytest.mark.parametrize(
    ("kind", "what", "metric"),
    [
        ("SageMakerVariantConcurrentRequestsPerModelHighResolution", VARIANT, "ConcurrentRequestsPerModel"),
        ("SageMakerInferenceComponentInvocationsPerCopy", COPIES, "InvocationsPerCopy"),
        ("SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution", COPIES, "ConcurrentRequestsPerCopy"),
    ],
)
def test_every_predefined_type_has_its_metric(scaling: Scaling, kind: str, what: dict[str, str], metric: str) -> None:
    scaling.register(1, 4, what)
    high, _ = scaling.track("tracking", 5, what, PredefinedMetricSpecification={"PredefinedMetricType": kind})
    alarm = scaling.platform.cloudwatch.alarms[high]
    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/SageMaker", metric)
    names = {dimension["Name"] for dimension in alarm["Dimensions"]}
    assert names == ({"InferenceComponentName"} if what == COPIES else {"EndpointName", "VariantName"})


def test_a_policy_needs_a_target_and_a_metric_of_its_own(scaling: Scaling) -> None:
    with pytest.raises(ObjectNotFound, match="No scalable target registered"):
        scaling.track("one", 10)
    scaling.register(1, 4)
    scaling.track("one", 10)
    with pytest.raises(ValidationError, match="Only one TargetTrackingScaling policy for a given metric specification"):
        scaling.track("two", 20)
    with pytest.raises(ObjectNotFound, match=r"No scaling policy found .* policy name: two"):
        scaling.call("DeleteScalingPolicy", VARIANT, PolicyName="two")


def test_the_alarms_of_a_step_policy_are_those_that_name_it(scaling: Scaling) -> None:
    scaling.register(1, 4)
    scaling.step("from-zero", "backlog")
    [policy] = scaling.call("DescribeScalingPolicies", {"ServiceNamespace": "sagemaker"})["ScalingPolicies"]
    assert [alarm["AlarmName"] for alarm in policy["Alarms"]] == ["backlog"]
    scaling.call("DeleteScalingPolicy", VARIANT, PolicyName="from-zero")
    assert "backlog" in scaling.platform.cloudwatch.alarms


# --- Scaling by policies -------------------------------------------------------------------------------------------


def test_scaling_out_is_in_proportion_and_by_the_service_itself(scaling: Scaling) -> None:
    scaling.register(1, 10)
    high, _ = scaling.track("by-invocations", 8)
    scaling.readings = [19, 20, 21]
    scaling.look()
    assert scaling.sagemaker.count == 1
    scaling.set(high, "ALARM")
    scaling.look()
    assert scaling.sagemaker.count == 3
    assert scaling.sagemaker.callers == [
        f"arn:aws:sts::{ACCOUNT}:assumed-role/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint/"
        "AutoScaling-UpdateDesiredCapacity"
    ]
    assert scaling.activities()[0]["Cause"] == f"monitor alarm {high} in state ALARM triggered policy by-invocations"
    asked = scaling.asked[-1]
    assert (asked.namespace, asked.metric) == ("AWS/SageMaker", "InvocationsPerInstance")
    assert (asked.statistic, asked.period_s) == ("Sum", 60)
    assert asked.dimensions == {"EndpointName": "churn", "VariantName": "AllTraffic"}


def test_the_bounds_hold_and_what_is_not_scaled_is_told_once(scaling: Scaling) -> None:
    scaling.register(1, 2)
    high, _ = scaling.track("by-invocations", 8, ScaleOutCooldown=0)
    scaling.set(high, "ALARM")
    scaling.readings = [80] * 15
    scaling.look()
    scaling.settle(180)
    scaling.look()
    scaling.look()
    assert scaling.sagemaker.count == 2
    assert len(scaling.activities()) == 1
    told = scaling.activities(IncludeNotScaledActivities=True)[0]
    assert told["NotScaledReasons"] == [{"Code": "AlreadyAtMaxCapacity", "MaxCapacity": 2}]
    assert (told["StatusCode"], told["Description"]) == ("Failed", "Attempting to scale due to alarm triggered")


def test_while_a_scale_out_cools_down_only_a_larger_one_follows(scaling: Scaling) -> None:
    scaling.register(1, 10)
    high, _ = scaling.track("by-invocations", 10, ScaleOutCooldown=300)
    scaling.set(high, "ALARM")
    scaling.readings = [30] * 3
    scaling.look()
    scaling.settle()
    assert scaling.sagemaker.count == 3
    scaling.readings = [25] * 3
    scaling.look()
    assert scaling.sagemaker.count == 3
    scaling.readings = [50] * 3
    scaling.look()
    assert scaling.sagemaker.count == 5
    scaling.settle(301)
    scaling.readings = [20] * 3
    scaling.look()
    assert scaling.sagemaker.count == 10


def test_what_was_measured_before_a_change_does_not_count_after_it(scaling: Scaling) -> None:
    scaling.register(1, 10)
    high, _ = scaling.track("by-invocations", 10, ScaleOutCooldown=0)
    scaling.set(high, "ALARM")
    scaling.readings = [30] * 3
    scaling.look()
    scaling.settle(59)
    scaling.look()
    assert scaling.sagemaker.count == 3
    scaling.wait(62)
    scaling.look()
    assert scaling.asked[-1].periods == 2
    assert scaling.sagemaker.count == 9


def test_scaling_in_is_by_the_largest_value_and_waits_for_its_cooldown(scaling: Scaling) -> None:
    scaling.sagemaker.count = 6
    scaling.register(1, 10)
    _, low = scaling.track("by-invocations", 10, ScaleInCooldown=300)
    scaling.set(low, "ALARM")
    scaling.readings = [*[2.0] * 14, 5.0]
    scaling.look()
    assert scaling.sagemaker.count == 3
    scaling.settle(240)
    scaling.readings = [0.0] * 15
    scaling.look()
    assert scaling.sagemaker.count == 3
    scaling.wait(61)
    scaling.look()
    assert scaling.sagemaker.count == 1


def test_without_data_nothing_is_scaled(scaling: Scaling) -> None:
    scaling.sagemaker.count = 3
    scaling.register(1, 10)
    _, low = scaling.track("by-invocations", 10)
    scaling.set(low, "ALARM")
    scaling.readings = [None] * 15
    scaling.look()
    scaling.set(low, "INSUFFICIENT_DATA")
    scaling.readings = [0.0] * 15
    scaling.look()
    assert scaling.sagemaker.count == 3


def test_scale_in_can_be_switched_off(scaling: Scaling) -> None:
    scaling.sagemaker.count = 3
    scaling.register(1, 10)
    _, low = scaling.track("by-invocations", 10, DisableScaleIn=True)
    scaling.set(low, "ALARM")
    scaling.readings = [0.0] * 15
    scaling.look()
    assert scaling.sagemaker.count == 3


def test_of_several_policies_the_largest_capacity_wins(scaling: Scaling) -> None:
    scaling.register(1, 20)
    high, _ = scaling.track("by-invocations", 10)
    scaling.step("surge", "surge", AdjustmentType="ExactCapacity", StepAdjustments=[adjustment(0, None, 7)])
    scaling.set(high, "ALARM")
    scaling.readings = [30.0] * 3
    scaling.look()
    assert scaling.sagemaker.count == 7
    assert "triggered policy surge" in scaling.activities()[0]["Cause"]


def test_all_tracking_policies_must_agree_before_it_scales_in(scaling: Scaling) -> None:
    scaling.sagemaker.count = 4
    scaling.register(1, 10)
    _, low = scaling.track("by-invocations", 10)
    cpu = {"MetricName": "CPUUtilization", "Namespace": "/aws/sagemaker/Endpoints", "Statistic": "Average"}
    _, low_cpu = scaling.track("by-cpu", 20, CustomizedMetricSpecification=cpu)
    scaling.readings = [5.0] * 15
    scaling.set(low, "ALARM")
    scaling.look()
    assert scaling.sagemaker.count == 4
    scaling.set(low_cpu, "ALARM")
    scaling.look()
    assert scaling.sagemaker.count == 2


@pytest.mark.parametrize("direction", ["In", "Out"])
def test_a_suspended_target_is_not_scaled_by_policies(scaling: Scaling, direction: str) -> None:
    scaling.sagemaker.count = 3
    scaling.register(1, 10, SuspendedState={f"DynamicScaling{direction}Suspended": True})
    high, low = scaling.track("by-invocations", 10)
    scaling.set(low if direction == "In" else high, "ALARM")
    scaling.readings = [0.0 if direction == "In" else 100.0] * 15
    scaling.look()
    assert scaling.sagemaker.count == 3
    scaling.call("RegisterScalableTarget", VARIANT, SuspendedState={f"DynamicScaling{direction}Suspended": False})
    scaling.look()
    assert scaling.sagemaker.count != 3


def test_an_asynchronous_endpoint_scales_out_from_zero_by_a_step(scaling: Scaling) -> None:
    scaling.sagemaker.is_async, scaling.sagemaker.count = True, 0
    scaling.register(0, 5)
    scaling.step("from-zero", "backlog", Cooldown=300)
    scaling.readings = [1.0]
    scaling.look()
    assert scaling.sagemaker.count == 1
    # The alarm goes on, and so does the cooldown: one instance is what it asked for.
    scaling.settle(120)
    scaling.look()
    assert scaling.sagemaker.count == 1


def test_an_alarm_that_is_only_not_over_yet_does_not_scale_on(scaling: Scaling) -> None:
    scaling.register(1, 5)
    scaling.step("surge", "surge", Cooldown=0)
    scaling.readings = [1.0, None, None]
    scaling.look()
    assert scaling.sagemaker.count == 2
    scaling.settle(200)
    scaling.readings = [None, None, None]
    scaling.look()
    assert scaling.sagemaker.count == 2
    # Where missing data are what it is about, they go on to be.
    scaling.platform.cloudwatch.alarms["surge"]["TreatMissingData"] = "breaching"
    scaling.look()
    assert scaling.sagemaker.count == 3


def test_copies_and_provisioned_concurrency_are_scaled_too(scaling: Scaling) -> None:
    scaling.sagemaker.copies = 0
    scaling.register(0, 3, COPIES)
    scaling.step("copies", "no-capacity", COPIES)
    scaling.readings = [3.0]
    scaling.look()
    assert scaling.sagemaker.copies == 1
    scaling.sagemaker.status, scaling.sagemaker.concurrency = "InService", 1
    scaling.register(1, 9, CONCURRENCY)
    kind = {"PredefinedMetricType": "SageMakerVariantProvisionedConcurrencyUtilization"}
    high, _ = scaling.track("use", 0.5, CONCURRENCY, PredefinedMetricSpecification=kind)
    scaling.set(high, "ALARM")
    scaling.readings = [1.0] * 3
    scaling.look()
    assert scaling.sagemaker.concurrency == 2


def test_an_endpoint_that_changes_is_scaled_later(scaling: Scaling) -> None:
    scaling.register(2, 4)
    scaling.sagemaker.status = "Updating"
    scaling.look()
    assert scaling.sagemaker.count == 1
    scaling.sagemaker.status, scaling.sagemaker.overtaken = "InService", True
    scaling.look()
    assert scaling.activities() == []
    scaling.sagemaker.status, scaling.sagemaker.overtaken = "InService", False
    scaling.look()
    assert scaling.sagemaker.count == 2


def test_what_sagemaker_refuses_is_a_failed_activity_with_its_reason(scaling: Scaling) -> None:
    scaling.register(2, 4)
    scaling.sagemaker.refusal = ValidationError("The account-level service limit is 1 Instances")
    scaling.look()
    scaling.look()
    [activity] = scaling.activities()
    assert activity["StatusCode"] == "Failed"
    assert activity["StatusMessage"] == (
        f"Failed to set {SET.format(2)}. Reason: The account-level service limit is 1 Instances"
    )
    scaling.wait(61)
    scaling.look()
    assert len(scaling.activities()) == 2


def test_servers_that_do_not_come_up_fail_the_activity(scaling: Scaling) -> None:
    scaling.register(2, 4)
    scaling.look()
    scaling.sagemaker.count, scaling.sagemaker.reason = 1, "The container did not pass the ping health check."
    scaling.settle()
    assert scaling.activities()[0]["StatusCode"] == "Failed"
    assert "did not pass the ping health check" in scaling.activities()[0]["StatusMessage"]


def test_what_was_begun_is_followed_up_after_a_restart(scaling: Scaling) -> None:
    scaling.register(2, 4)
    scaling.track("by-invocations", 10)
    scaling.look()
    scaling.restart()
    scaling.look()
    assert scaling.activities()[0]["StatusCode"] == "InProgress"
    scaling.settle()
    assert scaling.activities()[0]["StatusCode"] == "Successful"
    assert scaling.call("DescribeScalingPolicies", {"ServiceNamespace": "sagemaker"})["ScalingPolicies"]


# --- The arithmetic ------------------------------------------------------------------------------------------------


def test_target_tracking_brings_the_metric_to_its_target() -> None:
    chance = random.Random(4)
    for _ in range(500):
        capacity, target = chance.randint(1, 50), chance.uniform(0.1, 100)
        value = chance.uniform(0, 5 * target)
        needed = tracking.scaled_out(capacity, [value], target) if value > target else (
            tracking.scaled_in(capacity, [value], target)
        )  # fmt: skip
        # The same load on the new capacity is at the target or below, and one instance less would be above it.
        load = capacity * value
        assert needed == 0 or load / needed <= target * (1 + 1e-6)
        assert needed <= 1 or load / (needed - 1) > target * (1 - 1e-6)
    assert tracking.scaled_out(0, [5], 2) == 3
    assert tracking.scaled_in(3, [10 / 1.5], 10) == 2
    assert tracking.scaled_out(2, [], 10) == tracking.scaled_in(2, [], 10) == 2


@pytest.mark.parametrize(
    ("kind", "by", "least", "capacity", "after"),
    [
        ("ChangeInCapacity", 2, None, 3, 5),
        ("ChangeInCapacity", -5, None, 3, 0),
        ("ExactCapacity", 4, None, 9, 4),
        ("PercentChangeInCapacity", 25, None, 10, 12),
        ("PercentChangeInCapacity", 5, None, 10, 11),
        ("PercentChangeInCapacity", -67, None, 10, 4),
        ("PercentChangeInCapacity", -5, None, 10, 9),
        ("PercentChangeInCapacity", 25, 2, 4, 6),
        ("PercentChangeInCapacity", 100, None, 0, 0),
    ],
)
def test_a_step_changes_the_capacity_as_aws_rounds_it(
    kind: str, by: int, least: int | None, capacity: int, after: int
) -> None:
    configuration = {"AdjustmentType": kind, "MinAdjustmentMagnitude": least}
    assert steps.adjusted(configuration, {"ScalingAdjustment": by}, capacity) == after


def test_the_bounds_of_a_step_belong_to_the_side_of_the_threshold() -> None:
    steps_above = [adjustment(0, 10, 1), adjustment(10, None, 2)]
    for breach, by in ((0, 1), (9.9, 1), (10, 2), (99, 2)):
        found = steps.step_for(steps_above, breach, "GreaterThanThreshold")
        assert found is not None
        assert found["ScalingAdjustment"] == by
    assert steps.step_for(steps_above, -1, "GreaterThanThreshold") is None
    steps_below = [adjustment(None, -10, -2), adjustment(-10, 0, -1)]
    for breach, by in ((0, -1), (-9.9, -1), (-10, -2)):
        found = steps.step_for(steps_below, breach, "LessThanThreshold")
        assert found is not None
        assert found["ScalingAdjustment"] == by


# --- Schedules -----------------------------------------------------------------------------------------------------


def posix(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("expression", "zone", "now", "due"),
    [
        ("cron(30 6 ? * MON *)", None, "2026-11-21T10:00:00Z", "2026-11-23T06:30:00Z"),
        ("cron(0 8 * * ? *)", "Europe/Berlin", "2026-07-01T07:00:00Z", "2026-07-02T06:00:00Z"),
        ("cron(0 8 * * ? *)", "Europe/Berlin", "2026-12-01T06:59:00Z", "2026-12-01T07:00:00Z"),
        ("cron(0 0 1 1 ? 2020)", None, "2026-01-01T00:00:00Z", None),
        ("cron(0 0 L * ? *)", None, "2026-02-10T00:00:00Z", "2026-02-28T00:00:00Z"),
        ("at(2026-11-22T08:00:00)", "Asia/Tokyo", "2026-11-21T10:00:00Z", "2026-11-21T23:00:00Z"),
        ("at(2026-11-20T08:00:00)", None, "2026-11-21T10:00:00Z", None),
        ("rate(5 minutes)", None, "2026-11-21T10:00:00Z", "2026-11-21T10:00:05Z"),
        ("rate(1 hour)", None, "2026-11-21T10:00:00Z", "2026-11-21T10:01:00Z"),
    ],
)
def test_a_schedule_is_due_when_its_calendar_says_so(
    expression: str, zone: str | None, now: str, due: str | None
) -> None:
    found = schedules.parse(expression, zone).next_after(posix(now), Clock(60))
    assert found == (None if due is None else posix(due))


def test_a_recurring_schedule_is_due_at_its_start_and_never_after_its_end() -> None:
    start, end = posix("2026-11-21T10:00:30Z"), posix("2026-11-21T10:02:00Z")
    schedule = schedules.parse("rate(1 hour)", None, start, end)
    first = schedule.next_after(posix("2026-11-21T10:00:00Z"), Clock(60))
    assert first == start
    assert schedule.next_after(start, Clock(60)) == start + 60
    assert schedule.next_after(start + 60, Clock(60)) is None


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("30 3 * * *", "use at"),
        ("cron(0 8 * * *)", "Incorrect number of values"),
        ("cron(0 8 1 * 1 *)", "question mark"),
        ("cron(99 8 * * ? *)", "Invalid minute value '99'"),
        ("rate(1 minutes)", "a rate is a positive number"),
        ("rate(0 minutes)", "a rate is a positive number"),
        ("at(2026-02-30T00:00:00)", "day is out of range"),
        ("at(tomorrow)", "its form is at"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(expression: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        schedules.parse(expression)


def test_a_time_zone_that_is_none_is_refused() -> None:
    for zone in ("Berlin", "../etc/passwd", ""):
        with pytest.raises(ValidationError, match="is not the name of an IANA time zone"):
            schedules.parse("cron(0 8 * * ? *)", zone)


def put_action(scaling: Scaling, name: str = "morning", **more: Any) -> None:
    request = {"Schedule": "rate(1 hour)", "ScalableTargetAction": {"MinCapacity": 3}, **more}
    scaling.call("PutScheduledAction", VARIANT, ScheduledActionName=name, **request)


@pytest.mark.parametrize("leaves", [False, True])
def test_who_registers_other_bounds_while_a_scheduled_action_is_due_is_not_undone(
    scaling: Scaling, monkeypatch: pytest.MonkeyPatch, *, leaves: bool
) -> None:
    # Its capacity, 1, is below the minimum of the one that leaves.
    scaling.register(3 if leaves else 1, 5)
    put_action(scaling)
    scaling.wait(3600)
    store = scaling.service.store
    before = store.everywhere(TARGET)
    if leaves:
        scaling.call("DeregisterScalableTarget", VARIANT)
    else:
        scaling.register(1, 2)
    # The look has begun already, and knows the target as it was.
    monkeypatch.setattr(store, "everywhere", lambda kind: before if kind == TARGET else [])
    scaling.look()
    if leaves:
        assert scaling.activities() == []
    else:
        assert (scaling.target()["MinCapacity"], scaling.target()["MaxCapacity"]) == (1, 2)
    assert scaling.sagemaker.count == 1


def test_a_scheduled_action_sets_the_bounds_and_the_capacity_follows(scaling: Scaling) -> None:
    scaling.register(1, 5)
    put_action(scaling)
    scaling.wait(3599)
    scaling.look()
    assert scaling.sagemaker.count == 1
    scaling.wait(1)
    scaling.look()
    assert scaling.sagemaker.count == 3
    assert (scaling.target()["MinCapacity"], scaling.target()["MaxCapacity"]) == (3, 5)
    told = {activity["Description"]: activity["Cause"] for activity in scaling.activities()}
    assert told == {
        "Setting min capacity to 3 and max capacity to 5": "scheduled action name morning was triggered",
        "Setting desired instance count to 3.": "minimum capacity was set to 3",
    }


def test_a_scheduled_action_is_kept_as_it_was_put(scaling: Scaling) -> None:
    scaling.register(1, 5)
    put_action(scaling, Timezone="Europe/Berlin", StartTime=scaling.now + 1, EndTime=scaling.now + 100)
    put_action(scaling, ScalableTargetAction={"MaxCapacity": 4})
    [action] = scaling.call("DescribeScheduledActions", {"ServiceNamespace": "sagemaker"})["ScheduledActions"]
    assert action["ScalableTargetAction"] == {"MaxCapacity": 4}
    assert action["Timezone"] == "Europe/Berlin"
    assert not {"StartTime", "EndTime"} & action.keys()
    scaling.call("DeleteScheduledAction", VARIANT, ScheduledActionName="morning")
    with pytest.raises(ObjectNotFound, match="No scheduled action found"):
        scaling.call("DeleteScheduledAction", VARIANT, ScheduledActionName="morning")


def test_a_suspended_schedule_passes_without_effect(scaling: Scaling) -> None:
    scaling.register(1, 5, SuspendedState={"ScheduledScalingSuspended": True})
    put_action(scaling)
    scaling.wait(3601)
    scaling.look()
    assert scaling.target()["MinCapacity"] == 1
    assert scaling.activities() == []


def test_a_scheduled_action_that_does_not_fit_the_bounds_fails_and_says_so(scaling: Scaling) -> None:
    scaling.register(1, 2)
    put_action(scaling)
    scaling.wait(3601)
    scaling.look()
    assert scaling.target()["MinCapacity"] == 1
    assert scaling.activities()[0]["StatusCode"] == "Failed"
    assert "Maximum capacity cannot be less than minimum" in scaling.activities()[0]["StatusMessage"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"ScalableTargetAction": {}}, "At least one of minimum capacity and maximum capacity should be provided"),
        ({"ScalableTargetAction": {"MinCapacity": 3, "MaxCapacity": 2}}, "cannot be less than minimum capacity"),
        ({"Schedule": None}, "Schedule must be specified"),
        ({"StartTime": 9, "EndTime": 8}, "StartTime must be before EndTime"),
        ({"StartTime": "soon"}, "soon is not a time"),
    ],
)
def test_a_scheduled_action_that_cannot_be_is_refused(scaling: Scaling, more: dict[str, Any], words: str) -> None:
    scaling.register(1, 5)
    with pytest.raises(ValidationError, match=words):
        put_action(scaling, **more)


# --- Endpoints that are changed while they are scaled ----------------------------------------------------------------


def test_another_instance_type_under_a_target_is_refused_with_the_way_out(scaling: Scaling) -> None:
    def plan(instance_type: str) -> dict[str, Any]:
        return {"Variants": [{"VariantName": "AllTraffic", "InstanceType": instance_type}]}

    def change(wanted: str) -> None:
        deployed = plan("ml.m5.large")
        endpoint_changes.refuse_other_types(scaling.sagemaker, USER, "churn", deployed, plan(wanted))

    change("ml.c5.large")
    scaling.register(1, 4)
    change("ml.m5.large")
    with pytest.raises(
        ValidationError, match=r"from ml.m5.large to ml.c5.large.*call DeregisterScalableTarget for endpoint"
    ):
        change("ml.c5.large")
    scaling.call("DeregisterScalableTarget", VARIANT)
    change("ml.c5.large")


def test_a_variant_that_goes_takes_its_target_with_it_if_its_caller_may(scaling: Scaling) -> None:
    scaling.register(1, 4)
    scaling.track("by-invocations", 10)
    endpoint_changes.release(scaling.sagemaker, USER, "churn", ["Blue"])
    endpoint_changes.release(scaling.sagemaker, USER, "other")
    scaling.platform.denial = "User: somebody is not authorized"
    with pytest.raises(AccessDenied, match="does not have application-autoscaling:DeregisterScalableTarget permission"):
        endpoint_changes.release(scaling.sagemaker, USER, "churn")
    assert scaling.target()
    scaling.platform.denial = None
    endpoint_changes.release(scaling.sagemaker, USER, "CHURN")
    assert scaling.call("DescribeScalableTargets", {"ServiceNamespace": "sagemaker"})["ScalableTargets"] == []
    assert scaling.platform.cloudwatch.alarms == {}
