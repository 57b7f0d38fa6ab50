"""Instances that are scaled change their type: what is taken off, when, and how it comes back, forward and backward."""

from __future__ import annotations

import json
from typing import Any

import aws_cdk as cdk
import boto3
import pytest
from aws_cdk import aws_sagemaker as sagemaker
from aws_cdk.assertions import Template
from sagestack import settings
from sagestack.endpoint_scaling import INSTANCE_COUNT, PROVISIONED_CONCURRENCY, EndpointScaling

from constructs import Construct
from functions.scaling_handover.handler import handler
from functions.scaling_handover.names import RELEASE, RESTORE
from tests.synthesis import flags

VARIANT = "endpoint/sagestack-dev-housing/variant/AllTraffic"
ARN = "arn:aws:autoscaling:us-east-1:111111111111:scalingPolicy:{}:resource/sagemaker/" + VARIANT + ":policyName/{}"


class Cloud:
    """What the function talks to: an endpoint on a type, a registration, an alarm, a stack that goes forward or back."""

    def __init__(self, on: str, stack: str = "UPDATE_IN_PROGRESS", is_registered: bool = True) -> None:
        self.on, self.stack, self.is_registered = on, stack, is_registered
        self.calls: list[str] = []
        self.sent: dict[str, dict[str, Any]] = {}
        self.alarm: dict[str, Any] = {
            "AlarmName": "sagestack-dev-housing-waits-in-vain",
            "AlarmActions": [ARN.format("old", "FromZero-ml.m5.large"), "arn:aws:sns:us-east-1:111111111111:people"],
            "MetricName": "HasBacklogWithoutCapacity",
            "Threshold": 1.0,
            "StateValue": "OK",
        }

    class ObjectNotFoundException(Exception):
        pass

    @property
    def exceptions(self) -> type[Cloud]:
        return Cloud

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803 - as boto3 has it
        return {"Stacks": [{"StackStatus": self.stack}]}

    def describe_endpoint(self, EndpointName: str) -> dict[str, Any]:  # noqa: N803
        return {"EndpointConfigName": f"config-of-{EndpointName}"}

    def describe_endpoint_config(self, EndpointConfigName: str) -> dict[str, Any]:  # noqa: N803
        assert EndpointConfigName == "config-of-sagestack-dev-housing"
        return {"ProductionVariants": [{"VariantName": "AllTraffic", "InstanceType": self.on}]}

    def describe_alarms(self, AlarmNames: list[str]) -> dict[str, Any]:  # noqa: N803
        return {"MetricAlarms": [self.alarm] if AlarmNames == [self.alarm["AlarmName"]] else []}

    def put_metric_alarm(self, **request: Any) -> None:
        self._note("put_metric_alarm", request)

    def deregister_scalable_target(self, **request: Any) -> None:
        self._note("deregister", request)
        if not self.is_registered:
            raise Cloud.ObjectNotFoundException

    def register_scalable_target(self, **request: Any) -> None:
        self._note("register", request)

    def put_scheduled_action(self, **request: Any) -> None:
        self._note("put_scheduled_action", request)

    def put_scaling_policy(self, **request: Any) -> dict[str, str]:
        self._note(f"put {request['PolicyName']}", request)
        return {"PolicyARN": ARN.format("new", request["PolicyName"])}

    def _note(self, call: str, request: dict[str, Any]) -> None:
        self.calls.append(call)
        self.sent[call] = request


def registration(instance_type: str) -> dict[str, Any]:
    """What the construct gives the function for an asynchronous endpoint on that type."""
    return json.loads(template(instance_type)[1][RELEASE]["Registration"])  # type: ignore[no-any-return]


def template(instance_type: str = "ml.m5.large") -> tuple[Template, dict[str, dict[str, Any]]]:
    """A stack with a scaled endpoint, and the properties of its two custom resources."""
    built = Template.from_stack(stack_with(instance_type))
    return built, {kind: next(iter(built.find_resources(kind).values()))["Properties"] for kind in (RELEASE, RESTORE)}


def stack_with(instance_type: str) -> cdk.Stack:
    app = cdk.App(context=flags(), analytics_reporting=False)
    stack = cdk.Stack(app, "Serving", env=cdk.Environment(account="111111111111", region="us-east-1"))
    endpoint = sagemaker.CfnEndpoint(stack, "Resource", endpoint_config_name="config")
    night = settings.ScheduledSize(at="cron(0 22 * * ? *)", min_capacity=0, max_capacity=1)
    EndpointScaling(
        Construct(stack, "Endpoint"),
        "Scaling",
        endpoint=endpoint,
        resource_id=VARIANT,
        scalable_dimension=INSTANCE_COUNT,
        hosting=settings.Asynchronous(
            kind="asynchronous",
            instance_type=instance_type,
            initial_instance_count=1,
            autoscaling=settings.Autoscaling(
                min_capacity=0, max_capacity=3, backlog_per_instance=5.0, schedule=[night]
            ),
        ),
    )
    return stack


def send(
    monkeypatch: pytest.MonkeyPatch, cloud: Cloud, resource: str, *, old: str, new: str, kind: str = "Update"
) -> dict[str, str]:
    monkeypatch.setattr(boto3, "client", lambda _service: cloud)
    event: dict[str, Any] = {
        "RequestType": kind,
        "ResourceType": resource,
        "StackId": "arn:aws:cloudformation:us-east-1:111111111111:stack/serving/1",
        "ResourceProperties": {"InstanceType": new, "Registration": json.dumps(registration(new))},
    }
    if kind == "Update":
        event["OldResourceProperties"] = {"InstanceType": old}
    return handler(event, None)


def test_the_registration_is_taken_off_before_the_type_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(on="ml.m5.large")

    send(monkeypatch, cloud, RELEASE, old="ml.m5.large", new="ml.c5.large")

    assert cloud.calls == ["deregister"]
    assert cloud.sent["deregister"] == {
        "ServiceNamespace": "sagemaker",
        "ResourceId": VARIANT,
        "ScalableDimension": INSTANCE_COUNT,
    }


def test_it_is_put_back_after_it_with_its_bounds_and_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its policies are new resources, which CloudFormation makes itself."""
    cloud = Cloud(on="ml.c5.large", is_registered=False)

    send(monkeypatch, cloud, RESTORE, old="ml.m5.large", new="ml.c5.large")

    assert cloud.calls == ["register", "put_scheduled_action"]
    assert (cloud.sent["register"]["MinCapacity"], cloud.sent["register"]["MaxCapacity"]) == (0, 3)
    assert cloud.sent["put_scheduled_action"]["ScheduledActionName"] == "schedule-0"


def test_an_update_that_sagemaker_took_back_without_a_word_fails_the_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(on="ml.m5.large", is_registered=False)

    with pytest.raises(RuntimeError, match=r"does not run on ml\.c5\.large after its update"):
        send(monkeypatch, cloud, RESTORE, old="ml.m5.large", new="ml.c5.large")

    assert cloud.calls == []


def test_on_the_way_back_from_an_update_that_never_moved_the_endpoint_all_of_it_is_put_back_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """CloudFormation undoes only what it began: nothing after the endpoint will be asked."""
    cloud = Cloud(on="ml.m5.large", stack="UPDATE_ROLLBACK_IN_PROGRESS", is_registered=False)

    send(monkeypatch, cloud, RELEASE, old="ml.c5.large", new="ml.m5.large")

    assert cloud.calls == [
        "register",
        "put_scheduled_action",
        "put Backlog-ml.m5.large",
        "put FromZero-ml.m5.large",
        "put_metric_alarm",
    ]


def test_the_alarm_that_wakes_the_endpoint_finds_the_policy_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(on="ml.m5.large", stack="UPDATE_ROLLBACK_IN_PROGRESS")

    send(monkeypatch, cloud, RELEASE, old="ml.c5.large", new="ml.m5.large")

    assert cloud.sent["put_metric_alarm"] == {
        "AlarmName": "sagestack-dev-housing-waits-in-vain",
        "MetricName": "HasBacklogWithoutCapacity",
        "Threshold": 1.0,
        "AlarmActions": [ARN.format("new", "FromZero-ml.m5.large"), "arn:aws:sns:us-east-1:111111111111:people"],
    }


def test_on_the_way_back_from_the_new_type_it_is_taken_off_and_put_back_again(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = Cloud(on="ml.c5.large", stack="UPDATE_ROLLBACK_IN_PROGRESS")
    send(monkeypatch, moved, RELEASE, old="ml.c5.large", new="ml.m5.large")
    back = Cloud(on="ml.m5.large", stack="UPDATE_ROLLBACK_IN_PROGRESS", is_registered=False)
    send(monkeypatch, back, RESTORE, old="ml.c5.large", new="ml.m5.large")

    assert moved.calls == ["deregister"]
    assert back.calls[0] == "register"
    assert "put Backlog-ml.m5.large" in back.calls


@pytest.mark.parametrize("resource", [RELEASE, RESTORE])
@pytest.mark.parametrize(("kind", "old"), [("Create", ""), ("Delete", "ml.m5.large"), ("Update", "ml.c5.large")])
def test_nothing_else_is_touched(monkeypatch: pytest.MonkeyPatch, resource: str, kind: str, old: str) -> None:
    """Making, deleting, and other values on the same type are CloudFormation's own affair."""
    cloud = Cloud(on="ml.c5.large")

    answer = send(monkeypatch, cloud, resource, old=old, new="ml.c5.large", kind=kind)

    assert cloud.calls == []
    assert answer == {"PhysicalResourceId": f"{resource}/{VARIANT}"}


def test_a_registration_that_somebody_else_took_off_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    send(monkeypatch, Cloud(on="ml.m5.large", is_registered=False), RELEASE, old="ml.m5.large", new="ml.c5.large")


def test_one_stands_before_the_endpoint_and_one_between_it_and_the_registration() -> None:
    built, _ = template()

    def only(kind: str) -> tuple[str, list[str]]:
        ((logical_id, resource),) = built.find_resources(kind).items()
        return logical_id, resource.get("DependsOn", [])

    release, _ = only(RELEASE)
    endpoint, before_endpoint = only("AWS::SageMaker::Endpoint")
    restore, before_restore = only(RESTORE)
    _, before_target = only("AWS::ApplicationAutoScaling::ScalableTarget")
    assert release in before_endpoint
    assert endpoint in before_restore
    assert restore in before_target


def test_what_the_function_puts_back_is_what_the_template_makes() -> None:
    built, custom = template()
    known = json.loads(custom[RESTORE]["Registration"])

    (target,) = built.find_resources("AWS::ApplicationAutoScaling::ScalableTarget").values()
    policies = built.find_resources("AWS::ApplicationAutoScaling::ScalingPolicy").values()
    made = [{**each["Properties"]} for each in policies]
    for each in made:
        del each["ScalingTargetId"]
    assert sorted(known["Policies"], key=str) == sorted(made, key=str)
    assert known["ScheduledActions"] == target["Properties"]["ScheduledActions"]
    assert known["Target"].items() <= target["Properties"].items()


def test_only_what_has_instances_is_handed_over() -> None:
    stack = cdk.Stack()
    EndpointScaling(
        stack,
        "Scaling",
        endpoint=sagemaker.CfnEndpoint(stack, "Endpoint", endpoint_config_name="config"),
        resource_id=VARIANT,
        scalable_dimension=PROVISIONED_CONCURRENCY,
        hosting=settings.Serverless(
            kind="serverless",
            memory_in_mb=2048,
            max_concurrency=10,
            provisioned_concurrency=2,
            autoscaling=settings.Autoscaling(min_capacity=1, max_capacity=4, provisioned_concurrency_utilization=0.7),
        ),
    )

    assert Template.from_stack(stack).find_resources(RELEASE) == {}
