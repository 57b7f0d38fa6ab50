"""A git repository that a notebook instance clones when it starts."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sagemaker as sagemaker

from constructs import Construct
from sagestack.settings.workbench.notebook import Repository


class CodeRepository(Construct):
    """A repository of any host that speaks git over HTTPS, public, or private with a secret.

    The secret's text is JSON with `username` and `password`; it is read by the notebook's role when the instance starts, and
    never by the stack. https://docs.aws.amazon.com/sagemaker/latest/dg/nbi-git-resource.html

    Attributes:
        code_repository_name: what a notebook instance names.
    """

    def __init__(self, scope: Construct, id: str, *, repository: Repository) -> None:
        """Makes it.

        Args:
            repository: where it is, and what opens it.
        """
        super().__init__(scope, id)
        self._repository = repository
        # No name: one whose address changes is replaced, and the new one is made first.
        resource = sagemaker.CfnCodeRepository(
            self,
            "Resource",
            git_config=sagemaker.CfnCodeRepository.GitConfigProperty(
                repository_url=repository.url, branch=repository.branch, secret_arn=repository.secret_arn
            ),
        )
        self.code_repository_name = resource.attr_code_repository_name
        self._resource = resource

    def grant_clone(self, role: iam.IRole) -> None:
        """Lets a role read the secret, where there is one, and look the repository up."""
        role.add_to_principal_policy(
            iam.PolicyStatement(
                actions=["sagemaker:DescribeCodeRepository"],
                resources=[
                    cdk.Stack.of(self).format_arn(
                        service="sagemaker", resource="code-repository", resource_name=self.code_repository_name
                    )
                ],
            )
        )
        if self._repository.secret_arn is None:
            return
        role.add_to_principal_policy(
            iam.PolicyStatement(actions=["secretsmanager:GetSecretValue"], resources=[self._repository.secret_arn])
        )
        if self._repository.secret_key_arn is not None:
            role.add_to_principal_policy(
                iam.PolicyStatement(
                    actions=["kms:Decrypt"],
                    resources=[self._repository.secret_key_arn],
                    conditions={
                        "StringEquals": {"kms:ViaService": f"secretsmanager.{cdk.Stack.of(self).region}.amazonaws.com"}
                    },
                )
            )
