"""The alarms that take an update back: what they reckon, when they ring, who hears them, who may look."""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk.assertions import Match, Template
from sagestack import settings
from sagestack.rollback_alarms import RollbackAlarms
from sagestack.settings.instance_types import known_instance_types
from sagestack.settings.processors import vcpus

ENDPOINT = "sagestack-dev-housing"
HERE = cdk.Environment(account="111111111111", region="us-east-1")


class Built:
    """A stack with the alarms of one endpoint."""

    def __init__(self, variants: list[str] | None = None, **changes: Any) -> None:
        self.app = cdk.App(analytics_reporting=False)
        self.stack = cdk.Stack(self.app, "Serving", env=HERE)
        self.role = iam.Role(self.stack, "Role", assumed_by=iam.ServicePrincipal("sagemaker.amazonaws.com"))
        names = variants or ["AllTraffic"]
        self.alarms = RollbackAlarms(
            self.stack,
            "Alarms",
            **{
                "endpoint_name": ENDPOINT,
                "variant_names": names,
                "limits": settings.RollbackLimits(),
                "p99_latency_ms": 250.0,
                "encryption_key": kms.Key(self.stack, "Key", enable_key_rotation=True),
                "instance_types": dict.fromkeys(names, "ml.m5.xlarge"),
                **changes,
            },
        )

    def template(self) -> Template:
        return Template.from_stack(self.stack)

    def alarm(self, what: str) -> dict[str, Any]:
        found = self.template().find_resources(
            "AWS::CloudWatch::Alarm", {"Properties": {"AlarmName": f"{ENDPOINT}-{what}"}}
        )
        (alarm,) = found.values()
        properties: dict[str, Any] = alarm["Properties"]
        return properties


@pytest.fixture(scope="module")
def built() -> Built:
    built = Built()
    built.alarms.grant_describe(built.role)
    return built


def expression(alarm: dict[str, Any]) -> str:
    (reckoned,) = [metric["Expression"] for metric in alarm["Metrics"] if "Expression" in metric]
    assert isinstance(reckoned, str)
    return reckoned


def measured(alarm: dict[str, Any]) -> dict[str, tuple[str, str, str, str]]:
    """What an alarm reckons with: by its id, the namespace, the metric, the variant or component, the statistic."""
    return {
        metric["Id"]: (
            metric["MetricStat"]["Metric"]["Namespace"],
            metric["MetricStat"]["Metric"]["MetricName"],
            metric["MetricStat"]["Metric"]["Dimensions"][-1]["Value"],
            metric["MetricStat"]["Stat"],
        )
        for metric in alarm["Metrics"]
        if "MetricStat" in metric
    }


def test_failures_are_a_share_in_percent_and_count_after_one_minute(built: Built) -> None:
    alarm = built.alarm("errors")

    assert expression(alarm) == "100 * errors"
    assert measured(alarm) == {"errors": ("AWS/SageMaker", "Invocation5XXErrors", "AllTraffic", "Average")}
    assert (alarm["Threshold"], alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"]) == (1, 1, 1)


def test_latency_is_in_milliseconds_though_sagemaker_counts_microseconds(built: Built) -> None:
    alarm = built.alarm("latency")

    assert expression(alarm) == "latency / 1000"
    assert measured(alarm) == {"latency": ("AWS/SageMaker", "ModelLatency", "AllTraffic", "p99")}
    assert (alarm["Threshold"], alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"]) == (250, 2, 2)


def test_the_environment_may_set_another_latency_than_the_model() -> None:
    built = Built(limits=settings.RollbackLimits(p99_latency_ms=80.0, error_percent=2.5, saturation_percent=75.0))

    assert built.alarm("latency")["Threshold"] == 80
    assert built.alarm("errors")["Threshold"] == 2.5
    assert built.alarm("saturation")["Threshold"] == 75


def test_saturation_divides_the_cpu_by_the_processors_of_the_instance(built: Built) -> None:
    alarm = built.alarm("saturation")

    assert expression(alarm) == "MAX([FILL(memory0, 0), FILL(cpu1, 0) / 4])"
    assert measured(alarm) == {
        "memory0": ("/aws/sagemaker/Endpoints", "MemoryUtilization", "AllTraffic", "Maximum"),
        "cpu1": ("/aws/sagemaker/Endpoints", "CPUUtilization", "AllTraffic", "Maximum"),
    }


def test_a_serverless_endpoint_publishes_no_cpu_so_memory_alone_saturates() -> None:
    alarm = Built(instance_types=None).alarm("saturation")

    assert expression(alarm) == "memory"
    assert measured(alarm) == {"memory": ("/aws/sagemaker/Endpoints", "MemoryUtilization", "AllTraffic", "Maximum")}


def test_an_inference_component_is_measured_by_its_own_name_and_part() -> None:
    built = Built(component_name="housing-component")

    assert measured(built.alarm("errors"))["errors"][2] == "housing-component"
    assert measured(built.alarm("saturation"))["cpu1"] == (
        "/aws/sagemaker/InferenceComponents",
        "CPUUtilizationNormalized",
        "housing-component",
        "Maximum",
    )
    assert expression(built.alarm("saturation")) == "MAX([FILL(memory0, 0), FILL(cpu1, 0)])"


def test_the_worst_of_several_variants_rings() -> None:
    alarm = Built(["AllTraffic", "B"]).alarm("errors")

    assert expression(alarm) == "MAX([100 * FILL(errors0, 0), 100 * FILL(errors1, 0)])"
    assert [where for _, _, where, _ in measured(alarm).values()] == ["AllTraffic", "B"]


def test_ten_variants_are_watched_by_fewer_alarms_than_sagemaker_takes_of_ten_metrics_each() -> None:
    built = Built([f"V{number}" for number in range(10)])

    alarms = built.template().find_resources("AWS::CloudWatch::Alarm").values()
    assert len(alarms) == len(built.alarms.alarms) == 6
    assert max(len(measured(alarm["Properties"])) for alarm in alarms) == 10


def test_silence_is_no_alarm(built: Built) -> None:
    for alarm in built.template().find_resources("AWS::CloudWatch::Alarm").values():
        assert alarm["Properties"]["TreatMissingData"] == "notBreaching"


def test_alarms_are_called_after_the_endpoint_and_heard_when_they_begin_and_end(built: Built) -> None:
    topic = next(iter(built.template().find_resources("AWS::SNS::Topic")))

    for what in ("errors", "latency", "saturation"):
        alarm = built.alarm(what)
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": topic}]


def test_the_topic_is_encrypted_and_cloudwatch_may_encrypt_for_these_alarms_alone(built: Built) -> None:
    template = built.template()
    of_these = {
        "StringEquals": {"aws:SourceAccount": "111111111111"},
        "ArnLike": {
            "aws:SourceArn": Match.object_like(
                {"Fn::Join": ["", Match.array_with([f":cloudwatch:us-east-1:111111111111:alarm:{ENDPOINT}-*"])]}
            )
        },
    }
    cloudwatch_may = {"Effect": "Allow", "Principal": {"Service": "cloudwatch.amazonaws.com"}, "Condition": of_these}

    template.has_resource_properties("AWS::SNS::Topic", {"KmsMasterKeyId": Match.any_value()})
    template.has_resource_properties(
        "AWS::KMS::Key",
        {
            "KeyPolicy": {
                "Statement": Match.array_with(
                    [Match.object_like({"Action": ["kms:Decrypt", "kms:GenerateDataKey*"], **cloudwatch_may})]
                )
            }
        },
    )
    template.has_resource_properties(
        "AWS::SNS::TopicPolicy",
        {
            "PolicyDocument": {
                "Statement": Match.array_with([Match.object_like({"Action": "sns:Publish", **cloudwatch_may})])
            }
        },
    )


def test_a_topic_of_the_operators_is_used_as_it_is() -> None:
    arn = "arn:aws:sns:us-east-1:111111111111:on-call"
    built = Built(limits=settings.RollbackLimits(topic_arn=arn))

    built.template().resource_count_is("AWS::SNS::Topic", 0)
    assert built.alarm("errors")["AlarmActions"] == [arn]


def test_the_endpoints_role_may_look_at_these_alarms_and_those_that_are_added_later() -> None:
    built = Built()
    built.alarms.grant_describe(built.role)
    later = cloudwatch.Alarm.from_alarm_name(built.stack, "Later", "drift")
    built.alarms.add(later)

    (policy,) = built.template().find_resources("AWS::IAM::Policy").values()
    (statement,) = policy["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Action"] == "cloudwatch:DescribeAlarms"
    assert len(statement["Resource"]) == 4
    assert "alarm:drift" in str(statement["Resource"])


def test_an_alarm_more_than_sagemaker_watches_is_refused() -> None:
    built = Built()
    for number in range(7):
        built.alarms.add(cloudwatch.Alarm.from_alarm_name(built.stack, f"More{number}", f"more-{number}"))

    with pytest.raises(ValueError, match="one alarm more than the 10 that SageMaker watches"):
        built.alarms.add(cloudwatch.Alarm.from_alarm_name(built.stack, "Last", "last"))


@pytest.mark.parametrize(
    ("instance_type", "processors"),
    [("ml.t2.medium", 2), ("ml.m5.large", 2), ("ml.c5.9xlarge", 36), ("ml.c4.8xlarge", 36), ("ml.m6gd.large", 2)],
)
def test_the_size_says_how_many_processors_there_are(instance_type: str, processors: int) -> None:
    assert vcpus(instance_type) == processors


def test_every_instance_type_that_hosts_has_known_processors() -> None:
    assert [each for each in known_instance_types("hosting") if not vcpus(each)] == []
