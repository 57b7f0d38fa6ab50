"""Starts, watches and stops executions of a model's pipeline."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sagestack.cli.errors import CliError
from sagestack.cli.pipeline_execution import ENDED, NOT_RUN, WAITING, Execution, Step, step_of

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import DescribePipelineExecutionResponseTypeDef

    from sagestack.cli.session import Session


def pipeline_name(session: Session, model: str) -> str:
    """The name of a model's pipeline.

    Raises:
        CliError: the environment is not deployed.
    """
    return session.parameter(session.names.model(model).pipeline_name_parameter, f"pipeline for {model}")


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


def planned_steps(session: Session, arn: str) -> list[Step]:
    """All steps of the pipeline, in the order of its definition, the branches of a condition after it."""
    return [Step(step["Name"], step["Type"], WAITING) for step in defined_steps(session, arn)]


def defined_steps(session: Session, arn: str) -> Iterator[dict[str, Any]]:
    """The steps as the pipeline's definition has them that an execution was started with, in the same order."""
    answer = session.sagemaker.describe_pipeline_definition_for_execution(PipelineExecutionArn=arn)
    return _flat_steps(json.loads(answer["PipelineDefinition"]).get("Steps", []))


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


def _started_steps(session: Session, arn: str) -> Iterator[Step]:
    pages = session.sagemaker.get_paginator("list_pipeline_execution_steps").paginate(
        PipelineExecutionArn=arn, SortOrder="Ascending"
    )
    for page in pages:
        for step in page["PipelineExecutionSteps"]:
            yield step_of(step)


def _flat_steps(steps: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for step in steps:
        yield step
        if step["Type"] == "Condition":
            yield from _flat_steps(step["Arguments"].get("IfSteps", []))
            yield from _flat_steps(step["Arguments"].get("ElseSteps", []))
