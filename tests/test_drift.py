"""What somebody changed by hand is found, by CloudFormation or by asking the service."""

import datetime
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from sagestack.cli.drift.cloudformation import DetectionFailed, detect, resources_of
from sagestack.cli.drift.live import look

from tests.local_cloud_fixtures import LocalCloud

STACK = "sagestack-drift-test"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def _policy(action: str, resource: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}]}


TEMPLATE: dict[str, Any] = {
    "Resources": {
        "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": TRUST}},
        "Policy": {
            "Type": "AWS::IAM::Policy",
            "Properties": {
                "PolicyName": "own",
                "PolicyDocument": _policy(
                    "s3:GetObject", {"Fn::Join": ["", [{"Fn::GetAtt": ["Bucket", "Arn"]}, "/*"]]}
                ),
                "Roles": [{"Ref": "Role"}],
            },
        },
        "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"VersioningConfiguration": {"Status": "Enabled"}}},
        "Parameter": {
            "Type": "AWS::SSM::Parameter",
            "Properties": {"Type": "String", "Value": "one", "Name": "/sagestack/drift-test"},
        },
        "Alarm": {
            "Type": "AWS::CloudWatch::Alarm",
            "Properties": {
                "MetricName": "M",
                "Namespace": "N",
                "Statistic": "Sum",
                "Period": 60,
                "EvaluationPeriods": 1,
                "Threshold": 5,
                "ComparisonOperator": "GreaterThanThreshold",
            },
        },
        "Group": {
            "Type": "AWS::SageMaker::ModelPackageGroup",
            "Properties": {"ModelPackageGroupName": "sagestack-drift-test"},
        },
        "Key": {"Type": "AWS::KMS::Key", "Properties": {"KeyPolicy": _policy("kms:*", "*")}},
    }
}


class Account:
    """A stack in the local cloud, and the clients that change it by hand."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud = cloud
        self.session: Any = SimpleNamespace(
            cloudformation=cloud.client("cloudformation"),
            sagemaker=cloud.client("sagemaker"),
            autoscaling=cloud.client("application-autoscaling"),
            poll_seconds=0.1,
        )

    @property
    def resources(self) -> Any:
        return resources_of(self.session, STACK)

    def physical_id(self, logical_id: str) -> str:
        return str(self.resources[logical_id]["PhysicalResourceId"])

    def drifted(self) -> dict[str, tuple[str, list[tuple[str, Any, Any]]]]:
        detection = detect(self.session, STACK, self.resources, {"Bucket": "Data"})
        return {
            each.logical_id: (each.kind, [(d.property, d.deployed, d.found) for d in each.differences])
            for each in detection.drifted
        }


@pytest.fixture
def account(cloud: LocalCloud) -> Iterator[Account]:
    cloudformation = cloud.client("cloudformation")
    cloudformation.create_stack(StackName=STACK, TemplateBody=json.dumps(TEMPLATE), Capabilities=["CAPABILITY_IAM"])
    cloudformation.get_waiter("stack_create_complete").wait(StackName=STACK, WaiterConfig={"Delay": 1})
    yield Account(cloud)
    cloudformation.delete_stack(StackName=STACK)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=STACK, WaiterConfig={"Delay": 1})


def test_what_was_changed_by_hand_is_named_with_both_values(account: Account) -> None:
    assert account.drifted() == {}

    client = account.cloud.client
    role, bucket = account.physical_id("Role"), account.physical_id("Bucket")
    wider = _policy("s3:*", "*")
    client("iam").put_role_policy(RoleName=role, PolicyName="own", PolicyDocument=json.dumps(wider))
    client("s3").put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    client("ssm").delete_parameter(Name="/sagestack/drift-test")
    alarm = {key: value for key, value in TEMPLATE["Resources"]["Alarm"]["Properties"].items() if key != "Threshold"}
    client("cloudwatch").put_metric_alarm(AlarmName=account.physical_id("Alarm"), Threshold=500, **alarm)

    found = account.drifted()
    assert found["Bucket"] == ("changed", [("VersioningConfiguration.Status", "Enabled", "Suspended")])
    assert found["Parameter"] == ("deleted", [])
    assert ("PolicyDocument.Statement.0.Action", "s3:GetObject", "s3:*") in found["Policy"][1]
    assert [d[0] for d in found["Alarm"][1]] == ["Threshold"]
    assert set(found) == {"Bucket", "Parameter", "Policy", "Alarm"}


def test_what_nobody_can_check_is_counted(account: Account) -> None:
    detection = detect(account.session, STACK, account.resources, {})
    assert detection.unchecked["AWS::KMS::Key"] == 1
    assert "Bucket" in detection.checked


def test_what_cloudformation_does_not_compare_is_asked_for(account: Account) -> None:
    def look_at(logical_id: str) -> Any:
        return look(account.session, STACK, logical_id, account.resources, TEMPLATE, logical_id)

    assert look_at("Group") == (True, None)
    assert look_at("Key") == (False, None)
    account.session.sagemaker.delete_model_package_group(ModelPackageGroupName="sagestack-drift-test")
    could, found = look_at("Group")
    assert could
    assert (found.kind, found.seen_by) == ("deleted", "sagestack")


class FakeSageMaker:
    """An endpoint on some configuration."""

    def __init__(self, config: str, status: str = "InService") -> None:
        self.answer = {"EndpointConfigName": config, "EndpointStatus": status, "LastModifiedTime": NOW}

    def describe_endpoint(self, EndpointName: str) -> dict[str, Any]:  # noqa: N803
        assert EndpointName == "housing"
        return self.answer


NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
ENDPOINT = {
    "Resources": {
        "Endpoint": {
            "Type": "AWS::SageMaker::Endpoint",
            "Properties": {"EndpointConfigName": {"Fn::GetAtt": ["Config", "EndpointConfigName"]}},
        }
    }
}
ENDPOINT_RESOURCES = {
    "Endpoint": {
        "ResourceType": "AWS::SageMaker::Endpoint",
        "PhysicalResourceId": "arn:aws:sagemaker:us-east-1:111111111111:endpoint/housing",
    },
    "Config": {
        "ResourceType": "AWS::SageMaker::EndpointConfig",
        "PhysicalResourceId": "arn:aws:sagemaker:us-east-1:111111111111:endpoint-config/deployed",
    },
}


@pytest.mark.parametrize(
    ("config", "status", "differs"),
    [
        ("deployed", "InService", False),
        ("Deployed", "InService", False),
        ("by-hand", "InService", True),
        ("old", "Updating", False),
    ],
    ids=["as-deployed", "as-deployed-in-the-name's-own-letters", "updated-by-hand", "on-its-way"],
)
def test_an_endpoint_on_another_configuration_was_changed(config: str, status: str, differs: bool) -> None:
    session: Any = SimpleNamespace(sagemaker=FakeSageMaker(config, status))
    could, found = look(session, "stack", "Endpoint", ENDPOINT_RESOURCES, ENDPOINT, "Endpoint")
    assert could
    assert bool(found) is differs
    if found:
        assert [(d.property, d.deployed, d.found) for d in found.differences] == [
            ("EndpointConfigName", "deployed", "by-hand")
        ]


@pytest.mark.parametrize(("later", "differs"), [(-1, False), (60, True)], ids=["as-deployed", "changed-since"])
def test_a_pipeline_that_was_changed_after_its_deployment_is_told_with_who_did_it(later: int, differs: bool) -> None:
    changed = NOW + datetime.timedelta(seconds=later)
    answer = {"LastModifiedTime": changed, "LastModifiedBy": {"IamIdentity": {"Arn": "arn:aws:iam::1:user/ann"}}}
    session: Any = SimpleNamespace(sagemaker=SimpleNamespace(describe_pipeline=lambda PipelineName: answer))  # noqa: N803
    # A model's group is called as its pipeline is.
    resources = {
        name: {"ResourceType": f"AWS::SageMaker::{name}", "PhysicalResourceId": "housing", "LastUpdatedTimestamp": NOW}
        for name in ("ModelPackageGroup", "Pipeline")
    }
    could, found = look(session, "stack", "Pipeline", resources, {}, "Pipeline")
    assert could
    assert bool(found) is differs
    assert found is None or "arn:aws:iam::1:user/ann" in found.detail


class FakeScaling:
    """One scalable target, or none."""

    def __init__(self, *targets: dict[str, int]) -> None:
        self.targets = list(targets)

    def describe_scalable_targets(self, **asked: Any) -> dict[str, Any]:
        assert asked["ResourceIds"] == ["endpoint/housing/variant/AllTraffic"]
        return {"ScalableTargets": self.targets}


@pytest.mark.parametrize(
    ("targets", "kind"),
    [
        (({"MinCapacity": 1, "MaxCapacity": 4},), None),
        (({"MinCapacity": 1, "MaxCapacity": 9},), "changed"),
        ((), "deleted"),
    ],
    ids=["as-deployed", "changed", "deregistered"],
)
def test_a_scalable_target_is_compared(targets: tuple[dict[str, int], ...], kind: str | None) -> None:
    resources = {
        "Target": {
            "ResourceType": "AWS::ApplicationAutoScaling::ScalableTarget",
            "PhysicalResourceId": "endpoint/housing/variant/AllTraffic|sagemaker:variant:DesiredInstanceCount|sagemaker",
        }
    }
    template = {"Resources": {"Target": {"Properties": {"MinCapacity": 1, "MaxCapacity": 4}}}}
    session: Any = SimpleNamespace(autoscaling=FakeScaling(*targets))
    could, found = look(session, "stack", "Target", resources, template, "Target")
    assert could
    assert (found.kind if found else None) == kind


class FailingCloudFormation:
    """Starts a detection that comes to nothing."""

    def __init__(self, status: str) -> None:
        self.status = status

    def detect_stack_drift(self, **_: Any) -> dict[str, str]:
        return {"StackDriftDetectionId": "1"}

    def describe_stack_drift_detection_status(self, **_: Any) -> dict[str, str]:
        return {"DetectionStatus": self.status, "DetectionStatusReason": "Failed to detect drift on resources [Bucket]"}

    def describe_stack_resource_drifts(self, **_: Any) -> dict[str, Any]:
        return {"StackResourceDrifts": []}


def test_a_detection_that_failed_is_said_and_is_not_in_sync() -> None:
    session: Any = SimpleNamespace(cloudformation=FailingCloudFormation("DETECTION_FAILED"), poll_seconds=0)
    with pytest.raises(DetectionFailed, match=r"Bucket"):
        detect(session, "stack", {}, {})


def test_a_detection_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sagestack.cli.drift.cloudformation.TIMEOUT_S", 0.05)
    session: Any = SimpleNamespace(cloudformation=FailingCloudFormation("DETECTION_IN_PROGRESS"), poll_seconds=0.01)
    with pytest.raises(DetectionFailed, match=r"did not end"):
        detect(session, "stack", {}, {})
