"""The pipeline operations of the SageMaker API: pipelines, their executions, and the steps of those."""

from __future__ import annotations

import logging
import re
import secrets
import string
import threading
import time
from typing import Any

from botocore.exceptions import ClientError

from local_cloud.platform import Caller
from local_cloud.sagemaker import (
    events,
    notifications,
    pipeline_definition,
    pipeline_execution,
    pipeline_step,
    pipeline_values,
    tags,
)
from local_cloud.sagemaker import registry as registry  # RegisterModel steps call its operations
from local_cloud.sagemaker.errors import ConflictError, NotEmulated, ResourceNotFound, ValidationError
from local_cloud.sagemaker.pipeline_execution import UNFINISHED, Executions
from local_cloud.sagemaker.pipeline_scope import ExecutionScope
from local_cloud.sagemaker.service import Request, Response, Sagemaker, arn, matching, name_of, operation, page
from local_cloud.sagemaker.store import Document, Duplicate

PIPELINE = "pipeline"
EXECUTION = pipeline_execution.KIND
TOKEN = "pipeline-token"  # noqa: S105 - the kind of a document

FLUSH_S = 1.0
"""How long a shutdown waits for events on their way: a rule's target may be a function that runs for minutes."""

_ID_LETTERS = string.ascii_lowercase + string.digits
_lock = threading.Lock()
logger = logging.getLogger(__name__)


def start(service: Sagemaker) -> None:
    """Go on with every execution that an earlier process of this cloud left unfinished."""
    executions = _executions(service)
    for account, region, document in service.store.everywhere(EXECUTION):
        if document["Status"] in UNFINISHED:
            try:
                executions.run(account, region, _key(document["PipelineExecutionArn"]))
            except Exception:
                # One execution that cannot go on must not keep the cloud from starting.
                logger.exception("%s cannot be resumed", document["PipelineExecutionArn"])


def stop(service: Sagemaker) -> None:
    """Leave the running executions as they are, to be resumed by the next `start`."""
    _executions(service).close()
    events.flush(service, FLUSH_S)


@operation("CreatePipeline")
def create_pipeline(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """CreatePipeline: the definition is checked now, not when it runs."""
    _refuse_aliases(request, "PipelineVersionAliases")
    name = request["PipelineName"]
    pipeline_arn = arn(caller, f"pipeline/{name}")
    definition = _definition_text(service, caller, request)
    if definition is None:
        raise ValidationError("Either PipelineDefinition or PipelineDefinitionS3Location must be given.")
    pipeline_definition.parse(definition)
    service.check_pass_role(caller, request["RoleArn"])
    now = time.time()
    document = {
        "PipelineArn": pipeline_arn,
        "PipelineName": name,
        "PipelineDisplayName": request.get("PipelineDisplayName", name),
        "PipelineDefinition": definition,
        "PipelineDescription": request.get("PipelineDescription"),
        "RoleArn": request["RoleArn"],
        "PipelineStatus": "Active",
        "CreationTime": now,
        "LastModifiedTime": now,
        "CreatedBy": _user(caller),
        "LastModifiedBy": _user(caller),
        "ParallelismConfiguration": request.get("ParallelismConfiguration"),
        "VersionId": 1,
        "Token": request["ClientRequestToken"],
    }
    try:
        with service.store.transaction():
            service.store.insert(PIPELINE, caller.account, caller.region, name, document)
            tags.save(service, caller, pipeline_arn, request.get("Tags"))
    except Duplicate:
        if _pipeline(service, caller, name)["Token"] != request["ClientRequestToken"]:
            raise ValidationError(
                "Pipeline names must be unique within an AWS account and region. Pipeline with name "
                f"({name}) already exists."
            ) from None
    return {"PipelineArn": pipeline_arn}


@operation("UpdatePipeline")
def update_pipeline(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """UpdatePipeline: executions that run keep the definition that they started with."""
    _refuse_aliases(request, "PipelineVersionAliases")
    _pipeline(service, caller, request["PipelineName"])
    definition = _definition_text(service, caller, request)
    if definition is not None:
        pipeline_definition.parse(definition)
    if "RoleArn" in request:
        service.check_pass_role(caller, request["RoleArn"])

    def change(document: Document) -> None:
        for member in ("PipelineDisplayName", "PipelineDescription", "RoleArn", "ParallelismConfiguration"):
            if request.get(member) is not None:
                document[member] = request[member]
        if definition is not None and definition != document["PipelineDefinition"]:
            document["PipelineDefinition"] = definition
            document["VersionId"] += 1
        document["LastModifiedTime"] = time.time()
        document["LastModifiedBy"] = _user(caller)

    document = service.store.update(PIPELINE, caller.account, caller.region, request["PipelineName"], change)
    if document is None:
        raise _no_pipeline(caller, request["PipelineName"])
    return {"PipelineArn": document["PipelineArn"], "PipelineVersionId": document["VersionId"]}


@operation("DeletePipeline")
def delete_pipeline(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DeletePipeline, with its executions; refuses while one runs."""
    with service.store.transaction():
        pipeline = _pipeline(service, caller, request["PipelineName"])
        found = _executions_of(service, caller, pipeline)
        if running := [item["PipelineExecutionArn"] for item in found if item["Status"] in UNFINISHED]:
            raise ConflictError(
                f"Pipeline '{pipeline['PipelineArn']}' has running executions: {', '.join(running)}. Stop them first."
            )
        for token in service.store.list(TOKEN, caller.account, caller.region):
            if token["PipelineName"] == pipeline["PipelineName"]:
                service.store.delete(TOKEN, caller.account, caller.region, token["Key"])
        for document in found:
            service.store.delete(EXECUTION, caller.account, caller.region, _key(document["PipelineExecutionArn"]))
        service.store.delete(PIPELINE, caller.account, caller.region, pipeline["PipelineName"])
        tags.forget(service, caller, pipeline["PipelineArn"])
    return {"PipelineArn": pipeline["PipelineArn"]}


@operation("DescribePipeline")
def describe_pipeline(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DescribePipeline: its current version."""
    pipeline = _pipeline(service, caller, request["PipelineName"])
    _refuse_other_version(request, pipeline)
    return _without_nulls({key: value for key, value in pipeline.items() if key not in ("VersionId", "Token")})


@operation("ListPipelines")
def list_pipelines(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """ListPipelines."""
    if request.get("ManagedBy") == "AWS":
        return {"PipelineSummaries": []}
    prefix = request.get("PipelineNamePrefix", "")
    found = [
        pipeline
        for pipeline in service.store.list(PIPELINE, caller.account, caller.region)
        if pipeline["PipelineName"].startswith(prefix)
    ]
    members = ("PipelineArn", "PipelineName", "PipelineDisplayName", "PipelineDescription", "RoleArn", "CreationTime")
    summaries = [
        _without_nulls(
            {
                **{member: pipeline[member] for member in members},
                "LastModifiedTime": pipeline["LastModifiedTime"],
                "LastExecutionTime": pipeline.get("LastRunTime"),
            }
        )
        for pipeline in matching(found, _with_creation_times(request), name_key="PipelineName")
    ]
    return page(summaries, request, "PipelineSummaries")


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
    pipeline = _pipeline(service, caller, request["PipelineName"])
    _refuse_other_version(request, pipeline)
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
        "CreatedBy": _user(caller),
        "LastModifiedBy": _user(caller),
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
        with service.store.transaction():
            _keep_token(service, caller, token_key, pipeline["PipelineName"], execution_arn)
            service.store.insert(EXECUTION, caller.account, caller.region, _key(execution_arn), document)
            service.store.update(
                PIPELINE,
                caller.account,
                caller.region,
                pipeline["PipelineName"],
                lambda found: found.update(LastRunTime=now),
            )
    except Duplicate:
        # Another thread has just answered the same request.
        return start_pipeline_execution(service, caller, request)
    pipeline_execution.send_execution_event(service, caller.account, caller.region, document, None)
    _executions(service).run(caller.account, caller.region, _key(execution_arn))
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
        document["LastModifiedBy"] = _user(caller)

    document = _change_execution(service, caller, execution_arn, change)
    if was[0] != "Stopping":
        pipeline_execution.send_execution_event(service, caller.account, caller.region, document, was[0])
    _executions(service).run(caller.account, caller.region, _key(execution_arn))
    _executions(service).wake(caller.account, caller.region, _key(execution_arn))
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
        document["LastModifiedBy"] = _user(caller)
        document.pop("FailureReason", None)
        document.pop("EndTime", None)

    with service.store.transaction():
        if service.store.get(TOKEN, caller.account, caller.region, token_key):
            return {"PipelineExecutionArn": execution_arn}
        document = _change_execution(service, caller, execution_arn, change)
        _keep_token(service, caller, token_key, document["PipelineName"], execution_arn)
    pipeline_execution.send_execution_event(service, caller.account, caller.region, document, was[0])
    _executions(service).run(caller.account, caller.region, _key(execution_arn))
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
        document["LastModifiedBy"] = _user(caller)

    execution_arn = request["PipelineExecutionArn"]
    _change_execution(service, caller, execution_arn, change)
    _executions(service).wake(caller.account, caller.region, _key(execution_arn))
    return {"PipelineExecutionArn": execution_arn}


@operation("DescribePipelineExecution")
def describe_pipeline_execution(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DescribePipelineExecution."""
    document = _execution(service, caller, request["PipelineExecutionArn"])
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
    return _without_nulls(response)


@operation("ListPipelineExecutions")
def list_pipeline_executions(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """ListPipelineExecutions."""
    _refuse_aliases(request, "PipelineVersionAlias")
    pipeline = _pipeline(service, caller, request["PipelineName"])
    kept = matching(
        _executions_of(service, caller, pipeline), _with_creation_times(request), name_key="PipelineExecutionArn"
    )
    summaries = [
        _without_nulls(
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
    document = _execution(service, caller, request["PipelineExecutionArn"])
    definition = pipeline_definition.parse(document["Definition"])
    started = sorted(
        document["Steps"].items(),
        key=lambda item: (item[1]["StartTime"], item[1]["Order"]),
        reverse=request.get("SortOrder", "Descending") == "Descending",
    )
    members = ("StartTime", "EndTime", "CacheHitResult", "FailureReason", "AttemptCount")
    steps = [
        _without_nulls(
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
    document = _execution(service, caller, request["PipelineExecutionArn"])
    parameters = [
        {"Name": name, "Value": pipeline_values.as_text(value)} for name, value in document["Parameters"].items()
    ]
    return page(parameters, request, "PipelineParameters", default_size=50)


@operation("DescribePipelineDefinitionForExecution")
def describe_pipeline_definition_for_execution(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DescribePipelineDefinitionForExecution."""
    document = _execution(service, caller, request["PipelineExecutionArn"])
    return {"PipelineDefinition": document["Definition"], "CreationTime": document["CreationTime"]}


def _executions(service: Sagemaker) -> Executions:
    with _lock:
        if "pipelines" not in service.background:
            service.background["pipelines"] = Executions(service, pipeline_step.run)
        executions: Executions = service.background["pipelines"]
        return executions


def _keep_token(service: Sagemaker, caller: Caller, key: str, pipeline_name: str, execution_arn: str) -> None:
    """Remember what a request with a ClientRequestToken was answered, for as long as the pipeline is there."""
    document = {"Key": key, "PipelineName": pipeline_name, "PipelineExecutionArn": execution_arn}
    service.store.insert(TOKEN, caller.account, caller.region, key, document)


def _key(execution_arn: str) -> str:
    """The name of an execution's document: `<pipeline>/<execution id>`."""
    return re.sub(r"^.*:pipeline/(.+)/execution/(.+)$", r"\1/\2", execution_arn)


def _pipeline(service: Sagemaker, caller: Caller, arn_or_name: str) -> Document:
    pipeline = service.store.get(PIPELINE, caller.account, caller.region, name_of(arn_or_name))
    if pipeline is None:
        raise _no_pipeline(caller, arn_or_name)
    return pipeline


def _no_pipeline(caller: Caller, arn_or_name: str) -> ResourceNotFound:
    return ResourceNotFound(f"Pipeline '{arn(caller, f'pipeline/{name_of(arn_or_name)}')}' does not exist.")


def _execution(service: Sagemaker, caller: Caller, execution_arn: str) -> Document:
    document = service.store.get(EXECUTION, caller.account, caller.region, _key(execution_arn))
    if document is None:
        raise _no_execution(execution_arn)
    return document


def _no_execution(execution_arn: str) -> ResourceNotFound:
    return ResourceNotFound(f"Pipeline execution with ARN {execution_arn} does not exist.")


def _change_execution(service: Sagemaker, caller: Caller, execution_arn: str, change: Any) -> Document:
    document = service.store.update(EXECUTION, caller.account, caller.region, _key(execution_arn), change)
    if document is None:
        raise _no_execution(execution_arn)
    notifications.publish(EXECUTION, execution_arn)
    return document


def _executions_of(service: Sagemaker, caller: Caller, pipeline: Document) -> list[Document]:
    return [
        document
        for document in service.store.list(EXECUTION, caller.account, caller.region)
        if document["PipelineArn"] == pipeline["PipelineArn"]
    ]


def _definition_text(service: Sagemaker, caller: Caller, request: Request) -> str | None:
    """The definition that a request carries or points at; None if it does neither.

    Raises:
        ValidationError: it does both, or the object cannot be read by the caller.
    """
    location = request.get("PipelineDefinitionS3Location")
    if location is None:
        return request.get("PipelineDefinition")
    if request.get("PipelineDefinition") is not None:
        raise ValidationError("Only one of PipelineDefinition and PipelineDefinitionS3Location can be given.")
    bucket, key = location["Bucket"], location["ObjectKey"]
    where = f"s3://{bucket}/{key}"
    if denial := service.platform.denied(caller, "s3:GetObject", f"arn:aws:s3:::{bucket}/{key}", {}):
        raise ValidationError(f"Unable to access pipeline definition at {where}. {denial}")
    version = {"VersionId": location["VersionId"]} if location.get("VersionId") else {}
    try:
        answer = service.platform.client("s3", caller.region).get_object(Bucket=bucket, Key=key, **version)
        return str(answer["Body"].read().decode())
    except (ClientError, UnicodeDecodeError) as error:
        raise ValidationError(f"Unable to access pipeline definition at {where}. {error}") from error


def _refuse_aliases(request: Request, member: str) -> None:
    if request.get(member):
        raise NotEmulated(f"The local cloud does not emulate aliases of pipeline versions ({member}).")


def _refuse_other_version(request: Request, pipeline: Document) -> None:
    _refuse_aliases(request, "PipelineVersionAlias")
    if request.get("PipelineVersionId", pipeline["VersionId"]) != pipeline["VersionId"]:
        raise NotEmulated(
            f"The local cloud keeps the current version of a pipeline only: {pipeline['PipelineName']} is at "
            f"PipelineVersionId {pipeline['VersionId']}, {request['PipelineVersionId']} was asked for."
        )


def _with_creation_times(request: Request) -> Request:
    """Pipelines' lists call CreatedAfter what other lists call CreationTimeAfter."""
    renamed = {"CreatedAfter": "CreationTimeAfter", "CreatedBefore": "CreationTimeBefore"}
    return {renamed.get(key, key): value for key, value in request.items()}


def _user(caller: Caller) -> Document:
    return {"IamIdentity": {"Arn": caller.arn}}


def _without_nulls(document: Document) -> Document:
    return {key: value for key, value in document.items() if value is not None}
