"""Lets instances that are scaled change their type."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_applicationautoscaling as autoscaling
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sagemaker as sagemaker

from constructs import Construct
from functions.scaling_handover.names import RELEASE, RESTORE
from sagestack.functions import Function, Provider
from sagestack.scaling_policies import ScalingPolicy


class ScalingHandover(Construct):
    """Takes the registration off before the endpoint's instances change their type, and puts it back after.

    SageMaker refuses to change the type of a variant that is registered with Application Auto Scaling, and CloudFormation
    deregisters nothing before it updates what the registration depends on. So there is a custom resource on each side of the
    endpoint: one deregisters, the other registers again. They do so only when the type changes in git, or changes back: when
    an update is rolled back they look at what the endpoint really runs on, and put all of the old registration back.
    https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-update.html

    While the type changes nothing scales; the count stays.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        endpoint: sagemaker.CfnEndpoint | sagemaker.CfnInferenceComponent,
        target: autoscaling.CfnScalableTarget,
        endpoint_name: str,
        instance_type: str,
        policies: Mapping[str, ScalingPolicy],
        scheduled_actions: Sequence[Mapping[str, Any]],
        alarm_name: str | None,
    ) -> None:
        """Makes the function and the two custom resources around the endpoint.

        Args:
            endpoint: what they stand around.
            target: the registration, which comes after them.
            endpoint_name: in plain text.
            instance_type: what the registered variant is to run on.
            policies: what is to be put back, by name.
            scheduled_actions: the same.
            alarm_name: the alarm that wakes the endpoint from zero; it names the policy by an ARN, which changes.
        """
        super().__init__(scope, id)
        function = Function(
            self,
            "Function",
            package="scaling_handover",
            description=f"Lets the instances of {endpoint_name} change their type though they are scaled",
            timeout=cdk.Duration.minutes(2),
            environment={},
        )
        self._grant(function, endpoint_name, target, alarm_name)
        provider = Provider(
            self,
            on_event_handler=function,
        )
        registration = {
            "Target": {
                "ResourceId": target.resource_id,
                "ScalableDimension": target.scalable_dimension,
                "MinCapacity": target.min_capacity,
                "MaxCapacity": target.max_capacity,
            },
            "Policies": [
                {"PolicyName": name, "PolicyType": policy.kind, policy.configuration_key: policy.configuration}
                for name, policy in policies.items()
            ],
            "ScheduledActions": list(scheduled_actions),
            "AlarmName": alarm_name,
        }
        release, restore = (
            cdk.CustomResource(
                self,
                kind.removeprefix("Custom::SagestackScaling"),
                service_token=provider.service_token,
                resource_type=kind,
                properties={
                    "InstanceType": instance_type,
                    # As text: CloudFormation makes strings of all numbers in a custom resource.
                    "Registration": json.dumps(registration, sort_keys=True),
                },
            )
            for kind in (RELEASE, RESTORE)
        )
        for resource in (release, restore):
            resource.node.add_dependency(function)
        endpoint.node.add_dependency(release)
        restore.node.add_dependency(endpoint)
        target.node.add_dependency(restore)

    def _grant(
        self, function: Function, endpoint_name: str, target: autoscaling.CfnScalableTarget, alarm_name: str | None
    ) -> None:
        stack = cdk.Stack.of(self)

        def arn(service: str, resource: str, name: str, arn_format: cdk.ArnFormat) -> str:
            return stack.format_arn(service=service, resource=resource, resource_name=name, arn_format=arn_format)

        slash, colon = cdk.ArnFormat.SLASH_RESOURCE_NAME, cdk.ArnFormat.COLON_RESOURCE_NAME
        function.add_to_role_policy(
            iam.PolicyStatement(
                actions=[
                    f"application-autoscaling:{action}"
                    for action in (
                        "DeregisterScalableTarget",
                        "PutScalingPolicy",
                        "PutScheduledAction",
                        "RegisterScalableTarget",
                    )
                ],
                resources=[arn("application-autoscaling", "scalable-target", "*", slash)],
                conditions={
                    "StringEquals": {
                        "application-autoscaling:service-namespace": "sagemaker",
                        "application-autoscaling:scalable-dimension": target.scalable_dimension,
                    }
                },
            )
        )
        # Who registers must be allowed what is then done for it:
        # https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-prerequisites.html
        function.add_to_role_policy(
            iam.PolicyStatement(
                actions=["sagemaker:DescribeEndpoint", "sagemaker:UpdateEndpointWeightsAndCapacities"],
                resources=[arn("sagemaker", "endpoint", endpoint_name, slash)],
            )
        )
        function.add_to_role_policy(
            iam.PolicyStatement(
                actions=["sagemaker:DescribeEndpointConfig"],
                resources=[arn("sagemaker", "endpoint-config", "*", slash)],
            )
        )
        function.add_to_role_policy(
            iam.PolicyStatement(actions=["cloudformation:DescribeStacks"], resources=[stack.stack_id])
        )
        alarms = [f"TargetTracking-{target.resource_id}-*", *([alarm_name] if alarm_name else [])]
        function.add_to_role_policy(
            iam.PolicyStatement(
                actions=["cloudwatch:DeleteAlarms", "cloudwatch:DescribeAlarms", "cloudwatch:PutMetricAlarm"],
                resources=[arn("cloudwatch", "alarm", name, colon) for name in alarms],
            )
        )
