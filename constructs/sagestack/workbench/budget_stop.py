"""Stops notebook instances and Studio applications when AWS Budgets says that the month's money is spent."""

from __future__ import annotations

import json
from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions

from constructs import Construct
from sagestack.functions import Function
from sagestack.settings import EnvironmentNames
from sagestack.settings.workbench import Budget
from sagestack.wildcards import acknowledge_wildcards
from sagestack.workbench.cost_tags import SPENT_TAG
from sagestack.workbench.schedule_group import ScheduleGroup, cron

_MONTH_BEGINS = "cron(5 0 1 * ? *)"
"""In UTC, in which AWS counts months. https://docs.aws.amazon.com/cost-management/latest/userguide/budgets-best-practices.html"""


class BudgetStop(Construct):
    """The topic that AWS Budgets speaks on, and the function that listens.

    Nothing is deleted but running Studio applications, whose spaces stay. What is tagged `sagestack:keep=true` runs on. What
    could not be stopped is tried again twice, and then told to the people of the budget.

    Attributes:
        topic: that AWS Budgets alone publishes to, and people who may publish in this account.
        notices: mails what was stopped, and what could not be.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        names: EnvironmentNames,
        budget: Budget,
        notebooks: Sequence[str],
        encryption_key: kms.IKey,
        studio_domain_id: str | None,
    ) -> None:
        """Makes the topics and the function; `listen` connects them.

        Args:
            names: of the environment.
            budget: who is told, and whether what was stopped stays so.
            notebooks: the short names of the instances that it stops; no others of the account.
            encryption_key: of both topics.
            studio_domain_id: whose applications it ends; None for none.
        """
        super().__init__(scope, id)
        environment = names.environment
        self._keeps_stopped = budget.keeps_stopped
        self.topic, self.notices = (
            sns.Topic(self, kind, master_key=encryption_key, enforce_ssl=True, display_name=f"{what} of {environment}")
            for kind, what in (("Topic", "Budget"), ("Notices", "Stopped notebooks"))
        )
        for email in budget.emails:
            self.notices.add_subscription(subscriptions.EmailSubscription(email))
        self._let_budgets_speak(encryption_key)
        self._instances = [names.notebook_instance(name) for name in notebooks]
        self._function = Function(
            self,
            "Function",
            package="notebook_stop",
            description=f"Stops the notebooks of {environment} when their budget is spent",
            timeout=cdk.Duration.minutes(10),
            environment={
                "ENVIRONMENT": environment,
                "NOTEBOOKS": json.dumps(self._instances, separators=(",", ":")),
                "NOTEBOOK_ARN_PREFIX": self._arn("notebook-instance", ""),
                "KEEPS_STOPPED": str(budget.keeps_stopped).lower(),
                "ACCOUNT": cdk.Stack.of(self).account,
                "BUDGET_TOPIC_ARN": self.topic.topic_arn,
                "NOTICE_TOPIC_ARN": self.notices.topic_arn,
                **({"STUDIO_DOMAIN_ID": studio_domain_id} if studio_domain_id else {}),
            },
        )
        self._function.configure_async_invoke(
            retry_attempts=2,
            max_event_age=cdk.Duration.hours(6),
            on_failure=destinations.SnsDestination(self.notices),
        )
        self.notices.grant_publish(self._function)
        self._grant_stop(studio_domain_id)
        if self._keeps_stopped and self._instances:
            ScheduleGroup.of(self, names).call(
                self,
                "Release",
                function=self._function,
                payload={"release": True},
                schedule=cron(_MONTH_BEGINS, "UTC"),
                description=f"Lets the notebooks of {environment} be started again when a month begins",
            )

    def listen(self, *, budget_name: str) -> None:
        """Has the function hear the topic, and believe what is about this budget.

        Args:
            budget_name: of the one budget.
        """
        self._function.add_environment("BUDGET_NAME", budget_name)
        self.topic.add_subscription(subscriptions.LambdaSubscription(self._function))

    def grant_release(self, grantee: iam.IGrantable) -> None:
        """Lets somebody lift the stop before the month ends: operators.

        They may so call the function with any event; what it stops is what the budget would stop.
        """
        iam.Grant.add_to_principal(
            grantee=grantee, actions=["lambda:InvokeFunction"], resource_arns=[self._function.function_arn]
        )

    def _let_budgets_speak(self, encryption_key: kms.IKey) -> None:
        # https://docs.aws.amazon.com/cost-management/latest/userguide/budgets-sns-policy.html
        stack = cdk.Stack.of(self)
        service = iam.ServicePrincipal("budgets.amazonaws.com")
        of_this_account = {
            "StringEquals": {"aws:SourceAccount": stack.account},
            "ArnLike": {
                "aws:SourceArn": stack.format_arn(
                    service="budgets", region="", resource="*", arn_format=cdk.ArnFormat.NO_RESOURCE_NAME
                )
            },
        }
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["sns:Publish"],
                principals=[service],
                resources=[self.topic.topic_arn],
                conditions=of_this_account,
            )
        )
        # Without it the budget's message cannot be encrypted, and nobody hears that it is not.
        encryption_key.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["kms:Decrypt", "kms:GenerateDataKey*"],
                principals=[service],
                resources=["*"],  # of a key's policy: the key
                conditions=of_this_account,
            )
        )

    def _grant_stop(self, studio_domain_id: str | None) -> None:
        if self._instances:
            arns = [self._arn("notebook-instance", name) for name in self._instances]
            self._function.add_to_role_policy(
                iam.PolicyStatement(
                    actions=[
                        "sagemaker:DescribeNotebookInstance",
                        "sagemaker:ListTags",
                        "sagemaker:StopNotebookInstance",
                    ],
                    resources=arns,
                )
            )
            if self._keeps_stopped:
                self._function.add_to_role_policy(
                    iam.PolicyStatement(
                        actions=["sagemaker:AddTags", "sagemaker:DeleteTags"],
                        resources=arns,
                        # One tag: who owns an instance is a tag, too.
                        conditions={"ForAllValues:StringEquals": {"aws:TagKeys": [SPENT_TAG]}},
                    )
                )
        if studio_domain_id is None:
            return
        listing = iam.PolicyStatement(
            actions=["sagemaker:ListApps"],
            resources=["*"],
            conditions={"StringEquals": {"aws:RequestedRegion": cdk.Stack.of(self).region}},
        )
        for statement in (
            listing,
            iam.PolicyStatement(actions=["sagemaker:DeleteApp"], resources=[self._arn("app", f"{studio_domain_id}/*")]),
            iam.PolicyStatement(
                actions=["sagemaker:DescribeSpace", "sagemaker:ListTags"],
                resources=[self._arn("space", f"{studio_domain_id}/*")],
            ),
        ):
            self._function.add_to_role_policy(statement)
        # What names the Studio domain is known when it is deployed, and accepted in accepted_risks.py.
        acknowledge_wildcards(
            self, [listing], "sagemaker:ListApps takes no resource; the function asks for one domain."
        )

    def _arn(self, kind: str, name: str) -> str:
        return cdk.Stack.of(self).format_arn(service="sagemaker", resource=kind, resource_name=name)
