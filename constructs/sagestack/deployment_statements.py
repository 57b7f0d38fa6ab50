"""What CloudFormation does with each kind of resource that our stacks have, as statements of a policy.

The actions are what CloudFormation's own resource handlers ask for, as far as our stacks use them:
https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-schema.html (`handlers`)
"""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from sagestack.policy_statements import TAGS, Scope, allow
from sagestack.settings.names import GUARDED_PATH

QUALIFIER = "hnb659fds"
"""Of CDK's default bootstrap, in the names of its roles, bucket and repository."""


class DeploymentStatements(Scope):
    """The statements for one environment.

    What carries the environment's name is limited to it. What CloudFormation names otherwise (KMS keys, APIs, SageMaker's models
    and endpoint configurations) is limited to the kind, the account and the region.
    """

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
        roles = self.iam("role", self.names.stack_pattern)
        bounded = {"StringEquals": {"iam:PermissionsBoundary": boundary_arn}} if boundary_arn else {}
        basics = self.stack.format_arn(
            service="iam",
            region="",
            account="aws",
            resource="policy",
            resource_name="service-role/AWSLambdaBasicExecutionRole",
        )
        return [
            allow("iam", ["CreateRole", "PutRolePermissionsBoundary", "PutRolePolicy"], roles, bounded),
            # The functions that CDK itself brings carry it.
            allow("iam", ["AttachRolePolicy"], roles, {**bounded, "ArnEquals": {"iam:PolicyARN": basics}}),
            allow(
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
            allow(
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
            allow(
                "iam",
                ["CreateServiceLinkedRole"],
                self.iam("role", "aws-service-role/sagemaker.application-autoscaling.amazonaws.com/*"),
            ),
        ]

    def _guards(self) -> list[iam.PolicyStatement]:
        roles = self.iam("role", self.names.stack_pattern)
        return [
            # Whatever else the role is given: these are the account's, not a deployment's.
            iam.PolicyStatement(
                effect=iam.Effect.DENY,
                not_actions=["iam:Get*", "iam:List*", "sts:*"],
                resources=[
                    self.iam("policy", f"{GUARDED_PATH.strip('/')}/*"),
                    self.iam("role", f"{GUARDED_PATH.strip('/')}/*"),
                    self.iam("role", f"cdk-{QUALIFIER}-*"),
                    self.iam("oidc-provider", "*"),
                ],
            ),
            iam.PolicyStatement(
                effect=iam.Effect.DENY, actions=["iam:DeleteRolePermissionsBoundary"], resources=[roles]
            ),
        ]

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

    def _storage(self) -> list[iam.PolicyStatement]:
        partition = self.stack.partition
        assets = f"cdk-{QUALIFIER}-assets-{self.stack.account}-{self.stack.region}"
        return [
            # The buckets, not what is in them.
            allow(
                "s3",
                [
                    "CreateBucket",
                    "DeleteBucket*",
                    "Get*Configuration",
                    "GetBucket*",
                    "ListBucket",
                    "Put*Configuration",
                    "PutBucket*",
                    *TAGS,
                ],
                f"arn:{partition}:s3:::{self.names.stack_pattern}",
            ),
            allow("s3", ["GetObject", "GetObjectVersion"], f"arn:{partition}:s3:::{assets}/*"),
            # A key has an id for a name, so all of the region's are meant; what is encrypted with them is not.
            allow("kms", ["CreateKey"], "*", self.here()),
            allow(
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
                self.arn("kms", "key", "*"),
            ),
            allow("kms", ["CreateGrant"], self.arn("kms", "key", "*"), {"Bool": {"kms:GrantIsForAWSResource": "true"}}),
            allow(
                "ssm",
                [
                    "AddTagsToResource",
                    "DeleteParameter*",
                    "GetParameter*",
                    "ListTagsForResource",
                    "PutParameter",
                    "RemoveTagsFromResource",
                ],
                self.arn("ssm", "parameter", f"sagestack/{self.names.environment}/*"),
            ),
            allow("ssm", ["GetParameters"], self.arn("ssm", "parameter", f"cdk-bootstrap/{QUALIFIER}/version")),
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
