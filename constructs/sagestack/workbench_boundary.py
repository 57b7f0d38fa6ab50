"""The work that roles of a workbench are for, as statements of the permissions boundary."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import aws_iam as iam

from functions.studio_cleanup.names import MANAGED_BY
from sagestack.settings.workbench import Workbench

# By name, not by service, as all of the boundary. Sorted.
_WORK = (
    "cloudwatch:GetMetricData",
    "elasticfilesystem:ClientMount",
    "elasticfilesystem:ClientWrite",
    "logs:FilterLogEvents",
    "logs:GetLogEvents",
    "s3:DeleteObject",
    "sagemaker:CreateEndpoint",
    "sagemaker:CreateEndpointConfig",
    "sagemaker:CreateModel",
    "sagemaker:CreateTransformJob",
    "sagemaker:DeleteEndpoint",
    "sagemaker:DeleteEndpointConfig",
    "sagemaker:DeleteModel",
    "sagemaker:DeleteTags",
    "sagemaker:StartNotebookInstance",
    "sagemaker:StartPipelineExecution",
    "sagemaker:StopNotebookInstance",
    "sagemaker:StopPipelineExecution",
    "sagemaker:StopTransformJob",
    "sagemaker:UpdateEndpoint",
    "ssm:GetParameter",
    "ssm:GetParameters",
    "ssm:GetParametersByPath",
)
_STUDIO = (
    "cloudformation:DescribeStackResource",
    "elasticfilesystem:DescribeFileSystems",
    "elasticfilesystem:DescribeMountTargets",
    "sagemaker:CreateApp",
    "sagemaker:CreateSpace",
    "sagemaker:DeleteApp",
    "sagemaker:DeleteSpace",
    "sagemaker:DeleteStudioLifecycleConfig",
    "sagemaker:DeleteUserProfile",
    "sagemaker:UpdateSpace",
)
_LEFT_BY_STUDIO = (
    "ec2:CreateTags",
    "ec2:DeleteSecurityGroup",
    "ec2:RevokeSecurityGroupEgress",
    "ec2:RevokeSecurityGroupIngress",
    "elasticfilesystem:DeleteFileSystem",
    "elasticfilesystem:DeleteMountTarget",
    "elasticfilesystem:TagResource",
)
_PEOPLE = (
    "cloudformation:DescribeChangeSet",
    "cloudformation:DescribeStackResources",
    "cloudformation:GetTemplate",
    "cloudformation:ListStackResources",
    "cloudwatch:ListMetrics",
    "sagemaker:CreatePresignedNotebookInstanceUrl",
    "sagemaker:DeleteApp",
    "sagemaker:RetryPipelineExecution",
    "sagemaker:UpdateModelPackage",
)


def workbench_boundary(workbench: Workbench, region: str) -> list[iam.PolicyStatement]:
    """What roles of a workbench can do at most, besides what all roles of the environment can.

    To open a notebook, and to approve a model version, is for sessions that say who they are, by the tag that personas must have.
    Studio opens domains for its own users by their roles; no function does. What is left of a domain is deleted where SageMaker
    itself says, by its tag, that it made it.

    Args:
        workbench: its settings; what it does not have, no role can do.
        region: of the environment, in which all of it is done.
    """
    here = {"StringEquals": {"aws:RequestedRegion": region}}
    statements = [_most("Workbench", _WORK, here)]
    if workbench.studio is not None:
        statements += [
            _most("Studio", _STUDIO, here),
            _most("LeftByStudio", _LEFT_BY_STUDIO, {**here, "Null": {f"aws:ResourceTag/{MANAGED_BY}": "false"}}),
        ]
    if workbench.studio is not None or workbench.personas is not None:
        # https://docs.aws.amazon.com/lambda/latest/dg/permissions-source-function-arn.html
        no_function = {"Null": {"lambda:SourceFunctionArn": "true"}}
        statements.append(_most("OpenStudio", ("sagemaker:CreatePresignedDomainUrl",), {**here, **no_function}))
    if workbench.personas is not None:
        who = {"Null": {f"aws:PrincipalTag/{workbench.personas.user_tag}": "false"}}
        statements.append(_most("People", _PEOPLE, {**here, **who}))
    return statements


def _most(sid: str, actions: tuple[str, ...], conditions: Mapping[str, object]) -> iam.PolicyStatement:
    return iam.PolicyStatement(sid=sid, actions=list(actions), resources=["*"], conditions=dict(conditions))
