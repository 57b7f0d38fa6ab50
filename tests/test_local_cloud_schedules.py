"""EventBridge Scheduler in the local cloud: any API call as a target, as the schedule's role, at the time zone's hour."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud.clock import Clock
from local_cloud.platform import Credentials, RoleRefused
from local_cloud.schedules import universal
from local_cloud.schedules.firing import Caller, Firing
from local_cloud.schedules.timetable import Timetable, parsed
from tests.local_cloud_fixtures import LocalCloud
from tests.waiting import wait_for

PREFIX = "arn:aws:scheduler:::aws-sdk:"
KEY = ("000000000000", "us-east-1", "default/one")


def test_an_arn_names_a_call() -> None:
    target = universal.parse(f"{PREFIX}sagemaker:stopNotebookInstance")
    assert (target.service, target.method) == ("sagemaker", "stop_notebook_instance")
    assert target.request('{"NotebookInstanceName": "a"}') == {"NotebookInstanceName": "a"}
    # The scheduler writes members with a capital; this API does not have them so.
    assert universal.parse(f"{PREFIX}ecs:stopTask").request('{"Cluster": "c", "Task": "t"}') == {
        "cluster": "c",
        "task": "t",
    }


@pytest.mark.parametrize(
    ("arn", "text", "why"),
    [
        ("sagemaker:stopNotebook", None, "sagemaker has no action stopNotebook"),
        ("sagemaker:StopNotebookInstance", None, "must begin with a small letter"),
        ("sagemaker:describeNotebookInstance", None, "only reads"),
        ("pagemaker:stop", None, "there is no service pagemaker"),
        ("sagemaker", None, "is no universal target"),
        ("sagemaker:stopNotebookInstance", '{"Name": "a"}', "takes no Name"),
        ("sagemaker:stopNotebookInstance", "[1]", "must be a JSON object"),
        ("sagemaker:stopNotebookInstance", "{", "must be JSON"),
    ],
    ids=["no-action", "capital", "reads", "no-service", "no-arn", "no-member", "list", "no-json"],
)
def test_a_target_that_cannot_be_is_refused(arn: str, text: str | None, why: str) -> None:
    with pytest.raises(universal.BadTarget, match=why):
        universal.parse(PREFIX + arn).request(text)


def at(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()


def due(table: Timetable, record: Mapping[str, Any], now: str) -> list[float]:
    return [moment for _, moment in table.due({KEY: record}, at(now))]


def test_an_hour_is_one_of_the_schedules_time_zone_in_winter_and_in_summer() -> None:
    record = {"ScheduleExpression": "cron(0 19 ? * * *)", "ScheduleExpressionTimezone": "Europe/Berlin"}
    table = Timetable(Clock())
    assert due(table, record, "2026-11-21T17:59:00+00:00") == []
    assert due(table, record, "2026-11-21T18:00:00+00:00") == [at("2026-11-21T18:00:00+00:00")]
    assert due(table, record, "2026-11-21T18:30:00+00:00") == []
    table = Timetable(Clock())
    due(table, record, "2026-07-01T16:59:00+00:00")
    assert due(table, record, "2026-07-01T17:00:01+00:00") == [at("2026-07-01T17:00:00+00:00")]


@pytest.mark.parametrize(
    ("now", "then"),
    [
        ("2027-03-27T12:00:00+01:00", "2027-03-29T02:30:00+02:00"),
        ("2027-10-30T12:00:00+02:00", "2027-10-31T02:30:00+02:00"),
        ("2027-10-31T02:30:00+02:00", "2027-11-01T02:30:00+01:00"),
        ("2027-10-31T02:15:00+01:00", "2027-11-01T02:30:00+01:00"),
    ],
    ids=["an hour that is skipped", "an hour that comes twice", "its second time", "asked between both times"],
)
def test_clocks_that_are_put_forward_skip_an_hour_and_put_back_do_not_repeat_it(now: str, then: str) -> None:
    schedule = parsed({"ScheduleExpression": "cron(30 2 * * ? *)", "ScheduleExpressionTimezone": "Europe/Berlin"})
    assert schedule.next_after(at(now), Clock()) == at(then)


def test_what_was_due_while_nobody_looked_is_missed_and_a_changed_schedule_is_a_new_one() -> None:
    record = {"ScheduleExpression": "cron(0 19 ? * * *)"}
    table = Timetable(Clock())
    assert due(table, record, "2026-11-21T20:00:00+00:00") == []
    assert due(table, {"ScheduleExpression": "rate(1 minute)"}, "2026-11-21T20:00:00+00:00") == []
    # A rate is a wait, and waits pass faster here.
    assert due(table, {"ScheduleExpression": "rate(1 minute)"}, "2026-11-21T20:00:03+00:00") == [
        at("2026-11-21T20:00:02+00:00")
    ]
    off = {"ScheduleExpression": "rate(1 minute)", "State": "DISABLED"}
    assert due(table, off, "2026-11-21T21:00:00+00:00") == []
    assert due(table, off, "2026-11-22T21:00:00+00:00") == []
    assert table.due({}, at("2026-11-23T00:00:00+00:00")) == []


def test_what_is_due_before_anybody_has_looked_at_a_new_schedule_is_not_missed() -> None:
    table = Timetable(Clock())
    assert table.due({}, at("2026-11-21T18:59:00+00:00")) == []
    record = {"ScheduleExpression": "cron(0 19 ? * * *)", "LastModificationDate": at("2026-11-21T18:59:59.7+00:00")}
    assert due(table, record, "2026-11-21T19:00:00.6+00:00") == [at("2026-11-21T19:00:00+00:00")]
    assert due(table, record, "2026-11-21T19:00:01.6+00:00") == []
    # Another local cloud, which was down at that hour.
    assert due(Timetable(Clock()), record, "2026-11-21T19:00:00.6+00:00") == []


class Around:
    """The services around the scheduler: one API that answers as it is told to, and what was counted."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)
        self.calls: list[dict[str, Any]] = []
        self.counted: list[str] = []
        self.kept: list[dict[str, Any]] = []
        self.slept: list[float] = []
        self.assume: Callable[[Firing], Credentials] = lambda _firing: Credentials("a", "b", "c")

    def client(self, service: str, _region: str, _credentials: Credentials | None = None) -> Any:
        around = self

        class Client:
            def stop_notebook_instance(self, **request: Any) -> None:
                around.calls.append(request)
                if answer := around.answers.pop(0):
                    raise answer

            def get_queue_url(self, QueueName: str) -> dict[str, str]:  # noqa: N803
                return {"QueueUrl": f"https://{service}/{QueueName}"}

            def send_message(self, **message: Any) -> None:
                around.kept.append(message)

        return Client()

    def forget_session(self, _credentials: Credentials) -> None:
        """Nothing to forget."""

    def put_metric(self, *metric: Any) -> None:
        self.counted.append(metric[3])

    def fire(self, **target: Any) -> str | None:
        record = {
            "Name": "one",
            "Arn": "arn:aws:scheduler:us-east-1:000000000000:schedule/default/one",
            "Target": {
                "Arn": f"{PREFIX}sagemaker:stopNotebookInstance",
                "RoleArn": "arn:aws:iam::000000000000:role/r",
                "Input": '{"NotebookInstanceName": "a"}',
                **target,
            },
        }
        firing = Firing("000000000000", "us-east-1", record, 0.0)
        caller = Caller(self, Clock(), lambda asked: self.assume(asked), self.slept.append)  # type: ignore[arg-type]
        return caller.fire(firing)


def answer(status: int, code: str = "ValidationException") -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "StopNotebookInstance",
    )


def test_a_call_that_works_is_made_once_and_counted() -> None:
    around = Around(None)
    assert around.fire() is None
    assert around.calls == [{"NotebookInstanceName": "a"}]
    assert around.counted == ["InvocationAttemptCount"]


def test_stopping_what_is_stopped_is_not_tried_again() -> None:
    around = Around(answer(400))
    assert "ValidationException" in str(around.fire())
    assert around.counted == ["InvocationAttemptCount", "TargetErrorCount"]
    assert around.slept == []


def test_a_service_that_fails_is_asked_again_as_often_as_the_schedule_says() -> None:
    around = Around(answer(500), answer(400, "ThrottlingException"), None)
    assert around.fire(RetryPolicy={"MaximumRetryAttempts": 2}) is None
    assert len(around.calls) == 3
    assert around.slept == [1 / 30, 2 / 30]
    around = Around(answer(503), answer(503), answer(503))
    assert around.fire(RetryPolicy={"MaximumRetryAttempts": 1}) is not None
    assert len(around.calls) == 2


def test_what_did_not_work_is_kept_where_the_schedule_says() -> None:
    around = Around(answer(400))
    around.fire(DeadLetterConfig={"Arn": "arn:aws:sqs:us-east-1:000000000000:missed"})
    (message,) = around.kept
    assert (message["QueueUrl"], json.loads(message["MessageBody"])) == (
        "https://sqs/missed",
        {"NotebookInstanceName": "a"},
    )
    assert "ValidationException" in message["MessageAttributes"]["ERROR_MESSAGE"]["StringValue"]


def test_a_role_that_is_gone_calls_nothing() -> None:
    around = Around()

    def refuse(_firing: Firing) -> Credentials:
        raise RoleRefused("Could not assume role r")

    around.assume = refuse
    assert around.fire() == "Could not assume role r"
    assert around.calls == []


@pytest.mark.long
def test_a_schedule_calls_as_its_role_and_no_further_than_that_may(cloud: LocalCloud) -> None:
    scheduler, ssm, metrics = (cloud.client(name) for name in ("scheduler", "ssm", "cloudwatch"))
    arn = f"arn:aws:ssm:{cloud.region}:{cloud.account}:parameter/schedules/allowed"
    role = cloud.role("calls", {"Action": "ssm:PutParameter", "Resource": arn}, trusts="scheduler.amazonaws.com")
    other = cloud.role("other", {"Action": "ssm:PutParameter", "Resource": arn})
    scheduler.create_schedule_group(Name="tests")

    def schedule(name: str, parameter: str, **changes: Any) -> None:
        target = {
            "Arn": f"{PREFIX}ssm:putParameter",
            "RoleArn": role,
            "Input": json.dumps(
                {"Name": parameter, "Value": "<aws.scheduler.schedule-arn>", "Type": "String", "Overwrite": True}
            ),
            "RetryPolicy": {"MaximumRetryAttempts": 0},
            **changes,
        }
        scheduler.create_schedule(
            Name=name,
            GroupName="tests",
            ScheduleExpression="rate(1 minute)",
            Target=target,
            FlexibleTimeWindow={"Mode": "OFF"},
        )

    schedule("allowed", "/schedules/allowed")
    schedule("denied", "/schedules/denied")
    with pytest.raises(ClientError, match="must allow AWS EventBridge Scheduler to assume the role"):
        schedule("untrusted", "/schedules/allowed", RoleArn=other)
    with pytest.raises(ClientError, match="ssm has no action putParameters"):
        schedule("wrong", "/schedules/allowed", Arn=f"{PREFIX}ssm:putParameters")

    def value() -> str | None:
        found = ssm.get_parameters(Names=["/schedules/allowed", "/schedules/denied"])["Parameters"]
        return str(found[0]["Value"]) if found else None

    assert str(wait_for(value)).endswith(":schedule/tests/allowed")

    def errors() -> float:
        statistics = metrics.get_metric_statistics(
            Namespace="AWS/Scheduler",
            MetricName="TargetErrorCount",
            Dimensions=[{"Name": "ScheduleGroup", "Value": "tests"}],
            StartTime=datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1),
            EndTime=datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1),
            Period=3600,
            Statistics=["Sum"],
        )
        return float(sum(each["Sum"] for each in statistics["Datapoints"]))

    wait_for(errors, what="the call that IAM refuses was not counted as an error")
    assert [each["Name"] for each in ssm.get_parameters(Names=["/schedules/denied"])["Parameters"]] == []
    scheduler.delete_schedule_group(Name="tests")
