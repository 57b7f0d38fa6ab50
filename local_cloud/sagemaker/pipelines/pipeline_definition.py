"""Reads a pipeline definition (schema 2020-12-01) and refuses what cannot run, before anything runs.

Pure. Whatever is wrong is a ValidationError that names the step and the member, as CreatePipeline answers; step types
that the local cloud does not emulate are refused by name.
"""

from __future__ import annotations

import graphlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from local_cloud.sagemaker.errors import NotEmulated, ValidationError
from local_cloud.sagemaker.pipelines import pipeline_values, retry_policy, step_types
from local_cloud.sagemaker.pipelines.pipeline_shapes import argument_problems, output_problem
from local_cloud.sagemaker.pipelines.pipeline_values import EXECUTION_VARIABLES, Path, ValueProblem
from local_cloud.sagemaker.pipelines.retry_policy import PolicyProblem, RetryPolicy
from local_cloud.sagemaker.pipelines.step_types import STEP_TYPES, StepType

VERSION = "2020-12-01"
_TOP_LEVEL = {"Version", "Metadata", "Parameters", "PipelineExperimentConfig", "Steps"}
_STEP_MEMBERS = {
    "Name",
    "Type",
    "Arguments",
    "DependsOn",
    "DisplayName",
    "Description",
    "CacheConfig",
    "RetryPolicies",
    "PropertyFiles",
}
_DURATION = re.compile(
    r"P?(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)S)?)?",
    re.IGNORECASE,
)
_SECONDS_IN = {
    "years": 365 * 86_400,
    "months": 30 * 86_400,
    "weeks": 7 * 86_400,
    "days": 86_400,
    "hours": 3_600,
    "minutes": 60,
    "seconds": 1,
}


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


_READERS: dict[str, Callable[[str], Any]] = {"String": str, "Integer": int, "Float": float, "Boolean": _boolean}


@dataclass(frozen=True)
class Parameter:
    """A parameter of a pipeline."""

    name: str
    type: str
    default: Any = None
    enum_values: tuple[Any, ...] = ()

    def read(self, text: str) -> Any:
        """The value that a StartPipelineExecution request gives as text.

        Raises:
            ValidationError: it does not fit the parameter's type or its EnumValues.
        """
        try:
            value = _READERS[self.type](text)
        except ValueError:
            raise ValidationError(f"Pipeline parameter '{self.name}' is of type {self.type}, got '{text}'.") from None
        if self.enum_values and value not in self.enum_values:
            allowed = ", ".join(str(item) for item in self.enum_values)
            raise ValidationError(f"Pipeline parameter '{self.name}' must be one of [{allowed}], got '{text}'.")
        return value


@dataclass(frozen=True)
class PropertyFile:
    """A JSON file in an output of a processing step, that later steps may read."""

    output_name: str
    file_path: str


@dataclass(frozen=True)
class Step:
    """One step, taken out of the conditions that it may be nested in.

    Attributes:
        depends_on: every step that must have succeeded before, named or referred to.
        branch: the condition step that it hangs on and the outcome that starts it; None at the top level.
        reuse_s: seconds for which the result of an equal run may be reused; None without caching.
    """

    name: str
    type: StepType
    arguments: Mapping[str, Any]
    depends_on: frozenset[str] = frozenset()
    branch: tuple[str, bool] | None = None
    display_name: str | None = None
    description: str | None = None
    reuse_s: float | None = None
    retry_policies: tuple[RetryPolicy, ...] = ()
    property_files: Mapping[str, PropertyFile] = field(default_factory=dict)


@dataclass(frozen=True)
class Definition:
    """A pipeline definition that can run."""

    parameters: Mapping[str, Parameter]
    steps: Mapping[str, Step]
    experiment: Mapping[str, Any] = field(default_factory=dict)

    def parameter_values(self, given: list[dict[str, str]]) -> dict[str, Any]:
        """The value of every parameter in one execution.

        Args:
            given: the PipelineParameters of the StartPipelineExecution request.

        Raises:
            ValidationError: a parameter is unknown, given twice, of the wrong type, or has no value.
        """
        names = [item["Name"] for item in given]
        known = ", ".join(self.parameters) or "none"
        if unknown := [name for name in names if name not in self.parameters]:
            raise ValidationError(f"The pipeline has no parameters [{', '.join(unknown)}]; it has: {known}.")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValidationError(f"Pipeline parameters are given more than once: [{', '.join(twice)}].")
        values = {name: parameter.default for name, parameter in self.parameters.items()}
        values.update({item["Name"]: self.parameters[item["Name"]].read(item["Value"]) for item in given})
        if missing := [name for name, value in values.items() if value is None]:
            raise ValidationError(
                f"Pipeline parameters [{', '.join(missing)}] have no default value: give one in PipelineParameters."
            )
        return values


def parse(text: str) -> Definition:
    """Read a definition.

    Raises:
        ValidationError: it cannot run; the message names the step and what is wrong.
        NotEmulated: it has a step of a type, or a feature, that the local cloud does not have.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        _refuse(f"It is not JSON: {error}")
    if not isinstance(document, dict):
        _refuse("It is not a JSON object")
    # The SDK writes members that it has no value for as null; that says nothing, so it is no reason to refuse.
    document = {name: value for name, value in document.items() if value is not None}
    if unknown := sorted(set(document) - _TOP_LEVEL):
        _refuse(f"Unexpected attribute '{unknown[0]}'; allowed: {', '.join(sorted(_TOP_LEVEL))}")
    if document.get("Version") != VERSION:
        _refuse(f"Version must be '{VERSION}', got {document.get('Version')!r}")
    steps = document.get("Steps")
    if not isinstance(steps, list) or not steps:
        _refuse("Steps must be a list with at least one step")
    parameters = _parameters(document.get("Parameters") or [])
    parsed: dict[str, Step] = {}
    for step in _steps(steps, None):
        if step.name in parsed:
            _refuse(f"Step names must be unique, '{step.name}' is there twice")
        parsed[step.name] = step
    definition = Definition(parameters, parsed, document.get("PipelineExperimentConfig") or {})
    _check_references(definition)
    _check_cycles(definition)
    return definition


def cache_duration_s(text: str) -> float | None:
    """Seconds of an ISO 8601 duration, a year being 365 days and a month 30; None if it is none.

    The P may be missing: AWS's own examples of ExpireAfter are `30d` and `T16m`.
    """
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groupdict().values()):
        return None
    return float(sum(int(number) * _SECONDS_IN[unit] for unit, number in match.groupdict().items() if number))


def _refuse(problem: str) -> NoReturn:
    raise ValidationError(f"Unable to parse pipeline definition. {problem}.")


def _parameters(items: Any) -> dict[str, Parameter]:
    if not isinstance(items, list):
        _refuse("Parameters must be a list")
    parameters: dict[str, Parameter] = {}
    for item in items:
        name = item.get("Name") if isinstance(item, dict) else None
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9\-_]{1,256}", name):
            _refuse(f"A parameter needs a Name of letters, digits, - and _, got {name!r}")
        where = f"Parameter '{name}'"
        if name in parameters:
            _refuse(f"Parameter names must be unique, '{name}' is there twice")
        if unknown := sorted(set(item) - {"Name", "Type", "DefaultValue", "EnumValues", "Description"}):
            _refuse(f"{where} has an unexpected attribute '{unknown[0]}'")
        if item.get("Type") not in _READERS:
            _refuse(f"{where} must have a Type of {', '.join(_READERS)}, got {item.get('Type')!r}")
        enum_values = item.get("EnumValues") or []
        if not isinstance(enum_values, list):
            _refuse(f"{where}: EnumValues must be a list")
        default = item.get("DefaultValue")
        for value in [*enum_values, *([] if default is None else [default])]:
            if not _is_of_type(value, item["Type"]):
                _refuse(f"{where} is of type {item['Type']}, and {value!r} is not")
        if default is not None and enum_values and default not in enum_values:
            _refuse(f"{where}: the DefaultValue {default!r} is not one of its EnumValues")
        parameters[name] = Parameter(name, item["Type"], default, tuple(enum_values))
    return parameters


def _is_of_type(value: Any, type_name: str) -> bool:
    types: dict[str, tuple[type, ...]] = {
        "String": (str,),
        "Integer": (int,),
        "Float": (int, float),
        "Boolean": (bool,),
    }
    return isinstance(value, types[type_name]) and (not isinstance(value, bool) or type_name == "Boolean")


def _steps(items: Any, branch: tuple[str, bool] | None) -> Iterator[Step]:
    """The steps of a list and those nested in its conditions."""
    if not isinstance(items, list):
        _refuse("Steps, IfSteps and ElseSteps must be lists")
    for item in items:
        step = _step(item, branch)
        yield step
        if step.type is step_types.CONDITION:
            for member, outcome in (("IfSteps", True), ("ElseSteps", False)):
                yield from _steps(step.arguments.get(member) or [], (step.name, outcome))


def _step(item: Any, branch: tuple[str, bool] | None) -> Step:
    name = item.get("Name") if isinstance(item, dict) else None
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9\-_]{1,64}", name):
        _refuse(f"A step needs a Name of 1 to 64 letters, digits, - and _, got {name!r}")
    where = f"Step '{name}'"
    if unknown := sorted(set(item) - _STEP_MEMBERS):
        _refuse(f"{where} has an unexpected attribute '{unknown[0]}'")
    step_type = STEP_TYPES.get(item.get("Type"))
    if step_type is None:
        if item.get("Type") in step_types.ELSEWHERE:
            raise NotEmulated(
                f"The local cloud does not emulate pipeline steps of type {item['Type']} (step '{name}'). It has: "
                f"{', '.join(STEP_TYPES)}. The pipeline works unchanged against AWS."
            )
        _refuse(f"{where} has the unknown Type {item.get('Type')!r}; known: {', '.join(STEP_TYPES)}")
    arguments = item.get("Arguments")
    if not isinstance(arguments, dict):
        _refuse(f"{where} needs Arguments")
    try:
        depends_on = _depends_on(item.get("DependsOn") or [], where) | _referenced_steps(step_type, arguments)
        retry_policies = retry_policy.parse(item.get("RetryPolicies") or [])
    except (ValueProblem, PolicyProblem) as problem:
        _refuse(f"{where}: {problem}")
    if retry_policies and not step_type.retryable:
        _refuse(f"{where} is of type {step_type.name}, which has no RetryPolicies")
    for wrong in argument_problems(step_type, arguments):
        _refuse(f"Model Validation failed: {wrong} (step '{name}')")
    return Step(
        name=name,
        type=step_type,
        arguments=arguments,
        depends_on=depends_on | ({branch[0]} if branch else set()),
        branch=branch,
        display_name=item.get("DisplayName"),
        description=item.get("Description"),
        reuse_s=_reuse_s(step_type, item.get("CacheConfig"), where),
        retry_policies=retry_policies,
        property_files=_property_files(step_type, item.get("PropertyFiles") or [], arguments, where),
    )


def _depends_on(items: Any, where: str) -> frozenset[str]:
    if not isinstance(items, list):
        _refuse(f"{where}: DependsOn must be a list of step names")
    for item in items:
        if isinstance(item, dict):
            raise NotEmulated(
                f"The local cloud does not emulate run conditions in DependsOn ({where}: {item!r}). Give the step's name."
            )
        if not isinstance(item, str):
            _refuse(f"{where}: DependsOn must be a list of step names, got {item!r}")
    return frozenset(items)


def _own_values(step_type: StepType, arguments: Mapping[str, Any]) -> Any:
    """What of a step's arguments is resolved for it: of a condition, not the steps nested in it."""
    if step_type is not step_types.CONDITION:
        return arguments
    conditions = arguments.get("Conditions")
    if not isinstance(conditions, list) or not conditions:
        raise ValueProblem("a condition step needs Conditions, a list")
    return [value for condition in conditions for value in pipeline_values.condition_values(condition)]


def _referenced_steps(step_type: StepType, arguments: Mapping[str, Any]) -> frozenset[str]:
    paths = pipeline_values.references(_own_values(step_type, arguments))
    return frozenset(str(path[1]) for path in paths if path[0] == "Steps")


def _reuse_s(step_type: StepType, config: Any, where: str) -> float | None:
    if config is None:
        return None
    if not isinstance(config, dict) or set(config) - {"Enabled", "ExpireAfter"}:
        _refuse(f"{where}: CacheConfig takes Enabled and ExpireAfter, got {config!r}")
    if not step_type.cache_key:
        _refuse(f"{where} is of type {step_type.name}, which cannot be cached")
    if not isinstance(config.get("Enabled"), bool):
        _refuse(f"{where}: CacheConfig.Enabled must be true or false, got {config.get('Enabled')!r}")
    expire_after = config.get("ExpireAfter")
    seconds = cache_duration_s(expire_after) if isinstance(expire_after, str) else None
    if seconds is None and (config["Enabled"] or expire_after is not None):
        _refuse(f"{where}: CacheConfig.ExpireAfter must be an ISO 8601 duration such as P30D, got {expire_after!r}")
    return seconds if config["Enabled"] else None


def _property_files(
    step_type: StepType, items: Any, arguments: Mapping[str, Any], where: str
) -> dict[str, PropertyFile]:
    files: dict[str, PropertyFile] = {}
    if items and step_type is not step_types.PROCESSING:
        _refuse(f"{where} is of type {step_type.name}; only Processing steps have PropertyFiles here")
    outputs = (arguments.get("ProcessingOutputConfig") or {}).get("Outputs") or []
    names = [output.get("OutputName") for output in outputs if isinstance(output, dict)]
    for item in items:
        members = ("PropertyFileName", "OutputName", "FilePath")
        if not isinstance(item, dict) or not all(isinstance(item.get(member), str) for member in members):
            _refuse(f"{where}: a property file has {', '.join(members)}, got {item!r}")
        if item["PropertyFileName"] in files:
            _refuse(f"{where}: the property file '{item['PropertyFileName']}' is there twice")
        if item["OutputName"] not in names:
            _refuse(
                f"{where}: the property file '{item['PropertyFileName']}' is in output '{item['OutputName']}', "
                f"which the step has not; it has: {', '.join(map(str, names)) or 'none'}"
            )
        files[item["PropertyFileName"]] = PropertyFile(item["OutputName"], item["FilePath"])
    return files


def _check_references(definition: Definition) -> None:
    try:
        for path in pipeline_values.references(definition.experiment):
            _check_reference(path, "PipelineExperimentConfig", definition)
    except ValueProblem as problem:
        _refuse(f"PipelineExperimentConfig: {problem}")
    for step in definition.steps.values():
        where = f"Step '{step.name}'"
        for path in pipeline_values.references(_own_values(step.type, step.arguments)):
            _check_reference(path, where, definition)
        for name in sorted(step.depends_on):
            if name not in definition.steps:
                _refuse(f"{where} depends on step '{name}', which the pipeline has not")


def _check_reference(path: Path, where: str, definition: Definition) -> None:
    text, name = pipeline_values.show_path(path), str(path[1])
    if path[0] == "Parameters" and name not in definition.parameters:
        known = ", ".join(definition.parameters) or "none"
        _refuse(f"{where} refers to '{text}', but the pipeline has no parameter '{name}'; it has: {known}")
    if path[0] == "Execution" and name not in EXECUTION_VARIABLES:
        _refuse(f"{where} refers to '{text}'; the execution variables are: {', '.join(EXECUTION_VARIABLES)}")
    if path[0] != "Steps":
        return
    step = definition.steps.get(name)
    if step is None:
        _refuse(f"{where} refers to '{text}', but the pipeline has no step '{name}'")
    if path[2] == "PropertyFiles":
        if len(path) != 4 or path[3] not in step.property_files:
            known = ", ".join(step.property_files) or "none"
            _refuse(f"{where} refers to '{text}', but step '{name}' has no such property file; it has: {known}")
    elif step.type is step_types.CONDITION and path[2:] != ["Outcome"]:
        _refuse(f"{where} refers to '{text}', but of a condition step there is only the Outcome")
    elif step.type is step_types.FAIL:
        _refuse(f"{where} refers to '{text}', but a fail step has no properties")
    elif step.type.describe and (problem := output_problem(step.type, step.arguments, path[2:])):
        _refuse(f"{where} refers to '{text}', but {problem}")


def _check_cycles(definition: Definition) -> None:
    graph = {name: step.depends_on for name, step in definition.steps.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        _refuse(f"Steps depend on each other in a circle: {' -> '.join(reversed(error.args[1]))}")
