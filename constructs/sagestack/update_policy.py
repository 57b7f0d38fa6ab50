"""How an endpoint changes from one version to the next: the guardrails of SageMaker, from the settings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_sagemaker as sagemaker

from sagestack import settings
from sagestack.settings.update_checks import chosen_update, is_unguarded, update_problems

MOST_ALARMS = 10
"""How many alarms SageMaker watches during one update.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_AutoRollbackConfig.html
"""


@dataclass(frozen=True)
class UpdatePolicy:
    """How traffic moves, what rolls it back, and what an update leaves alone.

    Attributes:
        update: the stages; None where SageMaker has no guardrails: a serverless endpoint, or one copy of a component.
        autoscaled: whether something but git decides how many instances there are.
    """

    update: settings.Update | None
    autoscaled: bool
    is_component: bool = False

    @property
    def retain_all_variant_properties(self) -> bool:
        """What the endpoint has become since it was deployed stays, but for `exclude_retained_variant_properties`."""
        return True

    @property
    def exclude_retained_variant_properties(self) -> list[sagemaker.CfnEndpoint.VariantPropertyProperty]:
        """What git owns, so that a change there arrives whatever was done to the running endpoint.

        The weights, always: they are written in the environment's file, and a shift by hand ends with the next deploy.
        The instance counts where nothing scales them; where something does, the count of the moment stays: SageMaker
        would else go back to `initial_instance_count` in the middle of the day. It is all variants or none.
        Data capture needs no exclusion: it is a property of the config, not of a variant, and SageMaker documents its
        place in this list as "not currently supported":
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_VariantProperty.html
        """
        kinds = ["DesiredWeight"] if self.autoscaled else ["DesiredWeight", "DesiredInstanceCount"]
        return [sagemaker.CfnEndpoint.VariantPropertyProperty(variant_property_type=kind) for kind in kinds]

    def deployment_config(
        self, alarms: Sequence[cloudwatch.IAlarm]
    ) -> sagemaker.CfnEndpoint.DeploymentConfigProperty | None:
        """The stages, with the alarms that roll them back; None where an endpoint of this kind has none.

        Raises:
            ValueError: more alarms than SageMaker watches.
        """
        if self.update is None or self.is_component:
            return None
        _check_count(alarms)
        property_of = sagemaker.CfnEndpoint
        rollback = (
            property_of.AutoRollbackConfigProperty(
                alarms=[property_of.AlarmProperty(alarm_name=alarm.alarm_name) for alarm in alarms]
            )
            if alarms
            else None
        )
        if isinstance(self.update, settings.Rolling):
            return property_of.DeploymentConfigProperty(
                auto_rollback_configuration=rollback,
                rolling_update_policy=property_of.RollingUpdatePolicyProperty(
                    maximum_batch_size=_percent_of_capacity(self.update.batch_percent),
                    # Back at once: there is no reason to let a bad version answer batch by batch.
                    rollback_maximum_batch_size=_percent_of_capacity(100),
                    wait_interval_in_seconds=self.update.bake_in_seconds,
                    maximum_execution_timeout_in_seconds=self.update.maximum_execution_in_seconds,
                ),
            )
        return property_of.DeploymentConfigProperty(
            auto_rollback_configuration=rollback,
            blue_green_update_policy=property_of.BlueGreenUpdatePolicyProperty(
                traffic_routing_configuration=_traffic_routing(self.update),
                termination_wait_in_seconds=self.update.termination_wait_in_seconds,
                maximum_execution_timeout_in_seconds=self.update.maximum_execution_in_seconds,
            ),
        )

    def component_deployment_config(
        self, alarms: Sequence[cloudwatch.IAlarm]
    ) -> sagemaker.CfnInferenceComponent.InferenceComponentDeploymentConfigProperty | None:
        """The same for an inference component, which rolls by copies; None for one copy, which SageMaker just replaces.

        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_InferenceComponentRollingUpdatePolicy.html

        Raises:
            ValueError: more alarms than SageMaker watches.
        """
        if not self.is_component or not isinstance(self.update, settings.Rolling):
            return None
        _check_count(alarms)
        property_of = sagemaker.CfnInferenceComponent
        return property_of.InferenceComponentDeploymentConfigProperty(
            auto_rollback_configuration=property_of.AutoRollbackConfigurationProperty(
                alarms=[property_of.AlarmProperty(alarm_name=alarm.alarm_name) for alarm in alarms]
            )
            if alarms
            else None,
            rolling_update_policy=property_of.InferenceComponentRollingUpdatePolicyProperty(
                maximum_batch_size=_percent_of_copies(self.update.batch_percent),
                rollback_maximum_batch_size=_percent_of_copies(100),
                wait_interval_in_seconds=self.update.bake_in_seconds,
                maximum_execution_timeout_in_seconds=self.update.maximum_execution_in_seconds,
            ),
        )


def update_policy(hosting: settings.Hosting, *, model_package_arns: Sequence[str] = ()) -> UpdatePolicy:
    """The policy for an endpoint: what its settings say, or a canary (all at once where one instance may be all).

    Args:
        hosting: how the model is served.
        model_package_arns: what is served; AWS Marketplace's packages are not guarded, and refused.

    Raises:
        ValueError: SageMaker would not guard this update, or not in time; one line for each reason.
    """
    if problems := update_problems(hosting):
        raise ValueError("\n".join(problems))
    for arn in model_package_arns:
        _check_origin(arn)
    unguarded = not isinstance(hosting, settings.Serverless) and is_unguarded(hosting.instance_type)
    return UpdatePolicy(
        update=None if unguarded else chosen_update(hosting),
        autoscaled=hosting.autoscaling is not None,
        is_component=isinstance(hosting, settings.InferenceComponents),
    )


def _check_origin(arn: str) -> None:
    if not cdk.Token.is_unresolved(arn) and not re.fullmatch(r".*:model-package/[^/]+/\d+", arn):
        raise ValueError(
            f"{arn} is no version of a model package group, so it comes from AWS Marketplace, and SageMaker guards no update"
            " of such an endpoint: all traffic moves at once and no alarm is watched. Register the model as a version"
        )


def _check_count(alarms: Sequence[cloudwatch.IAlarm]) -> None:
    if len(alarms) > MOST_ALARMS:
        raise ValueError(
            f"{len(alarms)} alarms would roll the update back, and SageMaker watches {MOST_ALARMS} at most:"
            " combine some in a composite alarm"
        )


def _traffic_routing(
    update: settings.Canary | settings.Linear | settings.AllAtOnce,
) -> sagemaker.CfnEndpoint.TrafficRoutingConfigProperty:
    routing = sagemaker.CfnEndpoint.TrafficRoutingConfigProperty
    match update:
        case settings.Canary():
            return routing(
                type="CANARY",
                canary_size=_percent_of_capacity(update.canary_percent),
                wait_interval_in_seconds=update.bake_in_seconds,
            )
        case settings.Linear():
            return routing(
                type="LINEAR",
                linear_step_size=_percent_of_capacity(update.step_percent),
                wait_interval_in_seconds=update.bake_in_seconds,
            )
        case settings.AllAtOnce():
            return routing(type="ALL_AT_ONCE", wait_interval_in_seconds=update.bake_in_seconds)


def _percent_of_capacity(percent: int) -> sagemaker.CfnEndpoint.CapacitySizeProperty:
    # Not INSTANCE_COUNT: the fleet that an update finds is as large as autoscaling has made it.
    return sagemaker.CfnEndpoint.CapacitySizeProperty(type="CAPACITY_PERCENT", value=percent)


def _percent_of_copies(percent: int) -> sagemaker.CfnInferenceComponent.InferenceComponentCapacitySizeProperty:
    return sagemaker.CfnInferenceComponent.InferenceComponentCapacitySizeProperty(
        type="CAPACITY_PERCENT", value=percent
    )
