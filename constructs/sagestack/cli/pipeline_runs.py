"""Starts, watches and stops executions of a model's pipeline."""

from __future__ import annotations

import datetime
import json
import math
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from sagestack.cli.errors import CliError

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import DescribePipelineExecutionResponseTypeDef, PipelineExecutionStepTypeDef

    from sagestack.cli.session import Session

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


def pipeline_name(session: Session, model: str) -> str:
    """The name of a model's pipeline.

    Raises:
        CliError: the environment is not deployed.
    """
    return session.parameter(session.names.model(model).pipeline_name_parameter, f"pipeline for {model}")


def parse_parameters(texts: Sequence[str]) -> dict[str, str]:
    """Reads `--param KEY=VALUE` options.

    Raises:
        CliError: one is not of that form, or a key stands twice.
    """
    parameters: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise CliError(f"--param {text!r} is not KEY=VALUE, for example QualityThreshold=4.5.", code="usage")
        if key in parameters:
            raise CliError(f"--param {key} is given twice.", code="usage")
        parameters[key] = value
    return parameters


def check_parameters(session: Session, pipeline: str, parameters: Mapping[str, str]) -> None:
    """Refuses, before anything is uploaded or started, what the pipeline would refuse.

    Raises:
        CliError: the pipeline does not declare a parameter, or its value is not of the declared type.
    """
    if not parameters:
        return
    definition = json.loads(session.sagemaker.describe_pipeline(PipelineName=pipeline)["PipelineDefinition"])
    declared = {parameter["Name"]: parameter for parameter in definition.get("Parameters", [])}
    for key, value in parameters.items():
        if key not in declared:
            known = ", ".join(sorted(declared)) or "none"
            raise CliError(f"Pipeline {pipeline} has no parameter {key!r} (it has: {known}).", code="usage")
        kind, allowed = declared[key]["Type"], declared[key].get("EnumValues")
        if not _fits(value, kind):
            raise CliError(f"--param {key}: {value!r} is not of type {kind}.", code="usage")
        if allowed and value not in allowed:
            raise CliError(f"--param {key}: {value!r} is not allowed (allowed: {', '.join(allowed)}).", code="usage")


def start(session: Session, pipeline: str, parameters: Mapping[str, str]) -> str:
    """Starts an execution and returns its ARN.

    The token makes boto3's own retries safe: a request that arrived although its answer was lost starts nothing twice.
    """
    answer = session.sagemaker.start_pipeline_execution(
        PipelineName=pipeline,
        ClientRequestToken=str(uuid.uuid4()),
        PipelineParameters=[{"Name": name, "Value": value} for name, value in parameters.items()],
    )
    return answer["PipelineExecutionArn"]


def watch(session: Session, arn: str) -> Iterator[Execution]:
    """The execution again and again, until and including the moment when it has ended."""
    plan = planned_steps(session, arn)
    while True:
        execution = describe(session, arn, plan)
        yield execution
        if execution.has_ended:
            return
        time.sleep(session.poll_seconds)


def describe(session: Session, arn: str, plan: Sequence[Step] | None = None) -> Execution:
    """The execution as it is now, with the steps that have not started where a plan names them."""
    answer = _looked_up(session, arn)
    status = answer["PipelineExecutionStatus"]
    started = {step.name: step for step in _started_steps(session, arn)}
    steps = list(started.values())
    if plan is not None:
        rest = NOT_RUN if status in ENDED else WAITING
        known = {step.name for step in plan}
        steps = [started.get(step.name) or replace(step, status=rest) for step in plan]
        steps += [step for name, step in started.items() if name not in known]
    return Execution(
        arn=arn,
        status=status,
        started=answer.get("CreationTime"),
        ended=answer.get("LastModifiedTime") if status in ENDED else None,
        failure_reason=answer.get("FailureReason"),
        steps=tuple(steps),
    )


def _looked_up(session: Session, arn: str) -> DescribePipelineExecutionResponseTypeDef:
    try:
        return session.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
    except session.sagemaker.exceptions.ResourceNotFound as error:
        pipeline, _, execution = arn.rpartition(":pipeline/")[2].partition("/execution/")
        raise CliError(
            f"Pipeline {pipeline} has no execution {execution!r}.",
            hint=f"The newest ones: {session.command('status')}",
            code="not-found",
        ) from error


def planned_steps(session: Session, arn: str) -> list[Step]:
    """All steps of the pipeline, in the order of its definition, the branches of a condition after it."""
    answer = session.sagemaker.describe_pipeline_definition_for_execution(PipelineExecutionArn=arn)
    return [Step(step["Name"], step["Type"], WAITING) for step in _flat(json.loads(answer["PipelineDefinition"]))]


def latest(session: Session, pipeline: str, count: int = 1) -> list[Execution]:
    """The newest executions of a pipeline, newest first, without their steps."""
    answer = session.sagemaker.list_pipeline_executions(
        PipelineName=pipeline, SortBy="CreationTime", SortOrder="Descending", MaxResults=count
    )
    return [
        Execution(
            arn=summary["PipelineExecutionArn"],
            status=summary["PipelineExecutionStatus"],
            started=summary.get("StartTime"),
            ended=None,
            failure_reason=summary.get("PipelineExecutionFailureReason"),
        )
        for summary in answer["PipelineExecutionSummaries"]
    ]


def choose(session: Session, pipeline: str, wanted: str | None) -> str:
    """The ARN of the execution that was named by ARN or id, or of the newest.

    Raises:
        CliError: there is none.
    """
    if wanted is None:
        runs = latest(session, pipeline)
        if not runs:
            raise CliError(
                f"Pipeline {pipeline} has no execution yet.", hint="Start one with `sagestack run`.", code="not-found"
            )
        return runs[0].arn
    if wanted.startswith("arn:"):
        return wanted
    return f"{session.sagemaker.describe_pipeline(PipelineName=pipeline)['PipelineArn']}/execution/{wanted}"


def stop(session: Session, arn: str) -> bool:
    """Asks for the end of an execution; returns whether there was anything to end."""
    if _looked_up(session, arn)["PipelineExecutionStatus"] in ENDED:
        return False
    session.sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken=str(uuid.uuid4()))
    return True


def metrics(session: Session, execution: Execution) -> dict[str, float]:
    """The numbers in the property files that the steps wrote, by their dotted paths; of a gated model, too."""
    answer = session.sagemaker.describe_pipeline_definition_for_execution(PipelineExecutionArn=execution.arn)
    files = {step["Name"]: step.get("PropertyFiles", []) for step in _flat(json.loads(answer["PipelineDefinition"]))}
    found: dict[str, float] = {}
    for step in execution.steps:
        if step.status == "Succeeded" and step.job is not None and files.get(step.name):
            outputs = processing_outputs(session, step.job.name)
            for file in files[step.name]:
                if file["OutputName"] in outputs:
                    uri = f"{outputs[file['OutputName']].rstrip('/')}/{file['FilePath']}"
                    found |= numbers(read_json(session, uri))
    return found


def processing_outputs(session: Session, job: str) -> dict[str, str]:
    """Where a processing job wrote: S3 URIs by the outputs' names."""
    answer = session.sagemaker.describe_processing_job(ProcessingJobName=job)
    outputs = answer.get("ProcessingOutputConfig", {}).get("Outputs", [])
    return {output["OutputName"]: output["S3Output"]["S3Uri"] for output in outputs if "S3Output" in output}


def read_json(session: Session, uri: str) -> Any:
    """The JSON document at an S3 URI; an empty object where there is none."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    try:
        return json.load(session.s3.get_object(Bucket=bucket, Key=key)["Body"])
    except (session.s3.exceptions.NoSuchKey, ValueError):
        return {}


def numbers(document: Any, path: str = "") -> dict[str, float]:
    """The numbers in a JSON document, by their dotted paths."""
    if isinstance(document, bool):
        return {}
    if isinstance(document, int | float):
        return {path: float(document)}
    if isinstance(document, dict):
        found: dict[str, float] = {}
        for key, value in document.items():
            found |= numbers(value, f"{path}.{key}" if path else str(key))
        return found
    return {}


def _started_steps(session: Session, arn: str) -> Iterator[Step]:
    pages = session.sagemaker.get_paginator("list_pipeline_execution_steps").paginate(
        PipelineExecutionArn=arn, SortOrder="Ascending"
    )
    for page in pages:
        for step in page["PipelineExecutionSteps"]:
            yield _step(step)


def _step(answer: PipelineExecutionStepTypeDef) -> Step:
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


def _flat(definition: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield from _flat_steps(definition.get("Steps", []))


def _flat_steps(steps: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for step in steps:
        yield step
        if step["Type"] == "Condition":
            yield from _flat_steps(step["Arguments"].get("IfSteps", []))
            yield from _flat_steps(step["Arguments"].get("ElseSteps", []))


def _fits(value: str, kind: str) -> bool:
    try:
        if kind == "Integer":
            int(value)
        elif kind == "Float":
            # A threshold that is no number, or that every number is below, would be no threshold.
            return math.isfinite(float(value))
    except ValueError:
        return False
    return kind != "Boolean" or value.lower() in ("true", "false")


def _last(arn: str | None) -> str:
    return arn.rsplit("/", 1)[1] if arn else ""
