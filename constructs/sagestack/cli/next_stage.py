"""From one environment to the next: what it serves now is proposed for the stage after it, by a pull request."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagestack.cli import ci
from sagestack.cli.errors import CliError
from sagestack.cli.hosted_repository import HostedRepository, make_functions_importable

if TYPE_CHECKING:
    from functions.version_pin.proposal import Proposal
    from sagestack.settings import Environment


@dataclass(frozen=True)
class Step:
    """One version that goes on.

    Attributes:
        before: what the next stage pins in this checkout; None for nothing.
    """

    model: str
    version: int
    before: int | None


@dataclass(frozen=True)
class Skipped:
    """A model of which nothing goes on, and why."""

    model: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """What goes on from an environment.

    Attributes:
        after: the environment.
        stage: the one that comes next; None behind the last.
        has_approval: whether a person is asked before the next stage's deployment.
    """

    after: str
    stage: str | None
    has_approval: bool
    steps: tuple[Step, ...]
    skipped: tuple[Skipped, ...]


def plan(root: Path, after: str, model: str | None) -> Plan:
    """What is pinned in this checkout, against the order of delivery.yaml.

    Args:
        root: the project.
        after: the environment that was deployed.
        model: one alone, which then must be able to go on.

    Raises:
        SettingsError: delivery.yaml or an environment is not valid.
        CliError: the environment is no stage, or the named model's versions mean something else in the next one.
    """
    from sagestack.settings import load_environment
    from sagestack.settings.delivery import load_delivery

    delivery = load_delivery(root)
    try:
        stage = delivery.stage_after(after)
    except KeyError:
        names = ", ".join(each.environment for each in delivery.stages)
        raise CliError(f"{after!r} is no stage of delivery.yaml (stages: {names}).", code="usage") from None
    if stage is None:
        return Plan(after, None, False, (), ())
    here, there = load_environment(after, root), load_environment(stage.environment, root)
    steps: list[Step] = []
    skipped: list[Skipped] = []
    for name in [model] if model else here.models:
        version = here.models[name].served_version
        reason = _why_not(here, there, name)
        if reason is not None and model is not None and version is not None:
            raise CliError(f"Version {version} of {name} cannot go from {after} to {there.name}: {reason}.")
        if version is None:
            skipped.append(Skipped(name, f"{after} serves no version"))
        elif reason is not None:
            skipped.append(Skipped(name, reason))
        else:
            steps.append(Step(name, version, there.models[name].served_version))
    return Plan(after, there.name, stage.approval, tuple(steps), tuple(skipped))


def _why_not(here: Environment, there: Environment, model: str) -> str | None:
    """Why the number of a version means something else in the next environment, and what to write; None where it does not."""
    if there.models[model].serves_archives:
        return f"{there.name} serves archives, not a version"
    ours, theirs = registry_of(here, model), registry_of(there, model)
    if ours == theirs:
        return None
    return (
        f"versions are numbered per registry, and {there.name} serves those of {theirs}, not of {ours}; to serve {ours}'s, write"
        f" models.{model}.versions_from: {ours} into environments/{there.name}.yaml"
        + (
            f" and account {there.account} into models.{model}.deployable_from of environments/{ours}.yaml"
            if there.account != here.account
            else ""
        )
    )


def registry_of(environment: Environment, model: str) -> str:
    """The environment whose registry has the versions that this one serves: what `versions_from` names, or itself."""
    return environment.models[model].versions_from or environment.name


def shown(root: Path, planned: Plan, step: Step) -> str:
    """The change of the next stage's file in this checkout."""
    import difflib

    from sagestack.settings import environment_file

    make_functions_importable()
    from functions.version_pin.pin import NoPin, with_pin

    assert planned.stage is not None
    text = environment_file(planned.stage, root).read_text(encoding="utf-8")
    try:
        after = with_pin(text, step.model, step.version)
    except NoPin as error:
        raise _unpinnable(planned.stage, error) from error
    path = f"environments/{planned.stage}.yaml"
    lines = difflib.unified_diff(text.splitlines(), after.splitlines(), f"a/{path}", f"b/{path}", n=2, lineterm="")
    return "\n".join(lines)


def carry_out(root: Path, hosted: HostedRepository, planned: Plan) -> Iterator[tuple[Step, Proposal | Skipped]]:
    """Propose each step on the git host; again is no error and opens nothing twice.

    Raises:
        CliError: the host refused, or a file is in another form than the project's.
    """
    from functions.version_pin.pin import NoPin, pinned
    from functions.version_pin.proposal import Pin, propose

    for step in planned.steps:
        assert planned.stage is not None
        here, next_pin = (
            Pin(planned.after, step.model, step.version),
            Pin(planned.stage, step.model, step.version),
        )
        try:
            text, _ = hosted.ask(lambda path=here.path: hosted.host.read(path, hosted.branch))  # type: ignore[misc]
            now = pinned(text, step.model)
            if now != step.version:
                told = "no version" if now is None else f"version {now}"
                yield (
                    step,
                    Skipped(
                        step.model,
                        f"{planned.after} pins {told} on {hosted.branch} by now, and version {step.version} in this checkout;"
                        " the deployment of the newer commit goes on from there",
                    ),
                )
                continue
            reason = _reason(root, planned, step)
            yield (
                step,
                hosted.ask(
                    lambda pin=next_pin, why=reason: propose(  # type: ignore[misc]
                        hosted.host, pin, base=hosted.branch, is_reviewed=True, reason=why, is_last_word=True
                    )
                ),
            )
        except NoPin as error:
            raise _unpinnable(planned.stage, error) from error


def _unpinnable(environment: str, error: Exception) -> CliError:
    return CliError(
        f"environments/{environment}.yaml cannot be changed by a pull request: {error}.",
        hint="Write it as the project's own files are written: each key on a line of its own.",
        code="settings",
    )


def _reason(root: Path, planned: Plan, step: Step) -> str:
    commit, run = ci.commit() or _commit(root), ci.run()
    told = f"{planned.after} serves version {step.version} of {step.model}"
    told += f", as of commit {commit}" if commit else ""
    told += f" ([its run]({run}))" if run else ""
    told += (
        f". This was proposed by `sagestack promote --after {planned.after}`, which is run once {planned.after}'s deployment and"
        " the gate after it have succeeded."
    )
    if planned.has_approval:
        told += f" {planned.stage} asks for a person's approval before its deployment as well (`delivery.yaml`)."
    return told


def _commit(root: Path) -> str | None:
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def as_json(planned: Plan, step: Step, done: Proposal | None) -> dict[str, Any]:
    """One step for scripts; `done` is None where it is only shown."""
    document: dict[str, Any] = {
        "model": step.model,
        "version": step.version,
        "previous_version": step.before,
        "environment": planned.stage,
        "branch": f"sagestack/{planned.stage}-{step.model}-{step.version}",
        "outcome": "planned" if step.before != step.version else "unchanged",
    }
    if done is None:
        return document
    return document | {
        "previous_version": done.before,
        "outcome": "unchanged" if done.outcome == "unchanged" else "opened" if done.is_new else "open",
        "address": done.address or None,
        "closed": [review.address for review in done.closed],
    }
