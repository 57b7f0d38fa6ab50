"""Writes which version an environment serves, and changes nothing else in the file."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from ruamel.yaml.comments import CommentedMap

from sagestack.settings import source
from sagestack.settings.environment_reading import load_environment
from sagestack.settings.errors import SettingsError, suggestion
from sagestack.settings.local_pins import PinnedModel, Pins
from sagestack.settings.project_files import LOCAL, PROJECT_ROOT, pins_file


def write_pin(environment: str, model: str, version: int | None, root: Path = PROJECT_ROOT) -> Path:
    """Pins the version of a model that an environment serves; `None` takes it out of service.

    Returns the file that now says so: `environments/local.pins.yaml` for `local`, the environment's own file
    elsewhere, where every other byte stays as it was, comments included. The file is replaced in one step, so a
    reader sees the old pin or the new one.

    Raises `SettingsError` where the environment, the model or the version is not valid; then nothing is written.
    """
    if version is not None and (isinstance(version, bool) or version < 1):
        raise SettingsError([f"served_version {version!r} is not allowed (allowed: a whole number from 1, or null)"])
    current = load_environment(environment, root)
    if model not in current.models:
        known = list(current.models)
        hint = f"{suggestion(model, known)} (models: {', '.join(known)})"
        raise SettingsError([f"environment {environment!r} has no model {model!r}{hint}"])
    path = pins_file(environment, root)
    text = _local_pins(path, model, version, root) if environment == LOCAL else _pinned(path, model, version, root)
    _replace(path, text)
    return path


def _local_pins(path: Path, model: str, version: int | None, root: Path) -> str:
    pins = Pins.model_validate(source.read(path, root=root).content) if path.exists() else Pins(models={})
    models = dict(sorted({**pins.models, model: PinnedModel(served_version=version)}.items()))
    lines = ["# What the local cloud serves; written by `sagestack promote`, ignored by git.", "models:"]
    lines += [f"  {name}: {{served_version: {_yaml(pin.served_version)}}}" for name, pin in models.items()]
    return "\n".join(lines) + "\n"


def _pinned(path: Path, model: str, version: int | None, root: Path) -> str:
    entry: CommentedMap = source.read(path, root=root).nodes["models"][model]
    line, column = entry.lc.value("served_version")
    lines = path.read_bytes().decode().split("\n")
    before, after = lines[line][:column], lines[line][column:]
    # A version is a number or null: it ends where a space, a comma, a bracket or the line does.
    lines[line] = before + re.sub(r"^[^\s,}]*", _yaml(version), after, count=1)
    return "\n".join(lines)


def _yaml(version: int | None) -> str:
    return "null" if version is None else str(version)


def _replace(path: Path, text: str) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
