"""One job of a workflow on a machine of its own: its steps, and what they hand on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.workflow_actions import ActionFailed, Machine, run_action
from tests.workflow_events import Event
from tests.workflow_expressions import Payload, as_text, condition, filled_in

if TYPE_CHECKING:
    from tests.workflow_runner import Runner

SHELL = ("bash", "--noprofile", "--norc", "-eo", "pipefail")
"""What `shell: bash` means: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#defaultsrunshell"""
_FILES = ("GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STEP_SUMMARY")
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


class Work:
    """The steps of one job, from an empty machine."""

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
            refuse_unknown(where, written, _STEP)
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
        process = subprocess.Popen(
            [*SHELL, str(file)],
            cwd=self._machine.workspace,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=max(0.0, self._ends_at - time.monotonic()))
        except subprocess.TimeoutExpired:
            # With all that it started, which would go on without it.
            os.killpg(process.pid, signal.SIGKILL)
            said, _ = process.communicate()
            return (
                1,
                f"{said}\nThe job has exceeded the maximum execution time of {self._job['timeout-minutes']} minutes.",
            )
        return process.returncode, said

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


def refuse_unknown(where: str, found: dict[str, Any], known: set[str]) -> None:
    unknown = set(found) - known
    assert not unknown, f"{where}: {sorted(unknown)} is not known here"
