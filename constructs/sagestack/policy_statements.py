"""How the statements of a deployment's policies are written: the words that all of them share."""

from __future__ import annotations

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from sagestack.settings import EnvironmentNames

QUALIFIER = "hnb659fds"
"""Of CDK's default bootstrap, in the names of its roles, bucket and repository."""
TAGS = ("TagResource", "UntagResource", "ListTagsForResource")
"""What most services call it to tag."""


class Scope:
    """The account, the region and the names that statements are limited to.

    Attributes:
        stack: whose account and region are meant.
        names: of the environment.
    """

    def __init__(self, stack: cdk.Stack, names: EnvironmentNames) -> None:
        """Keeps both.

        Args:
            stack: whose account and region are meant.
            names: of the environment that is deployed.
        """
        self.stack, self.names = stack, names

    def iam(self, resource: str, name: str) -> str:
        """The ARN of something of IAM's, which has no region."""
        return self.stack.format_arn(service="iam", region="", resource=resource, resource_name=name)

    def arn(
        self, service: str, resource: str, name: str, arn_format: cdk.ArnFormat = cdk.ArnFormat.SLASH_RESOURCE_NAME
    ) -> str:
        """The ARN of something in the account and the region."""
        return self.stack.format_arn(service=service, resource=resource, resource_name=name, arn_format=arn_format)

    def here(self) -> dict[str, dict[str, str]]:
        """The condition that it is done in the region, for what takes no resource."""
        return {"StringEquals": {"aws:RequestedRegion": self.stack.region}}


def allow(
    service: str,
    actions: list[str],
    resources: str | list[str],
    conditions: Mapping[str, Mapping[str, object]] | None = None,
) -> iam.PolicyStatement:
    """Allows actions of one service.

    Args:
        service: as ARNs and actions call it.
        actions: without the service's prefix.
        resources: ARNs, or `*` for actions that take none.
        conditions: as IAM has them.
    """
    return iam.PolicyStatement(
        actions=[f"{service}:{action}" for action in actions],
        resources=[resources] if isinstance(resources, str) else resources,
        conditions=dict(conditions) if conditions else None,
    )


def only_tag(key: str) -> dict[str, dict[str, object]]:
    """The condition that a call tags, or takes away, this tag and no other.

    Args:
        key: of the tag.
    """
    # "For all values" holds where there are none, too.
    return {"ForAllValues:StringEquals": {"aws:TagKeys": [key]}, "Null": {"aws:TagKeys": "false"}}
