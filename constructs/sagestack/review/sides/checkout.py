"""The files of one side in a folder of its own, so that a synth reads them and nothing else, whatever is edited meanwhile."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sagestack.review.sides.git import Repository
from sagestack.settings import source
from sagestack.settings.delivery import FILE
from sagestack.settings.project_files import LOCAL, environment_file, known_environments, pins_file

NOT_FOR_SYNTH = (".github", "docs", "tests")
"""Folders at the top that a side goes without, so that a change of them alone makes nothing anew. That a synth does not
need them is not believed but so: they are not there."""

BOOTSTRAP = "bootstrap"
DELIVERY = "delivery"
"""Parts of an app, as `-c part=NAME` names them. The second belongs to all environments, and is reviewed as one of them."""

_NEEDED = ("app.py", "cdk.json", "constructs/sagestack/__init__.py", "environments")


@dataclass(frozen=True)
class Checkout:
    """One side's files.

    Attributes:
        digest: of all names, contents and modes: what is equal here is equal in every template.
        missing: what makes a Sagestack project and is not there; a side before this project lacks something.
    """

    folder: Path
    digest: str
    missing: tuple[str, ...]

    @property
    def environments(self) -> list[str]:
        return [] if self.missing else known_environments(self.folder)

    @property
    def has_delivery(self) -> bool:
        """Whether there is a pipeline on AWS that deploys the environments, in a stack of its own."""
        if self.missing or not (self.folder / "stacks" / "delivery.py").exists() or DELIVERY in self.environments:
            return False
        try:
            return source.read(self.folder / FILE, root=self.folder).content.get("pipeline") is not None
        except (source.UnreadableError, OSError):
            return False

    def parts_of(self, environment: str) -> tuple[str, ...]:
        """What belongs to an environment and is deployed apart from it, by who may; the local cloud has nothing of it."""
        is_there = environment != LOCAL and (self.folder / "stacks" / "bootstrap.py").exists()
        return (BOOTSTRAP,) if is_there else ()


def of_commit(repository: Repository, commit: str, folder: Path) -> Checkout:
    """Writes a commit's files to a new folder."""
    folder.mkdir()
    names = _for_synth(repository.files_of(commit))
    repository.write_out(commit, names, folder, folder.with_name(f"{folder.name}.index"))
    return _finished(repository.root, folder)


def of_working_tree(repository: Repository, folder: Path) -> Checkout:
    """Copies the working tree to a new folder: tracked files as they are, and untracked ones that git does not ignore."""
    folder.mkdir()
    for name in _for_synth(repository.files()):
        source, target = repository.root / name, folder / name
        # Deleted without git knowing, or the folder of a submodule.
        if not source.is_symlink() and not source.is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target, follow_symlinks=False)
    return _finished(repository.root, folder)


def _for_synth(names: Iterable[str]) -> list[str]:
    return [name for name in names if name.split("/", 1)[0] not in NOT_FOR_SYNTH]


def _finished(root: Path, folder: Path) -> Checkout:
    missing = tuple(name for name in _NEEDED if not (folder / name).exists())
    pins = pins_file(LOCAL, root)
    # What a laptop serves is in no commit, so it is no part of any change: both sides get the same.
    if not missing and pins.is_file():
        _give_pins(pins, folder)
    return Checkout(folder, _digest(folder), missing)


def _give_pins(pins: Path, folder: Path) -> None:
    """Copies the pins of the models that this side has; one that it has not would be refused."""
    try:
        pinned = source.read(pins, root=pins.parent).content["models"]
        known = source.read(environment_file(LOCAL, folder), root=folder).content["models"]
        kept = {name: entry for name, entry in pinned.items() if name in known}
    except (source.UnreadableError, OSError, KeyError, TypeError, AttributeError):
        # Whoever reads them will say what is wrong with them, in better words.
        shutil.copy(pins, pins_file(LOCAL, folder))
        return
    # JSON is YAML.
    pins_file(LOCAL, folder).write_text(json.dumps({"models": kept}), encoding="utf-8")


def _digest(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            content, kind = os.fsencode(path.readlink()), "link"
        elif path.is_dir():
            continue
        else:
            content, kind = path.read_bytes(), "program" if os.access(path, os.X_OK) else "file"
        name = path.relative_to(folder).as_posix()
        total.update(f"{kind} {len(content)} {name}\0".encode("utf-8", "surrogateescape"))
        total.update(content)
    return total.hexdigest()
