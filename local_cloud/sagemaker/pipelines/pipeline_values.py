"""The little language inside a pipeline definition: references, joins, JSON look-ups and conditions.

Pure: what a reference stands for comes from a `Scope`, so that the same code resolves values in a running execution and
finds every reference in a definition that is only checked. The forms are those that the SageMaker SDK writes.
"""

from __future__ import annotations

import datetime
import operator
import re
from collections.abc import Callable, Iterator
from typing import Any, Protocol

EXECUTION_VARIABLES = (
    "StartDateTime",
    "CurrentDateTime",
    "PipelineName",
    "PipelineArn",
    "PipelineExecutionId",
    "PipelineExecutionArn",
    "TrainingJobName",
    "ProcessingJobName",
)
"""What follows `Execution.` in a reference; the two job names are known only inside the step that starts the job."""

COMPARISONS = ("Equals", "GreaterThan", "GreaterThanOrEqualTo", "LessThan", "LessThanOrEqualTo")
CONDITIONS = (*COMPARISONS, "In", "Not", "Or")

_ORDER: dict[str, Callable[[Any, Any], Any]] = {
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}

_NAMED_BY = ("OutputName", "InputName", "ChannelName", "MetricName", "Name")
"""The members that name the items of a list: `Outputs['train']` is the output whose OutputName is `train`."""

_PATH_TOKEN = re.compile(
    r"""(?:^|\.)(?P<name>[^.\[\]'"*?()]+)  # .name, the first one without its dot
      | \[(?P<index>\d+)\]                 # [0]
      | \['(?P<single>[^']*)'\]            # ['name']
      | \["(?P<double>[^"]*)"\]            # ["name"]
    """,
    re.VERBOSE,
)

Path = list[str | int]


class ValueProblem(Exception):
    """A value cannot be resolved or is malformed; the message says which and why."""


class Scope(Protocol):
    """What references stand for."""

    def parameter(self, name: str) -> Any:
        """The value of a pipeline parameter."""

    def execution(self, name: str) -> Any:
        """The value of an execution variable."""

    def step_output(self, step: str) -> Any:
        """What the step returned: the answer of its Describe call."""

    def property_file(self, step: str, name: str) -> Any:
        """The parsed property file of a step."""

    def json_object(self, uri: str) -> Any:
        """The parsed JSON object in S3."""


def is_expression(value: Any) -> bool:
    """Whether a JSON value is an expression and not a literal."""
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in ("Get", "Std:Join", "Std:JsonGet")


def parse_path(text: str) -> Path:
    """The members, keys and indices of a path such as `A.B['key'][0]`.

    Raises:
        ValueProblem: it is not such a path.
    """
    path: Path = []
    position = 0
    while position < len(text):
        match = _PATH_TOKEN.match(text, position)
        if match is None:
            raise ValueProblem(f"'{text}' is not a path: unexpected '{text[position:]}'")
        if match["index"] is not None:
            path.append(int(match["index"]))
        else:
            path.append(next(part for part in (match["name"], match["single"], match["double"]) if part is not None))
        position = match.end()
    if not path:
        raise ValueProblem("a path is empty")
    return path


def parse_reference(text: Any) -> Path:
    """The path of a `Get`: its first item is Parameters, Execution or Steps, its second a name.

    Raises:
        ValueProblem: it refers to nothing of the three.
    """
    if not isinstance(text, str):
        raise ValueProblem(f"a Get takes a text, not {text!r}")
    path = parse_path(text)
    length = {"Parameters": (2, 2), "Execution": (2, 2), "Steps": (3, 1000)}.get(str(path[0]))
    if length is None or not length[0] <= len(path) <= length[1] or not isinstance(path[1], str):
        raise ValueProblem(
            f"'{text}' is no reference: it must be Parameters.<name>, Execution.<variable> or Steps.<step>.<property>"
        )
    return path


def references(value: Any) -> Iterator[Path]:
    """Every reference in a value, however deep; malformed expressions raise.

    Raises:
        ValueProblem: an expression is malformed.
    """
    if is_expression(value):
        ((kind, body),) = value.items()
        if kind == "Get":
            yield parse_reference(body)
        elif kind == "Std:Join":
            yield from references(_join_parts(body)[1])
        else:
            source, path = _json_get_parts(body)
            parse_json_path(path)
            yield from references(source)
    elif isinstance(value, dict):
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def resolve(value: Any, scope: Scope) -> Any:
    """The value with every expression replaced by what it stands for.

    Raises:
        ValueProblem: something cannot be resolved.
    """
    if is_expression(value):
        ((kind, body),) = value.items()
        return {"Get": _get, "Std:Join": _join, "Std:JsonGet": _json_get}[kind](body, scope)
    if isinstance(value, dict):
        return {key: resolve(item, scope) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, scope) for item in value]
    return value


def look_up(value: Any, path: Path, what: str) -> Any:
    """Follow a path in a JSON value.

    Raises:
        ValueProblem: the path leads nowhere; the message names the member that is missing and what is there.
    """
    for depth, part in enumerate(path):
        found: list[Any] = []
        if isinstance(value, dict):
            there = sorted(value)
            found = [value[str(part)]] if str(part) in value else []
        elif isinstance(value, list) and isinstance(part, int):
            there = [f"{len(value)} items"]
            found = value[part : part + 1]
        elif isinstance(value, list):
            named = {item[key]: item for item in value if isinstance(item, dict) for key in _NAMED_BY if key in item}
            there = sorted(named)
            found = [named[part]] if part in named else []
        else:
            there = [repr(value)]
        if not found:
            raise ValueProblem(
                f"{what} has no '{show_path(path[: depth + 1])}'; there is: {', '.join(there) or 'nothing'}"
            )
        value = found[0]
    return value


def show_path(path: Path) -> str:
    """A path as a reference writes it."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[A-Za-z0-9_:-]+", part):
            text += f".{part}" if text else part
        else:
            text += f"['{part}']"
    return text


def as_text(value: Any) -> str:
    """A scalar the way it is written into a text.

    Raises:
        ValueProblem: it is not a scalar.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    raise ValueProblem(f"{value!r} is not a text, number or boolean, so it cannot become a text")


def parse_json_path(text: Any) -> Path:
    """The path of a Std:JsonGet: the subset of JsonPath without filters and wildcards.

    Raises:
        ValueProblem: it is not of that subset.
    """
    if not isinstance(text, str) or not text:
        raise ValueProblem(f"a Std:JsonGet needs a Path, got {text!r}")
    return parse_path(re.sub(r"^\$\.?", "", text))


def _get(body: Any, scope: Scope) -> Any:
    path = parse_reference(body)
    name = str(path[1])
    if path[0] == "Parameters":
        return scope.parameter(name)
    if path[0] == "Execution":
        return scope.execution(name)
    return look_up(scope.step_output(name), path[2:], f"the result of step '{name}'")


def _join_parts(body: Any) -> tuple[str, list[Any]]:
    values = body.get("Values") if isinstance(body, dict) else None
    if not isinstance(values, list) or not isinstance(body.get("On", ""), str) or set(body) - {"On", "Values"}:
        raise ValueProblem(f"a Std:Join takes On (a text) and Values (a list), got {body!r}")
    return body.get("On", ""), values


def _join(body: Any, scope: Scope) -> str:
    on, values = _join_parts(body)
    return on.join(as_text(resolve(value, scope)) for value in values)


def _json_get_parts(body: Any) -> tuple[Any, Any]:
    sources = set(body) & {"PropertyFile", "S3Uri"} if isinstance(body, dict) else set()
    if len(sources) != 1 or set(body) - sources != {"Path"}:
        raise ValueProblem(f"a Std:JsonGet takes a Path and either a PropertyFile or an S3Uri, got {body!r}")
    if "S3Uri" in body:
        return body["S3Uri"], body["Path"]
    reference = body["PropertyFile"]
    path = parse_reference(reference.get("Get") if isinstance(reference, dict) else None)
    if path[0] != "Steps" or len(path) != 4 or path[2] != "PropertyFiles":
        raise ValueProblem(f"the PropertyFile of a Std:JsonGet is Steps.<step>.PropertyFiles.<name>, got {reference!r}")
    return reference, body["Path"]


def _json_get(body: Any, scope: Scope) -> Any:
    source, text = _json_get_parts(body)
    if "S3Uri" in body:
        uri = as_text(resolve(source, scope))
        document, what = scope.json_object(uri), uri
    else:
        reference = parse_reference(source["Get"])
        step, name = str(reference[1]), str(reference[3])
        document, what = scope.property_file(step, name), f"property file '{name}' of step '{step}'"
    return look_up(document, parse_json_path(text), what)


def condition_values(condition: Any) -> Iterator[Any]:
    """The values that a condition compares, nested conditions included.

    Raises:
        ValueProblem: it is not a condition of a known type, or lacks a value.
    """
    kind = condition.get("Type") if isinstance(condition, dict) else None
    if kind not in CONDITIONS:
        raise ValueProblem(f"a condition's Type must be one of {', '.join(CONDITIONS)}, got {kind!r}")
    if kind in COMPARISONS:
        yield _member(condition, "LeftValue")
        yield _member(condition, "RightValue")
    elif kind == "In":
        yield _member(condition, "QueryValue")
        values = _member(condition, "Values")
        if not isinstance(values, list):
            raise ValueProblem(f"the Values of an In condition are a list, got {values!r}")
        yield from values
    else:
        for nested in _nested_conditions(condition):
            yield from condition_values(nested)


def holds(condition: dict[str, Any], scope: Scope) -> bool:
    """Whether a condition is true.

    A number and a text that reads as a number compare as numbers, since results of steps are often texts.

    Raises:
        ValueProblem: a value cannot be resolved, or two values cannot be ordered.
    """
    kind = condition["Type"]
    if kind == "Not":
        return not holds(_nested_conditions(condition)[0], scope)
    if kind == "Or":
        return any(holds(nested, scope) for nested in _nested_conditions(condition))
    if kind == "In":
        query = resolve(condition["QueryValue"], scope)
        return any(_equal(query, resolve(value, scope)) for value in condition["Values"])
    left, right = resolve(condition["LeftValue"], scope), resolve(condition["RightValue"], scope)
    if kind == "Equals":
        return _equal(left, right)
    left, right = _alike(left, right)
    if not (_is_number(left) and _is_number(right)) and not (isinstance(left, str) and isinstance(right, str)):
        raise ValueProblem(f"{kind} cannot order {left!r} and {right!r}")
    return bool(_ORDER[kind](left, right))


def _member(condition: dict[str, Any], name: str) -> Any:
    if condition.get(name) is None:
        raise ValueProblem(f"a condition of type {condition['Type']} needs {name}")
    return condition[name]


def _nested_conditions(condition: dict[str, Any]) -> list[Any]:
    if condition["Type"] == "Or":
        nested = condition.get("Conditions")
        if not isinstance(nested, list) or not nested:
            raise ValueProblem("a condition of type Or needs Conditions, a list")
        return nested
    # Version 2 of the SageMaker SDK writes Expression, version 3 writes Condition.
    single = condition.get("Condition", condition.get("Expression"))
    if single is None:
        raise ValueProblem("a condition of type Not needs Condition")
    return [single]


def _equal(left: Any, right: Any) -> bool:
    left, right = _alike(left, right)
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _alike(left: Any, right: Any) -> tuple[Any, Any]:
    if _is_number(left) and isinstance(right, str):
        return left, _number(right)
    if _is_number(right) and isinstance(left, str):
        return _number(left), right
    return left, right


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
