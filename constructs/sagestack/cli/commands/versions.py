"""`sagestack approve` and `promote`: from a registered version to a served one."""

from __future__ import annotations

from typing import Annotated

import typer

from sagestack.cli import registry
from sagestack.cli.errors import CliError
from sagestack.cli.options import EnvOption, JsonOption, ModelOption, state_of


def approve(
    context: typer.Context,
    version: Annotated[str | None, typer.Argument(help="Default: the newest that waits for approval.")] = None,
    environment: EnvOption = "local",
    model: ModelOption = None,
    reject: Annotated[bool, typer.Option("--reject", help="Reject it instead.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why; kept with the version.")] = None,
    json: JsonOption = False,
) -> None:
    """Approve a registered version, or reject it.

    Nothing is deployed by it: [cyan]sagestack promote[/cyan] pins a version, [cyan]sagestack deploy[/cyan] serves it.

    Examples:
    [cyan]sagestack approve[/cyan]
    [cyan]sagestack approve 3 --env dev[/cyan]
    [cyan]sagestack approve 4 --reject --reason "worse on new data"[/cyan]
    """
    from sagestack.cli.report import metrics_line

    state = state_of(context)
    out = state.output
    number = None if version is None else _number(version, "a whole number from 1")
    name = state.model(model)
    session = state.connect(environment)
    group = registry.group_name(session, name)
    found = (
        registry.newest(session, group, registry.PENDING) if number is None else registry.find(session, group, number)
    )
    metrics = registry.metrics(session, found)
    out.say(f"Version {found.number} of {name}: {metrics_line(metrics)}")
    is_changed = registry.decide(session, found, "Rejected" if reject else "Approved", reason)
    word = "rejected" if reject else "approved"
    out.say(f"It is {word} now." if is_changed else f"It was {word} already.")
    if not reject:
        out.say(f"To serve it: sagestack promote {found.number} --env {environment}")
    now = registry.find(session, group, found.number)
    out.result({"changed": is_changed, "model": name, **now.as_json(metrics)})


def promote(
    context: typer.Context,
    version: Annotated[
        str | None, typer.Argument(help="A number, or `none` for no endpoint. Default: the newest approved.")
    ] = None,
    environment: EnvOption = "local",
    model: ModelOption = None,
    json: JsonOption = False,
) -> None:
    """Pin the version that an environment serves.

    Writes environments/ENV.yaml (for local a file that git ignores) and deploys nothing: the change is there to be
    reviewed.

    Examples:
    [cyan]sagestack promote[/cyan]
    [cyan]sagestack promote 3 --env prod[/cyan]
    [cyan]sagestack promote none --env dev[/cyan]
    """
    from sagestack.cli import promotion

    state = state_of(context)
    out = state.output
    number = None if version in (None, "none") else _number(version, "a whole number from 1, or none")
    name = state.model(model)
    session = state.connect(environment)
    done = promotion.pin(session, name, None) if version == "none" else promotion.promote(session, name, number)
    label = done.file.relative_to(state.root).as_posix()
    what = "no version" if done.version is None else f"version {done.version}"
    if not done.changed:
        out.say(f"Nothing to do: {label} already pins {what} of {name}.")
    else:
        out.say(f"{label} now pins {what} of {name}:")
        out.say(done.diff)
        out.say("" if session.is_local else f"Review it: git diff {label}; commit it; then deploy.")
    out.say(f"To deploy it: sagestack deploy --env {environment}")
    out.result(
        {
            "changed": done.changed,
            "environment": environment,
            "model": name,
            "version": done.version,
            "previous_version": done.previous,
            "file": str(done.file),
            "diff": done.diff,
        }
    )


def _number(text: str, allowed: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise CliError(f"{text!r} is not a version (allowed: {allowed}).", code="usage")
    return int(text)
