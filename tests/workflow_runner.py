"""Runs a generated workflow of GitHub Actions on this machine, from its file as it is, for an event in the local git host.

What is real: the file, the conditions and expressions, the order, the scripts in the shell that GitHub starts, the clones over
HTTP, what the token of each job may, and the credentials, which STS of the local cloud gives by the role's trust policy for the
subject that GitHub documents for the job. What stands in: the actions of others (workflow_actions.py says for each), people who
are asked, and the machine, which is this one. What is not run: `make test` and `make lint`, which would run this very test;
`Runner.not_run` lists them. Not shown: runs that overlap (`concurrency` is held within a run only), and anything of GitHub's
settings but the reviewers and the branch of an environment.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.workflow_events import Event, is_asked_for
from tests.workflow_expressions import Payload, as_text, condition, filled_in
from tests.workflow_job import Job, Work, refuse_unknown
from tests.workflow_tokens import TokenGate

AT_ONCE = 2
"""Jobs that run at the same time: this machine has two cores."""
_STAND_IN = """\
#!/bin/bash
case "$1" in
  test | lint)
    echo "make $1" >> '{not_run}'
    echo "make $1 is not run here: it runs this test, too."
    exit 0 ;;
esac
exec /usr/bin/make "$@"
"""
_WORKFLOW = {"name", "on", "permissions", "concurrency", "defaults", "jobs"}
_JOB = {"name", "needs", "if", "runs-on", "timeout-minutes", "permissions", "outputs", "steps"}
_GUARDS = {"environment", "concurrency"}


@dataclass
class Run:
    """A finished run: its jobs by id, who was asked for which environment, and the folder of artifacts and findings."""

    jobs: dict[str, Job]
    asked: list[str]
    kept: Path

    @property
    def results(self) -> dict[str, str]:
        return {name: job.result for name, job in self.jobs.items()}


class Runner:
    """GitHub Actions of one repository.

    Attributes:
        not_run: the commands that only said that they are not run.
        runs: how many there were.
    """

    def __init__(
        self,
        folder: Path,
        repository: str,
        gate: TokenGate,
        *,
        cloud: Mapping[str, str],
        secrets: Mapping[str, str],
        reviewers: Mapping[str, Callable[[], bool]],
        branch: str = "main",
    ) -> None:
        """Prepares the machines.

        Args:
            folder: for everything.
            repository: owner/name.
            gate: the git host, with tokens for jobs.
            cloud: variables that lead AWS clients to the local cloud. No credentials.
            secrets: of the repository.
            reviewers: by environment: whether somebody says yes. Others need nobody.
            branch: the only one that environments are open to.
        """
        self.folder, self.repository, self.gate, self.branch = folder, repository, gate, branch
        self.cloud, self.secrets, self.reviewers = dict(cloud), dict(secrets), dict(reviewers)
        self.runs = 0
        self._held: dict[str, threading.Lock] = {}
        self._asking = threading.Lock()
        # One home for all jobs: a fresh one would only fill the CDK's caches again.
        (folder / "home").mkdir(parents=True)
        (folder / "bin").mkdir()
        self._not_run = folder / "not-run"
        make = folder / "bin/make"
        make.write_text(_STAND_IN.format(not_run=self._not_run))
        make.chmod(0o755)

    @property
    def not_run(self) -> set[str]:
        return set(self._not_run.read_text().splitlines()) if self._not_run.exists() else set()

    def run(self, text: str, event: Event) -> Run:
        """Run a workflow.

        Raises:
            AssertionError: the workflow is not for this event, or has something that is not known here; by name.
        """
        document = YAML(typ="safe").load(text)
        refuse_unknown("the workflow", document, _WORKFLOW)
        assert is_asked_for(document["on"], event), f"{document['name']} does not run on {event.name} ({event.ref})"
        assert document["defaults"] == {"run": {"shell": "bash"}}, document["defaults"]
        self.runs += 1
        return _Run(self, document, event, self.runs).finished()

    def held(self, concurrency: Any, fill: Callable[[Any], Any]) -> AbstractContextManager[Any]:
        """A group of `concurrency`, in which one job runs at a time."""
        if concurrency is None:
            return nullcontext()
        refuse_unknown("concurrency", concurrency, {"group", "cancel-in-progress"})
        with self._asking:
            return self._held.setdefault(as_text(fill(concurrency["group"])), threading.Lock())

    def lets_in(self, environment: str, event: Event, asked: list[str]) -> str:
        """Why an environment is closed to a job; empty where it is open."""
        if event.ref != f"refs/heads/{self.branch}":
            return f"{event.ref} is not allowed to deploy to {environment} due to environment protection rules"
        if environment in self.reviewers:
            with self._asking:
                asked.append(environment)
                if not self.reviewers[environment]():
                    return f"The deployment to {environment} was rejected"
        return ""


class _Run:
    """One run of one workflow."""

    def __init__(self, runner: Runner, document: dict[str, Any], event: Event, number: int) -> None:
        self._runner, self._document, self._event, self._number = runner, document, event, number
        self._folder = runner.folder / f"run-{number}"
        self._folder.mkdir()
        (self._folder / "event.json").write_text(json.dumps(event.payload))
        self._jobs: dict[str, Job] = {}
        self._asked: list[str] = []
        self._machines = threading.Semaphore(AT_ONCE)

    def finished(self) -> Run:
        jobs = self._document["jobs"]
        ended: dict[str, Future[None]] = {}
        with ThreadPoolExecutor(len(jobs)) as pool:
            for id_, job in jobs.items():
                refuse_unknown(f"job {id_}", job, _JOB | _GUARDS)
                assert set(_needs(job)) <= set(ended), f"job {id_} needs a job that does not stand before it"
                ended[id_] = pool.submit(self._one, id_, job, [ended[name] for name in _needs(job)])
        for future in ended.values():
            future.result()
        return Run({id_: self._jobs[id_] for id_ in jobs}, self._asked, self._folder / "kept")

    def _one(self, id_: str, job: dict[str, Any], before: Sequence[Future[None]]) -> None:
        for future in before:
            future.result()
        self._jobs[id_] = Job(job["name"], "skipped")
        contexts, functions = self._contexts(id_, job), self._functions(job)
        if not condition(job.get("if"), contexts, functions):
            return
        found = self._jobs[id_] = Job(
            job["name"], "failure", permissions=dict(job.get("permissions", self._document["permissions"]))
        )
        environment = job.get("environment")
        deployment = self._runner.gate.deploy(environment, self._event.sha) if environment else {"statuses": []}
        if environment and (why := self._runner.lets_in(environment, self._event, self._asked)):
            found.why = why
            deployment["statuses"].append({"state": "failure"})
            return
        with (
            self._runner.held(job.get("concurrency"), lambda text: filled_in(text, contexts, functions)),
            self._machines,
        ):
            token = self._runner.gate.issue({"metadata": "read", **found.permissions})
            try:
                started = time.monotonic()
                Work(self._runner, self._folder, self._event, id_, job, contexts, token, found).run()
                found.seconds = time.monotonic() - started
                deployment["statuses"].append({"state": found.result})
            finally:
                self._runner.gate.revoke(token)

    def _contexts(self, id_: str, job: dict[str, Any]) -> dict[str, Any]:
        event = self._event
        return {
            "github": {
                "event_name": event.name,
                "event": Payload(event.payload),
                "ref": event.ref,
                "ref_name": event.ref_name,
                "sha": event.sha,
                "base_ref": event.base_ref,
                "head_ref": event.head_ref,
                "repository": self._runner.repository,
                "repository_owner": self._runner.repository.partition("/")[0],
                "run_id": str(1000 + self._number),
                "run_number": str(self._number),
                "run_attempt": "1",
                "workflow": self._document["name"],
                "job": id_,
            },
            "needs": {
                name: {"result": self._jobs[name].result, "outputs": Payload(self._jobs[name].outputs)}
                for name in _needs(job)
            },
            "inputs": Payload(event.inputs or {}),
            "secrets": Payload(self._runner.secrets),
        }

    def _functions(self, job: dict[str, Any]) -> dict[str, Callable[[], bool]]:
        direct = [self._jobs[name].result for name in _needs(job)]
        all_before = [self._jobs[name].result for name in self._ancestors(job)]
        return {
            "success": lambda: all(result == "success" for result in direct) and "failure" not in all_before,
            "failure": lambda: "failure" in all_before,
            # Nobody cancels a run here.
            "cancelled": lambda: False,
            "always": lambda: True,
        }

    def _ancestors(self, job: dict[str, Any]) -> set[str]:
        direct = set(_needs(job))
        return direct.union(*(self._ancestors(self._document["jobs"][name]) for name in direct))


def _needs(job: dict[str, Any]) -> list[str]:
    needs = job.get("needs", [])
    return [needs] if isinstance(needs, str) else list(needs)
