"""Whose name commits have, and what opens private repositories."""

from __future__ import annotations

from aws_cdk import aws_iam as iam

from sagestack.settings.workbench.lifecycle import Git
from sagestack.workbench.lifecycle.context import GrantContext, LifecycleContext
from sagestack.workbench.lifecycle.secret_access import grant_read_secret
from sagestack.workbench.lifecycle.steps import Step, program, script


def steps(option: Git, context: LifecycleContext) -> tuple[Step, ...]:
    """Sets it for the whole instance at each start. The password is read whenever git asks, and is written nowhere."""
    return (
        Step(
            "git",
            script("git.sh"),
            files={"private_access.py": program("private_access.py")} if option.secret_arn else {},
            variables={
                "IDENTITY_NAME": option.user_name,
                "IDENTITY_EMAIL": option.user_email,
                "CREDENTIAL_HOSTS": " ".join(option.hosts),
                "CREDENTIAL_SECRET": option.secret_arn or "",
            },
        ),
    )


def grant(option: Git, role: iam.IRole, context: GrantContext) -> None:
    """Reading the secret, where there is one."""
    if option.secret_arn is not None:
        grant_read_secret(role, option.secret_arn)
