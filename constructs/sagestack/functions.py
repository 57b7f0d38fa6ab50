"""The Lambda functions of the project: their code, and what all of them have in common."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import custom_resources

from constructs import Construct
from sagestack import settings

FOLDER = settings.PROJECT_ROOT / "functions"


class Function(lambda_.Function):
    """One folder of `functions/`, with a role and a log group of its own.

    The folder is a package at the root of the archive; its modules import each other relatively, which works in tests, too, where
    it is `functions.<package>`.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        package: str,
        description: str,
        timeout: cdk.Duration,
        environment: dict[str, str],
        reserved_concurrent_executions: int | None = None,
        handler: str = "handler",
    ) -> None:
        """Makes the function.

        Args:
            package: the folder; `handler.py` in it is what runs.
            description: what somebody reads who finds it in the console.
            timeout: after which Lambda ends it.
            environment: its variables.
            reserved_concurrent_executions: how many run at once, at most. Default: as many as the account allows.
            handler: the function in `handler.py`.
        """
        log_group = logs.LogGroup(
            scope, f"{id}Logs", retention=logs.RetentionDays.ONE_YEAR, removal_policy=cdk.RemovalPolicy.DESTROY
        )
        role = iam.Role(
            scope,
            f"{id}Role",
            description=description,
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        )
        # AWS's managed policy for functions reaches every log group of the account.
        log_group.grant_write(role)
        super().__init__(
            scope,
            id,
            role=role,
            description=description,
            runtime=lambda_.Runtime.PYTHON_3_14,
            handler=f"{package}.handler.{handler}",
            code=lambda_.Code.from_asset(
                str(FOLDER),
                exclude=["**", f"!{package}", f"!{package}/**", "**/__pycache__"],
                ignore_mode=cdk.IgnoreMode.GIT,
            ),
            timeout=timeout,
            reserved_concurrent_executions=reserved_concurrent_executions,
            log_group=log_group,
            environment=environment,
        )


class Provider(custom_resources.Provider):
    """CDK's framework between CloudFormation and functions of ours, with a log group that is deleted with the stack.

    By default its functions would leave logs that never expire.
    """

    def __init__(
        self,
        scope: Construct,
        *,
        on_event_handler: Function,
        is_complete_handler: Function | None = None,
        query_interval: cdk.Duration | None = None,
        total_timeout: cdk.Duration | None = None,
    ) -> None:
        """Makes it, as the only one of its scope.

        Args:
            on_event_handler: what begins.
            is_complete_handler: what says whether it is done. Default: it is, once it began.
            query_interval: how often that is asked. Default: CDK's, 5 seconds.
            total_timeout: after which the deployment fails. Default: CDK's, 30 minutes.
        """
        super().__init__(
            scope,
            "Provider",
            on_event_handler=on_event_handler,
            is_complete_handler=is_complete_handler,
            query_interval=query_interval,
            total_timeout=total_timeout,
            log_group=logs.LogGroup(
                scope, "ProviderLogs", retention=logs.RetentionDays.ONE_YEAR, removal_policy=cdk.RemovalPolicy.DESTROY
            ),
        )
