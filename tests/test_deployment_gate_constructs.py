"""The gate and the probe as they are deployed: what they are told, what they come before and after, what they may do."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from sagestack import settings
from sagestack.golden_probe import GoldenProbe
from sagestack.hosted_models import Archives, Beside, RegisteredModel
from sagestack.served_parts import Part, is_probed, served_parts

from tests.guarded_endpoint import ENDPOINT, GuardedStack, OneVersion, probed_hosting

ARN = "arn:aws:sagemaker:us-east-1:000000000000:model-package/guarded/7"
MODEL = RegisteredModel("guarded", OneVersion(ARN), 7)
Resources = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def resources(tmp_path_factory: pytest.TempPathFactory) -> Resources:
    app = cdk.App(outdir=str(tmp_path_factory.mktemp("cdk.out")), analytics_reporting=False)
    stack = GuardedStack(app, arn=ARN, hosting=probed_hosting())
    found: Resources = app.synth().get_stack_by_name(stack.stack_name).template["Resources"]
    return found


def of(resources: Resources, kind: str) -> list[tuple[str, dict[str, Any]]]:
    return [(name, resource) for name, resource in resources.items() if resource["Type"] == kind]


def one(resources: Resources, kind: str) -> tuple[str, dict[str, Any]]:
    (found,) = of(resources, kind)
    return found


def test_every_model_waits_for_the_check_and_the_gate_for_the_endpoint(resources: Resources) -> None:
    check, _ = one(resources, "Custom::SagestackVersionCheck")
    endpoint, _ = one(resources, "AWS::SageMaker::Endpoint")
    for _, model in of(resources, "AWS::SageMaker::Model"):
        assert check in model["DependsOn"]
    _, gate = one(resources, "Custom::SagestackDeploymentGate")
    assert endpoint in gate["DependsOn"]


def test_the_gate_runs_when_the_configuration_or_the_version_changes(resources: Resources) -> None:
    config, _ = one(resources, "AWS::SageMaker::EndpointConfig")
    properties = dict(one(resources, "Custom::SagestackDeploymentGate")[1]["Properties"])
    assert properties.pop("ServiceToken")
    assert properties == {
        "EndpointName": ENDPOINT,
        "EndpointConfigName": {"Fn::GetAtt": [config, "EndpointConfigName"]},
        "Variants": [{"Name": "AllTraffic", "ModelPackageArns": [ARN], "MinInstances": 2, "MaxInstances": 2}],
        "ShadowVariants": [],
        "InferenceComponents": [],
        "Questions": [{"ModelPackageArn": ARN, "What": "variant AllTraffic", "Addressed": {}}],
    }
    check = one(resources, "Custom::SagestackVersionCheck")[1]["Properties"]
    assert check["Versions"] == [
        {"ModelPackageArn": ARN, "ModelPackageGroupArn": ARN.replace("package/", "package-group/").removesuffix("/7")}
    ]


def test_the_endpoint_changes_only_once_the_probe_stands_ready_and_its_alarm_rolls_back(resources: Resources) -> None:
    rule, found = one(resources, "AWS::Events::Rule")
    _, endpoint = one(resources, "AWS::SageMaker::Endpoint")
    assert rule in endpoint["DependsOn"]
    assert found["Properties"]["EventPattern"] == {
        "source": ["aws.sagemaker"],
        "detail-type": ["SageMaker Endpoint State Change"],
        "detail": {"EndpointName": [ENDPOINT], "EndpointStatus": ["UPDATING"]},
    }
    (alarm,) = [
        (name, resource["Properties"])
        for name, resource in of(resources, "AWS::CloudWatch::Alarm")
        if resource["Properties"].get("Namespace") == "Sagestack"
    ]
    assert {key: alarm[1][key] for key in ("MetricName", "Statistic", "Period", "Threshold", "TreatMissingData")} == {
        "MetricName": "GoldenRecordsWrong",
        "Statistic": "Sum",
        "Period": 60,
        "Threshold": 1,
        "TreatMissingData": "notBreaching",
    }
    alarms = endpoint["Properties"]["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
    assert {"AlarmName": {"Ref": alarm[0]}} in alarms


def test_the_probe_may_call_itself_for_as_long_as_an_update_takes(resources: Resources) -> None:
    (probe,) = [
        resource["Properties"]
        for _, resource in of(resources, "AWS::Lambda::Function")
        if resource["Properties"].get("Handler") == "deployment_gate.handler.watch"
    ]
    assert (probe["RecursiveLoop"], probe["Timeout"], probe["MemorySize"]) == ("Allow", 900, 256)
    assert probe["Environment"]["Variables"] == {"REQUESTS_PER_SECOND": "2"}


def test_the_functions_look_and_ask_and_change_nothing(resources: Resources) -> None:
    allowed: set[str] = set()
    for name, policy in of(resources, "AWS::IAM::Policy"):
        if name.startswith(("GateCheck", "GateLook", "ProbeFunction", "ProbeAgain")):
            for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
                actions = statement["Action"]
                allowed |= {actions} if isinstance(actions, str) else set(actions)
    changing = {action for action in allowed if not action.split(":")[1].startswith(("Describe", "Get", "List"))}
    assert changing - {"logs:CreateLogStream", "logs:PutLogEvents"} == {
        "sagemaker:InvokeEndpoint",
        "cloudwatch:PutMetricData",
        "lambda:InvokeFunction",
    }


@pytest.mark.parametrize("rate", [0, -1, 21])
def test_a_rate_that_helps_nobody_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=f"requests_per_second must be more than 0 and up to 20, got {rate}"):
        GoldenProbe(
            cdk.Stack(),
            "Probe",
            endpoint_name="x",
            model_package_arns=[ARN],
            grant_read_golden_records=lambda _: None,
            requests_per_second=rate,
        )


# --- What an endpoint consists of

SIZE: dict[str, Any] = {"instance_type": "ml.m5.large", "initial_instance_count": 2}
SCALED = settings.Autoscaling(min_capacity=1, max_capacity=5, invocations_per_instance=100)


class Numbered:
    """A registry of many versions."""

    def model_package_arn(self, version: int) -> str:
        return f"{ARN.removesuffix('/7')}/{version}"


def test_an_autoscaled_endpoint_may_have_any_size_within_its_bounds() -> None:
    parts = served_parts(settings.RealTime(kind="real-time", autoscaling=SCALED, **SIZE), MODEL)
    assert parts.variants == (Part("AllTraffic", (ARN,), (1, 5)),)


def test_every_variant_is_asked_its_own_version_and_the_shadow_none() -> None:
    hosting = settings.RealTime(
        kind="real-time",
        variants={"B": settings.Variant(served_version=2, weight=1, **SIZE)},
        shadow=settings.Shadow(served_version=3, **SIZE),
        **SIZE,
    )
    parts = served_parts(hosting, RegisteredModel("m", Numbered(), 1))
    assert [arn.rpartition("/")[2] for arn in parts.model_package_arns] == ["1", "2", "3"]
    assert [part.name for part in parts.shadows] == ["Shadow"]
    assert [(q["ModelPackageArn"][-1], q["Addressed"]) for q in parts.questions()] == [
        ("1", {"TargetVariant": "AllTraffic"}),
        ("2", {"TargetVariant": "B"}),
    ]


def test_containers_by_name_are_asked_each_and_containers_in_a_row_are_not() -> None:
    real_time = settings.RealTime(kind="real-time", **SIZE)
    beside = [Beside("other", ARN.replace("/7", "/8"))]
    direct = served_parts(real_time, RegisteredModel("m", OneVersion(ARN), 7, mode="Direct", beside=beside))
    assert [q["Addressed"] for q in direct.questions()] == [
        {"TargetContainerHostname": "m"},
        {"TargetContainerHostname": "other"},
    ]
    serial = served_parts(real_time, RegisteredModel("m", OneVersion(ARN), 7, mode="Serial", beside=beside))
    assert serial.questions() == []
    assert len(serial.variants[0].model_package_arns) == 2, "compared all the same"


def test_a_component_is_asked_by_its_name() -> None:
    hosting = settings.InferenceComponents(
        kind="inference-components",
        max_instance_count=3,
        copies=2,
        cpus_per_copy=1,
        memory_per_copy_in_mb=512,
        **SIZE,
    )
    parts = served_parts(hosting, MODEL, component_name="copies")
    assert parts.variants == (Part("AllTraffic"),)
    assert parts.components == (Part("copies", (ARN,), (2, 2)),)
    assert [q["Addressed"] for q in parts.questions()] == [{"InferenceComponentName": "copies"}]
    with pytest.raises(ValueError, match="its name is not given"):
        served_parts(hosting, MODEL)


def test_archives_have_no_version_to_check(tmp_path: Path) -> None:
    archives = Archives("image", cdk.aws_s3.Bucket.from_bucket_name(cdk.Stack(), "B", "archives"), "models/")
    hosting = settings.RealTime(kind="real-time", serves_archives=True, **SIZE)
    parts = served_parts(hosting, archives)
    assert (parts.model_package_arns, parts.questions()) == ([], [])
    assert not is_probed(hosting, archives)


def test_what_cannot_be_asked_during_an_update_is_not_probed() -> None:
    real_time = settings.RealTime(kind="real-time", **SIZE)
    assert is_probed(real_time, MODEL)
    assert not is_probed(real_time, RegisteredModel("m", OneVersion(ARN), 7, mode="Serial"))
    assert not is_probed(settings.Asynchronous(kind="asynchronous", **SIZE), MODEL)
    assert not is_probed(settings.Serverless(kind="serverless", memory_in_mb=2048, max_concurrency=5), MODEL)


def test_two_synths_are_equal(tmp_path: Path) -> None:
    texts = []
    for place in ("a", "b"):
        app = cdk.App(outdir=str(tmp_path / place), analytics_reporting=False)
        GuardedStack(app, arn=ARN, hosting=probed_hosting())
        app.synth()
        texts.append(json.dumps(app.synth().stacks[0].template))
    assert len(set(texts)) == 1
    assert not list(itertools.chain.from_iterable((tmp_path / "a").rglob(name) for name in ("__pycache__", "pin.py")))
