"""What the steps of an execution wrote: where it is, and the numbers in it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sagestack.cli import pipeline_runs
from sagestack.cli.pipeline_execution import Execution

if TYPE_CHECKING:
    from sagestack.cli.session import Session


def metrics(session: Session, execution: Execution) -> dict[str, float]:
    """The numbers in the property files that the steps wrote, by their dotted paths; of a gated model, too."""
    defined = pipeline_runs.defined_steps(session, execution.arn)
    files = {step["Name"]: step.get("PropertyFiles", []) for step in defined}
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
