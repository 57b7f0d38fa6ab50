"""Accepts the wildcards of a policy whose very subject is many things, next to the policy."""

from __future__ import annotations

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from constructs import Construct


def acknowledge_wildcards(scope: Construct, statements: Sequence[iam.PolicyStatement], reason: str) -> None:
    """Accepts the wildcards of these statements, and no others, for cdk-nag.

    Args:
        scope: what has the statements.
        statements: as they were given to it.
        reason: why a wildcard is as narrow as it can be.
    """
    found = [
        f"{kind}::{text}"
        for statement in statements
        for kind, texts in (("Action", statement.actions), ("Resource", statement.resources))
        for text in texts
        if "*" in text
    ]
    cdk.Validations.of(scope).acknowledge(
        *(
            cdk.Acknowledgment(id=f"AwsSolutions::AwsSolutions-IAM5[{each}]", reason=reason)
            for each in dict.fromkeys(found)
        )
    )
