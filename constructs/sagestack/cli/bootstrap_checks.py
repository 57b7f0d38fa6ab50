"""Makes sure before a deployment that the environment is bootstrapped: does it for the local cloud, refuses elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sagestack.cli import cdk_cli, local_cloud
from sagestack.cli.deployment_outcome import tail
from sagestack.cli.errors import CliError

if TYPE_CHECKING:
    from sagestack.cli.cdk_tools import Tools
    from sagestack.cli.session import Session

TOOLKIT_STACK = "CDKToolkit"


def ensure_bootstrapped(session: Session, tools: Tools, say: Callable[[str], None]) -> bool:
    """Bootstraps the local cloud where needed; asks for it elsewhere, where it is the account owner's decision.

    Returns:
        Whether it had to be done.

    Raises:
        CliError: an account is not bootstrapped, or bootstrapping failed.
    """
    found = bootstrap_version(session)
    if not session.is_local:
        if found is None:
            raise CliError(
                f"Account {session.environment.account} is not bootstrapped for CDK in {session.environment.region}: "
                f"there is no stack {TOOLKIT_STACK}.",
                hint=f"Once, by somebody who may: sagestack bootstrap --env {session.environment.name}",
                code="not-deployed",
            )
        return False
    wanted = wanted_bootstrap_version(session.root)
    if found is not None and found >= wanted:
        return False
    say(f"Bootstrapping the local cloud (CDK toolkit version {wanted})")
    log = local_cloud.state_dir(session.root) / "bootstrap.log"
    where = f"aws://{session.environment.account}/{session.environment.region}"
    command = [tools.cdk, "bootstrap", where, "--no-notices", "--no-color"]
    # In a folder without cdk.json: where the CLI finds an app, it synthesizes it first, for nothing.
    code = cdk_cli.stream(command, session, log, lambda _line: None, folder=log.parent)
    if code != 0:
        raise CliError(f"cdk bootstrap failed; the end of {log}:\n{tail(log)}", code="deploy-failed", exit_code=code)
    return True


def refuse_unguarded(session: Session) -> None:
    """Refuses to deploy roles with a permissions boundary that is not there: IAM would refuse each of them, in other words.

    Raises:
        CliError: nobody has bootstrapped the environment with `sagestack bootstrap`.
    """
    name = session.names.bootstrap_stack
    if session.environment.permissions_boundary and _outputs(session, name) is None:
        raise CliError(
            f"There is no stack {name}, which has the permissions boundary of all roles of {session.environment.name}.",
            hint=f"Once, by somebody who may: sagestack bootstrap --env {session.environment.name}. Or do without, by"
            f" permissions_boundary: false in environments/{session.environment.name}.yaml.",
            code="not-deployed",
        )


def wanted_bootstrap_version(root: Path) -> int:
    """The version of the toolkit stack that this CLI would deploy, from the template that it carries."""
    template = root / "node_modules" / "aws-cdk" / "lib" / "api" / "bootstrap" / "bootstrap-template.yaml"
    versions = re.findall(r"^\s+Value: '(\d+)'$", template.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if not versions:
        raise CliError(f"{template} names no version.", hint="make setup", code="set-up")
    return int(versions[-1])


def bootstrap_version(session: Session) -> int | None:
    """The version of the toolkit stack that the environment has; None where it has none, or a half-made one."""
    outputs = _outputs(session, TOOLKIT_STACK) or {}
    version = outputs.get("BootstrapVersion", "")
    return int(version) if version.isdecimal() else None


def _outputs(session: Session, name: str) -> dict[str, str] | None:
    """What a stack says that it has; None where there is none, or a half-made one."""
    from botocore.exceptions import ClientError

    try:
        stack = session.cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        # CloudFormation's answer to the name of a stack that is not there.
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        return None
    if stack["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"):
        return None
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
