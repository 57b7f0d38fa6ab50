"""Calls what a schedule is for, as its role, again where that may help, and keeps in a queue what did not work."""

from __future__ import annotations

import datetime
import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local_cloud.clock import Clock
from local_cloud.platform import Credentials, Platform, RoleRefused
from local_cloud.schedules import universal
from local_cloud.schedules.universal import BadTarget

logger = logging.getLogger(__name__)

DEFAULT_ATTEMPTS, DEFAULT_AGE_S = 185, 86_400
"""https://docs.aws.amazon.com/scheduler/latest/APIReference/API_RetryPolicy.html"""
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
METRICS = "AWS/Scheduler"


@dataclass(frozen=True)
class Firing:
    """One time that a schedule is due.

    Attributes:
        account: of the schedule.
        region: of it.
        record: the schedule itself.
        due: when it was, POSIX seconds.
    """

    account: str
    region: str
    record: Mapping[str, Any]
    due: float


class Caller:
    """Makes the calls of universal targets."""

    def __init__(
        self,
        platform: Platform,
        clock: Clock,
        assume: Callable[[Firing], Credentials],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Takes what it stands on.

        Args:
            platform: for clients.
            clock: of the waits between attempts.
            assume: gives credentials of the schedule's role; raises RoleRefused.
            sleep: waits real seconds.
        """
        self._platform, self._clock, self._assume, self._sleep = platform, clock, assume, sleep

    def fire(self, firing: Firing) -> str | None:
        """Calls; what went wrong in the end, None where nothing did."""
        target = firing.record["Target"]
        policy = target.get("RetryPolicy") or {}
        attempts = int(policy.get("MaximumRetryAttempts", DEFAULT_ATTEMPTS)) + 1
        age = float(policy.get("MaximumEventAgeInSeconds", DEFAULT_AGE_S))
        began, wait, problem = time.monotonic(), FIRST_WAIT_S, None
        execution = str(uuid.uuid4())
        for attempt in range(1, attempts + 1):
            if attempt > 1:
                if self._clock.cloud(time.monotonic() - began) + wait > age:
                    break
                self._sleep(self._clock.real(wait))
                wait = min(2 * wait, LONGEST_WAIT_S)
            self._count(firing, "InvocationAttemptCount")
            try:
                self._call(firing, attempt, execution)
                return None
            except (ClientError, BotoCoreError, BadTarget, RoleRefused) as error:
                problem = str(error)
                self._count(firing, "TargetErrorCount")
                logger.info("Schedule %s, attempt %d: %s", firing.record.get("Name"), attempt, problem)
                if not _may_help(error):
                    break
        self._keep(firing, problem or "")
        return problem

    def _call(self, firing: Firing, attempt: int, execution: str) -> None:
        target = firing.record["Target"]
        call = universal.parse(target["Arn"])
        request = call.request(_filled(target.get("Input"), firing, attempt, execution))
        credentials = self._assume(firing)
        try:
            client = self._platform.client(call.service, firing.region, credentials)
            getattr(client, call.method)(**request)
        finally:
            self._platform.forget_session(credentials)

    def _count(self, firing: Firing, metric: str) -> None:
        group = {"ScheduleGroup": str(firing.record.get("GroupName", "default"))}
        self._platform.put_metric(firing.account, firing.region, METRICS, metric, 1.0, "Count", group)

    def _keep(self, firing: Firing, problem: str) -> None:
        target = firing.record["Target"]
        arn = (target.get("DeadLetterConfig") or {}).get("Arn")
        if not arn:
            return
        # https://docs.aws.amazon.com/scheduler/latest/UserGuide/configuring-schedule-dlq.html
        attributes = {
            "ERROR_MESSAGE": problem[:256],
            "SCHEDULE_ARN": str(firing.record.get("Arn", "")),
            "TARGET_ARN": str(target["Arn"]),
        }
        try:
            sqs = self._platform.client("sqs", firing.region)
            queue = sqs.get_queue_url(QueueName=arn.rsplit(":", 1)[-1])["QueueUrl"]
            sqs.send_message(
                QueueUrl=queue,
                MessageBody=target.get("Input") or "{}",
                MessageAttributes={
                    key: {"DataType": "String", "StringValue": value} for key, value in attributes.items() if value
                },
            )
        except (ClientError, BotoCoreError) as error:
            logger.warning("Schedule %s: its dead-letter queue took nothing: %s", firing.record.get("Name"), error)


def _may_help(error: Exception) -> bool:
    """Whether the same call may work later. AWS does not say which errors it repeats; a refusal is not repeated here."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or "hrottl" in error.response["Error"].get("Code", "")
    return not isinstance(error, BadTarget | RoleRefused)


def _filled(text: str | None, firing: Firing, attempt: int, execution: str) -> str | None:
    """The input with what is only known now.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
    """
    if not text or "<aws.scheduler." not in text:
        return text
    moment = datetime.datetime.fromtimestamp(firing.due, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    for name, value in (
        ("schedule-arn", firing.record.get("Arn", "")),
        ("scheduled-time", moment),
        ("execution-id", execution),
        ("attempt-number", attempt),
    ):
        text = text.replace(f"<aws.scheduler.{name}>", json.dumps(str(value))[1:-1])
    return text
