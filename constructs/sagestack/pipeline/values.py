"""Values that are known only when a pipeline runs: parameters, outputs of steps, and functions of them."""

import difflib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NoReturn

import botocore.model

from sagestack.pipeline.errors import PipelineError
from sagestack.pipeline.model import NAMED_LISTS

if TYPE_CHECKING:
    from sagestack.pipeline.steps import ProcessingStep


class Value(ABC):
    """Something that SageMaker fills in when the pipeline runs. Put it wherever a step takes a scalar.

    It is not text: `f"s3://{value}"` would write Python's name of the object into the definition, so formatting
    one raises PipelineError. Use `Join`.
    """

    @abstractmethod
    def to_request(self) -> dict[str, object]:
        """The JSON of this value in a pipeline definition, such as `{"Get": "Parameters.InputDataUri"}`."""

    def to_string(self) -> "Join":
        """This value as text. SageMaker does not put a number where its API wants a string by itself."""
        return Join([self])

    def __str__(self) -> NoReturn:
        raise PipelineError([f"{self!r} is known only when the pipeline runs: put it into a Join, not into a string"])

    def __format__(self, spec: str) -> NoReturn:
        str(self)
        raise AssertionError("unreachable")


Scalar = str | int | float | bool | Value


class _ExecutionVariable(Value):
    def __init__(self, name: str) -> None:
        self.name = name

    def to_request(self) -> dict[str, object]:
        return {"Get": f"Execution.{self.name}"}

    def __repr__(self) -> str:
        return f"ExecutionVariable({self.name!r})"


class ExecutionVariables:
    """What a running pipeline knows about itself.

    `TRAINING_JOB_NAME` and `PROCESSING_JOB_NAME` stand for the job of the step that uses them, so they have a
    meaning only in a Training and in a Processing step.
    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-properties.html and the SageMaker
    Python SDK's `ExecutionVariables`.
    """

    START_DATETIME = _ExecutionVariable("StartDateTime")
    CURRENT_DATETIME = _ExecutionVariable("CurrentDateTime")
    PIPELINE_NAME = _ExecutionVariable("PipelineName")
    PIPELINE_ARN = _ExecutionVariable("PipelineArn")
    PIPELINE_EXECUTION_ID = _ExecutionVariable("PipelineExecutionId")
    PIPELINE_EXECUTION_ARN = _ExecutionVariable("PipelineExecutionArn")
    TRAINING_JOB_NAME = _ExecutionVariable("TrainingJobName")
    PROCESSING_JOB_NAME = _ExecutionVariable("ProcessingJobName")


EXECUTION_VARIABLES = {v.name for v in vars(ExecutionVariables).values() if isinstance(v, _ExecutionVariable)}


class ParameterType(StrEnum):
    """The types of parameters that SageMaker has, as a definition writes them."""

    STRING = "String"
    INTEGER = "Integer"
    FLOAT = "Float"
    BOOLEAN = "Boolean"


@dataclass(frozen=True)
class Join(Value):
    """Text made of `values`, joined with `on` when the pipeline runs. Default: nothing between them.

    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-properties.html
    """

    values: Sequence[Scalar]
    on: str = ""

    def to_request(self) -> dict[str, object]:
        values = [value.to_request() if isinstance(value, Value) else value for value in self.values]
        return {"Std:Join": {"On": self.on, "Values": values}}


class JsonGet(Value):
    """One value out of a JSON file that a processing step wrote.

    `property_file` is the name of one of the step's property files, `path` a JsonPath below its root, such as
    `regression_metrics.rmse.value`. Raises PipelineError at once where the step has no such property file.
    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-propertyfile.html
    """

    def __init__(self, step: "ProcessingStep", property_file: str, path: str) -> None:
        known = [file.name for file in step.property_files]
        if property_file not in known:
            raise PipelineError(
                [
                    f'Step "{step.name}" has no property file {property_file!r}; '
                    + (f"it has {', '.join(map(repr, known))}" if known else "it has none: give it property_files")
                ]
            )
        self.step = step.name
        self.property_file = property_file
        self.path = path

    def to_request(self) -> dict[str, object]:
        file = {"Get": f"Steps.{self.step}.PropertyFiles.{self.property_file}"}
        return {"Std:JsonGet": {"PropertyFile": file, "Path": self.path}}

    def __repr__(self) -> str:
        return f"JsonGet({self.step!r}, {self.property_file!r}, {self.path!r})"


class Property(Value):
    """A member of what SageMaker answers when asked to describe what a step made.

    Members are Python attributes and items: `train.properties.ModelArtifacts.S3ModelArtifacts`,
    `preprocess.properties.ProcessingOutputConfig.Outputs["train"].S3Output.S3Uri`. One that the service's
    Describe operation does not return raises PipelineError where it is written.
    """

    def __init__(self, step: str, shape: botocore.model.Shape, path: str = "") -> None:
        self._step = step
        self._shape = shape
        self._path = path

    def to_request(self) -> dict[str, object]:
        return {"Get": f"Steps.{self._step}{self._path}"}

    def __getattr__(self, name: str) -> "Property":
        if name.startswith("_"):  # Python itself asks for these: copy, pickle, inspect
            raise AttributeError(name)
        return self._child(name)

    def __getitem__(self, index: str | int) -> "Property":
        return self._child(index, indexed=True)

    def _child(self, key: str | int, *, indexed: bool = False) -> "Property":
        try:
            shape = child_shape(self._shape, key, indexed=indexed)
        except PathError as error:
            where = f"properties{self._path}"
            raise PipelineError([f'Step "{self._step}": {where} {error}']) from None
        return Property(self._step, shape, self._path + path_part(key, indexed=indexed))

    def __repr__(self) -> str:
        return f"Property('Steps.{self._step}{self._path}')"


class PathError(Exception):
    """Says why a path stops at a shape; reads on after the name of the place."""


def path_part(key: str | int, *, indexed: bool) -> str:
    if not indexed:
        return f".{key}"
    return f"[{key}]" if isinstance(key, int) else f"['{key}']"


def child_shape(shape: botocore.model.Shape, key: str | int, *, indexed: bool) -> botocore.model.Shape:
    """The shape one step further along a path. Raises PathError."""
    if isinstance(shape, botocore.model.StructureShape) and not indexed:
        if key in shape.members:
            return shape.members[str(key)]
        raise PathError(f"has no member {key!r} ({shape.name}){did_you_mean(str(key), shape.members)}")
    if isinstance(shape, botocore.model.ListShape) and indexed:
        if isinstance(key, str) and shape.name not in NAMED_LISTS:
            raise PathError(f"is a list ({shape.name}) whose items have no name: index it with a number, not {key!r}")
        if isinstance(key, int) and key < 0:
            raise PathError(f"cannot be indexed with {key}: SageMaker counts from 0 upwards")
        return shape.member
    if isinstance(shape, botocore.model.MapShape) and indexed and isinstance(key, str):
        return shape.value
    expected = {
        "structure": "is a structure: name one of its members with a dot",
        "list": "is a list: give an index in brackets",
        "map": 'is a map: give a key in brackets, ["..."]',
    }.get(shape.type_name, f"is a {shape.type_name} and has no members")
    raise PathError(f"{expected} (asked for {key!r})")


def did_you_mean(name: str, known: "Sequence[str] | dict[str, botocore.model.Shape]") -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
