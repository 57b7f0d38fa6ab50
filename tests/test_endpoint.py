"""The endpoint serves the pinned version, and can be replaced while it does."""

from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk.assertions import Match, Template
from sagestack.endpoint import Endpoint
from sagestack.roles import SageMakerRole
from sagestack.settings import load_environment

from tests.synthesis import NETWORK, Templates, build, flags, served, synthesize

PACKAGE = "arn:aws:sagemaker:us-east-1:111111111111:model-package/houses/3"


def endpoint_in(stack: cdk.Stack, **changes: Any) -> Endpoint:
    arguments: dict[str, Any] = {
        "model_package_arn": PACKAGE,
        "role": SageMakerRole(stack, "Role", description="Serves"),
        "instance_type": "ml.m5.large",
        "encryption_key": kms.Key(stack, "Key"),
    }
    return Endpoint(stack, "Endpoint", **{**arguments, **changes})


def new_stack() -> cdk.Stack:
    return cdk.Stack(cdk.App(context=flags()), "Stack")


def test_it_serves_the_pinned_version_of_the_registry(templates: Templates) -> None:
    container = templates.properties("AWS::SageMaker::Model")["PrimaryContainer"]
    assert container == {
        "ModelPackageName": "arn:aws:sagemaker:us-east-1:111111111111:model-package/sagestack-dev-housing/3"
    }


def test_it_names_nothing(templates: Templates) -> None:
    for kind in ("Model", "EndpointConfig", "Endpoint"):
        assert f"{kind}Name" not in templates.properties(f"AWS::SageMaker::{kind}")


def test_another_version_replaces_the_model_and_moves_the_same_endpoint(project: Path, tmp_path: Path) -> None:
    environment = load_environment("dev", project)
    three, four = (
        synthesize(build(project, served(environment, version), tmp_path / str(version))) for version in (3, 4)
    )
    # All properties of a model but its tags replace it; the config refers to the model, and the endpoint to the config.
    assert three.properties("AWS::SageMaker::Model") != four.properties("AWS::SageMaker::Model")
    (variant,) = four.properties("AWS::SageMaker::EndpointConfig")["ProductionVariants"]
    assert variant["ModelName"]["Fn::GetAtt"][1] == "ModelName"
    assert four.properties("AWS::SageMaker::Endpoint")["EndpointConfigName"]["Fn::GetAtt"][1] == "EndpointConfigName"
    ids = [set(made.by_stack["sagestack-dev-housing-serving"]["Resources"]) for made in (three, four)]
    assert ids[0] == ids[1]


def test_the_model_has_no_network(templates: Templates) -> None:
    model = templates.properties("AWS::SageMaker::Model")
    assert model["EnableNetworkIsolation"] is True
    assert "VpcConfig" not in model


def test_the_model_of_a_network_runs_in_it() -> None:
    stack = new_stack()
    endpoint_in(stack, network=NETWORK)
    Template.from_stack(stack).has_resource_properties(
        "AWS::SageMaker::Model",
        {"VpcConfig": {"Subnets": NETWORK.subnet_ids, "SecurityGroupIds": NETWORK.security_group_ids}},
    )


def test_its_disks_are_encrypted_with_the_key() -> None:
    stack = new_stack()
    endpoint_in(stack)
    Template.from_stack(stack).has_resource_properties(
        "AWS::SageMaker::EndpointConfig", {"KmsKeyId": Match.any_value()}
    )


@pytest.mark.parametrize("instance_type", ["ml.m5d.large", "ml.g5.xlarge"])
def test_disks_that_encrypt_themselves_get_no_key(instance_type: str) -> None:
    stack = new_stack()
    endpoint_in(stack, instance_type=instance_type)
    template = Template.from_stack(stack)
    template.has_resource_properties("AWS::SageMaker::EndpointConfig", {"KmsKeyId": Match.absent()})
    assert "kms:CreateGrant" not in str(template.find_resources("AWS::IAM::Policy"))


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("instance_type", "ml.m5.lage", "'ml.m5.lage' is not an instance type for hosting; did you mean 'ml.m5.large'"),
        ("initial_instance_count", 0, "initial_instance_count must be at least 1, got 0"),
        ("initial_variant_weight", 0, "initial_variant_weight must be more than 0, got 0"),
    ],
)
def test_what_cannot_serve_is_refused(argument: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        endpoint_in(new_stack(), **{argument: value})


def test_a_role_from_elsewhere_is_taken_as_it_is() -> None:
    stack = new_stack()
    role = iam.Role.from_role_arn(stack, "Theirs", "arn:aws:iam::111111111111:role/theirs", mutable=False)
    endpoint_in(stack, role=role)
    Template.from_stack(stack).has_resource_properties(
        "AWS::SageMaker::Model", {"ExecutionRoleArn": "arn:aws:iam::111111111111:role/theirs"}
    )


def test_who_may_ask_may_ask_this_endpoint_alone() -> None:
    stack = new_stack()
    endpoint_in(stack).grant_invoke(iam.User(stack, "Caller"))
    Template.from_stack(stack).has_resource_properties(
        "AWS::IAM::Policy",
        {
            "PolicyDocument": {
                "Statement": [
                    {
                        "Action": "sagemaker:InvokeEndpoint",
                        "Effect": "Allow",
                        "Resource": {"Ref": Match.string_like_regexp("^Endpoint")},
                    }
                ]
            }
        },
    )


def test_its_metrics_are_those_that_sagemaker_publishes() -> None:
    endpoint = endpoint_in(new_stack())
    metrics = {
        "Invocations": endpoint.metric_invocations(),
        "Invocation4XXErrors": endpoint.metric_invocation_4xx_errors(),
        "Invocation5XXErrors": endpoint.metric_invocation_5xx_errors(),
        "ModelLatency": endpoint.metric_model_latency(),
        "OverheadLatency": endpoint.metric_overhead_latency(),
    }
    for name, metric in metrics.items():
        assert (metric.namespace, metric.metric_name) == ("AWS/SageMaker", name)
        assert metric.dimensions == {"EndpointName": endpoint.endpoint_name, "VariantName": "AllTraffic"}
    assert metrics["Invocations"].statistic == "Sum"
    assert metrics["ModelLatency"].statistic == "p99"


def test_it_is_found_by_a_parameter(templates: Templates) -> None:
    (parameter,) = templates.resources("AWS::SSM::Parameter", "-housing-serving")
    assert parameter["Properties"]["Name"] == "/sagestack/dev/housing/endpoint-name"
    assert parameter["Properties"]["Value"]["Fn::GetAtt"][1] == "EndpointName"
