"""Brings what changed in a lifecycle config to instances that run, at a time that people know of."""

from __future__ import annotations

import json
from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from constructs import Construct
from functions.notebook_rollout.tags import RESTART_TAG
from sagestack.functions import Function, Provider
from sagestack.policy_statements import only_tag
from sagestack.settings import EnvironmentNames
from sagestack.settings.workbench import Maintenance
from sagestack.settings.workbench.maintenance import Day
from sagestack.workbench.notebook import Notebook
from sagestack.workbench.notebook_budget import deny_starts
from sagestack.workbench.schedule_group import ScheduleGroup, cron

ROLLOUT = "Custom::SagestackNotebookRollout"
_DAYS: Sequence[Day] = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_LOOK_EVERY_MINUTES = 5
_PATIENCE = cdk.Duration.minutes(40)
"""How long a deployment in the window waits for a stop and a start; CDK's provider allows two hours."""


class MaintenanceWindow(Construct):
    """Stops and starts instances that run with an older lifecycle config, in the window alone.

    A lifecycle config runs when an instance starts, so a change reaches one that runs only by a stop and a start, which ends what
    people have in memory. In the window a schedule looks every five minutes. A deployment within the window does it at once and
    waits; one outside of it says, in the resource's data, which instances are behind and until when.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        names: EnvironmentNames,
        maintenance: Maintenance,
        notebooks: Sequence[Notebook],
        heeds_the_mark: bool,
    ) -> None:
        """Makes the functions, the schedule and the custom resource.

        Args:
            names: of the environment.
            maintenance: when instances may be stopped.
            notebooks: the instances; those without a lifecycle config have nothing to be brought to.
            heeds_the_mark: whether an instance that a spent budget has stopped is not started.
        """
        super().__init__(scope, id)
        self._heeds_the_mark = heeds_the_mark
        instances = {
            notebook.notebook_instance_name: notebook.lifecycle_config.content_hash
            for notebook in notebooks
            if notebook.lifecycle_config is not None
        }
        environment = {
            "INSTANCES": json.dumps(sorted(instances)),
            "HEEDS_THE_MARK": json.dumps(heeds_the_mark),
            "WINDOW": json.dumps(
                {
                    "days": maintenance.days,
                    "at": maintenance.at,
                    "time_zone": maintenance.time_zone,
                    "minutes": maintenance.duration_in_minutes,
                },
                sort_keys=True,
            ),
        }
        on_schedule, on_event, is_complete = (
            Function(
                self,
                name,
                package="notebook_rollout",
                handler=handler,
                description=f"{what} notebook instances of {names.environment} whose lifecycle config changed",
                timeout=cdk.Duration.minutes(2),
                environment=environment,
            )
            for name, handler, what in (
                ("Restart", "scheduled", "Restarts"),
                ("Begin", "on_event", "At a deployment, begins to look for"),
                ("Look", "is_complete", "At a deployment, restarts"),
            )
        )
        for function in (on_schedule, is_complete):
            self._grant(function, names, sorted(instances))
        schedule = ScheduleGroup.of(self, names).call(
            self,
            "Schedule",
            function=on_schedule,
            payload={},
            schedule=cron(_every_look(maintenance), maintenance.time_zone),
            description=f"The maintenance window of the notebooks of {names.environment}",
        )
        schedule.node.add_dependency(on_schedule)
        provider = Provider(
            self,
            on_event_handler=on_event,
            is_complete_handler=is_complete,
            query_interval=cdk.Duration.seconds(15),
            total_timeout=_PATIENCE,
        )
        rollout = cdk.CustomResource(
            self,
            "Resource",
            service_token=provider.service_token,
            resource_type=ROLLOUT,
            # What makes CloudFormation ask again: another script, another instance.
            properties={"LifecycleConfigs": dict(instances)},
        )
        rollout.node.add_dependency(on_schedule, is_complete, *notebooks)
        self.outcome = rollout.get_att_string("Said")

    def _grant(self, function: Function, names: EnvironmentNames, instances: Sequence[str]) -> None:
        stack = cdk.Stack.of(self)
        arns = [
            stack.format_arn(service="sagemaker", resource="notebook-instance", resource_name=name)
            for name in instances
        ]
        function.add_to_role_policy(
            iam.PolicyStatement(
                actions=[
                    "sagemaker:DescribeNotebookInstance",
                    "sagemaker:ListTags",
                    "sagemaker:StartNotebookInstance",
                    "sagemaker:StopNotebookInstance",
                ],
                resources=arns,
            )
        )
        function.add_to_role_policy(
            iam.PolicyStatement(
                actions=["sagemaker:AddTags", "sagemaker:DeleteTags"],
                resources=arns,
                # Its own mark alone: who owns an instance, and whether its budget is spent, are tags, too.
                conditions=only_tag(RESTART_TAG),
            )
        )
        # It starts no more than people may.
        if self._heeds_the_mark:
            function.add_to_role_policy(deny_starts(arns))
        # A notebook may be given another config while this policy is the old one.
        function.add_to_role_policy(
            iam.PolicyStatement(
                actions=["sagemaker:DescribeNotebookInstanceLifecycleConfig"],
                resources=[
                    stack.format_arn(
                        service="sagemaker",
                        resource="notebook-instance-lifecycle-config",
                        resource_name=names.stack_pattern,
                    )
                ],
            )
        )


def _every_look(maintenance: Maintenance) -> str:
    """Every five minutes of the days that the window touches; the function knows the minutes.

    It goes on for an hour after the window, for instances that were stopped at its end.
    """
    hour, minute = (int(part) for part in maintenance.at.split(":"))
    last = hour * 60 + minute + maintenance.duration_in_minutes + 60
    if last < 24 * 60:
        hours, days = f"{hour}-{last // 60}", list(maintenance.days)
    else:
        following = {_DAYS[(_DAYS.index(day) + 1) % 7] for day in maintenance.days}
        hours, days = "*", [day for day in _DAYS if day in {*maintenance.days, *following}]
    return f"cron(0/{_LOOK_EVERY_MINUTES} {hours} ? * {','.join(days)} *)"
