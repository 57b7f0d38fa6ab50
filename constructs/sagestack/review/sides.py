"""The two states that a review compares: what they are, which environments they have, and their assemblies."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Literal

from sagestack.cli.errors import CliError
from sagestack.review import checkout, traced_app
from sagestack.review.assembly import Assembly, read_assembly
from sagestack.review.cache import Cache
from sagestack.review.checkout import Checkout
from sagestack.review.git import Repository
from sagestack.review.results import Side
from sagestack.review.synth import SynthError, Synthesizer

# Each takes about 250 MB, Node included; more of them would not fit beside the rest into what a review may take.
_AT_ONCE = 4

Which = Literal["base", "head"]
Progress = Callable[[str], None]


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


@dataclass(frozen=True)
class Synthesized:
    """The assemblies of both sides by environment, and how many of them were there already."""

    base: dict[str, Assembly]
    head: dict[str, Assembly]
    made: int
    reused: int


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
        there = OpenSide("head", now, tuple(files.environments), files=files)
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
    return OpenSide(which, side, tuple(files.environments), tuple(notes), files)


def _synthesized_side(which: Which, label: str, folders: dict[str, Path]) -> OpenSide:
    return OpenSide(which, Side(label, None), tuple(sorted(folders)), folders=folders)


def _assembly_folders(root: Path, written: str, wanted: Sequence[str]) -> dict[str, Path]:
    """The assemblies in a folder, by environment: its own, or those of the folders in it. None for what is no folder.

    Raises:
        CliError: a path that holds no assembly, or one of which nobody says the environment.
    """
    folder = next((each for each in (Path(written), root / written) if each.is_dir()), None)
    if folder is None:
        if written.startswith((".", "/", "~")) and Path(written).suffix != ".git":
            raise CliError(f"There is no folder {written}.", hint=_FOLDER_HINT, code="not-found")
        return {}
    if (folder / "manifest.json").is_file():
        return {_environment_of(folder, wanted): folder}
    inside = {path.parent.name: path.parent for path in sorted(folder.glob("*/manifest.json"))}
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
    stacks = _read(folder, "").stacks
    names = {parts[1] for name in stacks if len(parts := name.split("-")) > 2 and parts[0] == "sagestack"}
    if len(names) == 1:
        return names.pop()
    raise CliError(
        f"Which environment {folder} is of cannot be told from its stacks ({', '.join(stacks) or 'none'}).",
        hint="Name it: --env NAME.",
        code="usage",
    )


def _read(folder: Path, environment: str) -> Assembly:
    try:
        return read_assembly(folder, environment)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CliError(
            f"{folder} holds no assembly that can be read: {type(error).__name__}: {error}",
            hint=_FOLDER_HINT,
            code="usage",
        ) from None


@dataclass(frozen=True, eq=False)
class _Job:
    side: OpenSide
    environment: str
    key: str

    def __str__(self) -> str:
        return f"{self.environment} of {self.side.side.label}"


def synthesize(
    root: Path, base: OpenSide, head: OpenSide, environments: Sequence[str], cache: Cache, progress: Progress
) -> Synthesized:
    """Brings both sides of the environments into assemblies: from the cache, else by their app.py, one for each core at once.

    Raises:
        CliError: a side does not synthesize; says which, where, and the last lines that it said.
    """
    found: dict[tuple[Which, str], Assembly] = {}
    jobs: dict[tuple[str, str], list[_Job]] = {}
    synthesizer = Synthesizer(root)
    reused = 0
    versions = ""
    for side in (base, head):
        for name in environments:
            if name in side.folders:
                found[side.which, name] = _read(side.folders[name], name)
            elif side.files is not None and name in side.environments:
                versions = versions or synthesizer.versions()
                job = _Job(side, name, _key(side.files, versions))
                if entry := cache.find(job.key, name):
                    found[side.which, name] = _read(entry, name)
                    reused += 1
                else:
                    # Both sides may be the same; then one synth serves both.
                    jobs.setdefault((job.key, name), []).append(job)
    todo = [group[0] for group in jobs.values()]
    for job, folder in _all(synthesizer, todo, cache, progress).items():
        for each in jobs[job.key, job.environment]:
            found[each.side.which, each.environment] = _read(folder, each.environment)
    return Synthesized(
        {name: found["base", name] for name in environments if ("base", name) in found},
        {name: found["head", name] for name in environments if ("head", name) in found},
        made=len(todo),
        reused=reused,
    )


def _key(files: Checkout, versions: str) -> str:
    program = Path(traced_app.__file__).read_bytes()
    return sha256(f"{files.digest} {versions} ".encode() + program).hexdigest()[:32]


def _all(synthesizer: Synthesizer, jobs: Sequence[_Job], cache: Cache, progress: Progress) -> dict[_Job, Path]:
    def run(job: _Job) -> Path:
        assert job.side.files is not None  # since it is to be synthesized
        made = cache.work_folder(f"{job.side.which}-{job.environment}.out")
        synthesizer.synthesize(job.side.files.folder, job.environment, made)
        return cache.keep(job.key, job.environment, made)

    if not jobs:
        return {}
    done: dict[_Job, Path] = {}
    failed: dict[_Job, SynthError] = {}
    with ThreadPoolExecutor(min(os.cpu_count() or 1, _AT_ONCE)) as pool:
        running: dict[Future[Path], _Job] = {pool.submit(run, job): job for job in jobs}
        try:
            while running:
                left = [str(job) for job in running.values()]
                progress(f"Synthesizing {left[0]} ({len(jobs) - len(left)} of {len(jobs)} done)")
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    job = running.pop(future)
                    try:
                        done[job] = future.result()
                    except SynthError as error:
                        failed[job] = error
        except BaseException:
            synthesizer.stop()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    if failed:
        raise _failure(failed)
    return done


def _failure(failed: dict[_Job, SynthError]) -> CliError:
    """One error for all that did not synthesize; what failed of the same is told once."""
    messages: dict[tuple[Which, str], list[_Job]] = {}
    for job in sorted(failed, key=lambda each: (each.side.which, each.environment)):
        messages.setdefault((job.side.which, str(failed[job])), []).append(job)
    parts = []
    for (which, said), jobs in messages.items():
        side = jobs[0].side.side
        commit = f" ({side.commit[:12]})" if side.commit and not side.is_dirty else ""
        names = ", ".join(job.environment for job in jobs)
        lines = "\n".join(f"  {line}" for line in said.splitlines())
        parts.append(f"The {which}, {side.label}{commit}, does not synthesize for {names}:\n{lines}")
    sides = {job.side.which for job in failed}
    return CliError(
        "\n".join(parts),
        hint="Choose another base: --base REF."
        if sides == {"base"}
        else "`make synth ENV=NAME` shows all that it says.",
        code="synth-failed",
        details={
            "failed": [
                {"side": job.side.which, "environment": job.environment, "said": error.lines}
                for job, error in sorted(failed.items(), key=lambda item: (item[0].side.which, item[0].environment))
            ]
        },
    )
