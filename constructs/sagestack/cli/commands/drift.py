"""`sagestack drift`: what is in the account and not in git."""

from __future__ import annotations

import json as json_
from typing import TYPE_CHECKING, Any

import typer

from sagestack.cli.options import EnvOption, JsonOption, state_of

if TYPE_CHECKING:
    from sagestack.cli.drift.results import Drifted, StackReport
    from sagestack.cli.output import Output

DRIFTED = 3
"""The exit code where account and git differ: what a review that asks for a human ends with, too."""
COULD_NOT_LOOK = 1
"""The exit code where nothing differs in what could be looked at, and not all could be."""
_LONGEST = 120


def drift(context: typer.Context, environment: EnvOption = "local", json: JsonOption = False) -> None:
    """Say what was changed by hand in an environment, and what of git is not deployed.

    Changes nothing. Ends with exit code 3 where account and git differ, and with 1 where it could not look.

    Examples:
    [cyan]sagestack drift[/cyan]
    [cyan]sagestack drift --env prod --json[/cyan]
    """
    from sagestack.cli.drift.looking import look_for_drift
    from sagestack.cli.report import Activity

    state = state_of(context)
    out = state.output
    session = state.connect(environment)
    with Activity(out, f"Looking at {environment}") as activity:
        reports = look_for_drift(session, activity.update)
    for report in reports:
        _show(report, out)
    differ = [report for report in reports if not report.is_as_in_git]
    _conclude(reports, environment, out)
    out.result({"environment": environment, "in_sync": not differ, "stacks": [report.as_json() for report in reports]})
    if differ:
        raise typer.Exit(DRIFTED if any(report.differs for report in differ) else COULD_NOT_LOOK)


def _show(report: StackReport, out: Output) -> None:
    if report.status is None:
        out.warn(f"{report.stack}: not deployed")
        return
    if report.is_as_in_git:
        out.say(f"{report.stack}: as in git ({report.checked} resources checked)")
        return
    out.say(report.stack, style="bold")
    if report.is_unknown_to_git:
        out.warn("  in the account, but not in git: nothing here deploys it any more")
    if report.problem:
        out.warn(f"  could not be looked at: {report.problem}")
    for each in report.drifted:
        _show_drifted(each, out)
    for change in report.undeployed:
        out.say(f"  {change.type} {change.path}: git differs from what is deployed ({change.action} by a deployment)")


def _show_drifted(drifted: Drifted, out: Output) -> None:
    how = f" {drifted.detail}" if drifted.detail else ""
    out.warn(f"  {drifted.type} {drifted.path} ({drifted.physical_id}): {drifted.kind} by hand{how}")
    for each in drifted.differences:
        out.say(f"    {each.property}: {_text(each.deployed)} was deployed, {_text(each.found)} is there")


def _conclude(reports: list[StackReport], environment: str, out: Output) -> None:
    by_hand = sum(len(report.drifted) for report in reports)
    unchecked = sum(sum(report.unchecked.values()) for report in reports)
    undeployed = [report for report in reports if report.undeployed or report.status is None]
    out.say("")
    if by_hand:
        noun = "resource was" if by_hand == 1 else "resources were"
        out.say(f"{by_hand} {noun} changed by hand. A deployment without changes would not undo it:")
        out.say("undo it by hand, or write it into the project and deploy.")
    for command in dict.fromkeys(_deployed_by(report, environment) for report in undeployed):
        out.say(f"Git has what is not deployed: sagestack {command} --env {environment}")
    if unseen := [report.stack for report in reports if report.problem]:
        out.warn(f"Not looked at, so nobody knows: {', '.join(unseen)}.")
    if not by_hand and not undeployed and all(report.is_as_in_git for report in reports):
        out.say(f"{environment} is as git says.")
    if unchecked:
        kinds = sorted({kind for report in reports for kind in report.unchecked})
        out.say(f"Nobody can check {unchecked} resources: {', '.join(kinds)}.", style="dim")


def _deployed_by(report: StackReport, environment: str) -> str:
    from sagestack.settings import EnvironmentNames

    return "bootstrap" if report.stack == EnvironmentNames(environment).bootstrap_stack else "deploy"


def _text(value: Any) -> str:
    text = "nothing" if value is None else json_.dumps(value, sort_keys=True)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
