"""A budget warns on the way, stops what runs when it is spent, loses nothing by it, and believes nobody but AWS Budgets."""

from __future__ import annotations

import json
import time
from typing import Any

import aws_cdk as cdk
import boto3
import pytest
from aws_cdk import aws_kms as kms
from aws_cdk.assertions import Template
from botocore.exceptions import ClientError, EndpointConnectionError
from pydantic import ValidationError
from sagestack.settings import workbench
from sagestack.workbench.notebook_budget import NotebookBudget, deny_starts

from functions.notebook_stop import handler
from functions.notebook_stop.message import Alert, NotOurs, read_alert
from functions.notebook_stop.stopping import Outcome, end_apps, mark_spent, stop_notebooks
from tests import cost_stack

BUDGET, ACCOUNT, TOPIC = (
    "sagestack-dev-workbench-1a2b3c4d",
    cost_stack.ACCOUNT,
    "arn:aws:sns:us-east-1:111111111111:budget",
)
MESSAGE = (
    f"AWS Budget Notification November 21, 2026\nAWS Account {ACCOUNT}\n\nDear AWS Customer,\n\n"
    f"You requested that we alert you when the ACTUAL Cost associated with your {BUDGET} budget is greater than $200.00 for"
    " the current month.\n\n"
    f"Budget Name: {BUDGET}\nBudget Type: Cost\nBudgeted Amount: $200.00\nAlert Type: ACTUAL\n"
    "Alert Threshold: > $200.00\nACTUAL Amount: $212.40\n\n[1] https://console.aws.amazon.com/billing/home#/budgets\n"
)


def alert(message: str = MESSAGE, topic: str = TOPIC) -> Alert:
    return read_alert({"TopicArn": topic, "Message": message}, topic_arn=TOPIC, budget=BUDGET, account=ACCOUNT)


def test_what_aws_budgets_says_is_understood() -> None:
    assert alert() == Alert(BUDGET, "$212.40", "> $200.00")
    assert alert(MESSAGE.replace("\n", "\r\n")) == alert()


@pytest.mark.parametrize(
    ("message", "topic", "why"),
    [
        (MESSAGE, "arn:aws:sns:us-east-1:111111111111:other", "it came by"),
        (MESSAGE.replace(f"Budget Name: {BUDGET}", "Budget Name: other"), TOPIC, "and says other"),
        (MESSAGE.replace(f"Budget Name: {BUDGET}", f"Budget Name: {BUDGET}x"), TOPIC, f"and says {BUDGET}x"),
        (MESSAGE.replace(f"AWS Account {ACCOUNT}", "AWS Account 222222222222"), TOPIC, "and says 222222222222"),
        (MESSAGE.replace("Alert Type: ACTUAL", "Alert Type: FORECASTED"), TOPIC, "money that is not spent"),
        (f"budget {BUDGET} of AWS Account is spent", TOPIC, "and says none"),
        ("", TOPIC, "and says none"),
    ],
    ids=["other-topic", "other-budget", "name-begins-so", "other-account", "forecast", "no-alert", "empty"],
)
def test_nothing_else_stops_anything(message: str, topic: str, why: str) -> None:
    with pytest.raises(NotOurs, match=why):
        alert(message, topic)


class Cloud:
    """As much of SageMaker and SNS as the function calls."""

    def __init__(self) -> None:
        self.status = {"sagestack-dev-explore": "InService", "sagestack-dev-lab": "Stopped"}
        self.tags: dict[str, dict[str, str]] = {}
        self.apps: list[dict[str, Any]] = []
        self.failing: dict[str, Exception] = {}
        self.ended: list[dict[str, Any]] = []
        self.published: list[dict[str, str]] = []

    def _fail(self, operation: str, name: str) -> None:
        if error := self.failing.get(f"{operation} {name}"):
            raise error

    def describe_notebook_instance(self, NotebookInstanceName: str) -> dict[str, str]:  # noqa: N803
        self._fail("describe", NotebookInstanceName)
        if NotebookInstanceName not in self.status:
            raise refusal("ValidationException", "RecordNotFound")
        return {
            "NotebookInstanceStatus": self.status[NotebookInstanceName],
            "NotebookInstanceArn": arn(NotebookInstanceName),
        }

    def stop_notebook_instance(self, NotebookInstanceName: str) -> None:  # noqa: N803
        self._fail("stop", NotebookInstanceName)
        self.status[NotebookInstanceName] = "Stopping"

    def describe_space(self, DomainId: str, SpaceName: str) -> dict[str, str]:  # noqa: N803
        return {"SpaceArn": f"arn:space/{DomainId}/{SpaceName}"}

    def delete_app(self, **app: Any) -> None:
        self._fail("end", app.get("SpaceName", ""))
        self.ended.append(app)

    def add_tags(self, ResourceArn: str, Tags: list[dict[str, str]]) -> None:  # noqa: N803
        self._fail("tag", ResourceArn)
        self.tags.setdefault(ResourceArn, {}).update({tag["Key"]: tag["Value"] for tag in Tags})

    def delete_tags(self, ResourceArn: str, TagKeys: list[str]) -> None:  # noqa: N803
        for key in TagKeys:
            self.tags.get(ResourceArn, {}).pop(key, None)

    def get_paginator(self, operation: str) -> Any:
        cloud = self

        class Paginator:
            def paginate(self, **request: Any) -> list[dict[str, Any]]:
                cloud._fail(operation, "")
                if operation == "list_apps":
                    return [{"Apps": cloud.apps}]
                tags = cloud.tags.get(request["ResourceArn"], {})
                return [{"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}]

        return Paginator()

    def publish(self, **message: str) -> None:
        self.published.append(message)


def arn(name: str) -> str:
    return f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:notebook-instance/{name}"


def refusal(code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "Operation")


def stopped(cloud: Cloud, *names: str) -> Outcome:
    outcome = Outcome()
    stop_notebooks(cloud, names or list(cloud.status), outcome)
    return outcome


def test_what_runs_is_stopped_and_what_is_stopped_is_left() -> None:
    outcome = stopped(cloud := Cloud())
    assert outcome == Outcome(stopped=["notebook instance sagestack-dev-explore"])
    assert cloud.status == {"sagestack-dev-explore": "Stopping", "sagestack-dev-lab": "Stopped"}
    assert stopped(cloud) == Outcome()


def test_what_must_run_is_tagged_so_and_runs_on() -> None:
    cloud = Cloud()
    cloud.tags[arn("sagestack-dev-explore")] = {"sagestack:keep": "TRUE"}
    assert stopped(cloud) == Outcome(kept=["notebook instance sagestack-dev-explore"])
    assert cloud.status["sagestack-dev-explore"] == "InService"


@pytest.mark.parametrize("status", ["Pending", "Updating"])
def test_what_is_just_starting_is_said_to_run_still(status: str) -> None:
    cloud = Cloud()
    cloud.status["sagestack-dev-explore"] = status
    assert f"it is {status}" in stopped(cloud).not_stopped["notebook instance sagestack-dev-explore"]


@pytest.mark.parametrize(
    ("operation", "error", "is_left"),
    [
        ("stop", refusal("ValidationException", "Status (Stopping) not in ([InService])."), False),
        ("describe", refusal("ValidationException", "RecordNotFound"), False),
        ("stop", refusal("AccessDeniedException", "no"), True),
        ("describe", refusal("ThrottlingException", "later"), True),
        ("stop", EndpointConnectionError(endpoint_url="https://sagemaker"), True),
    ],
    ids=["somebody-was-quicker", "deleted", "denied", "throttled", "not-reached"],
)
def test_one_that_cannot_be_stopped_keeps_no_other_running(operation: str, error: Exception, is_left: bool) -> None:
    cloud = Cloud()
    cloud.status["sagestack-dev-lab"] = "InService"
    cloud.failing[f"{operation} sagestack-dev-explore"] = error
    outcome = stopped(cloud)
    assert outcome.stopped == ["notebook instance sagestack-dev-lab"]
    assert list(outcome.not_stopped) == (["notebook instance sagestack-dev-explore"] if is_left else [])


def test_running_studio_applications_end_and_their_spaces_stay() -> None:
    cloud = Cloud()
    app = {"AppName": "default", "Status": "InService", "AppType": "JupyterLab"}
    cloud.apps = [
        {**app, "SpaceName": "a"},
        {**app, "SpaceName": "kept"},
        {**app, "SpaceName": "b", "Status": "Pending"},
        {**app, "SpaceName": "c", "Status": "Deleted"},
        {**app, "UserProfileName": "ada", "AppType": "JupyterServer"},
        {**app, "UserProfileName": "grace", "AppType": "Canvas"},
    ]
    cloud.tags["arn:space/d-1/kept"] = {"sagestack:keep": "true"}
    end_apps(cloud, "d-1", outcome := Outcome())
    assert outcome == Outcome(
        stopped=["Studio application JupyterLab of a", "Studio application Canvas of grace"],
        kept=["Studio application JupyterLab of kept"],
        not_stopped={"Studio application JupyterLab of b": "it is starting"},
    )
    assert cloud.ended[0] == {"DomainId": "d-1", "AppType": "JupyterLab", "AppName": "default", "SpaceName": "a"}


def test_a_domain_that_cannot_be_looked_at_is_said() -> None:
    cloud = Cloud()
    cloud.failing["list_apps "] = refusal("AccessDeniedException", "no")
    end_apps(cloud, "d-1", outcome := Outcome())
    assert list(outcome.not_stopped) == ["applications of the Studio domain d-1"]


def test_an_instance_that_is_gone_needs_no_mark() -> None:
    cloud = Cloud()
    # All that the operations for tags say of what is not there, as of a bad request.
    for name in ("sagestack-dev-gone", "sagestack-dev-lab"):
        cloud.failing[f"tag {arn(name)}"] = refusal("ValidationException", "")
    assert set(mark_spent(cloud, [arn("sagestack-dev-gone"), arn("sagestack-dev-lab")], "2026-11")) == {
        "sagestack-dev-lab"
    }


def test_instances_are_marked_for_the_month_and_released_again() -> None:
    cloud = Cloud()
    explore, lab = arn("sagestack-dev-explore"), arn("sagestack-dev-lab")
    cloud.tags[lab] = {"sagestack:keep": "true"}
    assert mark_spent(cloud, [explore, lab], "2026-11") == {}
    assert cloud.tags == {explore: {"sagestack:budget-spent": "2026-11"}, lab: {"sagestack:keep": "true"}}
    assert mark_spent(cloud, [explore, lab], None) == {}
    assert cloud.tags == {explore: {}, lab: {"sagestack:keep": "true"}}


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    cloud = Cloud()
    monkeypatch.setattr(boto3, "client", lambda _service: cloud)
    for name, value in {
        "ENVIRONMENT": "dev", "NOTEBOOKS": json.dumps(list(cloud.status)), "NOTEBOOK_ARN_PREFIX": arn(""), "ACCOUNT": ACCOUNT,
        "KEEPS_STOPPED": "true", "BUDGET_TOPIC_ARN": TOPIC, "NOTICE_TOPIC_ARN": "arn:notices", "BUDGET_NAME": BUDGET,
        "AWS_LAMBDA_FUNCTION_NAME": "sagestack-dev-stop",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    return cloud


def event(message: str = MESSAGE) -> dict[str, Any]:
    return {"Records": [{"EventSource": "aws:sns", "Sns": {"TopicArn": TOPIC, "Message": message}}]}


def test_a_spent_budget_stops_marks_and_tells(cloud: Cloud) -> None:
    assert handler.handler(event(), None)["outcome"] == "stopped"
    assert cloud.status["sagestack-dev-explore"] == "Stopping"
    assert all("sagestack:budget-spent" in tags for tags in cloud.tags.values())
    assert len(cloud.tags) == 2
    (mail,) = cloud.published
    assert (mail["TopicArn"], mail["Subject"]) == ("arn:notices", "Sagestack: the budget of dev is spent")
    assert mail["Message"].startswith("$212.40 is spent this month (> $200.00), so what ran in dev was stopped.")
    assert "  - notebook instance sagestack-dev-explore" in mail["Message"]
    assert "aws lambda invoke --function-name sagestack-dev-stop" in mail["Message"]


def test_the_same_message_again_stops_nothing_more(cloud: Cloud) -> None:
    handler.handler(event(), None)
    again = handler.handler(event(), None)
    assert (again["stopped"], again["not_stopped"]) == ([], {})
    assert "nothing was running" in cloud.published[1]["Message"]


def test_what_could_not_be_stopped_fails_the_call_so_that_lambda_repeats_it(cloud: Cloud) -> None:
    cloud.status["sagestack-dev-lab"] = "Pending"
    with pytest.raises(handler.NotAllStopped, match="notebook instance sagestack-dev-lab: it is Pending"):
        handler.handler(event(), None)
    assert cloud.status["sagestack-dev-explore"] == "Stopping"
    assert "tried again in a minute:\n  - notebook instance sagestack-dev-lab" in cloud.published[0]["Message"]
    cloud.status["sagestack-dev-lab"] = "InService"
    assert handler.handler(event(), None)["stopped"] == ["notebook instance sagestack-dev-lab"]


class Context:
    """What Lambda says of a call that has this many seconds left."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return round(self.seconds * 1000)


def test_what_is_starting_is_waited_for_and_stopped(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    context, looks = Context(600), 0

    def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        context.seconds -= seconds
        cloud.status["sagestack-dev-lab"] = "InService" if looks == 15 else "Pending"

    monkeypatch.setattr(time, "sleep", sleep)
    cloud.status["sagestack-dev-lab"] = "Pending"
    said = handler.handler(event(), context)
    assert said["stopped"] == ["notebook instance sagestack-dev-explore", "notebook instance sagestack-dev-lab"]
    assert said["not_stopped"] == {}
    cloud.status["sagestack-dev-lab"], looks = "Pending", 15
    with pytest.raises(handler.NotAllStopped, match="it is Pending"):
        handler.handler(event(), context)
    assert context.seconds > 60, "there is time left to tell people"


def test_an_instance_that_could_not_be_marked_is_stopped_all_the_same(cloud: Cloud) -> None:
    cloud.failing[f"tag {arn('sagestack-dev-explore')}"] = refusal("AccessDeniedException", "no tags for you")
    with pytest.raises(handler.NotAllStopped, match=r"mark of sagestack-dev-explore.*no tags for you"):
        handler.handler(event(), None)
    assert cloud.status["sagestack-dev-explore"] == "Stopping"


def test_without_keeps_stopped_nothing_is_marked(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEPS_STOPPED", "false")
    handler.handler(event(), None)
    assert cloud.tags == {}
    assert "Whoever needs one may start it again" in cloud.published[0]["Message"]


def test_a_message_that_is_not_believed_changes_nothing(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    assert handler.handler(event("Alert Type: ACTUAL"), None) == {"outcome": "ignored"}
    assert handler.handler({}, None) == {"outcome": "ignored"}
    assert (cloud.status["sagestack-dev-explore"], cloud.published) == ("InService", [])
    assert "Ignored a message: it should say AWS Account" in capsys.readouterr().out


def test_when_the_month_is_over_instances_may_be_started_again(cloud: Cloud) -> None:
    handler.handler(event(), None)
    assert handler.handler({"release": True}, None)["outcome"] == "released"
    assert all(tags == {} for tags in cloud.tags.values())


def budget_resource() -> dict[str, Any]:
    (properties,) = cost_stack.resources("AWS::Budgets::Budget").values()
    return properties


def test_the_budget_counts_the_workbench_and_warns_before_it_stops() -> None:
    budget = budget_resource()["Budget"]
    assert budget["BudgetLimit"] == {"Amount": 200, "Unit": "USD"}
    assert budget["CostFilters"] == {"TagKeyValue": ["user:sagestack:workbench$dev"]}
    # Credits make nothing free that runs.
    assert budget["CostTypes"] == {"IncludeCredit": False, "IncludeRefund": False}
    told = [
        (each["Notification"]["NotificationType"], each["Notification"]["Threshold"], len(each["Subscribers"]))
        for each in budget_resource()["NotificationsWithSubscribers"]
    ]
    assert told == [("ACTUAL", 50, 1), ("ACTUAL", 80, 1), ("FORECASTED", 100, 1), ("ACTUAL", 100, 2)]


def test_all_of_the_stack_carries_the_tag_that_is_counted_by() -> None:
    for kind in ("AWS::Lambda::Function", "AWS::SNS::Topic", "AWS::IAM::Role"):
        for properties in cost_stack.resources(kind).values():
            assert {"Key": "sagestack:workbench", "Value": "dev"} in properties["Tags"]


def test_only_aws_budgets_of_this_account_is_let_to_speak() -> None:
    expected = {
        "StringEquals": {"aws:SourceAccount": ACCOUNT},
        "ArnLike": {"aws:SourceArn": f"arn:aws:budgets::{ACCOUNT}:*"},
    }
    (policy,) = cost_stack.resources("AWS::SNS::TopicPolicy", "BudgetStopTopic").values()
    (speaks,) = (each for each in policy["PolicyDocument"]["Statement"] if each["Effect"] == "Allow")
    assert (speaks["Principal"], speaks["Condition"]) == ({"Service": "budgets.amazonaws.com"}, expected)
    (key,) = cost_stack.built()[1].find_resources("AWS::KMS::Key").values()
    statements = key["Properties"]["KeyPolicy"]["Statement"]
    (encrypts,) = (each for each in statements if each["Principal"] == {"Service": "budgets.amazonaws.com"})
    assert (encrypts["Action"], encrypts["Condition"]) == (["kms:Decrypt", "kms:GenerateDataKey*"], expected)


def test_the_function_may_stop_and_mark_its_own_notebooks_and_no_others() -> None:
    statements = cost_stack.statements("BudgetStopFunction")
    by_action = {
        action: statement
        for statement in statements
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    own = [arn(f"sagestack-dev-{name}") for name in cost_stack.NOTEBOOKS]
    assert by_action["sagemaker:StopNotebookInstance"]["Resource"] == own
    assert by_action["sagemaker:AddTags"]["Resource"] == own
    assert by_action["sagemaker:AddTags"]["Condition"] == {
        "ForAllValues:StringEquals": {"aws:TagKeys": ["sagestack:budget-spent"]}
    }
    assert not [
        action
        for action in by_action
        if "Delete" in action and action not in ("sagemaker:DeleteApp", "sagemaker:DeleteTags")
    ]


def test_a_month_that_begins_releases_and_a_stop_that_fails_is_mailed() -> None:
    (release,) = cost_stack.resources("AWS::Scheduler::Schedule", "BudgetStopRelease").values()
    assert (release["ScheduleExpression"], release["ScheduleExpressionTimezone"]) == ("cron(5 0 1 * ? *)", "UTC")
    ((notices, _),) = cost_stack.resources("AWS::SNS::Topic", "BudgetStopNotices").items()
    (config,) = cost_stack.resources("AWS::Lambda::EventInvokeConfig", "BudgetStop").values()
    assert config["DestinationConfig"]["OnFailure"]["Destination"] == {"Ref": notices}
    assert config["MaximumRetryAttempts"] == 2


def test_people_are_denied_what_the_mark_is_on() -> None:
    assert deny_starts(["arn:a"]).to_statement_json() == {
        "Sid": "BudgetIsSpent",
        "Effect": "Deny",
        "Action": "sagemaker:StartNotebookInstance",
        "Resource": "arn:a",
        "Condition": {"Null": {"aws:ResourceTag/sagestack:budget-spent": "false"}},
    }


def made(**settings: Any) -> Template:
    stack = cdk.Stack(
        cdk.App(analytics_reporting=False), "Stack", env=cdk.Environment(account=ACCOUNT, region="us-east-1")
    )
    NotebookBudget(
        stack,
        "Budget",
        names=cost_stack.NAMES,
        budget=workbench.Budget(monthly_usd=200, emails=["ada@example.org"], **settings),
        tags={"environment": "dev", "project": "churn"},
        notebooks=["explore"],
        encryption_key=kms.Key(stack, "Key", enable_key_rotation=True),
    )
    return Template.from_stack(stack)


def test_a_budget_that_stops_nothing_has_no_function_and_changed_notifications_make_a_new_budget() -> None:
    names = set()
    for settings, filters in (
        ({"stop_at_percent": None, "counts": "sagemaker"}, {"Service": ["Amazon SageMaker"]}),
        (
            {"stop_at_percent": None, "counts": "tag:project", "warn_at_percent": [90]},
            {"TagKeyValue": ["user:project$churn"]},
        ),
    ):
        template = made(**settings)
        template.resource_count_is("AWS::Lambda::Function", 0)
        (budget,) = template.find_resources("AWS::Budgets::Budget").values()
        assert budget["Properties"]["Budget"]["CostFilters"] == filters
        names.add(budget["Properties"]["Budget"]["BudgetName"])
    assert len(names) == 2


def test_a_tag_that_the_environment_does_not_have_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"'tag:team' is no tag of the environment \(allowed: tag:environment, tag:project, workbench"
    ):
        made(counts="tag:team")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"warn_at_percent": [50, 120]}, "120 would warn when everything has been stopped already at 100"),
        ({"warn_at_percent": [100]}, "100 would warn when everything has been stopped already at 100"),
        ({"warn_at_percent": [80, 50]}, "must rise"),
        ({"warn_at_percent": [50, 50]}, "must rise"),
        ({"warn_at_percent": [0, 50]}, "greater than or equal to 1"),
        ({"emails": []}, "at least 1 item"),
        ({"emails": ["nobody"]}, "'nobody' is no address of a mailbox"),
        ({"monthly_usd": 0}, "greater than or equal to 1"),
        ({"monthly_usd": float("inf")}, "finite number"),
        ({"counts": "everything"}, "'everything' is nothing that can be counted"),
        ({"warn_at_percent": [], "forecast_at_percent": None, "stop_at_percent": None}, "neither warns nor stops"),
    ],
    ids=[
        "above",
        "same",
        "falls",
        "twice",
        "zero",
        "nobody",
        "no-address",
        "free",
        "endless",
        "counts",
        "does-nothing",
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        workbench.Budget(**{"monthly_usd": 200, "emails": ["ada@example.org"], **settings})
