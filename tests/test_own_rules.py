"""Our own rules, each with what breaks it, what keeps it, and what nobody can know before a deployment."""

import copy
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
from sagestack.review.assembly import Assembly
from sagestack.review.results import Severity
from sagestack.review.rules.own import RULES, broken_in
from sagestack.settings import PROJECT_ROOT

from tests.review_samples import STACK, assembly

Template = dict[str, dict[str, Any]]
Change = Callable[[Template], object]

KEY = {"Fn::GetAtt": ["Key", "Arn"]}
IMPORTED = {"Fn::ImportValue": "other:key"}
LATER = {"Ref": "DecidedAtDeployment"}


def if_(then: object, otherwise: object) -> dict[str, object]:
    return {"Fn::If": ["Condition", then, otherwise]}


def endpoint() -> Template:
    """A real-time endpoint that keeps every rule."""
    return {
        "Model": {
            "Type": "AWS::SageMaker::Model",
            "Properties": {"EnableNetworkIsolation": True},
        },
        "Config": {
            "Type": "AWS::SageMaker::EndpointConfig",
            "Properties": {
                "KmsKeyId": KEY,
                "DataCaptureConfig": {"EnableCapture": True, "DestinationS3Uri": "s3://captured/"},
                "ProductionVariants": [
                    {
                        "VariantName": "AllTraffic",
                        "InstanceType": "ml.m5.large",
                        "ModelName": {"Fn::GetAtt": ["Model", "ModelName"]},
                    }
                ],
            },
        },
        "Endpoint": {
            "Type": "AWS::SageMaker::Endpoint",
            "Properties": {
                "EndpointName": "houses",
                "EndpointConfigName": {"Fn::GetAtt": ["Config", "EndpointConfigName"]},
                "RetainAllVariantProperties": True,
                "DeploymentConfig": {
                    "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": {"Ref": "Errors"}}]},
                    "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": {"Type": "CANARY"}},
                },
            },
        },
        "Errors": {"Type": "AWS::CloudWatch::Alarm", "Properties": {}},
        "Target": {
            "Type": "AWS::ApplicationAutoScaling::ScalableTarget",
            "Properties": {
                "ServiceNamespace": "sagemaker",
                "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
                "ResourceId": {"Fn::Join": ["", ["endpoint/houses/variant/", "AllTraffic"]]},
            },
        },
    }


def variant(template: Template) -> dict[str, Any]:
    found: dict[str, Any] = template["Config"]["Properties"]["ProductionVariants"][0]
    return found


def serverless(template: Template) -> None:
    """As SageMaker has it: no volume, no isolation, no capture, no guardrails."""
    del variant(template)["InstanceType"]
    variant(template)["ServerlessConfig"] = {"MemorySizeInMB": 2048, "MaxConcurrency": 5}
    for logical_id, property_ in (
        ("Model", "EnableNetworkIsolation"),
        ("Config", "KmsKeyId"),
        ("Config", "DataCaptureConfig"),
        ("Endpoint", "DeploymentConfig"),
    ):
        del template[logical_id]["Properties"][property_]
    del template["Target"], template["Errors"]


def components(template: Template) -> None:
    """Inference components are updated by themselves, and cannot be captured."""
    del variant(template)["ModelName"], template["Target"], template["Errors"]
    del template["Endpoint"]["Properties"]["DeploymentConfig"], template["Config"]["Properties"]["DataCaptureConfig"]


def notebook() -> Template:
    return {
        "Notebook": {
            "Type": "AWS::SageMaker::NotebookInstance",
            "Properties": {
                "RootAccess": "Disabled",
                "InstanceMetadataServiceConfiguration": {"MinimumInstanceMetadataServiceVersion": "2"},
            },
        },
        "Domain": {"Type": "AWS::SageMaker::Domain", "Properties": {"AppNetworkAccessType": "VpcOnly"}},
    }


def roles() -> Template:
    boundary = "arn:aws:iam::111111111111:policy/boundary"
    return {
        "One": {"Type": "AWS::IAM::Role", "Properties": {"PermissionsBoundary": boundary}},
        "Other": {"Type": "AWS::IAM::Role", "Properties": {"PermissionsBoundary": LATER}},
    }


def policies() -> Template:
    """Everybody is let in, and a condition says who that is."""
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": ["s3:GetObject"],
        "Resource": "*",
        "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1234567890"}},
    }
    document = {"Version": "2012-10-17", "Statement": [statement]}
    denied = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*"}
    return {
        "Policy": {
            "Type": "AWS::S3::BucketPolicy",
            "Properties": {"PolicyDocument": {"Statement": [statement, denied]}},
        },
        "Registry": {
            "Type": "AWS::SageMaker::ModelPackageGroup",
            "Properties": {"ModelPackageGroupPolicy": copy.deepcopy(document)},
        },
        "Permission": {
            "Type": "AWS::Lambda::Permission",
            "Properties": {"Principal": "*", "Action": "lambda:InvokeFunction", "SourceAccount": "111111111111"},
        },
    }


def statement_of(template: Template) -> dict[str, Any]:
    found: dict[str, Any] = template["Policy"]["Properties"]["PolicyDocument"]["Statement"][0]
    return found


def alarms() -> Template:
    return {
        "Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"AlarmActions": [{"Ref": "Topic"}]}},
        "Part": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"AlarmName": "part"}},
        "All": {
            "Type": "AWS::CloudWatch::CompositeAlarm",
            "Properties": {"AlarmActions": [{"Ref": "Topic"}], "AlarmRule": 'ALARM("part")'},
        },
    }


def pipeline() -> Template:
    """Training on two hosts, tuning, and processing and transforming within a condition."""
    training = {
        "ResourceConfig": {"InstanceType": {"Get": "Parameters.Type"}, "InstanceCount": 2, "VolumeKmsKeyId": "key"},
        "EnableNetworkIsolation": True,
        "EnableInterContainerTrafficEncryption": True,
    }
    processing = {
        "ProcessingResources": {
            "ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeKmsKeyId": "key"}
        },
        "NetworkConfig": {"VpcConfig": {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}},
    }
    transform = {"TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 4, "VolumeKmsKeyId": "key"}}
    definition = {
        "Parameters": [{"Name": "Type", "Type": "String", "DefaultValue": "ml.m5.large"}],
        "Steps": [
            {"Name": "Train", "Type": "Training", "Arguments": training},
            {"Name": "Tune", "Type": "Tuning", "Arguments": {"TrainingJobDefinition": copy.deepcopy(training)}},
            {
                "Name": "Check",
                "Type": "Condition",
                "Arguments": {
                    "IfSteps": [{"Name": "Process", "Type": "Processing", "Arguments": processing}],
                    "ElseSteps": [{"Name": "Transform", "Type": "Transform", "Arguments": transform}],
                },
            },
        ],
    }
    body = json.dumps(definition).replace('"key"', '"KEY"').split("KEY")
    joined = [part for piece in body for part in (piece, {"Fn::ImportValue": "foundation:key"})][:-1]
    return {
        "Pipeline": {
            "Type": "AWS::SageMaker::Pipeline",
            "Properties": {"PipelineDefinition": {"PipelineDefinitionBody": {"Fn::Join": ["", joined]}}},
        }
    }


def in_steps(old: str, new: str) -> Change:
    """Changes the text of the pipeline's definition."""

    def change(template: Template) -> None:
        body = template["Pipeline"]["Properties"]["PipelineDefinition"]["PipelineDefinitionBody"]
        (_, parts) = body["Fn::Join"]
        text = "\0".join(part if isinstance(part, str) else "\1" for part in parts)
        assert old in text
        pieces = text.replace(old, new).split("\0")
        body["Fn::Join"][1] = [{"Fn::ImportValue": "foundation:key"} if piece == "\1" else piece for piece in pieces]

    return change


def put(logical_id: str, property_: str, value: object) -> Change:
    return lambda template: template[logical_id]["Properties"].__setitem__(property_, value)


def drop(logical_id: str, property_: str) -> Change:
    return lambda template: template[logical_id]["Properties"].__delitem__(property_)


def both(*changes: Change) -> Change:
    return lambda template: [change(template) for change in changes]


def found(resources: Template, *, is_kept: bool = True) -> list[tuple[str, str]]:
    """Rule and logical id."""
    made = assembly(resources)
    stack = dataclasses.replace(made.stacks[STACK], has_termination_protection=is_kept)
    made = Assembly(made.environment, {STACK: stack})
    return [(each.rule.removeprefix("SAGESTACK-"), each.logical_id or "") for each in broken_in(stack, made)]


@pytest.mark.parametrize("sample", [endpoint, notebook, roles, policies, alarms, pipeline])
def test_what_is_as_it_should_be_breaks_nothing(sample: Callable[[], Template]) -> None:
    assert found(sample()) == []


VOLUME_KEY = '"VolumeKmsKeyId": "\0\1\0"'

BROKEN: dict[str, tuple[Callable[[], Template], Change, list[tuple[str, str]]]] = {
    "an endpoint without a key": (endpoint, drop("Config", "KmsKeyId"), [("EndpointVolumeKey", "Config")]),
    "an endpoint without a key in one case": (
        endpoint,
        put("Config", "KmsKeyId", if_(KEY, {"Ref": "AWS::NoValue"})),
        [("EndpointVolumeKey", "Config")],
    ),
    "a model that reaches the internet": (
        endpoint,
        put("Model", "EnableNetworkIsolation", False),
        [("ModelNetworkIsolation", "Model")],
    ),
    "no capture": (endpoint, drop("Config", "DataCaptureConfig"), [("DataCapture", "Config")]),
    "capture that is off": (
        endpoint,
        put("Config", "DataCaptureConfig", {"EnableCapture": False}),
        [("DataCapture", "Config")],
    ),
    "an endpoint without a policy": (
        endpoint,
        drop("Endpoint", "DeploymentConfig"),
        [("EndpointRollback", "Endpoint"), ("AlarmAction", "Errors")],
    ),
    "an endpoint that no alarm takes back": (
        endpoint,
        lambda template: template["Endpoint"]["Properties"]["DeploymentConfig"].__delitem__(
            "AutoRollbackConfiguration"
        ),
        [("EndpointRollback", "Endpoint"), ("AlarmAction", "Errors")],
    ),
    "an endpoint with alarms and nothing to go back to": (
        endpoint,
        lambda template: template["Endpoint"]["Properties"]["DeploymentConfig"].__delitem__("BlueGreenUpdatePolicy"),
        [("EndpointRollback", "Endpoint")],
    ),
    "a scaled endpoint that forgets its instances": (
        endpoint,
        drop("Endpoint", "RetainAllVariantProperties"),
        [("ScaledEndpoint", "Endpoint")],
    ),
    "a scaled endpoint that forgets their number alone": (
        endpoint,
        put("Endpoint", "ExcludeRetainedVariantProperties", [{"VariantPropertyType": "DesiredInstanceCount"}]),
        [("ScaledEndpoint", "Endpoint")],
    ),
    "a target that refers to the endpoint": (
        endpoint,
        both(
            drop("Endpoint", "RetainAllVariantProperties"),
            drop("Endpoint", "EndpointName"),
            put("Target", "ResourceId", {"Fn::Sub": "endpoint/${Endpoint.EndpointName}/variant/AllTraffic"}),
        ),
        [("ScaledEndpoint", "Endpoint")],
    ),
    "a named configuration": (
        endpoint,
        put("Config", "EndpointConfigName", "houses"),
        [("PhysicalName", "Config")],
    ),
    "a named model": (endpoint, put("Model", "ModelName", "houses"), [("PhysicalName", "Model")]),
    "an alarm that does nothing": (alarms, drop("Alarm", "AlarmActions"), [("AlarmAction", "Alarm")]),
    "an alarm whose actions are off": (alarms, put("Alarm", "ActionsEnabled", False), [("AlarmAction", "Alarm")]),
    "a part of another composite alarm": (
        alarms,
        put("All", "AlarmRule", 'ALARM("other part")'),
        [("AlarmAction", "Part")],
    ),
    "root by default": (notebook, drop("Notebook", "RootAccess"), [("NotebookRootAccess", "Notebook")]),
    "root in one case": (
        notebook,
        put("Notebook", "RootAccess", if_("Enabled", "Disabled")),
        [("NotebookRootAccess", "Notebook")],
    ),
    "IMDSv1 by default": (
        notebook,
        drop("Notebook", "InstanceMetadataServiceConfiguration"),
        [("NotebookMetadataService", "Notebook")],
    ),
    "IMDSv1": (
        notebook,
        put("Notebook", "InstanceMetadataServiceConfiguration", {"MinimumInstanceMetadataServiceVersion": "1"}),
        [("NotebookMetadataService", "Notebook")],
    ),
    "a domain on the internet by default": (
        notebook,
        drop("Domain", "AppNetworkAccessType"),
        [("DomainNetwork", "Domain")],
    ),
    "a role without the boundary": (
        roles,
        drop("Other", "PermissionsBoundary"),
        [("PermissionsBoundary", "Other")],
    ),
    "a public bucket": (
        policies,
        lambda template: statement_of(template).__delitem__("Condition"),
        [("PublicPolicy", "Policy")],
    ),
    "a condition that is none": (
        policies,
        lambda template: statement_of(template).update({"Condition": {"StringLike": {"aws:PrincipalAccount": "*"}}}),
        [("PublicPolicy", "Policy")],
    ),
    "a condition of something else": (
        policies,
        lambda template: statement_of(template).update({"Condition": {"Bool": {"aws:SecureTransport": "true"}}}),
        [("PublicPolicy", "Policy")],
    ),
    "all but one": (
        policies,
        lambda template: statement_of(template).update(
            {"NotPrincipal": {"AWS": "111111111111"}, "Principal": None, "Condition": {}}
        ),
        [("PublicPolicy", "Policy")],
    ),
    "a public registry, as text": (
        policies,
        put(
            "Registry",
            "ModelPackageGroupPolicy",
            json.dumps({"Statement": {"Effect": "Allow", "Principal": "*", "Action": "sagemaker:*", "Resource": "*"}}),
        ),
        [("PublicPolicy", "Registry")],
    ),
    "a public function": (policies, drop("Permission", "SourceAccount"), [("PublicPolicy", "Permission")]),
    "jobs without keys": (
        pipeline,
        in_steps(f", {VOLUME_KEY}", ""),
        [("JobVolumeKey", "Pipeline")] * 4,
    ),
    "training that reaches the internet": (
        pipeline,
        in_steps('"EnableNetworkIsolation": true, ', ""),
        [("JobNetworkIsolation", "Pipeline")] * 2,
    ),
    "processing that reaches the internet": (
        pipeline,
        in_steps('"VpcConfig"', '"Other"'),
        [("JobNetworkIsolation", "Pipeline")],
    ),
    "hosts that talk in the clear": (
        pipeline,
        in_steps('"EnableInterContainerTrafficEncryption": true', '"EnableInterContainerTrafficEncryption": false'),
        [("JobTrafficEncryption", "Pipeline")] * 2,
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_it_is_found(name: str) -> None:
    sample, change, expected = BROKEN[name]
    template = sample()
    change(template)
    assert found(template) == expected


def test_every_rule_is_broken_by_something_here() -> None:
    broken = {f"SAGESTACK-{rule}" for _, _, expected in BROKEN.values() for rule, _ in expected}
    assert broken == {rule.name for rule in RULES}


KEPT: dict[str, tuple[Callable[[], Template], Change]] = {
    "serverless": (endpoint, serverless),
    "inference components": (endpoint, components),
    "NVMe disks take no key": (
        endpoint,
        both(drop("Config", "KmsKeyId"), lambda template: variant(template).update({"InstanceType": "ml.g5.xlarge"})),
    ),
    "an instance type that is decided later": (
        endpoint,
        both(drop("Config", "KmsKeyId"), lambda template: variant(template).update({"InstanceType": LATER})),
    ),
    "a key of another stack": (endpoint, put("Config", "KmsKeyId", IMPORTED)),
    "a model in a network": (
        endpoint,
        both(drop("Model", "EnableNetworkIsolation"), put("Model", "VpcConfig", {"Subnets": ["subnet-1"]})),
    ),
    "a text for true": (endpoint, put("Model", "EnableNetworkIsolation", "true")),
    "capture is on unless it is off": (endpoint, put("Config", "DataCaptureConfig", {"DestinationS3Uri": "s3://x/"})),
    "a rolling update": (
        endpoint,
        lambda template: template["Endpoint"]["Properties"]["DeploymentConfig"].update(
            {"BlueGreenUpdatePolicy": {"Ref": "AWS::NoValue"}, "RollingUpdatePolicy": {"MaximumBatchSize": {}}}
        ),
    ),
    "copies of a component are scaled": (
        endpoint,
        both(
            drop("Endpoint", "RetainAllVariantProperties"),
            put("Target", "ScalableDimension", "sagemaker:inference-component:DesiredCopyCount"),
        ),
    ),
    "another endpoint is scaled": (
        endpoint,
        both(
            drop("Endpoint", "RetainAllVariantProperties"),
            put("Target", "ResourceId", "endpoint/houses-2/variant/AllTraffic"),
        ),
    ),
    "an alarm that is named by its name": (
        endpoint,
        lambda template: (
            template["Errors"]["Properties"].update({"AlarmName": "errors"}),
            template["Endpoint"]["Properties"]["DeploymentConfig"].update(
                {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}]}}
            ),
        ),
    ),
    "actions that are decided later": (alarms, put("Alarm", "AlarmActions", LATER)),
    "no boundary anywhere": (roles, both(drop("One", "PermissionsBoundary"), drop("Other", "PermissionsBoundary"))),
    "a service is not everybody": (
        policies,
        lambda template: statement_of(template).update(
            {"Principal": {"Service": "logging.s3.amazonaws.com"}, "Condition": {}}
        ),
    ),
    "a source account that is decided later": (policies, put("Permission", "SourceAccount", LATER)),
    "a training instance with NVMe disks, by the parameter's default": (
        pipeline,
        both(
            in_steps('"DefaultValue": "ml.m5.large"', '"DefaultValue": "ml.g5.xlarge"'),
            in_steps(f'"InstanceCount": 2, {VOLUME_KEY}', '"InstanceCount": 2'),
        ),
    ),
    "one host has nobody to talk to": (
        pipeline,
        both(
            in_steps('"InstanceCount": 2', '"InstanceCount": 1'),
            in_steps(', "EnableInterContainerTrafficEncryption": true', ""),
        ),
    ),
    "a number of hosts that is decided later": (
        pipeline,
        both(
            in_steps('"InstanceCount": 2', '"InstanceCount": {"Get": "Parameters.Hosts"}'),
            in_steps(', "EnableInterContainerTrafficEncryption": true', ""),
        ),
    ),
    "a definition that lies in S3": (
        pipeline,
        put("Pipeline", "PipelineDefinition", {"PipelineDefinitionS3Location": {"Bucket": "b", "Key": "k"}}),
    ),
}


@pytest.mark.parametrize("name", KEPT)
def test_it_is_nothing(name: str) -> None:
    sample, change = KEPT[name]
    template = sample()
    change(template)
    assert found(template) == []


def test_nobody_needs_to_capture_where_nothing_stays() -> None:
    template = endpoint()
    del template["Config"]["Properties"]["DataCaptureConfig"]
    assert found(template, is_kept=False) == []


def test_the_message_names_the_step() -> None:
    template = pipeline()
    in_steps('"VpcConfig"', '"Other"')(template)
    made = assembly(template)
    (finding,) = broken_in(made.stacks[STACK], made)
    assert finding.message.startswith("The processing step 'Process' reaches the internet")


def test_rules_are_named_alike_explained_and_documented() -> None:
    documented = (PROJECT_ROOT / "docs/reference/rules.md").read_text(encoding="utf-8")
    for rule in RULES:
        assert rule.name.startswith("SAGESTACK-")
        assert rule.promise.endswith((".", ")"))
        assert rule.link.startswith("https://docs.aws.amazon.com/")
        assert f"| `{rule.name}` | {rule.severity} |" in documented, (
            f"{rule.name} is missing in docs/reference/rules.md"
        )


def test_what_fails_a_synth_is_what_no_deployment_brings_back() -> None:
    assert {rule.name for rule in RULES if rule.severity is Severity.DANGER} == {
        "SAGESTACK-EndpointRollback",
        "SAGESTACK-PermissionsBoundary",
        "SAGESTACK-PublicPolicy",
        "SAGESTACK-ScaledEndpoint",
    }
