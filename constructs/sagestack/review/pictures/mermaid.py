"""The same for a comment: Mermaid, which GitHub and GitLab draw; only what changes and what it touches."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from sagestack.review.pictures.parts import Part
from sagestack.review.pictures.pipelines import steps_of
from sagestack.review.pictures.stacks import MARKS, short
from sagestack.review.results import Action

_MOST = 40
"""Boxes; more than that is a page's matter, not a comment's."""
_CLASSES = {
    Action.CREATED: "created",
    Action.UPDATED: "updated",
    Action.REPLACED: "replaced",
    Action.MAY_BE_REPLACED: "replaced",
    Action.DELETED: "deleted",
}
_STYLES = (
    "classDef created stroke:#1a7f37,stroke-width:2px",
    "classDef updated stroke:#9a6700,stroke-width:2px",
    "classDef replaced stroke:#8250df,stroke-width:2px",
    "classDef deleted stroke:#cf222e,stroke-width:2px,stroke-dasharray:4",
)


def text(label: str) -> str:
    """A label in Mermaid's quotes: its own characters as entities."""
    return re.sub(r"[^\w .,:+~/()\u00b1-]", lambda m: f"#{ord(m[0])};", label)


def stacks_mermaid(parts: Iterable[Part], edges: Iterable[tuple[str, str]]) -> str:
    """The constructs that change, and their neighbours; empty where nothing does, or too much."""
    parts = list(parts)
    changed = {part.key for part in parts if part.actions}
    near = (
        changed | {tail for tail, head in edges if head in changed} | {head for tail, head in edges if tail in changed}
    )
    kept = near if len(near) <= _MOST else changed
    if not changed or len(kept) > _MOST:
        return ""
    shown = [part for part in parts if part.key in kept]
    number = {part.key: f"n{place}" for place, part in enumerate(shown)}
    lines = ["flowchart LR"]
    for place, stack in enumerate(dict.fromkeys(part.stack for part in shown)):
        lines.append(f'subgraph g{place} ["{text(stack)}"]')
        for part in shown:
            if part.stack == stack:
                inside = [
                    f"{MARKS[action]} {short(resource.type)}"
                    for resource in part.resources
                    if (action := part.actions.get(resource.logical_id))
                ]
                label = "<br/>".join(
                    text(line) for line in [part.name, *inside[:5], *(["..."] if len(inside) > 5 else [])]
                )
                lines.append(f'{number[part.key]}["{label}"]')
        lines.append("end")
    lines += [f"{number[tail]} --> {number[head]}" for tail, head in edges if tail in number and head in number]
    lines += [f"class {number[part.key]} {_CLASSES[part.worst]}" for part in shown if part.worst]
    return "\n".join([*lines, *_STYLES])


def pipeline_mermaid(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    """A pipeline's steps, those that differ marked."""
    old = {step.name: step for step in steps_of(before or {})}
    new = {step.name: step for step in steps_of(after or {})}
    everything = {**old, **new}
    if not everything or len(everything) > _MOST:
        return ""
    number = {name: f"s{place}" for place, name in enumerate(everything)}
    lines = ["flowchart LR"]
    for name, step in everything.items():
        lines.append(
            f'{number[name]}["{"<br/>".join(text(line) for line in (name, step.type, step.instance) if line)}"]'
        )
        lines += [f"{number[earlier]} --> {number[name]}" for earlier in step.after if earlier in number]
        if before is not None and after is not None:
            if name not in old:
                lines.append(f"class {number[name]} created")
            elif name not in new:
                lines.append(f"class {number[name]} deleted")
            elif old[name].definition != new[name].definition:
                lines.append(f"class {number[name]} updated")
    return "\n".join([*lines, *_STYLES])
