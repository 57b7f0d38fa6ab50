"""Pins an approved version in an environment's file: the change that a person reviews and a deployment carries out."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sagestack.cli import registry
from sagestack.cli.errors import CliError

if TYPE_CHECKING:
    from sagestack.cli.session import Session


@dataclass(frozen=True)
class Promotion:
    """What `promote` did to the repository."""

    version: int | None
    previous: int | None
    file: Path
    diff: str

    @property
    def changed(self) -> bool:
        return self.version != self.previous


def promote(session: Session, model: str, number: int | None) -> Promotion:
    """Pins a version, the newest approved one where none is named.

    Raises:
        CliError: the version is not in the environment's registry, or not approved.
    """
    group = _group(session, model)
    version = (
        registry.newest(session, group, registry.APPROVED) if number is None else registry.find(session, group, number)
    )
    if version.approval != registry.APPROVED:
        raise CliError(
            f"Version {version.number} of {group} is {version.approval}: only an approved version can be served.",
            hint=f"Approve it first: {session.command(f'approve {version.number}', model)}",
        )
    return pin(session, model, version.number)


def pin(session: Session, model: str, number: int | None) -> Promotion:
    """Writes the pin without asking the registry; None takes the model out of service."""
    from sagestack.settings import pins_file, write_pin

    name = session.environment.name
    previous = session.environment.models[model].served_version
    file = pins_file(name, session.root)
    if number == previous:
        return Promotion(number, previous, file, "")
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    write_pin(name, model, number, session.root)
    label = file.relative_to(session.root).as_posix()
    after = file.read_text(encoding="utf-8")
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), f"a/{label}", f"b/{label}", n=2, lineterm="")
    return Promotion(number, previous, file, "\n".join(lines))


def missing_pins(session: Session) -> dict[str, int]:
    """The pinned versions that are not in the registry that they are of: a deployment of them would fail.

    Versions of another account's registry (`versions_from`) are not looked up.
    """
    from sagestack.settings import EnvironmentNames

    missing = {}
    for model, settings in session.environment.models.items():
        number = settings.served_version
        if number is None:
            continue
        if settings.versions_from is not None and not _is_here(session, settings.versions_from):
            # Another account lets this one's endpoint roles read, not whoever deploys; CloudFormation says what is missing.
            continue
        source = EnvironmentNames(settings.versions_from or session.environment.name)
        group = session.find_parameter(source.model(model).model_package_group_name_parameter)
        known = {version.number for version in registry.versions(session, group)} if group else set()
        if number not in known:
            missing[model] = number
    return missing


def _group(session: Session, model: str) -> str:
    """The group that has the versions which an environment serves: its own, or that of `versions_from`.

    Raises:
        CliError: that environment is not deployed, or in another account.
    """
    from sagestack.settings import EnvironmentNames

    source = session.environment.models[model].versions_from
    if source is None:
        return registry.group_name(session, model)
    if not _is_here(session, source):
        raise CliError(
            f"{session.environment.name} serves versions of {source}'s registry, which is in another account or region: from"
            " here it cannot be asked which of them are approved.",
            hint=f"sagestack promote --after {source} proposes what {source} serves, and asks no registry.",
        )
    name = EnvironmentNames(source).model(model).model_package_group_name_parameter
    return session.parameter(name, f"model registry for {model}, which {source} has to be deployed for")


def _is_here(session: Session, environment: str) -> bool:
    """Whether another environment is in this one's account and region."""
    from sagestack.settings import load_environment

    there = load_environment(environment, session.root)
    return (there.account, there.region) == (session.environment.account, session.environment.region)
