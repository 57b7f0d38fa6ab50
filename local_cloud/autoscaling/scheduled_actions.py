"""Scheduled actions: PutScheduledAction, DescribeScheduledActions, DeleteScheduledAction, and what is due."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from local_cloud.autoscaling import schedules
from local_cloud.autoscaling.errors import ObjectNotFound
from local_cloud.autoscaling.schedules import Schedule
from local_cloud.autoscaling.service import (
    NAMESPACE,
    SCHEDULE,
    AutoScaling,
    described,
    key_of,
    operation,
    page,
    selected,
    target_of,
)
from local_cloud.platform import Caller
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.service import Request, Response
from local_cloud.sagemaker.store import Document

_HIDDEN = ("Key", "DueAt")
BOUNDS = ("MinCapacity", "MaxCapacity")


@operation("PutScheduledAction")
def put_scheduled_action(service: AutoScaling, caller: Caller, request: Request) -> Response:
    """PutScheduledAction: a new action, or a changed one; start and end are deleted where they are not given again."""
    target_of(service, caller, request)
    key = f"{key_of(request)}|{request['ScheduledActionName']}"
    old = service.store.get(SCHEDULE, caller.account, caller.region, key) or {}
    action: Document = {
        "Key": key,
        "ScheduledActionName": request["ScheduledActionName"],
        "ScheduledActionARN": old.get("ScheduledActionARN") or _arn(caller, request),
        "ServiceNamespace": NAMESPACE,
        "ResourceId": request["ResourceId"],
        "ScalableDimension": request["ScalableDimension"],
        "CreationTime": old.get("CreationTime") or time.time(),
    }
    for member in ("Schedule", "Timezone", "ScalableTargetAction"):
        if value := request.get(member) or old.get(member):
            action[member] = value
    for member in ("StartTime", "EndTime"):
        if request.get(member) is not None:
            action[member] = _posix(request[member])
    _check(action)
    action["DueAt"] = _schedule(action).next_after(time.time(), service.clock)
    service.store.put(SCHEDULE, caller.account, caller.region, key, action)
    service.changed.set()
    return {}


@operation("DescribeScheduledActions")
def describe_scheduled_actions(service: AutoScaling, caller: Caller, request: Request) -> Response:
    """DescribeScheduledActions."""
    actions = service.store.list(SCHEDULE, caller.account, caller.region)
    kept = selected(actions, request, "ScheduledActionNames", "ScheduledActionName")
    shown = [{member: value for member, value in action.items() if member not in _HIDDEN} for action in kept]
    return page(shown, request, "ScheduledActions")


@operation("DeleteScheduledAction")
def delete_scheduled_action(service: AutoScaling, caller: Caller, request: Request) -> Response:
    """DeleteScheduledAction."""
    key = f"{key_of(request)}|{request['ScheduledActionName']}"
    if not service.store.delete(SCHEDULE, caller.account, caller.region, key):
        raise ObjectNotFound(
            f"No scheduled action found for {described(request)}, scheduled action name: {request['ScheduledActionName']}"
        )
    return {}


def take_due(
    service: AutoScaling, account: str, region: str, target: Document, now: float
) -> Iterator[tuple[str, dict[str, int]]]:
    """The actions of a target that are due: their names and the bounds that they set. Each is given once.

    One that was due while the local cloud was down is due at its next start, once, however often it was missed.
    """

    def go_on(action: Document) -> None:
        action["DueAt"] = _schedule(action).next_after(now, service.clock)

    for found in selected(service.store.list(SCHEDULE, account, region), target):
        if found["DueAt"] is None or found["DueAt"] > now:
            continue
        # As it is now: it may be deleted or put anew while this goes on.
        if action := service.store.update(SCHEDULE, account, region, found["Key"], go_on):
            yield action["ScheduledActionName"], dict(action["ScalableTargetAction"])


def _check(action: Document) -> None:
    if not action.get("Schedule"):
        raise ValidationError(
            f"Schedule must be specified: scheduled action {action['ScheduledActionName']} is not there yet."
        )
    _schedule(action)
    bounds = action.get("ScalableTargetAction") or {}
    given = [bounds[member] for member in BOUNDS if bounds.get(member) is not None]
    if not given:
        # AWS's own words, as people report them.
        raise ValidationError("At least one of minimum capacity and maximum capacity should be provided")
    if given != sorted(given):
        raise ValidationError(
            "Maximum capacity cannot be less than minimum capacity in ScalableTargetAction: MinCapacity is "
            f"{given[0]}, MaxCapacity {given[1]}."
        )


def _schedule(action: Document) -> Schedule:
    return schedules.parse(action["Schedule"], action.get("Timezone"), action.get("StartTime"), action.get("EndTime"))


def _posix(value: Any) -> float:
    """A time of the API (POSIX seconds) or of a template (ISO 8601), as POSIX seconds."""
    if isinstance(value, int | float):
        return float(value)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise ValidationError(f"{value} is not a time such as 2026-01-31T08:00:00Z.") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _arn(caller: Caller, request: Request) -> str:
    return (
        f"arn:aws:autoscaling:{caller.region}:{caller.account}:scheduledAction:{uuid.uuid4()}:resource/{NAMESPACE}/"
        f"{request['ResourceId']}:scheduledActionName/{request['ScheduledActionName']}"
    )
