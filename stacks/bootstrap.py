"""Who may deploy an environment, and what a deployment may do: deployed once, by an administrator, before anything else."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import aws_cdk as cdk
from sagestack.deployment_policy import DeploymentPolicy
from sagestack.github_identity import GitHubIdentity
from sagestack.github_role import GitHubRole
from sagestack.github_statements import GitHubStatements
from sagestack.permissions_boundary import PermissionsBoundary
from sagestack.settings import Environment, EnvironmentNames
from sagestack.settings.delivery import Delivery

from constructs import Construct


class BootstrapStack(cdk.Stack):
    """The guards of an environment. No deployment can change them: `sagestack bootstrap` does, with its caller's own rights."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        delivery: Delivery | None,
        makes_identity: bool,
        sources: Mapping[str, Environment] = MappingProxyType({}),
        **kwargs: Any,
    ) -> None:
        """Makes the stack.

        Args:
            environment: what is deployed, and where.
            delivery: which repository deploys it; None where none does, or none on GitHub.
            makes_identity: whether GitHub's identity provider is made here, once for the account.
            sources: the environments whose versions it serves, by name.
        """
        # With the caller's own credentials, before and after `cdk bootstrap`: its roles, which all other stacks are deployed
        # with, are what this guards. (CDK's "bootstrapless" synthesizer would use them where they are.)
        super().__init__(scope, id, synthesizer=cdk.LegacyStackSynthesizer(), **kwargs)
        boundary = PermissionsBoundary(self, "PermissionsBoundary", environment=environment)
        self.deployment_policy = DeploymentPolicy(
            self,
            "DeploymentPolicy",
            environment=environment,
            boundary=boundary if environment.permissions_boundary else None,
        )
        for policy in self.deployment_policy.policies:
            cdk.CfnOutput(self, f"{policy.node.id}PolicyArn", value=policy.managed_policy_arn)
        if delivery is not None:
            self._let_github_in(delivery, environment, makes_identity, sources)

    def _let_github_in(
        self, delivery: Delivery, environment: Environment, makes_identity: bool, sources: Mapping[str, Environment]
    ) -> None:
        """By two roles: the one that deploys is for jobs that GitHub's environment let through, the one that looks is not."""
        names, repository = EnvironmentNames(environment.name), delivery.repository
        registries = {
            name: _registry(environment, sources.get(model.versions_from or ""))
            for name, model in environment.models.items()
        }
        statements = GitHubStatements(self, names, registries)
        identity = GitHubIdentity(self, "GitHub", is_there=not makes_identity)
        role = GitHubRole(
            self,
            "GitHubRole",
            identity=identity,
            subject=repository.github_subject(f"environment:{environment.name}"),
            name=names.github_deployment_role,
            description=f"GitHub Actions of {repository.name} deploy {environment.name}",
            statements=statements.deploying(),
        )
        cdk.CfnOutput(self, "GitHubRoleArn", value=role.role_arn)
        if delivery.drift_schedule:
            GitHubRole(
                self,
                "GitHubDriftRole",
                identity=identity,
                # What is on the deployed branch has been reviewed.
                subject=repository.github_subject(f"ref:refs/heads/{repository.branch}"),
                name=names.github_drift_role,
                description=f"GitHub Actions of {repository.name} look for drift in {environment.name}",
                statements=statements.looking_for_drift(has_workbench=environment.workbench is not None),
            )


def _registry(environment: Environment, source: Environment | None) -> str:
    """The environment whose registry is looked into before a deployment: that of another account is not."""
    if source and (source.account, source.region) == (environment.account, environment.region):
        return source.name
    return environment.name
