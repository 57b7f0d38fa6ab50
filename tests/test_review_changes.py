"""What a change creates, updates, replaces and deletes; and how grave that is, as docs/reference/review.md says."""

import copy
import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sagestack.layout import PROJECT_ROOT
from sagestack.review.assembly import Assembly
from sagestack.review.changes import change_notes, resource_changes
from sagestack.review.changes import comparison as changes
from sagestack.review.changes.cdk_diff import SecondOpinion
from sagestack.review.results import Action, ResourceChange, Severity
from sagestack.settings import load_environment

from tests import synthesis
from tests.review_samples import assembly, synthesized

Resources = dict[str, dict[str, Any]]

PACKAGE = "arn:aws:sagemaker:us-east-1:111111111111:model-package/housing"


@pytest.fixture(autouse=True)
def without_second_opinion(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node process costs half a second; tests/test_review_schemas.py asks it."""
    monkeypatch.setattr(changes, "second_opinion", lambda pairs: SecondOpinion())


def bucket(**properties: Any) -> dict[str, Any]:
    return {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "data", **properties}}


def retained(resource: dict[str, Any]) -> dict[str, Any]:
    return {**resource, "DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}


def alarm(name: str) -> dict[str, Any]:
    properties = {"AlarmName": name, "Threshold": 1, "AlarmActions": ["arn:aws:sns:us-east-1:111111111111:x"]}
    return {"Type": "AWS::CloudWatch::Alarm", "Properties": properties}


def serving(version: int = 3, instances: int = 2, alarms: int = 2, canary: bool = True) -> Resources:
    """What a serving stack has, without its roles and its gate."""
    routing = {"Type": "CANARY", "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 10}, "WaitIntervalInSeconds": 60}
    names = [f"Alarm{number}" for number in range(alarms)]
    return {
        "Model": {
            "Type": "AWS::SageMaker::Model",
            "Properties": {"PrimaryContainer": {"ModelPackageName": f"{PACKAGE}/{version}"}},
        },
        "Config": {
            "Type": "AWS::SageMaker::EndpointConfig",
            "Properties": {
                "ProductionVariants": [
                    {
                        "VariantName": "AllTraffic",
                        "ModelName": {"Fn::GetAtt": ["Model", "ModelName"]},
                        "InstanceType": "ml.m5.large",
                        "InitialInstanceCount": instances,
                    }
                ]
            },
        },
        "Endpoint": {
            "Type": "AWS::SageMaker::Endpoint",
            "Properties": {
                "EndpointName": "housing",
                "EndpointConfigName": {"Fn::GetAtt": ["Config", "EndpointConfigName"]},
                "DeploymentConfig": {
                    "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": {"Ref": name}} for name in names]},
                    "BlueGreenUpdatePolicy": {
                        "TrafficRoutingConfiguration": routing if canary else {"Type": "ALL_AT_ONCE"}
                    },
                },
            },
        },
        **{name: alarm(f"housing-{name.lower()}") for name in ("Alarm0", "Alarm1")},
    }


def variant(resources: Resources) -> dict[str, Any]:
    first: dict[str, Any] = resources["Config"]["Properties"]["ProductionVariants"][0]
    return first


def compared(before: Resources, after: Resources) -> dict[str, ResourceChange]:
    """What changes, by logical id."""
    return {each.resource.logical_id: each for each in resource_changes(assembly(before), assembly(after))}


def changed(resources: Resources, change: Callable[[Resources], object]) -> tuple[Resources, Resources]:
    after = copy.deepcopy(resources)
    change(after)
    return resources, after


def put(path: str, value: Any) -> Callable[[Resources], None]:
    """Sets `LogicalId.Property.Property`; None takes it away."""

    def change(resources: Resources) -> None:
        logical_id, *keys, last = path.split(".")
        target = resources[logical_id]
        for key in keys:
            target = target[key]
        if value is None:
            target.pop(last)
        else:
            target[last] = value

    return change


def one(type_name: str, **properties: Any) -> Resources:
    return {"It": {"Type": type_name, "Properties": properties}}


def serverless(resources: Resources) -> None:
    for key in ("InstanceType", "InitialInstanceCount"):
        del variant(resources)[key]
    variant(resources)["ServerlessConfig"] = {"MemorySizeInMB": 2048, "MaxConcurrency": 5}


def asynchronous(resources: Resources) -> None:
    resources["Config"]["Properties"]["AsyncInferenceConfig"] = {"OutputConfig": {"S3OutputPath": "s3://x"}}


def renamed(old: str, new: str) -> Callable[[Resources], None]:
    def change(resources: Resources) -> None:
        resources[new] = resources.pop(old)

    return change


NOTEBOOK = one("AWS::SageMaker::NotebookInstance", InstanceType="ml.t3.medium", RoleArn="x", SubnetId="subnet-1")
GROUP = one("AWS::SageMaker::ModelPackageGroup", ModelPackageGroupName="housing", ModelPackageGroupDescription="Old")
PIPELINE = one(
    "AWS::SageMaker::Pipeline", PipelineName="p", PipelineDefinition={"PipelineDefinitionBody": '{"Steps": []}'}
)
FUNCTION = one("AWS::Lambda::Function", Code={"S3Bucket": "assets", "S3Key": f"{'a' * 64}.zip"}, Role="x")
CUSTOM = one("Custom::Gate", ServiceToken="arn:aws:lambda:us-east-1:111111111111:function:one")
KEY = one("AWS::KMS::Key", KeyPolicy={})
RULE = one("AWS::Events::Rule", State="ENABLED", ScheduleExpression="rate(1 day)")


def lifecycle(*steps: str, window: bool = False) -> Resources:
    """A lifecycle config as ours begin, and the instance that has it."""
    content = f"#!/bin/bash\n# In the foreground: {', '.join(steps) or 'nothing'}\n# In the background: nothing\n"
    return {
        **one(
            "AWS::SageMaker::NotebookInstanceLifecycleConfig",
            NotebookInstanceLifecycleConfigName="standard",
            OnStart=[{"Content": {"Fn::Base64": {"Fn::Join": ["", [content, {"Ref": "AWS::Region"}]]}}}],
        ),
        "Notebook": {
            "Type": "AWS::SageMaker::NotebookInstance",
            "Properties": {
                "NotebookInstanceName": "explore",
                "LifecycleConfigName": {"Fn::GetAtt": ["It", "NotebookInstanceLifecycleConfigName"]},
            },
        },
        **({"Window": one("Custom::SagestackNotebookRollout", ServiceToken="x")["It"]} if window else {}),
    }


def studio(home_directories: str = "delete", **domain: Any) -> Resources:
    """A domain with somebody in it, and with what our stack puts beside it."""
    return {
        "It": one("AWS::SageMaker::Domain", DomainName="dev", AuthMode="IAM", VpcId="vpc-1", **domain)["It"],
        "Residue": one("Custom::SagestackStudioResidue", DomainLogicalId="It", HomeDirectories=home_directories)["It"],
        "Ada": one("AWS::SageMaker::UserProfile", DomainId={"Ref": "It"}, UserProfileName="ada")["It"],
        "Contents": one("Custom::SagestackStudioProfileContents", UserProfileName="ada")["It"],
        "Lab": one("AWS::SageMaker::Space", DomainId={"Ref": "It"}, SpaceName="lab")["It"],
    }


def without(resources: Resources, *logical_ids: str) -> tuple[Resources, Resources]:
    return resources, {name: each for name, each in resources.items() if name not in logical_ids}


STOP_SCHEDULE = one(
    "AWS::Scheduler::Schedule",
    Target={
        "Arn": {
            "Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, ":scheduler:::aws-sdk:sagemaker:stopNotebookInstance"]]
        }
    },
)
BUDGET = one("AWS::Budgets::Budget", Budget={"BudgetName": "b", "BudgetType": "COST", "TimeUnit": "MONTHLY"})

LOGS = one("AWS::Logs::LogGroup", RetentionInDays=365)
TABLE = one("AWS::DynamoDB::Table", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True})
SCALED = one(
    "AWS::ApplicationAutoScaling::ScalableTarget",
    ResourceId="endpoint/housing/variant/AllTraffic",
    MinCapacity=2,
    MaxCapacity=6,
)
ROUTE = {
    **one("AWS::EC2::Route", DestinationCidrBlock="0.0.0.0/0", RouteTableId={"Ref": "Table"}, NatGatewayId="nat-1"),
    "Table": one("AWS::EC2::RouteTable", VpcId="vpc-1")["It"],
    "Gateway": one("AWS::EC2::InternetGateway")["It"],
}
ABOVE = {"ComparisonOperator": "GreaterThanThreshold", "EvaluationPeriods": 2}


def expiring(*rules: dict[str, Any]) -> dict[str, Any]:
    return bucket(LifecycleConfiguration={"Rules": [{"Status": "Enabled", **rule} for rule in rules]})


def ringing(**properties: Any) -> Resources:
    it = alarm("a")
    it["Properties"] |= ABOVE | properties
    return {"It": it}


RULES: dict[str, tuple[tuple[Resources, Resources], str]] = {
    "an alarm rings later: by its threshold, its data points, or what it takes missing data for": (
        (ringing(), ringing(Threshold=90)),
        "It",
    ),
    "a subscription is deleted": ((one("AWS::SNS::Subscription", Endpoint="ada@example.org"), {}), "It"),
    "a scaled endpoint may shrink to one instance": (changed(SCALED, put("It.Properties.MinCapacity", 1)), "It"),
    "a scaled endpoint may grow larger": (changed(SCALED, put("It.Properties.MaxCapacity", 60)), "It"),
    "a notebook instance gets a lifecycle config without auto-stop, or none": (
        changed(lifecycle("auto-stop"), put("Notebook.Properties.LifecycleConfigName", None)),
        "Notebook",
    ),
    "a budget gets another limit": (
        (
            one("AWS::Budgets::Budget", Budget={"BudgetLimit": {"Amount": 200}}),
            one("AWS::Budgets::Budget", Budget={"BudgetLimit": {"Amount": 2000}}),
        ),
        "It",
    ),
    "a Studio domain gets another way to the network, which fails while an app runs": (
        (studio(AppNetworkAccessType="VpcOnly"), studio(AppNetworkAccessType="PublicInternetOnly")),
        "It",
    ),
    "a route to everywhere is deleted, and its subnets stay": (without(ROUTE, "It"), "It"),
    "a route leads to an internet gateway, so that its subnets become public": (
        changed(
            ROUTE,
            lambda new: new["It"]["Properties"].update(NatGatewayId=None, GatewayId={"Ref": "Gateway"}),
        ),
        "It",
    ),
    "a VPC endpoint no longer answers to the service's own name": (
        changed(
            one("AWS::EC2::VPCEndpoint", VpcId="vpc-1", ServiceName="sts", PrivateDnsEnabled=True),
            put("It.Properties.PrivateDnsEnabled", False),
        ),
        "It",
    ),
    "a subnet gives public addresses": (
        changed(one("AWS::EC2::Subnet", VpcId="vpc-1"), put("It.Properties.MapPublicIpOnLaunch", True)),
        "It",
    ),
    "protection from deletion is switched off": (
        (one("AWS::DynamoDB::Table", DeletionProtectionEnabled=True), one("AWS::DynamoDB::Table")),
        "It",
    ),
    "objects of a whole bucket are deleted sooner": (
        ({"It": expiring({"ExpirationInDays": 365})}, {"It": expiring({"ExpirationInDays": 30})}),
        "It",
    ),
    "objects below a prefix are deleted sooner": (
        (
            {"It": expiring({"Prefix": "captured/", "ExpirationInDays": 30})},
            {"It": expiring({"Prefix": "captured/", "ExpirationInDays": 7})},
        ),
        "It",
    ),
    "a new rule deletes what is below a prefix that nothing named before": (
        ({"It": bucket()}, {"It": expiring({"Prefix": "captured/", "ExpirationInDays": 30})}),
        "It",
    ),
    "old versions of objects are deleted sooner, or kept no more": (
        changed(
            {"It": bucket(VersioningConfiguration={"Status": "Enabled"})},
            put("It.Properties.VersioningConfiguration.Status", "Suspended"),
        ),
        "It",
    ),
    "log events, messages or records are deleted sooner": (
        changed(LOGS, put("It.Properties.RetentionInDays", 1)),
        "It",
    ),
    "items of a table expire that did not": (
        changed(TABLE, put("It.Properties.TimeToLiveSpecification", {"AttributeName": "until", "Enabled": True})),
        "It",
    ),
    "backups of a table or a file system are switched off": (
        changed(TABLE, put("It.Properties.PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled", False)),
        "It",
    ),
    "images of a repository are deleted by another rule": (
        changed(one("AWS::ECR::Repository"), put("It.Properties.LifecyclePolicy", {"LifecyclePolicyText": "{}"})),
        "It",
    ),
    "a key is switched off": (changed(KEY, put("It.Properties.Enabled", False)), "It"),
    "a key gets another spec, use, origin or more regions, so that the deployment fails": (
        changed(KEY, put("It.Properties.MultiRegion", True)),
        "It",
    ),
    "a volume of a notebook, a space or a database gets smaller, so that the deployment fails": (
        changed(one("AWS::SageMaker::NotebookInstance", VolumeSizeInGB=20), put("It.Properties.VolumeSizeInGB", None)),
        "It",
    ),
    "something is created": (({}, KEY), "It"),
    "tags change": (changed(KEY, put("It.Properties.Tags", [{"Key": "a", "Value": "b"}])), "It"),
    "an instance type changes": (
        changed(serving(), lambda new: variant(new).update(InstanceType="ml.c5.large")),
        "Endpoint",
    ),
    "an endpoint moves to another version, watched by alarms": ((serving(3), serving(4)), "Endpoint"),
    "an endpoint moves to another version, and no alarm watches it": (
        (serving(3, alarms=0), serving(4, alarms=0)),
        "Endpoint",
    ),
    "an endpoint goes from several instances to one": ((serving(), serving(instances=1)), "Endpoint"),
    "a roll-back alarm is taken from an endpoint": ((serving(), serving(alarms=1)), "Endpoint"),
    "all roll-back alarms are taken from an endpoint": ((serving(), serving(alarms=0)), "Endpoint"),
    "updates of an endpoint lose their canary": ((serving(), serving(canary=False)), "Endpoint"),
    "an endpoint changes from real-time to serverless, which SageMaker refuses": (
        changed(serving(), serverless),
        "Endpoint",
    ),
    "an endpoint changes to another kind otherwise": (changed(serving(), asynchronous), "Endpoint"),
    "an endpoint is deleted": (changed(serving(), lambda new: new.pop("Endpoint")), "Endpoint"),
    "an endpoint gets another name": (
        changed(serving(), put("Endpoint.Properties.EndpointName", "houses")),
        "Endpoint",
    ),
    "a model or endpoint config is replaced, which is how they change": ((serving(3), serving(4)), "Config"),
    "an alarm is deleted": (({"It": alarm("a")}, {}), "It"),
    "an alarm loses its actions": (changed({"It": alarm("a")}, put("It.Properties.AlarmActions", None)), "It"),
    "a threshold changes": (changed({"It": alarm("a")}, put("It.Properties.Threshold", 2)), "It"),
    "what is scaled is scaled no more": (
        (one("AWS::ApplicationAutoScaling::ScalableTarget", ResourceId="endpoint/housing/variant/AllTraffic"), {}),
        "It",
    ),
    "a notebook instance is stopped and started": (
        changed(NOTEBOOK, put("It.Properties.InstanceType", "ml.t3.large")),
        "It",
    ),
    "a notebook instance is replaced": (changed(NOTEBOOK, put("It.Properties.SubnetId", "subnet-2")), "It"),
    "a lifecycle config changes": ((lifecycle("auto-stop"), lifecycle("auto-stop", "git")), "It"),
    "auto-stop is taken out of a lifecycle config": ((lifecycle("auto-stop", "git"), lifecycle("git")), "It"),
    "a schedule that stops a notebook is deleted": ((STOP_SCHEDULE, {}), "It"),
    "a budget is deleted": ((BUDGET, {}), "It"),
    "what a Studio domain's apps start with changes": (
        changed(studio(), put("It.Properties.DefaultUserSettings", {"ExecutionRole": "x"})),
        "It",
    ),
    "a Studio domain is replaced": (changed(studio(), put("It.Properties.AuthMode", "SSO")), "It"),
    "a Studio profile or a space is deleted": (without(studio(), "Ada", "Contents"), "Ada"),
    "a NAT gateway is deleted": ((one("AWS::EC2::NatGateway", SubnetId="subnet-1"), {}), "It"),
    "a flow log is deleted": ((one("AWS::EC2::FlowLog", ResourceId="vpc-1", ResourceType="VPC"), {}), "It"),
    "a pipeline's definition changes": (
        changed(PIPELINE, put("It.Properties.PipelineDefinition.PipelineDefinitionBody", '{"Steps": [1]}')),
        "It",
    ),
    "a function's code changes": (changed(FUNCTION, put("It.Properties.Code.S3Key", f"{'b' * 64}.zip")), "It"),
    "a schedule is switched off": (changed(RULE, put("It.Properties.State", "DISABLED")), "It"),
    "the front door gets another address": (
        changed(one("AWS::ApiGatewayV2::Api", ProtocolType="HTTP"), renamed("It", "Door")),
        "Door",
    ),
    "what holds data is replaced, whatever becomes of the old one": (
        changed({"It": retained(bucket())}, put("It.Properties.BucketName", "other")),
        "It",
    ),
    "what holds data is deleted and lost": ((KEY, {}), "It"),
    "a bucket is deleted that CloudFormation cannot delete while it is not empty": (({"It": bucket()}, {}), "It"),
    "what holds data is deleted and kept": (({"It": retained(bucket())}, {}), "It"),
    "a log group is deleted": ((one("AWS::Logs::LogGroup"), {}), "It"),
    "a weaker retention policy for what holds data": (({"It": retained(bucket())}, {"It": bucket()}), "It"),
    "a stronger retention policy": (({"It": bucket()}, {"It": retained(bucket())}), "It"),
    "something else is deleted": ((one("AWS::StepFunctions::StateMachine"), {}), "It"),
    "permissions and other glue are deleted": ((one("AWS::IAM::Policy"), {}), "It"),
    "something else is replaced": (
        changed(
            one("AWS::StepFunctions::StateMachine", StateMachineType="STANDARD"),
            put("It.Properties.StateMachineType", "EXPRESS"),
        ),
        "It",
    ),
    "something may be replaced": (changed(RULE, put("It.Properties.EventBusName", "other")), "It"),
    "a replacement keeps a fixed name, so that the deployment fails": (
        changed(GROUP, put("It.Properties.ModelPackageGroupDescription", "New")),
        "It",
    ),
    "something new has the name of what is deleted, so that the deployment fails": (
        (
            one("AWS::SSM::Parameter", Name="/where", Type="String", Value="a", Description="old"),
            {"New": one("AWS::SSM::Parameter", Name="/where", Type="StringList", Value="b,c")["It"]},
        ),
        "New",
    ),
    "a custom resource gets another function, so that the deployment fails": (
        changed(CUSTOM, put("It.Properties.ServiceToken", "arn:aws:lambda:us-east-1:111111111111:function:two")),
        "It",
    ),
}


def documented_rules() -> dict[str, str]:
    text = (PROJECT_ROOT / "docs/reference/review.md").read_text(encoding="utf-8")
    table = text.partition("### How grave it is")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| (.+?) \| (danger|warning|notice) \|$", table, re.MULTILINE))


IN_TESTS_OF_THEIR_OWN = {"what other stacks import is replaced, so that the deployment fails"}


@pytest.mark.parametrize("rule", RULES)
def test_a_change_is_as_grave_as_the_documentation_says(rule: str) -> None:
    (before, after), logical_id = RULES[rule]
    found = compared(before, after)[logical_id]
    assert found.severity == documented_rules()[rule]
    # Beside each domain of ours stands what refuses its replacement.
    refused = ("so that the deployment fails", "which SageMaker refuses", "a Studio domain is replaced")
    assert found.cannot_deploy == rule.endswith(refused)


def test_each_documented_rule_is_tested() -> None:
    assert {*RULES, *IN_TESTS_OF_THEIR_OWN} == {*documented_rules()}


# --- What is silent ---------------------------------------------------------------------------------------------------------

POLICY = one(
    "AWS::IAM::Policy",
    PolicyName="p",
    PolicyDocument={
        "Statement": [
            {"Sid": "a", "Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "*"},
            {"Sid": "b", "Effect": "Allow", "Action": "kms:Decrypt", "Resource": ["x", "y"]},
        ]
    },
)


def reordered_policy(resources: Resources) -> None:
    statements = resources["It"]["Properties"]["PolicyDocument"]["Statement"]
    statements.reverse()
    statements[0].update(Action=["kms:Decrypt"], Resource=["y", "x"])
    statements[1].update(Action=["s3:List*", "s3:Get*"])


SILENT: dict[str, tuple[Resources, Resources]] = {
    "metadata": changed(KEY, lambda new: new["It"].update(Metadata={"aws:cdk:path": "else"})),
    "what is waited for": changed(KEY, lambda new: new["It"].update(DependsOn=["Other"])),
    "the order of tags": changed(
        one("AWS::KMS::Key", Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]),
        lambda new: new["It"]["Properties"]["Tags"].reverse(),
    ),
    "the order in a policy": changed(POLICY, reordered_policy),
    "the order of subnets": changed(
        one("AWS::SageMaker::Model", VpcConfig={"Subnets": ["a", "b"], "SecurityGroupIds": ["x", "y"]}),
        lambda new: new["It"]["Properties"]["VpcConfig"]["Subnets"].reverse(),
    ),
    "a number as text": changed({"It": alarm("a")}, put("It.Properties.Threshold", "1")),
    "a boolean as text": changed(one("AWS::KMS::Key", Enabled=True), put("It.Properties.Enabled", "true")),
    "the default policy written out": changed(KEY, lambda new: new["It"].update(DeletionPolicy="Delete")),
    "the other spelling of an attribute": changed(
        one("AWS::SSM::Parameter", Value={"Fn::GetAtt": ["Key", "Arn"]}),
        put("It.Properties.Value", {"Fn::GetAtt": "Key.Arn"}),
    ),
    "white space in a definition": changed(
        PIPELINE, put("It.Properties.PipelineDefinition.PipelineDefinitionBody", '{ "Steps" : [] }')
    ),
}


@pytest.mark.parametrize("what", SILENT)
def test_what_changes_nothing_that_is_deployed_is_silent(what: str) -> None:
    assert compared(*SILENT[what]) == {}


def test_the_bootstrap_version_is_silent() -> None:
    before, after = assembly(KEY), assembly(KEY, Parameters={"BootstrapVersion": {"Default": "x"}}, Rules={"Check": {}})
    assert resource_changes(before, after) == ()
    assert change_notes(before, after) == ()


def test_the_order_of_a_serial_pipelines_containers_is_not_silent() -> None:
    containers = [{"ContainerHostname": name, "Image": name} for name in ("scale", "predict")]
    before = one("AWS::SageMaker::Model", Containers=containers)
    (change,) = compared(before, one("AWS::SageMaker::Model", Containers=containers[::-1]))["It"].properties
    assert (change.path, change.replaces) == ("Containers", "yes")


# --- What differs -----------------------------------------------------------------------------------------------------------


def paths(before: Resources, after: Resources, logical_id: str = "It") -> dict[str, tuple[Any, Any]]:
    return {each.path: (each.before, each.after) for each in compared(before, after)[logical_id].properties}


def test_a_difference_is_named_down_to_the_value() -> None:
    before, after = changed(serving(), lambda new: variant(new).update(InstanceType="ml.c5.large"))
    assert paths(before, after, "Config") == {
        "ProductionVariants[AllTraffic].InstanceType": ("ml.m5.large", "ml.c5.large")
    }


def test_a_definition_in_text_is_compared_as_what_it_says() -> None:
    def definition(instance: str) -> dict[str, Any]:
        text = f'","Steps":[{{"Name":"Train","Arguments":{{"InstanceType":"{instance}"}}}}]}}'
        return {"PipelineDefinitionBody": {"Fn::Join": ["", ['{"Role":"', {"Fn::GetAtt": ["Role", "Arn"]}, text]]}}

    before = one("AWS::SageMaker::Pipeline", PipelineDefinition=definition("ml.m5.large"))
    after = one("AWS::SageMaker::Pipeline", PipelineDefinition=definition("ml.m5.xlarge"))
    assert paths(before, after) == {
        "PipelineDefinition.PipelineDefinitionBody.Steps[Train].Arguments.InstanceType": ("ml.m5.large", "ml.m5.xlarge")
    }


def test_one_more_statement_is_one_difference() -> None:
    more = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "*"}
    before, after = changed(POLICY, lambda new: new["It"]["Properties"]["PolicyDocument"]["Statement"].insert(0, more))
    assert paths(before, after) == {"PolicyDocument.Statement[0]": (None, more)}


def test_one_more_action_is_one_difference_though_one_was_no_list() -> None:
    def allowed(action: Any) -> Resources:
        statement = {"Effect": "Allow", "Action": action, "Resource": "*"}
        return one("AWS::IAM::Policy", PolicyDocument={"Statement": [statement]})

    assert paths(allowed("kms:Decrypt"), allowed(["kms:Encrypt", "kms:Decrypt"])) == {
        "PolicyDocument.Statement[0].Action[0]": (None, "kms:Encrypt")
    }


def test_another_reference_is_a_difference_of_the_whole_reference() -> None:
    before = one("AWS::SSM::Parameter", Value={"Ref": "Old"})
    assert paths(before, one("AWS::SSM::Parameter", Value={"Ref": "New"})) == {
        "Value": ({"Ref": "Old"}, {"Ref": "New"})
    }


def test_changed_code_is_said_in_words() -> None:
    (rule, logical_id) = RULES["a function's code changes"]
    change = compared(*rule)[logical_id]
    assert change.interruption is None
    assert change.reasons == ("The code of the function changed (asset aaaaaaaa to bbbbbbbb); no call is interrupted.",)


# --- What follows from a replacement ----------------------------------------------------------------------------------------


def test_what_refers_to_a_replaced_resource_is_replaced_or_updated_with_it() -> None:
    found = compared(serving(3), serving(4))
    assert {name: change.action for name, change in found.items()} == {
        "Model": Action.REPLACED,
        "Config": Action.REPLACED,
        "Endpoint": Action.UPDATED,
    }
    assert found["Config"].properties == ()
    assert "`ProductionVariants` refers to Model, which is replaced." in found["Config"].reasons


def test_an_update_says_what_is_served_how_it_is_moved_and_who_watches() -> None:
    endpoint = compared(serving(3), serving(4))["Endpoint"]
    assert endpoint.interruption is None
    assert endpoint.reasons[:2] == (
        "Serves housing version 4 instead of housing version 3.",
        "Updated blue/green, a canary of 10 % first for 60 s, watched by 2 alarms that roll it back: callers notice nothing.",
    )


@pytest.mark.parametrize(
    "value",
    [
        {"Ref": "Topic"},
        {"Fn::Sub": "x-${Topic}"},
        {"Fn::Sub": ["${a}", {"a": {"Fn::GetAtt": ["Topic", "TopicArn"]}}]},
        {"Fn::Join": ["", ["x", {"Fn::GetAtt": "Topic.TopicArn"}]]},
    ],
    ids=["ref", "sub", "sub with a name of its own", "join"],
)
def test_every_kind_of_reference_is_followed(value: Any) -> None:
    resources = {
        "Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "a"}},
        "Where": {"Type": "AWS::SSM::Parameter", "Properties": {"Name": "/topic", "Value": value}},
    }
    found = compared(*changed(resources, put("Topic.Properties.TopicName", "b")))
    assert found["Where"].action is Action.UPDATED


def test_what_may_be_replaced_passes_only_a_may_on() -> None:
    resources = {
        "Rule": RULE["It"],
        "Allowed": {"Type": "AWS::Lambda::Permission", "Properties": {"SourceArn": {"Fn::GetAtt": ["Rule", "Arn"]}}},
        "Where": {"Type": "AWS::SSM::Parameter", "Properties": {"Value": {"Fn::GetAtt": ["Rule", "Arn"]}}},
    }
    found = compared(*changed(resources, put("Rule.Properties.EventBusName", "other")))
    assert {name: change.action for name, change in found.items()} == {
        "Rule": Action.MAY_BE_REPLACED,
        "Allowed": Action.MAY_BE_REPLACED,
    }


def two_stacks(bucket_name: str) -> Assembly:
    shared = assembly(
        {"Data": bucket(BucketName=bucket_name)},
        stack="shared",
        Outputs={"DataName": {"Value": {"Ref": "Data"}, "Export": {"Name": "shared:DataName"}}},
    )
    value = {"Fn::ImportValue": "shared:DataName"}
    using = assembly({"Where": {"Type": "AWS::SSM::Parameter", "Properties": {"Value": value}}}, stack="using")
    return dataclasses.replace(shared, stacks={**shared.stacks, **using.stacks})


def test_a_replacement_that_another_stack_imports_fails_and_is_followed_there() -> None:
    found = {each.resource.address: each for each in resource_changes(two_stacks("a"), two_stacks("b"))}
    assert found["using/Where"].action is Action.UPDATED
    assert found["shared/Data"].severity is Severity.DANGER
    assert any("it changes what using imports (DataName)" in reason for reason in found["shared/Data"].reasons)


def test_a_resource_cannot_become_another_type() -> None:
    change = compared({"It": bucket()}, one("AWS::SNS::Topic"))["It"]
    assert (change.action, change.severity) == (Action.REPLACED, Severity.DANGER)
    assert "refuses to make a AWS::SNS::Topic of a AWS::S3::Bucket" in change.reasons[0]


# --- Data -------------------------------------------------------------------------------------------------------------------

FATES: dict[str, tuple[Resources, Resources, str]] = {
    "a bucket that is deleted": ({"It": bucket()}, {}, "refused"),
    "a bucket that is emptied first": (
        {
            "It": bucket(),
            "Empty": {"Type": "Custom::S3AutoDeleteObjects", "Properties": {"BucketName": {"Ref": "It"}}},
        },
        {},
        "lost",
    ),
    "a bucket that is retained": ({"It": retained(bucket())}, {}, "kept"),
    "a bucket whose old one is retained": (
        {"It": retained(bucket())},
        {"It": retained(bucket(BucketName="other"))},
        "kept",
    ),
    "a bucket whose deletion alone is retained": (
        {"It": {**bucket(), "DeletionPolicy": "Retain"}},
        {"It": {**bucket(BucketName="other"), "DeletionPolicy": "Retain"}},
        "refused",
    ),
    "a repository with images": (one("AWS::ECR::Repository"), {}, "refused"),
    "a repository that is emptied": (one("AWS::ECR::Repository", EmptyOnDelete=True), {}, "lost"),
    "a table": (one("AWS::DynamoDB::Table"), {}, "lost"),
    "a protected table": (one("AWS::DynamoDB::Table", DeletionProtectionEnabled=True), {}, "refused"),
    "a database, by CloudFormation's default": (one("AWS::RDS::DBInstance"), {}, "kept"),
    "an instance of a cluster": (one("AWS::RDS::DBInstance", DBClusterIdentifier="c"), {}, "lost"),
    "a registry": (GROUP, {}, "refused"),
    "an offline feature group": (one("AWS::SageMaker::FeatureGroup", OfflineStoreConfig={}), {}, "kept"),
    "an online feature group": (one("AWS::SageMaker::FeatureGroup", OnlineStoreConfig={}), {}, "lost"),
    "a domain": (one("AWS::SageMaker::Domain"), {}, "kept"),
    "a domain whose home directories our stack deletes": (*without(studio(), *studio()), "lost"),
    "a domain whose home directories our stack keeps": (*without(studio("keep"), *studio()), "kept"),
    "a space": (one("AWS::SageMaker::Space", SpaceName="lab"), {}, "lost"),
    "a profile": (one("AWS::SageMaker::UserProfile", UserProfileName="ada"), {}, "kept"),
    "a profile whose private spaces our stack deletes": (
        {
            **one("AWS::SageMaker::UserProfile", UserProfileName="ada"),
            "Contents": one("Custom::SagestackStudioProfileContents", UserProfileName="ada")["It"],
        },
        {},
        "lost",
    ),
    "a profile beside somebody else's": (
        {
            **one("AWS::SageMaker::UserProfile", UserProfileName="ada"),
            "Contents": one("Custom::SagestackStudioProfileContents", UserProfileName="grace")["It"],
        },
        {},
        "kept",
    ),
    "a role": (one("AWS::IAM::Role"), {}, "none"),
    "a bucket that changes in place": changed({"It": bucket()}, put("It.Properties.Tags", [])) + ("none",),  # noqa: RUF005
}


@pytest.mark.parametrize("what", FATES)
def test_what_becomes_of_data(what: str) -> None:
    before, after, fate = FATES[what]
    assert compared(before, after)["It"].data == fate


def test_a_deleted_key_says_that_its_data_cannot_be_read_again_and_what_undoes_it() -> None:
    (reason,) = compared(KEY, {})["It"].reasons
    assert "nothing that it encrypted can be read again" in reason
    assert "aws kms cancel-key-deletion" in reason


# --- What callers notice ----------------------------------------------------------------------------------------------------

API = one("AWS::ApiGatewayV2::Api", ProtocolType="HTTP")

NOTICED: dict[str, tuple[tuple[Resources, Resources], str, str | None]] = {
    "a watched update": ((serving(3), serving(4)), "Endpoint", None),
    "an unwatched update": (
        (serving(3, alarms=0), serving(4, alarms=0)),
        "Endpoint",
        "If the new version is bad, callers get its errors until somebody deploys the old one: no alarm rolls it back.",
    ),
    "a deleted endpoint": (
        changed(serving(), lambda new: new.pop("Endpoint")),
        "Endpoint",
        "Callers of housing get errors: the endpoint is deleted.",
    ),
    "another name": (
        changed(serving(), put("Endpoint.Properties.EndpointName", "houses")),
        "Endpoint",
        "Callers of housing get errors until they ask houses instead.",
    ),
    "tags of an endpoint": (
        changed(serving(), put("Endpoint.Properties.Tags", [{"Key": "a", "Value": "b"}])),
        "Endpoint",
        None,
    ),
    "tags of a notebook": (changed(NOTEBOOK, put("It.Properties.Tags", [{"Key": "a", "Value": "b"}])), "It", None),
    "a larger notebook": (
        changed(NOTEBOOK, put("It.Properties.InstanceType", "ml.t3.large")),
        "It",
        "The notebook instance is stopped for the update and started again: kernels and terminals end, files stay.",
    ),
    "a space that is deleted": (
        without(studio(), "Lab"),
        "Lab",
        "What runs in space lab ends, whoever works in it.",
    ),
    "a space that gets another domain": (
        changed(studio(), put("Lab.Properties.DomainId", "d-other")),
        "Lab",
        "What runs in space lab ends; the new one is empty.",
    ),
    "a profile that gets another domain": (
        changed(studio(), put("Ada.Properties.DomainId", "d-other")),
        "Ada",
        "ada is thrown out of Studio, and finds nothing of what was there.",
    ),
    "a lifecycle config": ((lifecycle(), lifecycle("git")), "It", None),
    "another address": (
        changed(API, put("It.Properties.ProtocolType", "WEBSOCKET")),
        "It",
        "The front door gets another address; callers of the old one get errors.",
    ),
    "a function": (RULES["a function's code changes"][0], "It", None),
    "a pipeline": (RULES["a pipeline's definition changes"][0], "It", None),
}


@pytest.mark.parametrize("what", NOTICED)
def test_what_callers_notice(what: str) -> None:
    (before, after), logical_id, noticed = NOTICED[what]
    assert compared(before, after)[logical_id].interruption == noticed


def test_a_serverless_endpoint_starts_cold() -> None:
    before, after = serving(3, alarms=0), serving(4, alarms=0)
    for side in (before, after):
        serverless(side)
        del side["Endpoint"]["Properties"]["DeploymentConfig"]
    endpoint = compared(before, after)["Endpoint"]
    assert endpoint.interruption == "The first requests after the update wait for a cold start."
    assert endpoint.severity is Severity.NOTICE


def test_a_refused_update_says_the_way_out_and_promises_nothing_of_what_would_follow() -> None:
    reasons = compared(*changed(serving(), serverless))["Endpoint"].reasons
    assert reasons[0].startswith(
        "The deployment fails: SageMaker refuses to update an endpoint from real-time to serverless"
    )
    assert not any("callers notice nothing" in reason for reason in reasons)


def test_a_roll_back_alarm_is_called_by_its_name() -> None:
    reasons = compared(serving(), serving(alarms=1))["Endpoint"].reasons
    assert reasons == ("housing-alarm1 no longer rolls back updates of housing (one alarm still does).",)


def test_copies_of_a_model_roll_watched_by_their_alarms() -> None:
    def component(version: int) -> Resources:
        rollback = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "a"}]}}
        rolling = {"RollingUpdatePolicy": {"MaximumBatchSize": {"Type": "COPY_COUNT", "Value": 1}}}
        properties = {
            "InferenceComponentName": "housing",
            "DeploymentConfig": {**rolling, **rollback},
            "Specification": {"ModelName": {"Fn::GetAtt": ["Model", "ModelName"]}},
        }
        return {
            "Model": serving(version)["Model"],
            "It": {"Type": "AWS::SageMaker::InferenceComponent", "Properties": properties},
        }

    change = compared(component(3), component(4))["It"]
    assert (change.action, change.interruption) == (Action.UPDATED, None)
    assert (
        change.reasons[0]
        == "Its copies are replaced rolling, 1 copy at a time, watched by an alarm that rolls it back."
    )


# --- Names ------------------------------------------------------------------------------------------------------------------


def test_a_fixed_name_that_changes_with_the_replacement_does_not_fail() -> None:
    (change,) = compared(*changed({"It": bucket()}, put("It.Properties.BucketName", "other"))).values()
    assert not any("fails" in reason for reason in change.reasons)


@pytest.mark.parametrize(
    ("type_name", "name", "is_unique"),
    [
        ("AWS::S3::Bucket", "BucketName", True),
        ("AWS::IAM::Role", "RoleName", True),
        ("AWS::CloudWatch::Alarm", "AlarmName", True),
        ("AWS::Events::Rule", "Name", True),
        ("AWS::SNS::Topic", "TopicName", True),
        ("AWS::StepFunctions::StateMachine", "StateMachineName", True),
        ("AWS::SageMaker::Endpoint", "EndpointName", True),
        ("AWS::SageMaker::InferenceComponent", "InferenceComponentName", True),
        ("AWS::ApiGatewayV2::Api", "Name", False),
        ("AWS::Cognito::UserPool", "UserPoolName", False),
        ("AWS::IAM::Policy", "PolicyName", False),
    ],
)
def test_a_rename_fails_where_the_name_is_unique(type_name: str, name: str, is_unique: bool) -> None:
    change = compared(*changed(one(type_name, **{name: "housing"}), renamed("It", "Other")))["Other"]
    assert any("housing already exists" in reason for reason in change.reasons) is is_unique


def test_what_a_stack_that_stays_has_cannot_be_made_elsewhere() -> None:
    before = assembly(one("AWS::SageMaker::Pipeline", PipelineName="housing"), stack="old")
    after = assembly(one("AWS::SageMaker::Pipeline", PipelineName="housing"), stack="new")
    (change,) = resource_changes(before, after)
    assert change.action is Action.CREATED
    assert change.reasons == ("The deployment fails: housing is the name of old/It, whose stack stays.",)


# --- Stacks -----------------------------------------------------------------------------------------------------------------


def test_a_new_environment_is_all_created() -> None:
    assert {each.action for each in resource_changes(None, assembly(serving()))} == {Action.CREATED}
    assert change_notes(None, assembly(serving())) == ()


def test_a_stack_that_leaves_the_app_stays_and_that_is_said() -> None:
    serving_stack = assembly(serving(), stack="serving").stacks["serving"]
    before = assembly(KEY)
    both = dataclasses.replace(
        before,
        stacks={**before.stacks, "serving": dataclasses.replace(serving_stack, has_termination_protection=True)},
    )
    assert resource_changes(both, before) == ()
    (note,) = change_notes(both, before)
    assert note == (
        "Stack serving is no longer in the app, and `cdk deploy` does not delete it: it stays. Endpoint in it goes on "
        "answering, and is paid for. It has termination protection, which must be switched off first. "
        "To delete it: aws cloudformation delete-stack --stack-name serving --region us-east-1"
    )


def test_an_environment_that_is_gone_deletes_nothing() -> None:
    assert resource_changes(assembly({"It": bucket()}), None) == ()
    (note,) = change_notes(assembly({"It": bucket()}), None)
    assert "It holds data: It (its objects)." in note


def test_a_stack_that_moves_to_another_region_is_made_anew_and_the_old_one_stays() -> None:
    before = assembly({"It": bucket()})
    (stack,) = before.stacks.values()
    after = dataclasses.replace(before, stacks={stack.name: dataclasses.replace(stack, region="eu-west-1")})
    assert [each.action for each in resource_changes(before, after)] == [Action.CREATED]
    (note,) = change_notes(before, after)
    assert "moves from 111111111111/us-east-1 to 111111111111/eu-west-1" in note


def test_an_export_that_a_stack_still_imports_cannot_be_taken_back() -> None:
    before = two_stacks("a")
    after = dataclasses.replace(
        before,
        stacks={
            **assembly({"Data": bucket(BucketName="a")}, stack="shared").stacks,
            **assembly({"Where": {"Type": "AWS::SSM::Parameter", "Properties": {"Value": "a"}}}, stack="using").stacks,
        },
    )
    (note,) = change_notes(before, after)
    assert note.startswith(
        "The deployment of shared fails: it takes back the export shared:DataName, which using still"
    )


def test_what_is_said_of_a_resource_is_not_said_again_in_a_note() -> None:
    before = two_stacks("a")
    (stack,) = assembly(
        {"Sets": bucket(BucketName="a")},
        stack="shared",
        Outputs={"SetsName": {"Value": {"Ref": "Sets"}, "Export": {"Name": "shared:SetsName"}}},
    ).stacks.values()
    after = dataclasses.replace(before, stacks={**before.stacks, "shared": stack})
    (renamed_bucket,) = resource_changes(before, after)
    assert any("it takes back what using imports (DataName)" in reason for reason in renamed_bucket.reasons)
    assert change_notes(before, after) == ()


def test_lost_termination_protection_is_said() -> None:
    after = assembly(KEY)
    (stack,) = after.stacks.values()
    before = dataclasses.replace(
        after, stacks={stack.name: dataclasses.replace(stack, has_termination_protection=True)}
    )
    (note,) = change_notes(before, after)
    assert "loses its termination protection" in note


def test_the_gravest_reason_comes_first() -> None:
    before, after = serving(3), serving(4, alarms=1)
    first, *_, last = compared(before, after)["Endpoint"].reasons
    assert first == "housing-alarm1 no longer rolls back updates of housing (one alarm still does)."
    assert last == "`EndpointConfigName` refers to Config, which is replaced."


def test_the_most_dangerous_comes_first() -> None:
    before = {"Role": one("AWS::IAM::Role")["It"], "Alarm": alarm("a"), "Key": KEY["It"], "Data": bucket()}
    found = resource_changes(assembly(before), assembly({"New": one("AWS::SNS::TopicPolicy")["It"]}))
    assert [each.resource.logical_id for each in found] == ["Key", "Data", "Alarm", "Role", "New"]


# --- The project's own stacks -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesis.copy_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def prod(project: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Assembly, Assembly]:
    """The platform serving version 3, and serving version 4."""
    environment = load_environment("prod", project)
    sides = [
        synthesized(project, synthesis.served(environment, version), tmp_path_factory.mktemp(f"v{version}"))
        for version in (3, 4)
    ]
    return sides[0], sides[1]


def test_the_same_commit_changes_nothing(prod: tuple[Assembly, Assembly]) -> None:
    assert resource_changes(prod[0], copy.deepcopy(prod[0])) == ()


def test_a_pinned_version_updates_the_endpoint_and_interrupts_nobody(prod: tuple[Assembly, Assembly]) -> None:
    found = {each.resource.path: each for each in resource_changes(*prod)}
    assert {path: str(each.action) for path, each in found.items()} == {
        "Endpoint/Model": "replaced",
        "Endpoint/Config": "replaced",
        "Endpoint": "updated",
        "Gate/Resource/Default": "updated",
        "Gate/VersionCheck/Default": "updated",
    }
    assert {each.severity for each in found.values()} == {Severity.NOTICE}
    assert {each.interruption for each in found.values()} == {None}


def test_a_renamed_bucket_is_a_replacement_that_fails_where_others_import_it(prod: tuple[Assembly, Assembly]) -> None:
    def rename(value: Any) -> Any:
        match value:
            case dict():
                return {rename(key): rename(each) for key, each in value.items()}
            case list():
                return [rename(each) for each in value]
            case str():
                return value.replace("Data666C94C7", "Datasets1A2B3C4D").replace("Data/", "Datasets/")
        return value

    stacks = {
        name: dataclasses.replace(
            stack,
            template=rename(stack.template),
            paths={rename(each): path.replace("Data", "Datasets") for each, path in stack.paths.items()},
        )
        for name, stack in prod[0].stacks.items()
    }
    first, *others = resource_changes(prod[0], dataclasses.replace(prod[0], stacks=stacks))
    assert (first.resource.type, first.action, first.data) == ("AWS::S3::Bucket", Action.REPLACED, "kept")
    assert first.renamed_from == "Data666C94C7"
    assert any("it takes back what sagestack-prod-housing-training imports" in reason for reason in first.reasons)
    assert {each.severity for each in others} == {Severity.NOTICE}
    assert not {Action.CREATED, Action.DELETED} & {each.action for each in others}


# --- The workbench ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("window", "how"),
    [
        (False, "what runs goes on with the old."),
        (True, "the maintenance window restarts what runs, which ends kernels."),
    ],
)
def test_a_changed_lifecycle_config_says_whom_it_reaches_and_when(window: bool, how: str) -> None:
    changes = compared(lifecycle("auto-stop", window=window), lifecycle("auto-stop", "git", window=window))
    assert changes["It"].reasons == (f"It reaches explore at the next start; {how}",)


def test_auto_stop_that_is_gone_says_who_is_paid_for() -> None:
    reasons = compared(lifecycle("auto-stop"), lifecycle())["It"].reasons
    assert reasons[0].startswith("explore no longer stops by itself when nobody works there")
    # Nobody has lost what was not there.
    assert not any("stops by itself" in each for each in compared(lifecycle("git"), lifecycle())["It"].reasons)


@pytest.mark.parametrize(
    ("direction", "words"),
    [("stop", "Nothing stops the notebook at its hours"), ("start", "Nothing starts the notebook at its hours")],
)
def test_a_schedule_that_is_gone_says_what_it_did(direction: str, words: str) -> None:
    target = {"Arn": f"arn:aws:scheduler:::aws-sdk:sagemaker:{direction}NotebookInstance"}
    (reason,) = compared(one("AWS::Scheduler::Schedule", Target=target), {})["It"].reasons
    assert reason.startswith(words)
    (other,) = compared(one("AWS::Scheduler::Schedule", Target={"Arn": "arn:aws:lambda:x"}), {})["It"].reasons
    assert other == "What it started is started no more."


def test_a_domain_beside_which_nothing_of_ours_stands_is_replaced_without_a_refusal() -> None:
    ours, bare = studio(), one("AWS::SageMaker::Domain", DomainName="dev", AuthMode="IAM", VpcId="vpc-1")
    other = put("It.Properties.AuthMode", "SSO")
    refusal = "The deployment fails: the stack's own resource beside the domain"
    assert any(each.startswith(refusal) for each in compared(*changed(ours, other))["It"].reasons)
    assert not any(each.startswith(refusal) for each in compared(*changed(bare, other))["It"].reasons)
