"""`sagestack delivery`: the workflows that let git deploy, generated from the settings."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import typer

from sagestack.cli.options import JsonOption, state_of

if TYPE_CHECKING:
    from sagestack.delivery.workflow import Difference

DIFFERS = 3
"""The exit code of a check that found something: neither done nor failed."""

delivery = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")


@delivery.callback()
def group() -> None:
    """Generate GitHub's workflows from delivery.yaml and the environments, or check that they are as generated.

    The pipeline on AWS is no file: where delivery.yaml has one, the CDK CLI deploys it, and from then on it deploys itself.

    Examples:
    [cyan]sagestack delivery write[/cyan]
    [cyan]sagestack delivery check[/cyan]
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
