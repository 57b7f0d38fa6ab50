"""`sagestack deploy`: the repository into an environment."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from sagestack.cli import cdk_cli, deployment_outcome
from sagestack.cli.cdk_output import Line
from sagestack.cli.cdk_tools import Tools, check_tools
from sagestack.cli.deployment_outcome import Deployment
from sagestack.cli.errors import CliError
from sagestack.cli.options import EnvOption, JsonOption, state_of
from sagestack.cli.output import Output

if TYPE_CHECKING:
    from sagestack.cli.session import Session


class ApprovalChoice(StrEnum):
    """What the CDK CLI asks before it does it."""

    never = "never"
    broadening = "broadening"


def deploy(
    context: typer.Context,
    environment: EnvOption = "local",
    require_approval: Annotated[
        ApprovalChoice | None,
        typer.Option(
            help="Whether to ask before permissions widen. Default: never for local, broadening elsewhere.",
            show_default=False,
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Deploy all stacks of an environment with the CDK CLI.

    Bootstraps the local cloud first where needed. Everything that the CDK CLI says is kept in
    [bold]cdk.out/deploy-ENV.log[/bold]; its exit code is this command's.

    Examples:
    [cyan]sagestack deploy[/cyan]
    [cyan]sagestack deploy --env prod[/cyan]
    """
    state = state_of(context)
    tools = check_tools(state.root)
    session = state.connect(environment)
    default = ApprovalChoice.never if session.is_local else ApprovalChoice.broadening
    deployment = run_deployment(session, tools, (require_approval or default).value, state.output)
    state.output.result(
        {
            "environment": environment,
            "changed": deployment.changed,
            "stacks": deployment.stacks,
            "seconds": round(deployment.seconds, 1),
            "log": str(deployment.log),
        }
    )


def run_deployment(session: Session, tools: Tools, approval: cdk_cli.Approval, out: Output) -> Deployment:
    """Bootstraps where needed, deploys, and shows both.

    Raises:
        CliError: a pinned version or the bootstrap is not there, a stack is stuck, this machine cannot run what is new, or the
            CDK CLI failed; with its exit code.
    """
    from sagestack.cli.bootstrap_checks import ensure_bootstrapped, refuse_unguarded
    from sagestack.cli.local_limits import refuse_scripts_without_engine
    from sagestack.cli.promotion import missing_pins
    from sagestack.cli.report import Activity, duration
    from sagestack.cli.stuck_stacks import refuse_stuck

    refuse_stuck(session)
    refuse_scripts_without_engine(session)
    for model, number in missing_pins(session).items():
        name = session.environment.name
        raise CliError(
            f"Environment {name!r} is to serve version {number} of {model}, which its registry does not have.",
            hint=f"Pin another: sagestack promote --env {name} --model {model} VERSION (or `none` for no endpoint).",
            code="not-found",
        )
    with Activity(out, "Looking at the environment") as activity:
        ensure_bootstrapped(session, tools, out.say)
        refuse_unguarded(session)
        activity.update(f"Synthesizing {session.environment.name}")

        def show(line: Line) -> None:
            if line.kind in ("warning", "error"):
                out.warn(line.text)
            else:
                out.say(f"  {line.text}", style="dim" if line.kind == "same" else None)

        # Under --json stdout belongs to the result, so the CLI cannot have the terminal.
        may_ask = not out.is_json and sys.stdin.isatty() and sys.stdout.isatty()
        if approval != "never" and may_ask:
            activity.stop()
        deployment = cdk_cli.deploy(session, tools, approval, show, activity.update, may_ask=may_ask)
    if deployment.exit_code != 0:
        raise deployment_outcome.failure(deployment)
    out.say(f"{deployment_outcome.summary(deployment.stacks)} ({duration(deployment.seconds)})")
    return deployment
