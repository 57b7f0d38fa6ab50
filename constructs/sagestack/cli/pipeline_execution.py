"""What an execution of a pipeline is at one moment: its steps, and the jobs that they run."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import PipelineExecutionStepTypeDef

WAITING = "Waiting"
"""A step that the execution may still reach; ours, SageMaker lists only steps that have started."""
NOT_RUN = "NotRun"
"""A step that the execution did not reach: on the branch not taken, or after a failure. Ours, too."""
ENDED = ("Succeeded", "Failed", "Stopped")

JobKind = Literal["training", "processing", "transform"]


@dataclass(frozen=True)
class Job:
    """The job that a step runs."""

    kind: JobKind
    name: str


@dataclass(frozen=True)
class Step:
    """One step of an execution."""

    name: str
    type: str
    status: str
    started: datetime.datetime | None = None
    ended: datetime.datetime | None = None
    failure_reason: str | None = None
    job: Job | None = None
    detail: str = ""
    model_package_arn: str | None = None

    @property
    def seconds(self) -> float | None:
        """How long it took, or has taken so far."""
        if self.started is None:
            return None
        return ((self.ended or datetime.datetime.now(datetime.UTC)) - self.started).total_seconds()

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.type,
            "status": self.status,
            "started": self.started,
            "ended": self.ended,
            "failure_reason": self.failure_reason,
            "job": {"kind": self.job.kind, "name": self.job.name} if self.job else None,
            "detail": self.detail,
        }


@dataclass(frozen=True)
class Execution:
    """An execution as it is at one moment."""

    arn: str
    status: str
    started: datetime.datetime | None
    ended: datetime.datetime | None
    failure_reason: str | None
    steps: tuple[Step, ...] = ()

    @property
    def id(self) -> str:
        return self.arn.rsplit("/", 1)[1]

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED

    @property
    def failed_step(self) -> Step | None:
        return next((step for step in self.steps if step.status == "Failed"), None)

    @property
    def model_package_arn(self) -> str | None:
        """What it registered."""
        return next((step.model_package_arn for step in self.steps if step.model_package_arn), None)

    def as_json(self) -> dict[str, Any]:
        return {
            "arn": self.arn,
            "id": self.id,
            "status": self.status,
            "started": self.started,
            "ended": self.ended,
            "failure_reason": self.failure_reason,
            "steps": [step.as_json() for step in self.steps],
        }


def step_of(answer: PipelineExecutionStepTypeDef) -> Step:
    """A step as ListPipelineExecutionSteps tells of it."""
    metadata = answer.get("Metadata", {})
    job: Job | None = None
    kind = "Unknown"
    detail = ""
    package: str | None = None
    if "TrainingJob" in metadata:
        kind, job = "Training", Job("training", _last(metadata["TrainingJob"].get("Arn")))
    elif "ProcessingJob" in metadata:
        kind, job = "Processing", Job("processing", _last(metadata["ProcessingJob"].get("Arn")))
    elif "TransformJob" in metadata:
        kind, job = "Transform", Job("transform", _last(metadata["TransformJob"].get("Arn")))
    elif "RegisterModel" in metadata:
        kind, package = "RegisterModel", metadata["RegisterModel"].get("Arn")
        detail = f"version {_last(package)}" if package else ""
    elif "Condition" in metadata:
        kind, detail = "Condition", f"outcome {metadata['Condition'].get('Outcome', '?')}"
    elif "Fail" in metadata:
        kind, detail = "Fail", metadata["Fail"].get("ErrorMessage", "")
    if job and not job.name:
        job = None
    if "CacheHitResult" in answer:
        detail = "cached"
    reason = answer.get("FailureReason")
    return Step(
        name=answer["StepName"],
        type=kind,
        status=answer["StepStatus"],
        started=answer.get("StartTime"),
        ended=answer.get("EndTime"),
        failure_reason=reason,
        job=job,
        detail=reason or detail,
        model_package_arn=package,
    )


def _last(arn: str | None) -> str:
    return arn.rsplit("/", 1)[1] if arn else ""
