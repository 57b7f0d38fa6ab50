"""What the workbench may cost in a month: warned of before it is spent, and stopped when it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns

from constructs import Construct
from sagestack.settings import EnvironmentNames
from sagestack.settings.workbench import Budget
from sagestack.settings.workbench.cost import check_counted
from sagestack.workbench.budget_stop import BudgetStop
from sagestack.workbench.cost_tags import SPENT_TAG, WORKBENCH_TAG, tag_workbench

_SAGEMAKER = "Amazon SageMaker"
"""As Cost Explorer calls the service."""


class NotebookBudget(Construct):
    """A monthly budget that mails people on the way there, and stops notebooks when it is spent.

    AWS reckons cost a few times a day, so the stop comes hours after the money is spent. A budget bounds a forgotten month, not
    an afternoon; auto-stop and hours are for that.

    A function stops, for AWS's own budget actions cannot: they stop EC2 and RDS instances.
    https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_budgets_SsmActionDefinition.html
    Its other kind of action, to attach a policy to roles, needs a role that may change roles, which the permissions boundary
    gives to none. A tag on the instances does it instead (`keeps_stopped`).

    Attributes:
        stop: what stops; None where the budget only warns.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        names: EnvironmentNames,
        budget: Budget,
        tags: Mapping[str, str],
        notebooks: Iterable[str],
        encryption_key: kms.IKey,
        studio_domain_id: str | None = None,
    ) -> None:
        """Makes the budget, and what stops.

        Args:
            names: of the environment.
            budget: how much, who is told, when it stops.
            tags: the environment's own, one of which may be what cost is counted by.
            notebooks: the short names of all notebook instances of the environment.
            encryption_key: of the topics.
            studio_domain_id: None where the environment has none.

        Raises:
            ValueError: cost is to be counted by a tag that the environment does not have.
        """
        super().__init__(scope, id)
        tag_workbench(cdk.Stack.of(self), names)
        self.stop = (
            BudgetStop(
                self,
                "Stop",
                names=names,
                budget=budget,
                notebooks=list(notebooks),
                encryption_key=encryption_key,
                studio_domain_id=studio_domain_id if budget.stops_studio else None,
            )
            if budget.stop_at_percent is not None
            else None
        )
        filters = _counted(budget, names, tags)
        notifications = _notifications(budget, self.stop.topic if self.stop else None)
        # CloudFormation replaces a budget whose notifications change, and makes the new one first.
        # https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-budgets-budget.html
        told = [budget.emails, budget.warn_at_percent, budget.forecast_at_percent, budget.stop_at_percent]
        name = f"{names.workbench_stack}-{_digest(told)}"
        resource = budgets.CfnBudget(
            self,
            "Resource",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_name=name,
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(amount=budget.monthly_usd, unit="USD"),
                cost_filters=filters,
                # What is used, whoever pays: with credits, which AWS Budgets counts against it, an account would seem to spend
                # nothing, and be stopped by nothing, until they are gone.
                # https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_budgets_CostTypes.html
                cost_types=budgets.CfnBudget.CostTypesProperty(include_credit=False, include_refund=False),
            ),
            notifications_with_subscribers=notifications,
        )
        if self.stop:
            # AWS Budgets may speak as soon as it is there; by then the topic lets it, and somebody listens.
            resource.node.add_dependency(self.stop)
            self.stop.listen(budget_name=name)


def deny_starts(instance_arns: Iterable[str]) -> iam.PolicyStatement:
    """What a role of people must carry so that they start nothing that a spent budget has stopped.

    Args:
        instance_arns: of notebook instances.
    """
    return iam.PolicyStatement(
        sid="BudgetIsSpent",
        effect=iam.Effect.DENY,
        actions=["sagemaker:StartNotebookInstance"],
        resources=list(instance_arns),
        conditions={"Null": {f"aws:ResourceTag/{SPENT_TAG}": "false"}},
    )


def _counted(budget: Budget, names: EnvironmentNames, tags: Mapping[str, str]) -> dict[str, list[str]]:
    """https://docs.aws.amazon.com/cost-management/latest/userguide/budgets-create-filters.html"""
    if budget.counts == "sagemaker":
        return {"Service": [_SAGEMAKER]}
    if budget.counts == "workbench":
        return {"TagKeyValue": [f"user:{WORKBENCH_TAG}${names.environment}"]}
    check_counted(budget, tags)
    key = budget.counts.removeprefix("tag:")
    return {"TagKeyValue": [f"user:{key}${tags[key]}"]}


def _notifications(
    budget: Budget, topic: sns.ITopic | None
) -> list[budgets.CfnBudget.NotificationWithSubscribersProperty]:
    def notification(kind: str, percent: int, *subscribers: Any) -> Any:
        return budgets.CfnBudget.NotificationWithSubscribersProperty(
            notification=budgets.CfnBudget.NotificationProperty(
                comparison_operator="GREATER_THAN",
                notification_type=kind,
                threshold=percent,
                threshold_type="PERCENTAGE",
            ),
            subscribers=list(subscribers),
        )

    mails = [budgets.CfnBudget.SubscriberProperty(subscription_type="EMAIL", address=email) for email in budget.emails]
    found = [notification("ACTUAL", percent, *mails) for percent in budget.warn_at_percent]
    if budget.forecast_at_percent is not None:
        found.append(notification("FORECASTED", budget.forecast_at_percent, *mails))
    if budget.stop_at_percent is not None and topic is not None:
        tells = budgets.CfnBudget.SubscriberProperty(subscription_type="SNS", address=topic.topic_arn)
        found.append(notification("ACTUAL", budget.stop_at_percent, *mails, tells))
    return found


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:8]


__all__ = ["NotebookBudget", "deny_starts"]
