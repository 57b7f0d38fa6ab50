"""The two states that a review compares: what they are, where their files are, and which environments they have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sagestack.cli.errors import CliError
from sagestack.review.assembly import Assembly, read_assembly
from sagestack.review.results import Side
from sagestack.review.sides import checkout
from sagestack.review.sides.cache import Cache
from sagestack.review.sides.checkout import Checkout
from sagestack.review.sides.git import Repository

# As environment files may be called.
_ENVIRONMENT = re.compile(r"[a-z][a-z0-9]{0,11}")

Which = Literal["base", "head"]


@dataclass(frozen=True)
class OpenSide:
    """One side, before anything of it is synthesized.

    Attributes:
        environments: the names of those that it has, sorted.
        notes: what a reviewer should know of how it came about.
        files: its files, for what is to be synthesized from them.
        folders: environments that somebody has synthesized already.
    """

    which: Which
    side: Side
    environments: tuple[str, ...]
    notes: tuple[str, ...] = ()
    files: Checkout | None = None
    folders: dict[str, Path] = field(default_factory=dict)


def open_sides(
    root: Path, base: str, head: str | None, wanted: Sequence[str], cache: Cache
) -> tuple[OpenSide, OpenSide]:
    """Finds both sides and puts their files where they can be read in peace.

    Args:
        root: the project's folder.
        base: a ref of git, or a folder that `cdk synth` wrote.
        head: the same; None for the working tree as it is.
        wanted: the environments that were asked for, for a folder that does not tell its own.
        cache: gives the place for the files.

    Raises:
        CliError: a side cannot be found; says what to do.
    """
    folders = {side: _assembly_folders(root, side, wanted) for side in (base, head) if side is not None}
    if head is not None and folders[head] and folders[base]:
        return _synthesized_side("base", base, folders[base]), _synthesized_side("head", head, folders[head])
    repository = Repository(root)
    if head is not None and folders[head]:
        there = _synthesized_side("head", head, folders[head])
    elif head is not None:
        commit = repository.commit_of(head)
        there = _commit_side("head", Side(head, commit), repository, cache)
    else:
        now = Side("the working tree", repository.commit_of("HEAD"), repository.is_dirty)
        files = checkout.of_working_tree(repository, cache.work_folder("head"))
        there = OpenSide("head", now, _names(files), files=files)
    if there.files is not None and there.files.missing:
        raise CliError(
            f"{there.side.label} is no Sagestack project: it has no {' and no '.join(there.files.missing)}.",
            hint="--head says what is reviewed; without it, the working tree is.",
            code="usage",
        )
    if folders[base]:
        return _synthesized_side("base", base, folders[base]), there
    return _base_side(base, there.side.commit, repository, cache), there


def _base_side(ref: str, head: str | None, repository: Repository, cache: Cache) -> OpenSide:
    if head is None:
        return _commit_side("base", Side(ref, repository.commit_of(ref)), repository, cache)
    base = repository.base_of(ref, head)
    notes = []
    if not base.is_related:
        notes.append(f"{ref} and the change have no history in common: they are compared as they are.")
    elif base.behind:
        commits = "commit that is" if base.behind == 1 else "commits that are"
        notes.append(
            f"Compared with {base.commit[:12]}, where the change left {ref}, as a pull request is. {ref} has {base.behind}"
            f" {commits} not in it."
        )
    return _commit_side("base", Side(ref, base.commit), repository, cache, notes)


def _commit_side(which: Which, side: Side, repository: Repository, cache: Cache, notes: Iterable[str] = ()) -> OpenSide:
    assert side.commit is not None  # by the callers
    files = checkout.of_commit(repository, side.commit, cache.work_folder(which))
    notes = list(notes)
    if files.missing:
        notes.append(
            f"{side.label} is from before this project: it has no {' and no '.join(files.missing)}. So everything is new."
        )
    return OpenSide(which, side, _names(files), tuple(notes), files)


def _names(files: Checkout) -> tuple[str, ...]:
    return (*files.environments, *([checkout.DELIVERY] if files.has_delivery else []))


def _synthesized_side(which: Which, label: str, folders: dict[str, Path]) -> OpenSide:
    return OpenSide(which, Side(label, None), tuple(sorted(folders)), folders=folders)


def _assembly_folders(root: Path, written: str, wanted: Sequence[str]) -> dict[str, Path]:
    """The assemblies in a folder, by environment: its own, or those of the folders in it. None for what is no folder.

    Raises:
        CliError: a path that holds no assembly, or one of which nobody says the environment.
    """
    folder = next((each for each in (Path(written), root / written) if written and each.is_dir()), None)
    if folder is None:
        if written.startswith((".", "/", "~")) and Path(written).suffix != ".git":
            raise CliError(f"There is no folder {written}.", hint=_FOLDER_HINT, code="not-found")
        return {}
    if (folder / "manifest.json").is_file():
        return {_environment_of(folder, wanted): folder}
    inside = {
        path.parent.name: path.parent
        for path in sorted(folder.glob("*/manifest.json"))
        if _ENVIRONMENT.fullmatch(path.parent.name)
    }
    if not inside and written.startswith((".", "/", "~")):
        raise CliError(
            f"{written} is a folder, and holds no assembly: no manifest.json.", hint=_FOLDER_HINT, code="usage"
        )
    # A branch may well be called as a folder is.
    return inside


_FOLDER_HINT = "A folder that `cdk synth` wrote, as `make synth ENV=dev` writes cdk.out/dev; or a ref of git."


def _environment_of(folder: Path, wanted: Sequence[str]) -> str:
    if len(wanted) == 1:
        return wanted[0]
    stacks = read(folder, "").stacks
    names = {parts[1] for name in stacks if len(parts := name.split("-")) > 2 and parts[0] == "sagestack"}
    if len(names) == 1:
        return names.pop()
    raise CliError(
        f"Which environment {folder} is of cannot be told from its stacks ({', '.join(stacks) or 'none'}).",
        hint="Name it: --env NAME.",
        code="usage",
    )


def read(folder: Path, environment: str) -> Assembly:
    """An assembly, or a `CliError` that says why it is none."""
    try:
        return read_assembly(folder, environment)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CliError(
            f"{folder} holds no assembly that can be read: {type(error).__name__}: {error}",
            hint=_FOLDER_HINT,
            code="usage",
        ) from None
