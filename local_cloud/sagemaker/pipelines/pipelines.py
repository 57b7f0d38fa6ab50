"""The pipeline operations of the SageMaker API, and what of pipelines starts and stops with the local cloud."""

from __future__ import annotations

import logging
import time

from botocore.exceptions import ClientError

from local_cloud.platform import Caller
from local_cloud.sagemaker import events, tags
from local_cloud.sagemaker import registry as registry  # RegisterModel steps call its operations
from local_cloud.sagemaker.answers import user_context, without_nulls
from local_cloud.sagemaker.errors import ConflictError, ValidationError
from local_cloud.sagemaker.pipelines import pipeline_definition
from local_cloud.sagemaker.pipelines.executions import executions_in
from local_cloud.sagemaker.pipelines.pipeline_execution import UNFINISHED, send_execution_event
from local_cloud.sagemaker.pipelines.pipeline_records import (
    EXECUTION,
    PIPELINE,
    TOKEN,
    change_execution,
    execution_name,
    executions_of,
    find_pipeline,
    no_pipeline,
    refuse_aliases,
    refuse_other_version,
    with_creation_times,
)
from local_cloud.sagemaker.service import Request, Response, Sagemaker, arn, matching, operation, page
from local_cloud.sagemaker.store import Document, Duplicate

FLUSH_S = 1.0
"""How long a shutdown waits for events on their way: a rule's target may be a function that runs for minutes."""

logger = logging.getLogger(__name__)


def start(service: Sagemaker) -> None:
    """Go on with every execution that an earlier process of this cloud left unfinished."""
    executions = executions_in(service)
    for account, region, document in service.store.everywhere(EXECUTION):
        if document["Status"] in UNFINISHED:
            try:
                executions.run(account, region, execution_name(document["PipelineExecutionArn"]))
            except Exception:
                # One execution that cannot go on must not keep the cloud from starting, nor its pipeline from being deleted.
                logger.exception("%s cannot be resumed", document["PipelineExecutionArn"])
                _give_up(service, account, region, document)


def _give_up(service: Sagemaker, account: str, region: str, document: Document) -> None:
    def change(found: Document) -> None:
        found["Status"] = "Failed"
        found["FailureReason"] = "InternalServerError: The local cloud could not go on with it; see its log."
        found["EndTime"] = found["LastModifiedTime"] = time.time()

    caller = Caller(account=account, region=region, arn=f"arn:aws:iam::{account}:root")
    ended = change_execution(service, caller, document["PipelineExecutionArn"], change)
    send_execution_event(service, account, region, ended, document["Status"])


def stop(service: Sagemaker) -> None:
    """Leave the running executions as they are, to be resumed by the next `start`."""
    executions_in(service).close()
    events.flush(service, FLUSH_S)


@operation("CreatePipeline")
def create_pipeline(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """CreatePipeline: the definition is checked now, not when it runs."""
    refuse_aliases(request, "PipelineVersionAliases")
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
        "CreatedBy": user_context(caller),
        "LastModifiedBy": user_context(caller),
        "ParallelismConfiguration": request.get("ParallelismConfiguration"),
        "VersionId": 1,
        "Token": request["ClientRequestToken"],
    }
    try:
        with service.store.transaction():
            service.store.insert(PIPELINE, caller.account, caller.region, name, document)
            tags.save(service, caller, pipeline_arn, request.get("Tags"))
    except Duplicate:
        if find_pipeline(service, caller, name)["Token"] != request["ClientRequestToken"]:
            raise ValidationError(
                "Pipeline names must be unique within an AWS account and region. Pipeline with name "
                f"({name}) already exists."
            ) from None
    return {"PipelineArn": pipeline_arn}


@operation("UpdatePipeline")
def update_pipeline(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """UpdatePipeline: executions that run keep the definition that they started with."""
    refuse_aliases(request, "PipelineVersionAliases")
    find_pipeline(service, caller, request["PipelineName"])
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
        document["LastModifiedBy"] = user_context(caller)

    document = service.store.update(PIPELINE, caller.account, caller.region, request["PipelineName"], change)
    if document is None:
        raise no_pipeline(caller, request["PipelineName"])
    return {"PipelineArn": document["PipelineArn"], "PipelineVersionId": document["VersionId"]}


@operation("DeletePipeline")
def delete_pipeline(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DeletePipeline, with its executions; refuses while one runs."""
    with service.store.transaction():
        pipeline = find_pipeline(service, caller, request["PipelineName"])
        found = executions_of(service, caller, pipeline)
        if running := [item["PipelineExecutionArn"] for item in found if item["Status"] in UNFINISHED]:
            raise ConflictError(
                f"Pipeline '{pipeline['PipelineArn']}' has running executions: {', '.join(running)}. Stop them first."
            )
        for token in service.store.list(TOKEN, caller.account, caller.region):
            if token["PipelineName"] == pipeline["PipelineName"]:
                service.store.delete(TOKEN, caller.account, caller.region, token["Key"])
        for document in found:
            service.store.delete(
                EXECUTION, caller.account, caller.region, execution_name(document["PipelineExecutionArn"])
            )
        service.store.delete(PIPELINE, caller.account, caller.region, pipeline["PipelineName"])
        tags.forget(service, caller, pipeline["PipelineArn"])
    return {"PipelineArn": pipeline["PipelineArn"]}


@operation("DescribePipeline")
def describe_pipeline(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DescribePipeline: its current version."""
    pipeline = find_pipeline(service, caller, request["PipelineName"])
    refuse_other_version(request, pipeline)
    return without_nulls({key: value for key, value in pipeline.items() if key not in ("VersionId", "Token")})


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
        without_nulls(
            {
                **{member: pipeline[member] for member in members},
                "LastModifiedTime": pipeline["LastModifiedTime"],
                "LastExecutionTime": pipeline.get("LastRunTime"),
            }
        )
        for pipeline in matching(found, with_creation_times(request), name_key="PipelineName")
    ]
    return page(summaries, request, "PipelineSummaries")


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
