"""The maintenance window: which instances are restarted, when, and what a deployment says of the others."""

from __future__ import annotations

import datetime
import json
import zoneinfo
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import aws_cdk as cdk
import boto3
import pytest
from aws_cdk.assertions import Match, Template
from botocore.exceptions import ClientError, EndpointConnectionError
from sagestack.settings import EnvironmentNames
from sagestack.settings.workbench import Maintenance
from sagestack.workbench import cost_tags
from sagestack.workbench.maintenance_window import ROLLOUT, MaintenanceWindow

from constructs import Construct
from functions.notebook_rollout import handler
from functions.notebook_rollout.rollout import Outcome, run
from functions.notebook_rollout.tags import RESTART_TAG, SPENT_TAG
from functions.notebook_rollout.window import Window

SUNDAY_NIGHT = Window(("SUN",), "23:00", "Europe/Berlin", 120)
EARLY, LATE = (datetime.datetime(2026, 11, day, tzinfo=datetime.UTC) for day in (1, 2))


def _at(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-11-22 21:59", False),
        ("2026-11-22 22:00", True),
        ("2026-11-22 23:30", True),
        ("2026-11-23 00:00", False),
        ("2026-07-05 20:59", False),
        ("2026-07-05 21:00", True),
        ("2026-07-05 22:59", True),
        ("2026-07-05 23:00", False),
        ("2026-11-21 22:30", False),
    ],
    ids=[
        "before",
        "begins",
        "after midnight there",
        "ended",
        "summer before",
        "summer",
        "end",
        "ended there",
        "Saturday",
    ],
)
def test_the_window_is_open_by_the_clock_of_its_time_zone(moment: str, is_open: bool) -> None:
    assert SUNDAY_NIGHT.is_open(_at(moment)) is is_open


def test_the_next_window_is_known() -> None:
    assert SUNDAY_NIGHT.next(_at("2026-11-22 22:00")) == _at("2026-11-29 22:00")
    assert SUNDAY_NIGHT.next(_at("2026-11-21 00:00")) == _at("2026-11-22 22:00")


def test_a_system_without_time_zones_knows_them_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(key: str) -> zoneinfo.ZoneInfo:
        raise zoneinfo.ZoneInfoNotFoundError(key)

    monkeypatch.setattr(zoneinfo, "ZoneInfo", none)
    assert SUNDAY_NIGHT.next(_at("2026-07-01 00:00")) == _at("2026-07-05 21:00")


class Notebooks:
    """SageMaker, as far as it is asked: statuses that move one step each time that somebody looks."""

    def __init__(self, **statuses: str) -> None:
        self.exceptions = type("Exceptions", (), {"ClientError": ClientError})
        self.statuses = dict(statuses)
        self.tags: dict[str, set[str]] = {name: set() for name in statuses}
        self.in_service_since = dict.fromkeys(statuses, EARLY)
        self.calls: list[str] = []
        self.refused: set[str] = set()

    def describe_notebook_instance(self, **request: str) -> dict[str, Any]:
        name = request["NotebookInstanceName"]
        if name not in self.statuses:
            raise ClientError({"Error": {"Code": "ValidationException", "Message": "RecordNotFound"}}, "Describe")
        return {
            "NotebookInstanceStatus": self.statuses[name],
            "NotebookInstanceArn": name,
            "NotebookInstanceLifecycleConfigName": "config",
            "LastModifiedTime": self.in_service_since[name],
            "FailureReason": "it did not start",
        }

    def describe_notebook_instance_lifecycle_config(self, **_: str) -> dict[str, Any]:
        return {"LastModifiedTime": EARLY + datetime.timedelta(hours=1)}

    def get_paginator(self, _operation: str) -> Notebooks:
        return self

    def paginate(self, **request: str) -> Iterator[dict[str, Any]]:
        yield {"Tags": [{"Key": key, "Value": "true"} for key in self.tags[request["ResourceArn"]]]}

    def add_tags(self, **request: Any) -> None:
        self.tags[request["ResourceArn"]] |= {tag["Key"] for tag in request["Tags"]}

    def delete_tags(self, **request: Any) -> None:
        self.tags[request["ResourceArn"]] -= set(request["TagKeys"])

    def stop_notebook_instance(self, **request: str) -> None:
        name = request["NotebookInstanceName"]
        if name in self.refused:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "not allowed"}}, "Stop")
        self.calls.append(f"stop {name}")
        self.statuses[name] = "Stopping"

    def start_notebook_instance(self, **request: str) -> None:
        name = request["NotebookInstanceName"]
        self.calls.append(f"start {name}")
        self.statuses[name] = "Pending"
        self.in_service_since[name] = LATE

    def settle(self) -> None:
        moves = {"Stopping": "Stopped", "Pending": "InService"}
        self.statuses = {name: moves.get(status, status) for name, status in self.statuses.items()}


def _until_settled(notebooks: Notebooks, may_stop: bool = True) -> list[Outcome]:
    outcomes = []
    for _ in range(10):
        outcomes.append(run(notebooks, list(notebooks.statuses), may_stop=may_stop, heeds_the_mark=True))
        if outcomes[-1].is_settled:
            return outcomes
        notebooks.settle()
    raise AssertionError("it never settled")


def test_what_runs_an_older_config_is_stopped_and_started_once() -> None:
    notebooks = Notebooks(a="InService", b="InService")
    notebooks.in_service_since["b"] = LATE
    _until_settled(notebooks)
    assert notebooks.calls == ["stop a", "start a"]
    assert notebooks.statuses == {"a": "InService", "b": "InService"}
    assert notebooks.tags == {"a": set(), "b": set()}


def test_outside_of_the_window_nothing_is_stopped_and_it_is_said() -> None:
    notebooks = Notebooks(a="InService")
    (outcome,) = _until_settled(notebooks, may_stop=False)
    assert outcome.outdated == ["a"]
    assert notebooks.calls == []


@pytest.mark.parametrize("status", ["Stopped", "Failed", "Pending", "Updating", "Stopping", "Deleting"])
def test_what_people_stopped_stays_stopped_and_what_moves_is_left_alone(status: str) -> None:
    notebooks = Notebooks(a=status)
    run(notebooks, ["a"], may_stop=True, heeds_the_mark=True)
    assert notebooks.calls == []


def test_what_was_stopped_is_started_although_the_window_closed() -> None:
    notebooks = Notebooks(a="InService")
    run(notebooks, ["a"], may_stop=True, heeds_the_mark=True)
    notebooks.settle()
    _until_settled(notebooks, may_stop=False)
    assert notebooks.calls == ["stop a", "start a"]


def test_an_instance_that_is_gone_is_no_error() -> None:
    assert run(Notebooks(), ["gone"], may_stop=True, heeds_the_mark=True) == Outcome()


def test_one_that_cannot_be_stopped_does_not_keep_the_others_from_it() -> None:
    notebooks = Notebooks(a="InService", b="InService")
    notebooks.refused = {"a"}
    outcome = run(notebooks, ["a", "b"], may_stop=True, heeds_the_mark=True)
    assert outcome.stopped == ["b"]
    assert "not allowed" in outcome.failed["a"]


def test_what_somebody_stopped_just_before_is_not_started_again() -> None:
    notebooks = Notebooks(a="InService")
    notebooks.refused = {"a"}
    run(notebooks, ["a"], may_stop=True, heeds_the_mark=True)
    notebooks.statuses["a"] = "Stopped"
    assert run(notebooks, ["a"], may_stop=True, heeds_the_mark=True) == Outcome()
    assert notebooks.calls == []


def test_what_a_spent_budget_holds_stays_stopped() -> None:
    notebooks = Notebooks(a="InService")
    run(notebooks, ["a"], may_stop=True, heeds_the_mark=True)
    notebooks.tags["a"].add(SPENT_TAG)
    notebooks.settle()
    assert run(notebooks, ["a"], may_stop=True, heeds_the_mark=True) == Outcome()
    assert notebooks.calls == ["stop a"]
    assert notebooks.tags["a"] == {SPENT_TAG}
    assert cost_tags.SPENT_TAG == SPENT_TAG


def test_without_a_budget_an_old_mark_keeps_nothing_stopped() -> None:
    notebooks = Notebooks(a="InService")
    notebooks.tags["a"].add(SPENT_TAG)
    run(notebooks, ["a"], may_stop=True, heeds_the_mark=False)
    notebooks.settle()
    assert run(notebooks, ["a"], may_stop=True, heeds_the_mark=False).started == ["a"]


def test_a_service_that_does_not_answer_for_one_does_not_keep_the_others_from_it() -> None:
    class Cut(Notebooks):
        def describe_notebook_instance(self, **request: str) -> dict[str, Any]:
            if request["NotebookInstanceName"] == "a":
                raise EndpointConnectionError(endpoint_url="https://api.sagemaker")
            return super().describe_notebook_instance(**request)

    outcome = run(Cut(a="InService", b="InService"), ["a", "b"], may_stop=True, heeds_the_mark=True)
    assert outcome.stopped == ["b"]
    assert "Could not connect" in outcome.failed["a"]


def test_one_that_does_not_come_back_is_named_with_its_reason() -> None:
    notebooks = Notebooks(a="InService")
    run(notebooks, ["a"], may_stop=True, heeds_the_mark=True)
    notebooks.statuses["a"] = "Failed"
    outcome = run(notebooks, ["a"], may_stop=True, heeds_the_mark=True)
    assert outcome.failed == {"a": "it did not start"}
    assert RESTART_TAG not in notebooks.tags["a"]


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Notebooks:
    notebooks = Notebooks(a="InService")
    monkeypatch.setattr(boto3, "client", lambda _service: notebooks)
    monkeypatch.setenv("INSTANCES", '["a"]')
    monkeypatch.setenv("HEEDS_THE_MARK", "true")
    return notebooks


def _window(monkeypatch: pytest.MonkeyPatch, *, is_open: bool) -> None:
    now = datetime.datetime.now(datetime.UTC)
    # Two days, since one may end before anybody asks.
    days = [now + datetime.timedelta(days=number + (0 if is_open else 3)) for number in range(2)]
    window = {"days": [f"{day:%a}".upper() for day in days], "at": "00:00", "time_zone": "UTC", "minutes": 1440}
    monkeypatch.setenv("WINDOW", json.dumps(window))


def test_a_deployment_outside_of_the_window_says_what_is_behind(
    deployed: Notebooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    _window(monkeypatch, is_open=False)
    answer = handler.is_complete({"RequestType": "Update"}, None)
    assert answer["IsComplete"]
    assert answer["Data"]["Said"].startswith("a: older lifecycle config until ")
    assert deployed.calls == []


def test_a_deployment_in_the_window_waits_until_all_are_back(
    deployed: Notebooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    _window(monkeypatch, is_open=True)
    answers = []
    for _ in range(6):
        answers.append(handler.is_complete({"RequestType": "Update"}, None))
        deployed.settle()
    assert [answer["IsComplete"] for answer in answers] == [False, False, True, True, True, True]
    assert deployed.calls == ["stop a", "start a"]


@pytest.mark.parametrize(("heeds", "started"), [("true", []), ("false", ["start a"])], ids=["budget", "no budget"])
def test_the_functions_environment_says_whether_a_mark_is_heeded(
    deployed: Notebooks, monkeypatch: pytest.MonkeyPatch, heeds: str, started: list[str]
) -> None:
    _window(monkeypatch, is_open=True)
    monkeypatch.setenv("HEEDS_THE_MARK", heeds)
    deployed.statuses, deployed.tags = {"a": "Stopped"}, {"a": {RESTART_TAG, SPENT_TAG}}
    handler.scheduled({}, None)
    assert deployed.calls == started


def test_a_deletion_touches_nothing(deployed: Notebooks, monkeypatch: pytest.MonkeyPatch) -> None:
    _window(monkeypatch, is_open=True)
    assert handler.is_complete({"RequestType": "Delete"}, None) == {"IsComplete": True}
    assert deployed.calls == []


def test_a_scheduled_run_that_finds_a_failure_fails(deployed: Notebooks, monkeypatch: pytest.MonkeyPatch) -> None:
    _window(monkeypatch, is_open=True)
    deployed.refused = {"a"}
    with pytest.raises(RuntimeError, match="not allowed"):
        handler.scheduled({}, None)


class _Deployed(Construct):
    """What a maintenance window looks at of a notebook."""

    def __init__(self, scope: Construct, name: str, content_hash: str | None) -> None:
        super().__init__(scope, name)
        self.notebook_instance_name = f"sagestack-dev-{name}"
        self.lifecycle_config = SimpleNamespace(content_hash=content_hash) if content_hash else None


@pytest.fixture(scope="module")
def template() -> Template:
    app = cdk.App()
    stack = cdk.Stack(app, "Stack", env=cdk.Environment(account="222222222222", region="us-east-1"))
    notebooks: list[Any] = [_Deployed(stack, "explore", "hash"), _Deployed(stack, "plain", None)]
    MaintenanceWindow(
        stack,
        "Maintenance",
        names=EnvironmentNames("dev"),
        maintenance=Maintenance(days=["SUN"], at="23:00", duration_in_minutes=120, time_zone="Europe/Berlin"),
        notebooks=notebooks,
        heeds_the_mark=True,
    )
    return Template.from_stack(stack)


def test_the_schedule_covers_the_window_over_midnight(template: Template) -> None:
    template.has_resource_properties(
        "AWS::Scheduler::Schedule",
        {"ScheduleExpression": "cron(0/5 * ? * MON,SUN *)", "ScheduleExpressionTimezone": "Europe/Berlin"},
    )


def test_another_content_of_a_config_makes_cloudformation_ask_again(template: Template) -> None:
    template.has_resource_properties(ROLLOUT, {"LifecycleConfigs": {"sagestack-dev-explore": "hash"}})


def test_the_functions_start_nothing_that_a_spent_budget_holds(template: Template) -> None:
    policies = template.find_resources("AWS::IAM::Policy").values()
    all_of_them = [each["Properties"]["PolicyDocument"]["Statement"] for each in policies]
    starting = [each for each in all_of_them if any("sagemaker:StartNotebookInstance" in one["Action"] for one in each)]
    assert len(starting) == 2
    for statements in starting:
        assert any(one["Effect"] == "Deny" and SPENT_TAG in json.dumps(one["Condition"]) for one in statements)


def test_the_functions_reach_these_instances_alone(template: Template) -> None:
    for policy in template.find_resources("AWS::IAM::Policy").values():
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            if "sagemaker:StopNotebookInstance" in statement["Action"]:
                assert "notebook-instance/sagestack-dev-explore" in json.dumps(statement["Resource"])
    template.has_resource_properties(
        "AWS::Lambda::Function",
        {
            "Environment": {
                "Variables": Match.object_like({"INSTANCES": '["sagestack-dev-explore"]', "HEEDS_THE_MARK": "true"})
            }
        },
    )


@pytest.mark.parametrize(
    "changed",
    [{"days": []}, {"days": ["SUN", "SUN"]}, {"at": "24:00"}, {"time_zone": "Berlin"}, {"duration_in_minutes": 5}],
    ids=["no day", "twice", "no time", "no time zone", "too short"],
)
def test_a_window_that_is_none_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(changed))):
        Maintenance.model_validate({"days": ["SUN"], "at": "03:00", **changed})
