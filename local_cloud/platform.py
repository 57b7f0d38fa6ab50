"""What the SageMaker part needs of the cloud around it, as one small interface.

`local_cloud.ministack_seams` is the implementation; nothing else in the SageMaker part knows that MiniStack is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Credentials:
    """Temporary credentials of a role."""

    access_key_id: str
    secret_access_key: str
    session_token: str

    def environment(self) -> dict[str, str]:
        """As the variables that every AWS SDK reads."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_SESSION_TOKEN": self.session_token,
        }


@dataclass(frozen=True)
class Caller:
    """Who calls, and where."""

    account: str
    region: str
    arn: str
    access_key_id: str = ""


class RoleRefused(Exception):
    """SageMaker cannot assume the role: it is not there, or its trust policy does not name the service."""


class Platform(Protocol):
    """The services around SageMaker, reached the way SageMaker reaches them."""

    def client(self, service: str, region: str, credentials: Credentials | None = None) -> Any:
        """A boto3 client on this cloud; without credentials it acts as the service itself (no IAM limits)."""

    def client_environment(self, region: str) -> dict[str, str]:
        """The variables with which a process on this machine reaches this cloud, credentials excluded."""

    def assume_role(self, role_arn: str, session_name: str) -> Credentials:
        """Credentials of a role for the SageMaker service, by the role's trust policy.

        Raises:
            RoleRefused: no such role, or it does not trust sagemaker.amazonaws.com.
        """

    def forget_session(self, credentials: Credentials) -> None:
        """Make credentials invalid."""

    def denied(self, caller: Caller, action: str, resource_arn: str, context: Mapping[str, str]) -> str | None:
        """The message of the denial if IAM forbids `action` to the caller, else None (for iam:PassRole)."""

    def put_event(
        self, account: str, region: str, detail_type: str, detail: Mapping[str, Any], resources: list[str]
    ) -> None:
        """Send one EventBridge event of the source aws.sagemaker on the default bus."""

    def put_metric(
        self,
        account: str,
        region: str,
        namespace: str,
        name: str,
        value: float,
        unit: str,
        dimensions: Mapping[str, str],
    ) -> None:
        """Publish one data point in CloudWatch."""
