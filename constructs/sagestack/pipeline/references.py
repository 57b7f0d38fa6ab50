"""What `{"Get": ...}`, `{"Std:Join": ...}` and `{"Std:JsonGet": ...}` stand for in one definition."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from botocore.model import ListShape, Shape

from sagestack.pipeline import model
from sagestack.pipeline.shapes import SCALARS, a, constraint_mistake, dicts, is_reference, show
from sagestack.pipeline.tokens import is_token
from sagestack.pipeline.values import EXECUTION_VARIABLES, PathError, child_shape, did_you_mean, path_part

Json = dict[str, object]

_PATH_PART = re.compile(r"\.(?P<member>\w+)|\[(?P<index>\d+)\]|\['(?P<key>[^']*)'\]")
_JSON_PATH = re.compile(r"(\$\.?)?[\w-]+(\.[\w-]+|\[\d+\]|\['[^']+'\])*")
# Members of the answer that repeat the request, so that the names to pick from are known at synth.
_ARGUMENTS_OF_LIST = {
    "ProcessingOutputs": ("ProcessingOutputConfig", "Outputs"),
    "ProcessingInputs": ("ProcessingInputs",),
    "InputDataConfig": ("InputDataConfig",),
}
_JOB_NAME_OF = {"TrainingJobName": "Training", "ProcessingJobName": "Processing"}


class ReferenceMistake(Exception):
    """Says what is wrong with a reference; reads on after its place."""


@dataclass
class Resolver:
    """Resolves references against the parameters and steps of one definition; remembers what was used."""

    parameters: Mapping[str, Json]
    steps: Mapping[str, Json]
    used_parameters: set[str] = field(default_factory=set)
    edges: dict[str, set[str]] = field(default_factory=dict)  # step -> the steps that it refers to

    def check(self, reference: Json, user: Json, shape: Shape | None) -> None:
        """Raises ReferenceMistake unless `reference`, used by step `user`, resolves to a scalar that fits `shape`.

        `shape` None: any scalar will do.
        """
        scalar = self.type_of(reference, user)
        if shape is None:
            return
        wanted = SCALARS.get(shape.type_name)
        if wanted is None:
            raise ReferenceMistake(
                f"{show(reference)} stands for one value, but {a(shape.type_name)} is wanted here; "
                "write it out and put references at its leaves"
            )
        if scalar not in (None, wanted, "Integer" if wanted == "Float" else wanted):
            hint = "; use .to_string()" if wanted == "String" else ""
            raise ReferenceMistake(f"{show(reference)} is {a(scalar)}, but {a(wanted)} is wanted here{hint}")
        self._check_parameter_values(reference, shape)

    def type_of(self, reference: Json, user: Json) -> str | None:
        """The scalar type that a reference stands for; None where only the execution will tell."""
        function, argument = next(iter(reference.items()))
        if function == "Std:Join":
            return self._join(argument, user)
        if function == "Std:JsonGet":
            self._json_get(argument, user)
            return None  # whatever the file holds
        if not isinstance(argument, str):
            raise ReferenceMistake(f"Get takes the name of a value, not {show(argument)}")
        origin, _, rest = argument.partition(".")
        if origin == "Parameters":
            return self._parameter(rest)
        if origin == "Execution":
            return _execution_variable(rest, user)
        if origin == "Steps":
            return self._property(rest, user)
        raise ReferenceMistake(f"{argument!r} starts with none of Parameters., Execution., Steps.")

    def _parameter(self, name: str) -> str:
        if name not in self.parameters:
            known = ", ".join(self.parameters) or "none"
            raise ReferenceMistake(f"there is no parameter {name!r} in the pipeline; it has: {known}")
        self.used_parameters.add(name)
        return str(self.parameters[name]["Type"])

    def _property(self, rest: str, user: Json) -> str:
        name = rest[: m.start()] if (m := re.search(r"[.\[]", rest)) else rest
        shape = self._described(self._step(name, user), name)
        path, place = rest[len(name) :], ""
        while path:
            part = _PATH_PART.match(path)
            if part is None:
                raise ReferenceMistake(f"{rest!r} cannot be read from {path!r} on; write .Member, [0] or ['name']")
            key: str | int = int(part["index"]) if part["index"] else part["member"] or part["key"] or ""
            indexed = part["member"] is None
            try:
                self._check_name(self.steps[name], shape, key)
                shape = child_shape(shape, key, indexed=indexed)
            except PathError as error:
                raise ReferenceMistake(f"Steps.{name}{place} {error}") from None
            place += path_part(key, indexed=indexed)
            path = path[part.end() :]
        if shape.type_name not in SCALARS:
            raise ReferenceMistake(
                f"Steps.{rest} is {a(shape.type_name)}, not a single value; go on to one of its members"
            )
        return SCALARS[shape.type_name]

    def _step(self, name: str, user: Json) -> Json:
        if name not in self.steps:
            raise ReferenceMistake(f"there is no step {name!r} in the pipeline{did_you_mean(name, list(self.steps))}")
        self.edges.setdefault(str(user["Name"]), set()).add(name)
        return self.steps[name]

    @staticmethod
    def _described(step: Json, name: str) -> Shape:
        describes = model.STEP_KINDS[str(step["Type"])].describes
        if describes is None:
            raise ReferenceMistake(f"step {name!r} is a {step['Type']} step, which nothing may refer to")
        return model.shape(describes)

    @staticmethod
    def _check_name(step: Json, shape: Shape, key: str | int) -> None:
        """Where the step's own arguments list what can be picked, `key` must be among it."""
        where = _ARGUMENTS_OF_LIST.get(shape.name)
        if where is None or not isinstance(shape, ListShape):
            return
        items: object = step["Arguments"]
        for member in where:
            items = items.get(member, []) if isinstance(items, dict) else []
        if not isinstance(items, list):
            return
        if isinstance(key, int):
            if key >= len(items):
                raise PathError(f"has {len(items)} items in the step's arguments, so there is no [{key}]")
            return
        names = [str(item.get(model.NAMED_LISTS[shape.name])) for item in dicts(items)]
        if key not in names:
            raise PathError(f"has no {key!r} in the step's arguments; there is: {', '.join(names) or 'nothing'}")

    def _join(self, argument: object, user: Json) -> str:
        if not isinstance(argument, dict) or set(argument) != {"On", "Values"}:
            raise ReferenceMistake(f"Std:Join takes On and Values, not {show(argument)}")
        if not isinstance(argument["On"], str) or not isinstance(argument["Values"], list):
            raise ReferenceMistake(f"Std:Join takes a string On and a list of Values, not {show(argument)}")
        if not argument["Values"]:
            raise ReferenceMistake("Std:Join of nothing: Values is empty")
        for value in argument["Values"]:
            if is_reference(value):
                self.type_of(value, user)
            elif isinstance(value, dict | list):
                raise ReferenceMistake(f"Std:Join joins single values, not {show(value)}")
        return "String"

    def _json_get(self, argument: object, user: Json) -> None:
        if not isinstance(argument, dict) or set(argument) != {"PropertyFile", "Path"}:
            raise ReferenceMistake(f"Std:JsonGet takes PropertyFile and Path, not {show(argument)}")
        file, path = argument["PropertyFile"], argument["Path"]
        parts = file["Get"].split(".") if isinstance(file, dict) and isinstance(file.get("Get"), str) else []
        if len(parts) != 4 or parts[0] != "Steps" or parts[2] != "PropertyFiles":
            raise ReferenceMistake(
                f'PropertyFile must be {{"Get": "Steps.<step>.PropertyFiles.<name>"}}, not {show(file)}'
            )
        if not isinstance(path, str) or not _JSON_PATH.fullmatch(path):
            raise ReferenceMistake(f"{path!r} is no path into a JSON file; write for example metrics.rmse.value")
        step = self._step(parts[1], user)
        if step["Type"] != "Processing":
            raise ReferenceMistake(
                f"step {parts[1]!r} is a {step['Type']} step; only Processing steps have property files"
            )
        names = [file["PropertyFileName"] for file in dicts(step.get("PropertyFiles"))]
        if parts[3] not in names:
            known = ", ".join(map(str, names)) or "none"
            raise ReferenceMistake(f"step {parts[1]!r} has no property file {parts[3]!r}; it has: {known}")

    def _check_parameter_values(self, reference: Json, shape: Shape) -> None:
        """A parameter's default and allowed values must fit the place that it fills."""
        get = reference.get("Get")
        if not isinstance(get, str) or not get.startswith("Parameters."):
            return
        declared = self.parameters[get.removeprefix("Parameters.")]
        enum = declared.get("EnumValues")
        values = [declared["DefaultValue"]] if "DefaultValue" in declared else []
        for value in values + (enum if isinstance(enum, list) else []):
            mistake = None if is_token(value) else constraint_mistake(shape, value)
            if mistake:
                raise ReferenceMistake(f"parameter {declared['Name']} can hold what does not fit here: {mistake}")


def _execution_variable(name: str, user: Json) -> str:
    if name not in EXECUTION_VARIABLES:
        known = ", ".join(sorted(EXECUTION_VARIABLES))
        raise ReferenceMistake(f"there is no execution variable {name!r}; there are: {known}")
    if _JOB_NAME_OF.get(name, user["Type"]) != user["Type"]:
        raise ReferenceMistake(f"Execution.{name} has no meaning in a {user['Type']} step, which runs no such job")
    return "String"
