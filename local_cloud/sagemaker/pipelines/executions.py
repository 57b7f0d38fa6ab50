"""The operations on pipeline executions: started, stopped, retried, and described step by step."""

from __future__ import annotations

import secrets
import string
import threading
import time

from local_cloud.platform import Caller
from local_cloud.sagemaker.answers import user_context, without_nulls
from local_cloud.sagemaker.errors import ConflictError, NotEmulated, ValidationError
from local_cloud.sagemaker.pipelines import pipeline_definition, pipeline_execution, pipeline_step, pipeline_values
from local_cloud.sagemaker.pipelines.pipeline_execution import UNFINISHED, Executions
from local_cloud.sagemaker.pipelines.pipeline_records import (
    EXECUTION,
    PIPELINE,
    TOKEN,
    change_execution,
    execution_name,
    executions_of,
    find_execution,
    find_pipeline,
    keep_token,
    refuse_aliases,
    refuse_other_version,
    with_creation_times,
)
from local_cloud.sagemaker.pipelines.pipeline_scope import ExecutionScope
from local_cloud.sagemaker.service import Request, Response, Sagemaker, matching, operation, page
from local_cloud.sagemaker.store import Document, Duplicate

_ID_LETTERS = string.ascii_lowercase + string.digits
_lock = threading.Lock()


def executions_in(service: Sagemaker) -> Executions:
    """What runs here, made when it is first asked for."""
    with _lock:
        if "pipelines" not in service.background:
            service.background["pipelines"] = Executions(service, pipeline_step.run)
        executions: Executions = service.background["pipelines"]
        return executions


@operation("StartPipelineExecution")
def start_pipeline_execution(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """StartPipelineExecution: the parameters are checked against the definition, then the steps start."""
    for member in ("SelectiveExecutionConfig", "MlflowExperimentName"):
        if request.get(member):
            raise NotEmulated(f"The local cloud does not emulate {member} of StartPipelineExecution.")
    if request.get("RoleArn"):
        raise ValidationError(
            "RoleArn cannot be given: the executions of a pipeline that you create use the pipeline's role."
        )
    pipeline = find_pipeline(service, caller, request["PipelineName"])
    refuse_other_version(request, pipeline)
    token_key = f"start {pipeline['PipelineName']} {request['ClientRequestToken']}"
    if earlier := service.store.get(TOKEN, caller.account, caller.region, token_key):
        return {"PipelineExecutionArn": earlier["PipelineExecutionArn"]}
    definition = pipeline_definition.parse(pipeline["PipelineDefinition"])
    values = definition.parameter_values(request.get("PipelineParameters", []))
    now = time.time()
    execution_arn = f"{pipeline['PipelineArn']}/execution/{''.join(secrets.choice(_ID_LETTERS) for _ in range(12))}"
    parallelism = request.get("ParallelismConfiguration") or pipeline.get("ParallelismConfiguration") or {}
    document = {
        "PipelineArn": pipeline["PipelineArn"],
        "PipelineName": pipeline["PipelineName"],
        "PipelineExecutionArn": execution_arn,
        "DisplayName": request.get("PipelineExecutionDisplayName", f"execution-{int(now * 1000)}"),
        "Description": request.get("PipelineExecutionDescription", ""),
        "Status": "Executing",
        "CreationTime": now,
        "LastModifiedTime": now,
        "CreatedBy": user_context(caller),
        "LastModifiedBy": user_context(caller),
        "MaxParallelExecutionSteps": parallelism.get("MaxParallelExecutionSteps"),
        "VersionId": pipeline["VersionId"],
        "RoleArn": pipeline["RoleArn"],
        "Definition": pipeline["PipelineDefinition"],
        "Parameters": values,
        "Steps": {},
    }
    try:
        scope = ExecutionScope(document, definition, lambda name: service.platform.client(name, caller.region))
        document["ExperimentConfig"] = pipeline_values.resolve(dict(definition.experiment), scope) or None
    except pipeline_values.ValueProblem as problem:
        raise ValidationError(f"PipelineExperimentConfig: {problem}") from problem
    try:
        with service.store.undisturbed():
            with service.store.transaction():
                keep_token(service, caller, token_key, pipeline["PipelineName"], execution_arn)
                service.store.insert(EXECUTION, caller.account, caller.region, execution_name(execution_arn), document)
                service.store.update(
                    PIPELINE,
                    caller.account,
                    caller.region,
                    pipeline["PipelineName"],
                    lambda found: found.update(LastRunTime=now),
                )
            pipeline_execution.send_execution_event(service, caller.account, caller.region, document, None)
    except Duplicate:
        # Another thread has just answered the same request.
        return start_pipeline_execution(service, caller, request)
    executions_in(service).run(caller.account, caller.region, execution_name(execution_arn))
    return {"PipelineExecutionArn": execution_arn}


@operation("StopPipelineExecution")
def stop_pipeline_execution(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """StopPipelineExecution: running jobs are stopped, no step starts any more."""
    execution_arn = request["PipelineExecutionArn"]
    was: list[str] = []

    def change(document: Document) -> None:
        was.append(document["Status"])
        if document["Status"] not in UNFINISHED:
            raise ValidationError(
                f"Pipeline execution with ARN {execution_arn} has status '{document['Status']}'. Only pipeline "
                "executions with status 'Executing' can be stopped."
            )
        document["Status"] = "Stopping"
        document["LastModifiedTime"] = time.time()
        document["LastModifiedBy"] = user_context(caller)

    with service.store.undisturbed():
        document = change_execution(service, caller, execution_arn, change)
        if was[0] != "Stopping":
            pipeline_execution.send_execution_event(service, caller.account, caller.region, document, was[0])
    executions_in(service).run(caller.account, caller.region, execution_name(execution_arn))
    executions_in(service).wake(caller.account, caller.region, execution_name(execution_arn))
    return {"PipelineExecutionArn": execution_arn}


@operation("RetryPipelineExecution")
def retry_pipeline_execution(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """RetryPipelineExecution: what failed or was stopped runs again, what succeeded is kept."""
    execution_arn = request["PipelineExecutionArn"]
    token_key = f"retry {execution_arn} {request['ClientRequestToken']}"
    was: list[str] = []

    def change(document: Document) -> None:
        was.append(document["Status"])
        if document["Status"] not in ("Failed", "Stopped"):
            raise ConflictError(
                f"Pipeline execution with ARN {execution_arn} has status '{document['Status']}'. Only pipeline "
                "executions with status 'Failed' or 'Stopped' can be retried."
            )
        document["Steps"] = {name: state for name, state in document["Steps"].items() if state["Status"] == "Succeeded"}
        parallelism = request.get("ParallelismConfiguration") or {}
        if parallelism:
            document["MaxParallelExecutionSteps"] = parallelism["MaxParallelExecutionSteps"]
        document["Status"] = "Executing"
        document["LastModifiedTime"] = time.time()
        document["LastModifiedBy"] = user_context(caller)
        document.pop("FailureReason", None)
        document.pop("EndTime", None)

    with service.store.undisturbed():
        with service.store.transaction():
            if service.store.get(TOKEN, caller.account, caller.region, token_key):
                return {"PipelineExecutionArn": execution_arn}
            document = change_execution(service, caller, execution_arn, change)
            keep_token(service, caller, token_key, document["PipelineName"], execution_arn)
        pipeline_execution.send_execution_event(service, caller.account, caller.region, document, was[0])
    executions_in(service).run(caller.account, caller.region, execution_name(execution_arn))
    return {"PipelineExecutionArn": execution_arn}


@operation("UpdatePipelineExecution")
def update_pipeline_execution(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """UpdatePipelineExecution: its names and how many steps run at a time."""

    def change(document: Document) -> None:
        if "PipelineExecutionDisplayName" in request:
            document["DisplayName"] = request["PipelineExecutionDisplayName"]
        if "PipelineExecutionDescription" in request:
            document["Description"] = request["PipelineExecutionDescription"]
        if parallelism := request.get("ParallelismConfiguration"):
            document["MaxParallelExecutionSteps"] = parallelism["MaxParallelExecutionSteps"]
        document["LastModifiedTime"] = time.time()
        document["LastModifiedBy"] = user_context(caller)

    execution_arn = request["PipelineExecutionArn"]
    change_execution(service, caller, execution_arn, change)
    executions_in(service).wake(caller.account, caller.region, execution_name(execution_arn))
    return {"PipelineExecutionArn": execution_arn}


@operation("DescribePipelineExecution")
def describe_pipeline_execution(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DescribePipelineExecution."""
    document = find_execution(service, caller, request["PipelineExecutionArn"])
    response = {
        "PipelineArn": document["PipelineArn"],
        "PipelineExecutionArn": document["PipelineExecutionArn"],
        "PipelineExecutionDisplayName": document["DisplayName"],
        "PipelineExecutionStatus": document["Status"],
        "PipelineExecutionDescription": document["Description"],
        "PipelineExperimentConfig": document.get("ExperimentConfig"),
        "FailureReason": document.get("FailureReason"),
        "CreationTime": document["CreationTime"],
        "LastModifiedTime": document["LastModifiedTime"],
        "CreatedBy": document["CreatedBy"],
        "LastModifiedBy": document["LastModifiedBy"],
        "PipelineVersionId": document["VersionId"],
    }
    if document.get("MaxParallelExecutionSteps"):
        response["ParallelismConfiguration"] = {"MaxParallelExecutionSteps": document["MaxParallelExecutionSteps"]}
    return without_nulls(response)


@operation("ListPipelineExecutions")
def list_pipeline_executions(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """ListPipelineExecutions."""
    refuse_aliases(request, "PipelineVersionAlias")
    pipeline = find_pipeline(service, caller, request["PipelineName"])
    kept = matching(
        executions_of(service, caller, pipeline), with_creation_times(request), name_key="PipelineExecutionArn"
    )
    summaries = [
        without_nulls(
            {
                "PipelineExecutionArn": document["PipelineExecutionArn"],
                "StartTime": document["CreationTime"],
                "PipelineExecutionStatus": document["Status"],
                "PipelineExecutionDescription": document["Description"],
                "PipelineExecutionDisplayName": document["DisplayName"],
                "PipelineExecutionFailureReason": document.get("FailureReason"),
            }
        )
        for document in kept
    ]
    return page(summaries, request, "PipelineExecutionSummaries")


@operation("ListPipelineExecutionSteps")
def list_pipeline_execution_steps(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """ListPipelineExecutionSteps: the steps that have started, the latest first."""
    if not request.get("PipelineExecutionArn"):
        raise ValidationError("PipelineExecutionArn must be given.")
    document = find_execution(service, caller, request["PipelineExecutionArn"])
    definition = pipeline_definition.parse(document["Definition"])
    started = sorted(
        document["Steps"].items(),
        key=lambda item: (item[1]["StartTime"], item[1]["Order"]),
        reverse=request.get("SortOrder", "Descending") == "Descending",
    )
    members = ("StartTime", "EndTime", "CacheHitResult", "FailureReason", "AttemptCount")
    steps = [
        without_nulls(
            {
                "StepName": name,
                "StepDisplayName": definition.steps[name].display_name,
                "StepDescription": definition.steps[name].description,
                "StepStatus": state["Status"],
                "Metadata": state.get("Metadata", {}),
                **{member: state.get(member) for member in members},
            }
        )
        for name, state in started
    ]
    return page(steps, request, "PipelineExecutionSteps", default_size=50)


@operation("ListPipelineParametersForExecution")
def list_pipeline_parameters_for_execution(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """ListPipelineParametersForExecution: all parameters, those with their default value too."""
    document = find_execution(service, caller, request["PipelineExecutionArn"])
    parameters = [
        {"Name": name, "Value": pipeline_values.as_text(value)} for name, value in document["Parameters"].items()
    ]
    return page(parameters, request, "PipelineParameters", default_size=50)


@operation("DescribePipelineDefinitionForExecution")
def describe_pipeline_definition_for_execution(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DescribePipelineDefinitionForExecution."""
    document = find_execution(service, caller, request["PipelineExecutionArn"])
    return {"PipelineDefinition": document["Definition"], "CreationTime": document["CreationTime"]}
