"""Reading one secret, and no other."""

from __future__ import annotations

from aws_cdk import aws_iam as iam


def grant_read_secret(role: iam.IRole, secret_arn: str) -> None:
    """Lets a role read one secret that somebody else has made.

    Where it is encrypted with a key of their own, that key's policy must let the role decrypt, too: only they can say so.
    https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html
    """
    role.add_to_principal_policy(iam.PolicyStatement(actions=["secretsmanager:GetSecretValue"], resources=[secret_arn]))
