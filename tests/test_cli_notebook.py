"""`sagestack notebook`: an environment's notebook instances, from the command line."""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from sagestack.cli.main import app
from sagestack.cli.options import State
from sagestack.settings import PROJECT_ROOT
from typer.testing import CliRunner

from tests import cli_fakes
from tests.cli_fakes import NOW

runner = CliRunner()
NAME = "sagestack-local-explore"
WORKBENCH = """
workbench:
  network: {cidr: 10.42.0.0/22}
  notebooks:
    explore: {instance_type: ml.t3.medium, owner: ada}
"""
SECOND = "    second: {instance_type: ml.t3.large}\n"


def _session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workbench: str) -> cli_fakes.FakeSession:
    root = cli_fakes.make_project(tmp_path / "p")
    file = root / "environments/local.yaml"
    file.write_text(file.read_text() + workbench)
    session = cli_fakes.FakeSession(root)
    monkeypatch.setattr(State, "connect", cli_fakes.connect_to(session))
    monkeypatch.chdir(root)
    return session


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> cli_fakes.FakeSession:
    return _session(tmp_path, monkeypatch, WORKBENCH)


def _is(session: cli_fakes.FakeSession, *statuses: str, reason: str | None = None) -> None:
    """What the instance is, each time that somebody looks."""
    for status in statuses:
        described: dict[str, Any] = {
            "NotebookInstanceName": NAME,
            "NotebookInstanceStatus": status,
            "InstanceType": "ml.t3.medium",
            "LastModifiedTime": NOW,
            **({"FailureReason": reason} if reason else {}),
        }
        session.answer("sagemaker", "describe_notebook_instance", described, {"NotebookInstanceName": NAME})


def _url(session: cli_fakes.FakeSession, seconds: int = 8 * 3600) -> None:
    session.answer(
        "sagemaker",
        "create_presigned_notebook_instance_url",
        {"AuthorizedUrl": "http://127.0.0.1:1/lab?authToken=x"},
        {"NotebookInstanceName": NAME, "SessionExpirationDurationInSeconds": seconds},
    )


def test_the_list_has_what_is_declared_and_what_became_of_it(session: cli_fakes.FakeSession) -> None:
    _is(session, "Failed", reason="no container engine answers")
    result = runner.invoke(app, ["notebook", "list"])
    assert result.exit_code == 0, result.output
    for word in ("explore", "Failed", "ada"):
        assert word in result.output
    assert "no container engine answers" in result.output


def test_what_is_declared_and_not_deployed_is_listed_as_that(session: cli_fakes.FakeSession) -> None:
    session.refuse("sagemaker", "describe_notebook_instance", "ValidationException", "RecordNotFound")
    result = runner.invoke(app, ["notebook", "list", "--json"])
    assert [each["status"] for each in json.loads(result.stdout)["notebooks"]] == ["not deployed"]


def test_open_starts_what_is_stopped_and_gives_an_address(session: cli_fakes.FakeSession) -> None:
    _is(session, "Stopped", "Stopped")
    session.answer("sagemaker", "start_notebook_instance", {}, {"NotebookInstanceName": NAME})
    _is(session, "Pending", "Pending", "InService")
    _url(session)
    result = runner.invoke(app, ["notebook", "open"])
    assert result.exit_code == 0, result.output
    assert "http://127.0.0.1:1/lab?authToken=x" in result.output.splitlines()
    session.check()


def test_open_of_one_that_is_stopping_waits_and_starts_it_again(session: cli_fakes.FakeSession) -> None:
    _is(session, "Stopping", "Stopping", "Stopped")
    session.answer("sagemaker", "start_notebook_instance", {}, {"NotebookInstanceName": NAME})
    _is(session, "InService")
    _url(session, 3600)
    result = runner.invoke(app, ["notebook", "open", "explore", "--hours", "1", "--json"])
    assert json.loads(result.stdout)["url"].endswith("authToken=x")
    session.check()


def test_open_starts_nothing_where_it_must_not(session: cli_fakes.FakeSession) -> None:
    _is(session, "Stopped")
    result = runner.invoke(app, ["notebook", "open", "--no-start"])
    assert result.exit_code == 1
    assert "sagestack notebook start explore" in result.output
    session.check()


def test_one_that_fails_to_start_says_why_and_where_to_look(session: cli_fakes.FakeSession) -> None:
    _is(session, "Stopped")
    session.answer("sagemaker", "start_notebook_instance", {}, {"NotebookInstanceName": NAME})
    _is(session, "Failed", reason="took longer than 5 minutes")
    result = runner.invoke(app, ["notebook", "start", "explore"])
    assert result.exit_code == 1
    assert "took longer than 5 minutes" in result.output
    assert "sagestack notebook logs explore" in result.output


def test_stop_stops_what_runs_and_nothing_else(session: cli_fakes.FakeSession) -> None:
    _is(session, "InService")
    session.answer("sagemaker", "stop_notebook_instance", {}, {"NotebookInstanceName": NAME})
    _is(session, "Stopping", "Stopped")
    assert runner.invoke(app, ["notebook", "stop"]).exit_code == 0
    _is(session, "Stopped", "Stopped")
    assert runner.invoke(app, ["notebook", "stop"]).exit_code == 0
    session.check()


def test_a_name_that_is_none_is_answered_with_those_that_are(session: cli_fakes.FakeSession) -> None:
    result = runner.invoke(app, ["notebook", "open", "explor"])
    assert result.exit_code == 1
    assert "did you mean 'explore'" in result.output


def test_of_several_one_must_be_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _session(tmp_path, monkeypatch, WORKBENCH + SECOND)
    result = runner.invoke(app, ["notebook", "start"])
    assert result.exit_code == 1
    assert "explore, second" in result.output


def test_an_environment_without_a_workbench_says_how_to_have_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _session(tmp_path, monkeypatch, "")
    assert "work-in-a-notebook.md" in runner.invoke(app, ["notebook", "list"]).output
    assert "work-in-a-notebook.md" in runner.invoke(app, ["notebook", "open"]).output


def test_logs_name_the_script_that_wrote_each_line(session: cli_fakes.FakeSession) -> None:
    group, stream = "/aws/sagemaker/NotebookInstances", f"{NAME}/LifecycleConfigOnStart"
    session.answer("logs", "describe_log_streams", {"logStreams": [{"logStreamName": stream}]})
    events = [{"timestamp": int(NOW.timestamp() * 1000), "message": "auto-stop: succeeded"}]
    page = {"events": events, "nextForwardToken": "f", "nextBackwardToken": "b"}
    session.answer("logs", "get_log_events", page)
    session.answer("logs", "get_log_events", {**page, "events": []})
    result = runner.invoke(app, ["notebook", "logs"])
    assert result.exit_code == 0, result.output
    assert "LifecycleConfigOnStart  auto-stop: succeeded" in result.output
    assert group not in result.output


def test_lines_of_several_days_have_their_dates(session: cli_fakes.FakeSession) -> None:
    session.answer("logs", "describe_log_streams", {"logStreams": [{"logStreamName": f"{NAME}/jupyter.log"}]})
    days = [NOW, NOW + datetime.timedelta(days=9)]
    events = [{"timestamp": int(day.timestamp() * 1000), "message": "started"} for day in days]
    page = {"events": events, "nextForwardToken": "f", "nextBackwardToken": "b"}
    session.answer("logs", "get_log_events", page)
    session.answer("logs", "get_log_events", {**page, "events": []})
    result = runner.invoke(app, ["notebook", "logs"])
    for day in days:
        assert f"{day.astimezone():%Y-%m-%d %H:%M:%S}  jupyter.log  started" in result.output


def _running(session: cli_fakes.FakeSession, hours_ago: float) -> None:
    since = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=hours_ago)
    arn = f"arn:aws:sagemaker:us-east-1:000000000000:notebook-instance/{NAME}"
    instance = {
        "NotebookInstanceName": NAME,
        "NotebookInstanceArn": arn,
        "InstanceType": "ml.t3.medium",
        "NotebookInstanceStatus": "InService",
        "LastModifiedTime": since,
    }
    session.answer("sagemaker", "list_notebook_instances", {"NotebookInstances": [instance]})
    session.answer("sagemaker", "list_tags", {"Tags": [{"Key": "sagestack:owner", "Value": "ada"}]})
    session.answer("cloudwatch", "get_metric_data", {"MetricDataResults": []})


def test_what_runs_for_nobody_is_named_with_what_it_costs(session: cli_fakes.FakeSession) -> None:
    _running(session, 30)
    result = runner.invoke(app, ["notebook", "idle", "--json"])
    assert result.exit_code == 3, result.output
    (found,) = json.loads(result.stdout)["running"]
    assert (found["owner"], found["stopped_by"]) == ("ada", [])
    assert found["usd_per_hour"] == pytest.approx(0.05)
    assert "nothing stops it" in found["reasons"]


def test_the_program_finds_the_functions_that_are_no_package_of_its_own(
    session: cli_fakes.FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [each for each in sys.modules if each.partition(".")[0] == "functions"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each not in ("", str(PROJECT_ROOT))])
    session.answer("sagemaker", "list_notebook_instances", {"NotebookInstances": []})
    assert runner.invoke(app, ["notebook", "idle"]).exit_code == 0


def test_where_nothing_runs_nothing_idles(session: cli_fakes.FakeSession) -> None:
    session.answer("sagemaker", "list_notebook_instances", {"NotebookInstances": []})
    result = runner.invoke(app, ["notebook", "idle"])
    assert result.exit_code == 0, result.output
    assert "Nothing runs." in result.output


def _refuse_transition(session: cli_fakes.FakeSession, operation: str, status: str, allowed: str, wanted: str) -> None:
    said = f"Status ({status}) not in ([{allowed}]). Unable to transition to ({wanted}) for Notebook Instance (arn)."
    session.refuse("sagemaker", operation, "ValidationException", said)


def test_two_people_may_start_one_notebook_at_once(session: cli_fakes.FakeSession) -> None:
    _is(session, "Stopped")
    _refuse_transition(session, "start_notebook_instance", "Pending", "Stopped, Failed", "Pending")
    _is(session, "Pending", "InService")
    result = runner.invoke(app, ["notebook", "start"])
    assert result.exit_code == 0, result.output


def test_two_people_may_stop_one_notebook_at_once(session: cli_fakes.FakeSession) -> None:
    _is(session, "InService")
    _refuse_transition(session, "stop_notebook_instance", "Stopping", "InService", "Stopping")
    _is(session, "Stopping", "Stopped")
    result = runner.invoke(app, ["notebook", "stop"])
    assert result.exit_code == 0, result.output


def test_a_start_waits_for_an_update_and_then_starts(session: cli_fakes.FakeSession) -> None:
    _is(session, "Updating", "Stopped")
    session.answer("sagemaker", "start_notebook_instance", {}, {"NotebookInstanceName": NAME})
    _is(session, "InService")
    result = runner.invoke(app, ["notebook", "start"])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("command", "operation", "before"),
    [("start", "start_notebook_instance", "Stopped"), ("stop", "stop_notebook_instance", "InService")],
)
def test_a_notebook_that_is_deleted_while_somebody_waits_is_gone(
    session: cli_fakes.FakeSession, command: str, operation: str, before: str
) -> None:
    _is(session, before)
    session.answer("sagemaker", operation, {}, {"NotebookInstanceName": NAME})
    session.refuse("sagemaker", "describe_notebook_instance", "ValidationException", "RecordNotFound")
    result = runner.invoke(app, ["notebook", command, "--json"])
    assert result.exit_code == 1
    error = json.loads(result.stdout)["error"]
    assert (error["code"], error["message"]) == ("not-found", f"{NAME} was deleted meanwhile.")


def test_a_stop_that_fails_is_no_success(session: cli_fakes.FakeSession) -> None:
    _is(session, "InService")
    session.answer("sagemaker", "stop_notebook_instance", {}, {"NotebookInstanceName": NAME})
    _is(session, "Failed", reason="the volume is full")
    result = runner.invoke(app, ["notebook", "stop", "--json"])
    assert result.exit_code == 1
    assert "the volume is full" in json.loads(result.stdout)["error"]["message"]


def test_what_is_not_deployed_cannot_be_opened_and_is_not_told_to_be_started(session: cli_fakes.FakeSession) -> None:
    session.refuse("sagemaker", "describe_notebook_instance", "ValidationException", "RecordNotFound")
    result = runner.invoke(app, ["notebook", "open", "--no-start", "--json"])
    assert result.exit_code == 1
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "not-deployed"
    assert "sagestack deploy" in error["hint"]


@pytest.mark.parametrize("hours", ["inf", "1e308", "nan", "-1"])
def test_a_time_that_is_none_is_a_mistake_of_who_wrote_it(session: cli_fakes.FakeSession, hours: str) -> None:
    result = runner.invoke(app, ["notebook", "idle", "--hours", hours, "--json"])
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["code"] == "usage"


def test_what_a_spent_budget_stopped_is_not_a_matter_of_rights_alone(session: cli_fakes.FakeSession) -> None:
    _is(session, "Stopped")
    denied = "User: ada is not authorized to perform: sagemaker:StartNotebookInstance with an explicit deny"
    session.refuse("sagemaker", "start_notebook_instance", "AccessDeniedException", denied)
    arn = f"arn:aws:sagemaker:us-east-1:000000000000:notebook-instance/{NAME}"
    described = {"NotebookInstanceStatus": "Stopped", "NotebookInstanceArn": arn}
    session.answer("sagemaker", "describe_notebook_instance", described, {"NotebookInstanceName": NAME})
    tags = [{"Key": "sagestack:budget-spent", "Value": "2026-11"}]
    session.answer("sagemaker", "list_tags", {"Tags": tags}, {"ResourceArn": arn})
    result = runner.invoke(app, ["notebook", "start"])
    assert result.exit_code == 1
    assert f"{NAME} is not started: the budget of 2026-11 is spent." in result.output
    session.check()


def test_who_may_not_stop_a_notebook_is_not_told_of_a_budget(session: cli_fakes.FakeSession) -> None:
    _is(session, "InService")
    denied = "User: ada is not authorized to perform: sagemaker:StopNotebookInstance"
    session.refuse("sagemaker", "stop_notebook_instance", "AccessDeniedException", denied)
    arn = f"arn:aws:sagemaker:us-east-1:000000000000:notebook-instance/{NAME}"
    described = {"NotebookInstanceStatus": "InService", "NotebookInstanceArn": arn}
    session.answer("sagemaker", "describe_notebook_instance", described, {"NotebookInstanceName": NAME})
    tags = [{"Key": "sagestack:budget-spent", "Value": "2026-11"}]
    session.answer("sagemaker", "list_tags", {"Tags": tags}, {"ResourceArn": arn})
    result = runner.invoke(app, ["notebook", "stop"])
    assert result.exit_code == 1
    assert denied in result.output
    assert "budget" not in result.output
