"""Everything about a definition that can be known before it is deployed, in one list of mistakes.

Works on the finished JSON, so a reference written by hand is held to the same rules as one made by the builders.
Rules that are not in botocore's model come from AWS's pages on
  steps     https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-steps-types.html (condition, fail)
  caching   https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-caching-enabling.html
  retries   https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-retry-policy.html
  quotas    https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-quotas.html
"""

import graphlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from botocore.model import Shape

from sagestack.pipeline import model, quotas
from sagestack.pipeline.condition_checks import ConditionChecker
from sagestack.pipeline.policies import RetryOn
from sagestack.pipeline.references import Json, ReferenceMistake, Resolver
from sagestack.pipeline.shapes import ShapeChecker, a, constraint_mistake, dicts, is_of_type, python_kind, show
from sagestack.pipeline.tokens import is_token
from sagestack.pipeline.values import did_you_mean

_DURATION = re.compile(r"[Pp]?(?=[\dTt])(\d+[Yy])?(\d+[Mm])?(\d+[Ww])?(\d+[Dd])?([Tt](?=\d)(\d+[Hh])?(\d+[Mm])?)?")


@dataclass(frozen=True)
class _Placed:
    """A step and where it stands: at the top (`branch` empty), or in a branch of condition step `of`."""

    step: Json
    of: str = ""
    branch: str = ""


def find_mistakes(definition: Json) -> list[str]:
    """The mistakes of a definition as the builders write it; none if SageMaker would take it as it was meant."""
    return _Check(definition).run()


def _steps(steps: object, of: str = "", branch: str = "") -> Iterator[_Placed]:
    for step in cast(list[Json], steps):
        yield _Placed(step, of, branch)
        if step["Type"] == "Condition":
            arguments = cast(Json, step["Arguments"])
            for inner in ("IfSteps", "ElseSteps"):
                yield from _steps(arguments[inner], str(step["Name"]), inner)


class _Check:
    def __init__(self, definition: Json) -> None:
        self.definition = definition
        self.parameters = cast(list[Json], definition["Parameters"])
        self.placed = list(_steps(definition["Steps"]))
        self.steps = {str(placed.step["Name"]): placed.step for placed in self.placed}
        self.resolver = Resolver({str(p["Name"]): p for p in self.parameters}, self.steps)
        self.mistakes: list[str] = []

    def run(self) -> list[str]:
        self._parameters()
        if not self.placed:
            self.mistakes.append("Steps: the pipeline has none")
        for placed in self.placed:
            self._step(placed)
        self._names_are_unique("step", [str(placed.step["Name"]) for placed in self.placed])
        self._unused_parameters()
        self._order()
        self._sizes()
        return self.mistakes

    # --- parameters ---------------------------------------------------------------------------------

    def _parameters(self) -> None:
        for parameter in self.parameters:
            name, kind = str(parameter["Name"]), str(parameter["Type"])
            self._name(f'Parameter "{name}"', name, model.shape("PipelineParameterName"))
            self._at_most(quotas.PARAMETER_NAME_LENGTH, len(name), f'Parameter "{name}": Name', "characters")
            enum = cast(list[object], parameter.get("EnumValues", []))
            values = [("DefaultValue", parameter["DefaultValue"])] if "DefaultValue" in parameter else []
            values += [(f"EnumValues[{index}]", value) for index, value in enumerate(enum)]
            for place, value in values:
                if not is_of_type(value, kind):
                    self.mistakes.append(
                        f'Parameter "{name}": {place}: {show(value)} is {a(python_kind(value))}, not {a(kind)}'
                    )
                elif isinstance(value, str) and not is_token(value):
                    where = f'Parameter "{name}": {place}'
                    self._at_most(quotas.PARAMETER_TEXT_LENGTH, len(value), where, "characters")
            self._at_most(quotas.PARAMETER_ENUM_VALUES, len(enum), f'Parameter "{name}": EnumValues', "values")
            default = parameter.get("DefaultValue")
            if enum and default is not None and default not in enum and not is_token(default):
                allowed = ", ".join(map(repr, enum))
                self.mistakes.append(
                    f'Parameter "{name}": DefaultValue: {default!r} is not one of EnumValues: {allowed}'
                )
        self._names_are_unique("parameter", [str(parameter["Name"]) for parameter in self.parameters])
        self._at_most(quotas.PARAMETERS, len(self.parameters), "Parameters", "parameters")

    def _unused_parameters(self) -> None:
        for parameter in self.parameters:
            if parameter["Name"] not in self.resolver.used_parameters:
                self.mistakes.append(
                    f'Parameter "{parameter["Name"]}" is used by no step: whoever sets it would change nothing; '
                    "use it or remove it"
                )

    def _names_are_unique(self, what: str, names: list[str]) -> None:
        for name in dict.fromkeys(name for name in names if names.count(name) > 1):
            self.mistakes.append(
                f'{what.capitalize()} "{name}": {names.count(name)} {what}s have this name; names are unique'
            )

    def _name(self, where: str, name: str, shape: Shape) -> None:
        mistake = constraint_mistake(shape, name) if name else "the name is empty"
        if mistake:
            self.mistakes.append(f"{where}: Name: {mistake}")

    # --- steps --------------------------------------------------------------------------------------

    def _step(self, placed: _Placed) -> None:
        step = placed.step
        where = f'Step "{step["Name"]}"'
        self._name(where, str(step["Name"]), model.shape("StepName"))
        for member, shape in (("DisplayName", "StepDisplayName"), ("Description", "StepDescription")):
            if member in step and not is_token(step[member]):
                mistake = constraint_mistake(model.shape(shape), step[member])
                if mistake:
                    self.mistakes.append(f"{where}: {member}: {mistake}")
        if step["Type"] == "Condition":
            self._condition_step(placed, where)
        else:
            self._arguments(step, where)
        self._property_files(step, where)
        self._cache(step, where)
        self._retries(step, where)
        self._depends_on(step, where)

    def _arguments(self, step: Json, where: str) -> None:
        kind = model.STEP_KINDS[str(step["Type"])]

        def on_reference(reference: Json, path: str, shape: Shape) -> None:
            self._reference(reference, step, path, shape)

        checker = ShapeChecker(kind.calls, on_reference, self.mistakes)
        arguments = cast(Json, step["Arguments"])
        checker.check(model.shape(kind.request), arguments, f"{where}: Arguments", kind.left_out)
        # Neither is required by the API, which also makes packages outside of groups.
        if step["Type"] == "RegisterModel" and "ModelPackageGroupName" not in arguments:
            self.mistakes.append(
                f"{where}: Arguments.ModelPackageGroupName is missing: say which group the version joins"
            )
        experiment = arguments.get("ExperimentConfig")
        if kind.job and isinstance(experiment, dict):
            # A pipeline associates its jobs with its own experiment and trial.
            for member in sorted(experiment.keys() & {"ExperimentName", "TrialName", "RunName"}):
                self.mistakes.append(
                    f"{where}: Arguments.ExperimentConfig.{member}: {show(experiment[member])} does not belong in a step: "
                    "Pipelines sets it for the whole execution; only TrialComponentDisplayName is a step's own"
                )

    def _reference(self, reference: Json, step: Json, path: str, shape: Shape | None) -> None:
        try:
            self.resolver.check(reference, step, shape)
        except ReferenceMistake as mistake:
            self.mistakes.append(f"{path}: {mistake}")

    def _property_files(self, step: Json, where: str) -> None:
        files = cast(list[Json], step.get("PropertyFiles", []))
        arguments = cast(Json, step["Arguments"])
        config = arguments.get("ProcessingOutputConfig")
        outputs = dicts(config.get("Outputs")) if isinstance(config, dict) else []
        names = [output.get("OutputName") for output in outputs]
        for index, file in enumerate(files):
            at = f"{where}: PropertyFiles[{index}]"
            name, path = str(file["PropertyFileName"]), str(file["FilePath"])
            if not re.fullmatch(r"[\w-]{1,64}", name, re.ASCII):
                self.mistakes.append(f"{at}.PropertyFileName: {name!r} must be 1 to 64 letters, digits, - or _")
            if file["OutputName"] not in names:
                known = ", ".join(map(repr, names)) or "none"
                self.mistakes.append(
                    f"{at}.OutputName: the step has no output {file['OutputName']!r}; its outputs: {known}"
                )
            if not path or path.startswith("/") or ".." in path.split("/"):
                self.mistakes.append(f"{at}.FilePath: {path!r} must be a path below the output's prefix")
        self._names_are_unique("property file", [str(file["PropertyFileName"]) for file in files])

    def _cache(self, step: Json, where: str) -> None:
        cache = cast(Json, step.get("CacheConfig", {}))
        expire_after = cache.get("ExpireAfter")
        if cache and not (isinstance(expire_after, str) and _DURATION.fullmatch(expire_after)):
            self.mistakes.append(
                f"{where}: CacheConfig.ExpireAfter: {expire_after!r} is no ISO 8601 duration of years, months, weeks, "
                "days, hours or minutes, such as P30D or PT12H"
            )

    def _retries(self, step: Json, where: str) -> None:
        allowed = [kind.value for kind in RetryOn]
        if not model.STEP_KINDS[str(step["Type"])].job:
            allowed = [kind for kind in allowed if kind.startswith("Step.")]
        for index, policy in enumerate(cast(list[Json], step.get("RetryPolicies", []))):
            at = f"{where}: RetryPolicies[{index}]"
            kinds = cast(list[str], policy["ExceptionType"])
            if not kinds:
                self.mistakes.append(f"{at}.ExceptionType is empty; allowed: {', '.join(allowed)}")
            for kind in kinds:
                if kind not in allowed:
                    self.mistakes.append(
                        f"{at}.ExceptionType: {kind!r} cannot be retried in a {step['Type']} step"
                        f"{did_you_mean(kind, allowed)}; allowed: {', '.join(allowed)}"
                    )
            if "MaxAttempts" in policy and "ExpireAfterMin" in policy:
                self.mistakes.append(f"{at}: give MaxAttempts or ExpireAfterMin, not both")
            for member, high in (
                ("MaxAttempts", 20),
                ("ExpireAfterMin", 14400),
                ("IntervalSeconds", 43200),
            ):
                value = policy.get(member, 0)
                if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= high:
                    self.mistakes.append(f"{at}.{member}: {value!r} must be a whole number from 0 to {high}")
            rate = policy["BackoffRate"]
            if not isinstance(rate, int | float) or isinstance(rate, bool) or rate < 0:
                self.mistakes.append(f"{at}.BackoffRate: {rate!r} must be a number of at least 0")

    # --- conditions -------------------------------------------------------------------

    def _condition_step(self, placed: _Placed, where: str) -> None:
        step, arguments = placed.step, cast(Json, placed.step["Arguments"])
        if placed.of:
            self.mistakes.append(f'{where}: a condition step cannot stand in a branch of another one ("{placed.of}")')
        conditions = cast(list[Json], arguments["Conditions"])
        if not conditions:
            self.mistakes.append(f"{where}: Arguments.Conditions is empty: give at least one condition")
        if not arguments["IfSteps"] and not arguments["ElseSteps"]:
            self.mistakes.append(f"{where}: Arguments: neither branch has a step, so the condition decides nothing")
        self._at_most(quotas.CONDITIONS, len(conditions), f"{where}: Arguments.Conditions", "conditions")
        for branch in ("IfSteps", "ElseSteps"):
            length = len(cast(list[Json], arguments[branch]))
            self._at_most(quotas.BRANCH_STEPS, length, f"{where}: Arguments.{branch}", "steps")
        checker = ConditionChecker(step, self.resolver, self.mistakes)
        for index, condition in enumerate(conditions):
            checker.check(condition, f"{where}: Arguments.Conditions[{index}]")

    # --- order --------------------------------------------------------------------------------------

    def _depends_on(self, step: Json, where: str) -> None:
        for name in cast(list[str], step.get("DependsOn", [])):
            if name not in self.steps:
                self.mistakes.append(
                    f"{where}: DependsOn: there is no step {name!r} in the pipeline{did_you_mean(name, list(self.steps))}"
                )
                continue
            if self.steps[name]["Type"] == "Fail":
                self.mistakes.append(f"{where}: DependsOn: {name!r} is a Fail step, which is always the last to run")
                continue
            self.resolver.edges.setdefault(str(step["Name"]), set()).add(name)

    def _order(self) -> None:
        place = {str(placed.step["Name"]): placed for placed in self.placed}
        graph: dict[str, set[str]] = {name: set(self.resolver.edges.get(name, ())) for name in self.steps}
        for name, placed in place.items():
            for before in sorted(graph[name]):
                other = place[before]
                if placed.of and placed.of == other.of and placed.branch != other.branch:
                    self.mistakes.append(
                        f'Step "{name}" needs "{before}", which stands in the other branch of "{placed.of}": '
                        "only one of them ever runs"
                    )
            if placed.of:
                graph[name].add(placed.of)
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            self.mistakes.append(
                f"Steps: {' -> '.join(error.args[1])} is a cycle: each would have to end before the next one starts"
            )

    def _sizes(self) -> None:
        self._at_most(quotas.STEPS, len(self.placed), "Steps", "steps")
        files = [file for step in self.steps.values() for file in cast(list[Json], step.get("PropertyFiles", []))]
        self._at_most(quotas.PROPERTY_FILES, len(files), "Steps", "property files")
        text = json.dumps(self.definition)
        self._at_most(quotas.JSON_GETS, text.count('{"Std:JsonGet": '), "Steps", "Std:JsonGet functions")
        most = model.shape("PipelineDefinition").metadata["max"]
        self._at_most(most, len(text), "The definition", "characters")

    def _at_most(self, most: int, found: int, where: str, what: str) -> None:
        if found > most:
            self.mistakes.append(quotas.too_many(found, most, where, what))
