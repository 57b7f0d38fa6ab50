"""What CloudFormation may do when it deploys an environment: what its stacks are made of, and no more."""

from __future__ import annotations

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from constructs import Construct
from sagestack.deployment_base_statements import BaseStatements
from sagestack.deployment_working_statements import WorkingStatements
from sagestack.permissions_boundary import PermissionsBoundary
from sagestack.settings import Environment, EnvironmentNames
from sagestack.settings.names import GUARDED_PATH
from sagestack.wildcards import acknowledge_wildcards
from sagestack.workbench_statements import WorkbenchStatements


class DeploymentPolicy(Construct):
    """Creates, changes and deletes what the stacks of one environment have, in its region, and nothing of anybody else.

    For CDK's CloudFormation execution role, in the place of AdministratorAccess. A role can be made and given rights only with
    the permissions boundary, and neither the boundary, nor these policies, nor who may deploy can be changed by a deployment.

    Several managed policies, since one may have 6,144 characters:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html

    Attributes:
        policies: what works, what it stands on (roles, buckets, keys, parameters), and where there is one, the workbench.
    """

    def __init__(
        self, scope: Construct, id: str, *, environment: Environment, boundary: PermissionsBoundary | None
    ) -> None:
        """Makes the policies.

        Args:
            environment: what may be deployed, and where.
            boundary: what every role must carry; None where the environment does without (`permissions_boundary: false`).
        """
        super().__init__(scope, id)
        names = EnvironmentNames(environment.name)
        stack = cdk.Stack.of(self)
        boundary_arn = boundary.managed_policy_arn if boundary else None
        working, base = names.deployment_policies
        of_workbench = WorkbenchStatements(stack, names, environment.workbench) if environment.workbench else None
        on_base = [
            *BaseStatements(stack, names).all(boundary_arn),
            *(of_workbench.base(boundary_arn) if of_workbench else []),
        ]
        self.policies = [
            self._policy("Working", working, environment, WorkingStatements(stack, names).all()),
            self._policy("Base", base, environment, on_base),
        ]
        if of_workbench:
            self.policies.append(
                self._policy("Workbench", names.workbench_deployment_policy, environment, of_workbench.working())
            )

    def _policy(
        self, id: str, name: str, environment: Environment, statements: Sequence[iam.PolicyStatement]
    ) -> iam.ManagedPolicy:
        policy = iam.ManagedPolicy(
            self,
            id,
            managed_policy_name=name,
            path=GUARDED_PATH,
            description=f"What a deployment of Sagestack may do in {environment.name} ({id.lower()})",
            statements=statements,
        )
        acknowledge_wildcards(
            policy,
            statements,
            "CloudFormation chooses the rest of the name; a kind without names of ours is limited to account and region.",
        )
        return policy
