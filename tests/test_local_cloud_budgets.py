"""Budgets in the local cloud: stacks make them, nothing is ever spent, and who says that it is stops the notebooks."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from botocore.exceptions import ClientError
from sagestack import settings
from sagestack.settings import workbench

from functions.idle_report.looking import Workbench, look
from functions.notebook_stop.stopping import Outcome, end_apps
from local_cloud.budgets.properties import BadBudget, budget_of, notifications_of
from tests import cost_stack
from tests.hosted_images import BUCKET
from tests.local_cloud_fixtures import LocalCloud
from tests.stack_deployer import StackDeployer, synthesizer
from tests.synthesis import flags
from tests.waiting import wait_for

NAMES = settings.EnvironmentNames("cost")
NOTEBOOK = NAMES.notebook_instance("explore")
NOTEBOOKS = {"explore": workbench.Notebook(instance_type="ml.t3.medium", hours=cost_stack.HOURS)}
ACCOUNT = "000000000000"


def properties(**changes: Any) -> dict[str, Any]:
    return {
        "Budget": {
            "BudgetType": "COST",
            "TimeUnit": "MONTHLY",
            "BudgetLimit": {"Amount": 200, "Unit": "USD"},
            **changes,
        },
        "NotificationsWithSubscribers": [
            {
                "Notification": {"NotificationType": "ACTUAL", "ComparisonOperator": "GREATER_THAN", "Threshold": "80"},
                "Subscribers": [{"SubscriptionType": "EMAIL", "Address": "ada@example.org"}],
            }
        ],
    }


def test_amounts_are_text_in_the_api_and_a_budget_without_a_name_gets_one() -> None:
    assert budget_of(properties(), "stack-Budget")["BudgetLimit"] == {"Amount": "200", "Unit": "USD"}
    assert budget_of(properties(), "stack-Budget")["BudgetName"] == "stack-Budget"
    assert budget_of(properties(BudgetName="mine"), "stack-Budget")["BudgetName"] == "mine"
    (notification,) = notifications_of(properties(), ACCOUNT)
    assert notification["Notification"]["Threshold"] == 80.0


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"BudgetType": "SAVINGS_PLANS_COVERAGE"},
            "has budgets of type COST and USAGE, and not SAVINGS_PLANS_COVERAGE",
        ),
        ({"BudgetLimit": None, "PlannedBudgetLimits": {}}, "none that is planned or adjusts itself"),
    ],
    ids=["type", "planned"],
)
def test_what_is_not_emulated_is_refused_by_name(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(BadBudget, match=why):
        budget_of(properties(**changes), "name")


@pytest.mark.parametrize(
    ("subscribers", "why"),
    [
        ([("SNS", f"arn:aws:sns:us-east-1:{ACCOUNT}:{name}") for name in "ab"], "at most 1 topic and 10 addresses"),
        ([("EMAIL", f"{name}@example.org") for name in "abcdefghijk"], "at most 1 topic and 10 addresses"),
        ([("SNS", "arn:aws:sns:us-east-1:111111111111:a")], "is no topic of account 000000000000"),
    ],
    ids=["two-topics", "eleven-mails", "elsewhere"],
)
def test_subscribers_that_aws_refuses_are_refused(subscribers: list[tuple[str, str]], why: str) -> None:
    said = properties()
    said["NotificationsWithSubscribers"][0]["Subscribers"] = [
        {"SubscriptionType": kind, "Address": address} for kind, address in subscribers
    ]
    with pytest.raises(BadBudget, match=why):
        notifications_of(said, ACCOUNT)


class Deployed:
    """The stack that keeps cost down, deployed, and a notebook instance that it is about."""

    def __init__(self, cloud: LocalCloud, folder: Path) -> None:
        self.cloud = cloud
        self.sagemaker, self.scheduler, self.sns, self.sqs = (
            cloud.client(name) for name in ("sagemaker", "scheduler", "sns", "sqs")
        )
        cloud.client("s3").create_bucket(Bucket=BUCKET)
        self.stack = StackDeployer(cloud, NAMES.workbench_stack)

        def make(app: cdk.App) -> None:
            for key, value in flags().items():
                app.node.set_context(key, value)
            cost_stack.CostStack(
                app,
                names=NAMES,
                notebooks=NOTEBOOKS,
                studio_domain_id=None,
                synthesizer=synthesizer(),
                env=cdk.Environment(account=cloud.account, region=cloud.region),
            )

        self.template = self.stack.synthesize(folder, make)
        role = cloud.role("notebook", {"Action": "s3:ListBucket", "Resource": "*"})
        self.sagemaker.create_notebook_instance(
            NotebookInstanceName=NOTEBOOK, InstanceType="ml.t3.medium", RoleArn=role
        )

    def status(self) -> str:
        return str(self.sagemaker.describe_notebook_instance(NotebookInstanceName=NOTEBOOK)["NotebookInstanceStatus"])

    def becomes(self, status: str) -> None:
        wait_for(lambda: self.status() == status, 60, f"the instance did not become {status}")

    def marks(self) -> dict[str, str]:
        arn = f"arn:aws:sagemaker:{self.cloud.region}:{self.cloud.account}:notebook-instance/{NOTEBOOK}"
        return {tag["Key"]: tag["Value"] for tag in self.sagemaker.list_tags(ResourceArn=arn)["Tags"]}

    def hours(self, direction: str, expression: str) -> dict[str, Any]:
        """Changes when a schedule of the stack is due, and nothing else of it; what it was."""
        group = NAMES.workbench_stack
        (name,) = (
            each["Name"]
            for each in self.scheduler.list_schedules(GroupName=group)["Schedules"]
            if f"{direction.title()}s the notebook"
            in self.scheduler.get_schedule(Name=each["Name"], GroupName=group)["Description"]
        )
        found = self.scheduler.get_schedule(Name=name, GroupName=group)
        kept = {
            key: found[key]
            for key in ("Name", "GroupName", "Target", "FlexibleTimeWindow", "ScheduleExpressionTimezone")
        }
        self.scheduler.update_schedule(**kept, Description=found["Description"], ScheduleExpression=expression)
        return dict(found)

    def budget(self) -> dict[str, Any]:
        budgets = self.cloud.client("budgets").describe_budgets(AccountId=self.cloud.account)["Budgets"]
        (found,) = (each for each in budgets if each["BudgetName"].startswith(NAMES.workbench_stack))
        return dict(found)

    def topic(self, logical_id: str) -> str:
        """A topic of the stack, found as the document tells people to find it."""
        pages = self.stack.cloudformation.get_paginator("list_stack_resources").paginate(StackName=self.stack.name)
        (found,) = (
            each["PhysicalResourceId"]
            for page in pages
            for each in page["StackResourceSummaries"]
            if each["ResourceType"] == "AWS::SNS::Topic" and each["LogicalResourceId"].startswith(logical_id)
        )
        return str(found)

    def say(self, alert_type: str = "ACTUAL") -> None:
        """What AWS Budgets would say, said by hand."""
        message = (
            f"AWS Account {self.cloud.account}\n\nBudget Name: {self.budget()['BudgetName']}\nAlert Type: {alert_type}\n"
            "Alert Threshold: > $200.00\nACTUAL Amount: $212.40\n"
        )
        self.sns.publish(TopicArn=self.topic("BudgetStopTopic"), Message=message)

    def idle_report(self) -> dict[str, Any]:
        """What the report's function says when it is asked now."""
        functions = self.cloud.client("lambda")
        prefix = f"{NAMES.workbench_stack}-IdleReport"
        (name,) = (
            each["FunctionName"]
            for each in functions.list_functions()["Functions"]
            if each["FunctionName"].startswith(prefix)
        )
        return dict(json.load(functions.invoke(FunctionName=name)["Payload"]))

    def listen(self) -> str:
        """A queue that hears what is mailed."""
        queue = self.sqs.create_queue(QueueName="cost-notices")["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        lets_in = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
        }
        policy = {"Version": "2012-10-17", "Statement": [lets_in]}
        self.sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(policy)})
        self.sns.subscribe(TopicArn=self.topic("BudgetStopNotices"), Protocol="sqs", Endpoint=arn)
        return str(queue)

    def heard(self, queue: str) -> str:
        """The next message on the queue."""
        (message,) = wait_for(
            lambda: self.sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages"),
            what="nothing was mailed",
        )
        self.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return str(json.loads(message["Body"])["Message"])


@pytest.fixture(scope="module")
def deployed(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    deployed = Deployed(cloud, tmp_path_factory.mktemp("cdk.out"))
    assert deployed.stack.deploy(deployed.template) == "CREATE_COMPLETE", deployed.stack.failures()
    deployed.becomes("InService")
    yield deployed
    if deployed.status() == "InService":
        deployed.sagemaker.stop_notebook_instance(NotebookInstanceName=NOTEBOOK)
    deployed.becomes("Stopped")
    deployed.sagemaker.delete_notebook_instance(NotebookInstanceName=NOTEBOOK)


@pytest.mark.notebook
def test_notebooks_stop_at_their_hours_and_when_the_money_is_spent(deployed: Deployed) -> None:
    budget = deployed.budget()
    assert budget["BudgetLimit"] == {"Amount": "200", "Unit": "USD"}
    assert budget["CalculatedSpend"]["ActualSpend"]["Amount"] == "0"

    # The hour of the stop comes: the deployed schedule, with its own role and target.
    before = deployed.hours("stop", "rate(1 minute)")
    assert (before["ScheduleExpression"], before["ScheduleExpressionTimezone"]) == (
        "cron(0 19 ? * * *)",
        "Europe/Berlin",
    )
    deployed.becomes("Stopped")
    deployed.hours("stop", before["ScheduleExpression"])

    # And the hour of the start.
    before = deployed.hours("start", "rate(1 minute)")
    deployed.becomes("InService")
    deployed.hours("start", before["ScheduleExpression"])

    # A forecast stops nothing, and neither does what is no alert at all.
    queue = deployed.listen()
    deployed.say("FORECASTED")
    deployed.sns.publish(TopicArn=deployed.topic("BudgetStopTopic"), Message="hello")
    deployed.say("ACTUAL")
    mail = deployed.heard(queue)
    assert mail.startswith("$212.40 is spent this month (> $200.00), so what ran in cost was stopped.")
    assert f"  - notebook instance {NOTEBOOK}\n" in mail
    deployed.becomes("Stopped")
    assert "sagestack:budget-spent" in deployed.marks()

    # The next morning starts nothing.
    deployed.hours("start", "rate(1 minute)")
    refused = "not authorized to perform: sagemaker:StartNotebookInstance"
    wait_for(lambda: refused in deployed.cloud.log(), what="the start of what is marked was not refused")
    assert deployed.status() == "Stopped"

    # An operator lifts it, as the mail says.
    function = mail.split("--function-name ")[1].split()[0]
    deployed.cloud.client("lambda").invoke(FunctionName=function, Payload=b'{"release": true}')
    assert "sagestack:budget-spent" not in deployed.marks()
    deployed.becomes("InService")

    # The report sees it, and has nothing to say: its hours stop it.
    assert deployed.idle_report() == {"running": 1, "not_seen": [], "mailed": None}

    deployed.stack.delete()
    left = deployed.cloud.client("budgets").describe_budgets(AccountId=deployed.cloud.account).get("Budgets", [])
    assert not [each for each in left if each["BudgetName"].startswith(NAMES.workbench_stack)]
    groups = deployed.scheduler.list_schedule_groups()["ScheduleGroups"]
    assert NAMES.workbench_stack not in [each["Name"] for each in groups]


@pytest.mark.long
def test_running_studio_applications_are_seen_and_ended_and_what_must_run_runs_on(cloud: LocalCloud) -> None:
    sagemaker, ec2 = cloud.client("sagemaker"), cloud.client("ec2")
    role = cloud.role("studio-costs", {"Action": "s3:ListBucket", "Resource": "*"})
    vpc = ec2.create_vpc(CidrBlock="10.77.0.0/24")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.77.0.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="studio-costs", Description="d", VpcId=vpc)["GroupId"]
    domain = sagemaker.create_domain(
        DomainName="costs",
        AuthMode="IAM",
        VpcId=vpc,
        SubnetIds=[subnet],
        AppNetworkAccessType="VpcOnly",
        DefaultUserSettings={"ExecutionRole": role, "SecurityGroups": [group]},
    )["DomainArn"].rsplit("/", 1)[-1]

    def in_service(describe: Callable[..., dict[str, Any]], **request: str) -> None:
        wait_for(lambda: describe(**request)["Status"] == "InService", what=f"{request} did not become InService")

    in_service(sagemaker.describe_domain, DomainId=domain)
    place = {"DomainId": domain, "UserProfileName": "ada"}
    sagemaker.create_user_profile(**place)
    in_service(sagemaker.describe_user_profile, **place)
    for name, tags in (("lab", []), ("kept", [{"Key": "sagestack:keep", "Value": "true"}])):
        space = {"DomainId": domain, "SpaceName": name}
        sagemaker.create_space(
            **space,
            OwnershipSettings={"OwnerUserProfileName": "ada"},
            SpaceSharingSettings={"SharingType": "Private"},
            SpaceSettings={"AppType": "JupyterLab"},
            Tags=tags,
        )
        in_service(sagemaker.describe_space, **space)
        sagemaker.create_app(**space, AppType="JupyterLab", AppName="default")

    def apps() -> dict[str, str]:
        return {each["SpaceName"]: each["Status"] for each in sagemaker.list_apps(DomainIdEquals=domain)["Apps"]}

    wait_for(lambda: apps() == {"lab": "InService", "kept": "InService"}, what="the applications did not start")
    seen = look(
        sagemaker,
        cloud.client("cloudwatch"),
        Workbench("nothing-else", cloud.region, "nothing-else-", {}, domain),
        datetime.datetime.now(datetime.UTC),
    )
    assert seen.not_seen == []
    assert {(each.name, each.owner, each.is_kept) for each in seen.running} == {
        ("JupyterLab of lab", "ada", False),
        ("JupyterLab of kept", "ada", True),
    }

    end_apps(sagemaker, domain, outcome := Outcome())
    assert outcome == Outcome(
        stopped=["Studio application JupyterLab of lab"], kept=["Studio application JupyterLab of kept"]
    )
    wait_for(lambda: apps()["lab"] == "Deleted", what="the application did not end")
    assert apps()["kept"] == "InService"
    assert sagemaker.describe_space(DomainId=domain, SpaceName="lab")["Status"] == "InService"


@pytest.mark.long
def test_a_budget_action_is_refused_by_name(cloud: LocalCloud) -> None:
    template = {"Resources": {"Action": {"Type": "AWS::Budgets::BudgetsAction", "Properties": {}}}}
    stack = StackDeployer(cloud, "budget-action")
    try:
        assert stack.deploy(json.dumps(template)) != "CREATE_COMPLETE"
    except ClientError as error:
        assert "AWS::Budgets::BudgetsAction" in str(error)  # noqa: PT017
    else:
        assert "AWS::Budgets::BudgetsAction" in " ".join(stack.failures())
