"""The picture of a training pipeline: its steps, what each waits for, what a condition decides, and its parameters."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sagestack.review.assembly import Resource
from sagestack.review.intrinsics import as_text
from sagestack.review.pictures.graphviz import CREATED, DELETED, INK, LINE, MUTED, PAPER, UPDATED, bold, escaped

_STEP = re.compile(r"Steps\.([^.\[]+)")


@dataclass(frozen=True)
class Step:
    """One step, wherever in the definition it stands.

    Attributes:
        after: the names of the steps that it waits for, by data or by `DependsOn`.
        branch: of a condition: `then` or `else`, and empty outside of any.
    """

    name: str
    type: str
    instance: str
    definition: Mapping[str, Any] = field(repr=False, compare=False)
    after: tuple[str, ...] = ()
    branch: str = ""


def definition_of(resource: Resource | None) -> dict[str, Any] | None:
    """A pipeline's definition, its tokens as text; None where there is none that can be read."""
    if resource is None:
        return None
    definition = resource.properties.get("PipelineDefinition", {})
    body = definition.get("PipelineDefinitionBody") if isinstance(definition, Mapping) else None
    if body is None:
        return None
    try:
        parsed = json.loads(as_text(body))
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None


def steps_of(definition: Mapping[str, Any]) -> list[Step]:
    """All steps, those of a condition's branches after it."""
    return list(_steps(definition.get("Steps", []), "", ()))


def _steps(steps: Iterable[Mapping[str, Any]], branch: str, waits: tuple[str, ...]) -> Iterator[Step]:
    for step in steps:
        arguments = step.get("Arguments", {})
        own = {key: value for key, value in arguments.items() if key not in ("IfSteps", "ElseSteps")}
        found = dict.fromkeys([*step.get("DependsOn", []), *_STEP.findall(json.dumps(_getters(own))), *waits])
        yield Step(step["Name"], step["Type"], _instance(own), step, tuple(found), branch)
        for key, name in (("IfSteps", "then"), ("ElseSteps", "else")):
            yield from _steps(arguments.get(key) or [], name, (step["Name"],))


def _getters(value: Any) -> list[str]:
    if isinstance(value, list):
        return [found for each in value for found in _getters(each)]
    if isinstance(value, Mapping):
        own = [value["Get"]] if isinstance(value.get("Get"), str) else []
        files = value.get("Std:JsonGet", value.get("PropertyFile"))
        if isinstance(files, Mapping) and isinstance(files.get("Get"), str):
            own.append(files["Get"])
        return own + [found for key, each in value.items() if key != "Get" for found in _getters(each)]
    return []


def _instance(arguments: Mapping[str, Any]) -> str:
    for *above, last in (("ProcessingResources", "ClusterConfig"), ("ResourceConfig",), ("TransformResources",)):
        place: Any = arguments
        for key in above:
            place = place.get(key, {})
        place = place.get(last)
        if isinstance(place, Mapping) and "InstanceType" in place:
            count = place.get("InstanceCount", 1)
            return f"{count} x {place['InstanceType']}" if isinstance(place["InstanceType"], str) else ""
    return ""


def pipeline_dot(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    """The pipeline in Graphviz' language; steps that differ between the sides are marked."""
    old = {step.name: step for step in steps_of(before or {})}
    new = {step.name: step for step in steps_of(after or {})}
    everything = {**old, **new}
    lines = [
        "digraph pipeline {",
        f'graph [rankdir=LR, bgcolor="transparent", nodesep=0.25, ranksep=0.5, fontname="Arial", fontcolor="{INK}"];',
        f'node [shape=plain, fontname="Arial", fontsize=11, fontcolor="{INK}"];',
        f'edge [color="{LINE}", arrowsize=0.6, fontname="Arial", fontsize=9, fontcolor="{MUTED}"];',
    ]
    number = {name: f"s{place}" for place, name in enumerate(everything)}
    for name, step in everything.items():
        mark, colour = _mark(old.get(name), new.get(name), before, after)
        lines.append(f"{number[name]} [label=<{_step_box(step, mark, colour)}>];")
    for name, step in everything.items():
        for earlier in step.after:
            if earlier in number:
                label = f' [label="{step.branch}"]' if step.branch and everything[earlier].type == "Condition" else ""
                lines.append(f"{number[earlier]} -> {number[name]}{label};")
    parameters = _parameters(before, after)
    if parameters:
        lines.append(f"parameters [label=<{parameters}>];")
    return "\n".join([*lines, "}"])


def _mark(old: Step | None, new: Step | None, before: Any, after: Any) -> tuple[str, str]:
    if before is None or after is None:
        return "", LINE
    if old is None:
        return "+ ", CREATED
    if new is None:
        return "- ", DELETED
    return ("~ ", UPDATED) if old.definition != new.definition else ("", LINE)


def _step_box(step: Step, mark: str, colour: str) -> str:
    rows = [f'<TR><TD><FONT COLOR="{colour if mark else INK}">{bold(mark + step.name)}</FONT></TD></TR>']
    rows += [
        f'<TR><TD><FONT COLOR="{MUTED}" POINT-SIZE="9">{escaped(line)}</FONT></TD></TR>'
        for line in (step.type, step.instance)
        if line
    ]
    return (
        f'<TABLE BORDER="{2 if mark else 1}" CELLBORDER="0" CELLSPACING="0" CELLPADDING="4" STYLE="ROUNDED"'
        f' COLOR="{colour}" BGCOLOR="{PAPER}">{"".join(rows)}</TABLE>'
    )


def _parameters(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    old, new = (
        {p["Name"]: p.get("DefaultValue") for p in (side or {}).get("Parameters", [])} for side in (before, after)
    )
    rows = []
    for name, value in {**old, **new}.items():
        colour, mark = MUTED, ""
        if before is not None and after is not None and old.get(name) != new.get(name):
            colour, mark = (
                (CREATED, "+ ") if name not in old else (DELETED, "- ") if name not in new else (UPDATED, "~ ")
            )
        shown = "no default" if value is None else str(value)
        text = f"{mark}{name} = {shown if len(shown) <= 60 else shown[:57] + '...'}"
        rows.append(f'<TR><TD ALIGN="LEFT"><FONT COLOR="{colour}" POINT-SIZE="9">{escaped(text)}</FONT></TD></TR>')
    if not rows:
        return ""
    return (
        f'<TABLE BORDER="1" CELLBORDER="0" CELLSPACING="0" CELLPADDING="3" COLOR="{LINE}" BGCOLOR="{PAPER}">'
        f'<TR><TD ALIGN="LEFT"><B>Parameters</B></TD></TR>{"".join(rows)}</TABLE>'
    )
