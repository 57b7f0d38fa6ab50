"""What the references in a pipeline definition stand for in one execution."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from local_cloud.platform import RoleRefused
from local_cloud.sagemaker.pipelines import pipeline_values
from local_cloud.sagemaker.pipelines.pipeline_definition import Definition
from local_cloud.sagemaker.pipelines.pipeline_values import ValueProblem
from local_cloud.sagemaker.store import Document


class ExecutionScope:
    """What references stand for in one execution."""

    def __init__(
        self, document: Document, definition: Definition, client: Callable[[str], Any], job_name: str | None = None
    ) -> None:
        """Look at one execution.

        Args:
            document: the execution as the store has it.
            definition: its definition.
            client: gives a client of a service, to read what is in S3.
            job_name: the name of the job that the step starts whose values are resolved.
        """
        self._document = document
        self._definition = definition
        self._client = client
        self._job_name = job_name
        self._json: dict[str, Any] = {}

    def parameter(self, name: str) -> Any:
        """See Scope."""
        return self._document["Parameters"][name]

    def execution(self, name: str) -> Any:
        """See Scope."""
        document = self._document
        if name in ("TrainingJobName", "ProcessingJobName"):
            if self._job_name is None:
                raise ValueProblem(f"Execution.{name} is known only in a step that starts a job")
            return self._job_name
        return {
            "StartDateTime": _iso_with_milliseconds(document["CreationTime"]),
            "CurrentDateTime": _iso_with_milliseconds(time.time()),
            "PipelineName": document["PipelineName"],
            "PipelineArn": document["PipelineArn"],
            "PipelineExecutionId": document["PipelineExecutionArn"].rpartition("/")[2],
            "PipelineExecutionArn": document["PipelineExecutionArn"],
        }[name]

    def step_output(self, step: str) -> Any:
        """See Scope."""
        state = self._document["Steps"].get(step, {})
        if "Output" not in state:
            raise ValueProblem(f"step '{step}' has not succeeded, so it has no properties")
        return state["Output"]

    def property_file(self, step: str, name: str) -> Any:
        """See Scope. The file is read from where the processing job uploaded its output, with the pipeline's role."""
        file = self._definition.steps[step].property_files[name]
        path: pipeline_values.Path = ["ProcessingOutputConfig", "Outputs", file.output_name, "S3Output", "S3Uri"]
        uri = pipeline_values.look_up(self.step_output(step), path, f"the result of step '{step}'")
        return self.json_object(f"{uri.rstrip('/')}/{file.file_path.lstrip('/')}")

    def json_object(self, uri: str) -> Any:
        """See Scope."""
        if uri not in self._json:
            self._json[uri] = self._read_json(uri)
        return self._json[uri]

    def _read_json(self, uri: str) -> Any:
        parts = urlsplit(uri)
        if parts.scheme != "s3" or not parts.netloc or not parts.path.strip("/"):
            raise ValueProblem(f"'{uri}' is not s3://bucket/key")
        try:
            s3 = self._client("s3")
            body = s3.get_object(Bucket=parts.netloc, Key=parts.path.lstrip("/"))["Body"].read()
        except (ClientError, BotoCoreError, RoleRefused) as error:
            raise ValueProblem(f"the property file {uri} cannot be read: {error}") from error
        try:
            return json.loads(body)
        except ValueError as error:
            raise ValueProblem(f"the property file {uri} is not JSON: {error}") from error


def _iso_with_milliseconds(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
