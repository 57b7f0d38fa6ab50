"""Takes approvals in the model registry to git, where they become deployments after a review."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_kms as kms
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_sqs as sqs

from constructs import Construct
from functions.version_pin.git_hosts import APIS
from functions.version_pin.pin import NoPin, with_pin
from sagestack import settings
from sagestack.functions import Function
from sagestack.model_registry import ModelRegistry


class VersionPin(Construct):
    """Commits the number of an approved version to the environment's file, or asks for the review of that commit.

    Nothing is deployed from here: git stays the only place that says what is served, so that `git revert` goes back. What
    cannot be committed (the host is down, the token has expired) is tried again for a day and then kept in `.missed`.

    Attributes:
        missed: the queue of approvals that did not reach git; watch its length.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: settings.Environment,
        model: settings.Model,
        git: settings.Git,
        registry: ModelRegistry,
        encryption_key: kms.IKey,
    ) -> None:
        """Makes the rule, the function and the queue.

        Args:
            environment: whose registry is watched, and whose file is changed.
            model: whose versions.
            git: the repository, the branch, and the secret with the token that may write to it.
            registry: where versions are approved.
            encryption_key: of the queue.

        Raises:
            ValueError: the environment's file is not in the form that the function can change.
        """
        super().__init__(scope, id)
        _check_form(environment.name, model.name)
        token = secretsmanager.Secret.from_secret_complete_arn(self, "Token", git.token_secret_arn)
        self.missed = sqs.Queue(
            self,
            "Missed",
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=encryption_key,
            enforce_ssl=True,
            retention_period=cdk.Duration.days(14),
        )
        function = Function(
            self,
            "Function",
            package="version_pin",
            description=f"Takes approved versions of {model.name} to {git.repository}",
            timeout=cdk.Duration.minutes(3),
            # Two approvals at once would commit against each other; the second waits.
            reserved_concurrent_executions=1,
            environment={
                "ENVIRONMENT": environment.name,
                "MODEL": model.name,
                "GIT_HOST": git.host,
                "GIT_API": git.api_url or APIS[git.host],
                "REPOSITORY": git.repository,
                "BRANCH": git.branch,
                "CHANGE": git.change,
                "TOKEN_SECRET": git.token_secret_arn,
            },
        )
        token.grant_read(function)
        events.Rule(
            self,
            "Approved",
            description=f"A version of {model.name} is approved",
            event_pattern=events.EventPattern(
                source=["aws.sagemaker"],
                detail_type=["SageMaker Model Package State Change"],
                detail={
                    "ModelPackageGroupName": [registry.model_package_group_name],
                    "ModelApprovalStatus": ["Approved"],
                },
            ),
            targets=[
                targets.LambdaFunction(
                    function, dead_letter_queue=self.missed, max_event_age=cdk.Duration.hours(24), retry_attempts=185
                )
            ],
        )


def _check_form(environment: str, model: str) -> None:
    """Changes the pin in the file at hand, as the function will, so that it is known now that it can."""
    file = settings.environment_file(environment)
    try:
        with_pin(file.read_text(encoding="utf-8"), model, 1)
    except NoPin as error:
        raise ValueError(
            f"environments/{environment}.yaml cannot be changed by an approval: {error}. Write it as the project's own files"
            " are written, or set git to null."
        ) from error
