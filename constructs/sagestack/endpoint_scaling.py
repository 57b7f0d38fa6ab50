"""How many instances (copies, provisioned requests) an endpoint has, by load and by the clock."""

from __future__ import annotations

import jsii
from aws_cdk import aws_applicationautoscaling as autoscaling
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_sagemaker as sagemaker

from constructs import Construct
from sagestack import settings
from sagestack.endpoint_metrics import INVOCATIONS, PUBLISHED_EVERY
from sagestack.scaling_handover import ScalingHandover
from sagestack.scaling_policies import Scaled, ScalingPolicy, from_zero, scheduled_actions, tracking_policies
from sagestack.settings.scaling_checks import scaling_problems

INSTANCE_COUNT = "sagemaker:variant:DesiredInstanceCount"
PROVISIONED_CONCURRENCY = "sagemaker:variant:DesiredProvisionedConcurrency"
COPY_COUNT = "sagemaker:inference-component:DesiredCopyCount"


class EndpointScaling(Construct):
    """Keeps a measure of load even, by target tracking; from zero and back where the kind of endpoint allows it.

    Application Auto Scaling acts with its service-linked role, which it makes itself. What an update of the endpoint finds
    stays: see `UpdatePolicy.exclude_retained_variant_properties`. What instances are scaled can change their type: see
    `ScalingHandover`.

    Attributes:
        target: what is scaled.
        policies: what scales it.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        endpoint: sagemaker.CfnEndpoint | sagemaker.CfnInferenceComponent,
        resource_id: str,
        scalable_dimension: str,
        hosting: settings.Hosting,
    ) -> None:
        """Registers what is scaled once the endpoint is there.

        Args:
            endpoint: what must exist first; the variants of an endpoint, or the copies of a component.
            resource_id: `endpoint/NAME/variant/NAME` or `inference-component/NAME`, in plain text.
            scalable_dimension: one of the constants of this module.
            hosting: its `autoscaling` says the bounds and the targets; without it there is nothing to construct.

        Raises:
            ValueError: there is no autoscaling, or one that could not work; one line for each reason.
        """
        super().__init__(scope, id)
        scaling = hosting.autoscaling
        if scaling is None:
            raise ValueError(f"{resource_id} has no autoscaling in its settings, so there is nothing to register")
        if problems := scaling_problems(hosting):
            raise ValueError("\n".join(problems))
        scaled = Scaled(resource_id)
        says = [*tracking_policies(scaling, scaled), *([from_zero(scaling)] if scaling.least == 0 else [])]
        instance_type = (
            hosting.instance_type
            if scalable_dimension == INSTANCE_COUNT and not isinstance(hosting, settings.Serverless)
            else None
        )
        # A value that was measured on one type says nothing of another; and where the type changes, the policies are
        # deleted with the registration, so that those after it must be new to CloudFormation.
        names = {policy.name: f"{policy.name}-{instance_type}" if instance_type else policy.name for policy in says}

        self.target = autoscaling.CfnScalableTarget(
            self,
            "Target",
            service_namespace="sagemaker",
            resource_id=resource_id,
            scalable_dimension=scalable_dimension,
            min_capacity=scaling.min_capacity,
            max_capacity=scaling.max_capacity,
        )
        if actions := scheduled_actions(scaling):
            self.target.add_property_override("ScheduledActions", actions)
        # A variant can be registered once it is in service, and not before.
        self.target.add_resource_dependency(endpoint)
        self.policies = [self._policy(policy, names[policy.name]) for policy in says]
        alarm = self._waits_in_vain(scaled, self.policies[-1]) if scaling.least == 0 else None
        if instance_type:
            ScalingHandover(
                self,
                "Handover",
                endpoint=endpoint,
                target=self.target,
                endpoint_name=scaled.name,
                instance_type=instance_type,
                policies={names[policy.name]: policy for policy in says},
                scheduled_actions=actions,
                alarm_name=alarm,
            )

    def _policy(self, policy: ScalingPolicy, name: str) -> autoscaling.CfnScalingPolicy:
        resource = autoscaling.CfnScalingPolicy(
            self, policy.name, policy_name=name, policy_type=policy.kind, scaling_target_id=self.target.ref
        )
        resource.add_property_override(policy.configuration_key, dict(policy.configuration))
        return resource

    def _waits_in_vain(self, scaled: Scaled, wakes: autoscaling.CfnScalingPolicy) -> str:
        """Rings when requests wait and there is nothing to answer them; gives the alarm's name.

        Asynchronous endpoints say that the queue has no instances, components that requests failed for want of a copy:
        https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-monitor.html
        https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-zero-instances.html
        """
        name = f"{scaled.name}-waits-in-vain"
        alarm = cloudwatch.Alarm(
            self,
            "WaitsInVain",
            alarm_name=name,
            alarm_description=f"Requests wait for {scaled.resource_id}, which has scaled to zero: this starts it.",
            metric=cloudwatch.Metric(
                namespace=INVOCATIONS,
                metric_name="NoCapacityInvocationFailures" if scaled.is_component else "HasBacklogWithoutCapacity",
                dimensions_map=scaled.queue,
                statistic="Maximum",
                period=PUBLISHED_EVERY,
            ),
            threshold=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.MISSING,
        )
        alarm.add_alarm_action(_Action(wakes.ref))
        return name


@jsii.implements(cloudwatch.IAlarmAction)
class _Action:
    """Something that an alarm starts, by its ARN."""

    def __init__(self, arn: str) -> None:
        self._arn = arn

    def bind(self, scope: Construct, alarm: cloudwatch.IAlarm) -> cloudwatch.AlarmActionConfig:
        return cloudwatch.AlarmActionConfig(alarm_action_arn=self._arn)
