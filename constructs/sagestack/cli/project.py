"""Finds the project and the model that a command is about, wherever below it the command was typed."""

from __future__ import annotations

from pathlib import Path

from sagestack.cli.errors import CliError


def find_root(start: Path) -> Path:
    """The nearest folder from `start` upward that is a Sagestack project: it has `cdk.json` and `environments/`.

    Raises:
        CliError: there is none.
    """
    for folder in (start, *start.parents):
        if (folder / "cdk.json").is_file() and (folder / "environments").is_dir():
            return folder
    raise CliError(
        f"{start} is not inside a Sagestack project: neither it nor a folder above has cdk.json and environments/.",
        hint="Change into your clone of the project first.",
        code="usage",
    )


def choose_model(root: Path, wanted: str | None) -> str:
    """The model that was asked for, or the only one.

    Raises:
        CliError: no such model, or several and none was named.
    """
    from sagestack.settings import model_folders
    from sagestack.settings.errors import suggestion

    models = model_folders(root)
    if not models:
        raise CliError(f"{root / 'model_code'} holds no model: a model is a folder with model.yaml.", code="settings")
    if wanted is None:
        if len(models) == 1:
            return models[0]
        raise CliError(
            f"Which model? There are {len(models)}: {', '.join(models)}.",
            hint=f"Add --model, for example --model {models[0]}.",
            code="usage",
        )
    if wanted not in models:
        raise CliError(
            f"There is no model {wanted!r}{suggestion(wanted, models)} (models: {', '.join(models)}).", code="usage"
        )
    return wanted
