"""`sagestack bootstrap`: an account, ready for deployments that may do only what they need to."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from sagestack.cli import bootstrapping, cdk_tools
from sagestack.cli.errors import CliError
from sagestack.cli.options import EnvOption, JsonOption, state_of


def _account(text: str) -> str:
    if not re.fullmatch(r"[0-9]{12}", text, re.ASCII):
        raise typer.BadParameter(f"{text!r} is not an account (allowed: 12 digits).")
    return text


def bootstrap(
    context: typer.Context,
    environment: EnvOption = "local",
    trust: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ACCOUNT",
            parser=_account,
            help="An account whose pipeline deploys here, besides those that are trusted. Repeatable.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the commands, and run none.")] = False,
    replace_policies: Annotated[
        bool,
        typer.Option(
            "--replace-policies",
            help="Take away what CloudFormation may do so far, if it is another policy than ours.",
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Prepare an environment's account and region for deployments.

    Prints the exact commands, then runs them with your own credentials, which must be an administrator's: first a stack with the
    permissions boundary, the deployment policy and GitHub's roles, then [bold]cdk bootstrap[/bold], so that CloudFormation
    gets that policy and not AdministratorAccess. Done again, it changes only what differs.

    Examples:
    [cyan]sagestack bootstrap --env prod --dry-run[/cyan]
    [cyan]sagestack bootstrap --env prod[/cyan]
    [cyan]sagestack bootstrap --env prod --trust 444444444444[/cyan]
    """
    from sagestack.cli.report import Activity
    from sagestack.settings import github_delivery

    state = state_of(context)
    out = state.output
    tools = cdk_tools.check_tools(state.root)
    session = state.connect(environment)
    before = bootstrapping.toolkit(session)
    lost = bootstrapping.removed(session, before)
    planned = bootstrapping.commands(session, tools, trust or [], before)
    if not session.environment.permissions_boundary:
        out.warn(
            f"permissions_boundary is false in environments/{environment}.yaml: roles are made without a boundary, and the"
            " deployment policy does not ask for one."
        )
    github = github_delivery(session.environment, state.root)
    if github and github.delivery.repository.github_ids is None:
        name = github.delivery.repository.name
        out.warn(
            f"repository.github_ids is not in delivery.yaml: the roles of GitHub trust {name} by its name alone. A repository"
            " that was made, renamed or transferred since 2026-07-15 needs them, or its jobs get no role:"
            f" gh api repos/{name} --jq '{{owner: .owner.id, repository: .id}}'"
        )
    if lost:
        out.warn(
            f"So far CloudFormation deploys in {session.environment.account}/{session.environment.region} with"
            f" {', '.join(lost)}. All CDK apps of this account and region share that role."
        )
    for command in planned:
        out.say(f"# {command.what}, from {command.folder}", style="dim")
        out.say(str(command))
    result = {
        "environment": environment,
        "commands": [list(command.arguments) for command in planned],
        "replaced_policies": list(lost),
    }
    if dry_run:
        out.result({**result, "done": False})
        return
    if lost and not replace_policies:
        raise CliError(
            f"CloudFormation would lose {', '.join(lost)} in {session.environment.account}/{session.environment.region}, and"
            " with it whatever else is deployed there by the CDK.",
            hint="Where that is meant, say so with --replace-policies.",
            code="refused",
        )
    for command in planned:
        with Activity(out, command.what) as activity:
            bootstrapping.run(session, command, lambda line, activity=activity: activity.update(line[:100] or "..."))  # type: ignore[misc]
        out.say(f"Done: {command.what}", style="green")
    out.result({**result, "done": True})
