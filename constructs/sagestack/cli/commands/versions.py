"""`sagestack approve` and `promote`: from a registered version to a served one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sagestack.cli import registry
from sagestack.cli.errors import CliError
from sagestack.cli.options import EnvOption, JsonOption, ModelOption, State, state_of

if TYPE_CHECKING:
    from sagestack.cli.next_stage import Plan, Step


def approve(
    context: typer.Context,
    version: Annotated[
        str | None, typer.Argument(metavar="VERSION", help="Default: the newest that waits for approval.")
    ] = None,
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
        out.say(f"To serve it: {session.command(f'promote {found.number}', name)}")
    now = registry.find(session, group, found.number)
    out.result({"changed": is_changed, "model": name, **now.as_json(metrics)})


def promote(
    context: typer.Context,
    version: Annotated[
        str | None,
        typer.Argument(metavar="VERSION", help="A number, or `none` for no endpoint. Default: the newest approved."),
    ] = None,
    environment: EnvOption = "local",
    model: ModelOption = None,
    after: Annotated[
        str | None,
        typer.Option(
            "--after",
            metavar="ENV",
            help="Propose what ENV serves for the stage after it in delivery.yaml, by pull requests.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --after: show what would be proposed; needs no token.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Pin the version that an environment serves.

    Writes environments/ENV.yaml (for local a file that git ignores) and deploys nothing: the change is there to be
    reviewed.

    With [bold]--after[/bold] nothing is written here: for each model a pull request on the git host proposes the version that
    ENV pins in this commit for the next stage. CI runs it once the deployment of ENV and its gate have succeeded.

    Examples:
    [cyan]sagestack promote[/cyan]
    [cyan]sagestack promote 3 --env prod[/cyan]
    [cyan]sagestack promote none --env dev[/cyan]
    [cyan]sagestack promote --after dev[/cyan]
    [cyan]sagestack promote --after dev --dry-run[/cyan]
    """
    from sagestack.cli import promotion

    state = state_of(context)
    if after is not None:
        source = context.get_parameter_source("environment")
        if version is not None or (source is not None and source.name != "DEFAULT"):
            raise CliError(
                "--after takes the version and the environment from delivery.yaml and the pins: leave out VERSION and --env.",
                code="usage",
            )
        _promote_after(state, after, model, dry_run)
        return
    if dry_run:
        raise CliError("--dry-run belongs to --after: without it, `git diff` shows what was pinned.", code="usage")
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


def _promote_after(state: State, after: str, model: str | None, dry_run: bool) -> None:
    """Open the pull requests, or show them, and say what became of each model."""
    from sagestack.cli import next_stage
    from sagestack.cli.hosted_repository import open_repository

    out = state.output
    planned = next_stage.plan(state.root, after, None if model is None else state.model(model))
    if planned.stage is None:
        out.say(f"{after} is the last stage of delivery.yaml: nothing comes after it.")
    for left in planned.skipped:
        out.say(f"{left.model}: {left.reason}.")
    proposals: list[dict[str, Any]] = []
    skipped = list(planned.skipped)
    if dry_run:
        for step in planned.steps:
            proposals.append(next_stage.as_json(planned, step, None))
            diff = next_stage.shown(state.root, planned, step)
            out.say(
                f"{step.model}: version {step.version} would be proposed for {planned.stage}:"
                if diff
                else _pinned(planned, step)
            )
            out.say(diff)
    elif planned.steps:
        hosted = open_repository(state.root)
        for step, done in next_stage.carry_out(state.root, hosted, planned):
            if isinstance(done, next_stage.Skipped):
                skipped.append(done)
                out.say(f"{done.model}: {done.reason}.")
                continue
            proposals.append(told := next_stage.as_json(planned, step, done))
            if told["outcome"] == "unchanged":
                out.say(_pinned(planned, step))
            else:
                word = "is proposed" if done.is_new else "was proposed already"
                out.say(f"{step.model}: version {step.version} {word} for {planned.stage}: {done.address}")
            for review in done.closed:
                out.say(f"  It takes the place of {review.address}, which is closed.")
    out.result(
        {
            "after": after,
            "stage": planned.stage,
            "dry_run": dry_run,
            "proposals": proposals,
            "skipped": [{"model": each.model, "reason": each.reason} for each in skipped],
        }
    )


def _pinned(planned: Plan, step: Step) -> str:
    return f"{step.model}: {planned.stage} pins version {step.version} already."


def _number(text: str, allowed: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise CliError(f"{text!r} is not a version (allowed: {allowed}).", code="usage")
    return int(text)
