"""Application Auto Scaling in this process, with an endpoint, alarms, metrics and a time that do as a test says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from local_cloud.autoscaling import activities as activities  # these register their operations
from local_cloud.autoscaling import policies as policies
from local_cloud.autoscaling import scheduled_actions as scheduled_actions
from local_cloud.autoscaling import tags as tags
from local_cloud.autoscaling import targets as targets
from local_cloud.autoscaling.scaler import Scaler
from local_cloud.autoscaling.service import AutoScaling, model
from local_cloud.clock import Clock
from local_cloud.cloudwatch.windows import Wanted
from local_cloud.platform import Caller, Platform
from local_cloud.sagemaker import validation
from local_cloud.sagemaker.errors import ApiError, ValidationError
from local_cloud.sagemaker.service import Request, Response, Sagemaker
from local_cloud.sagemaker.store import Store

ACCOUNT, REGION = "000000000000", "us-east-1"
USER = Caller(ACCOUNT, REGION, f"arn:aws:iam::{ACCOUNT}:user/tester", "AKIA")
VARIANT = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/churn/variant/AllTraffic",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
COPIES = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "inference-component/churn",
    "ScalableDimension": "sagemaker:inference-component:DesiredCopyCount",
}
CONCURRENCY = {**VARIANT, "ScalableDimension": "sagemaker:variant:DesiredProvisionedConcurrency"}
INVOCATIONS = {"PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}}


class FakeSagemaker(Sagemaker):
    """One endpoint, `churn`, whose changes take until `settle`."""

    count = 1
    status = "InService"
    reason: str | None = None
    is_async = False
    concurrency: int | None = None
    copies = 1
    refusal: ApiError | None = None
    overtaken = False
    """Whether somebody else changes it between a look and what follows from it."""
    callers: list[str]

    def call(self, name: str, caller: Caller, request: Request) -> Response:
        """See Sagemaker."""
        if name == "DescribeEndpoint":
            return self._described(request)
        if name == "DescribeInferenceComponent":
            return {"InferenceComponentStatus": self.status, "RuntimeConfig": {"DesiredCopyCount": self.copies}}
        if self.overtaken:
            self.status = "Updating"
            raise ValidationError('Cannot update in-progress endpoint "arn:of:churn".')
        if self.refusal:
            raise self.refusal
        self.callers.append(caller.arn)
        if name == "UpdateInferenceComponentRuntimeConfig":
            self.copies = request["DesiredRuntimeConfig"]["CopyCount"]
        else:
            assert name == "UpdateEndpointWeightsAndCapacities"
            wanted = request["DesiredWeightsAndCapacities"][0]
            if "ServerlessUpdateConfig" in wanted:
                self.concurrency = wanted["ServerlessUpdateConfig"]["ProvisionedConcurrency"]
            else:
                self.count = wanted["DesiredInstanceCount"]
        self.status = "Updating"
        return {}

    def _described(self, request: Request) -> Response:
        if request["EndpointName"] != "churn":
            raise ValidationError(f'Could not find endpoint "{request["EndpointName"]}".')
        variant: dict[str, Any] = {"VariantName": "AllTraffic", "DesiredInstanceCount": self.count}
        if self.concurrency is not None:
            variant = {
                "VariantName": "AllTraffic",
                "DesiredServerlessConfig": {"ProvisionedConcurrency": self.concurrency},
            }
        return {
            "EndpointArn": "arn:of:churn",
            "EndpointStatus": self.status,
            "FailureReason": self.reason,
            "ProductionVariants": [variant],
            **({"AsyncInferenceConfig": {"OutputConfig": {}}} if self.is_async else {}),
        }


class FakeCloudWatch:
    """Alarms whose states a test sets."""

    def __init__(self) -> None:
        self.alarms: dict[str, dict[str, Any]] = {}

    def put_metric_alarm(self, **alarm: Any) -> None:
        state = self.alarms.get(alarm["AlarmName"], {}).get("StateValue", "INSUFFICIENT_DATA")
        arn = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{alarm['AlarmName']}"
        self.alarms[alarm["AlarmName"]] = {"StateValue": state, "AlarmArn": arn, **alarm}

    def delete_alarms(self, AlarmNames: list[str]) -> None:  # noqa: N803
        for name in AlarmNames:
            self.alarms.pop(name, None)

    def get_paginator(self, operation: str) -> FakeCloudWatch:
        assert operation == "describe_alarms"
        return self

    def paginate(self, AlarmTypes: list[str]) -> list[dict[str, Any]]:  # noqa: N803
        assert AlarmTypes == ["MetricAlarm"]
        return [{"MetricAlarms": list(self.alarms.values())}]


class FakePlatform:
    """CloudWatch, and what IAM says of DeregisterScalableTarget."""

    def __init__(self) -> None:
        self.cloudwatch = FakeCloudWatch()
        self.denial: str | None = None

    def client(self, name: str, region: str) -> FakeCloudWatch:
        assert (name, region) == ("cloudwatch", REGION)
        return self.cloudwatch

    def denied(self, caller: Caller, action: str, resource_arn: str, context: Mapping[str, str]) -> str | None:
        assert action == "application-autoscaling:DeregisterScalableTarget"
        return self.denial


class Scaling:
    """The service on a store in a folder, and the hands that a test needs."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_800_000_000.0
        monkeypatch.setattr("time.time", lambda: self.now)
        self.platform = FakePlatform()
        self.readings: list[float | None] = []
        """What every metric was in its last periods, the newest last."""
        self.asked: list[Wanted] = []
        self._path = folder / "store.sqlite"
        self.sagemaker = self._sagemaker()
        self.service = AutoScaling(self.sagemaker, self._values)
        self.sagemaker.background["autoscaling"] = self.service

    def _sagemaker(self) -> FakeSagemaker:
        sagemaker = FakeSagemaker(
            Store(self._path), cast(Platform, self.platform), cast(Any, None), self._path.parent, clock=Clock(60)
        )
        sagemaker.callers = []
        return sagemaker

    def _values(self, wanted: Wanted) -> list[float | None]:
        self.asked.append(wanted)
        return self.readings[-wanted.periods :]

    def restart(self) -> None:
        """What a kill and a new start are; the endpoint is as it was."""
        old = self.sagemaker
        old.store.close()
        self.sagemaker = self._sagemaker()
        for member in ("count", "status", "concurrency", "copies"):
            setattr(self.sagemaker, member, getattr(old, member))
        self.service = AutoScaling(self.sagemaker, self._values)

    def call(self, name: str, request: Request, **more: Any) -> Response:
        """One call; its answer fits the shape that botocore knows."""
        response = self.service.call(name, USER, {**request, **more})
        shape = model().operation_model(name).output_shape
        if shape is not None:
            validation.validate(response, shape)
        return response

    def register(self, low: int, high: int, what: Request = VARIANT, **more: Any) -> str:
        """A scalable target."""
        answer = self.call("RegisterScalableTarget", {**what, "MinCapacity": low, "MaxCapacity": high, **more})
        return str(answer["ScalableTargetARN"])

    def track(self, name: str, target: float, what: Request = VARIANT, **configuration: Any) -> list[str]:
        """A target tracking policy by invocations, or what the configuration says; the names of its alarms."""
        metric = {} if "CustomizedMetricSpecification" in configuration else INVOCATIONS
        answer = self.call(
            "PutScalingPolicy",
            what,
            PolicyName=name,
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={"TargetValue": target, **metric, **configuration},
        )
        return [alarm["AlarmName"] for alarm in answer["Alarms"]]

    def step(self, name: str, alarm: str, what: Request = VARIANT, threshold: float = 1, **configuration: Any) -> None:
        """A step scaling policy, and an alarm that is in ALARM and names it."""
        wanted = {
            "AdjustmentType": "ChangeInCapacity",
            "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
            **configuration,
        }
        answer = self.call(
            "PutScalingPolicy",
            what,
            PolicyName=name,
            PolicyType="StepScaling",
            StepScalingPolicyConfiguration=wanted,
        )
        self.platform.cloudwatch.put_metric_alarm(
            AlarmName=alarm,
            AlarmActions=[answer["PolicyARN"]],
            Namespace="AWS/SageMaker",
            MetricName="HasBacklogWithoutCapacity",
            Dimensions=[],
            Statistic="Average",
            Period=60,
            EvaluationPeriods=1,
            Threshold=threshold,
            ComparisonOperator="GreaterThanOrEqualToThreshold",
        )
        self.set(alarm, "ALARM")

    def set(self, alarm: str, state: str) -> None:
        """Set an alarm's state."""
        self.platform.cloudwatch.alarms[alarm]["StateValue"] = state

    def look(self) -> None:
        """Let the scaler look at everything once."""
        Scaler(self.service).look()

    def settle(self, cloud_s: float = 60) -> None:
        """SageMaker is done with what it was asked, and so much of the cloud's time is over."""
        self.sagemaker.status = "InService"
        self.look()
        self.wait(cloud_s)

    def wait(self, cloud_s: float) -> None:
        """Let so much of the cloud's time pass."""
        self.now += self.service.clock.real(cloud_s)

    def activities(self, **more: Any) -> list[dict[str, Any]]:
        """The scaling activities, the newest first."""
        answer = self.call("DescribeScalingActivities", {"ServiceNamespace": "sagemaker", **more})
        return list(answer["ScalingActivities"])

    def target(self, what: Request = VARIANT) -> dict[str, Any]:
        """A scalable target as it is described."""
        answer = self.call(
            "DescribeScalableTargets", {"ServiceNamespace": "sagemaker", "ResourceIds": [what["ResourceId"]]}
        )
        return dict(answer["ScalableTargets"][0])
