"""What CloudFormation does with what works and is watched, as statements of a policy: each kind of resource but the base.

The actions are what CloudFormation's own resource handlers ask for, as far as our stacks use them:
https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-schema.html (`handlers`)
"""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from sagestack.policy_statements import TAGS, Scope, allow


class WorkingStatements(Scope):
    """The statements for what works in one environment.

    What carries the environment's name is limited to it. What CloudFormation names otherwise (APIs, SageMaker's models and
    endpoint configurations) is limited to the kind, the account and the region.
    """

    def all(self) -> list[iam.PolicyStatement]:
        """Endpoints, pipelines, functions, alarms, APIs, topics, queues."""
        return [*self._sagemaker(), *self._functions(), *self._watching(), *self._doors()]

    def _sagemaker(self) -> list[iam.PolicyStatement]:
        ours = self.names.stack_pattern
        kinds = ("Endpoint", "EndpointConfig", "InferenceComponent", "Model", "ModelPackageGroup", "Pipeline")
        named = [
            self.arn("sagemaker", kind, ours)
            for kind in ("endpoint", "inference-component", "model-package-group", "pipeline")
        ]
        unnamed = [self.arn("sagemaker", kind, "*") for kind in ("endpoint-config", "model")]
        return [
            allow(
                "sagemaker",
                [
                    *(f"{verb}{kind}" for kind in kinds for verb in ("Create", "Delete", "Describe")),
                    *(f"{verb}ModelPackageGroupPolicy" for verb in ("Delete", "Get", "Put")),
                    "UpdateEndpoint",
                    "UpdateInferenceComponent*",
                    "UpdatePipeline",
                    "AddTags",
                    "DeleteTags",
                    "ListTags",
                ],
                [*named, *unnamed],
            ),
            # CreateModel and CreateEndpoint name the version that is served, which may be another environment's.
            allow(
                "sagemaker",
                ["DescribeModelPackage"],
                f"arn:{self.stack.partition}:sagemaker:{self.stack.region}:*:model-package/*",
            ),
            allow(
                "application-autoscaling",
                [
                    "DeleteScalingPolicy",
                    "DeleteScheduledAction",
                    "DeregisterScalableTarget",
                    "Describe*",
                    "PutScalingPolicy",
                    "PutScheduledAction",
                    "RegisterScalableTarget",
                    *TAGS,
                ],
                "*",
                self.here(),
            ),
        ]

    def _functions(self) -> list[iam.PolicyStatement]:
        ours = self.names.stack_pattern
        return [
            allow(
                "lambda",
                [
                    "AddPermission",
                    "CreateFunction",
                    "DeleteFunction",
                    "DeleteFunctionCon*",
                    "GetFunction*",
                    "GetPolicy",
                    "GetRuntimeManagementConfig",
                    # Custom resources: CloudFormation calls them as whoever deploys.
                    "InvokeFunction",
                    "PublishVersion",
                    "PutFunctionCon*",
                    "PutFunctionRecursionConfig",
                    "PutRuntimeManagementConfig",
                    "RemovePermission",
                    "TagResource",
                    "UntagResource",
                    "UpdateFunctionCo*",
                ],
                self.arn("lambda", "function", ours, cdk.ArnFormat.COLON_RESOURCE_NAME),
            ),
            # CDK waits for a gate with one; CloudFormation names it after its place in the stack.
            allow(
                "states",
                ["CreateStateMachine", "DeleteStateMachine", "DescribeStateMachine", "UpdateStateMachine", *TAGS],
                self.arn("states", "stateMachine", "*waiterstatemachine*", cdk.ArnFormat.COLON_RESOURCE_NAME),
            ),
        ]

    def _watching(self) -> list[iam.PolicyStatement]:
        ours = self.names.stack_pattern
        colon = cdk.ArnFormat.COLON_RESOURCE_NAME
        groups = [f"{group}{end}" for group in (ours, f"/aws/lambda/{ours}") for end in ("", ":*")]
        return [
            allow(
                "cloudwatch",
                ["DeleteAlarms", "DescribeAlarms", "PutMetricAlarm", *TAGS],
                self.arn("cloudwatch", "alarm", ours, colon),
            ),
            allow("cloudwatch", ["GetMetricData"], "*", self.here()),
            allow(
                "events",
                ["DeleteRule", "DescribeRule", "ListTargetsByRule", "PutRule", "PutTargets", "RemoveTargets", *TAGS],
                self.arn("events", "rule", ours),
            ),
            allow(
                "logs",
                [
                    "CreateLogGroup",
                    "DeleteLogGroup",
                    "DeleteRetentionPolicy",
                    "GetDataProtectionPolicy",
                    "PutRetentionPolicy",
                    *TAGS,
                ],
                [self.arn("logs", "log-group", group, colon) for group in groups],
            ),
            # The first takes no name; with the others an API sends its access log.
            allow(
                "logs",
                [
                    "DescribeLogGroups",
                    "DescribeIndexPolicies",
                    "DescribeResourcePolicies",
                    "*LogDelivery",
                    "ListLogDeliveries",
                    "PutResourcePolicy",
                ],
                "*",
                self.here(),
            ),
        ]

    def _doors(self) -> list[iam.PolicyStatement]:
        ours = self.names.stack_pattern
        region = self.stack.region
        api = f"arn:{self.stack.partition}:apigateway:{region}::"
        return [
            allow(
                "apigateway",
                ["DELETE", "GET", "PATCH", "POST", "PUT", "TagResource", "UntagResource"],
                [f"{api}/apis*", f"{api}/tags/*"],
            ),
            allow(
                "sns",
                [
                    "CreateTopic",
                    "DeleteTopic",
                    "Get*",
                    "ListSubscriptionsByTopic",
                    "SetTopicAttributes",
                    "Subscribe",
                    "Unsubscribe",
                    *TAGS,
                ],
                self.stack.format_arn(service="sns", resource=ours),
            ),
            allow(
                "sqs",
                [
                    "CreateQueue",
                    "DeleteQueue",
                    "GetQueue*",
                    "ListQueueTags",
                    "SetQueueAttributes",
                    "TagQueue",
                    "UntagQueue",
                ],
                self.stack.format_arn(service="sqs", resource=ours),
            ),
        ]
