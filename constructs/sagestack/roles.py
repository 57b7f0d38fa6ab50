"""The roles that SageMaker works with, and the grants that have no home on another construct."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms

from constructs import Construct


class SageMakerRole(iam.Role):
    """A role that SageMaker assumes, for this account and nobody else.

    Starts with no permission at all: AmazonSageMakerFullAccess reaches every bucket with "sagemaker" in its name.
    The condition keeps another account's resources from borrowing the role through the service:
    https://docs.aws.amazon.com/sagemaker/latest/dg/security-confused-deputy-prevention.html
    """

    def __init__(self, scope: Construct, id: str, *, description: str) -> None:
        super().__init__(
            scope,
            id,
            description=description,
            assumed_by=iam.ServicePrincipal(
                "sagemaker.amazonaws.com",
                conditions={"StringEquals": {"aws:SourceAccount": cdk.Stack.of(scope).account}},
            ),
        )


def grant_logs(role: iam.IRole, *log_groups: str) -> None:
    """Lets containers write to these log groups of CloudWatch, which SageMaker makes when it first needs them.

    A name may end with `*`. What the groups are called:
    https://docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html
    """
    stack = cdk.Stack.of(role)
    role.add_to_principal_policy(
        iam.PolicyStatement(
            actions=["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
            resources=[
                stack.format_arn(
                    service="logs",
                    resource="log-group",
                    resource_name=name,
                    arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
                )
                for log_group in log_groups
                # The group itself, and with the suffix its streams.
                for name in (log_group, f"{log_group}:*")
            ],
        )
    )


def grant_instance_metrics(role: iam.IRole) -> None:
    """Lets SageMaker publish what containers use: CPU, memory, disk.

    PutMetricData takes no resource, so the namespace is the boundary. The namespaces:
    https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
    """
    role.add_to_principal_policy(
        iam.PolicyStatement(
            actions=["cloudwatch:PutMetricData"],
            resources=["*"],
            conditions={"StringLike": {"cloudwatch:namespace": "/aws/sagemaker/*"}},
        )
    )


def grant_volume_encryption(role: iam.IRole, key: kms.IKey) -> None:
    """Lets SageMaker encrypt the storage volumes of the role's instances with the key.

    It does so through grants, which the condition limits to those that AWS services make for their own resources:
    https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html
    """
    role.add_to_principal_policy(
        iam.PolicyStatement(
            actions=["kms:CreateGrant"],
            resources=[key.key_arn],
            conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}},
        )
    )
    key.grant(role, "kms:DescribeKey", "kms:Decrypt", "kms:GenerateDataKeyWithoutPlaintext")
