"""The job steps of an `AWS::SageMaker::Pipeline`, wherever its definition nests them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sagestack.review.assembly import Resource
from sagestack.review.intrinsics import as_text
from sagestack.review.rules.own.values import UNKNOWN

TYPE = "AWS::SageMaker::Pipeline"


@dataclass(frozen=True)
class Job:
    """One kind of job that a step starts.

    Attributes:
        name: of the step.
        type: `Training`, `Processing`, `Tuning`, `Transform`.
        request: what the step sends to SageMaker; a tuning step's training definition.
        cluster: where its instances and volumes are described; empty where the step leaves that open.
        defaults: of the pipeline's parameters.
    """

    name: str
    type: str
    request: Mapping[str, Any]
    cluster: Mapping[str, Any]
    defaults: Mapping[str, Any]

    def value(self, written: Any) -> Any:
        """A parameter's default for a reference to it, `UNKNOWN` for any other reference, else what is written."""
        match written:
            case {"Get": str(name)}:
                return self.defaults.get(name.removeprefix("Parameters."), UNKNOWN)
            case Mapping() if any(key.startswith("Std:") for key in written):
                return UNKNOWN
            case str() if written.startswith("<"):
                return UNKNOWN
        return written


def jobs(pipeline: Resource) -> Iterator[Job]:
    """The jobs of a pipeline whose definition stands in the template; nothing for one that lies in S3."""
    definition = _definition(pipeline)
    defaults = {
        parameter["Name"]: parameter["DefaultValue"]
        for parameter in definition.get("Parameters", [])
        if "DefaultValue" in parameter
    }
    for step in _steps(definition.get("Steps", [])):
        request = step.get("Arguments", {})
        for kind, each in _requests(step.get("Type", ""), request):
            yield Job(str(step.get("Name")), kind, each, _cluster(kind, each), defaults)


def _definition(pipeline: Resource) -> dict[str, Any]:
    written = pipeline.properties.get("PipelineDefinition", {})
    if not isinstance(written, Mapping) or "PipelineDefinitionBody" not in written:
        return {}
    try:
        definition = json.loads(as_text(written["PipelineDefinitionBody"]))
    except ValueError:
        return {}
    return definition if isinstance(definition, dict) else {}


def _steps(steps: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for step in steps:
        yield step
        if step.get("Type") == "Condition":
            yield from _steps(step["Arguments"].get("IfSteps", []))
            yield from _steps(step["Arguments"].get("ElseSteps", []))


def _requests(kind: str, request: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if kind in ("Training", "Processing", "Transform"):
        yield kind, request
    elif kind == "Tuning":
        single = request.get("TrainingJobDefinition")
        for definition in [*([single] if single else []), *request.get("TrainingJobDefinitions", [])]:
            yield "Tuning", definition


def _cluster(kind: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
    if kind == "Processing":
        found = request.get("ProcessingResources", {}).get("ClusterConfig", {})
    elif kind == "Transform":
        found = request.get("TransformResources", {})
    else:
        found = request.get("ResourceConfig") or request.get("HyperParameterTuningResourceConfig") or {}
    return found if isinstance(found, Mapping) else {}
