"""Mails, on a schedule, which notebooks run for nobody, and which of them nothing would ever stop."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions

from constructs import Construct
from sagestack.functions import Function
from sagestack.review.prices import Prices, load_prices
from sagestack.settings import EnvironmentNames, SettingsError
from sagestack.settings.workbench import IdleReport as IdleReportSettings
from sagestack.settings.workbench import LifecycleOptions, Notebook
from sagestack.wildcards import acknowledge_wildcards
from sagestack.workbench.cost_tags import tag_workbench
from sagestack.workbench.running_notebooks import prices_of, stopped_by
from sagestack.workbench.schedule_group import ScheduleGroup, cron

_VARIABLES_LIMIT = 3_600
"""Of Lambda's 4 KB for all variables of a function: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

_TOPIC_SIZE = 200
"""At most, of the topic's ARN and the names of all three."""


class IdleReport(Construct):
    """Looks at all that runs in the workbench, who has it, since when, when it was last used and what it has cost.

    It changes nothing, and says nothing when there is nothing to say. Auto-stop is what stops; this names what has none.

    Attributes:
        topic: that the mails are sent by.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        names: EnvironmentNames,
        report: IdleReportSettings,
        notebooks: Mapping[str, Notebook],
        lifecycle_configs: Mapping[str, LifecycleOptions],
        encryption_key: kms.IKey,
        studio_domain_id: str | None = None,
        studio_stopped_by: Sequence[str] = (),
        studio_instance_types: Iterable[str] = (),
        prices: Prices | None = None,
    ) -> None:
        """Makes the function, its schedule and the topic.

        Args:
            names: of the environment.
            report: when, to whom, and from when on something is idle.
            notebooks: by name, as the settings have them.
            lifecycle_configs: that they name, by name.
            encryption_key: of the topic.
            studio_domain_id: None where the environment has none.
            studio_stopped_by: in words, what stops idle applications there (`idle shutdown after 60 min`).
            studio_instance_types: whose price is worth knowing there.
            prices: default: the tables that the review has.

        Raises:
            SettingsError: there are more notebooks than the function can be told of.
        """
        super().__init__(scope, id)
        stack = cdk.Stack.of(self)
        tag_workbench(stack, names)
        self.topic = sns.Topic(
            self,
            "Topic",
            master_key=encryption_key,
            enforce_ssl=True,
            display_name=f"Idle notebooks of {names.environment}",
        )
        for email in report.emails:
            self.topic.add_subscription(subscriptions.EmailSubscription(email))
        told = {
            "WORKBENCH": {
                "workbench": {
                    "environment": names.environment,
                    "region": stack.region,
                    "notebook_prefix": names.notebook_instance(""),
                    "notebooks": {name: stopped_by(each, lifecycle_configs) for name, each in notebooks.items()},
                    "studio_domain_id": studio_domain_id,
                    "studio_stopped_by": list(studio_stopped_by),
                },
                "idle_hours": report.idle_hours,
                "says_when_nothing_idles": report.says_when_nothing_idles,
            },
            "PRICES": prices_of(prices or load_prices(), stack.region, notebooks, studio_instance_types),
        }
        # Of the values themselves: a whole text that is only known at deployment has the length of its token.
        if (size := sum(len(_compact(value)) for value in told.values()) + _TOPIC_SIZE) > _VARIABLES_LIMIT:
            said = (
                f"what is to be said of {len(notebooks)} notebooks is too much for one function ({size} of {_VARIABLES_LIMIT}"
                " characters); give the environment fewer, or shorter names, or set idle_report to null"
            )
            raise SettingsError([f"environments/{names.environment}.yaml: workbench.idle_report: {said}"])
        self._function = Function(
            self,
            "Function",
            package="idle_report",
            description=f"Says which notebooks of {names.environment} run for nobody",
            timeout=cdk.Duration.minutes(5),
            environment={
                "TOPIC_ARN": self.topic.topic_arn,
                **{key: _said(value, stack) for key, value in told.items()},
            },
        )
        self._function.configure_async_invoke(
            retry_attempts=2,
            max_event_age=cdk.Duration.hours(1),
            on_failure=destinations.SnsDestination(self.topic),
        )
        self.topic.grant_publish(self._function)
        self._grant_look(names, studio_domain_id)
        ScheduleGroup.of(self, names).call(
            self,
            "Schedule",
            function=self._function,
            payload={},
            schedule=cron(report.schedule, report.time_zone),
            description=f"Asks which notebooks of {names.environment} idle",
        )

    def _grant_look(self, names: EnvironmentNames, studio_domain_id: str | None) -> None:
        stack = cdk.Stack.of(self)
        here = {"StringEquals": {"aws:RequestedRegion": stack.region}}
        statements = [
            # None of these takes a resource: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
            iam.PolicyStatement(
                actions=[
                    "cloudwatch:GetMetricData",
                    "sagemaker:ListNotebookInstances",
                    *(["sagemaker:ListApps"] if studio_domain_id else []),
                ],
                resources=["*"],
                conditions=here,
            ),
            iam.PolicyStatement(
                actions=["sagemaker:ListTags"],
                resources=[
                    stack.format_arn(
                        service="sagemaker", resource="notebook-instance", resource_name=names.notebook_instance("*")
                    )
                ],
            ),
        ]
        if studio_domain_id:
            statements.append(
                iam.PolicyStatement(
                    actions=["sagemaker:DescribeApp", "sagemaker:DescribeSpace", "sagemaker:ListTags"],
                    resources=[
                        stack.format_arn(service="sagemaker", resource=kind, resource_name=f"{studio_domain_id}/*")
                        for kind in ("app", "space")
                    ],
                )
            )
        for statement in statements:
            self._function.add_to_role_policy(statement)
        acknowledge_wildcards(
            self,
            # What names the Studio domain is known when it is deployed, and accepted in accepted_risks.py.
            statements[:2],
            "Only to look: what somebody made by hand, under a name of the environment's, costs as much as what a stack made.",
        )


def _said(value: object, stack: cdk.Stack) -> str:
    """As compact as JSON can be; a domain's id is only known when it is deployed."""
    text = _compact(value)
    return stack.to_json_string(value) if cdk.Token.is_unresolved(text) else text


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


__all__ = ["IdleReport", "stopped_by"]
