"""What is drawn of stacks: resources gathered by the construct that they belong to, and what refers to what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sagestack.review.assembly import Assembly, Resource
from sagestack.review.intrinsics import references
from sagestack.review.results import Action, ResourceChange


@dataclass
class Part:
    """One construct of a stack: everything below the first name of a path."""

    stack: str
    name: str
    resources: list[Resource] = field(default_factory=list)
    actions: dict[str, Action] = field(default_factory=dict)
    """By logical id; what is not in it does not change."""

    @property
    def key(self) -> str:
        return f"{self.stack}/{self.name}"

    @property
    def worst(self) -> Action | None:
        """The gravest of what happens in it."""
        order = list(Action)
        return min(self.actions.values(), key=order.index, default=None)


def parts_of(
    before: Assembly | None, after: Assembly | None, changes: Iterable[ResourceChange]
) -> tuple[list[Part], list[tuple[str, str]]]:
    """The constructs of both sides, and who refers to whom (by key, without repetition, in a stable order).

    Lines to an encryption key that does not change are left out.
    """
    actions = {change.resource.address: change.action for change in changes}
    parts: dict[str, Part] = {}
    owner: dict[str, str] = {}
    here = after.resources if after else []
    gone = {
        resource.address: resource
        for resource in (before.resources if before else ())
        if after is None or resource.address in actions
    }
    for resource in here:
        gone.pop(resource.address, None)
    for resource in [*here, *gone.values()]:
        name = resource.path.split("/")[0]
        part = parts.setdefault(f"{resource.stack}/{name}", Part(resource.stack, name))
        part.resources.append(resource)
        if resource.address in actions:
            part.actions[resource.logical_id] = actions[resource.address]
        owner[resource.address] = part.key
    # Nearly everything is encrypted with the one key: lines to it would hide the others, and say nothing.
    silent = {
        key
        for key, part in parts.items()
        if not part.actions and all(r.type == "AWS::KMS::Key" for r in part.resources)
    }
    edges = [edge for edge in _edges(after or before, owner) if edge[1] not in silent]
    return list(parts.values()), edges


def _edges(assembly: Assembly | None, owner: Mapping[str, str]) -> list[tuple[str, str]]:
    if assembly is None:
        return []
    exported = {
        output["Export"]["Name"]: {
            f"{stack.name}/{found.logical_id}" for found in references(output["Value"]) if found.logical_id
        }
        for stack in assembly.stacks.values()
        for output in stack.template.get("Outputs", {}).values()
        if isinstance(output.get("Export", {}).get("Name"), str)
    }
    edges: dict[tuple[str, str], None] = {}
    for resource in assembly.resources:
        for found in references(resource.definition):
            own = {f"{resource.stack}/{found.logical_id}"}
            targets = exported.get(found.export, set()) if found.export else own
            for target in sorted(targets):
                ends = owner.get(resource.address), owner.get(target)
                if ends[0] and ends[1] and ends[0] != ends[1]:
                    edges[ends[0], ends[1]] = None
    return list(edges)
