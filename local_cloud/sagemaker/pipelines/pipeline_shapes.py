"""What the shapes of the API say of a step: whether its arguments fit the request, and what its answer will have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape

from local_cloud.sagemaker.pipelines import pipeline_values, step_types
from local_cloud.sagemaker.pipelines.pipeline_values import Path, ValueProblem
from local_cloud.sagemaker.pipelines.step_types import StepType
from local_cloud.sagemaker.service import model


def request_shape(step_type: StepType) -> StructureShape:
    """The shape of the request that a step's Arguments are."""
    shape = model().operation_model(str(step_type.create)).input_shape
    assert isinstance(shape, StructureShape)
    return shape


def argument_problems(step_type: StepType, arguments: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the arguments of a step, as far as they are written out."""
    if step_type is step_types.CONDITION:
        for name in sorted(set(arguments) - {"Conditions", "IfSteps", "ElseSteps"}):
            yield f"'{name}' is no argument of a condition step"
    elif step_type is step_types.FAIL:
        for name in sorted(set(arguments) - {"ErrorMessage"}):
            yield f"'{name}' is no argument of a fail step"
    else:
        # The service names what a step creates.
        shape = request_shape(step_type)
        present = {**arguments, step_type.name_member: None}
        for name in shape.required_members:
            if name not in present:
                yield f"'{name}' is missing in the arguments for {step_type.create}"
        for name, value in arguments.items():
            if name not in shape.members:
                yield f"'{name}' is no argument of {step_type.create}"
            else:
                yield from _value_problems(value, shape.members[name], name)
        if step_type is step_types.REGISTER_MODEL and not arguments.get("ModelPackageGroupName"):
            yield "'ModelPackageGroupName' is missing in the arguments for CreateModelPackage"


def _value_problems(value: Any, shape: Shape, path: str) -> Iterator[str]:
    """What is wrong with a literal; an expression is taken as right here and checked when it is resolved."""
    if value is None or pipeline_values.is_expression(value):
        return
    if isinstance(shape, StructureShape):
        if not isinstance(value, dict):
            yield f"Value '{value}' for '{path}' must be an object"
            return
        for name in shape.required_members:
            if value.get(name) is None:
                yield f"'{path}.{name}' must not be null"
        for name, item in value.items():
            if name not in shape.members:
                yield f"'{path}.{name}' is not known"
            else:
                yield from _value_problems(item, shape.members[name], f"{path}.{name}")
    elif isinstance(shape, ListShape):
        if not isinstance(value, list):
            yield f"Value '{value}' for '{path}' must be a list"
            return
        for index, item in enumerate(value):
            yield from _value_problems(item, shape.member, f"{path}[{index}]")
    elif isinstance(shape, MapShape):
        if not isinstance(value, dict):
            yield f"Value '{value}' for '{path}' must be an object"
            return
        for key, item in value.items():
            yield from _value_problems(item, shape.value, f"{path}['{key}']")
    elif isinstance(value, dict | list):
        yield f"Value '{value}' for '{path}' must be a {shape.type_name}"
    elif isinstance(shape, StringShape) and shape.enum and value not in shape.enum:
        yield f"Value '{value}' for '{path}' failed to satisfy enum value set: [{', '.join(shape.enum)}]"
    elif shape.type_name in ("integer", "long", "float", "double") and (
        isinstance(value, bool) or not isinstance(value, int | float)
    ):
        yield f"Value '{value}' for '{path}' must be a number"
    elif shape.type_name == "boolean" and not isinstance(value, bool):
        yield f"Value '{value}' for '{path}' must be true or false"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def output_problem(step_type: StepType, step_arguments: Mapping[str, Any], path: Path) -> str | None:
    """Why a path leads nowhere in what a step returns; None if it leads somewhere."""
    shape: Shape | None = model().operation_model(str(step_type.describe)).output_shape
    arguments: Any = step_arguments
    for depth, part in enumerate(path):
        so_far = pipeline_values.show_path(path[:depth]) or "the answer"
        if isinstance(shape, StructureShape):
            if part not in shape.members:
                return f"{so_far} of {step_type.describe} has no '{part}'; it has: {', '.join(shape.members)}"
            shape = shape.members[str(part)]
        elif isinstance(shape, ListShape):
            shape = shape.member
        elif isinstance(shape, MapShape):
            shape = shape.value
        else:
            return f"{so_far} of {step_type.describe} has no members"
        # Where the request tells the names of a list's items, such as outputs, the answer will have the same.
        if isinstance(arguments, dict | list) and not pipeline_values.is_expression(arguments):
            if isinstance(arguments, list) or part in arguments:
                try:
                    arguments = pipeline_values.look_up(arguments, [part], so_far)
                except ValueProblem as problem:
                    return str(problem)
            else:
                arguments = None
    return None


def fit(value: Any, shape: Shape) -> Any:
    """A resolved value in the form that the API takes: numbers become texts where a text is asked, nulls go.

    Values that do not fit are left alone: the API refuses them in its own words.
    """
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        return {
            name: fit(item, shape.members[name]) if name in shape.members else item
            for name, item in value.items()
            if item is not None
        }
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [fit(item, shape.member) for item in value]
    if isinstance(shape, MapShape) and isinstance(value, dict):
        return {key: fit(item, shape.value) for key, item in value.items()}
    if isinstance(shape, StringShape) and isinstance(value, bool | int | float):
        return pipeline_values.as_text(value)
    if shape.type_name in ("integer", "long") and isinstance(value, float) and value.is_integer():
        return int(value)
    return value
