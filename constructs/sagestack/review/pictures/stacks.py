"""The picture of an environment's stacks: constructs as boxes, what changes in them as lines of the box."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from sagestack.review.pictures.graphviz import (
    CREATED,
    DELETED,
    INK,
    LINE,
    MUTED,
    PAPER,
    REPLACED,
    UPDATED,
    bold,
    escaped,
)
from sagestack.review.pictures.parts import Part
from sagestack.review.results import Action

COLOURS = {
    Action.CREATED: CREATED,
    Action.UPDATED: UPDATED,
    Action.REPLACED: REPLACED,
    Action.MAY_BE_REPLACED: REPLACED,
    Action.DELETED: DELETED,
}
MARKS = {
    Action.CREATED: "+",
    Action.UPDATED: "~",
    Action.REPLACED: "±",
    Action.MAY_BE_REPLACED: "±?",
    Action.DELETED: "-",
}
"""Before colours: a picture that is printed, or seen by somebody who sees no red, says the same."""
_LINES = 6
"""How many kinds of unchanged resources a box names; the rest is counted."""


def short(type_: str) -> str:
    """`AWS::IAM::Role` as `IAM Role`."""
    return " ".join(type_.removeprefix("AWS::").split("::"))


def stacks_dot(parts: Iterable[Part], edges: Iterable[tuple[str, str]]) -> str:
    """The stacks in Graphviz' language."""
    parts = list(parts)
    lines = [
        "digraph stacks {",
        f'graph [rankdir=LR, bgcolor="transparent", nodesep=0.18, ranksep=0.7, fontname="Arial", fontcolor="{INK}"];',
        f'node [shape=plain, fontname="Arial", fontsize=11, fontcolor="{INK}"];',
        f'edge [color="{LINE}", arrowsize=0.6];',
    ]
    number = {part.key: f"n{place}" for place, part in enumerate(parts)}
    for place, stack in enumerate(dict.fromkeys(part.stack for part in parts)):
        lines.append(f"subgraph cluster_{place} {{")
        lines.append(f'label=<{bold(stack)}>; style=rounded; color="{LINE}"; margin=10;')
        lines += [f"{number[part.key]} [label=<{_box(part)}>];" for part in parts if part.stack == stack]
        lines.append("}")
    lines += [f"{number[tail]} -> {number[head]};" for tail, head in edges]
    return "\n".join([*lines, "}"])


def _box(part: Part) -> str:
    worst = part.worst
    colour = COLOURS[worst] if worst else LINE
    rows = [f'<TR><TD ALIGN="LEFT">{bold(part.name)}</TD></TR>']
    for resource in part.resources:
        action = part.actions.get(resource.logical_id)
        if action:
            below = resource.path.removeprefix(part.name).lstrip("/")
            text = f"{MARKS[action]} {short(resource.type)}" + (f" ({below})" if below else "")
            rows.append(f'<TR><TD ALIGN="LEFT"><FONT COLOR="{COLOURS[action]}">{escaped(text)}</FONT></TD></TR>')
    same = Counter(short(r.type) for r in part.resources if r.logical_id not in part.actions)
    shown = [f"{name} x {count}" if count > 1 else name for name, count in same.most_common(_LINES)]
    if len(same) > _LINES:
        shown.append(f"and {sum(same.values()) - sum(count for _, count in same.most_common(_LINES))} more")
    rows += [
        f'<TR><TD ALIGN="LEFT"><FONT COLOR="{MUTED}" POINT-SIZE="9">{escaped(line)}</FONT></TD></TR>' for line in shown
    ]
    border = 2 if worst else 1
    return (
        f'<TABLE BORDER="{border}" CELLBORDER="0" CELLSPACING="0" CELLPADDING="3" STYLE="ROUNDED" COLOR="{colour}"'
        f' BGCOLOR="{PAPER}">{"".join(rows)}</TABLE>'
    )
