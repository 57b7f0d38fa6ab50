"""Stops what runs in the workbench when the budget's topic says so, and lets it be started again when the month is over.

Called by SNS with an alert of AWS Budgets, by a schedule at the beginning of each month, and by operators who lift the stop
early (`{"release": true}`). Lambda repeats an asynchronous call that raised twice, a minute and two minutes later, which is
what an instance that was just starting needs; what then still fails goes to the people of the budget.
"""

from __future__ import annotations

import datetime
import json
import os
import time
from collections.abc import Mapping
from typing import Any

import boto3

from .message import Alert, NotOurs, read_alert
from .stopping import Outcome, end_apps, mark_spent, stop_notebooks

_LOOK_AGAIN_S = 20.0
_NEEDED_S = 60.0
"""For what comes after the waiting."""


class NotAllStopped(Exception):
    """Something still runs; the message says what, and why."""


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Stops, or releases.

    Raises:
        NotAllStopped: something could not be stopped or marked.
        ClientError: the report could not be published.
    """
    sagemaker = boto3.client("sagemaker")
    names = json.loads(os.environ["NOTEBOOKS"])
    if event.get("release") is True:
        return _release(sagemaker, names)
    alert = _alert(event)
    if alert is None:
        return {"outcome": "ignored"}
    outcome = Outcome()
    not_marked = {}
    if os.environ.get("KEEPS_STOPPED") == "true":
        # First: what a schedule starts while this goes through the others would run on.
        month = datetime.datetime.now(datetime.UTC).strftime("%Y-%m")
        not_marked = mark_spent(sagemaker, _arns(names), month)
    stop_notebooks(sagemaker, names, outcome)
    if domain_id := os.environ.get("STUDIO_DOMAIN_ID"):
        end_apps(sagemaker, domain_id, outcome)
    # A start takes up to ten minutes, and Lambda's repeats come within three: who is starting is waited for.
    while outcome.moving and _seconds_left(context) > _NEEDED_S + _LOOK_AGAIN_S:
        time.sleep(_LOOK_AGAIN_S)
        stop_notebooks(sagemaker, outcome.forget_moving(), outcome)
    said = {
        "outcome": "stopped",
        "stopped": outcome.stopped,
        "kept": outcome.kept,
        "not_stopped": outcome.not_stopped,
        "not_marked": not_marked,
    }
    print(json.dumps(said))
    if outcome.stopped or not outcome.not_stopped:
        _tell(f"the budget of {os.environ['ENVIRONMENT']} is spent", _report(alert, outcome, not_marked))
    if outcome.not_stopped or not_marked:
        problems = {**outcome.not_stopped, **{f"mark of {name}": why for name, why in not_marked.items()}}
        raise NotAllStopped("; ".join(f"{what}: {why}" for what, why in problems.items()))
    return said


def _seconds_left(context: Any) -> float:
    """Of this call: https://docs.aws.amazon.com/lambda/latest/dg/python-context.html"""
    return context.get_remaining_time_in_millis() / 1000 if context else 0.0


def _alert(event: Mapping[str, Any]) -> Alert | None:
    for record in event.get("Records", []):
        try:
            return read_alert(
                record.get("Sns", {}),
                topic_arn=os.environ["BUDGET_TOPIC_ARN"],
                budget=os.environ["BUDGET_NAME"],
                account=os.environ["ACCOUNT"],
            )
        except NotOurs as error:
            print(f"Ignored a message: {error}")
    return None


def _release(sagemaker: Any, names: list[str]) -> dict[str, Any]:
    failed = mark_spent(sagemaker, _arns(names), None)
    print(json.dumps({"outcome": "released", "failed": failed}))
    if failed:
        raise NotAllStopped("; ".join(f"mark of {name}: {why}" for name, why in failed.items()))
    return {"outcome": "released", "notebooks": names}


def _arns(names: list[str]) -> list[str]:
    return [f"{os.environ['NOTEBOOK_ARN_PREFIX']}{name.lower()}" for name in names]


def _report(alert: Alert, outcome: Outcome, not_marked: Mapping[str, str]) -> str:
    environment = os.environ["ENVIRONMENT"]
    spent = f"{alert.amount or 'More than its limit'} is spent this month"
    lines = [f"{spent} ({alert.threshold or 'the limit of the budget'}), so what ran in {environment} was stopped.", ""]
    lines += ["Stopped, with everything on their volumes and in their spaces kept:", *_items(outcome.stopped), ""]
    if outcome.kept:
        lines += ["Left running, because they are tagged sagestack:keep=true:", *_items(outcome.kept), ""]
    if outcome.not_stopped:
        lines += ["Not stopped yet, and tried again in a minute:"]
        lines += [*_items(f"{what}: {why}" for what, why in outcome.not_stopped.items()), ""]
    if os.environ.get("KEEPS_STOPPED") == "true":
        lines += [
            "Notebook instances cannot be started again before the month ends. An operator lifts that with",
            f"  aws lambda invoke --function-name {os.environ.get('AWS_LAMBDA_FUNCTION_NAME', '')}"
            " --cli-binary-format raw-in-base64-out --payload '{\"release\": true}' /dev/stdout",
        ]
    else:
        lines += ["Whoever needs one may start it again; AWS tells no second time this month."]
    if not_marked:
        lines += ["", "Could be started again all the same:", *_items(not_marked)]
    return "\n".join(lines)


def _items(texts: Any) -> list[str]:
    return [f"  - {text}" for text in texts] or ["  - nothing: nothing was running"]


def _tell(subject: str, text: str) -> None:
    # https://docs.aws.amazon.com/sns/latest/api/API_Publish.html: a subject has up to 100 characters.
    boto3.client("sns").publish(
        TopicArn=os.environ["NOTICE_TOPIC_ARN"], Subject=f"Sagestack: {subject}"[:100], Message=text
    )
