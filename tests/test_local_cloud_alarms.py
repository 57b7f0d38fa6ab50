"""Alarms of the local cloud change with their metrics alone, by metric math and dimensions, from boto3 and from templates."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk.assertions import Template
from botocore.exceptions import ClientError

from tests.local_cloud_fixtures import LocalCloud
from tests.waiting import wait_for


def described(cloud: LocalCloud, name: str) -> dict[str, Any]:
    [alarm] = cloud.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return dict(alarm)


def state(cloud: LocalCloud, name: str) -> str:
    return str(described(cloud, name)["StateValue"])


def in_state(cloud: LocalCloud, name: str, wanted: str) -> dict[str, Any] | None:
    """The alarm if it is in that state: it may be in another one when it is asked again."""
    alarm = described(cloud, name)
    return alarm if alarm["StateValue"] == wanted else None


def publish(cloud: LocalCloud, endpoint: str, **values: float) -> None:
    # At one moment: of two, one might be in the alarm's period while the other is not.
    told = {"Dimensions": [{"Name": "EndpointName", "Value": endpoint}], "Timestamp": time.time()}
    cloud.client("cloudwatch").put_metric_data(
        Namespace="Alarms",
        MetricData=[{"MetricName": name, "Value": value, **told} for name, value in values.items()],
    )


def error_share(endpoint: str) -> list[dict[str, Any]]:
    dimensions = [{"Name": "EndpointName", "Value": endpoint}]
    metrics = [
        {
            "Id": name,
            "MetricStat": {
                "Metric": {"Namespace": "Alarms", "MetricName": name, "Dimensions": dimensions},
                "Period": 60,
                "Stat": "Sum",
            },
            "ReturnData": False,
        }
        for name in ("errors", "requests")
    ]
    return [*metrics, {"Id": "share", "Expression": "100 * errors / MAX([requests, 1])", "ReturnData": True}]


def allow(cloud: LocalCloud, queue: str, arn: str, service: str) -> None:
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sqs:SendMessage", "Resource": arn}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    cloud.client("sqs").set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(policy)})


@pytest.mark.long
def test_a_share_is_watched_for_one_endpoint_and_told_both_ways(cloud: LocalCloud) -> None:
    sns, sqs = cloud.client("sns"), cloud.client("sqs")
    topic = sns.create_topic(Name="alarms")["TopicArn"]
    rule = {"source": ["aws.cloudwatch"], "detail": {"alarmName": ["share"], "state": {"value": ["ALARM"]}}}
    cloud.client("events").put_rule(Name="alarms", EventPattern=json.dumps(rule))
    heard = sqs.create_queue(QueueName="alarm-events")["QueueUrl"]
    heard_arn = sqs.get_queue_attributes(QueueUrl=heard, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    cloud.client("events").put_targets(Rule="alarms", Targets=[{"Id": "1", "Arn": heard_arn}])
    allow(cloud, heard, heard_arn, "events.amazonaws.com")
    queue = sqs.create_queue(QueueName="alarms")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allow(cloud, queue, arn, "sns.amazonaws.com")
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    cloud.client("cloudwatch").put_metric_alarm(
        AlarmName="share",
        Metrics=error_share("mine"),
        EvaluationPeriods=1,
        Threshold=1.0,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
        AlarmActions=[topic],
        OKActions=[topic],
    )
    made = described(cloud, "share")
    assert made["Metrics"] == error_share("mine")
    assert "MetricName" not in made
    wait_for(lambda: state(cloud, "share") == "OK")
    cloud.client("cloudwatch").put_composite_alarm(AlarmName="both", AlarmRule='ALARM("share") AND TRUE')

    publish(cloud, "another", requests=10, errors=10)
    time.sleep(1)
    assert state(cloud, "share") == "OK"
    publish(cloud, "mine", requests=100, errors=2)
    rings = wait_for(lambda: in_state(cloud, "share", "ALARM"))
    assert re.fullmatch(
        r"Threshold Crossed: 1 out of the last 1 datapoints \[2\.0 \(.*\)\] was greater than the threshold \(1\.0\) "
        r"\(minimum 1 datapoint for OK -> ALARM transition\)\.",
        rings["StateReason"],
    )
    assert json.loads(rings["StateReasonData"])["recentDatapoints"] == [2.0]
    assert "sagestack" not in rings["StateReasonData"]
    assert rings["StateTransitionedTimestamp"] == rings["StateUpdatedTimestamp"]
    composite = cloud.client("cloudwatch").describe_alarms(AlarmNames=["both"], AlarmTypes=["CompositeAlarm"])
    assert composite["CompositeAlarms"][0]["StateValue"] == "ALARM"
    wait_for(lambda: state(cloud, "share") == "OK")

    told: list[str] = []

    def hear() -> bool:
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            told.append(json.loads(message["Body"])["NewStateValue"])
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return sorted(told) == ["ALARM", "OK", "OK"]

    wait_for(hear)
    [event] = wait_for(lambda: sqs.receive_message(QueueUrl=heard, WaitTimeSeconds=2).get("Messages"))
    detail = json.loads(event["Body"])["detail"]
    assert (detail["previousState"]["value"], detail["state"]["value"]) == ("OK", "ALARM")
    assert [each["id"] for each in detail["configuration"]["metrics"]] == ["errors", "requests", "share"]
    history = cloud.client("cloudwatch").describe_alarm_history(AlarmName="share")["AlarmHistoryItems"]
    [change] = [item for item in history if "from OK to ALARM" in item["HistorySummary"]]
    assert json.loads(change["HistoryData"])["newState"]["stateReasonData"]["recentDatapoints"] == [2.0]
    assert sum(item["HistorySummary"] == f"Successfully executed action {topic}" for item in history) == 3


def test_no_data_is_what_the_alarm_says_it_is(cloud: LocalCloud) -> None:
    expected = {
        "missing": "INSUFFICIENT_DATA",
        "notBreaching": "OK",
        "breaching": "ALARM",
        "ignore": "INSUFFICIENT_DATA",
    }
    for missing in expected:
        cloud.client("cloudwatch").put_metric_alarm(
            AlarmName=f"silent-{missing}",
            Namespace="Alarms",
            MetricName="nobody-publishes-this",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=2,
            Threshold=0.0,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData=missing,
        )
    wait_for(lambda: {missing: state(cloud, f"silent-{missing}") for missing in expected} == expected)


def test_a_template_of_the_cdk_makes_changes_and_deletes_an_alarm(cloud: LocalCloud) -> None:
    def template(threshold: float) -> str:
        stack = cdk.Stack(cdk.App(), "Alarms", synthesizer=cdk.LegacyStackSynthesizer())
        metrics = {
            name: cloudwatch.Metric(
                namespace="Alarms",
                metric_name=name,
                dimensions_map={"EndpointName": "from-a-template"},
                statistic="Sum",
                period=cdk.Duration.minutes(1),
            )
            for name in ("errors", "requests")
        }
        share = cloudwatch.MathExpression(
            expression="IF(requests > 0, 100 * errors / requests, 0)",
            using_metrics=metrics,
            period=cdk.Duration.minutes(1),
        )
        share.create_alarm(
            stack,
            "Share",
            alarm_name="of-a-template",
            threshold=threshold,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        return json.dumps(Template.from_stack(stack).to_json())

    cloudformation = cloud.client("cloudformation")
    cloudformation.create_stack(StackName="alarms", TemplateBody=template(50))
    cloudformation.get_waiter("stack_create_complete").wait(StackName="alarms", WaiterConfig={"Delay": 1})
    wait_for(lambda: state(cloud, "of-a-template") == "OK")
    publish(cloud, "from-a-template", requests=10, errors=2)
    time.sleep(1)
    assert state(cloud, "of-a-template") == "OK"
    cloudformation.update_stack(StackName="alarms", TemplateBody=template(10))
    cloudformation.get_waiter("stack_update_complete").wait(StackName="alarms", WaiterConfig={"Delay": 1})

    def rings() -> bool:
        # Again and again: it would be over after some seconds, whether or not anybody has looked.
        publish(cloud, "from-a-template", requests=10, errors=2)
        return state(cloud, "of-a-template") == "ALARM"

    wait_for(rings)
    cloudformation.delete_stack(StackName="alarms")
    wait_for(lambda: not cloud.client("cloudwatch").describe_alarms(AlarmNames=["of-a-template"])["MetricAlarms"])


def test_what_is_not_evaluated_is_refused_by_name(cloud: LocalCloud) -> None:
    plain = {"EvaluationPeriods": 1, "Threshold": 1.0, "ComparisonOperator": "GreaterThanThreshold"}
    band = [
        {"Id": "m", "MetricStat": error_share("x")[0]["MetricStat"]},
        {"Id": "band", "Expression": "ANOMALY_DETECTION_BAND(m)", "ReturnData": False},
    ]
    of_one = {"Namespace": "Alarms", "MetricName": "m", "Period": 60}
    for asked, said in (
        ({**plain, "Metrics": band}, "ANOMALY_DETECTION_BAND"),
        ({**plain, **of_one, "ExtendedStatistic": "tm99"}, "tm99"),
        ({**plain, **of_one, "Statistic": "Sum", "ComparisonOperator": "LessThanLowerThreshold"}, "anomaly detection"),
        ({**plain, "Metrics": error_share("x")[:2]}, "Exactly one of Metrics"),
        ({**plain, "Metrics": error_share("x")[2:]}, "names errors, requests"),
    ):
        with pytest.raises(ClientError, match=said):
            cloud.client("cloudwatch").put_metric_alarm(AlarmName="refused", **asked)
    assert not cloud.client("cloudwatch").describe_alarms(AlarmNames=["refused"])["MetricAlarms"]


def test_a_state_that_somebody_sets_lasts_until_the_next_evaluation(cloud: LocalCloud) -> None:
    cloud.client("cloudwatch").put_metric_alarm(
        AlarmName="set",
        Namespace="Alarms",
        MetricName="nobody-publishes-this",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=0.0,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="ignore",
    )
    cloud.client("cloudwatch").set_alarm_state(AlarmName="set", StateValue="ALARM", StateReason="a test")
    time.sleep(1.2)
    assert state(cloud, "set") == "ALARM"
    cloud.client("cloudwatch").put_metric_alarm(
        AlarmName="set",
        Namespace="Alarms",
        MetricName="nobody-publishes-this",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=0.0,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
    )
    wait_for(lambda: state(cloud, "set") == "OK")


@pytest.mark.long
def test_alarms_and_metrics_outlive_the_local_cloud(own_cloud: LocalCloud) -> None:
    asked = {"EvaluationPeriods": 1, "Threshold": 1.0, "ComparisonOperator": "GreaterThanThreshold"}
    own_cloud.client("cloudwatch").put_metric_alarm(AlarmName="kept", Metrics=error_share("mine"), **asked)
    publish(own_cloud, "mine", requests=100, errors=2)
    wait_for(lambda: state(own_cloud, "kept") == "ALARM")
    own_cloud.stop()
    own_cloud.start()
    assert described(own_cloud, "kept")["Metrics"] == error_share("mine")
    now = time.time()
    told = own_cloud.client("cloudwatch").get_metric_statistics(
        Namespace="Alarms",
        MetricName="requests",
        Dimensions=[{"Name": "EndpointName", "Value": "mine"}],
        StartTime=now - 3600,
        EndTime=now + 60,
        Period=3600,
        Statistics=["Sum"],
    )["Datapoints"]
    assert sum(each["Sum"] for each in told) == 100
    publish(own_cloud, "mine", requests=100, errors=0)
    wait_for(lambda: state(own_cloud, "kept") == "OK")


def test_what_is_published_late_hides_nothing(cloud: LocalCloud) -> None:
    client = cloud.client("cloudwatch")
    asked = {"EvaluationPeriods": 1, "Threshold": 1.0, "ComparisonOperator": "GreaterThanThreshold"}
    client.put_metric_alarm(AlarmName="late", Metrics=error_share("late"), **asked)
    dimensions = [{"Name": "EndpointName", "Value": "late"}]

    def rings() -> bool:
        # Again and again, for an alarm that looks seldom; and together, for what is late must not be seen alone.
        now = time.time()
        published = [
            {"MetricName": name, "Value": value, "Dimensions": dimensions, "Timestamp": at}
            for at, errors, requests in ((now, 2.0, 100.0), (now - 3600, 1.0, 1.0))
            for name, value in (("errors", errors), ("requests", requests))
        ]
        client.put_metric_data(Namespace="Alarms", MetricData=published)
        return state(cloud, "late") == "ALARM"

    wait_for(rings)
