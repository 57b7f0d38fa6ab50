"""Prepares an account for deployments: the guards of the environment first, then CDK's own bootstrap with what they allow."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sagestack.cli import cdk_cli
from sagestack.cli.bootstrap_checks import TOOLKIT_STACK
from sagestack.cli.cdk_tools import Tools
from sagestack.cli.errors import CliError

if TYPE_CHECKING:
    from sagestack.cli.session import Session

ADMINISTRATOR = ":iam::aws:policy/AdministratorAccess"


@dataclass(frozen=True)
class Command:
    """One command line of the CDK CLI.

    Attributes:
        what: in a person's words.
        folder: where it must be run: the CDK CLI synthesizes the app of the folder that it is in.
    """

    what: str
    arguments: tuple[str, ...]
    folder: Path

    def __str__(self) -> str:
        return shlex.join(self.arguments)


@dataclass(frozen=True)
class Toolkit:
    """What `cdk bootstrap` has made in the account so far.

    Attributes:
        policies: ARNs of what CloudFormation may do.
        trusted: accounts whose principals may deploy.
        trusted_for_lookup: accounts whose principals may look.
    """

    policies: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()
    trusted_for_lookup: tuple[str, ...] = ()


def toolkit(session: Session) -> Toolkit | None:
    """What is there; None before the first bootstrap.

    Raises:
        ClientError: CloudFormation cannot be asked.
    """
    from botocore.exceptions import ClientError

    try:
        stack = session.cloudformation.describe_stacks(StackName=TOOLKIT_STACK)["Stacks"][0]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        return None
    given = {each["ParameterKey"]: each.get("ParameterValue", "") for each in stack.get("Parameters", [])}

    def listed(name: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in given.get(name, "").split(",") if part.strip())

    return Toolkit(
        # Where nothing was said and nobody is trusted, the template means AdministratorAccess.
        listed("CloudFormationExecutionPolicies")
        or (() if listed("TrustedAccounts") else (f"arn:{_partition(session)}{ADMINISTRATOR}",)),
        listed("TrustedAccounts"),
        listed("TrustedAccountsForLookup"),
    )


def policy_arns(session: Session) -> tuple[str, ...]:
    """Of the policies that the bootstrap stack makes for CloudFormation."""
    has_workbench = session.environment.workbench is not None
    names = session.names
    of_workbench = (names.workbench_deployment_policy,) if has_workbench else ()
    return tuple(_arn(session, name) for name in (*names.deployment_policies, *of_workbench))


def removed(session: Session, before: Toolkit | None) -> tuple[str, ...]:
    """The policies that CloudFormation would lose in this account and region, so what else is deployed there would, too.

    Those of other environments stay: they share CDK's roles with this one.
    """
    if before is None or session.is_local:
        return ()
    return tuple(arn for arn in before.policies if not _is_ours(session, arn))


def commands(session: Session, tools: Tools, trust: Sequence[str], before: Toolkit | None) -> list[Command]:
    """What is run, in order.

    Args:
        session: the environment, with its caller's own rights.
        tools: what `check_tools` found.
        trust: accounts whose pipeline deploys here, besides those that are trusted already.
        before: what there is.
    """
    name = session.environment.name
    made, there = policy_arns(session), before.policies if before else ()
    # Of an environment that has no workbench any more.
    dropped = {_arn(session, session.names.workbench_deployment_policy)} - {*made}
    kept = [arn for arn in there if _is_ours(session, arn) and arn not in dropped]
    policies = tuple(dict.fromkeys([*kept, *made]))
    trusted = tuple(dict.fromkeys([*(before.trusted if before else ()), *trust]))
    looking = before.trusted_for_lookup if before else ()
    where = f"aws://{session.environment.account}/{session.environment.region}"
    quiet = ("--no-notices", "--no-color")
    output = session.root / "cdk.out" / f"bootstrap-{name}"
    empty = session.root / "cdk.out" / "no-app"
    both = [
        Command(
            f"The guards of {name}: what a deployment may do, and what roles may not",
            (
                *(tools.cdk, "deploy", session.names.bootstrap_stack, "-c", f"env={name}", "-c", "part=bootstrap"),
                *("--output", str(output), "--require-approval", "never", "--progress", "events", *quiet),
            ),
            session.root,
        ),
        Command(
            "CDK's own bucket, repository and roles, with these guards",
            (
                *(tools.cdk, "bootstrap", where, "--cloudformation-execution-policies", ",".join(policies)),
                *(part for account in trusted for part in ("--trust", account)),
                *(part for account in looking for part in ("--trust-for-lookup", account)),
                *(() if session.is_local else ("--termination-protection",)),
                *quiet,
            ),
            # Where there is no app: in the project the CLI would synthesize it first, for nothing.
            empty,
        ),
    ]
    # IAM deletes no policy that a role still has; all others are there already.
    return both[::-1] if dropped & {*there} else both


def run(session: Session, command: Command, on_line: Callable[[str], None]) -> None:
    """Runs one command with the caller's own credentials.

    Raises:
        CliError: it failed; with its last words, and its exit code.
    """
    command.folder.mkdir(parents=True, exist_ok=True)
    log = session.root / "cdk.out" / f"bootstrap-{session.environment.name}.log"
    log.parent.mkdir(exist_ok=True)
    process = subprocess.Popen(
        command.arguments,
        cwd=command.folder,
        env=cdk_cli.variables(session.root, session.cloud),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    assert process.stdout is not None  # because of PIPE
    said: list[str] = []
    with process.stdout, log.open("a", encoding="utf-8") as kept:
        kept.write(f"$ {command}\n")
        for line in process.stdout:
            kept.write(line)
            said.append(line.rstrip())
            on_line(line.rstrip())
    code = process.wait()
    if code != 0:
        raise CliError(
            f"{command.arguments[0]} {command.arguments[1]} failed; the end of {log}:\n" + "\n".join(said[-25:]),
            hint="Bootstrapping can be done again: what is there stays.",
            code="deploy-failed",
            exit_code=code if code > 0 else 1,
        )


def _is_ours(session: Session, arn: str) -> bool:
    return arn.startswith(_arn(session, ""))


def _arn(session: Session, policy: str) -> str:
    from sagestack.settings.names import GUARDED_PATH

    return f"arn:{_partition(session)}:iam::{session.environment.account}:policy{GUARDED_PATH}{policy}"


def _partition(session: Session) -> str:
    from sagestack.settings import shipped

    return shipped.partition(session.environment.region)
