"""Reads an environment from its file, with all that is wrong in it told at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from sagestack.settings import source
from sagestack.settings.base import Settings
from sagestack.settings.environment import Environment
from sagestack.settings.errors import SettingsError, described, suggestion
from sagestack.settings.local_pins import Pins
from sagestack.settings.project_files import (
    LOCAL,
    PROJECT_ROOT,
    environment_file,
    known_environments,
    model_folders,
    pins_file,
)
from sagestack.settings.source import SettingsFile


def load_environment(name: str, root: Path = PROJECT_ROOT) -> Environment:
    """Reads `environments/<name>.yaml`, with the pins of `local` merged in, against the folders of `model_code/`.

    Raises `SettingsError` with everything that is wrong at once.
    """
    known = known_environments(root)
    if name not in known:
        raise SettingsError(
            [f"there is no environment {name!r}{suggestion(name, known)} (known: {', '.join(known) or 'none'})"]
        )
    problems: list[str] = []
    file = _read(environment_file(name, root), root, problems)
    content = file.content if file else {}
    if file:
        if "name" in content:
            problems.append(file.problem("name: unknown key; the environment is named by its file", path=("name",)))
        problems += _unmatched_models(file, content, root)
    if name == LOCAL and pins_file(name, root).exists():
        _merge_pins(content, root, problems)
    if name == LOCAL:
        _leave_capture_off(content)
        content.setdefault("permissions_boundary", False)
    environment = _validated(Environment, {**content, "name": name}, file, problems) if file else None
    if problems or environment is None:
        raise SettingsError(problems)
    environment._file = file
    return environment


def load_sources(environment: Environment, root: Path = PROJECT_ROOT) -> dict[str, Environment]:
    """Reads the environments whose versions this one serves (`versions_from`), by name.

    Raises `SettingsError` where one is not there, is this one, or does not let this one's account in.
    """
    sources: dict[str, Environment] = {}
    problems: list[str] = []
    for name, entry in environment.models.items():
        source, path = entry.versions_from, ("models", name, "versions_from")
        if source is None:
            continue
        known = [each for each in known_environments(root) if each not in (environment.name, LOCAL)]
        if source not in known:
            problems.append(
                environment.problem(
                    f"{source!r} is no other environment{suggestion(source, known)} (known: {', '.join(known)})", path
                )
            )
            continue
        if source not in sources:
            sources[source] = load_environment(source, root)
        there = sources[source]
        if there.account != environment.account and environment.account not in there.models[name].deployable_from:
            problems.append(
                environment.problem(
                    f"{source} does not let account {environment.account} in: add it to models.{name}.deployable_from in"
                    f" environments/{source}.yaml",
                    path,
                )
            )
    if problems:
        raise SettingsError(problems)
    return sources


def _leave_capture_off(content: dict[str, Any]) -> None:
    """Data capture is on by default, but on the laptop, where nobody monitors and the disk is somebody's own."""
    models = content.get("models")
    for model in models.values() if isinstance(models, dict) else []:
        endpoint = model.get("endpoint") if isinstance(model, dict) else None
        if isinstance(endpoint, dict) and endpoint.get("kind") in ("real-time", "asynchronous"):
            endpoint.setdefault("data_capture", None)


def _merge_pins(content: dict[str, Any], root: Path, problems: list[str]) -> None:
    file = _read(pins_file(LOCAL, root), root, problems)
    pins = _validated(Pins, file.content, file, problems) if file else None
    models = content.get("models")
    if file is None or pins is None or not isinstance(models, dict):
        return
    for model, pinned in pins.models.items():
        if isinstance(models.get(model), dict):
            models[model]["served_version"] = pinned.served_version
        else:
            problems.append(
                file.problem(
                    f"models.{model}: is not a model of this environment{suggestion(model, models)}"
                    f" (known: {', '.join(models)})",
                    path=("models", model),
                )
            )


def _unmatched_models(file: SettingsFile, content: Mapping[str, Any], root: Path) -> list[str]:
    entries = content.get("models")
    if not isinstance(entries, dict):
        return []
    folders = model_folders(root)
    without_folder = [
        file.problem(
            f"models.{name}: there is no model_code/{name}/model.yaml{suggestion(name, folders)}"
            f" (models: {', '.join(folders) or 'none'})",
            path=("models", name),
        )
        for name in entries
        if name not in folders
    ]
    without_entry = [
        file.problem(f"models: model_code/{name} has no entry here; add models.{name}", path=("models",))
        for name in folders
        if name not in entries
    ]
    return without_folder + without_entry


SomeSettings = TypeVar("SomeSettings", bound=Settings)


def _read(path: Path, root: Path, problems: list[str]) -> SettingsFile | None:
    try:
        return source.read(path, root=root)
    except source.UnreadableError as error:
        problems.append(str(error))
        return None


def _validated(
    kind: type[SomeSettings], content: Mapping[str, Any], file: SettingsFile, problems: list[str]
) -> SomeSettings | None:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        problems += described(error, kind, file)
        return None
