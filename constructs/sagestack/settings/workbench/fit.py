"""A workbench against the environment that it is in: its region, its models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sagestack.settings.errors import suggestion
from sagestack.settings.instance_types import check_region
from sagestack.settings.workbench import Workbench, own_names
from sagestack.settings.workbench.notebook import Grants

_Path = tuple[str | int, ...]
_Found = tuple[_Path, str]


def problems(workbench: Workbench, region: str, models: Sequence[str]) -> Iterator[_Found]:
    """What does not fit, each with the path of its key in the environment's file.

    Args:
        workbench: of the environment.
        region: of the environment.
        models: the names of all models of the environment.
    """
    for path, instance_type in _instance_types(workbench):
        try:
            check_region(instance_type, region)
        except ValueError as error:
            yield ("workbench", *path), str(error)
    for path, grants in _grants(workbench):
        for model in grants.models:
            if model not in models:
                yield (
                    ("workbench", *path, "grants", "models"),
                    f"there is no model {model!r}{suggestion(model, models)}",
                )
    for path, arn in workbench.secrets:
        if (place := arn.split(":")[3]) != region:
            yield (
                ("workbench", *path),
                f"the secret is in {place}, and the environment in {region}, where notebooks look for it; replicate it",
            )
    for path, text in own_names.problems_with_models(workbench.notebooks, workbench.studio, models):
        yield path if path[0] == "models" else ("workbench", *path), text


def _instance_types(workbench: Workbench) -> Iterator[tuple[_Path, str]]:
    for name, notebook in workbench.notebooks.items():
        yield ("notebooks", name, "instance_type"), notebook.instance_type
    studio = workbench.studio
    if studio is None:
        return
    yield ("studio", "instance_type"), studio.instance_type
    for index, each in enumerate(studio.instance_types):
        yield ("studio", "instance_types", index), each
    for name, profile in studio.user_profiles.items():
        if profile.instance_type is not None:
            yield ("studio", "user_profiles", name, "instance_type"), profile.instance_type
        for index, each in enumerate(profile.instance_types or []):
            yield ("studio", "user_profiles", name, "instance_types", index), each
    for name, space in studio.spaces.items():
        if space.instance_type is not None:
            yield ("studio", "spaces", name, "instance_type"), space.instance_type


def _grants(workbench: Workbench) -> Iterator[tuple[_Path, Grants]]:
    for name, notebook in workbench.notebooks.items():
        yield ("notebooks", name), notebook.grants
    for name, profile in workbench.studio.user_profiles.items() if workbench.studio else ():
        yield ("studio", "user_profiles", name), profile.grants
