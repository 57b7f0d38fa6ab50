"""Looks on a schedule, and mails what it found by the topic that people subscribed to."""

from __future__ import annotations

import datetime
import json
import os
from typing import Any

import boto3

from .looking import Workbench, look
from .report import Prices, report


def handler(_event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Looks, and sends at most one mail.

    Raises:
        ClientError: the mail could not be published; Lambda tries again.
    """
    settings = json.loads(os.environ["WORKBENCH"])
    prices = json.loads(os.environ["PRICES"])
    now = datetime.datetime.now(datetime.UTC)
    seen = look(boto3.client("sagemaker"), boto3.client("cloudwatch"), Workbench(**settings["workbench"]), now)
    mail = report(
        seen.running,
        environment=settings["workbench"]["environment"],
        now=now,
        idle_after=datetime.timedelta(hours=settings["idle_hours"]),
        prices=Prices(prices["usd_per_hour"], prices["source"]),
        not_seen=seen.not_seen,
        says_nothing_idles=settings["says_when_nothing_idles"],
    )
    said = {"running": len(seen.running), "not_seen": seen.not_seen, "mailed": mail.subject if mail else None}
    print(json.dumps(said))
    if mail:
        boto3.client("sns").publish(TopicArn=os.environ["TOPIC_ARN"], Subject=mail.subject, Message=mail.text)
    return said
