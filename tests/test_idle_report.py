"""The idle report names what runs for nobody and what nothing would stop, says what it does not know, and is silent otherwise."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any

import aws_cdk as cdk
import boto3
import pytest
from botocore.exceptions import ClientError
from pydantic import ValidationError
from sagestack.settings import SettingsError, workbench
from sagestack.settings.workbench.notebook import Hours
from sagestack.workbench.running_notebooks import stopped_by

from functions.idle_report import handler
from functions.idle_report.looking import Workbench, look
from functions.idle_report.report import Prices, Report, Running, reasons, report, span
from tests import cost_stack

NOW = datetime.datetime(2026, 11, 23, 7, 0, tzinfo=datetime.UTC)
HOUR = datetime.timedelta(hours=1)
BY_HOURS = stopped_by(cost_stack.NOTEBOOKS["late-shift"], {})[0]
STILL_THERE = "it runs for more than a day although something should stop it"
PRICES = Prices({"notebook ml.t3.medium": 0.05}, "list prices of us-east-1, of 2026-10-01")


def running(**changes: Any) -> Running:
    """A notebook that was just used, and that auto-stop will stop."""
    return Running(
        **{
            "kind": "notebook",
            "name": "explore",
            "instance_type": "ml.t3.medium",
            "since": NOW - 10 * HOUR,
            "last_used": NOW - HOUR / 2,
            "owner": "ada",
            "stopped_by": ("auto-stop after 60 min",),
            "is_kept": False,
            "is_managed": True,
            "stop_command": "aws sagemaker stop-notebook-instance --notebook-instance-name sagestack-dev-explore",
            **changes,
        }
    )


def mail(*everything: Running, **changes: Any) -> Report | None:
    settings = {"environment": "dev", "now": NOW, "idle_after": 4 * HOUR, "prices": PRICES, **changes}
    return report(everything, **settings)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, []),
        ({"last_used": NOW - 5 * HOUR}, ["not used for 5 hours"]),
        ({"last_used": NOW - 4 * HOUR}, ["not used for 4 hours"]),
        ({"last_used": NOW - 3.9 * HOUR}, []),
        ({"last_used": NOW - 90 * HOUR}, ["not used since it was started"]),
        ({"last_used": NOW - 90 * HOUR, "since": NOW - HOUR}, []),
        ({"last_used": None}, ["nothing tells whether it is used"]),
        ({"last_used": None, "since": NOW - HOUR}, []),
        ({"stopped_by": ()}, ["nothing stops it"]),
        ({"stopped_by": (), "is_kept": True}, []),
        ({"since": NOW - 29 * HOUR, "stopped_by": (BY_HOURS,)}, [STILL_THERE]),
        ({"since": NOW - 29 * HOUR, "stopped_by": ("auto-stop after 60 min", BY_HOURS)}, [STILL_THERE]),
        ({"since": NOW - 29 * HOUR}, []),
        ({"since": NOW - 29 * HOUR, "last_used": NOW - 5 * HOUR}, ["not used for 5 hours", STILL_THERE]),
        ({"since": NOW - 29 * HOUR, "last_used": None}, ["nothing tells whether it is used", STILL_THERE]),
        ({"is_managed": False}, ["no settings file names it: it was made by hand"]),
        ({"last_used": NOW - 5 * HOUR, "is_kept": True}, ["not used for 5 hours"]),
    ],
    ids=[
        "used", "idle", "just-idle", "almost-idle", "never-used", "started-an-hour-ago", "unknown-use", "unknown-but-new",
        "nothing-stops", "kept", "should-have-stopped", "should-have-stopped-all-the-same", "works-for-two-days",
        "idles-for-two-days", "should-have-stopped-unknown", "by-hand", "kept-and-idle",
    ],
)  # fmt: skip
def test_it_names_what_a_person_would(changes: dict[str, Any], why: list[str]) -> None:
    assert reasons(running(**changes), NOW, 4 * HOUR) == why


def test_a_mail_about_thousands_is_one_that_sns_takes_and_names_the_dearest() -> None:
    forgotten = [
        running(name=f"notebook-number-{number:04}", stopped_by=(), since=NOW - number * HOUR) for number in range(2000)
    ]
    not_seen = [f"whose notebook {number} is: An error occurred (ThrottlingException)" for number in range(2000)]
    found = mail(*forgotten, not_seen=not_seen)
    assert found is not None
    assert len(found.text.encode()) < 262_144
    assert found.subject == "Sagestack: 2000 of 2000 running notebooks to look at in dev"
    assert "notebook notebook-number-1999" in found.text
    assert "notebook notebook-number-0001" not in found.text
    assert "And 1800 more, which have cost $" in found.text
    assert "  sagestack notebook idle --env dev\n" in found.text
    assert "  - and 1800 more\n" in found.text
    everything = mail(*forgotten, most=None)
    assert everything is not None
    assert "notebook notebook-number-0001" in everything.text


def test_with_nothing_to_say_it_says_nothing() -> None:
    assert mail(running()) is None
    assert mail() is None


def test_or_that_nothing_idles_where_somebody_wants_to_hear_it() -> None:
    said = mail(running(), says_nothing_idles=True)
    assert said is not None
    assert said.subject == "Sagestack: nothing idles in dev"
    assert "1 running notebook, and none of them idles." in said.text


def test_the_mail_says_who_has_what_since_when_what_it_costs_and_how_to_stop_it() -> None:
    said = mail(running(since=NOW - 74 * HOUR, last_used=NOW - 60 * HOUR, stopped_by=()), running(name="used"))
    assert said is not None
    assert said.subject == "Sagestack: 1 of 2 running notebooks to look at in dev"
    assert said.text == (
        "What runs in the workbench of dev, Monday, 23 November 2026, 07:00 UTC\n\n"
        "1 of 2 running notebooks to look at. Since they were started they have cost $3.70.\n\n"
        "notebook explore (ml.t3.medium, owner ada)\n"
        "  runs for 3 days 2 hours: not used for 2 days 12 hours; nothing stops it\n"
        "  costs $0.05 an hour, $3.70 since it was started\n"
        "  so that something does: auto_stop in its lifecycle config, or hours, in environments/dev.yaml\n"
        "  stop it: aws sagemaker stop-notebook-instance --notebook-instance-name sagestack-dev-explore\n\n"
        "Prices: list prices of us-east-1, of 2026-10-01. Volumes, data and taxes come on top.\n"
    )


def test_what_has_no_known_price_is_said_to_have_none_and_comes_first() -> None:
    said = mail(
        running(name="cheap", last_used=NOW - 9 * HOUR),
        running(name="big", instance_type="ml.p9.48xlarge", last_used=NOW - 9 * HOUR, owner=None),
    )
    assert said is not None
    assert "have cost $0.50, not counting 1 of unknown price." in said.text
    assert said.text.index("notebook big (ml.p9.48xlarge, no owner)") < said.text.index("notebook cheap")
    assert "what it costs is not known: the price table has no such instance" in said.text


def test_what_could_not_be_looked_at_is_never_passed_over() -> None:
    said = mail(running(), not_seen=["Studio applications: AccessDenied"])
    assert said is not None
    assert said.subject == "Sagestack: dev not looked at"
    assert "Could not be looked at:\n  - Studio applications: AccessDenied" in said.text


def test_a_subject_is_as_long_as_sns_takes() -> None:
    said = mail(running(stopped_by=()), environment="e" * 200)
    assert said is not None
    assert len(said.subject) == 100


@pytest.mark.parametrize(
    ("minutes", "said"),
    [(0, "0 minutes"), (1, "1 minute"), (61, "1 hour"), (1440, "1 day"), (3000, "2 days 2 hours"), (-5, "0 minutes")],
)
def test_a_length_of_time_reads_well(minutes: int, said: str) -> None:
    assert span(datetime.timedelta(minutes=minutes)) == said


class Cloud:
    """As much of SageMaker and CloudWatch as the report looks at."""

    def __init__(self) -> None:
        self.instances = [self.instance("explore"), self.instance("by-hand")]
        self.tags: dict[str, dict[str, str]] = {}
        self.metrics: dict[str, list[tuple[datetime.datetime, float]]] = {}
        self.apps: list[dict[str, Any]] = []
        self.denied: set[str] = set()
        self.asked: list[dict[str, Any]] = []

    @staticmethod
    def instance(name: str) -> dict[str, Any]:
        return {
            "NotebookInstanceName": f"sagestack-dev-{name}",
            "NotebookInstanceArn": f"arn:notebook/sagestack-dev-{name}",
            "InstanceType": "ml.t3.medium",
            "LastModifiedTime": NOW - 20 * HOUR,
        }

    def get_paginator(self, operation: str) -> Any:
        cloud = self

        class Paginator:
            def paginate(self, **request: Any) -> list[dict[str, Any]]:
                cloud.asked.append({"operation": operation, **request})
                if operation in cloud.denied:
                    raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, operation)
                return [dict(getattr(cloud, f"_{operation}")(request))]

        return Paginator()

    def _list_notebook_instances(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        return {"NotebookInstances": self.instances}

    def _list_tags(self, request: Mapping[str, Any]) -> dict[str, Any]:
        tags = self.tags.get(request["ResourceArn"], {})
        return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

    def _list_apps(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        return {"Apps": self.apps}

    def _get_metric_data(self, request: Mapping[str, Any]) -> dict[str, Any]:
        metric = request["MetricDataQueries"][0]["MetricStat"]["Metric"]
        points = self.metrics.get(metric["Dimensions"][0]["Value"], [])
        return {"MetricDataResults": [{"Timestamps": [t for t, _ in points], "Values": [v for _, v in points]}]}

    def describe_app(self, **request: Any) -> dict[str, Any]:
        return {"ResourceSpec": {"InstanceType": "ml.m5.large"}, "LastUserActivityTimestamp": NOW - 6 * HOUR, **request}

    def describe_space(self, **_request: Any) -> dict[str, Any]:
        return {"SpaceArn": "arn:space/s", "OwnershipSettings": {"OwnerUserProfileName": "grace"}}


def seen(cloud: Cloud, **changes: Any) -> Any:
    known: dict[str, Any] = {
        "environment": "dev",
        "region": "us-east-1",
        "notebook_prefix": "sagestack-dev-",
        "notebooks": {"explore": ["auto-stop after 60 min"]},
        **changes,
    }
    return look(cloud, cloud, Workbench(**known), NOW)


def test_it_sees_what_is_in_git_and_what_somebody_made_by_hand() -> None:
    cloud = Cloud()
    cloud.tags["arn:notebook/sagestack-dev-explore"] = {"sagestack:owner": "ada", "sagestack:keep": "True"}
    explore, by_hand = seen(cloud).running
    assert (explore.name, explore.owner, explore.is_managed, explore.is_kept) == ("explore", "ada", True, True)
    assert (explore.stopped_by, explore.since) == (("auto-stop after 60 min",), NOW - 20 * HOUR)
    assert (by_hand.name, by_hand.owner, by_hand.is_managed, by_hand.stopped_by) == ("by-hand", None, False, ())
    assert cloud.asked[0]["StatusEquals"] == "InService"


def test_it_leaves_out_what_is_of_another_environment() -> None:
    cloud = Cloud()
    cloud.instances = [
        cloud.instance("eu-explore"),
        {**cloud.instance("x"), "NotebookInstanceName": "my-sagestack-dev-x"},
    ]
    cloud.tags["arn:notebook/sagestack-dev-eu-explore"] = {"sagestack:workbench": "dev-eu"}
    assert seen(cloud).running == []


@pytest.mark.parametrize(
    ("points", "last"),
    [
        ([], None),
        ([(NOW - HOUR, 2.0), (NOW - 9 * HOUR, 80.0), (NOW - 10 * HOUR, 10.0)], NOW - 9 * HOUR + HOUR / 12),
        ([(NOW - HOUR, 2.0), (NOW - 30 * HOUR, 9.9)], NOW - 30 * HOUR),
        ([(NOW - HOUR / 60, 50.0)], NOW),
    ],
    ids=["no-metrics", "was-busy", "never-busy", "is-busy"],
)
def test_a_notebook_was_used_when_its_processors_last_worked(
    points: list[tuple[datetime.datetime, float]], last: datetime.datetime | None
) -> None:
    cloud = Cloud()
    cloud.metrics["sagestack-dev-explore"] = points
    assert seen(cloud).running[0].last_used == last


def test_a_studio_application_was_used_when_studio_says_so() -> None:
    cloud = Cloud()
    cloud.instances = []
    app = {"AppName": "default", "Status": "InService", "CreationTime": NOW - 30 * HOUR, "SpaceName": "lab"}
    cloud.apps = [
        {**app, "AppType": "JupyterLab"},
        {**app, "AppType": "JupyterServer"},  # on an instance that nobody pays for
        {**app, "AppType": "CodeEditor", "Status": "Deleted"},
    ]
    (found,) = seen(cloud, studio_domain_id="d-1", studio_stopped_by=["idle shutdown after 60 min"]).running
    assert (found.name, found.owner, found.instance_type) == ("JupyterLab of lab", "grace", "ml.m5.large")
    assert found.last_used == NOW - 6 * HOUR
    assert found.stop_command == (
        "aws sagemaker delete-app --domain-id d-1 --app-type JupyterLab --app-name default --space-name lab --region us-east-1"
    )


def test_what_one_service_refuses_hides_nothing_of_the_others() -> None:
    cloud = Cloud()
    cloud.denied = {"list_apps", "get_metric_data"}
    found = seen(cloud, studio_domain_id="d-1")
    assert [each.name for each in found.running] == ["explore", "by-hand"]
    assert [each.split(":")[0] for each in found.not_seen] == [
        "whose notebook explore is, and when it was used",
        "whose notebook by-hand is, and when it was used",
        "Studio applications",
    ]


def test_the_function_sends_one_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    class Topic:
        def __init__(self) -> None:
            self.published: list[dict[str, str]] = []

        def publish(self, **message: str) -> None:
            self.published.append(message)

    cloud, topic = Cloud(), Topic()
    for instance in cloud.instances:
        instance["LastModifiedTime"] = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    clients = {"sagemaker": cloud, "cloudwatch": cloud, "sns": topic}
    monkeypatch.setattr(boto3, "client", lambda service: clients[service])
    function = cost_stack.resources("AWS::Lambda::Function", "IdleReport")
    (variables,) = [each["Environment"]["Variables"] for each in function.values()]
    for name in ("WORKBENCH", "PRICES"):
        monkeypatch.setenv(name, variables[name])
    monkeypatch.setenv("TOPIC_ARN", "arn:topic")
    said = handler.handler({}, None)
    (mail,) = topic.published
    assert said == {"running": 2, "not_seen": [], "mailed": mail["Subject"]}
    assert (mail["TopicArn"], mail["Subject"]) == ("arn:topic", "Sagestack: 2 of 2 running notebooks to look at in dev")
    cloud.instances = []
    assert handler.handler({}, None)["mailed"] is None
    assert len(topic.published) == 1


def test_what_stops_a_notebook_is_said_in_words() -> None:
    assert stopped_by(cost_stack.NOTEBOOKS["explore"], cost_stack.LIFECYCLE_CONFIGS) == [
        "auto-stop after 30 min",
        "hours, cron(0 19 ? * * *) Europe/Berlin",
    ]
    assert stopped_by(cost_stack.NOTEBOOKS["lab"], cost_stack.LIFECYCLE_CONFIGS) == []


def test_the_function_knows_the_prices_of_what_is_in_use() -> None:
    (function,) = cost_stack.resources("AWS::Lambda::Function", "IdleReport").values()
    prices = json.loads(function["Environment"]["Variables"]["PRICES"])
    assert set(prices["usd_per_hour"]) == {
        "Studio application ml.t3.medium",
        "notebook ml.m5.xlarge",
        "notebook ml.t3.medium",
    }
    assert prices["source"].startswith("list prices of us-east-1")


def test_the_function_may_look_and_mail_and_nothing_else() -> None:
    actions = {
        action
        for statement in cost_stack.statements("IdleReportFunction")
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    assert actions == {
        "cloudwatch:GetMetricData", "kms:Decrypt", "kms:GenerateDataKey*", "logs:CreateLogStream", "logs:PutLogEvents",
        "sagemaker:DescribeApp", "sagemaker:DescribeSpace", "sagemaker:ListApps", "sagemaker:ListNotebookInstances",
        "sagemaker:ListTags", "sns:Publish",
    }  # fmt: skip


def test_the_mails_topic_is_encrypted_and_its_failure_is_mailed_too() -> None:
    ((topic, properties),) = cost_stack.resources("AWS::SNS::Topic", "IdleReport").items()
    assert "KmsMasterKeyId" in properties
    (mail,) = cost_stack.resources("AWS::SNS::Subscription", "IdleReport").values()
    assert (mail["Protocol"], mail["Endpoint"]) == ("email", cost_stack.EMAIL)
    (config,) = cost_stack.resources("AWS::Lambda::EventInvokeConfig", "IdleReport").values()
    assert config["DestinationConfig"]["OnFailure"]["Destination"] == {"Ref": topic}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "emails"),
        ({"emails": []}, "at least 1 item"),
        ({"emails": ["ada"]}, "'ada' is no address of a mailbox"),
        ({"emails": ["ada@example.org\nBcc: eve@example.org"]}, "is no address of a mailbox"),
        ({"emails": ["ada@example.org", "Ada@example.org"]}, "is there twice"),
        ({"emails": ["a@example.org"], "idle_hours": 0}, "greater than or equal to 1"),
        ({"emails": ["a@example.org"], "schedule": "every morning"}, "is no schedule"),
    ],
    ids=["none-said", "nobody", "no-address", "line-break", "twice", "no-time", "no-schedule"],
)
def test_a_report_that_nobody_could_get_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        workbench.IdleReport(**settings)


def test_more_than_a_function_can_be_told_is_refused_by_the_key() -> None:
    hours = Hours(stop="cron(0 19 ? * MON,TUE,WED,THU,FRI,SAT *)", time_zone="America/Argentina/Buenos_Aires")
    each = workbench.Notebook(instance_type="ml.t3.medium", lifecycle_config="standard", hours=hours)
    many = {f"a-notebook-with-a-long-name-{number:02}": each for number in range(30)}
    with pytest.raises(
        SettingsError, match=r"^environments/dev.yaml: workbench.idle_report: what is to be said of 30 notebooks"
    ):
        cost_stack.CostStack(cdk.App(), notebooks=many)
