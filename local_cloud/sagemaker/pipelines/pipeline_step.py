"""Runs one step of a pipeline execution: resolves its arguments, makes its API call as the pipeline's role, waits for it.

The name of a job, and the idempotency token of what is no job, are in the store before the call is made. So a step that
a killed cloud interrupted finds what it started, and starts nothing twice.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import re
import secrets
import string
import threading
import time
from typing import Any, NoReturn

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from local_cloud.platform import Caller, RoleRefused
from local_cloud.sagemaker import notifications
from local_cloud.sagemaker.pipelines import pipeline_shapes, pipeline_values, retry_policy, step_types
from local_cloud.sagemaker.pipelines.pipeline_cache import cache_key, earlier_result
from local_cloud.sagemaker.pipelines.pipeline_definition import Step
from local_cloud.sagemaker.pipelines.pipeline_execution import (
    MAX_STEP_FAILURE_REASON,
    Execution,
    Interrupted,
    shortened,
)
from local_cloud.sagemaker.pipelines.pipeline_scope import ExecutionScope
from local_cloud.sagemaker.pipelines.pipeline_values import ValueProblem
from local_cloud.sagemaker.store import Document

logger = logging.getLogger(__name__)

EXECUTION_ARN_TAG = "sagemaker:pipeline-execution-arn"
STEP_NAME_TAG = "sagemaker:pipeline-step-name"

LOOK_AGAIN_S = 5.0
"""How soon a job is looked at when nobody told of a change. Jobs tell of each; this is for one whose thread is lost."""
LOOK_AFTER_FAILURE_S = 0.5
MAX_FAILED_LOOKS = 20
"""How often in a row the Describe call of a running job may fail for a passing reason before the step fails."""

MAX_JOB_NAME = 63
_RANDOM_LETTERS = string.ascii_letters + string.digits


class StepFailed(Exception):
    """The step failed.

    Attributes:
        reason: its FailureReason.
        exception_type: what a retry policy calls this kind of failure; None if no policy covers it.
    """

    def __init__(self, reason: str, exception_type: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.exception_type = exception_type


class StepStopped(Exception):
    """The step was stopped with its execution."""


class StepRun:
    """One step, from its start or from where a restart finds it."""

    def __init__(self, execution: Execution, step: Step, wake: threading.Event) -> None:
        self._execution = execution
        self._step = step
        self._wake = wake

    def run(self) -> None:
        """Run the step to its end; its state in the store tells how it ended."""
        # The next start goes on where the store says.
        with contextlib.suppress(Interrupted):
            self._run_to_its_end()

    def _run_to_its_end(self) -> None:
        try:
            self._run()
        except StepStopped:
            self._end("Stopped")
        except (StepFailed, ValueProblem) as problem:
            reason = problem.reason if isinstance(problem, StepFailed) else f"ClientError: {problem}"
            self._end("Failed", FailureReason=shortened(reason, MAX_STEP_FAILURE_REASON))
        except Interrupted:
            raise
        except Exception:
            logger.exception("Step %s of %s failed inside the local cloud", self._step.name, self._execution.name)
            self._end("Failed", FailureReason="InternalServerError: The local cloud failed; see its log.")

    def _run(self) -> None:
        if not self._execution.state_of(self._step):
            self._execution.change_step(self._step, Status="Starting", StartTime=time.time(), AttemptCount=1)
        if self._step.type is step_types.CONDITION:
            self._run_condition()
        elif self._step.type is step_types.FAIL:
            self._run_fail()
        else:
            self._run_call()

    def _end(self, status: str, **values: Any) -> None:
        self._execution.change_step(self._step, Status=status, EndTime=time.time(), **values)

    def _scope(self, job_name: str | None = None) -> ExecutionScope:
        execution = self._execution
        return ExecutionScope(execution.document(), execution.definition, execution.client, job_name)

    def _run_condition(self) -> None:
        self._stop_if_asked()
        self._execution.change_step(self._step, Status="Executing")
        scope = self._scope()
        conditions = self._step.arguments["Conditions"]
        outcome = str(all(pipeline_values.holds(condition, scope) for condition in conditions))
        self._end("Succeeded", Metadata={"Condition": {"Outcome": outcome}}, Output={"Outcome": outcome})

    def _run_fail(self) -> None:
        self._stop_if_asked()
        self._execution.change_step(self._step, Status="Executing")
        message = pipeline_values.as_text(
            pipeline_values.resolve(self._step.arguments.get("ErrorMessage") or "", self._scope())
        )
        self._execution.change_step(self._step, Metadata={"Fail": {"ErrorMessage": shortened(message, 3_072)}})
        raise StepFailed(message)

    def _run_call(self) -> None:
        while True:
            self._sleep_until(self._execution.state_of(self._step).get("RetryAt", 0))
            try:
                self._attempt()
                return
            except StepFailed as failure:
                self._prepare_retry(failure)

    def _prepare_retry(self, failure: StepFailed) -> None:
        """Make the step ready for its next attempt, or raise the failure if there is none."""
        policy = (
            retry_policy.covering(self._step.retry_policies, failure.exception_type) if failure.exception_type else None
        )
        if policy is None or self._execution.is_stopping():
            raise failure
        state = self._execution.state_of(self._step)
        counts: dict[str, int] = state.get("Retries", {})
        key = " ".join(policy.exception_types)
        now = time.time()
        delay_s = policy.delay(counts.get(key, 0), now - state["StartTime"])
        if delay_s is None:
            raise failure
        logger.info("Step %s is tried again in %.0f s: %s", self._step.name, delay_s, failure.reason)
        self._execution.change_step(
            self._step,
            Status="Starting",
            AttemptCount=state["AttemptCount"] + 1,
            Retries={**counts, key: counts.get(key, 0) + 1},
            RetryAt=now + delay_s,
            # A call without an answer may have started the job: then the next attempt finds it by its name.
            **({"JobName": None, "Metadata": None} if "Metadata" in state else {}),
        )

    def _attempt(self) -> None:
        self._stop_if_asked()
        state = self._execution.state_of(self._step)
        described = self._describe(state["JobName"]) if self._step.type.is_job and "JobName" in state else None
        if described is None:
            if self._execution.is_stopping():
                raise StepStopped
            request = self._request(state)
            if self._reuse():
                return
            answer = self._call(str(self._step.type.create), request)
            arn = answer[self._step.type.arn_member]
        else:
            arn = described[self._step.type.arn_member]
        metadata = {self._step.type.metadata: {"Arn": arn}}
        if self._step.type.is_job:
            self._execution.change_step(self._step, Status="Executing", Metadata=metadata)
            output = self._wait(self._execution.state_of(self._step)["JobName"])
        else:
            output = self._described_by_service(arn)
        self._end("Succeeded", Metadata=metadata, Output=json_safe(output))

    def _request(self, state: Document) -> Document:
        """The request of the step's call; what makes it unique is in the store when this returns."""
        step, execution = self._step, self._execution
        kept: Document = {}
        if step.type.is_job:
            prefix = pipeline_values.resolve(step.arguments.get(step.type.name_member), self._scope())
            kept["JobName"] = state.get("JobName") or job_name(execution.arn, step.name, prefix)
        resolved = pipeline_values.resolve(dict(step.arguments), self._scope(kept.get("JobName")))
        request: Document = pipeline_shapes.fit(resolved, pipeline_shapes.request_shape(step.type))
        if step.type.cache_key:
            kept["CacheKey"] = cache_key(step, request)
        if step.type.is_job:
            own_tags = [
                {"Key": EXECUTION_ARN_TAG, "Value": execution.arn},
                {"Key": STEP_NAME_TAG, "Value": step.name},
            ]
            request[step.type.name_member] = kept["JobName"]
            request["Tags"] = [*request.get("Tags", []), *own_tags]
        else:
            kept["ClientToken"] = state.get("ClientToken") or secrets.token_hex(16)
            request["ClientToken"] = kept["ClientToken"]
            request["MetadataProperties"] = {"GeneratedBy": execution.arn, **request.get("MetadataProperties", {})}
        execution.change_step(step, **kept)
        return request

    def _reuse(self) -> bool:
        """End the step with the result of an equal earlier run, if caching is on and there is one.

        Like SageMaker, this does not ask whether the earlier run's outputs are still in S3.
        """
        step, execution = self._step, self._execution
        state = execution.state_of(step)
        if step.reuse_s is None or state["AttemptCount"] > 1:
            return False
        earlier = earlier_result(execution, step, state["CacheKey"])
        if earlier is None:
            return False
        source, found = earlier
        self._end(
            "Succeeded",
            JobName=None,
            Metadata=found["Metadata"],
            Output=found["Output"],
            CacheHitResult={"SourcePipelineExecutionArn": source},
        )
        return True

    def _wait(self, name: str) -> Document:
        """Wait for a job to complete, stop it if the execution is stopped, and return what describes it."""
        stop_sent = False
        failed_looks = 0
        with notifications.watching(self._step.type.kind, name, self._wake):
            while True:
                self._wake.clear()
                self._execution.check_not_interrupted()
                stopping = self._execution.is_stopping()
                if stopping and not stop_sent:
                    stop_sent = True
                    self._stop_job(name)
                try:
                    job = self._describe(name)
                    failed_looks = 0
                except StepFailed as failure:
                    # The job runs on, so this is no reason to start another one.
                    failed_looks += 1
                    if failure.exception_type is None or failed_looks > MAX_FAILED_LOOKS:
                        raise StepFailed(failure.reason) from failure
                else:
                    if job is None:
                        raise StepFailed(f"ClientError: {self._step.type.kind} {name} is no longer there.")
                    if (status := job[self._step.type.status_member]) in ("Completed", "Failed", "Stopped"):
                        return self._result(job, status, stopping)
                self._wake.wait(LOOK_AFTER_FAILURE_S if failed_looks else LOOK_AGAIN_S)

    def _result(self, job: Document, status: str, stopping: bool) -> Document:
        if status == "Completed":
            return job
        if status == "Stopped" and stopping:
            raise StepStopped
        if status == "Stopped":
            why = job.get("SecondaryStatus") or job.get("ExitMessage") or "it was stopped outside of this execution"
            raise StepFailed(f"ClientError: The job {job[self._step.type.arn_member]} was stopped: {why}")
        reason = job.get("FailureReason") or "The job failed without a reason."
        # As SageMaker does: whatever is not its own fault is the client's.
        shown = reason if reason.startswith(("InternalServerError", "ClientError")) else f"ClientError: {reason}"
        raise StepFailed(shown, retry_policy.of_job_failure(reason))

    def _stop_job(self, name: str) -> None:
        self._execution.change_step(self._step, Status="Stopping")
        try:
            self._invoke(str(self._step.type.stop), {self._step.type.name_member: name})
        except ClientError as error:
            # The job has just ended, or the role may not stop it: then the step ends when the job does.
            logger.warning("%s of %s: %s", self._step.type.stop, name, error)

    def _describe(self, name: str) -> Document | None:
        """What describes a job; None if there is none of that name."""
        try:
            job: Document = self._invoke(str(self._step.type.describe), {self._step.type.name_member: name})
            return job
        except ClientError as error:
            message = error.response["Error"].get("Message", "")
            # SageMaker says it in three ways, depending on the operation.
            if error.response["Error"]["Code"] == "ResourceNotFound" or any(
                words in message.lower() for words in ("not found", "could not find", "does not exist")
            ):
                return None
            self._raise_failed(str(self._step.type.describe), error)

    def _described_by_service(self, arn: str) -> Document:
        """What later steps may refer to; no right of the pipeline's role is needed to know it."""
        execution = self._execution
        caller = Caller(execution.account, execution.region, execution.arn)
        return execution.service.call(str(self._step.type.describe), caller, {self._step.type.name_member: arn})

    def _call(self, operation: str, request: Document) -> Document:
        try:
            return self._invoke(operation, request)
        except ParamValidationError as error:
            raise StepFailed(f"ClientError: Failed to invoke sagemaker:{operation}. Error Details: {error}") from error
        except ClientError as error:
            self._raise_failed(operation, error)

    def _raise_failed(self, operation: str, error: ClientError) -> NoReturn:
        details, status = error.response["Error"], error.response["ResponseMetadata"].get("HTTPStatusCode", 400)
        raise StepFailed(
            f"ClientError: Failed to invoke sagemaker:{operation}. Error Details: {details.get('Message') or details}",
            retry_policy.of_refused_call(details["Code"], status),
        ) from error

    def _invoke(self, operation: str, request: Document) -> Document:
        """Make a call of the SageMaker API as the pipeline's role."""
        try:
            client = self._execution.client("sagemaker")
        except RoleRefused as error:
            raise StepFailed(f"ClientError: {error}") from error
        try:
            answer: Document = getattr(client, xform_name(operation))(**request)
        except ParamValidationError:
            raise
        except BotoCoreError as error:
            # No answer: perhaps the cloud is stopping.
            self._execution.check_not_interrupted()
            raise StepFailed(
                f"InternalServerError: sagemaker:{operation} did not answer: {error}", retry_policy.SERVICE_FAULT
            ) from error
        answer.pop("ResponseMetadata", None)
        return answer

    def _sleep_until(self, when: float) -> None:
        while (left_s := when - time.time()) > 0:
            self._wake.clear()
            self._stop_if_asked()
            self._wake.wait(left_s)

    def _stop_if_asked(self) -> None:
        """Leave before anything new is started, if the execution or the cloud is stopped.

        Raises:
            StepStopped: the execution is stopped, and this step has started nothing.
            Interrupted: the local cloud stops.
        """
        self._execution.check_not_interrupted()
        state = self._execution.state_of(self._step)
        if self._execution.is_stopping() and "Metadata" not in state and "JobName" not in state:
            raise StepStopped


def job_name(execution_arn: str, step_name: str, prefix: str | None = None) -> str:
    """A job's name: `pipelines-<execution id>-<step>-<random>`, or the definition's own prefix in place of the first part."""
    execution_id = execution_arn.rpartition("/")[2]
    random = "".join(secrets.choice(_RANDOM_LETTERS) for _ in range(10))
    if prefix:
        room = MAX_JOB_NAME - len(execution_id) - len(random) - 2
        return f"{prefix[:room]}-{execution_id}-{random}"
    start = f"pipelines-{execution_id}-"
    room = MAX_JOB_NAME - len(start) - len(random) - 1
    # A step may be called what a job may not: names of jobs have no underscores.
    middle = re.sub(r"[^A-Za-z0-9-]", "-", step_name)[:room].strip("-") or "step"
    return f"{start}{middle}-{random}"


def json_safe(value: Any) -> Any:
    """A describe answer as JSON can carry it: botocore gives times as datetimes."""
    if isinstance(value, dict):
        return {key: json_safe(item) for key, item in value.items()}
    if isinstance(value, list):
        return [json_safe(item) for item in value]
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    return value


def run(execution: Execution, step: Step, wake: threading.Event) -> None:
    """Run a step to its end.

    Args:
        execution: the execution that it belongs to.
        step: the step.
        wake: is set when the execution was asked to stop, or the local cloud is.
    """
    StepRun(execution, step, wake).run()
