"""Where EventBridge Scheduler is completed: time zones, universal targets, checks, `AWS::Scheduler::Schedule` in full.

MiniStack's scheduler counts in UTC, calls functions, queues, topics and buses, and logs every other target as unsupported.
Beside `ministack_seams` a module that knows MiniStack; the same test holds every name of it that is used here.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ministack.core import responses
from ministack.services import eventbridge, scheduler
from ministack.services.cloudformation import provisioners

from local_cloud.ministack_roles import check_trust, credentials_for
from local_cloud.ministack_scope import in_scope
from local_cloud.platform import Credentials, RoleRefused
from local_cloud.sagemaker.errors import ApiError
from local_cloud.sagemaker.service import Sagemaker
from local_cloud.schedules import universal
from local_cloud.schedules.firing import Caller, Firing
from local_cloud.schedules.timetable import Timetable, parsed
from local_cloud.schedules.universal import BadTarget

logger = logging.getLogger(__name__)

KIND = "AWS::Scheduler::Schedule"
SERVICE_PRINCIPAL = "scheduler.amazonaws.com"
TICK_S = 1
"""MiniStack looks every ten seconds, in which a clock that is thirty times faster passes five minutes."""
_MEMBERS = (
    "ActionAfterCompletion",
    "Description",
    "EndDate",
    "FlexibleTimeWindow",
    "GroupName",
    "KmsKeyArn",
    "ScheduleExpression",
    "ScheduleExpressionTimezone",
    "StartDate",
    "State",
    "Target",
)

Answer = tuple[int, dict[str, str], bytes]
Properties = Mapping[str, Any]


def install(sagemaker: Callable[[], Sagemaker]) -> None:
    """Complete the scheduler. `sagemaker` gives the service once it runs, and with it the clock and the services around it."""
    tables: list[Timetable] = []

    def tick() -> None:
        service = sagemaker()
        if not tables:
            tables.append(Timetable(service.clock))
        for key, due in tables[0].due(dict(scheduler._schedules._data), time.time()):
            record = scheduler._schedules._data.get(key)
            if record is not None:
                _fire(service, Firing(key[0], key[1], record, due))
            if record is not None and _is_over(record):
                scheduler._schedules._data.pop(key, None)

    scheduler._tick_schedules = tick
    scheduler._SCHEDULE_TICK_INTERVAL = TICK_S
    scheduler._create_schedule = _checked(scheduler._create_schedule)
    scheduler._update_schedule = _checked(scheduler._update_schedule)
    provisioners._RESOURCE_HANDLERS[KIND] = {"create": _create, "update": _update, "delete": _delete}
    provisioners._REPLACING_PROPERTIES[KIND] = ("Name", "GroupName")


def _fire(service: Sagemaker, firing: Firing) -> None:
    """Calls the target, without holding up other schedules."""
    if universal.is_universal(str(firing.record["Target"].get("Arn"))):
        caller = Caller(service.platform, service.clock, _assume)
        work: Callable[[], object] = lambda: caller.fire(firing)  # noqa: E731
    else:
        work = lambda: _dispatch(firing)  # noqa: E731
    threading.Thread(target=work, name=f"schedule-{firing.record.get('Name')}", daemon=True).start()


def _dispatch(firing: Firing) -> None:
    """Templated targets, as MiniStack calls them."""
    event = {
        "EventId": responses.new_uuid(),
        "Source": "aws.scheduler",
        "DetailType": "Scheduled Event",
        "Detail": "{}",
        "Time": firing.due,
        "Resources": [firing.record.get("Arn", "")],
        "Account": firing.account,
        "Region": firing.region,
    }
    in_scope(
        firing.account,
        firing.region,
        lambda: eventbridge._invoke_target(dict(firing.record["Target"]), event, dict(firing.record)),
    )


def _is_over(record: Properties) -> bool:
    one_time = str(record.get("ScheduleExpression", "")).startswith("at(")
    return one_time and record.get("ActionAfterCompletion") == "DELETE"


def _assume(firing: Firing) -> Credentials:
    return credentials_for(
        SERVICE_PRINCIPAL, firing.record["Target"]["RoleArn"], "scheduler", _context(firing.account, firing.record)
    )


def _context(account: str, record: Properties) -> dict[str, str]:
    """What a role's trust policy may ask: the account, and the schedule's group.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html
    """
    region = responses.get_region() if "Arn" not in record else record["Arn"].split(":")[3]
    group = record.get("GroupName") or "default"
    return {
        "aws:sourceaccount": account,
        "aws:sourcearn": f"arn:aws:scheduler:{region}:{account}:schedule-group/{group}",
    }


def _checked(original: Callable[[str, dict[str, Any]], Answer]) -> Callable[[str, dict[str, Any]], Answer]:
    """Refuses what AWS refuses, before MiniStack keeps it."""

    def create_or_update(name: str, body: dict[str, Any]) -> Answer:
        target = body.get("Target") or {}
        try:
            if body.get("ScheduleExpression"):
                parsed(body)
            if universal.is_universal(str(target.get("Arn", ""))):
                universal.parse(target["Arn"]).request(target.get("Input"))
            if target.get("RoleArn"):
                account = responses.get_account_id()
                check_trust(SERVICE_PRINCIPAL, target["RoleArn"], _context(account, body))
        except (ApiError, BadTarget) as error:
            return _refused(str(error))
        except RoleRefused:
            return _refused(
                "The execution role you provide must allow AWS EventBridge Scheduler to assume the role."
                f" ({target['RoleArn']})"
            )
        return original(name, body)

    return create_or_update


def _refused(message: str) -> Answer:
    body = json.dumps({"Message": message}).encode()
    return 400, {"Content-Type": "application/json", "x-amzn-errortype": "ValidationException"}, body


def _create(logical_id: str, properties: Properties, stack_name: str) -> tuple[str, dict[str, str]]:
    name = properties.get("Name") or provisioners._physical_name(stack_name, logical_id, max_len=64)
    arn = _said(scheduler._create_schedule(name, _body(properties)))
    return name, {"Arn": arn}


def _update(
    physical_id: str, _old: Properties, new: Properties, _stack_name: str, *_more: Any
) -> tuple[str, dict[str, str]]:
    arn = _said(scheduler._update_schedule(physical_id, _body(new)))
    return physical_id, {"Arn": arn}


def _delete(physical_id: str, properties: Properties) -> None:
    # With its group it is gone already.
    scheduler._delete_schedule(physical_id, {"groupName": properties.get("GroupName", "default")})


def _body(properties: Properties) -> dict[str, Any]:
    return {member: properties[member] for member in _MEMBERS if properties.get(member) is not None}


def _said(answer: Answer) -> str:
    status, _, body = answer
    said = json.loads(body)
    if status >= 400:
        raise ValueError(f"{said.get('Message')} (Service: Scheduler, Status Code: {status})")
    return str(said["ScheduleArn"])
