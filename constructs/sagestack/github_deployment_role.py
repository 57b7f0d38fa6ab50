"""Who GitHub Actions may become in an account, for an hour and without a key."""

from __future__ import annotations

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from constructs import Construct
from sagestack.deployment_statements import QUALIFIER
from sagestack.settings import EnvironmentNames
from sagestack.settings.names import GUARDED_PATH
from sagestack.wildcards import acknowledge_wildcards

ISSUER = "token.actions.githubusercontent.com"
"""Who signs the tokens of GitHub Actions on github.com."""
AUDIENCE = "sts.amazonaws.com"
_SETTINGS = (
    "apigateway:GET",
    "application-autoscaling:Describe*",
    "application-autoscaling:ListTagsForResource",
    "cloudwatch:DescribeAlarms",
    "cloudwatch:ListTagsForResource",
    "events:DescribeRule",
    "events:List*",
    "iam:GetOpenIDConnectProvider",
    "iam:GetPolicy",
    "iam:GetPolicyVersion",
    "iam:GetRole*",
    "iam:ListAttachedRolePolicies",
    "iam:ListEntitiesForPolicy",
    "iam:ListRolePolicies",
    "kms:DescribeKey",
    "kms:GetKey*",
    "kms:ListResourceTags",
    "lambda:GetFunction*",
    "lambda:GetPolicy",
    "lambda:GetRuntimeManagementConfig",
    "lambda:ListTags",
    "logs:DescribeIndexPolicies",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetDataProtectionPolicy",
    "logs:ListTagsForResource",
    "s3:Get*Configuration",
    "s3:GetBucket*",
    "s3:ListBucket",
    "s3:ListTagsForResource",
    "sagemaker:Describe*",
    "sagemaker:GetModelPackageGroupPolicy",
    "sagemaker:ListTags",
    "sns:GetDataProtectionPolicy",
    "sns:GetTopicAttributes",
    "sns:List*",
    "sqs:GetQueueAttributes",
    "sqs:ListQueueTags",
    "states:DescribeStateMachine",
    "states:ListTagsForResource",
)
"""What reads how the kinds of our stacks are set."""
_WORKBENCH_SETTINGS = (
    "billing:GetBillingViewData",
    "budgets:ListTagsForResource",
    "budgets:ViewBudget",
    "ec2:DescribeAddresses",
    "ec2:DescribeFlowLogs",
    "ec2:DescribeInternetGateways",
    "ec2:DescribeNatGateways",
    "ec2:DescribeNetworkAcls",
    "ec2:DescribeRouteTables",
    "ec2:DescribeSecurityGroup*",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpc*",
    "scheduler:GetSchedule*",
    "scheduler:ListTagsForResource",
    "sns:GetSubscriptionAttributes",
)
"""The same of a workbench's."""


class GitHubIdentity(Construct):
    """GitHub's identity provider in IAM, which an account can have only once.

    Attributes:
        provider_arn: what roles trust.
    """

    def __init__(self, scope: Construct, id: str, *, is_there: bool) -> None:
        """Makes it, or refers to it.

        Args:
            is_there: whether somebody else makes it, or has.
        """
        super().__init__(scope, id)
        self.provider_arn = cdk.Stack.of(self).format_arn(
            service="iam", region="", resource="oidc-provider", resource_name=ISSUER
        )
        self._provider: iam.CfnOIDCProvider | None = None
        if not is_there:
            # No thumbprint: IAM trusts GitHub's certificate by the authority that signed it.
            # https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc.html
            self._provider = iam.CfnOIDCProvider(self, "Resource", url=f"https://{ISSUER}", client_id_list=[AUDIENCE])
            # Roles of other environments of this account trust it, too.
            self._provider.apply_removal_policy(cdk.RemovalPolicy.RETAIN)

    def principal(self, subject: str) -> iam.IPrincipal:
        """Tokens of exactly this subject: https://docs.github.com/en/actions/reference/security/oidc"""
        return iam.WebIdentityPrincipal(
            self.provider_arn, {"StringEquals": {f"{ISSUER}:aud": AUDIENCE, f"{ISSUER}:sub": subject}}
        )

    def is_needed_by(self, role: iam.Role) -> None:
        """IAM refuses a role that trusts a provider which is not there."""
        if self._provider:
            role.node.add_dependency(self._provider)


class _GitHubRole(iam.Role):
    """A role that one kind of job of one repository can become."""

    def __init__(
        self, scope: Construct, id: str, *, name: str, description: str, identity: GitHubIdentity, subject: str
    ) -> None:
        super().__init__(
            scope,
            id,
            role_name=name,
            # Where no deployment can reach it.
            path=GUARDED_PATH,
            description=description,
            assumed_by=identity.principal(subject),
            max_session_duration=cdk.Duration.hours(1),
        )
        identity.is_needed_by(self)

    def _allow(self, *statements: iam.PolicyStatement) -> None:
        for statement in statements:
            self.add_to_policy(statement)
        acknowledge_wildcards(self, statements, "Stacks have ids after their names; what takes no resource only lists.")

    def _assume_bootstrap_roles(self, *roles: str) -> None:
        """What the CDK CLI deploys with: it becomes the roles of `cdk bootstrap`, which are as narrow as they are."""
        stack = cdk.Stack.of(self)
        self._allow(
            iam.PolicyStatement(
                actions=["sts:AssumeRole"],
                resources=[
                    stack.format_arn(
                        service="iam",
                        region="",
                        resource="role",
                        resource_name=f"cdk-{QUALIFIER}-{role}-role-{stack.account}-{stack.region}",
                    )
                    for role in roles
                ],
            )
        )

    def _read(self, names: EnvironmentNames, registries: Mapping[str, str]) -> None:
        """What `sagestack` itself looks at before it deploys: the stacks, our parameters, the versions of the models."""
        stack = cdk.Stack.of(self)
        sources = {model: EnvironmentNames(environment).model(model) for model, environment in registries.items()}
        others = [
            source.model_package_group_name_parameter.removeprefix("/")
            for model, source in sources.items()
            if registries[model] != names.environment
        ]
        self._allow(
            iam.PolicyStatement(
                actions=["cloudformation:DescribeStacks"],
                resources=[
                    stack.format_arn(service="cloudformation", resource="stack", resource_name=f"{name}/*")
                    for name in (names.stack_pattern, "CDKToolkit")
                ],
            )
        )
        # It takes no resource.
        self._allow(iam.PolicyStatement(actions=["cloudformation:ListStacks"], resources=["*"]))
        self._allow(
            iam.PolicyStatement(
                actions=["ssm:GetParameter"],
                resources=[
                    stack.format_arn(service="ssm", resource="parameter", resource_name=name)
                    for name in (f"sagestack/{names.environment}/*", f"cdk-bootstrap/{QUALIFIER}/version", *others)
                ],
            )
        )
        if sources:
            self._allow(
                iam.PolicyStatement(
                    actions=["sagemaker:ListModelPackages"],
                    resources=[
                        stack.format_arn(service="sagemaker", resource=kind, resource_name=name)
                        for group in (source.model_package_group for source in sources.values())
                        for kind, name in (("model-package-group", group), ("model-package", f"{group}/*"))
                    ],
                )
            )


class GitHubDeploymentRole(_GitHubRole):
    """Deploys one environment, from jobs of one repository that name the environment of the same name.

    GitHub lets a job name an environment only after its reviewers, and for the branches that it is open to: that is the gate.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        identity: GitHubIdentity,
        repository: str,
        environment: str,
        registries: Mapping[str, str],
    ) -> None:
        """Makes the role.

        Args:
            identity: GitHub's provider.
            repository: owner/name.
            environment: ours and GitHub's, which are called alike.
            registries: whose versions it may list: for each model, which environment of this account registers them.
        """
        names = EnvironmentNames(environment)
        super().__init__(
            scope,
            id,
            name=names.github_deployment_role,
            description=f"GitHub Actions of {repository} deploy {environment}",
            identity=identity,
            subject=f"repo:{repository}:environment:{environment}",
        )
        self._assume_bootstrap_roles("deploy", "file-publishing", "image-publishing", "lookup")
        self._read(names, registries)


class GitHubDriftRole(_GitHubRole):
    """Looks for what was changed by hand, from jobs on the branch that is deployed. It reads, and nobody is asked."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        identity: GitHubIdentity,
        repository: str,
        branch: str,
        environment: str,
        registries: Mapping[str, str],
        has_workbench: bool = False,
    ) -> None:
        """Makes the role.

        Args:
            identity: GitHub's provider.
            repository: owner/name.
            branch: the one that is deployed: what is on it has been reviewed.
            environment: ours.
            registries: whose versions it may list: for each model, which environment of this account registers them.
            has_workbench: whether the environment has one, to be looked at, too.
        """
        names = EnvironmentNames(environment)
        super().__init__(
            scope,
            id,
            name=names.github_drift_role,
            description=f"GitHub Actions of {repository} look for drift in {environment}",
            identity=identity,
            subject=f"repo:{repository}:ref:refs/heads/{branch}",
        )
        self._read(names, registries)
        stack = cdk.Stack.of(self)
        self._allow(
            iam.PolicyStatement(
                actions=[
                    "cloudformation:DescribeStackResourceDrifts",
                    "cloudformation:DetectStackDrift",
                    "cloudformation:DetectStackResourceDrift",
                    "cloudformation:GetTemplate",
                    "cloudformation:ListStackResources",
                ],
                resources=[
                    stack.format_arn(
                        service="cloudformation", resource="stack", resource_name=f"{names.stack_pattern}/*"
                    )
                ],
            ),
            # All stacks are asked for, to find those that nobody deploys any more; the others take no resource.
            iam.PolicyStatement(
                actions=[
                    "cloudformation:BatchDescribeTypeConfigurations",
                    "cloudformation:DescribeStackDriftDetectionStatus",
                    "cloudformation:DescribeStacks",
                ],
                resources=["*"],
            ),
            iam.PolicyStatement(
                actions=["ssm:GetParameters", "ssm:ListTagsForResource"],
                resources=[
                    stack.format_arn(
                        service="ssm", resource="parameter", resource_name=f"sagestack/{names.environment}/*"
                    )
                ],
            ),
            # CloudFormation compares with its caller's rights. Settings only: no object, no secret, nothing that is encrypted.
            # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-drift.html
            iam.PolicyStatement(actions=[*_SETTINGS, *(_WORKBENCH_SETTINGS if has_workbench else ())], resources=["*"]),
        )
