"""Finds what breaks a rule in all assemblies of a review at once, in as few processes and seconds as it takes.

Templates that are alike are checked once, those that were checked before by the same tools not at all, and the tools that
are slow to start run beside each other. Rules of our own take a millisecond, and see the whole environment, so they run here.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sagestack.cli.errors import CliError
from sagestack.review.assembly import Assembly, StackTemplate
from sagestack.review.rule_tools import CFN_LINT, CLOUDFORMATION
from sagestack.review.rules.found import Checked, Found
from sagestack.review.rules.own import broken_in

_TOOLS = ("cdk_checks", "lint")
_PACKAGES = ("aws-cdk-lib", "cdk-nag", "cfn-lint")


class CheckFailed(CliError):
    """A tool ended without an answer; its own last words are in the message."""


@dataclass(frozen=True)
class _Job:
    """A template as the tools get it. Alike are those with the same text, for the same place.

    A stack that is made for any account or region has an empty one.
    """

    text: str
    account: str
    region: str

    @property
    def key(self) -> str:
        return hashlib.sha256("\0".join((versions(), self.account, self.region, self.text)).encode()).hexdigest()


def check(assemblies: Sequence[Assembly | None], *, cache: Path | None = None) -> list[Checked | None]:
    """What each assembly breaks, in their order; None for an environment that is not there.

    Args:
        assemblies: all of both sides: one call for a whole review, since starting the tools costs most of the time.
        cache: a folder that keeps findings by template and tool versions, `cdk.out/review-cache/findings`. Default: nothing
            is kept.

    Raises:
        CheckFailed: a tool ended without an answer.
    """
    jobs = {
        (index, name): _job(stack)
        for index, assembly in enumerate(assemblies)
        if assembly is not None
        for name, stack in assembly.stacks.items()
    }
    known = _known({job.key: job for job in jobs.values()}, cache)
    return [
        Checked(
            assembly,
            {
                name: (*known[jobs[index, name].key], *broken_in(stack, assembly))
                for name, stack in assembly.stacks.items()
            },
        )
        if assembly is not None
        else None
        for index, assembly in enumerate(assemblies)
    ]


@cache
def versions() -> str:
    """Of everything whose change may find something else in the same template: the tools, and how we ask them."""
    asked = b"".join(Path(__file__).with_name(f"{tool}.py").read_bytes() for tool in _TOOLS)
    named = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in _PACKAGES)
    return f"{named}, {hashlib.sha256(asked).hexdigest()[:16]}"


def _job(stack: StackTemplate) -> _Job:
    # CDK writes `unknown-account` and `unknown-region`, which other tools would take for names.
    account, region = ("" if place.startswith("unknown-") else place for place in (stack.account, stack.region))
    return _Job(json.dumps(stack.template, sort_keys=True), account, region)


def _known(jobs: Mapping[str, _Job], cache: Path | None) -> dict[str, tuple[Found, ...]]:
    known = {key: found for key in jobs if (found := _kept(cache, key)) is not None}
    new = {key: job for key, job in jobs.items() if key not in known}
    for key, found in _run_tools(new).items():
        known[key] = found
        _keep(cache, key, found)
    return known


def _kept(cache: Path | None, key: str) -> tuple[Found, ...] | None:
    if cache is None:
        return None
    try:
        return tuple(Found.from_json(each) for each in json.loads((cache / f"{key}.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError):
        # Not there, or half written by somebody else's hand: checking again is always right.
        return None


def _keep(cache: Path | None, key: str, found: tuple[Found, ...]) -> None:
    if cache is None:
        return
    cache.mkdir(parents=True, exist_ok=True)
    # Two reviews at once write the same, and nobody reads a half.
    with tempfile.NamedTemporaryFile("w", dir=cache, suffix=".new", delete=False, encoding="utf-8") as file:
        json.dump([each.to_json() for each in found], file)
    Path(file.name).replace(cache / f"{key}.json")


def _run_tools(jobs: Mapping[str, _Job]) -> dict[str, tuple[Found, ...]]:
    if not jobs:
        return {}
    with tempfile.TemporaryDirectory(prefix="sagestack-rules-") as folder:
        return _run_tools_in(Path(folder), jobs)


def _run_tools_in(folder: Path, jobs: Mapping[str, _Job]) -> dict[str, tuple[Found, ...]]:
    requests = []
    for key, job in jobs.items():
        file = folder / f"{key}.json"
        file.write_text(job.text, encoding="utf-8")
        requests.append({"key": key, "file": str(file), "account": job.account, "region": job.region})
    runs = [_Run(tool, requests, folder / tool) for tool in _TOOLS]
    try:
        found: dict[str, list[Found]] = {key: [] for key in jobs}
        for run in runs:
            for key, of_one in run.answer().items():
                found[key] += of_one
    finally:
        for run in runs:
            run.end()
    return {key: _each_once(of_one) for key, of_one in found.items()}


def _each_once(found: list[Found]) -> tuple[Found, ...]:
    """CDK's validation has many of cfn-lint's rules, F3002 for E3002: what both say of a resource is said by cfn-lint."""
    linted = {(each.rule[1:], each.logical_id) for each in found if each.tool == CFN_LINT}
    return tuple(
        each for each in found if each.tool != CLOUDFORMATION or (each.rule[1:], each.logical_id) not in linted
    )


class _Run:
    """One tool in a process of its own, over some of the templates."""

    def __init__(self, tool: str, requests: Sequence[Mapping[str, Any]], place: Path) -> None:
        self._tool = tool
        self._keys = [str(request["key"]) for request in requests]
        self._answer = place.with_suffix(".answer")
        self._log = place.with_suffix(".log")
        request = place.with_suffix(".request")
        request.write_text(json.dumps(list(requests)), encoding="utf-8")
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"sagestack.review.rules.{tool}", str(request), str(self._answer)],
                # What a synth would validate by itself is asked for by name there.
                env={**os.environ, "CDK_VALIDATION": "false"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def answer(self) -> dict[str, list[Found]]:
        if self._process.wait() != 0:
            said = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise CheckFailed(
                f"The rules could not be checked: sagestack.review.rules.{self._tool} ended with"
                f" {self._process.returncode}: {said[-1] if said else 'no word'}",
                hint="`make setup` installs the tools anew. One that ended with -9 had too little memory: it takes up to 1 GB.",
                code="set-up",
            )
        answers = json.loads(self._answer.read_text(encoding="utf-8"))
        return {
            key: [Found.from_json(each) for each in of_one] for key, of_one in zip(self._keys, answers, strict=True)
        }

    def end(self) -> None:
        """Ends it where somebody interrupted the review, or another tool failed."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait()
