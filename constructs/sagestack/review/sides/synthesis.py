"""Brings both sides into assemblies: what was made before is reused, the rest is made on all cores, each side's together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from sagestack.cli.errors import CliError
from sagestack.review.assembly import Assembly
from sagestack.review.sides import traced_app
from sagestack.review.sides.cache import Cache
from sagestack.review.sides.checkout import BOOTSTRAP, DELIVERY, Checkout
from sagestack.review.sides.opening import OpenSide, Which, read
from sagestack.review.sides.synth import SynthError, Synthesizer

# Each takes 350 to 550 MB, Node included; more of them would not fit beside the rest into what a review may take.
_AT_ONCE = 3
_LOOK_EVERY_S = 0.5
"""How often it is looked which environments are there, to say so."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Synthesized:
    """The assemblies of both sides by environment, and how many synths were needed for them, and how many not."""

    base: dict[str, Assembly]
    head: dict[str, Assembly]
    made: int
    reused: int


@dataclass(frozen=True, eq=False)
class _Job:
    """One synth: an environment of a side, or a part of it that is deployed apart."""

    side: OpenSide
    files: Checkout
    environment: str
    part: str | None
    key: str

    @property
    def name(self) -> str:
        return self.environment if self.part is None else f"{self.environment}.{self.part}"

    @property
    def context(self) -> Mapping[str, str]:
        if self.part == DELIVERY:
            return {"part": DELIVERY}
        return {"env": self.environment, **({"part": self.part} if self.part else {})}

    def __str__(self) -> str:
        return f"{self.environment} of {self.side.side.label}"


def synthesize(
    root: Path, base: OpenSide, head: OpenSide, environments: Sequence[str], cache: Cache, progress: Progress
) -> Synthesized:
    """Brings both sides of the environments into assemblies, those of the bootstrap among their stacks.

    Raises:
        CliError: a side does not synthesize; says which, where, and the last lines that it said.
    """
    found: dict[tuple[Which, str], Assembly] = {}
    synthesizer = Synthesizer(root)
    done: dict[_Job, Path] = {}
    missing: dict[tuple[str, str], list[_Job]] = {}
    for name in environments:
        # Who synthesized a folder made the platform alone: the rest would look new beside it.
        is_whole = not any(name in side.folders for side in (base, head))
        for side in (base, head):
            if name in side.folders:
                found[side.which, name] = read(side.folders[name], name)
                continue
            for job in _jobs(side, name, synthesizer, is_whole):
                if entry := cache.find(job.key, job.name):
                    done[job] = entry
                else:
                    # Both sides may be the same; then one synth serves both.
                    missing.setdefault((job.key, job.name), []).append(job)
    reused = len(done)
    made = _all(synthesizer, [group[0] for group in missing.values()], cache, progress)
    done |= {job: folder for first, folder in made.items() for job in missing[first.key, first.name]}
    # The platform before what belongs to it.
    for job in sorted(done, key=lambda each: each.part or ""):
        assembly = read(done[job], job.environment)
        whole = found.get((job.side.which, job.environment))
        if whole is not None:
            assembly = replace(whole, stacks={**assembly.stacks, **whole.stacks})
        found[job.side.which, job.environment] = assembly
    return Synthesized(
        {name: found["base", name] for name in environments if ("base", name) in found},
        {name: found["head", name] for name in environments if ("head", name) in found},
        made=len(made),
        reused=reused,
    )


def _jobs(side: OpenSide, environment: str, synthesizer: Synthesizer, is_whole: bool) -> Iterator[_Job]:
    if side.files is None or environment not in side.environments:
        return
    program = Path(traced_app.__file__).read_bytes()
    inputs = f"{side.files.digest} {synthesizer.versions()} ".encode() + program
    key = sha256(inputs).hexdigest()[:32]
    parts = [None, *(side.files.parts_of(environment) if is_whole else ())]
    if environment not in side.files.environments:
        parts = [DELIVERY]
    for part in parts:
        yield _Job(side, side.files, environment, part, key)


def _all(synthesizer: Synthesizer, jobs: Sequence[_Job], cache: Cache, progress: Progress) -> dict[_Job, Path]:
    there: set[_Job] = set()
    outputs = {job: cache.work_folder(f"{job.side.which}-{job.name}.out") for job in jobs}

    def run(group: Sequence[_Job]) -> dict[_Job, Path | SynthError]:
        if len(group) > 1:
            with suppress(SynthError):
                synthesizer.synthesize_together(group[0].files.folder, [(job.context, outputs[job]) for job in group])
        return {job: kept(job) for job in group}

    def kept(job: _Job) -> Path | SynthError:
        try:
            if not outputs[job].exists():
                synthesizer.synthesize(job.files.folder, job.context, outputs[job])
        except SynthError as error:
            return error
        entry = cache.keep(job.key, job.name, outputs[job])
        there.add(job)
        return entry

    if not jobs:
        return {}
    ended: dict[_Job, Path | SynthError] = {}
    told: list[_Job] = []
    at_once = min(os.cpu_count() or 1, _AT_ONCE)
    with ThreadPoolExecutor(at_once) as pool:
        running: set[Future[dict[_Job, Path | SynthError]]] = {
            pool.submit(run, group) for group in _grouped(jobs, at_once)
        }
        try:
            while running:
                left = [job for job in jobs if job not in there and not (outputs[job] / "manifest.json").exists()]
                if left and left != told:
                    told = left
                    progress(f"Synthesizing {left[0]} ({len(jobs) - len(left)} of {len(jobs)} done)")
                done, running = wait(running, timeout=_LOOK_EVERY_S, return_when=FIRST_COMPLETED)
                for future in done:
                    ended |= future.result()
        except BaseException:
            synthesizer.stop()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    if failed := {job: error for job, error in ended.items() if isinstance(error, SynthError)}:
        raise _failure(failed)
    return {job: folder for job, folder in ended.items() if isinstance(folder, Path)}


def _grouped(jobs: Sequence[_Job], at_once: int) -> Iterator[Sequence[_Job]]:
    """What one process makes, as many groups as run at once: the files of one side, and about as much of them as the others."""
    sides: dict[Which, list[_Job]] = {}
    for job in jobs:
        sides.setdefault(job.side.which, []).append(job)
    for those in sides.values():
        count = min(max(1, at_once // len(sides)), len(those))
        yield from (those[place::count] for place in range(count))


def _failure(failed: dict[_Job, SynthError]) -> CliError:
    """One error for all that did not synthesize; what failed of the same is told once."""
    messages: dict[tuple[Which, str], list[_Job]] = {}
    for job in sorted(failed, key=_order):
        messages.setdefault((job.side.which, str(failed[job])), []).append(job)
    parts = []
    for (which, said), jobs in messages.items():
        side = jobs[0].side.side
        commit = f" ({side.commit[:12]})" if side.commit and not side.is_dirty else ""
        names = ", ".join(job.environment + (f" (its {job.part})" if job.part == BOOTSTRAP else "") for job in jobs)
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
                for job, error in sorted(failed.items(), key=lambda item: _order(item[0]))
            ]
        },
    )


def _order(job: _Job) -> tuple[str, str, str]:
    return job.side.which, job.environment, job.part or ""
