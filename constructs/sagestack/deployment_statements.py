"""What CloudFormation does with each kind of resource that our stacks have, as statements of a policy.

The actions are what CloudFormation's own resource handlers ask for, as far as our stacks use them:
https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-schema.html (`handlers`)
"""

from __future__ import annotations

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from sagestack.settings import EnvironmentNames
from sagestack.settings.names import GUARDED_PATH

QUALIFIER = "hnb659fds"
"""Of CDK's default bootstrap, in the names of its roles, bucket and repository."""

_TAGS = ("TagResource", "UntagResource", "ListTagsForResource")


class DeploymentStatements:
    """The statements for one environment.

    What carries the environment's name is limited to it. What CloudFormation names otherwise (KMS keys, APIs, SageMaker's models
    and endpoint configurations) is limited to the kind, the account and the region.
    """

    def __init__(self, stack: cdk.Stack, names: EnvironmentNames) -> None:
        """Begins with what all statements need.

        Args:
            stack: whose account and region are meant.
            names: of the environment that is deployed.
        """
        self._stack = stack
        self._names = names

    def working(self) -> list[iam.PolicyStatement]:
        """What works and is watched: endpoints, pipelines, functions, alarms, APIs, topics, queues."""
        return [*self._sagemaker(), *self._functions(), *self._watching(), *self._doors()]

    def base(self, boundary_arn: str | None) -> list[iam.PolicyStatement]:
        """What that stands on: roles, buckets, keys, parameters. And what no deployment may touch.

        Args:
            boundary_arn: without which no role is made or given rights; None where the environment does without.
        """
        return [*self._roles(boundary_arn), *self._storage(), *self._guards()]

    def _roles(self, boundary_arn: str | None) -> list[iam.PolicyStatement]:
        roles = self._iam("role", self._names.stack_pattern)
        bounded = {"StringEquals": {"iam:PermissionsBoundary": boundary_arn}} if boundary_arn else {}
        basics = self._stack.format_arn(
            service="iam",
            region="",
            account="aws",
            resource="policy",
            resource_name="service-role/AWSLambdaBasicExecutionRole",
        )
        return [
            _allow("iam", ["CreateRole", "PutRolePermissionsBoundary", "PutRolePolicy"], roles, bounded),
            # The functions that CDK itself brings carry it.
            _allow("iam", ["AttachRolePolicy"], roles, {**bounded, "ArnEquals": {"iam:PolicyARN": basics}}),
            _allow(
                "iam",
                [
                    "DeleteRole",
                    "DeleteRolePolicy",
                    "DetachRolePolicy",
                    "GetRole*",
                    "ListAttachedRolePolicies",
                    "ListRolePolicies",
                    "TagRole",
                    "UntagRole",
                    "UpdateAssumeRolePolicy",
                    "UpdateRole*",
                ],
                roles,
            ),
            _allow(
                "iam",
                ["PassRole"],
                roles,
                {
                    "StringEquals": {
                        "iam:PassedToService": [
                            f"{service}.amazonaws.com" for service in ("events", "lambda", "sagemaker", "states")
                        ]
                    }
                },
            ),
            # What scales endpoints: AWS makes it once per account, whoever needs it first.
            _allow(
                "iam",
                ["CreateServiceLinkedRole"],
                self._iam("role", "aws-service-role/sagemaker.application-autoscaling.amazonaws.com/*"),
            ),
        ]

    def _guards(self) -> list[iam.PolicyStatement]:
        roles = self._iam("role", self._names.stack_pattern)
        return [
            # Whatever else the role is given: these are the account's, not a deployment's.
            iam.PolicyStatement(
                effect=iam.Effect.DENY,
                not_actions=["iam:Get*", "iam:List*", "sts:*"],
                resources=[
                    self._iam("policy", f"{GUARDED_PATH.strip('/')}/*"),
                    self._iam("role", f"{GUARDED_PATH.strip('/')}/*"),
                    self._iam("role", f"cdk-{QUALIFIER}-*"),
                    self._iam("oidc-provider", "*"),
                ],
            ),
            iam.PolicyStatement(
                effect=iam.Effect.DENY, actions=["iam:DeleteRolePermissionsBoundary"], resources=[roles]
            ),
        ]

    def _sagemaker(self) -> list[iam.PolicyStatement]:
        ours = self._names.stack_pattern
        kinds = ("Endpoint", "EndpointConfig", "InferenceComponent", "Model", "ModelPackageGroup", "Pipeline")
        named = [
            self._arn("sagemaker", kind, ours)
            for kind in ("endpoint", "inference-component", "model-package-group", "pipeline")
        ]
        unnamed = [self._arn("sagemaker", kind, "*") for kind in ("endpoint-config", "model")]
        return [
            _allow(
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
            _allow(
                "sagemaker",
                ["DescribeModelPackage"],
                f"arn:{self._stack.partition}:sagemaker:{self._stack.region}:*:model-package/*",
            ),
            _allow(
                "application-autoscaling",
                [
                    "DeleteScalingPolicy",
                    "DeleteScheduledAction",
                    "DeregisterScalableTarget",
                    "Describe*",
                    "PutScalingPolicy",
                    "PutScheduledAction",
                    "RegisterScalableTarget",
                    *_TAGS,
                ],
                "*",
                self._here(),
            ),
        ]

    def _storage(self) -> list[iam.PolicyStatement]:
        partition = self._stack.partition
        assets = f"cdk-{QUALIFIER}-assets-{self._stack.account}-{self._stack.region}"
        return [
            # The buckets, not what is in them.
            _allow(
                "s3",
                [
                    "CreateBucket",
                    "DeleteBucket*",
                    "Get*Configuration",
                    "GetBucket*",
                    "ListBucket",
                    "Put*Configuration",
                    "PutBucket*",
                    *_TAGS,
                ],
                f"arn:{partition}:s3:::{self._names.stack_pattern}",
            ),
            _allow("s3", ["GetObject", "GetObjectVersion"], f"arn:{partition}:s3:::{assets}/*"),
            # A key has an id for a name, so all of the region's are meant; what is encrypted with them is not.
            _allow("kms", ["CreateKey"], "*", self._here()),
            _allow(
                "kms",
                [
                    "DescribeKey",
                    "DisableKey*",
                    "EnableKey*",
                    "GetKey*",
                    "ListResourceTags",
                    "PutKeyPolicy",
                    "ScheduleKeyDeletion",
                    "TagResource",
                    "UntagResource",
                    "UpdateKeyDescription",
                ],
                self._arn("kms", "key", "*"),
            ),
            _allow(
                "kms", ["CreateGrant"], self._arn("kms", "key", "*"), {"Bool": {"kms:GrantIsForAWSResource": "true"}}
            ),
            _allow(
                "ssm",
                [
                    "AddTagsToResource",
                    "DeleteParameter*",
                    "GetParameter*",
                    "ListTagsForResource",
                    "PutParameter",
                    "RemoveTagsFromResource",
                ],
                self._arn("ssm", "parameter", f"sagestack/{self._names.environment}/*"),
            ),
            _allow("ssm", ["GetParameters"], self._arn("ssm", "parameter", f"cdk-bootstrap/{QUALIFIER}/version")),
        ]

    def _functions(self) -> list[iam.PolicyStatement]:
        ours = self._names.stack_pattern
        return [
            _allow(
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
                self._arn("lambda", "function", ours, cdk.ArnFormat.COLON_RESOURCE_NAME),
            ),
            # CDK waits for a gate with one; CloudFormation names it after its place in the stack.
            _allow(
                "states",
                ["CreateStateMachine", "DeleteStateMachine", "DescribeStateMachine", "UpdateStateMachine", *_TAGS],
                self._arn("states", "stateMachine", "*waiterstatemachine*", cdk.ArnFormat.COLON_RESOURCE_NAME),
            ),
        ]

    def _watching(self) -> list[iam.PolicyStatement]:
        ours = self._names.stack_pattern
        colon = cdk.ArnFormat.COLON_RESOURCE_NAME
        groups = [f"{group}{end}" for group in (ours, f"/aws/lambda/{ours}") for end in ("", ":*")]
        return [
            _allow(
                "cloudwatch",
                ["DeleteAlarms", "DescribeAlarms", "PutMetricAlarm", *_TAGS],
                self._arn("cloudwatch", "alarm", ours, colon),
            ),
            _allow("cloudwatch", ["GetMetricData"], "*", self._here()),
            _allow(
                "events",
                ["DeleteRule", "DescribeRule", "ListTargetsByRule", "PutRule", "PutTargets", "RemoveTargets", *_TAGS],
                self._arn("events", "rule", ours),
            ),
            _allow(
                "logs",
                [
                    "CreateLogGroup",
                    "DeleteLogGroup",
                    "DeleteRetentionPolicy",
                    "GetDataProtectionPolicy",
                    "PutRetentionPolicy",
                    *_TAGS,
                ],
                [self._arn("logs", "log-group", group, colon) for group in groups],
            ),
            # The first takes no name; with the others an API sends its access log.
            _allow(
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
                self._here(),
            ),
        ]

    def _doors(self) -> list[iam.PolicyStatement]:
        ours = self._names.stack_pattern
        region = self._stack.region
        api = f"arn:{self._stack.partition}:apigateway:{region}::"
        return [
            _allow(
                "apigateway",
                ["DELETE", "GET", "PATCH", "POST", "PUT", "TagResource", "UntagResource"],
                [f"{api}/apis*", f"{api}/tags/*"],
            ),
            _allow(
                "sns",
                [
                    "CreateTopic",
                    "DeleteTopic",
                    "Get*",
                    "ListSubscriptionsByTopic",
                    "SetTopicAttributes",
                    "Subscribe",
                    "Unsubscribe",
                    *_TAGS,
                ],
                self._stack.format_arn(service="sns", resource=ours),
            ),
            _allow(
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
                self._stack.format_arn(service="sqs", resource=ours),
            ),
        ]

    def _iam(self, resource: str, name: str) -> str:
        return self._stack.format_arn(service="iam", region="", resource=resource, resource_name=name)

    def _arn(
        self, service: str, resource: str, name: str, arn_format: cdk.ArnFormat = cdk.ArnFormat.SLASH_RESOURCE_NAME
    ) -> str:
        return self._stack.format_arn(service=service, resource=resource, resource_name=name, arn_format=arn_format)

    def _here(self) -> dict[str, dict[str, str]]:
        return {"StringEquals": {"aws:RequestedRegion": self._stack.region}}


def _allow(
    service: str,
    actions: list[str],
    resources: str | list[str],
    conditions: Mapping[str, Mapping[str, object]] | None = None,
) -> iam.PolicyStatement:
    return iam.PolicyStatement(
        actions=[f"{service}:{action}" for action in actions],
        resources=[resources] if isinstance(resources, str) else resources,
        conditions=dict(conditions) if conditions else None,
    )
