"""Refuses names that would let one notebook, person or model touch what is another's: rights are given by prefixes of names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from sagestack.settings.workbench.notebook import Notebook
from sagestack.settings.workbench.studio import Studio

_Found = tuple[tuple[str | int, ...], str]

STUDIO = "studio"
"""What everything of a Studio domain's people is named after: `studio-PROFILE`."""


def problems(notebooks: Mapping[str, Notebook], studio: Studio | None) -> Iterator[_Found]:
    """What is wrong with the names of notebooks and of people in Studio."""
    if studio is not None:
        yield from _of_studio(notebooks)
        yield from _of_one_person(studio)
    # SageMaker knows names in whatever case, and ARNs in lower case.
    jobs_of = [name for name, _, has_jobs in _owners(notebooks, studio) if has_jobs]
    for name, path, has_jobs in _owners(notebooks, studio):
        if has_jobs:
            yield from _of_jobs(name, path, jobs_of, "the jobs and endpoints of")


def problems_with_models(
    notebooks: Mapping[str, Notebook], studio: Studio | None, models: Iterable[str]
) -> Iterator[_Found]:
    """What is wrong with them beside the names of models, whose endpoints are named after them."""
    known = list(models)
    for name, path, has_jobs in _owners(notebooks, studio):
        if has_jobs:
            yield from _of_jobs(name, path, known, "the endpoint of the model")
    if "notebooks" in known:
        yield (
            ("models", "notebooks"),
            "is where the files of notebooks are in the bucket of artefacts; name the model otherwise",
        )


def _owners(notebooks: Mapping[str, Notebook], studio: Studio | None) -> Iterator[tuple[str, tuple[str, ...], bool]]:
    """Everything that jobs may be named after: its name, where it is said, and whether it has any."""
    profiles = studio.user_profiles if studio else {}
    return chain(
        ((name, ("notebooks", name), each.grants.jobs) for name, each in notebooks.items()),
        (
            (f"{STUDIO}-{name}".lower(), ("studio", "user_profiles", name), each.grants.jobs)
            for name, each in profiles.items()
        ),
    )


def _of_studio(notebooks: Mapping[str, Notebook]) -> Iterator[_Found]:
    for name in notebooks:
        if name == STUDIO or name.startswith(f"{STUDIO}-"):
            yield (
                ("notebooks", name),
                f"{name!r} is a name of people in Studio: their files, jobs and roles have it; choose one that does not begin so",
            )


def _of_one_person(studio: Studio) -> Iterator[_Found]:
    for key, names in (("user_profiles", studio.user_profiles), ("spaces", studio.spaces)):
        often = Counter(name.lower() for name in names)
        for name in names:
            if often[name.lower()] > 1:
                yield (
                    ("studio", key, name),
                    f"{name!r} is there twice: SageMaker's ARNs know no upper case; choose another",
                )


def _of_jobs(name: str, path: tuple[str, ...], others: Iterable[str], what: str) -> Iterator[_Found]:
    for other in others:
        if other.startswith(f"{name}-"):
            yield (
                (*path, "grants", "jobs"),
                f"true would let {name} stop and delete {what} {other}, too: what is named {name}-* is its own; rename one of"
                " them, or grant it no jobs",
            )
