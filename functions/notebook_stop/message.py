"""Reads what AWS Budgets says on a topic, and believes only what is about this environment's budget.

The message is text, not JSON, and nowhere specified; of it, three lines that every alert of a budget has are read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LINE = re.compile(r"^(AWS Account|Budget Name:|Alert Type:|Alert Threshold:|ACTUAL Amount:)\s*(.*?)\s*$", re.MULTILINE)


class NotOurs(Exception):
    """The message stops nothing; the text says why."""


@dataclass(frozen=True)
class Alert:
    """A budget that is spent.

    Attributes:
        budget: its name.
        amount: what was spent, in the words of AWS Budgets (`$212.40`); None where it does not say.
        threshold: that this is above (`> $200.00`); None where it does not say.
    """

    budget: str
    amount: str | None
    threshold: str | None


def read_alert(notification: Mapping[str, Any], *, topic_arn: str, budget: str, account: str) -> Alert:
    """What a notification of SNS says.

    Who may publish is for the topic's policy to say; this looks that it is the message that is meant.

    Args:
        notification: `Sns` of one of the event's records.
        topic_arn: of the topic that AWS Budgets tells.
        budget: the name of the environment's budget.
        account: that both are in.

    Raises:
        NotOurs: it came by another topic, is of another account or budget, warns of a forecast, or is no alert at all.
    """
    if notification.get("TopicArn") != topic_arn:
        raise NotOurs(f"it came by {notification.get('TopicArn')}, and the budget speaks on {topic_arn}")
    said = dict(_LINE.findall(str(notification.get("Message", "")).replace("\r", "")))
    for line, wanted in (("AWS Account", account), ("Budget Name:", budget)):
        if said.get(line) != wanted:
            found = said.get(line, "none")
            raise NotOurs(f"it should say {line} {wanted}, and says {found}")
    if said.get("Alert Type:", "").upper() != "ACTUAL":
        raise NotOurs(f"it is about money that is not spent (Alert Type: {said.get('Alert Type:', 'none')})")
    return Alert(budget, said.get("ACTUAL Amount:"), said.get("Alert Threshold:"))
