"""Notices a version that answers wrongly while it has no more than its first share of the traffic."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_

from constructs import Construct
from functions.deployment_gate.names import NAMESPACE, WRONG
from sagestack.endpoint import Endpoint
from sagestack.functions import Function

_LONGEST_CALL = cdk.Duration.minutes(15)  # Lambda's own limit; a longer update is watched by several calls in a row


class GoldenProbe(Construct):
    """Asks the golden records of the old and the new version while an endpoint is updated, and rings at a wrong answer.

    SageMaker takes an update back for errors and for slowness; that a version answers quickly and wrongly it cannot know.
    The alarm belongs to the alarms that roll an update back (`RollbackAlarms.add`).

    What it costs: nothing while nothing is updated but the alarm itself. During an update, one function of 256 MB that
    runs (about 0.015 USD an hour), `requests_per_second` predictions, which the endpoint's instances answer besides the others,
    and three metrics. Every request has the InferenceId `sagestack-golden-record`, also in what data capture keeps of it, so
    that monitoring can leave it out.

    Attributes:
        alarm: rings when an answer is of neither version.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        endpoint_name: str,
        model_package_arns: Sequence[str],
        grant_read_golden_records: Callable[[iam.IGrantable], object],
        requests_per_second: float = 2,  # a canary of a tenth is met 12 times in the minute that the alarm looks at
    ) -> None:
        """Makes the rule, the function and the alarm.

        Args:
            endpoint_name: the plain name: the rule and the alarm are there before the endpoint.
            model_package_arns: all versions that it serves; those before and after are of the same groups.
            grant_read_golden_records: lets the function read where versions keep their records.
            requests_per_second: how many records are asked, while an update goes on; up to 20.

        Raises:
            ValueError: requests_per_second is not more than 0 and up to 20.
        """
        super().__init__(scope, id)
        if not 0 < requests_per_second <= 20:
            raise ValueError(f"requests_per_second must be more than 0 and up to 20, got {requests_per_second}")
        function = Function(
            self,
            "Function",
            package="deployment_gate",
            handler="watch",
            description=f"Asks golden records of {endpoint_name} while it is updated",
            timeout=_LONGEST_CALL,
            environment={"REQUESTS_PER_SECOND": f"{requests_per_second:g}"},
        )
        give_room_for_boto3(function)
        grant_look_at_endpoint(function, endpoint_name, model_package_arns)
        grant_ask(function, endpoint_name)
        grant_read_golden_records(function)
        function.add_to_role_policy(
            iam.PolicyStatement(
                actions=["cloudwatch:PutMetricData"],
                # It takes no resource: the namespace is the boundary.
                resources=["*"],
                conditions={"StringEquals": {"cloudwatch:namespace": NAMESPACE}},
            )
        )
        self._let_it_call_itself(function)
        # L1, since the L2's target names the permission after the stack: the same resource would have another logical id in
        # every environment.
        rule = events.CfnRule(
            self,
            "Updating",
            description=f"An update of {endpoint_name} begins",
            event_pattern={
                "source": ["aws.sagemaker"],
                "detail-type": ["SageMaker Endpoint State Change"],
                "detail": {"EndpointName": [endpoint_name], "EndpointStatus": ["UPDATING"]},
            },
            targets=[
                events.CfnRule.TargetProperty(
                    id="Probe",
                    arn=function.function_arn,
                    # Late is useless: the gate after the update looks anyway.
                    retry_policy=events.CfnRule.RetryPolicyProperty(
                        maximum_event_age_in_seconds=300, maximum_retry_attempts=2
                    ),
                )
            ],
        )
        function.add_permission(
            "Updating", principal=iam.ServicePrincipal("events.amazonaws.com"), source_arn=rule.attr_arn
        )
        self.alarm = cloudwatch.Alarm(
            self,
            "Alarm",
            alarm_name=f"{endpoint_name}-golden-records",
            alarm_description=f"{endpoint_name}: a golden record got an answer that neither version recorded.",
            metric=cloudwatch.Metric(
                namespace=NAMESPACE,
                metric_name=WRONG,
                dimensions_map={"EndpointName": endpoint_name},
                statistic="Sum",
                period=cdk.Duration.minutes(1),
            ),
            # The same question has the same answer: one other is one too many.
            threshold=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )

    def watch(self, endpoint: Endpoint) -> None:
        """Has everything in place before the endpoint changes; it must know the alarm already (`rollback_alarms`)."""
        endpoint.resource.node.add_dependency(self)

    def _let_it_call_itself(self, function: Function) -> None:
        """An update takes up to eight hours, a call of Lambda a quarter of one.

        Lambda ends loops after about 16 calls unless they are meant:
        https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
        """
        resource = function.node.default_child
        assert isinstance(resource, lambda_.CfnFunction)
        resource.recursive_loop = "Allow"
        # A policy of its own: in the role's default policy, on which the function depends, it would be a circle.
        iam.Policy(
            self,
            "Again",
            roles=[_role(function)],
            statements=[iam.PolicyStatement(actions=["lambda:InvokeFunction"], resources=[function.function_arn])],
        )


def give_room_for_boto3(function: Function) -> None:
    """botocore's description of SageMaker alone fills Lambda's default of 128 MB."""
    resource = function.node.default_child
    assert isinstance(resource, lambda_.CfnFunction)
    resource.memory_size = 256


def grant_look_at_endpoint(function: Function, endpoint_name: str, model_package_arns: Sequence[str]) -> None:
    """Lets a function see what an endpoint serves: its configuration, its models and their versions."""
    stack = cdk.Stack.of(function)

    def arn(resource: str, name: str) -> str:
        return stack.format_arn(service="sagemaker", resource=resource, resource_name=name)

    function.add_to_role_policy(
        iam.PolicyStatement(actions=["sagemaker:DescribeEndpoint"], resources=[arn("endpoint", endpoint_name.lower())])
    )
    function.add_to_role_policy(
        iam.PolicyStatement(
            actions=["sagemaker:DescribeEndpointConfig", "sagemaker:DescribeModel"],
            # CloudFormation names them, and the ones before them are looked at, too.
            resources=[arn("endpoint-config", "*"), arn("model", "*")],
        )
    )
    if model_package_arns:
        function.add_to_role_policy(
            iam.PolicyStatement(
                actions=["sagemaker:DescribeModelPackage"],
                resources=list(dict.fromkeys(f"{arn.rpartition('/')[0]}/*" for arn in model_package_arns)),
            )
        )


def grant_ask(function: Function, endpoint_name: str, *actions: str) -> None:
    """Lets a function ask for predictions, of this endpoint alone."""
    arn = cdk.Stack.of(function).format_arn(
        service="sagemaker", resource="endpoint", resource_name=endpoint_name.lower()
    )
    function.add_to_role_policy(
        iam.PolicyStatement(actions=list(actions) or ["sagemaker:InvokeEndpoint"], resources=[arn])
    )


def group_of(model_package_arn: str) -> str:
    """The ARN of a version's group."""
    return model_package_arn.replace(":model-package/", ":model-package-group/").rpartition("/")[0]


def _role(function: Function) -> iam.IRole:
    assert function.role is not None
    return function.role
