"""What AWS believes of GitHub: that a token of its identity provider is of one repository's job, and of which."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from constructs import Construct

ISSUER = "token.actions.githubusercontent.com"
"""Who signs the tokens of GitHub Actions on github.com."""
AUDIENCE = "sts.amazonaws.com"


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
