"""Nothing lost: a local cloud that was stopped or killed comes back with its state, or says plainly what was cut off."""

from __future__ import annotations

import json
import shutil
import time
from typing import Any

import pytest

from tests.local_cloud_fixtures import LocalCloud
from tests.waiting import wait_for

WAITING_TEMPLATE: dict[str, Any] = {
    "Resources": {
        "Topic": {"Type": "AWS::SNS::Topic"},
        "Handle": {"Type": "AWS::CloudFormation::WaitConditionHandle", "DependsOn": "Topic"},
        "Wait": {
            "Type": "AWS::CloudFormation::WaitCondition",
            "DependsOn": "Handle",
            "Properties": {"Handle": {"Ref": "Handle"}, "Timeout": "600"},
        },
    }
}
"""A stack whose deployment does not end by itself."""
TOPIC_TEMPLATE: dict[str, Any] = {"Resources": {"Topic": WAITING_TEMPLATE["Resources"]["Topic"]}}


def deploy_until(cloud: LocalCloud, stack: str, template: dict[str, Any], status: str, *, update: bool = False) -> None:
    cloudformation = cloud.client("cloudformation")
    (cloudformation.update_stack if update else cloudformation.create_stack)(
        StackName=stack, TemplateBody=json.dumps(template)
    )
    deadline = time.monotonic() + 60
    while status_of(cloud, stack) != status or (
        status.endswith("IN_PROGRESS") and "Handle" not in {r["LogicalResourceId"] for r in resources(cloud, stack)}
    ):
        assert time.monotonic() < deadline, status_of(cloud, stack)
        time.sleep(0.1)
    # What the last half second brought may be lost, and this is no longer ago.
    saved = cloud.state_dir / "ministack/cloudformation.json"
    wait_for(lambda: saved.exists() and status in saved.read_text())


def resources(cloud: LocalCloud, stack: str) -> list[dict[str, Any]]:
    return list(cloud.client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"])


def status_of(cloud: LocalCloud, stack: str) -> str:
    return str(cloud.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"])


@pytest.mark.long
def test_a_killed_cloud_has_what_it_had(own_cloud: LocalCloud) -> None:
    own_cloud.client("s3").create_bucket(Bucket="kept")
    own_cloud.client("s3").put_object(Bucket="kept", Key="a/b.csv", Body=b"1,2\n")
    repository = own_cloud.client("sagemaker").create_code_repository(
        CodeRepositoryName="kept",
        GitConfig={"RepositoryUrl": "https://github.com/example/kept.git"},
        Tags=[{"Key": "a", "Value": "b"}],
    )["CodeRepositoryArn"]
    role = own_cloud.role("kept", {"Action": "s3:GetObject", "Resource": "*"})
    deploy_until(own_cloud, "kept", TOPIC_TEMPLATE, "CREATE_COMPLETE")
    iam = own_cloud.state_dir / "ministack/iam.json"
    wait_for(lambda: iam.exists() and '"kept"' in iam.read_text())
    own_cloud.kill()
    own_cloud.start()
    assert own_cloud.client("s3").get_object(Bucket="kept", Key="a/b.csv")["Body"].read() == b"1,2\n"
    tags = own_cloud.client("sagemaker").list_tags(ResourceArn=repository)
    assert tags["Tags"] == [{"Key": "a", "Value": "b"}]
    assert own_cloud.client("iam").get_role(RoleName="kept")["Role"]["Arn"] == role
    assert status_of(own_cloud, "kept") == "CREATE_COMPLETE"


@pytest.mark.long
def test_a_first_deployment_that_was_cut_off_can_be_deleted_and_made_again(own_cloud: LocalCloud) -> None:
    deploy_until(own_cloud, "cut", WAITING_TEMPLATE, "CREATE_IN_PROGRESS")
    own_cloud.kill()
    own_cloud.start()
    assert status_of(own_cloud, "cut") == "ROLLBACK_FAILED"
    cloudformation = own_cloud.client("cloudformation")
    reasons = [
        e.get("ResourceStatusReason", "") for e in cloudformation.describe_stack_events(StackName="cut")["StackEvents"]
    ]
    assert "The local cloud was stopped during CREATE_IN_PROGRESS." in reasons
    cloudformation.delete_stack(StackName="cut")
    cloudformation.get_waiter("stack_delete_complete").wait(StackName="cut", WaiterConfig={"Delay": 1})
    assert not own_cloud.client("sns").list_topics()["Topics"]
    deploy_until(own_cloud, "cut", TOPIC_TEMPLATE, "CREATE_COMPLETE")


@pytest.mark.long
def test_an_update_that_was_cut_off_can_be_deployed_again(own_cloud: LocalCloud) -> None:
    deploy_until(own_cloud, "cut", TOPIC_TEMPLATE, "CREATE_COMPLETE")
    deploy_until(own_cloud, "cut", WAITING_TEMPLATE, "UPDATE_IN_PROGRESS", update=True)
    own_cloud.kill()
    own_cloud.start()
    assert status_of(own_cloud, "cut") == "UPDATE_ROLLBACK_COMPLETE"
    template = own_cloud.client("cloudformation").get_template(StackName="cut")["TemplateBody"]
    assert template == TOPIC_TEMPLATE, "a client that compares templates must see that there is something to deploy"
    more = {"Resources": {**TOPIC_TEMPLATE["Resources"], "Queue": {"Type": "AWS::SQS::Queue"}}}
    deploy_until(own_cloud, "cut", more, "UPDATE_COMPLETE", update=True)
    assert {r["ResourceType"] for r in resources(own_cloud, "cut")} == {"AWS::SNS::Topic", "AWS::SQS::Queue"}


@pytest.mark.long
def test_a_cloud_whose_state_is_deleted_ends_and_leaves_nothing(own_cloud: LocalCloud) -> None:
    own_cloud.client("s3").create_bucket(Bucket="gone")
    shutil.rmtree(own_cloud.state_dir)
    assert own_cloud.process is not None
    own_cloud.process.wait(timeout=60)
    assert [str(path) for path in own_cloud.state_dir.rglob("*")] == []
