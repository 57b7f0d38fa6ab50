"""Who GitHub Actions may become in an account, for an hour and without a key."""

from __future__ import annotations

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from constructs import Construct
from sagestack.github_identity import GitHubIdentity
from sagestack.settings.names import GUARDED_PATH
from sagestack.wildcards import acknowledge_wildcards


class GitHubRole(iam.Role):
    """A role that one kind of job of one repository can become, and nobody else.

    It lies where no deployment can reach it: who may deploy is not for a deployment to say.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        identity: GitHubIdentity,
        subject: str,
        name: str,
        description: str,
        statements: Sequence[iam.PolicyStatement],
    ) -> None:
        """Makes the role.

        Args:
            identity: GitHub's provider.
            subject: of the job's token, to the letter.
            name: as the workflows name it.
            description: what becomes it, and for what.
            statements: what it may do.
        """
        super().__init__(
            scope,
            id,
            role_name=name,
            path=GUARDED_PATH,
            description=description,
            assumed_by=identity.principal(subject),
            max_session_duration=cdk.Duration.hours(1),
        )
        identity.is_needed_by(self)
        for statement in statements:
            self.add_to_policy(statement)
        acknowledge_wildcards(self, statements, "Stacks have ids after their names; what takes no resource only lists.")
