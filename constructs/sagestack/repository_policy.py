"""Opens the repository of the stack's images to other accounts."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import custom_resources

from constructs import Construct
from sagestack.functions import Function


class RepositoryPolicy(Construct):
    """Adds statements to the policy of a repository that another stack owns, and takes only its own away again.

    CDK's images are in the repository of its bootstrap stack, whose template knows no other account. A policy cannot be limited
    to some images, so whoever is let in may fetch all images of this account's CDK applications; keep secrets out of images.

    One for each stack: get it with `of`.
    """

    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id)
        self._function = Function(
            self,
            "Function",
            package="repository_policy",
            description="Opens the repository of the stack's images to other accounts",
            timeout=cdk.Duration.minutes(2),
            environment={},
        )
        self._provider = custom_resources.Provider(self, "Provider", on_event_handler=self._function)

    @staticmethod
    def of(scope: Construct) -> RepositoryPolicy:
        """The one of the stack, made when it is first asked for."""
        stack = cdk.Stack.of(scope)
        found = stack.node.try_find_child("RepositoryPolicy")
        return found if isinstance(found, RepositoryPolicy) else RepositoryPolicy(stack, "RepositoryPolicy")

    def grant_pull_from(self, repository: ecr.IRepository, account: str) -> None:
        """Lets another account fetch the repository's images."""
        name = f"Pull{account}"
        if self.node.try_find_child(name):
            return
        iam.Grant.add_to_principal(
            grantee=self._function,
            actions=["ecr:DeleteRepositoryPolicy", "ecr:GetRepositoryPolicy", "ecr:SetRepositoryPolicy"],
            resource_arns=[repository.repository_arn],
        )
        grant = cdk.CustomResource(
            self,
            name,
            resource_type="Custom::RepositoryPolicyStatement",
            service_token=self._provider.service_token,
            properties={"RepositoryName": repository.repository_name, "Account": account},
        )
        grant.node.add_dependency(self._function)
