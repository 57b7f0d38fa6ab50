"""Turns `AWS::Budgets::Budget` into what CreateBudget and UpdateBudget take, and refuses what AWS refuses.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-budgets-budget.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_EMAILS, MAX_TOPICS = 10, 1
"""Of one notification: https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_budgets_Notification.html"""

Properties = Mapping[str, Any]


class BadBudget(Exception):
    """The budget cannot be; the message goes to the stack's events."""


def budget_of(properties: Properties, name: str) -> dict[str, Any]:
    """The budget as the API has it. CloudFormation has amounts as numbers, the API as text.

    Args:
        properties: of the resource.
        name: that it has where the template says none.

    Raises:
        BadBudget: it says no limit, or is of another type than of cost or usage.
    """
    said = dict(properties.get("Budget") or {})
    if said.get("BudgetType") not in ("COST", "USAGE"):
        raise BadBudget(f"The local cloud has budgets of type COST and USAGE, and not {said.get('BudgetType')}")
    limit = said.get("BudgetLimit")
    if not isinstance(limit, Mapping):
        raise BadBudget("The local cloud has budgets with a BudgetLimit, and none that is planned or adjusts itself")
    said["BudgetLimit"] = {"Amount": _plain(limit.get("Amount")), "Unit": str(limit.get("Unit"))}
    said["BudgetName"] = said.get("BudgetName") or name
    return said


def notifications_of(properties: Properties, account: str) -> list[dict[str, Any]]:
    """The notifications as the API has them.

    Raises:
        BadBudget: one has too many subscribers, or a topic of another account.
    """
    found = []
    for each in properties.get("NotificationsWithSubscribers") or []:
        notification = dict(each["Notification"])
        notification["Threshold"] = float(notification["Threshold"])
        subscribers = [dict(subscriber) for subscriber in each.get("Subscribers") or []]
        of_kind = {
            kind: [s["Address"] for s in subscribers if s.get("SubscriptionType") == kind] for kind in ("SNS", "EMAIL")
        }
        if len(of_kind["SNS"]) > MAX_TOPICS or len(of_kind["EMAIL"]) > MAX_EMAILS:
            raise BadBudget(f"A notification has at most {MAX_TOPICS} topic and {MAX_EMAILS} addresses")
        for topic in of_kind["SNS"]:
            parts = str(topic).split(":")
            if len(parts) != 6 or parts[2] != "sns" or parts[4] != account:
                raise BadBudget(f"{topic} is no topic of account {account}: topics of other accounts are not supported")
        found.append({"Notification": notification, "Subscribers": subscribers})
    return found


def _plain(amount: object) -> str:
    number = float(str(amount))
    return str(int(number)) if number == int(number) else repr(number)
