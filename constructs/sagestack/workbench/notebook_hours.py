"""Starts and stops notebook instances at times of the day."""

from __future__ import annotations

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as targets

from constructs import Construct
from sagestack.settings import EnvironmentNames
from sagestack.settings.workbench.notebook import Hours
from sagestack.workbench.cost_tags import SPENT_TAG
from sagestack.workbench.schedule_group import ScheduleGroup, cron

_RETRIES = 2
_LATE = cdk.Duration.minutes(5)
"""How long a call is repeated. Scheduler's own day, and even an hour, would undo what somebody did meanwhile: it would stop again
what a person has just started, since the first stop found it stopped and was an error."""


class NotebookHours(Construct):
    """Schedules that call StartNotebookInstance and StopNotebookInstance, with no function in between.

    To stop what is stopped, or start what runs, is an error of the API, and the ordinary case of a schedule: auto-stop, or a
    person, was there before. So no alarm counts these errors, and no queue keeps them. That a stop did not happen is seen
    where it matters: the idle report names what runs for more than a day although its hours should have stopped it.
    """

    def __init__(
        self, scope: Construct, id: str, *, names: EnvironmentNames, hours: Mapping[str, Hours], heeds_the_mark: bool
    ) -> None:
        """Makes the schedules, and a role for each direction that may call it on these instances alone.

        Args:
            names: of the environment.
            hours: of each notebook that has any, by its short name. An instance that is not there is no error until then, and
                then one that nobody sees: add a dependency on the notebooks, and schedules are gone before they are.
            heeds_the_mark: whether an instance that a spent budget has stopped is not started.
        """
        super().__init__(scope, id)
        self._names, self._group, self._heeds_the_mark = names, ScheduleGroup.of(self, names), heeds_the_mark
        for direction in ("start", "stop"):
            scheduled = {name: said for name, each in hours.items() if (said := getattr(each, direction)) is not None}
            if not scheduled:
                continue
            role = self._group.role(
                self,
                f"{direction.title()}Role",
                description=f"{direction.title()}s notebook instances of {names.environment} at their hours",
            )
            made = [
                self._schedule(direction, name, expression, hours[name].time_zone, role)
                for name, expression in scheduled.items()
            ]
            # A schedule may fire as soon as it is there, and must find what its role may do.
            for schedule in made:
                schedule.node.add_dependency(role.node.find_child("DefaultPolicy"))

    def _schedule(
        self, direction: str, name: str, expression: str, time_zone: str, role: iam.Role
    ) -> scheduler.Schedule:
        instance = self._names.notebook_instance(name)
        # Below the notebook's own name: `lab-1` and `lab1` are two.
        scope = self.node.try_find_child(name) or Construct(self, name)
        assert isinstance(scope, Construct)
        return scheduler.Schedule(
            scope,
            direction.title(),
            description=f"{direction.title()}s the notebook instance {instance}",
            schedule=cron(expression, time_zone),
            schedule_group=self._group,
            target=targets.Universal(
                service="sagemaker",
                action=f"{direction}NotebookInstance",
                input=scheduler.ScheduleTargetInput.from_object({"NotebookInstanceName": instance}),
                policy_statements=[self._may(direction, self._arn(instance))],
                role=role,
                retry_attempts=_RETRIES,
                max_event_age=_LATE,
            ),
        )

    def _may(self, direction: str, arn: str) -> iam.PolicyStatement:
        """The one call. What was stopped because the month's budget is spent is not started by the next morning."""
        is_limited = direction == "start" and self._heeds_the_mark
        return iam.PolicyStatement(
            actions=[f"sagemaker:{direction.title()}NotebookInstance"],
            resources=[arn],
            conditions={"Null": {f"aws:ResourceTag/{SPENT_TAG}": "true"}} if is_limited else None,
        )

    def _arn(self, instance: str) -> str:
        return cdk.Stack.of(self).format_arn(
            service="sagemaker", resource="notebook-instance", resource_name=instance.lower()
        )
