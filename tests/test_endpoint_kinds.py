"""Each kind of endpoint comes from model.yaml and the environment's file alone."""

from typing import Any

import pytest

from tests.all_kinds import AllKinds
from tests.endpoint_kinds import ENDPOINTS
from tests.synthesis import Templates, text_of


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    return AllKinds.of(tmp_path_factory).templates


def properties(made: Templates, name: str, kind: str) -> dict[str, Any]:
    return made.properties(f"AWS::SageMaker::{kind}", f"-{name}-serving")


def variants(made: Templates, name: str) -> dict[str, dict[str, Any]]:
    """The variants of a model's endpoint that answer, by name, without their model."""
    return {
        variant["VariantName"]: {k: v for k, v in variant.items() if k not in ("VariantName", "ModelName")}
        for variant in properties(made, name, "EndpointConfig")["ProductionVariants"]
    }


def package(version: int, name: str) -> str:
    return f"arn:aws:sagemaker:us-east-1:111111111111:model-package/sagestack-dev-{name}/{version}"


def packages(made: Templates, name: str) -> list[str]:
    models = made.resources("AWS::SageMaker::Model", f"-{name}-serving")
    return [model["Properties"]["PrimaryContainer"]["ModelPackageName"] for model in models]


def test_every_kind_is_an_endpoint_of_its_own_name(made: Templates) -> None:
    names = {endpoint["Properties"]["EndpointName"] for endpoint in made.resources("AWS::SageMaker::Endpoint")}
    assert names == {f"sagestack-dev-{name}" for name in ENDPOINTS}


def test_a_real_time_endpoint_has_one_variant(made: Templates) -> None:
    assert variants(made, "plain") == {
        "AllTraffic": {"InstanceType": "ml.m5.large", "InitialInstanceCount": 2, "InitialVariantWeight": 1}
    }
    assert packages(made, "plain") == [package(3, "plain")]


def test_variants_are_other_versions_with_weights(made: Templates) -> None:
    assert variants(made, "compared") == {
        "AllTraffic": {"InstanceType": "ml.m5.large", "InitialInstanceCount": 2, "InitialVariantWeight": 90},
        "challenger": {"InstanceType": "ml.m5.xlarge", "InitialInstanceCount": 1, "InitialVariantWeight": 10},
    }
    assert packages(made, "compared") == [package(3, "compared"), package(4, "compared")]
    models = [v["ModelName"] for v in properties(made, "compared", "EndpointConfig")["ProductionVariants"]]
    assert models[0] != models[1]


def test_a_shadow_gets_its_share_of_the_requests_and_answers_nobody(made: Templates) -> None:
    config = properties(made, "shadowed", "EndpointConfig")
    (shadow,) = config["ShadowProductionVariants"]
    assert (shadow["VariantName"], shadow["InitialVariantWeight"]) == ("Shadow", 0.25)
    assert set(variants(made, "shadowed")) == {"AllTraffic"}
    assert packages(made, "shadowed") == [package(3, "shadowed"), package(4, "shadowed")]


def test_a_serverless_endpoint_has_memory_and_concurrency_and_no_instances(made: Templates) -> None:
    config = {"MemorySizeInMB": 2048, "MaxConcurrency": 20}
    assert variants(made, "serverless")["AllTraffic"]["ServerlessConfig"] == config
    assert variants(made, "warm")["AllTraffic"]["ServerlessConfig"] == {**config, "ProvisionedConcurrency": 2}
    assert not {"InstanceType", "InitialInstanceCount"} & variants(made, "serverless")["AllTraffic"].keys()
    assert not {"DataCaptureConfig", "KmsKeyId"} & properties(made, "serverless", "EndpointConfig").keys()


def test_an_asynchronous_endpoint_answers_to_the_artefact_bucket_and_says_so(made: Templates) -> None:
    config = properties(made, "asynchronous", "EndpointConfig")["AsyncInferenceConfig"]
    assert config["ClientConfig"] == {"MaxConcurrentInvocationsPerInstance": 4}
    output = config["OutputConfig"]
    assert text_of(output["S3OutputPath"]).endswith("/asynchronous/answers/")
    assert text_of(output["S3FailurePath"]).endswith("/asynchronous/failures/")
    assert "KmsKeyId" in output
    topics = output["NotificationConfig"]
    assert topics["SuccessTopic"] != topics["ErrorTopic"]


def test_the_topics_of_an_asynchronous_endpoint_are_encrypted_and_the_endpoint_may_publish(made: Templates) -> None:
    stack = made.by_stack["sagestack-dev-asynchronous-serving"]["Resources"]
    topics = [name for name, resource in stack.items() if resource["Type"] == "AWS::SNS::Topic"]
    assert all("KmsMasterKeyId" in stack[name]["Properties"] for name in topics)
    answers = [name for name in topics if name.startswith("EndpointAnswers")]
    (policy,) = (resource for name, resource in stack.items() if name.startswith("EndpointRoleDefaultPolicy"))
    statements = policy["Properties"]["PolicyDocument"]["Statement"]
    (publishing,) = (each for each in statements if each["Action"] == "sns:Publish")
    assert sorted(topic["Ref"] for topic in publishing["Resource"]) == sorted(answers)
    assert "/asynchronous/requests/*" in str(next(each for each in statements if "s3:GetObject*" in each["Action"]))


def test_a_multi_model_endpoint_serves_the_archives_below_a_prefix(made: Templates) -> None:
    container = properties(made, "many", "Model")["PrimaryContainer"]
    assert container["Mode"] == "MultiModel"
    assert text_of(container["ModelDataUrl"]).endswith("/many/archives/")
    assert "container-assets" in text_of(container["Image"])
    assert "ModelPackageName" not in container
    assert "/many/archives/*" in str(made.by_stack["sagestack-dev-many-serving"])


def test_containers_in_a_row_and_containers_by_name_are_called_after_their_models(made: Templates) -> None:
    def containers(name: str) -> list[tuple[str, str]]:
        listed = properties(made, name, "Model")["Containers"]
        return [(each["ContainerHostname"], each["ModelPackageName"]) for each in listed]

    assert containers("chained") == [("chained", package(3, "chained")), ("plain", package(3, "plain"))]
    assert [name for name, _ in containers("named")] == ["named", "plain", "scaled"]
    assert properties(made, "chained", "Model")["InferenceExecutionConfig"] == {"Mode": "Serial"}
    assert properties(made, "named", "Model")["InferenceExecutionConfig"] == {"Mode": "Direct"}


def test_who_serves_models_beside_each_other_may_read_all_of_them_and_no_others(made: Templates) -> None:
    text = str(made.by_stack["sagestack-dev-named-serving"])
    assert all(f"/{name}/*/Train/*" in text for name in ("named", "plain", "scaled"))
    assert "/chained/*/Train/*" not in text


def test_components_share_instances_that_have_no_model(made: Templates) -> None:
    (variant,) = properties(made, "shared", "EndpointConfig")["ProductionVariants"]
    assert "ModelName" not in variant
    assert variant["ManagedInstanceScaling"] == {"Status": "ENABLED", "MinInstanceCount": 1, "MaxInstanceCount": 3}
    assert variant["RoutingConfig"] == {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"}
    config = properties(made, "shared", "EndpointConfig")
    assert "ExecutionRoleArn" in config
    component = properties(made, "shared", "InferenceComponent")
    assert (component["EndpointName"], component["VariantName"]) == ("sagestack-dev-shared", "AllTraffic")
    assert component["RuntimeConfig"] == {"CopyCount": 2}
    assert component["Specification"]["ComputeResourceRequirements"] == {
        "NumberOfCpuCoresRequired": 1,
        "MinMemoryRequiredInMb": 1024,
    }
    assert component["Specification"]["ModelName"]["Fn::GetAtt"][1] == "ModelName"
    names = {each["Properties"]["Name"] for each in made.resources("AWS::SSM::Parameter", "-shared-serving")}
    assert "/sagestack/dev/shared/inference-component-name" in names, "callers must name it"


def test_what_is_scaled_is_what_the_kind_has(made: Templates) -> None:
    targets = {
        target["Properties"]["ResourceId"]: target["Properties"]["ScalableDimension"].split(":", 1)[1]
        for target in made.resources("AWS::ApplicationAutoScaling::ScalableTarget")
    }
    assert targets == {
        "endpoint/sagestack-dev-scaled/variant/AllTraffic": "variant:DesiredInstanceCount",
        "endpoint/sagestack-dev-warm/variant/AllTraffic": "variant:DesiredProvisionedConcurrency",
        "endpoint/sagestack-dev-asynchronous/variant/AllTraffic": "variant:DesiredInstanceCount",
        "inference-component/sagestack-dev-shared": "inference-component:DesiredCopyCount",
    }


def test_what_endpoints_keep_is_deleted_after_its_days(made: Templates) -> None:
    buckets = made.resources("AWS::S3::Bucket", "-foundation")
    rules = {
        rule["Prefix"]: rule
        for bucket in buckets
        for rule in bucket["Properties"]["LifecycleConfiguration"]["Rules"]
        if "Prefix" in rule
    }
    days = {prefix: rule["ExpirationInDays"] for prefix, rule in rules.items()}
    capturing = set(ENDPOINTS) - {"serverless", "warm", "shared"}
    assert days == {
        **{f"{name}/captured/": 30 for name in capturing},
        **{f"asynchronous/{folder}/": 14 for folder in ("requests", "answers", "failures")},
    }
    # A deleted object lives on as an old version, of which the bucket's own rule keeps more.
    assert {rule["NoncurrentVersionExpiration"]["NoncurrentDays"] for rule in rules.values()} == {1}
