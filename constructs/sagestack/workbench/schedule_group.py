"""The schedules of the workbench's stack, in one group, each with a role that only this group may take."""

from __future__ import annotations

import json
from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as targets

from constructs import Construct
from sagestack.settings import EnvironmentNames


class ScheduleGroup(scheduler.ScheduleGroup):
    """One for each stack: get it with `of`. What fired, and how often it failed, CloudWatch counts by group."""

    def __init__(self, scope: Construct, id: str, *, names: EnvironmentNames) -> None:
        """Makes the group.

        Args:
            names: of the environment. The group has a name of ours: CDK's own would not begin with the stack's, which is
                all that a deployment may make.
        """
        # CDK would keep it when the stack is gone; it holds nothing but the stack's own schedules.
        super().__init__(scope, id, schedule_group_name=names.workbench_stack, removal_policy=cdk.RemovalPolicy.DESTROY)

    @staticmethod
    def of(scope: Construct, names: EnvironmentNames) -> ScheduleGroup:
        """The one of the stack, made when it is first asked for."""
        stack = cdk.Stack.of(scope)
        found = stack.node.try_find_child("Schedules")
        return found if isinstance(found, ScheduleGroup) else ScheduleGroup(stack, "Schedules", names=names)

    def role(self, scope: Construct, id: str, *, description: str) -> iam.Role:
        """A role that EventBridge Scheduler may take for schedules of this group alone.

        https://docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html
        """
        return iam.Role(
            scope,
            id,
            description=description,
            assumed_by=iam.ServicePrincipal(
                "scheduler.amazonaws.com",
                conditions={
                    "StringEquals": {
                        "aws:SourceAccount": cdk.Stack.of(self).account,
                        "aws:SourceArn": self.schedule_group_arn,
                    }
                },
            ),
        )

    def call(
        self,
        scope: Construct,
        id: str,
        *,
        function: lambda_.IFunction,
        payload: Mapping[str, object],
        schedule: scheduler.ScheduleExpression,
        description: str,
    ) -> scheduler.Schedule:
        """A schedule that calls a function, which Lambda then repeats where it fails.

        By the API call itself: CDK's own target would let the role call every version of the function.

        Args:
            scope: of the schedule and its role.
            id: of the schedule; its role has it, too.
            function: that is called.
            payload: what it is given.
            schedule: when.
            description: what somebody reads who finds it in the console.
        """
        role = self.role(scope, f"{id}Role", description=description)
        made = scheduler.Schedule(
            scope,
            id,
            description=description,
            schedule=schedule,
            schedule_group=self,
            target=targets.Universal(
                service="lambda",
                action="invoke",
                input=scheduler.ScheduleTargetInput.from_object(
                    {
                        "FunctionName": function.function_arn,
                        "InvocationType": "Event",
                        "Payload": json.dumps(payload, sort_keys=True),
                    }
                ),
                policy_statements=[
                    iam.PolicyStatement(actions=["lambda:InvokeFunction"], resources=[function.function_arn])
                ],
                role=role,
                retry_attempts=5,
                max_event_age=cdk.Duration.hours(1),
            ),
        )
        made.node.add_dependency(role.node.find_child("DefaultPolicy"))
        return made


def cron(expression: str, time_zone: str) -> scheduler.ScheduleExpression:
    """A schedule as the settings have it, in its time zone: clocks that are put forward or back do not move it."""
    return scheduler.ScheduleExpression.expression(expression, cdk.TimeZone.of(time_zone))
