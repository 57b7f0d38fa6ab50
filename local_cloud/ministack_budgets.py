"""`AWS::Budgets::Budget`, which MiniStack's Budgets API has and its CloudFormation has not.

`AWS::Budgets::BudgetsAction` stays unknown, and a stack that has one is refused: MiniStack's API has no actions.
Beside `ministack_seams` a module that knows MiniStack; the same test holds every name of it that is used here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ministack.core import responses
from ministack.services import budgets
from ministack.services.cloudformation import provisioners

from local_cloud.budgets.properties import BadBudget, budget_of, notifications_of

KIND = "AWS::Budgets::Budget"
Properties = Mapping[str, Any]


def install() -> None:
    """Let stacks make budgets."""
    provisioners._RESOURCE_HANDLERS[KIND] = {"create": _create, "update": _update, "delete": _delete}
    # The name is a part of Budget, the rest of which changes in place: _update tells them apart.
    provisioners._REPLACING_PROPERTIES[KIND] = ("NotificationsWithSubscribers",)


def _create(logical_id: str, properties: Properties, stack_name: str) -> tuple[str, dict[str, str]]:
    budget = budget_of(properties, provisioners._physical_name(stack_name, logical_id, max_len=100))
    _call(
        budgets._create_budget(
            {
                "Budget": budget,
                "NotificationsWithSubscribers": notifications_of(properties, responses.get_account_id()),
                "ResourceTags": list(properties.get("ResourceTags") or []),
            }
        )
    )
    return budget["BudgetName"], {}


def _update(
    physical_id: str, _old: Properties, new: Properties, _stack_name: str, *_more: Any
) -> tuple[str, dict[str, str]]:
    budget = budget_of(new, physical_id)
    if budget["BudgetName"] != physical_id:
        return _create(physical_id, new, _stack_name)
    _call(budgets._update_budget({"NewBudget": budget}))
    return physical_id, {}


def _delete(physical_id: str, _properties: Properties) -> None:
    if physical_id in budgets._budgets:
        _call(budgets._delete_budget({"BudgetName": physical_id}))


def _call(answer: tuple[int, dict[str, str], bytes]) -> None:
    status, _, body = answer
    if status >= 400:
        said = json.loads(body)
        raise BadBudget(f"{said.get('message') or said.get('Message')} (Service: Budgets, Status Code: {status})")
