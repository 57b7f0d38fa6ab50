"""The documents of pipelines, of their executions, and of the tokens by which a repeated request is known."""

from __future__ import annotations

import re
from collections.abc import Callable

from local_cloud.platform import Caller
from local_cloud.sagemaker import notifications
from local_cloud.sagemaker.errors import NotEmulated, ResourceNotFound
from local_cloud.sagemaker.pipelines import pipeline_execution
from local_cloud.sagemaker.service import Request, Sagemaker, arn, name_of
from local_cloud.sagemaker.store import Document

PIPELINE = "pipeline"
EXECUTION = pipeline_execution.KIND
TOKEN = "pipeline-token"  # noqa: S105 - the kind of a document


def keep_token(service: Sagemaker, caller: Caller, key: str, pipeline_name: str, execution_arn: str) -> None:
    """Remember what a request with a ClientRequestToken was answered, for as long as the pipeline is there."""
    document = {"Key": key, "PipelineName": pipeline_name, "PipelineExecutionArn": execution_arn}
    service.store.insert(TOKEN, caller.account, caller.region, key, document)


def execution_name(execution_arn: str) -> str:
    """The name of an execution's document: `<pipeline>/<execution id>`."""
    return re.sub(r"^.*:pipeline/(.+)/execution/(.+)$", r"\1/\2", execution_arn)


def find_pipeline(service: Sagemaker, caller: Caller, arn_or_name: str) -> Document:
    """A pipeline, by its ARN or name.

    Raises:
        ResourceNotFound: there is none.
    """
    pipeline = service.store.get(PIPELINE, caller.account, caller.region, name_of(arn_or_name))
    if pipeline is None:
        raise no_pipeline(caller, arn_or_name)
    return pipeline


def no_pipeline(caller: Caller, arn_or_name: str) -> ResourceNotFound:
    """The error for a pipeline that is not there."""
    return ResourceNotFound(f"Pipeline '{arn(caller, f'pipeline/{name_of(arn_or_name)}')}' does not exist.")


def find_execution(service: Sagemaker, caller: Caller, execution_arn: str) -> Document:
    """An execution.

    Raises:
        ResourceNotFound: there is none.
    """
    document = service.store.get(EXECUTION, caller.account, caller.region, execution_name(execution_arn))
    if document is None:
        raise _no_execution(execution_arn)
    return document


def _no_execution(execution_arn: str) -> ResourceNotFound:
    return ResourceNotFound(f"Pipeline execution with ARN {execution_arn} does not exist.")


def change_execution(
    service: Sagemaker, caller: Caller, execution_arn: str, change: Callable[[Document], None]
) -> Document:
    """Change an execution in the store, and wake who waits for it.

    Raises:
        ResourceNotFound: there is none.
    """
    document = service.store.update(EXECUTION, caller.account, caller.region, execution_name(execution_arn), change)
    if document is None:
        raise _no_execution(execution_arn)
    notifications.publish(EXECUTION, execution_arn)
    return document


def executions_of(service: Sagemaker, caller: Caller, pipeline: Document) -> list[Document]:
    """The executions of a pipeline, oldest first."""
    return [
        document
        for document in service.store.list(EXECUTION, caller.account, caller.region)
        if document["PipelineArn"] == pipeline["PipelineArn"]
    ]


def refuse_aliases(request: Request, member: str) -> None:
    """Refuse a member that names an alias of a version.

    Raises:
        NotEmulated: it is given.
    """
    if request.get(member):
        raise NotEmulated(f"The local cloud does not emulate aliases of pipeline versions ({member}).")


def refuse_other_version(request: Request, pipeline: Document) -> None:
    """Refuse a request for another version than the current one.

    Raises:
        NotEmulated: it asks for one.
    """
    refuse_aliases(request, "PipelineVersionAlias")
    if request.get("PipelineVersionId", pipeline["VersionId"]) != pipeline["VersionId"]:
        raise NotEmulated(
            f"The local cloud keeps the current version of a pipeline only: {pipeline['PipelineName']} is at "
            f"PipelineVersionId {pipeline['VersionId']}, {request['PipelineVersionId']} was asked for."
        )


def with_creation_times(request: Request) -> Request:
    """Pipelines' lists call CreatedAfter what other lists call CreationTimeAfter."""
    renamed = {"CreatedAfter": "CreationTimeAfter", "CreatedBefore": "CreationTimeBefore"}
    return {renamed.get(key, key): value for key, value in request.items()}
