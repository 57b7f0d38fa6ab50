"""Application Auto Scaling in a real local cloud: an endpoint that grows and shrinks with its load, its schedule, its stack."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.hosted_images import Hosting
from tests.local_cloud_fixtures import LocalCloud
from tests.waiting import wait_for

CLOCK_FACTOR = 120
"""A minute of the cloud is half a second here: 15 minutes without load, after which an endpoint shrinks, are 7.5 seconds."""
DIMENSION = {"ServiceNamespace": "sagemaker", "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}


@pytest.fixture(scope="module")
def quick_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """A local cloud whose clock is quick; one test kills it."""
    local_cloud = LocalCloud(tmp_path_factory.mktemp("autoscaling"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAGESTACK_LOCAL_CLOUD_CLOCK_FACTOR", str(CLOCK_FACTOR))
        local_cloud.start()
        yield local_cloud
    local_cloud.stop()


@pytest.fixture(scope="module")
def hosting(quick_cloud: LocalCloud) -> Hosting:
    return Hosting(quick_cloud)


@pytest.fixture(scope="module")
def endpoint(hosting: Hosting) -> str:
    """One instance, in service."""
    return hosting.endpoint("scaled", hosting.config("scaled", hosting.model("main")))


@pytest.fixture
def variant(quick_cloud: LocalCloud, endpoint: str) -> Iterator[dict[str, str]]:
    """What identifies the endpoint's variant as a scalable target; nothing is registered before and after."""
    identity = {**DIMENSION, "ResourceId": f"endpoint/{endpoint}/variant/main"}
    yield identity
    scaling = quick_cloud.client("application-autoscaling")
    for target in scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]:
        scaling.deregister_scalable_target(**{key: target[key] for key in identity})


class Load:
    """So many requests each second, from a few threads."""

    def __init__(self, hosting: Hosting, endpoint: str, per_second: int, threads: int = 4) -> None:
        self.failed: list[str] = []
        self._hosting, self._endpoint, self._pause_s = hosting, endpoint, threads / per_second
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def _run(self) -> None:
        due = time.monotonic()
        while not self._end.wait(max(0.0, due - time.monotonic())):
            due += self._pause_s
            try:
                self._hosting.ask(self._endpoint)
            except ClientError as error:
                self.failed.append(str(error))

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()


def instances(hosting: Hosting, endpoint: str) -> int:
    [variant] = hosting.sagemaker.describe_endpoint(EndpointName=endpoint)["ProductionVariants"]
    return int(variant["CurrentInstanceCount"])


@pytest.mark.long
def test_an_endpoint_under_load_grows_and_shrinks_again(
    quick_cloud: LocalCloud, hosting: Hosting, endpoint: str, variant: dict[str, str]
) -> None:
    scaling = quick_cloud.client("application-autoscaling")
    scaling.register_scalable_target(**variant, MinCapacity=1, MaxCapacity=2)
    # Twenty requests a second are ten in a minute of this cloud. One instance does one of them: a machine that is so busy that
    # it sends a tenth of the load still sends more.
    made = scaling.put_scaling_policy(
        **variant,
        PolicyName="by-invocations",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 1.0,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
            "ScaleInCooldown": 60,
            "ScaleOutCooldown": 60,
        },
    )
    with Load(hosting, endpoint, per_second=20) as load:
        wait_for(lambda: instances(hosting, endpoint) == 2, 60)
    wait_for(lambda: instances(hosting, endpoint) == 1, 60)
    assert load.failed == []
    activities = scaling.describe_scaling_activities(ServiceNamespace="sagemaker")["ScalingActivities"]
    shrunk, *_, grown = [activity for activity in activities if "by-invocations" in activity["Cause"]]
    alarms = [alarm["AlarmName"] for alarm in made["Alarms"]]
    for activity, alarm in ((grown, alarms[0]), (shrunk, alarms[1])):
        assert activity["Cause"] == f"monitor alarm {alarm} in state ALARM triggered policy by-invocations"
    assert grown["StatusMessage"].startswith("Successfully set desired instance count to ")


def test_a_scheduled_action_raises_the_minimum(
    quick_cloud: LocalCloud, hosting: Hosting, endpoint: str, variant: dict[str, str]
) -> None:
    scaling = quick_cloud.client("application-autoscaling")
    scaling.register_scalable_target(**variant, MinCapacity=1, MaxCapacity=3)
    scaling.put_scheduled_action(
        **variant,
        ScheduledActionName="rush-hour",
        Schedule="rate(1 minute)",
        ScalableTargetAction={"MinCapacity": 2},
    )
    wait_for(lambda: instances(hosting, endpoint) == 2)
    scaling.delete_scheduled_action(**variant, ScheduledActionName="rush-hour")
    [target] = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert target["MinCapacity"] == 2
    scaling.register_scalable_target(**variant, MinCapacity=1, MaxCapacity=1)
    wait_for(lambda: instances(hosting, endpoint) == 1)


def template(endpoint: str, *, high: int, target_value: float, actions: list[dict[str, Any]]) -> str:
    return json.dumps(
        {
            "Resources": {
                "Target": {
                    "Type": "AWS::ApplicationAutoScaling::ScalableTarget",
                    "Properties": {
                        **DIMENSION,
                        "ResourceId": f"endpoint/{endpoint}/variant/main",
                        "MinCapacity": "1",
                        "MaxCapacity": high,
                        "ScheduledActions": actions,
                    },
                },
                "Policy": {
                    "Type": "AWS::ApplicationAutoScaling::ScalingPolicy",
                    "Properties": {
                        "PolicyName": "stacked",
                        "PolicyType": "TargetTrackingScaling",
                        "ScalingTargetId": {"Ref": "Target"},
                        "TargetTrackingScalingPolicyConfiguration": {
                            "TargetValue": target_value,
                            "PredefinedMetricSpecification": {
                                "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
                            },
                        },
                    },
                },
            },
            "Outputs": {
                "Target": {"Value": {"Ref": "Target"}},
                "TargetId": {"Value": {"Fn::GetAtt": ["Target", "Id"]}},
                "Policy": {"Value": {"Ref": "Policy"}},
                "PolicyArn": {"Value": {"Fn::GetAtt": ["Policy", "Arn"]}},
            },
        }
    )


@pytest.mark.long
def test_a_stack_makes_changes_and_deletes_what_it_scales(
    quick_cloud: LocalCloud, endpoint: str, variant: dict[str, str]
) -> None:
    cloudformation, scaling = (quick_cloud.client(name) for name in ("cloudformation", "application-autoscaling"))
    waiter = {"Delay": 0.2, "MaxAttempts": 500}
    night = {
        "ScheduledActionName": "night",
        "Schedule": "cron(0 22 * * ? *)",
        "Timezone": "Europe/Berlin",
        "StartTime": "2030-01-01T00:00:00Z",
        "ScalableTargetAction": {"MinCapacity": 1, "MaxCapacity": 1},
    }
    body = template(endpoint, high=2, target_value=100, actions=[night])
    cloudformation.create_stack(StackName="scaling", TemplateBody=body)
    cloudformation.get_waiter("stack_create_complete").wait(StackName="scaling", WaiterConfig=waiter)
    [stack] = cloudformation.describe_stacks(StackName="scaling")["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    [policy] = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    identity = f"endpoint/{endpoint}/variant/main|{variant['ScalableDimension']}|sagemaker"
    assert outputs["Target"] == outputs["TargetId"] == identity
    assert outputs["Policy"] == outputs["PolicyArn"] == policy["PolicyARN"]
    [action] = scaling.describe_scheduled_actions(ServiceNamespace="sagemaker")["ScheduledActions"]
    assert (action["Timezone"], action["StartTime"].year) == ("Europe/Berlin", 2030)

    body = template(endpoint, high=3, target_value=50, actions=[])
    cloudformation.update_stack(StackName="scaling", TemplateBody=body)
    cloudformation.get_waiter("stack_update_complete").wait(StackName="scaling", WaiterConfig=waiter)
    [target] = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    [changed] = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    assert target["MaxCapacity"] == 3
    assert changed["PolicyARN"] == policy["PolicyARN"]
    assert changed["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 50
    assert scaling.describe_scheduled_actions(ServiceNamespace="sagemaker")["ScheduledActions"] == []

    cloudformation.delete_stack(StackName="scaling")
    cloudformation.get_waiter("stack_delete_complete").wait(StackName="scaling", WaiterConfig=waiter)
    assert scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []
    names = [alarm["AlarmName"] for alarm in policy["Alarms"]]
    assert quick_cloud.client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"] == []


def test_a_stack_that_cannot_be_scaled_says_why(quick_cloud: LocalCloud) -> None:
    cloudformation = quick_cloud.client("cloudformation")
    cloudformation.create_stack(
        StackName="unscalable", TemplateBody=template("nothing", high=2, target_value=100, actions=[])
    )
    wait_for(lambda: status_of(cloudformation, "unscalable").endswith("ROLLBACK_COMPLETE"))
    events = cloudformation.describe_stack_events(StackName="unscalable")["StackEvents"]
    [reason] = [event["ResourceStatusReason"] for event in events if "nothing" in event.get("ResourceStatusReason", "")]
    assert "Could not find endpoint" in reason
    assert "(Service: ApplicationAutoScaling, Status Code: 400, Error Code: ValidationException)" in reason


def status_of(cloudformation: Any, stack: str) -> str:
    return str(cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"])


def test_who_may_not_register_is_told_which_permission_is_missing(
    quick_cloud: LocalCloud, variant: dict[str, str]
) -> None:
    iam = quick_cloud.client("iam")
    iam.create_user(UserName="reader")
    allowed = {"Effect": "Allow", "Action": "application-autoscaling:Describe*", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=document)
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    reader = quick_cloud.client("application-autoscaling", key["AccessKeyId"], key["SecretAccessKey"])
    assert reader.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []
    with pytest.raises(
        ClientError, match="not authorized to perform: application-autoscaling:RegisterScalableTarget on"
    ):
        reader.register_scalable_target(**variant, MinCapacity=1, MaxCapacity=2)


def test_the_servers_use_of_the_machine_is_measured(quick_cloud: LocalCloud, hosting: Hosting, endpoint: str) -> None:
    where = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": "main"}]

    def largest(metric: str) -> float:
        points = quick_cloud.client("cloudwatch").get_metric_statistics(
            Namespace="/aws/sagemaker/Endpoints",
            MetricName=metric,
            Dimensions=where,
            StartTime=time.time() - 60,
            EndTime=time.time() + 60,
            Period=60,
            Statistics=["Maximum"],
        )["Datapoints"]
        return float(max((point["Maximum"] for point in points), default=0.0))

    with Load(hosting, endpoint, per_second=20):
        assert wait_for(lambda: largest("CPUUtilization")) > 0
        assert 0 < wait_for(lambda: largest("MemoryUtilization")) < 100


def test_a_type_under_a_target_does_not_change_and_an_endpoint_takes_its_target_with_it(
    quick_cloud: LocalCloud, hosting: Hosting
) -> None:
    scaling = quick_cloud.client("application-autoscaling")
    name = hosting.endpoint("typed", hosting.config("typed", hosting.model("typed")))
    identity = {**DIMENSION, "ResourceId": f"endpoint/{name}/variant/typed"}
    scaling.register_scalable_target(**identity, MinCapacity=1, MaxCapacity=2)
    other = hosting.config("typed-other", "typed", InstanceType="ml.c5.large")
    with pytest.raises(ClientError, match=r"from ml\.m5\.large to ml\.c5\.large.*call DeregisterScalableTarget"):
        hosting.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=other)
    assert hosting.settled(name)["EndpointConfigName"] == "typed"
    hosting.sagemaker.delete_endpoint(EndpointName=name)
    assert scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []


@pytest.mark.long
def test_a_kill_loses_no_target_and_no_policy(
    quick_cloud: LocalCloud, hosting: Hosting, endpoint: str, variant: dict[str, str]
) -> None:
    scaling = quick_cloud.client("application-autoscaling")
    arn = scaling.register_scalable_target(**variant, MinCapacity=2, MaxCapacity=3)["ScalableTargetARN"]
    policy = scaling.put_scaling_policy(
        **variant,
        PolicyName="kept",
        PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity",
            "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
        },
    )
    quick_cloud.kill()
    quick_cloud.start()
    [target] = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    [kept] = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    assert (target["ScalableTargetARN"], kept["PolicyARN"]) == (arn, policy["PolicyARN"])
    # What was being scaled when it was killed is scaled.
    wait_for(lambda: instances(hosting, endpoint) == 2)
