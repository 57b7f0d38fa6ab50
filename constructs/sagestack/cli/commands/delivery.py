"""`sagestack delivery`: the workflows that let git deploy, generated from the settings, and what they deployed."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sagestack.cli.errors import CliError
from sagestack.cli.options import EnvOption, JsonOption, state_of

if TYPE_CHECKING:
    from sagestack.delivery.workflow import Difference

DIFFERS = 3
"""The exit code of a check that found something: neither done nor failed."""

delivery = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")


@delivery.callback()
def group() -> None:
    """Generate GitHub's workflows from delivery.yaml and the environments, check them, and ask what they deployed.

    The pipeline on AWS is no file: where delivery.yaml has one, the CDK CLI deploys it, and from then on it deploys itself.

    Examples:
    [cyan]sagestack delivery write[/cyan]
    [cyan]sagestack delivery check[/cyan]
    [cyan]sagestack delivery deployed --env prod[/cyan]
    [cyan]npx cdk deploy -c part=delivery sagestack-delivery[/cyan]
    """


@delivery.command()
def write(context: typer.Context, json: JsonOption = False) -> None:
    """Write .github/workflows/sagestack*.yml.

    What stands there is replaced, and what is no longer generated is removed. Commit the result: GitHub reads it from git.

    Examples:
    [cyan]sagestack delivery write[/cyan]
    """
    from sagestack.delivery.workflow import write as write_workflows

    state = state_of(context)
    changed = write_workflows(state.root)
    for difference in changed:
        state.output.say(f"{_word(difference):<8} {difference.path.as_posix()}")
    state.output.say("Commit them: GitHub reads them from git." if changed else "The workflows are as generated.")
    state.output.result({"files": [_described(difference) for difference in changed]})


@delivery.command()
def check(context: typer.Context, json: JsonOption = False) -> None:
    """Check that the workflows are as they would be generated.

    Ends with 3 where one differs, is missing, or is there although it would not be generated.

    Examples:
    [cyan]sagestack delivery check[/cyan]
    """
    from sagestack.delivery.workflow import differences

    state = state_of(context)
    found = differences(state.root)
    for difference in found:
        state.output.say(f"{_word(difference):<8} {difference.path.as_posix()}")
        for line in _diff(difference):
            state.output.say(f"  {line}", style="dim")
    state.output.say(
        "`sagestack delivery write` makes them so. What else should differ belongs into a workflow of another name."
        if found
        else "The workflows are as generated."
    )
    state.output.result({"files": [_described(difference) for difference in found]})
    if found:
        raise typer.Exit(DIFFERS)


@delivery.command()
def deployed(
    context: typer.Context,
    environment: EnvOption,
    refuse_older: Annotated[
        bool,
        typer.Option(
            "--refuse-older", help="End with 1 where what is checked out is older: deploying it would go back."
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Say which commit GitHub's workflow deployed to an environment last; nothing where it never did.

    GitHub remembers it for each of its environments. The token is that of GITHUB_TOKEN (SAGESTACK_GIT_TOKEN wins over it), and
    must be allowed to read deployments. What somebody deployed from a laptop is not known there.

    Examples:
    [cyan]sagestack delivery deployed --env prod[/cyan]
    [cyan]sagestack delivery deployed --env prod --refuse-older[/cyan]
    """
    from sagestack.cli.github_deployments import PERMISSIONS, deployed_commit, is_older, refuse_other_hosts
    from sagestack.cli.hosted_repository import open_repository
    from sagestack.settings import load_delivery

    state = state_of(context)
    settings = load_delivery(state.root)
    names = [stage.environment for stage in settings.stages]
    if environment not in names:
        raise CliError(f"{environment!r} is no stage of delivery.yaml (stages: {', '.join(names)}).", code="usage")
    refuse_other_hosts(settings.repository.host, settings.repository.name, environment)
    commit = deployed_commit(open_repository(state.root, PERMISSIONS), environment)
    if commit is not None and refuse_older:
        older = is_older(state.root, commit)
        if older:
            raise CliError(
                f"{environment} has commit {commit} already, and what is checked out is older: to deploy it would go back.",
                hint="A newer run was quicker, and went on from there: let this one be. To go back, `git revert` and merge.",
            )
        if older is None:
            state.output.warn(f"{environment} has commit {commit}, which this clone does not know: it was forced away.")
    state.output.result({"environment": environment, "commit": commit})
    if commit is not None:
        state.output.say(commit)


def _word(difference: Difference) -> str:
    if difference.found is None:
        return "new"
    return "removed" if difference.wanted is None else "changed"


def _described(difference: Difference) -> dict[str, Any]:
    return {"path": difference.path.as_posix(), "change": _word(difference)}


def _diff(difference: Difference) -> list[str]:
    """What would change in the file, where it is there and would stay."""
    if difference.found is None or difference.wanted is None:
        return []
    name = difference.path.as_posix()
    lines = difflib.unified_diff(
        difference.found.splitlines(), difference.wanted.splitlines(), f"a/{name}", f"b/{name}", n=1, lineterm=""
    )
    return list(lines)
