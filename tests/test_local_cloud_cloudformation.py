"""AWS::SageMaker::* resources in a stack: created, changed in place, replaced in CloudFormation's order, rolled back, deleted."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from botocore.exceptions import WaiterError

from tests.hosted_images import Hosting
from tests.local_cloud_fixtures import LocalCloud
from tests.pipeline_documents import document, fail

Template = dict[str, Any]
FAST = {"Delay": 1, "MaxAttempts": 180}


class Stack:
    """A stack, deployed as a client does it."""

    def __init__(self, cloud: LocalCloud, name: str) -> None:
        self.name = name
        self.cloudformation = cloud.client("cloudformation")

    def create(self, template: Template, **more: Any) -> None:
        self.cloudformation.create_stack(StackName=self.name, TemplateBody=json.dumps(template), **more)
        self.cloudformation.get_waiter("stack_create_complete").wait(StackName=self.name, WaiterConfig=FAST)

    def update(self, template: Template) -> None:
        self.cloudformation.update_stack(StackName=self.name, TemplateBody=json.dumps(template))
        self.cloudformation.get_waiter("stack_update_complete").wait(StackName=self.name, WaiterConfig=FAST)

    def delete(self) -> None:
        self.cloudformation.delete_stack(StackName=self.name)
        self.cloudformation.get_waiter("stack_delete_complete").wait(StackName=self.name, WaiterConfig=FAST)

    @property
    def status(self) -> str:
        return str(self.cloudformation.describe_stacks(StackName=self.name)["Stacks"][0]["StackStatus"])

    @property
    def ids(self) -> dict[str, str]:
        """Physical ids by logical id."""
        found = self.cloudformation.describe_stack_resources(StackName=self.name)["StackResources"]
        return {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in found}

    @property
    def outputs(self) -> dict[str, str]:
        found = self.cloudformation.describe_stacks(StackName=self.name)["Stacks"][0].get("Outputs", [])
        return {output["OutputKey"]: output["OutputValue"] for output in found}

    def events(self, logical_id: str) -> list[tuple[str, str]]:
        """(status, reason) of a resource, oldest first."""
        found = self.cloudformation.describe_stack_events(StackName=self.name)["StackEvents"]
        return [
            (event["ResourceStatus"], event.get("ResourceStatusReason", ""))
            for event in reversed(found)
            if event["LogicalResourceId"] == logical_id
        ]


@pytest.fixture(scope="module")
def hosting(cloud: LocalCloud) -> Hosting:
    return Hosting(cloud)


def serving(hosting: Hosting, model: str, **behaviour: Any) -> Template:
    """A model behind an endpoint, nothing named."""
    return {
        "Resources": {
            "Model": {
                "Type": "AWS::SageMaker::Model",
                "Properties": {
                    "ExecutionRoleArn": hosting.role,
                    "PrimaryContainer": {"Image": hosting.image, "ModelDataUrl": hosting.artefact(model, **behaviour)},
                },
            },
            "Config": {
                "Type": "AWS::SageMaker::EndpointConfig",
                "Properties": {
                    "ProductionVariants": [
                        {
                            "VariantName": "live",
                            "ModelName": {"Fn::GetAtt": ["Model", "ModelName"]},
                            "InstanceType": "ml.m5.large",
                            # CloudFormation takes numbers as text, too.
                            "InitialInstanceCount": "1",
                            "InitialVariantWeight": 1.0,
                        }
                    ]
                },
            },
            "Endpoint": {
                "Type": "AWS::SageMaker::Endpoint",
                "Properties": {
                    "EndpointConfigName": {"Fn::GetAtt": ["Config", "EndpointConfigName"]},
                    "Tags": [{"Key": "team", "Value": "a"}],
                },
            },
        },
        "Outputs": {
            "Name": {"Value": {"Fn::GetAtt": ["Endpoint", "EndpointName"]}},
            "Ref": {"Value": {"Ref": "Endpoint"}},
        },
    }


def test_a_new_model_replaces_model_and_config_and_keeps_the_endpoint(cloud: LocalCloud, hosting: Hosting) -> None:
    stack = Stack(cloud, "replacing")
    stack.create(serving(hosting, "first"))
    before, endpoint = stack.ids, stack.outputs["Name"]
    assert stack.outputs["Ref"] == f"arn:aws:sagemaker:us-east-1:000000000000:endpoint/{endpoint.lower()}", (
        "ARNs are lower case"
    )
    assert hosting.ask(endpoint)["model"] == "first"

    stack.update(serving(hosting, "second"))

    after = stack.ids
    assert after["Endpoint"] == before["Endpoint"]
    assert after["Model"] != before["Model"]
    assert after["Config"] != before["Config"]
    assert hosting.ask(endpoint)["model"] == "second"
    models = [model["ModelArn"] for model in hosting.sagemaker.list_models(MaxResults=100)["Models"]]
    assert after["Model"] in models
    assert before["Model"] not in models

    stack.delete()
    assert hosting.gone(endpoint)
    assert after["Model"] not in [m["ModelArn"] for m in hosting.sagemaker.list_models(MaxResults=100)["Models"]]


@pytest.mark.long
def test_a_bad_model_is_rolled_back_and_the_endpoint_never_stops_answering(cloud: LocalCloud, hosting: Hosting) -> None:
    stack = Stack(cloud, "rolled-back")
    stack.create(serving(hosting, "good"))
    before, endpoint = stack.ids, stack.outputs["Name"]
    with pytest.raises(WaiterError):
        stack.update(serving(hosting, "bad", crash=True))
    assert stack.status == "UPDATE_ROLLBACK_COMPLETE"
    failed = [reason for status, reason in stack.events("Endpoint") if status == "UPDATE_FAILED"]
    assert failed, stack.events("Endpoint")
    assert "did not pass the ping health check" in failed[0]
    assert hosting.ask(endpoint)["model"] == "good"
    assert stack.ids == before
    # CloudFormation deletes what it replaced only after everything has moved: the old config is still there.
    config = hosting.settled(endpoint)["EndpointConfigName"]
    assert (
        hosting.sagemaker.describe_endpoint_config(EndpointConfigName=config)["EndpointConfigArn"] == before["Config"]
    )
    stack.update(serving(hosting, "better"))
    assert hosting.ask(endpoint)["model"] == "better"
    stack.delete()


def test_an_endpoint_that_never_came_up_is_removed_with_its_stack(cloud: LocalCloud, hosting: Hosting) -> None:
    stack = Stack(cloud, "stillborn")
    with pytest.raises(WaiterError):
        stack.create(serving(hosting, "stillborn", crash=True))
    assert stack.status == "ROLLBACK_COMPLETE"
    assert any(
        "ping health check" in reason for status, reason in stack.events("Endpoint") if status == "CREATE_FAILED"
    )
    names = [endpoint["EndpointName"] for endpoint in hosting.sagemaker.list_endpoints(MaxResults=100)["Endpoints"]]
    assert not [name for name in names if name.startswith("Endpoint-") and "stillborn" in name]
    stack.delete()


def test_a_change_of_tags_starts_no_update(cloud: LocalCloud, hosting: Hosting) -> None:
    stack = Stack(cloud, "tagged")
    template = serving(hosting, "tagged")
    stack.create(template)
    endpoint = stack.outputs["Name"]
    before = hosting.settled(endpoint)["LastModifiedTime"]
    changed = copy.deepcopy(template)
    changed["Resources"]["Endpoint"]["Properties"]["Tags"] = [{"Key": "owner", "Value": "b"}]
    stack.update(changed)
    tags = {t["Key"]: t["Value"] for t in hosting.sagemaker.list_tags(ResourceArn=stack.outputs["Ref"])["Tags"]}
    assert "team" not in tags
    assert tags["owner"] == "b"
    assert tags["aws:cloudformation:stack-name"] == "tagged"
    assert hosting.settled(endpoint)["LastModifiedTime"] == before
    stack.delete()


def test_a_pipeline_changes_in_place_and_a_group_by_replacement(cloud: LocalCloud, hosting: Hosting) -> None:
    def template(message: str, description: str) -> Template:
        return {
            "Resources": {
                "Group": {
                    "Type": "AWS::SageMaker::ModelPackageGroup",
                    "Properties": {
                        "ModelPackageGroupName": f"group-{description}",
                        "ModelPackageGroupDescription": description,
                    },
                },
                "Pipeline": {
                    "Type": "AWS::SageMaker::Pipeline",
                    "Properties": {
                        "PipelineName": "stacked",
                        "RoleArn": hosting.role,
                        "PipelineDefinition": {"PipelineDefinitionBody": document(fail("Stop", message))},
                    },
                },
            }
        }

    stack = Stack(cloud, "pipeline")
    stack.create(template("first", "a"))
    first = stack.ids
    assert first["Pipeline"] == "stacked", "Ref of a pipeline is its name"
    stack.update(template("second", "b"))
    assert stack.ids["Pipeline"] == "stacked"
    assert stack.ids["Group"] != first["Group"]
    described = hosting.sagemaker.describe_pipeline(PipelineName="stacked")
    assert "second" in described["PipelineDefinition"]
    groups = hosting.sagemaker.list_model_package_groups(MaxResults=100)["ModelPackageGroupSummaryList"]
    assert {"group-b"} == {g["ModelPackageGroupName"] for g in groups} & {"group-a", "group-b"}
    stack.delete()
    with pytest.raises(hosting.sagemaker.exceptions.ResourceNotFound):
        hosting.sagemaker.describe_pipeline(PipelineName="stacked")


def test_a_wrong_property_fails_the_stack_with_its_name(cloud: LocalCloud, hosting: Hosting) -> None:
    stack = Stack(cloud, "wrong")
    template = serving(hosting, "wrong")
    template["Resources"]["Config"]["Properties"]["ProductionVariants"][0]["InstanceType"] = "ml.m5.huge"
    with pytest.raises(WaiterError):
        stack.create(template)
    assert any("'ml.m5.huge' at 'productionVariants" in reason for _, reason in stack.events("Config"))
    stack.delete()


def test_a_type_that_is_not_here_is_refused_by_name(cloud: LocalCloud) -> None:
    template = {"Resources": {"Domain": {"Type": "AWS::SageMaker::Domain", "Properties": {"AuthMode": "IAM"}}}}
    stack = Stack(cloud, "domain")
    with pytest.raises(
        (WaiterError, stack.cloudformation.exceptions.ClientError), match=r"AWS::SageMaker::Domain|ROLLBACK"
    ):
        stack.create(template)


def test_an_identity_provider_is_made_changed_and_deleted_and_is_there_once(cloud: LocalCloud) -> None:
    cloudformation, iam = cloud.client("cloudformation"), cloud.client("iam")

    def template(*audiences: str) -> str:
        properties = {"Url": "https://tokens.example.com", "ClientIdList": list(audiences)}
        resource = {"Type": "AWS::IAM::OIDCProvider", "Properties": properties}
        return json.dumps({"Resources": {"Provider": resource}})

    cloudformation.create_stack(StackName="identity", TemplateBody=template("one"), Capabilities=["CAPABILITY_IAM"])
    cloudformation.get_waiter("stack_create_complete").wait(StackName="identity", WaiterConfig={"Delay": 1})
    arn = f"arn:aws:iam::{cloud.account}:oidc-provider/tokens.example.com"
    assert iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)["ClientIDList"] == ["one"]

    cloudformation.create_stack(StackName="again", TemplateBody=template("one"), Capabilities=["CAPABILITY_IAM"])
    with pytest.raises(WaiterError):
        cloudformation.get_waiter("stack_create_complete").wait(StackName="again", WaiterConfig={"Delay": 1})
    reasons = [
        event.get("ResourceStatusReason", "")
        for event in cloudformation.describe_stack_events(StackName="again")["StackEvents"]
    ]
    assert any("already exists" in reason for reason in reasons)
    cloudformation.delete_stack(StackName="again")
    cloudformation.get_waiter("stack_delete_complete").wait(StackName="again", WaiterConfig={"Delay": 1})

    cloudformation.update_stack(StackName="identity", TemplateBody=template("two"), Capabilities=["CAPABILITY_IAM"])
    cloudformation.get_waiter("stack_update_complete").wait(StackName="identity", WaiterConfig={"Delay": 1})
    assert iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)["ClientIDList"] == ["two"]

    cloudformation.delete_stack(StackName="identity")
    cloudformation.get_waiter("stack_delete_complete").wait(StackName="identity", WaiterConfig={"Delay": 1})
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
