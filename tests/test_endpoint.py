"""The endpoint serves the pinned version, and can be replaced while it does."""

from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk.assertions import Match, Template
from sagestack.endpoint import Endpoint
from sagestack.hosted_models import Archives, RegisteredModel
from sagestack.roles import SageMakerRole
from sagestack.settings import (
    Asynchronous,
    Autoscaling,
    DataCapture,
    EnvironmentNames,
    Hosting,
    InferenceComponents,
    RealTime,
    RollbackLimits,
    Serverless,
    Serving,
    Shadow,
    Variant,
    load_environment,
)

from tests.synthesis import NETWORK, Templates, build, flags, served, synthesize

REAL_TIME = RealTime(kind="real-time", instance_type="ml.m5.large", initial_instance_count=2)
SERVERLESS = Serverless(kind="serverless", memory_in_mb=2048, max_concurrency=5)
ASYNCHRONOUS = Asynchronous(kind="asynchronous", instance_type="ml.m5.large", initial_instance_count=1)
COMPONENTS = InferenceComponents(
    kind="inference-components",
    instance_type="ml.m5.xlarge",
    initial_instance_count=1,
    max_instance_count=3,
    copies=2,
    cpus_per_copy=1,
    memory_per_copy_in_mb=1024,
)
SERVING = Serving(content_types=["text/csv", "application/x-npy"], response_types=["application/json"])
OTHER = Variant(served_version=4, weight=1, instance_type="ml.m5.large", initial_instance_count=1)


class Houses:
    """A registry."""

    def model_package_arn(self, version: int) -> str:
        return f"arn:aws:sagemaker:us-east-1:111111111111:model-package/houses/{version}"


def endpoint_in(stack: cdk.Stack, hosting: Hosting = REAL_TIME, **changes: Any) -> Endpoint:
    key = kms.Key(stack, "Key")
    arguments: dict[str, Any] = {
        "names": EnvironmentNames("dev").model("houses"),
        "hosting": hosting,
        "serving": SERVING,
        "model": RegisteredModel("houses", Houses(), served_version=3),
        "role": SageMakerRole(stack, "Role", description="Serves"),
        "artifacts": s3.Bucket(stack, "Artifacts", encryption_key=key),
        "encryption_key": key,
    }
    return Endpoint(stack, "Endpoint", **{**arguments, **changes})


def new_stack() -> cdk.Stack:
    return cdk.Stack(cdk.App(context=flags()), "Stack")


def template_of(hosting: Hosting = REAL_TIME, **changes: Any) -> Template:
    stack = new_stack()
    endpoint_in(stack, hosting, **changes)
    return Template.from_stack(stack)


def only(template: Template, kind: str) -> dict[str, Any]:
    (resource,) = template.find_resources(f"AWS::SageMaker::{kind}").values()
    properties: dict[str, Any] = resource["Properties"]
    return properties


# --- What it serves, and how it changes ---


def test_it_serves_the_pinned_version_of_the_registry(templates: Templates) -> None:
    container = templates.properties("AWS::SageMaker::Model")["PrimaryContainer"]
    assert container == {
        "ModelPackageName": "arn:aws:sagemaker:us-east-1:111111111111:model-package/sagestack-dev-housing/3"
    }


def test_it_has_a_name_and_what_replaces_has_none(templates: Templates) -> None:
    assert templates.properties("AWS::SageMaker::Endpoint")["EndpointName"] == "sagestack-dev-housing"
    for kind in ("Model", "EndpointConfig"):
        assert f"{kind}Name" not in templates.properties(f"AWS::SageMaker::{kind}")


def serving_of(project: Path, out: Path, **changes: Any) -> dict[str, Any]:
    """The resources of the serving stack of `dev`, where the model's entry differs so."""
    environment = served(load_environment("dev", project), version=changes.pop("version", 3))
    tags = changes.pop("tags", environment.tags)
    entry = environment.models["housing"]
    endpoint = entry.endpoint.model_copy(update=changes)
    models = {"housing": entry.model_copy(update={"endpoint": endpoint})}
    made = synthesize(build(project, environment.model_copy(update={"models": models, "tags": tags}), out))
    return of_sagemaker(made)


def of_sagemaker(made: Templates) -> dict[str, Any]:
    """The resources of the serving stack that SageMaker has."""
    resources: dict[str, Any] = made.by_stack["sagestack-dev-housing-serving"]["Resources"]
    return {name: resource for name, resource in resources.items() if resource["Type"].startswith("AWS::SageMaker::")}


def without_tags(resources: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {**resource, "Properties": {k: v for k, v in resource["Properties"].items() if k != "Tags"}}
        for name, resource in resources.items()
    }


def test_another_version_replaces_the_model_and_moves_the_same_endpoint(
    templates: Templates, project: Path, tmp_path: Path
) -> None:
    three, four = of_sagemaker(templates), serving_of(project, tmp_path, version=4)

    def changed(kind: str) -> bool:
        ((before, after),) = ((three[name], four[name]) for name in three if three[name]["Type"].endswith(kind))
        return bool(before != after)

    # All properties of a model but its tags replace it; the config refers to the model, and the endpoint to the config.
    assert three.keys() == four.keys()
    assert [changed(f"::{kind}") for kind in ("Model", "EndpointConfig", "Endpoint")] == [True, False, False]
    by_kind = {resource["Type"].split("::")[-1]: resource["Properties"] for resource in four.values()}
    (variant,) = by_kind["EndpointConfig"]["ProductionVariants"]
    assert variant["ModelName"]["Fn::GetAtt"][1] == "ModelName"
    assert by_kind["Endpoint"]["EndpointConfigName"]["Fn::GetAtt"][1] == "EndpointConfigName"


def test_what_does_not_change_the_model_starts_no_update(templates: Templates, project: Path, tmp_path: Path) -> None:
    limits = RollbackLimits(error_percent=5.0, saturation_percent=50.0)
    after = serving_of(project, tmp_path, tags={"project": "other"}, rollback=limits)
    assert without_tags(of_sagemaker(templates)) == without_tags(after)


def test_another_size_is_another_config_and_the_same_model(templates: Templates, project: Path, tmp_path: Path) -> None:
    before, after = of_sagemaker(templates), serving_of(project, tmp_path, instance_type="ml.m5.xlarge")
    assert [before[name]["Type"].split("::")[-1] for name in before if before[name] != after[name]] == [
        "EndpointConfig"
    ]


def test_nothing_looks_before_its_role_may(templates: Templates) -> None:
    for kind in ("Model", "EndpointConfig", "Endpoint"):
        (resource,) = templates.resources(f"AWS::SageMaker::{kind}")
        assert any(name.startswith("EndpointRoleDefaultPolicy") for name in resource["DependsOn"]), kind


def test_components_wait_for_their_role_and_their_endpoint() -> None:
    template = template_of(COMPONENTS)
    (component,) = template.find_resources("AWS::SageMaker::InferenceComponent").values()
    (endpoint,) = template.find_resources("AWS::SageMaker::Endpoint")
    assert endpoint in component["DependsOn"]
    (config,) = template.find_resources("AWS::SageMaker::EndpointConfig").values()
    assert any(name.startswith("RoleDefaultPolicy") for name in config["DependsOn"])


def test_an_update_is_watched_by_the_endpoints_alarms() -> None:
    template = template_of()
    rollback = only(template, "Endpoint")["DeploymentConfig"]["AutoRollbackConfiguration"]
    alarms = template.find_resources("AWS::CloudWatch::Alarm")
    assert {alarm["AlarmName"]["Ref"] for alarm in rollback["Alarms"]} == set(alarms)
    assert all(alarm["Properties"]["AlarmName"].startswith("sagestack-dev-houses-") for alarm in alarms.values())


def test_the_models_own_budget_is_the_limit_unless_the_environment_has_one() -> None:
    def limits(hosting: Hosting) -> set[float]:
        alarms = template_of(hosting).find_resources("AWS::CloudWatch::Alarm").values()
        return {alarm["Properties"]["Threshold"] for alarm in alarms}

    own = SERVING.p99_latency_in_ms
    assert limits(REAL_TIME) & {own, own * 1000}
    assert limits(REAL_TIME.model_copy(update={"rollback": RollbackLimits(p99_latency_ms=77.0)})) & {77.0, 77000.0}


# --- Network, disks, keys ---


@pytest.mark.parametrize("hosting", [REAL_TIME, ASYNCHRONOUS, COMPONENTS], ids=lambda hosting: hosting.kind)
def test_the_container_has_no_network(hosting: Hosting) -> None:
    template = template_of(hosting)
    model = only(template, "Model")
    assert model["EnableNetworkIsolation"] is True
    assert "VpcConfig" not in model
    if hosting is COMPONENTS:
        assert only(template, "EndpointConfig")["EnableNetworkIsolation"] is True


def test_serverless_has_no_isolation_since_sagemaker_refuses_it() -> None:
    assert "EnableNetworkIsolation" not in only(template_of(SERVERLESS), "Model")


@pytest.mark.parametrize(
    ("hosting", "kind"), [(REAL_TIME, "Model"), (COMPONENTS, "Model"), (COMPONENTS, "EndpointConfig")]
)
def test_what_is_in_a_network_runs_in_it(hosting: Hosting, kind: str) -> None:
    assert only(template_of(hosting, network=NETWORK), kind)["VpcConfig"] == {
        "Subnets": NETWORK.subnet_ids,
        "SecurityGroupIds": NETWORK.security_group_ids,
    }


@pytest.mark.parametrize("hosting", [REAL_TIME, ASYNCHRONOUS, COMPONENTS], ids=lambda hosting: hosting.kind)
def test_its_disks_are_encrypted_with_the_key(hosting: Hosting) -> None:
    assert "KmsKeyId" in only(template_of(hosting), "EndpointConfig")


@pytest.mark.parametrize("instance_type", ["ml.m5d.large", "ml.g5.xlarge"])
@pytest.mark.parametrize("hosting", [REAL_TIME, ASYNCHRONOUS, COMPONENTS], ids=lambda hosting: hosting.kind)
def test_disks_that_encrypt_themselves_get_no_key(hosting: Hosting, instance_type: str) -> None:
    template = template_of(hosting.model_copy(update={"instance_type": instance_type}))
    assert "KmsKeyId" not in only(template, "EndpointConfig")
    assert "kms:CreateGrant" not in str(template.find_resources("AWS::IAM::Policy"))


def test_no_disk_needs_no_key() -> None:
    template = template_of(SERVERLESS)
    assert "KmsKeyId" not in only(template, "EndpointConfig")
    assert "kms:CreateGrant" not in str(template.find_resources("AWS::IAM::Policy"))


def test_it_writes_to_its_own_log_group_alone() -> None:
    policies = str(template_of().find_resources("AWS::IAM::Policy"))
    assert "/aws/sagemaker/Endpoints/sagestack-dev-houses" in policies
    assert "/aws/sagemaker/Endpoints/*" not in policies
    assert "InferenceComponents/sagestack-dev-houses" in str(template_of(COMPONENTS).find_resources("AWS::IAM::Policy"))


# --- Bad input ---


@pytest.mark.parametrize(
    ("hosting", "changes", "message"),
    [
        (REAL_TIME.model_copy(update={"weight": 0.0}), {}, "weight: 0, and there are no variants"),
        (
            REAL_TIME.model_copy(update={"weight": 0.0, "variants": {"b": OTHER.model_copy(update={"weight": 0.0})}}),
            {},
            "weight: 0, as are those of b",
        ),
        (
            REAL_TIME.model_copy(update={"autoscaling": Autoscaling(min_capacity=4, max_capacity=2, cpu_percent=50.0)}),
            {},
            "autoscaling.min_capacity: 4",
        ),
        (SERVERLESS, {"network": NETWORK}, "a serverless endpoint does not run in a network"),
        (REAL_TIME.model_copy(update={"serves_archives": True}), {}, "serves_archives is True, and what is served is"),
    ],
)
def test_what_cannot_serve_is_refused(hosting: Hosting, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        endpoint_in(new_stack(), hosting, **changes)


def test_a_product_of_the_marketplace_is_refused() -> None:
    class Product:
        def model_package_arn(self, version: int) -> str:
            return "arn:aws:sagemaker:us-east-1:865070037744:model-package/some-product-abc"

    with pytest.raises(ValueError, match="Marketplace"):
        endpoint_in(new_stack(), model=RegisteredModel("product", Product(), served_version=1))


def test_archives_have_no_version_to_ask_for() -> None:
    archives = Archives("image", s3.Bucket(new_stack(), "Bucket"), "houses/archives/")
    with pytest.raises(ValueError, match="archives have no versions, and version 3 was asked for"):
        archives.containers(3)


# --- Roles and callers ---


def test_a_role_from_elsewhere_is_taken_as_it_is() -> None:
    stack = new_stack()
    role = iam.Role.from_role_arn(stack, "Theirs", "arn:aws:iam::111111111111:role/theirs", mutable=False)
    endpoint_in(stack, role=role)
    Template.from_stack(stack).has_resource_properties(
        "AWS::SageMaker::Model", {"ExecutionRoleArn": "arn:aws:iam::111111111111:role/theirs"}
    )


def caller_of(hosting: Hosting) -> list[dict[str, Any]]:
    """What somebody may do who was let in."""
    stack = new_stack()
    endpoint_in(stack, hosting).grant_invoke(iam.User(stack, "Caller"))
    policies = Template.from_stack(stack).find_resources(
        "AWS::IAM::Policy", {"Properties": {"Users": Match.any_value()}}
    )
    (policy,) = policies.values()
    statements: list[dict[str, Any]] = policy["Properties"]["PolicyDocument"]["Statement"]
    return statements


@pytest.mark.parametrize("hosting", [REAL_TIME, SERVERLESS], ids=lambda hosting: hosting.kind)
def test_who_may_ask_may_ask_this_endpoint_alone(hosting: Hosting) -> None:
    (statement,) = caller_of(hosting)
    assert statement["Action"] == "sagemaker:InvokeEndpoint"
    assert statement["Resource"]["Ref"].startswith("Endpoint")


def test_who_may_ask_components_may_ask_the_endpoint_and_the_component() -> None:
    (statement,) = caller_of(COMPONENTS)
    assert statement["Action"] == "sagemaker:InvokeEndpoint"
    assert len(statement["Resource"]) == 2


def test_who_may_ask_asynchronously_may_put_requests_and_read_answers() -> None:
    statements = caller_of(ASYNCHRONOUS)
    actions = [statement["Action"] for statement in statements]
    assert "sagemaker:InvokeEndpointAsync" in actions
    assert "sagemaker:InvokeEndpoint" not in actions
    text = str(statements)
    assert all(f"/houses/{folder}/*" in text for folder in ("requests", "answers", "failures"))
    (writing,) = (each for each in statements if "s3:PutObject" in each["Action"])
    assert "/houses/requests/*" in str(writing["Resource"])
    assert "answers" not in str(writing["Resource"])


# --- What it keeps ---


def test_what_is_asked_and_answered_is_kept_below_its_own_prefix() -> None:
    stack = new_stack()
    endpoint_in(stack, REAL_TIME.model_copy(update={"data_capture": DataCapture(sampling_percent=20)}))
    capture = only(Template.from_stack(stack), "EndpointConfig")["DataCaptureConfig"]
    assert capture["EnableCapture"] is True
    assert capture["InitialSamplingPercentage"] == 20
    assert "/houses/captured/" in str(capture["DestinationS3Uri"])
    assert "KmsKeyId" in capture
    assert capture["CaptureOptions"] == [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}]
    # What is neither is kept as base64.
    assert capture["CaptureContentTypeHeader"] == {
        "CsvContentTypes": ["text/csv"],
        "JsonContentTypes": ["application/json"],
    }


def test_nothing_is_kept_where_nobody_wants_it() -> None:
    template = template_of(REAL_TIME.model_copy(update={"data_capture": None}))
    assert "DataCaptureConfig" not in only(template, "EndpointConfig")
    assert "captured" not in str(template.find_resources("AWS::IAM::Policy"))


def test_what_is_captured_can_be_written_and_not_read() -> None:
    policies = template_of().find_resources("AWS::IAM::Policy").values()
    statements = [each for policy in policies for each in policy["Properties"]["PolicyDocument"]["Statement"]]
    (capturing,) = (each for each in statements if "/houses/captured/*" in str(each["Resource"]))
    assert "s3:PutObject" in capturing["Action"]
    assert not any(action.startswith("s3:Get") for action in capturing["Action"])


# --- What can be measured ---


def test_its_metrics_are_those_that_sagemaker_publishes() -> None:
    endpoint = endpoint_in(new_stack())
    latency = endpoint.metrics.model_latency()
    assert (latency.namespace, latency.metric_name, latency.statistic) == ("AWS/SageMaker", "ModelLatency", "p99")
    assert latency.dimensions == {"EndpointName": "sagestack-dev-houses", "VariantName": "AllTraffic"}
    assert endpoint.metric("Invocations").dimensions == latency.dimensions
    assert endpoint.metrics_of("challenger").invocations().dimensions == {
        "EndpointName": "sagestack-dev-houses",
        "VariantName": "challenger",
    }


def test_the_metrics_of_components_are_the_copies() -> None:
    endpoint = endpoint_in(new_stack(), COMPONENTS)
    assert endpoint.metrics.model_latency().dimensions == {"InferenceComponentName": "sagestack-dev-houses"}


def test_the_variants_that_answer_are_known() -> None:
    compared = REAL_TIME.model_copy(update={"variants": {"challenger": OTHER}})
    shadow = Shadow(served_version=4, instance_type="ml.m5.large", initial_instance_count=1)
    assert endpoint_in(new_stack(), compared).variant_names == ["AllTraffic", "challenger"]
    shadowed = REAL_TIME.model_copy(update={"shadow": shadow})
    assert endpoint_in(new_stack(), shadowed).variant_names == ["AllTraffic"]


def test_it_is_found_by_a_parameter(templates: Templates) -> None:
    (parameter,) = templates.resources("AWS::SSM::Parameter", "-housing-serving")
    assert parameter["Properties"]["Name"] == "/sagestack/dev/housing/endpoint-name"
    assert parameter["Properties"]["Value"] == "sagestack-dev-housing"
    # Who finds the name finds the endpoint.
    assert any(name.startswith("Endpoint") and "Role" not in name for name in parameter["DependsOn"])
