"""When an update is bad: the alarms that take it back, and where they are heard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import aws_cdk as cdk
import jsii
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns

from constructs import Construct
from sagestack import settings
from sagestack.endpoint_metrics import EndpointMetrics, error_percent, p99_latency_ms, saturation_percent
from sagestack.update_policy import MOST_ALARMS


class RollbackAlarms(Construct):
    """Three alarms: failed requests, slow ones, and instances that are full; each of the worst of the variants.

    They ring in ordinary operation, too, and go to a topic; during an update SageMaker watches them and takes the
    update back. What they see is a variant as callers see it, the old and the new fleet together: SageMaker has no
    metrics of one fleet alone. A limit for errors must therefore be below the canary's share, which the settings check.
    Silence is no alarm: an endpoint that nobody calls has no data, and no data does not breach.

    Attributes:
        alarms: what SageMaker is to watch, in the order in which they were added.
        topic: where they are heard.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        endpoint_name: str,
        variant_names: Sequence[str],
        limits: settings.RollbackLimits,
        p99_latency_ms: float,
        encryption_key: kms.IKey,
        instance_types: Mapping[str, str] | None = None,
        component_name: str | None = None,
    ) -> None:
        """Makes the alarms, and the topic unless the limits name one.

        Args:
            endpoint_name: the plain name, which the alarms are called after; a token would tie them to an endpoint that
                does not exist before them.
            variant_names: the variants that answer callers; a shadow's trouble is nobody's.
            limits: what is too much; `p99_latency_ms` there wins over the model's own.
            p99_latency_ms: the model's own budget, in milliseconds.
            encryption_key: for the topic; CloudWatch is let in, for these alarms alone.
            instance_types: by variant name; without it, memory alone counts as saturation. None for serverless.
            component_name: watch this inference component rather than the variants, whose instances it shares.
        """
        super().__init__(scope, id)
        self._endpoint_name = endpoint_name
        self.alarms: list[cloudwatch.IAlarm] = []
        self.topic = (
            sns.Topic.from_topic_arn(self, "Topic", limits.topic_arn)
            if limits.topic_arn
            else self._own_topic(encryption_key)
        )
        watched = (
            [EndpointMetrics.of_component(component_name)]
            if component_name
            else [
                EndpointMetrics.of_variant(endpoint_name, name, (instance_types or {}).get(name))
                for name in variant_names
            ]
        )
        budget_ms = limits.p99_latency_ms or p99_latency_ms
        # An alarm reckons with ten metrics at most, and saturation takes two of each variant.
        groups = [watched[start : start + 5] for start in range(0, len(watched), 5)]
        for number, variants in enumerate(groups, start=1):
            self._watch(variants, limits, budget_ms, group=f"-{number}" if len(groups) > 1 else "")

    def add(self, alarm: cloudwatch.IAlarm) -> None:
        """Takes another alarm in: it rolls updates back as the others do. Where it is heard is its own affair.

        Raises:
            ValueError: it is one more than SageMaker watches.
        """
        if len(self.alarms) >= MOST_ALARMS:
            raise ValueError(f"{alarm.node.path} would be one alarm more than the {MOST_ALARMS} that SageMaker watches")
        self.alarms.append(alarm)

    def grant_describe(self, role: iam.IRole) -> None:
        """Lets the endpoint's role look at the alarms, without which SageMaker cannot roll back.

        https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
        """
        role.add_to_principal_policy(
            iam.PolicyStatement(
                actions=["cloudwatch:DescribeAlarms"],
                # Late: alarms may be added after the grant.
                resources=cdk.Lazy.list(_Arns(self.alarms)),
            )
        )

    def _watch(
        self, variants: Sequence[EndpointMetrics], limits: settings.RollbackLimits, budget_ms: float, *, group: str
    ) -> None:
        self._alarm(
            f"Errors{group}",
            error_percent(variants),
            threshold=limits.error_percent,
            minutes=1,
            text=f"more than {limits.error_percent:g} percent of the requests ended in a 5xx",
        )
        self._alarm(
            f"Latency{group}",
            p99_latency_ms(variants),
            threshold=budget_ms,
            minutes=2,
            text=f"one request in a hundred took the model longer than {budget_ms:g} ms",
        )
        self._alarm(
            f"Saturation{group}",
            saturation_percent(variants),
            threshold=limits.saturation_percent,
            minutes=2,
            text=f"an instance used more than {limits.saturation_percent:g} percent of its CPU or memory",
        )

    def _alarm(self, what: str, metric: cloudwatch.IMetric, *, threshold: float, minutes: int, text: str) -> None:
        # Failures count at once. Speed and fullness must last: an instance that has just started is slow once.
        alarm = cloudwatch.Alarm(
            self,
            what,
            alarm_name=f"{self._endpoint_name}-{what.lower()}",
            alarm_description=f"{self._endpoint_name}: {text}, for {minutes} min",
            metric=metric,
            threshold=threshold,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            evaluation_periods=minutes,
            datapoints_to_alarm=minutes,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        alarm.add_alarm_action(actions.SnsAction(self.topic))
        alarm.add_ok_action(actions.SnsAction(self.topic))
        self.add(alarm)

    def _own_topic(self, encryption_key: kms.IKey) -> sns.Topic:
        topic = sns.Topic(
            self, "Topic", master_key=encryption_key, enforce_ssl=True, display_name=f"Alarms of {self._endpoint_name}"
        )
        stack = cdk.Stack.of(self)
        of_these_alarms = {
            "StringEquals": {"aws:SourceAccount": stack.account},
            "ArnLike": {
                "aws:SourceArn": stack.format_arn(
                    service="cloudwatch",
                    resource="alarm",
                    resource_name=f"{self._endpoint_name}-*",
                    arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
                )
            },
        }
        cloudwatch_service = iam.ServicePrincipal("cloudwatch.amazonaws.com")
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["sns:Publish"],
                principals=[cloudwatch_service],
                resources=[topic.topic_arn],
                conditions=of_these_alarms,
            )
        )
        # Without it CloudWatch rings and nobody hears: it may publish, and not encrypt what it publishes.
        # https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html#compatibility-with-aws-services
        encryption_key.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["kms:Decrypt", "kms:GenerateDataKey*"],
                principals=[cloudwatch_service],
                resources=["*"],  # of a key's policy: the key
                conditions=of_these_alarms,
            )
        )
        return topic


@jsii.implements(cdk.IStableListProducer)
class _Arns:
    """The ARNs of what is in a list by the time of the synthesis."""

    def __init__(self, alarms: Sequence[cloudwatch.IAlarm]) -> None:
        self._alarms = alarms

    def produce(self) -> list[str]:
        return [alarm.alarm_arn for alarm in self._alarms]
