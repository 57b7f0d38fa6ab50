"""The alarms that roll an update back, read as SageMaker reads them: through DescribeAlarms, with the execution role."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from botocore.exceptions import BotoCoreError, ClientError

from local_cloud.platform import Platform, RoleRefused

ACTION = "cloudwatch:DescribeAlarms"


class Refused(Exception):
    """The alarms cannot be watched: one is not there, or the role may not read them. The message says what to do."""


@dataclass(frozen=True)
class AlarmState:
    """How an alarm is: OK, ALARM or INSUFFICIENT_DATA, and why."""

    value: str
    reason: str = ""


class Watch(Protocol):
    """Tells what is wrong, if anything is."""

    def tripped(self) -> str | None:
        """Which alarms are in ALARM, in words; None if none is.

        Raises:
            Refused: they cannot be read.
        """


class AlarmWatch:
    """Looks at alarms by their names."""

    def __init__(self, names: Sequence[str], read: Callable[[Sequence[str]], dict[str, AlarmState]]) -> None:
        """Take the names, and what reads their states: it leaves out alarms that are not there."""
        self._names = list(names)
        self._read = read

    def tripped(self) -> str | None:
        """See Watch."""
        if not self._names:
            return None
        states = self._read(self._names)
        if missing := [name for name in self._names if name not in states]:
            raise Refused(
                f"AutoRollbackConfiguration names alarms that CloudWatch does not have: {', '.join(missing)}. Create them "
                "first, or take them out."
            )
        tripped = [f"{name} ({states[name].reason})" for name in self._names if states[name].value == "ALARM"]
        return ", ".join(tripped) or None


@contextmanager
def watching(platform: Platform, region: str, role_arn: str, names: Sequence[str]) -> Iterator[AlarmWatch]:
    """A watch on alarms with the credentials of a role, for the time of a block.

    Args:
        platform: where the alarms are.
        region: of the alarms.
        role_arn: the execution role of the model, which needs cloudwatch:DescribeAlarms on them (developer guide,
            "Auto-Rollback Configuration and Monitoring").
        names: of the alarms; none is fine, and nothing is assumed or read then.

    Raises:
        Refused: the role cannot be assumed.
    """
    if not names:
        yield AlarmWatch((), lambda _: {})
        return
    try:
        credentials = platform.assume_role(role_arn, "SageMaker")
    except RoleRefused as error:
        raise Refused(str(error)) from error
    try:
        client = platform.client("cloudwatch", region, credentials)

        def read(wanted: Sequence[str]) -> dict[str, AlarmState]:
            try:
                # One by one: a role that may read these alarms and no others is refused when several are asked for at once.
                answers = [
                    client.describe_alarms(AlarmNames=[name], AlarmTypes=["MetricAlarm", "CompositeAlarm"])
                    for name in wanted
                ]
            except ClientError as error:
                if "AccessDenied" in error.response["Error"]["Code"]:
                    raise Refused(
                        f"The role {role_arn} may not read the alarms of AutoRollbackConfiguration: "
                        f"{error.response['Error']['Message']} Grant it {ACTION} on: {', '.join(wanted)}."
                    ) from error
                raise Refused(f"CloudWatch did not tell the state of {', '.join(wanted)}: {error}") from error
            except BotoCoreError as error:
                raise Refused(f"CloudWatch did not tell the state of {', '.join(wanted)}: {error}") from error
            alarms = [
                alarm
                for answer in answers
                for kind in ("MetricAlarms", "CompositeAlarms")
                for alarm in answer.get(kind, [])
            ]
            return {
                alarm["AlarmName"]: AlarmState(alarm["StateValue"], alarm.get("StateReason", "")) for alarm in alarms
            }

        yield AlarmWatch(names, read)
    finally:
        platform.forget_session(credentials)
