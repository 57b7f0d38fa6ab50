"""Runs pipeline executions: which step may start, how the execution ends, and how it goes on after a restart.

An execution is one document in the store, written at every transition before anything else happens; the threads here
hold nothing that a killed cloud would miss. A step's work itself is in `pipeline_step`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from local_cloud.platform import Credentials
from local_cloud.sagemaker import events, notifications
from local_cloud.sagemaker.pipelines import pipeline_definition, step_types
from local_cloud.sagemaker.pipelines.pipeline_definition import Step
from local_cloud.sagemaker.service import Sagemaker
from local_cloud.sagemaker.store import Document

logger = logging.getLogger(__name__)

KIND = "pipeline-execution"
UNFINISHED = ("Executing", "Stopping")
RUNNING_STEP = ("Starting", "Executing", "Stopping")

MAX_FAILURE_REASON = 1_300
"""PipelineExecutionFailureReason in the API's model; a step's reason ends at 1,024 characters."""
MAX_STEP_FAILURE_REASON = 1_024

CREDENTIALS_S = 1_800.0
"""How long one assumed session of the pipeline's role is used: well below the hour that sessions last."""

CLOSE_S = 6.0
"""How long a shutdown waits for the threads: what they do not save now, they do again after the restart."""


StepRunner = Callable[["Execution", Step, threading.Event], None]


class Interrupted(Exception):
    """The local cloud stops; the execution goes on where the store says after the next start."""


class Executions:
    """The executions that run in this process."""

    def __init__(self, service: Sagemaker, run_step: StepRunner) -> None:
        """Nothing runs yet.

        Args:
            service: the service.
            run_step: runs one step to its end and returns.
        """
        self._service = service
        self._run_step = run_step
        self._lock = threading.Lock()
        self._running: dict[tuple[str, str, str], Execution] = {}
        self._closed = False

    def run(self, account: str, region: str, name: str) -> None:
        """Start or resume an execution that the store says is unfinished."""
        with self._lock:
            if self._closed or (account, region, name) in self._running:
                return
            # It may have ended since the caller looked; what has ended must not end, and be told of, once more.
            document = self._service.store.get(KIND, account, region, name)
            if document is None or document["Status"] not in UNFINISHED:
                return
            execution = Execution(self._service, account, region, name, self._run_step, self._forget)
            self._running[account, region, name] = execution
        execution.start()

    def wake(self, account: str, region: str, name: str) -> None:
        """Let a running execution look at its document again: somebody asked it to stop."""
        with self._lock:
            execution = self._running.get((account, region, name))
        if execution:
            execution.wake()

    def close(self) -> None:
        """Leave everything as the store has it."""
        with self._lock:
            self._closed = True
            running = list(self._running.values())
        for execution in running:
            execution.interrupt()
        deadline = time.monotonic() + CLOSE_S
        for execution in running:
            execution.join(max(0.0, deadline - time.monotonic()))

    def _forget(self, execution: Execution) -> None:
        key = (execution.account, execution.region, execution.name)
        with self._lock:
            # Somebody may have asked for a retry between the end that the store tells of and this moment.
            document = None if self._closed else self._service.store.get(KIND, *key)
            self._running.pop(key, None)
        if document and document["Status"] in UNFINISHED:
            self.run(*key)


class Execution:
    """One execution while it runs: a thread that decides, and a thread per running step."""

    def __init__(
        self,
        service: Sagemaker,
        account: str,
        region: str,
        name: str,
        run_step: StepRunner,
        when_over: Callable[[Execution], None],
    ) -> None:
        self.service = service
        self.account = account
        self.region = region
        self.name = name
        document = self.document()
        self.arn: str = document["PipelineExecutionArn"]
        self.definition = pipeline_definition.parse(document["Definition"])
        self._step_runner = run_step
        self._when_over = when_over
        self._interrupted = threading.Event()
        self._changed = threading.Event()
        self._lock = threading.Lock()
        self._steps: dict[str, threading.Thread] = {}
        self._step_wakers: dict[str, threading.Event] = {}
        self._credentials: tuple[Credentials, float] | None = None
        self._thread = threading.Thread(target=self._run, name=f"pipeline {name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Let every thread of the execution look at the document again."""
        self._changed.set()
        with self._lock:
            wakers = list(self._step_wakers.values())
        for waker in wakers:
            waker.set()

    def interrupt(self) -> None:
        """Let every thread end without changing anything."""
        self._interrupted.set()
        self.wake()

    def join(self, timeout_s: float) -> None:
        """Wait for the threads to end."""
        deadline = time.monotonic() + timeout_s
        with self._lock:
            threads = [self._thread, *self._steps.values()]
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    # What a step asks of its execution.

    def document(self) -> Document:
        """The execution as the store has it."""
        document = self.service.store.get(KIND, self.account, self.region, self.name)
        if document is None:
            raise Interrupted(f"{self.name} is no longer there")
        return document

    def state_of(self, step: Step) -> Document:
        """A step as the store has it."""
        state: Document = self.document()["Steps"].get(step.name, {})
        return state

    def is_stopping(self) -> bool:
        """Whether somebody asked the execution to stop."""
        return bool(self.document()["Status"] == "Stopping")

    def check_not_interrupted(self) -> None:
        """End the calling thread if the local cloud stops.

        Raises:
            Interrupted: it does.
        """
        if self._interrupted.is_set():
            raise Interrupted

    def change_step(self, step: Step, **values: Any) -> None:
        """Write members of a step's state (None removes one), and tell EventBridge of a new status.

        Raises:
            Interrupted: the local cloud stops, so nothing may change any more.
        """
        previous: list[str | None] = []

        def change(document: Document) -> None:
            state = document["Steps"].setdefault(step.name, {"Order": len(document["Steps"])})
            previous.append(state.get("Status"))
            for key, value in values.items():
                if value is None:
                    state.pop(key, None)
                else:
                    state[key] = value
            document["LastModifiedTime"] = time.time()

        with self.service.store.undisturbed():
            document = self._change(change)
            if "Status" in values and values["Status"] != previous[0]:
                self._send_step_event(step, document["Steps"][step.name], previous[0])

    def client(self, service_name: str) -> Any:
        """A client that acts as the pipeline's role.

        Raises:
            RoleRefused: SageMaker may not assume the role.
        """
        with self._lock:
            if self._credentials is None or time.monotonic() > self._credentials[1]:
                role_arn = self.document()["RoleArn"]
                credentials = self.service.platform.assume_role(role_arn, "SageMaker")
                self._credentials = credentials, time.monotonic() + CREDENTIALS_S
            return self.service.platform.client(service_name, self.region, self._credentials[0])

    # The thread that decides.

    def _run(self) -> None:
        try:
            while True:
                self._changed.clear()
                self.check_not_interrupted()
                self._start_ready()
                with self._lock:
                    idle = not self._steps
                if idle and not self._ready():
                    break
                if not idle:
                    self._changed.wait()
            self._finish()
        except Interrupted:
            pass
        except Exception:
            logger.exception("Pipeline execution %s failed inside the local cloud", self.name)
            self._give_up()
        finally:
            self._forget_credentials()
            self._when_over(self)

    def _start_ready(self) -> None:
        limit = self.document().get("MaxParallelExecutionSteps") or len(self.definition.steps)
        for step in self._ready():
            with self._lock:
                if len(self._steps) >= limit:
                    return
                thread = threading.Thread(
                    target=self._run_step, args=(step,), name=f"pipeline {self.name} {step.name}", daemon=True
                )
                self._steps[step.name] = thread
                self._step_wakers[step.name] = threading.Event()
            thread.start()

    def _ready(self) -> list[Step]:
        """The steps to start now: those that a restart interrupted first, then those that wait for nothing."""
        # In this order: a step that is idle has written its last state.
        with self._lock:
            idle = [step for step in self.definition.steps.values() if step.name not in self._steps]
        document = self.document()
        states: dict[str, Document] = document["Steps"]
        interrupted = [step for step in idle if states.get(step.name, {}).get("Status") in RUNNING_STEP]
        ended = {state["Status"] for state in states.values()}
        if document["Status"] != "Executing" or ended & {"Failed", "Stopped"}:
            return interrupted
        return interrupted + [step for step in idle if step.name not in states and _may_start(step, states)]

    def _run_step(self, step: Step) -> None:
        try:
            self._step_runner(self, step, self._step_wakers[step.name])
        finally:
            with self._lock:
                self._steps.pop(step.name)
                self._step_wakers.pop(step.name)
            self._changed.set()

    def _finish(self) -> None:
        now = time.time()
        previous: list[str] = []

        def change(document: Document) -> None:
            previous.append(document["Status"])
            failed = [(name, state) for name, state in document["Steps"].items() if state["Status"] == "Failed"]
            if failed:
                document["Status"] = "Failed"
                reasons = "; ".join(f"{name}: {state.get('FailureReason', '')}" for name, state in failed)
                # The first sentence is SageMaker's, the rest saves the user a call. On one line: the API's model asks it.
                reason = " ".join(f"Step failure: One or multiple steps failed. {reasons}".split())
                document["FailureReason"] = shortened(reason, MAX_FAILURE_REASON)
            elif document["Status"] == "Stopping" or any(
                state["Status"] == "Stopped" for state in document["Steps"].values()
            ):
                document["Status"] = "Stopped"
            else:
                document["Status"] = "Succeeded"
            document["EndTime"] = document["LastModifiedTime"] = now

        with self.service.store.undisturbed():
            document = self._change(change)
            send_execution_event(self.service, self.account, self.region, document, previous[0])

    def _give_up(self) -> None:
        """End an execution that the local cloud itself cannot go on with."""

        previous: list[str] = []

        def change(document: Document) -> None:
            previous.append(document["Status"])
            document["Status"] = "Failed"
            document["FailureReason"] = "InternalServerError: The local cloud failed; see its log."
            document["EndTime"] = document["LastModifiedTime"] = time.time()

        try:
            with self.service.store.undisturbed():
                document = self._change(change)
                send_execution_event(self.service, self.account, self.region, document, previous[0])
        except Exception:
            logger.exception("Pipeline execution %s cannot be written", self.name)

    def _change(self, change: Callable[[Document], None]) -> Document:
        self.check_not_interrupted()
        document = self.service.store.update(KIND, self.account, self.region, self.name, change)
        if document is None:
            raise Interrupted(f"{self.name} is no longer there")
        notifications.publish(KIND, self.arn)
        return document

    def _send_step_event(self, step: Step, state: Document, previous: str | None) -> None:
        detail: Document = {
            "metadata": {_camel(key): _camel_keys(value) for key, value in state.get("Metadata", {}).items()},
            "stepStartTime": events.iso_time(state["StartTime"]),
            "stepName": step.name,
            "stepType": step.type.name,
            "currentStepStatus": state["Status"],
            "pipelineArn": self.arn.rpartition("/execution/")[0],
            "pipelineExecutionArn": self.arn,
        }
        if previous:
            detail["previousStepStatus"] = previous
        if "EndTime" in state:
            detail["stepEndTime"] = events.iso_time(state["EndTime"])
        if "FailureReason" in state:
            detail["failureReason"] = state["FailureReason"]
        if "CacheHitResult" in state:
            detail["cacheHitResult"] = _camel_keys(state["CacheHitResult"])
        events.send(
            self.service,
            self.account,
            self.region,
            "SageMaker Model Building Pipeline Execution Step Status Change",
            detail,
            [detail["pipelineArn"], self.arn],
        )

    def _forget_credentials(self) -> None:
        with self._lock:
            credentials, self._credentials = self._credentials, None
        if credentials:
            self.service.platform.forget_session(credentials[0])


def send_execution_event(
    service: Sagemaker, account: str, region: str, document: Document, previous: str | None
) -> None:
    """`SageMaker Model Building Pipeline Execution Status Change`, with the detail that the Developer Guide shows."""
    detail: Document = {
        "pipelineExecutionDisplayName": document["DisplayName"],
        "pipelineExecutionDescription": document.get("Description", ""),
        "currentPipelineExecutionStatus": document["Status"],
        "executionStartTime": events.iso_time(document["CreationTime"]),
        "pipelineArn": document["PipelineArn"],
        "pipelineExecutionArn": document["PipelineExecutionArn"],
    }
    if previous:
        detail["previousPipelineExecutionStatus"] = previous
    if "EndTime" in document:
        detail["executionEndTime"] = events.iso_time(document["EndTime"])
    events.send(
        service,
        account,
        region,
        "SageMaker Model Building Pipeline Execution Status Change",
        detail,
        [document["PipelineArn"], document["PipelineExecutionArn"]],
    )


def shortened(text: str, length: int) -> str:
    """A text cut to a length, with an ellipsis that says so."""
    return text if len(text) <= length else text[: length - 3] + "..."


def _may_start(step: Step, states: dict[str, Document]) -> bool:
    if any(states.get(name, {}).get("Status") != "Succeeded" for name in step.depends_on):
        return False
    if step.branch is None:
        return True
    condition, wanted = step.branch
    outcome: str = states[condition]["Metadata"][step_types.CONDITION.metadata]["Outcome"]
    return outcome == str(wanted)


def _camel(name: str) -> str:
    return name[:1].lower() + name[1:]


def _camel_keys(value: Any) -> Any:
    return {_camel(key): item for key, item in value.items()} if isinstance(value, dict) else value
