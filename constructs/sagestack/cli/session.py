"""boto3 clients for an environment: the local cloud's settings for `local`, boto3's own chain elsewhere."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagestack.cli import local_cloud
from sagestack.cli.errors import CliError

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_application_autoscaling import ApplicationAutoScalingClient
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient
    from mypy_boto3_ssm import SSMClient

    from sagestack.settings import Environment, EnvironmentNames


class Session:
    """One environment and the clients that speak to it."""

    def __init__(self, root: Path, environment: Environment, cloud: local_cloud.LocalCloud | None) -> None:
        self.root = root
        self.environment = environment
        self.cloud = cloud
        self._boto = _local_boto(cloud) if cloud else _aws_boto(environment)

    @property
    def is_local(self) -> bool:
        return self.cloud is not None

    @property
    def poll_seconds(self) -> float:
        """How often to look: often where it costs nothing, every five seconds where calls are throttled."""
        return 0.5 if self.is_local else 5.0

    @cached_property
    def names(self) -> EnvironmentNames:
        from sagestack.settings import EnvironmentNames

        return EnvironmentNames(self.environment.name)

    @cached_property
    def sagemaker(self) -> SageMakerClient:
        client: SageMakerClient = self._client("sagemaker")
        return client

    @cached_property
    def runtime(self) -> SageMakerRuntimeClient:
        client: SageMakerRuntimeClient = self._client("sagemaker-runtime")
        return client

    @cached_property
    def s3(self) -> S3Client:
        client: S3Client = self._client("s3")
        return client

    @cached_property
    def ssm(self) -> SSMClient:
        client: SSMClient = self._client("ssm")
        return client

    @cached_property
    def logs(self) -> CloudWatchLogsClient:
        client: CloudWatchLogsClient = self._client("logs")
        return client

    @cached_property
    def cloudwatch(self) -> CloudWatchClient:
        client: CloudWatchClient = self._client("cloudwatch")
        return client

    @cached_property
    def cloudformation(self) -> CloudFormationClient:
        client: CloudFormationClient = self._client("cloudformation")
        return client

    @cached_property
    def autoscaling(self) -> ApplicationAutoScalingClient:
        client: ApplicationAutoScalingClient = self._client("application-autoscaling")
        return client

    def check_account(self) -> None:
        """Makes sure that the credentials belong to the environment's account.

        Raises:
            CliError: they belong to another one.
        """
        account = self._client("sts").get_caller_identity()["Account"]
        if account == self.environment.account:
            return
        hint = "Choose credentials of that account, for example with AWS_PROFILE."
        if os.environ.get("AWS_ENDPOINT_URL"):
            hint = (
                f"AWS_ENDPOINT_URL is set to {os.environ['AWS_ENDPOINT_URL']}, so this spoke to the local cloud. "
                'Undo that with: eval "$(sagestack env --unset)"'
            )
        raise CliError(
            f"The credentials belong to account {account}, but environment {self.environment.name!r} is "
            f"account {self.environment.account} (environments/{self.environment.name}.yaml).",
            hint=hint,
            code="refused",
        )

    def find_parameter(self, name: str) -> str | None:
        """The value of an SSM parameter, or None where it is not there."""
        try:
            return self.ssm.get_parameter(Name=name)["Parameter"]["Value"]
        except self.ssm.exceptions.ParameterNotFound:
            return None

    def parameter(self, name: str, what: str) -> str:
        """The value of an SSM parameter that a stack of ours has written.

        Raises:
            CliError: it is not there, so the stack is not deployed.
        """
        value = self.find_parameter(name)
        if value is None:
            raise CliError(
                f"Environment {self.environment.name!r} has no {what}: the SSM parameter {name} is not there.",
                hint=f"Deploy first: sagestack deploy --env {self.environment.name}",
                code="not-deployed",
            )
        return value

    def command(self, words: str, model: str | None = None) -> str:
        """A command for people to copy, which does what it says: with `--model` where the project has several."""
        which = f" --model {model}" if model is not None and len(self.environment.models) > 1 else ""
        return f"sagestack {words} --env {self.environment.name}{which}"

    def _client(self, service: str) -> Any:
        if self.cloud:
            return _local_client_of(self._boto, self.cloud, service)
        return self._boto.client(service)  # type: ignore[call-overload]


def connect(root: Path, environment: str) -> Session:
    """Opens an environment.

    Raises:
        SettingsError: no such environment, or its file is not valid.
        CliError: the local cloud is not running, or the credentials are another account's.
    """
    from sagestack.settings import LOCAL, load_environment

    settings = load_environment(environment, root)
    if environment == LOCAL:
        return Session(root, settings, local_cloud.require(root))
    session = Session(root, settings, None)
    session.check_account()
    return session


def local_client(cloud: local_cloud.LocalCloud, service: str) -> Any:
    """One client on the local cloud, outside of any environment."""
    return _local_client_of(_local_boto(cloud), cloud, service)


def _local_boto(cloud: local_cloud.LocalCloud) -> boto3.Session:
    import boto3

    from sagestack.settings import shipped

    return boto3.Session(
        aws_access_key_id=cloud.access_key_id,
        aws_secret_access_key=cloud.secret_access_key,
        region_name=cloud.region,
        botocore_session=shipped.session(),
    )


def _local_client_of(boto: boto3.Session, cloud: local_cloud.LocalCloud, service: str) -> Any:
    from botocore.config import Config

    return boto.client(  # type: ignore[call-overload]
        service,
        endpoint_url=cloud.endpoint_url,
        verify=cloud.ca_bundle,
        # A company's proxy does not know this machine's loopback address.
        config=Config(proxies={}, connect_timeout=5, retries={"mode": "standard"}, s3={"addressing_style": "path"}),
    )


def _aws_boto(environment: Environment) -> boto3.Session:
    import boto3

    return boto3.Session(region_name=environment.region)
