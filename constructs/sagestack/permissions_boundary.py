"""What no role of an environment can do, whatever its policies say."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from constructs import Construct, IConstruct
from sagestack.settings import Environment, EnvironmentNames
from sagestack.settings.names import GUARDED_PATH
from sagestack.wildcards import acknowledge_wildcards
from sagestack.workbench_boundary import workbench_boundary

# By name, not by service: a new kind of work is to be a change that somebody reads. Sorted, for the same reason.
_WORK = (
    "application-autoscaling:DeregisterScalableTarget",
    "application-autoscaling:Describe*",
    "application-autoscaling:PutScalingPolicy",
    "application-autoscaling:PutScheduledAction",
    "application-autoscaling:RegisterScalableTarget",
    "cloudformation:DescribeStacks",
    "cloudwatch:DeleteAlarms",
    "cloudwatch:DescribeAlarms",
    "cloudwatch:PutMetricAlarm",
    "cloudwatch:PutMetricData",
    # Containers in a network of the customer's.
    "ec2:CreateNetworkInterface",
    "ec2:CreateNetworkInterfacePermission",
    "ec2:DeleteNetworkInterface",
    "ec2:DeleteNetworkInterfacePermission",
    "ec2:DescribeDhcpOptions",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:DeleteRepositoryPolicy",
    "ecr:DescribeImages",
    "ecr:GetAuthorizationToken",
    "ecr:GetDownloadUrlForLayer",
    "ecr:GetRepositoryPolicy",
    "ecr:SetRepositoryPolicy",
    "kms:CreateGrant",
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey*",
    "kms:ReEncrypt*",
    "lambda:GetFunction",
    "lambda:InvokeFunction",
    "logs:CreateLogGroup",
    "logs:CreateLogStream",
    "logs:DescribeLogStreams",
    "logs:PutLogEvents",
    "s3:Abort*",
    "s3:GetBucket*",
    "s3:GetObject*",
    "s3:List*",
    "s3:PutObject",
    "s3:PutObjectLegalHold",
    "s3:PutObjectRetention",
    "s3:PutObjectTagging",
    "s3:PutObjectVersionTagging",
    "sagemaker:AddTags",
    "sagemaker:CreateModelPackage",
    "sagemaker:CreateProcessingJob",
    "sagemaker:CreateTrainingJob",
    "sagemaker:Describe*",
    "sagemaker:InvokeEndpoint*",
    "sagemaker:List*",
    "sagemaker:StopProcessingJob",
    "sagemaker:StopTrainingJob",
    "sagemaker:UpdateEndpointWeightsAndCapacities",
    "secretsmanager:DescribeSecret",
    "secretsmanager:GetSecretValue",
    "sns:Publish",
    "sqs:SendMessage",
    "states:StartExecution",
)


class PermissionsBoundary(iam.ManagedPolicy):
    """The work that roles of an environment are for, in its region: training, serving, reading and writing data; the workbench's.

    Nothing of IAM is in it but handing a role of the environment to SageMaker, and nothing of STS: so a role whose policies are
    too wide, by mistake or by malice, still makes no users, no roles and no keys, and becomes nobody else.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html

    It gives nothing by itself: a role may do what its policies and this allow.
    """

    def __init__(self, scope: Construct, id: str, *, environment: Environment) -> None:
        """Makes the policy.

        Args:
            environment: whose roles carry it.
        """
        names = EnvironmentNames(environment.name)
        stack = cdk.Stack.of(scope)
        statements = [
            iam.PolicyStatement(
                sid="Work",
                actions=list(_WORK),
                resources=["*"],
                conditions={"StringEquals": {"aws:RequestedRegion": environment.region}},
            ),
            iam.PolicyStatement(
                sid="HandOverRoles",
                actions=["iam:PassRole"],
                resources=[
                    stack.format_arn(service="iam", region="", resource="role", resource_name=names.stack_pattern)
                ],
                conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
            ),
            *(workbench_boundary(environment.workbench, environment.region) if environment.workbench else []),
        ]
        super().__init__(
            scope,
            id,
            managed_policy_name=names.permissions_boundary,
            path=GUARDED_PATH,
            description=f"The most that a role of Sagestack can do in {environment.name}",
            statements=statements,
        )
        acknowledge_wildcards(
            self, statements, "A boundary gives nothing: it is the most that narrower policies may come to."
        )


def carry_permissions_boundary(scope: Construct, *, environment: Environment, everywhere_in: IConstruct) -> None:
    """Puts the boundary of an environment, which its bootstrap stack has made, on every role.

    Args:
        scope: a construct in a stack of the environment.
        environment: whose boundary it is.
        everywhere_in: below which all roles carry it, those that CDK makes by itself included.
    """
    name = GUARDED_PATH.strip("/") + "/" + EnvironmentNames(environment.name).permissions_boundary
    boundary = iam.ManagedPolicy.from_managed_policy_name(scope, "PermissionsBoundary", name)
    iam.PermissionsBoundary.of(everywhere_in).apply(boundary)
