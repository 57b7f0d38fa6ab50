"""A private place that pip and conda take packages from."""

from __future__ import annotations

from aws_cdk import aws_iam as iam

from sagestack.settings.workbench.lifecycle import PackageIndex
from sagestack.workbench.lifecycle.context import GrantContext, LifecycleContext
from sagestack.workbench.lifecycle.secret_access import grant_read_secret
from sagestack.workbench.lifecycle.steps import Step, program, script


def steps(option: PackageIndex, context: LifecycleContext) -> tuple[Step, ...]:
    """Writes the settings of pip and conda at each start, before packages; a password into files that its user alone reads."""
    variables = {
        "INDEX_URL": option.url or "",
        "INDEX_SECRET": option.secret_arn or "",
        "INDEX_TRUSTED_HOST": option.trusted_host or "",
        "INDEX_CHANNELS": " ".join(option.conda_channels),
    }
    return (
        Step(
            "package-index",
            script("package_index.sh"),
            user="ec2-user",
            files={"private_access.py": program("private_access.py")},
            variables=variables,
        ),
    )


def grant(option: PackageIndex, role: iam.IRole, context: GrantContext) -> None:
    """Reading the secret, where there is one."""
    if option.secret_arn is not None:
        grant_read_secret(role, option.secret_arn)
