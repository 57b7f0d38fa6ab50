"""An alarm is read as PutMetricAlarm has it, evaluated by its period, unit, dimensions and expressions, and else refused."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest

from local_cloud.clock import Clock
from local_cloud.cloudwatch import alarm_notifications
from local_cloud.cloudwatch.alarm_definition import BadAlarm, definition_of
from local_cloud.cloudwatch.alarms import Evaluator, Placed
from local_cloud.cloudwatch.windows import Point, Windows
from tests.waiting import wait_for

PLAIN: dict[str, Any] = {
    "AlarmName": "latency",
    "Namespace": "AWS/SageMaker",
    "MetricName": "ModelLatency",
    "Dimensions": [{"Name": "EndpointName", "Value": "mine"}],
    "Statistic": "Average",
    "Period": 60,
    "EvaluationPeriods": 1,
    "Threshold": 5.0,
    "ComparisonOperator": "GreaterThanThreshold",
    "StateValue": "OK",
}


class Cloud:
    """Metrics and alarms in memory; every state that was set, with its reason."""

    def __init__(self, *alarms: Mapping[str, Any]) -> None:
        self.alarms = [Placed("1", "r", dict(alarm)) for alarm in alarms]
        self.points: dict[tuple[str, str], list[Point]] = {}
        self.told: list[tuple[str, str]] = []
        self.looks = self.publications = 0
        self.was_told = threading.Event()

    def publish(self, metric: str, value: float, *, of: str = "mine", age_s: float = 15, **more: Any) -> None:
        samples = more.get("samples", 1.0)
        point = Point(time.time() - age_s, samples, value * samples, value, value, more.get("unit", "None"))
        self.points.setdefault((metric, of), []).insert(0, point)

    def newest_first(
        self, _a: str, _r: str, _n: str, metric: str, dimensions: Mapping[str, str], _s: float
    ) -> list[Point]:
        return self.points.get((metric, dimensions.get("EndpointName", "")), [])

    def metric_alarms(self) -> list[Placed]:
        self.looks += 1
        return list(self.alarms)

    def set_state(self, alarm: Placed, state: str, why: str, data: Mapping[str, Any]) -> None:
        assert json.dumps(data)
        alarm.definition["StateValue"] = state  # type: ignore[index]
        self.told.append((state, why))
        self.was_told.set()

    def evaluator(self, factor: float = 30) -> Evaluator:
        clock = Clock(factor)
        return Evaluator(self, Windows(self, clock, lambda: self.publications), clock)

    def evaluate(self) -> str:
        """Once, by a clock whose minutes are minutes: what was just published is in the last one however long a test takes."""
        for alarm in self.alarms:
            self.evaluator(factor=1).evaluate(alarm)
        return str(self.alarms[0].definition["StateValue"])


def query(name: str, metric: str, of: str = "mine", **more: Any) -> dict[str, Any]:
    dimensions = [{"Name": "EndpointName", "Value": of}]
    stat = {"Metric": {"Namespace": "N", "MetricName": metric, "Dimensions": dimensions}, "Period": 60, "Stat": "Sum"}
    return {"Id": name, "MetricStat": stat | more, "ReturnData": False}


def math_alarm(*queries: dict[str, Any], **more: Any) -> dict[str, Any]:
    members = ("AlarmName", "EvaluationPeriods", "Threshold", "ComparisonOperator", "StateValue")
    return {member: PLAIN[member] for member in members} | {"Metrics": list(queries)} | more


def test_only_the_metric_of_all_its_dimensions_counts() -> None:
    cloud = Cloud(PLAIN)
    cloud.publish("ModelLatency", 99.0, of="another")
    cloud.publish("ModelLatency", 99.0, of="")
    cloud.publish("ModelLatency", 1.0)
    assert cloud.evaluate() == "OK"
    cloud.publish("ModelLatency", 20.0)
    assert cloud.evaluate() == "ALARM"


def test_a_unit_leaves_out_what_was_published_with_another() -> None:
    cloud = Cloud({**PLAIN, "Unit": "Microseconds"})
    cloud.publish("ModelLatency", 99.0, unit="Seconds")
    cloud.publish("ModelLatency", 1.0, unit="Microseconds")
    assert cloud.evaluate() == "OK"


@pytest.mark.parametrize(("treatment", "expected"), [("evaluate", "ALARM"), ("ignore", "OK")])
def test_a_percentile_of_few_values_may_wait_for_more(treatment: str, expected: str) -> None:
    asked = {**PLAIN, "ExtendedStatistic": "p90", "EvaluateLowSampleCountPercentile": treatment}
    cloud = Cloud(asked)
    cloud.publish("ModelLatency", 99.0, samples=99.0)
    assert cloud.evaluate() == expected
    cloud.publish("ModelLatency", 99.0, samples=1.0)
    assert cloud.evaluate() == "ALARM"


def test_of_what_is_published_together_an_evaluation_sees_all_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    apart = {"Id": "apart", "Expression": "ABS(a - b)", "ReturnData": True}
    cloud = Cloud(math_alarm(query("a", "Asked"), query("b", "Answered"), apart, TreatMissingData="notBreaching"))
    read = cloud.newest_first

    def published_after_the_first_look(*what: Any) -> list[Point]:
        points = list(read(*what))
        if not cloud.points:
            for metric in ("Asked", "Answered"):
                cloud.publish(metric, 100.0)
            cloud.publications += 1
        return points

    monkeypatch.setattr(cloud, "newest_first", published_after_the_first_look)
    assert cloud.evaluate() == "OK"
    assert cloud.points


def test_a_state_that_is_set_while_the_metrics_are_read_is_not_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud({**PLAIN, "TreatMissingData": "notBreaching"})

    def set_by_somebody(*_: Any) -> list[Point]:
        cloud.alarms[0].definition["StateValue"] = "ALARM"  # type: ignore[index]
        return []

    monkeypatch.setattr(cloud, "newest_first", set_by_somebody)
    assert cloud.evaluate() == "ALARM"
    assert not cloud.told


def test_expressions_may_name_expressions_in_any_order() -> None:
    cloud = Cloud(
        math_alarm(
            {"Id": "share", "Expression": "100 * bad / requests", "ReturnData": True},
            {"Id": "bad", "Expression": "FILL(e4, 0) + FILL(e5, 0)", "ReturnData": False},
            query("e4", "4xx"),
            query("e5", "5xx"),
            query("requests", "Invocations"),
        )
    )
    cloud.publish("Invocations", 100.0)
    cloud.publish("4xx", 3.0)
    assert cloud.evaluate() == "OK"
    cloud.publish("5xx", 3.0)
    assert cloud.evaluate() == "ALARM"
    assert cloud.told[-1][1].startswith("Threshold Crossed: 1 out of the last 1 datapoints [6.0 (")


def test_some_of_some_periods_are_enough() -> None:
    cloud = Cloud({**PLAIN, "EvaluationPeriods": 3, "DatapointsToAlarm": 2})
    for age_s, value in ((150.0, 9.0), (90.0, 1.0), (30.0, 9.0)):
        cloud.publish("ModelLatency", value, age_s=age_s)
    assert cloud.evaluate() == "ALARM"


def test_the_evaluator_sleeps_while_there_is_no_alarm_and_wakes_for_the_first() -> None:
    cloud = Cloud()
    evaluator = cloud.evaluator(factor=240)
    evaluator.start()
    wait_for(lambda: cloud.looks, 60, "it never looked")
    time.sleep(0.6)  # longer than between two looks at an alarm
    assert cloud.looks == 1
    cloud.alarms.append(Placed("1", "r", {**PLAIN, "TreatMissingData": "breaching"}))
    evaluator.changed()
    assert cloud.was_told.wait(60)
    evaluator.stop()
    assert cloud.told[0][0] == "ALARM"


def test_a_state_that_was_set_holds_for_a_period() -> None:
    cloud = Cloud({**PLAIN, "StateValue": "ALARM", "TreatMissingData": "notBreaching"})
    evaluator = cloud.evaluator(factor=60)
    started = time.monotonic()
    evaluator.hold(cloud.alarms[0])
    evaluator.start()
    assert cloud.was_told.wait(60)
    evaluator.stop()
    assert cloud.told[0][0] == "OK"
    assert time.monotonic() - started >= 0.95


def test_one_alarm_that_cannot_be_evaluated_holds_up_no_other() -> None:
    cloud = Cloud({**PLAIN, "AlarmName": "odd", "Statistic": "IQM"}, {**PLAIN, "TreatMissingData": "breaching"})
    evaluator = cloud.evaluator()
    evaluator.start()
    assert cloud.was_told.wait(60)
    evaluator.stop()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ComparisonOperator": "LessThanLowerThreshold"}, "anomaly detection"),
        ({"ThresholdMetricId": "ad1"}, "ThresholdMetricId .anomaly detection"),
        ({"Statistic": "IQM"}, "IQM"),
        ({"ExtendedStatistic": "tm(10%:90%)"}, "tm"),
        ({"Threshold": None}, "needs a Threshold"),
        ({"MetricName": None}, "needs MetricName, or Metrics"),
        ({"Period": 45}, "Period must be 10, 20, 30 or a multiple of 60, got 45"),
        ({"EvaluationPeriods": 0}, "EvaluationPeriods must be at least 1"),
        ({"EvaluationPeriods": 2, "DatapointsToAlarm": 3}, r"between 1 and EvaluationPeriods \(2\), got 3"),
        ({"EvaluationPeriods": 1441}, "<= 86400, got 1441 . 60"),
        ({"EvaluationPeriods": 169, "Period": 3600}, "<= 604800"),
        (
            {"TreatMissingData": "never"},
            "TreatMissingData is one of missing, ignore, breaching, notBreaching, not never",
        ),
        ({"EvaluateLowSampleCountPercentile": "no"}, "evaluate or ignore, not no"),
        ({"Metrics": [query("m1", "a")]}, "Metrics or MetricName, not both"),
    ],
)
def test_an_alarm_on_a_metric_is_refused_by_what_is_wrong_with_it(change: dict[str, Any], said: str) -> None:
    with pytest.raises(BadAlarm, match=said):
        definition_of({**PLAIN, **change})


@pytest.mark.parametrize(
    ("queries", "said"),
    [
        ([query("M1", "a") | {"ReturnData": True}], "begins with a lower case letter"),
        ([query("m", "a"), query("m", "b") | {"ReturnData": True}], "there once"),
        ([query("m", "a")], "Exactly one of Metrics .* it is none"),
        ([query("m", "a") | {"ReturnData": True}, {"Id": "e", "Expression": "m"}], "it is m, e"),
        (
            [query("m", "a", Period=300), query("n", "a"), {"Id": "e", "Expression": "m+n"}],
            "one Period; here they are 60, 300",
        ),
        ([query("m", "a") | {"AccountId": "2"}, {"Id": "e", "Expression": "m"}], "another account's"),
        ([{"Id": "e"}], "MetricStat or an Expression"),
        ([{"Id": "e", "Expression": "SELECT AVG(CPU) FROM x", "Period": 60}], "Metrics Insights"),
        ([query("m", "a"), {"Id": "e", "Expression": "m + n"}], "names n; Metrics has e, m"),
        ([query("m", "a"), {"Id": "e", "Expression": "MAX(m)"}], "gives a number"),
        ([query("m", "a"), {"Id": "e", "Expression": "METRICS()"}], "gives several series"),
        ([query("m", "a"), {"Id": "e", "Expression": "ANOMALY_DETECTION_BAND(m)"}], "ANOMALY_DETECTION_BAND"),
        ([{"Id": "a", "Expression": "b", "ReturnData": False}, {"Id": "b", "Expression": "a"}], "a, b name each other"),
        ([*(query(f"m{n}", "a") for n in range(11)), {"Id": "e", "Expression": "m1"}], "at most 10 metrics"),
    ],
)
def test_an_alarm_on_an_expression_is_refused_by_what_is_wrong_with_it(
    queries: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(BadAlarm, match=said):
        definition_of(math_alarm(*queries))


def test_a_templates_numbers_may_be_text() -> None:
    definition = definition_of({**PLAIN, "Period": "300", "EvaluationPeriods": "3", "Threshold": "0.5"})
    assert (definition.period_s, definition.rule.evaluation_periods, definition.rule.threshold) == (300, 3, 0.5)


def test_a_topic_and_eventbridge_are_told_what_cloudwatch_tells_them() -> None:
    changed = 1_570_035_880.989
    alarm = {
        **PLAIN,
        "AlarmArn": "arn:aws:cloudwatch:us-east-1:123456789012:alarm:latency",
        "AlarmActions": ["arn:aws:sns:us-east-1:123456789012:topic"],
        "AlarmConfigurationUpdatedTimestamp": 1_570_000_000,
        "StateValue": "ALARM",
        "StateReason": "Threshold Crossed: ...",
        "StateReasonData": "{}",
    }
    subject, text = alarm_notifications.topic_message(alarm, "OK", changed)
    message = json.loads(text)
    assert subject == 'ALARM: "latency" in US East (N. Virginia)'
    assert message["StateChangeTime"] == "2019-10-02T17:04:40.989+0000"
    assert (message["AWSAccountId"], message["OldStateValue"]) == ("123456789012", "OK")
    assert message["Trigger"] == {
        "MetricName": "ModelLatency",
        "Namespace": "AWS/SageMaker",
        "StatisticType": "Statistic",
        "Statistic": "AVERAGE",
        "Unit": None,
        "Dimensions": [{"value": "mine", "name": "EndpointName"}],
        "Period": 60,
        "EvaluationPeriods": 1,
        "DatapointsToAlarm": 1,
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": 5.0,
        "TreatMissingData": "missing",
        "EvaluateLowSampleCountPercentile": "",
    }
    detail = alarm_notifications.event(alarm, {"value": "OK"}, changed)
    assert detail["state"] == {
        "value": "ALARM",
        "reason": "Threshold Crossed: ...",
        "reasonData": "{}",
        "timestamp": "2019-10-02T17:04:40.989+0000",
    }
    assert detail["configuration"]["metrics"] == [
        {
            "id": "m1",
            "returnData": True,
            "metricStat": {
                "metric": {
                    "namespace": "AWS/SageMaker",
                    "name": "ModelLatency",
                    "dimensions": {"EndpointName": "mine"},
                },
                "period": 60,
                "stat": "Average",
            },
        }
    ]
    of_math = alarm_notifications.topic_message(
        {**alarm, "Metrics": [query("m", "a"), {"Id": "e", "Expression": "m", "ReturnData": True}]}, "OK", changed
    )
    trigger = json.loads(of_math[1])["Trigger"]
    assert [each["Id"] for each in trigger["Metrics"]] == ["m", "e"]
    assert "MetricName" not in trigger
