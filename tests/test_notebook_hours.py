"""Notebook instances start and stop at their hours: in their time zone, with no function, and no right but that one call."""

from __future__ import annotations

import json
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template
from pydantic import ValidationError
from sagestack.settings.workbench import Workbench
from sagestack.settings.workbench.notebook import Hours
from sagestack.workbench.notebook_hours import NotebookHours

from tests import cost_stack
from tests.synthesis import text_of


def schedule(direction: str, name: str) -> dict[str, Any]:
    return next(iter(cost_stack.resources("AWS::Scheduler::Schedule", f"Hours{name}{direction}").values()))


def test_an_instance_stops_by_a_call_of_the_api_itself() -> None:
    target = schedule("Stop", "explore")["Target"]
    assert text_of(target["Arn"]) == "arn:<AWS::Partition>:scheduler:::aws-sdk:sagemaker:stopNotebookInstance"
    assert json.loads(target["Input"]) == {"NotebookInstanceName": "sagestack-dev-explore"}


def test_hours_are_those_of_the_people_who_work_there() -> None:
    start, stop = schedule("Start", "explore"), schedule("Stop", "explore")
    assert (start["ScheduleExpression"], stop["ScheduleExpression"]) == (
        "cron(0 8 ? * MON-FRI *)",
        "cron(0 19 ? * * *)",
    )
    assert {each["ScheduleExpressionTimezone"] for each in (start, stop)} == {"Europe/Berlin"}
    assert {each["FlexibleTimeWindow"]["Mode"] for each in (start, stop)} == {"OFF"}


def test_a_notebook_without_a_start_is_only_stopped() -> None:
    assert cost_stack.resources("AWS::Scheduler::Schedule", "HourslateshiftStop")
    assert not cost_stack.resources("AWS::Scheduler::Schedule", "HourslateshiftStart")
    assert not cost_stack.resources("AWS::Scheduler::Schedule", "Hourslab")


def test_a_call_that_comes_late_undoes_nothing_that_people_did_meanwhile() -> None:
    for each in cost_stack.resources("AWS::Scheduler::Schedule", "Hours").values():
        assert each["Target"]["RetryPolicy"] == {"MaximumEventAgeInSeconds": 300, "MaximumRetryAttempts": 2}
        assert "DeadLetterConfig" not in each["Target"]


def test_each_direction_has_a_role_that_may_make_that_call_on_its_instances() -> None:
    stop, start = cost_stack.statements("HoursStopRole"), cost_stack.statements("HoursStartRole")
    arn = f"arn:aws:sagemaker:{cost_stack.REGION}:{cost_stack.ACCOUNT}:notebook-instance/sagestack-dev-"
    assert stop == [
        {
            "Action": "sagemaker:StopNotebookInstance",
            "Effect": "Allow",
            "Resource": [f"{arn}explore", f"{arn}late-shift"],
        }
    ]
    assert [(each["Action"], each["Resource"]) for each in start] == [
        ("sagemaker:StartNotebookInstance", f"{arn}explore")
    ]


def test_what_a_spent_budget_stopped_is_not_started_next_morning() -> None:
    (statement,) = cost_stack.statements("HoursStartRole")
    assert statement["Condition"] == {"Null": {"aws:ResourceTag/sagestack:budget-spent": "true"}}


def test_without_a_budget_that_marks_a_mark_that_is_left_keeps_nothing_from_starting() -> None:
    stack = cdk.Stack(cdk.App(analytics_reporting=False), "Stack")
    NotebookHours(stack, "Hours", names=cost_stack.NAMES, hours={"explore": cost_stack.HOURS}, heeds_the_mark=False)
    policies = Template.from_stack(stack).find_resources("AWS::IAM::Policy").values()
    assert "budget-spent" not in json.dumps(list(policies))


@pytest.mark.parametrize(
    ("budget", "heeds"),
    [
        (None, False),
        ({}, True),
        ({"keeps_stopped": False}, False),
        ({"stop_at_percent": None}, False),
    ],
    ids=["none", "one", "starts-again", "only-warns"],
)
def test_a_mark_is_heeded_where_something_takes_it_away_again(budget: dict[str, Any] | None, heeds: bool) -> None:
    settings = {"monthly_usd": 200, "emails": ["ada@example.org"], **budget} if budget is not None else None
    workbench = Workbench.model_validate({"network": {"cidr": "10.42.0.0/22"}, "budget": settings})
    assert workbench.heeds_the_mark is heeds


def test_only_schedules_of_the_stacks_own_group_take_the_roles() -> None:
    ((group, properties),) = cost_stack.resources("AWS::Scheduler::ScheduleGroup").items()
    assert properties["Name"] == "sagestack-dev-workbench"
    for role in cost_stack.resources("AWS::IAM::Role", "Hours").values():
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Condition"]["StringEquals"] == {
            "aws:SourceAccount": cost_stack.ACCOUNT,
            "aws:SourceArn": {"Fn::GetAtt": [group, "Arn"]},
        }


def test_a_schedule_is_there_after_what_its_role_may_do_and_nothing_is_kept_when_the_stack_goes() -> None:
    template = cost_stack.built()[0]
    for each in template.find_resources("AWS::Scheduler::Schedule").values():
        assert any("RoleDefaultPolicy" in name for name in each["DependsOn"])
    (group,) = template.find_resources("AWS::Scheduler::ScheduleGroup").values()
    assert group["DeletionPolicy"] == "Delete"


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        ({"start": "cron(0 8 ? * MON-FRI *)"}, "what is started each time would never be stopped; say stop"),
        ({}, "nothing is scheduled; say stop"),
        ({"start": "cron(0 8 * * ? *)", "stop": "cron(0 8 * * ? *)"}, "which of them came last would be chance"),
        ({"stop": "rate(1 day)"}, "'rate(1 day)' is at no time of the day"),
        ({"stop": "at(2027-01-31T22:15:00)"}, "is at no time of the day"),
        ({"stop": "cron(0 25 ? * * *)"}, "has the hour '25'"),
        ({"stop": "cron(0 19 * * * *)"}, "must have ? either as day or as weekday"),
        ({"stop": "cron(0 19 ? * * *)", "time_zone": "Europe/Berln"}, "'Europe/Berln' is no time zone"),
    ],
    ids=["start-alone", "nothing", "same", "rate", "once", "no-hour", "no-question-mark", "no-zone"],
)
def test_hours_that_cannot_be_are_refused(hours: dict[str, str], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Hours(**hours)
    assert said in str(refused.value)
