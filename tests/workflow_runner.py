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
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.workflow_actions import ActionFailed, Machine, run_action
from tests.workflow_events import Event, is_asked_for
from tests.workflow_expressions import Payload, as_text, condition, filled_in
from tests.workflow_tokens import TokenGate

SHELL = ("bash", "--noprofile", "--norc", "-eo", "pipefail")
"""What `shell: bash` means: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#defaultsrunshell"""
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
_FILES = ("GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STEP_SUMMARY")
_WORKFLOW = {"name", "on", "permissions", "concurrency", "defaults", "jobs"}
_JOB = {
    *(
        "name",
        "needs",
        "if",
        "runs-on",
        "timeout-minutes",
        "environment",
        "concurrency",
        "permissions",
        "outputs",
        "steps",
    ),
}
_STEP = {"name", "id", "if", "run", "uses", "with", "env", "continue-on-error"}


@dataclass
class Step:
    """What became of a step: `outcome` is what it did, `conclusion` what counts (`continue-on-error`)."""

    name: str
    outcome: str
    conclusion: str
    log: str = ""
    outputs: dict[str, str] = field(default_factory=dict)


@dataclass
class Job:
    """What became of a job.

    Attributes:
        result: success, failure, skipped or cancelled.
        why: of a job that failed before its first step.
        steps: in order.
        summary: what is on the run's page.
        permissions: what its token had.
        subject: of its OIDC token; None where it may have none.
    """

    name: str
    result: str
    why: str = ""
    steps: list[Step] = field(default_factory=list)
    summary: str = ""
    permissions: dict[str, str] = field(default_factory=dict)
    subject: str | None = None
    outputs: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def log(self) -> str:
        return "\n".join([self.why, *(f"--- {step.name}: {step.outcome}\n{step.log}" for step in self.steps)])


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
        _refuse_unknown("the workflow", document, _WORKFLOW)
        assert is_asked_for(document["on"], event), f"{document['name']} does not run on {event.name} ({event.ref})"
        assert document["defaults"] == {"run": {"shell": "bash"}}, document["defaults"]
        self.runs += 1
        # In order: the jobs of a run are known by then, as on GitHub only those before a job are.
        return _Run(self, document, event, self.runs).finished()

    def held(self, concurrency: Any, fill: Callable[[Any], Any]) -> AbstractContextManager[Any]:
        """A group of `concurrency`, in which one job runs at a time."""
        if concurrency is None:
            return nullcontext()
        _refuse_unknown("concurrency", concurrency, {"group", "cancel-in-progress"})
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
                _refuse_unknown(f"job {id_}", job, _JOB)
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
        found = self._jobs[id_] = Job(job["name"], "failure", permissions=dict(job.get("permissions", {})))
        environment = job.get("environment")
        if environment and (why := self._runner.lets_in(environment, self._event, self._asked)):
            found.why = why
            return
        with (
            self._runner.held(job.get("concurrency"), lambda text: filled_in(text, contexts, functions)),
            self._machines,
        ):
            token = self._runner.gate.issue({"metadata": "read", **found.permissions})
            try:
                started = time.monotonic()
                _Job(self._runner, self._folder, self._event, id_, job, contexts, token, found).run()
                found.seconds = time.monotonic() - started
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


class _Job:
    """One job on a machine of its own."""

    def __init__(
        self,
        runner: Runner,
        run: Path,
        event: Event,
        id_: str,
        job: dict[str, Any],
        contexts: dict[str, Any],
        token: str,
        found: Job,
    ) -> None:
        self._runner, self._run, self._event, self._id, self._job, self._found = runner, run, event, id_, job, found
        self._folder = run / id_
        self._folder.mkdir()
        self._contexts = contexts
        self._contexts["github"]["token"] = token
        self._contexts["steps"] = {}
        self._ends_at = time.monotonic() + 60 * job["timeout-minutes"]
        self._machine = Machine(
            workspace=self._folder / "work",
            repository=runner.repository,
            event=event,
            permissions=found.permissions,
            environment=job.get("environment"),
            token=token,
            server=runner.gate.url,
            cloud=runner.cloud,
            kept=run / "kept",
        )
        self._machine.workspace.mkdir()
        if found.permissions.get("id-token") == "write":
            found.subject = self._machine.subject

    def run(self) -> None:
        failed = False
        functions: dict[str, Callable[[], bool]] = {
            "success": lambda: not failed,
            "failure": lambda: failed,
            "cancelled": lambda: False,
            "always": lambda: True,
        }
        for place, written in enumerate(self._job["steps"]):
            where = f"job {self._id}, step {written.get('name', place)}"
            _refuse_unknown(where, written, _STEP)
            step = Step(written["name"], "skipped", "skipped")
            self._found.steps.append(step)
            if condition(written.get("if"), self._contexts, functions):
                self._one(step, written, place, lambda value: filled_in(value, self._contexts, functions))
            failed = failed or step.conclusion == "failure"
            if "id" in written:
                self._contexts["steps"][written["id"]] = {
                    "outputs": Payload(step.outputs),
                    "outcome": step.outcome,
                    "conclusion": step.conclusion,
                }
        self._found.result = "failure" if failed else "success"
        outputs = self._job.get("outputs", {})
        self._found.outputs = {
            name: as_text(filled_in(text, self._contexts, functions)) for name, text in outputs.items()
        }

    def _one(self, step: Step, written: dict[str, Any], place: int, fill: Callable[[Any], Any]) -> None:
        files = {name: self._folder / f"{name}-{place}" for name in _FILES}
        for file in files.values():
            file.touch()
        try:
            if "uses" in written:
                step.log = run_action(
                    written["uses"],
                    {name: fill(value) for name, value in written.get("with", {}).items()},
                    self._machine,
                )
                code = 0
            else:
                env = {name: as_text(fill(value)) for name, value in written.get("env", {}).items()}
                code, step.log = self._shell(written["run"], env, files, place)
        except ActionFailed as error:
            code, step.log = 1, f"Error: {error}"
        self._take(step, files)
        step.outcome = "failure" if code else "success"
        step.conclusion = "success" if written.get("continue-on-error") else step.outcome
        if code and "uses" not in written:
            step.log += f"\nError: Process completed with exit code {code}."

    def _shell(self, script: str, env: dict[str, str], files: dict[str, Path], place: int) -> tuple[int, str]:
        file = self._folder / f"step-{place}.sh"
        file.write_text(script)
        variables = {**self._variables(), **self._machine.variables, **env}
        variables |= {name: str(path) for name, path in files.items()}
        left = self._ends_at - time.monotonic()
        try:
            done = subprocess.run(
                [*SHELL, str(file)],
                cwd=self._machine.workspace,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=left,
            )
        except subprocess.TimeoutExpired as error:
            return 1, f"{error.output or ''}\nThe job has exceeded the maximum execution time."
        return done.returncode, done.stdout

    def _variables(self) -> dict[str, str]:
        """What a machine of GitHub's has; nothing of whoever runs this, so no credentials.

        https://docs.github.com/en/actions/reference/workflows-and-actions/variables#default-environment-variables
        """
        event, github, gate = self._event, self._contexts["github"], self._runner.gate
        return {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTOR": "somebody",
            "GITHUB_API_URL": gate.url,
            "GITHUB_BASE_REF": event.base_ref,
            "GITHUB_EVENT_NAME": event.name,
            "GITHUB_EVENT_PATH": str(self._run / "event.json"),
            "GITHUB_HEAD_REF": event.head_ref,
            "GITHUB_JOB": self._id,
            "GITHUB_REF": event.ref,
            "GITHUB_REF_NAME": event.ref_name,
            "GITHUB_REPOSITORY": self._runner.repository,
            "GITHUB_REPOSITORY_OWNER": github["repository_owner"],
            "GITHUB_RUN_ATTEMPT": github["run_attempt"],
            "GITHUB_RUN_ID": github["run_id"],
            "GITHUB_RUN_NUMBER": github["run_number"],
            "GITHUB_SERVER_URL": gate.url,
            "GITHUB_SHA": event.sha,
            "GITHUB_WORKFLOW": github["workflow"],
            "GITHUB_WORKSPACE": str(self._machine.workspace),
            "HOME": str(self._runner.folder / "home"),
            "LANG": "C.UTF-8",
            "PATH": os.pathsep.join([*self._machine.path, str(self._runner.folder / "bin"), "/usr/bin", "/bin"]),
            "RUNNER_OS": "Linux",
            "RUNNER_TEMP": str(self._folder),
            # Where AWS is, and that templates are validated elsewhere: seconds for each synth.
            **self._runner.cloud,
            "CDK_VALIDATION": "false",
        }

    def _take(self, step: Step, files: dict[str, Path]) -> None:
        """What a step wrote for the next ones."""
        step.outputs = _assignments(files["GITHUB_OUTPUT"])
        self._machine.variables |= _assignments(files["GITHUB_ENV"])
        for line in files["GITHUB_PATH"].read_text().splitlines():
            self._machine.path.insert(0, line)
        self._found.summary += files["GITHUB_STEP_SUMMARY"].read_text()


def _assignments(file: Path) -> dict[str, str]:
    found = {}
    for line in file.read_text().splitlines():
        name, sign, value = line.partition("=")
        known = bool(sign) and "<<" not in name
        assert known, f"{file.name}: {line!r} is not known here (name=value)"
        found[name] = value
    return found


def _needs(job: dict[str, Any]) -> list[str]:
    needs = job.get("needs", [])
    return [needs] if isinstance(needs, str) else list(needs)


def _refuse_unknown(where: str, found: dict[str, Any], known: set[str]) -> None:
    unknown = set(found) - known
    assert not unknown, f"{where}: {sorted(unknown)} is not known here"
