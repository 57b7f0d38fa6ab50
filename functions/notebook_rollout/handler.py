"""Restarts notebook instances whose lifecycle config changed: every few minutes of the window, and at a deployment within it.

The deployment's part is a custom resource by CDK's provider framework: outside of the window it only says what runs an older
config, and when that ends; within it, it waits until all are in service again.
"""

from __future__ import annotations

import datetime
import json
import os
from typing import Any

import boto3

from .rollout import Outcome, run
from .window import Window


def scheduled(_event: dict[str, Any], _context: object) -> dict[str, Any]:
    """One step for each instance, and the outcome in the log.

    Raises:
        RuntimeError: an instance did not come back, or could not be brought further.
    """
    outcome = _run()
    print(json.dumps(vars(outcome), sort_keys=True))
    if outcome.failed:
        raise RuntimeError(f"Notebook instances could not be restarted: {json.dumps(outcome.failed, sort_keys=True)}")
    return vars(outcome)


def on_event(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """The beginning of a deployment's part; a deletion changes nothing."""
    return {"PhysicalResourceId": event.get("PhysicalResourceId") or f"{event['LogicalResourceId']}-rollout"}


def is_complete(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Whether nothing is under way any more; said again and again until it is.

    An instance that does not come back is not the deployment's failure: what was deployed is deployed. It is named in the
    data, and the next run in the window says it again.
    """
    if event["RequestType"] == "Delete":
        return {"IsComplete": True}
    outcome = _run()
    print(json.dumps(vars(outcome), sort_keys=True))
    if not outcome.is_settled:
        return {"IsComplete": False}
    return {"IsComplete": True, "Data": {"Said": _said(outcome)}}


def _run() -> Outcome:
    now = datetime.datetime.now(datetime.UTC)
    return run(
        boto3.client("sagemaker"),
        json.loads(os.environ["INSTANCES"]),
        may_stop=_window().is_open(now),
        heeds_the_mark=json.loads(os.environ["HEEDS_THE_MARK"]),
    )


def _said(outcome: Outcome) -> str:
    parts = []
    if outcome.outdated:
        opens = _window().next(datetime.datetime.now(datetime.UTC))
        parts.append(f"{', '.join(outcome.outdated)}: older lifecycle config until {opens:%Y-%m-%d %H:%M} UTC")
    parts += [f"{name}: {reason}" for name, reason in outcome.failed.items()]
    return "; ".join(parts) or "all instances that run have the lifecycle config that was deployed"


def _window() -> Window:
    return Window.of(json.loads(os.environ["WINDOW"]))
