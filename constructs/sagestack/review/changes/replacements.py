"""Which changed resources CloudFormation makes anew: what their schemas say, CDK's diff, and what they refer to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from sagestack.review.assembly import Assembly, Resource
from sagestack.review.changes.cdk_diff import Impact, SecondOpinion
from sagestack.review.changes.drafts import Draft
from sagestack.review.changes.property_changes import ATTRIBUTES
from sagestack.review.changes.schemas import Replaces, is_custom, schema_of
from sagestack.review.changes.templates import Exports
from sagestack.review.intrinsics import references
from sagestack.review.results import Action, PropertyChange

_RANK = {Action.UPDATED: 0, Action.MAY_BE_REPLACED: 1, Action.REPLACED: 2}
_SAYS: Mapping[str, Replaces] = {"WILL_REPLACE": "yes", "MAY_REPLACE": "may", "WILL_UPDATE": "no"}
_IN_PLACE = {("AWS::SageMaker::Domain", "AppNetworkAccessType"), ("AWS::SageMaker::Domain", "SubnetIds")}
"""What CDK's diff takes for a replacement, and AWS changes in place, as its schema says.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateDomain.html
"""
_ACTIONS: Mapping[Replaces, Action] = {"no": Action.UPDATED, "may": Action.MAY_BE_REPLACED, "yes": Action.REPLACED}


def decide(draft: Draft, opinion: SecondOpinion) -> None:
    """Sets the action of what is on both sides under one logical id, by its own properties; the graver verdict wins."""
    if draft.before is None or draft.after is None:
        return
    if draft.before.type != draft.after.type:
        draft.action = Action.REPLACED
        draft.fail(
            f"CloudFormation refuses to make a {draft.after.type} of a {draft.before.type} under one logical id. "
            "Give the new one another construct id.",
        )
        return
    impact = opinion.of(draft.after.stack, draft.after.logical_id)
    schema = schema_of(draft.after.type)
    if schema is None:
        draft.properties = tuple(_unknown(change, impact) for change in draft.properties)
        draft.becauses.append(f"There is no resource schema of {draft.after.type} to say what changes in place.")
    elif impact is not None and not is_custom(draft.after.type):
        draft.properties = tuple(_with(draft, change, impact) for change in draft.properties)
    for change in draft.properties:
        if _RANK[_ACTIONS[change.replaces]] > _RANK[draft.action]:
            draft.action = _ACTIONS[change.replaces]
    certain = _listed(change.path for change in draft.properties if change.replaces == "yes")
    if certain:
        draft.becauses.append(f"{certain} cannot change in place.")
    elif draft.action is Action.MAY_BE_REPLACED:
        possible = _listed(change.path for change in draft.properties if change.replaces == "may")
        draft.becauses.append(f"Whether {possible} can change in place depends on more than the template tells.")


def _listed(paths: Iterable[str]) -> str:
    *others, last = [f"`{path}`" for path in paths] or [""]
    return f"{', '.join(others)} and {last}" if others else last


def _with(draft: Draft, change: PropertyChange, impact: Impact) -> PropertyChange:
    top = _top(change)
    if impact.properties.get(top) not in _SAYS or (draft.resource.type, top) in _IN_PLACE:
        return change  # a property that CDK does not know
    says = _SAYS[impact.properties[top]]
    if says == change.replaces:
        return change
    if _RANK[_ACTIONS[says]] > _RANK[_ACTIONS[change.replaces]]:
        # CDK decides by the property as a whole, the schema by the very place; where the schema has a rule for another place
        # in that property, it has looked closer.
        schema = schema_of(draft.resource.type)
        if schema and any(rule[0] == top and len(rule) > 1 for rule in (*schema.create_only, *schema.conditional)):
            return change
        draft.becauses.append(
            f"CDK's diff says that `{top}` {_verb(says)}, the resource schema that it {_verb(change.replaces)}."
        )
        return replace(change, replaces=says)
    draft.becauses.append(
        f"The resource schema says that `{top}` {_verb(change.replaces)}, CDK's diff that it {_verb(says)}."
    )
    return change


def _unknown(change: PropertyChange, impact: Impact | None) -> PropertyChange:
    """Without a schema CDK's word counts, and where it has none, either may be."""
    if change.path in ATTRIBUTES:
        return change
    says = impact.properties.get(_top(change), "") if impact else ""
    return replace(change, replaces=_SAYS.get(says, "may"))


def _top(change: PropertyChange) -> str:
    return change.path.partition(".")[0].partition("[")[0]


def _verb(replaces: Replaces) -> str:
    return {"yes": "replaces it", "may": "may replace it", "no": "changes in place"}[replaces]


class Followers:
    """What is replaced or updated for no reason of its own, but since it refers to what is replaced; also across stacks."""

    def __init__(self, after: Assembly, drafts: dict[str, Draft], opinion: SecondOpinion) -> None:
        self._after, self._drafts, self._opinion = after, drafts, opinion
        self._exports = Exports(after)
        self._referring: dict[str, list[tuple[Resource, str, tuple[str, ...], Any]]] = {}
        for resource in after.resources:
            for path, pointer, value in _places(resource.properties):
                for target in self._targets(resource, value):
                    self._referring.setdefault(target, []).append((resource, path, pointer, value))

    def follow(self) -> None:
        """Goes on until nothing new is replaced."""
        waiting = [
            address
            for address, draft in self._drafts.items()
            if draft.action in (Action.REPLACED, Action.MAY_BE_REPLACED)
        ]
        seen: set[tuple[str, Action]] = set()
        while waiting:
            address = waiting.pop(0)
            source = self._drafts[address]
            if (address, source.action) in seen or source.after is None:
                continue
            seen.add((address, source.action))
            for resource, path, pointer, value in self._referring.get(address, []):
                if self._changes(source, resource, path, pointer, value):
                    waiting.append(resource.address)

    def _changes(self, source: Draft, resource: Resource, path: str, pointer: tuple[str, ...], value: Any) -> bool:
        draft = self._drafts.get(resource.address)
        if draft is not None and draft.action in (Action.CREATED, Action.DELETED):
            return False
        action = self._action(source, resource, pointer, value)
        if source.action is Action.MAY_BE_REPLACED and action is Action.UPDATED:
            return False  # nothing that a reviewer could decide
        if draft is None:
            draft = self._drafts[resource.address] = Draft(resource, resource, Action.UPDATED)
        because = f"`{path}` refers to {source.resource.path}, which {_is(source.action)}."
        if because not in draft.becauses:
            draft.becauses.append(because)
        if _RANK[action] <= _RANK[draft.action]:
            return False
        draft.action = action
        return True

    def _action(self, source: Draft, resource: Resource, pointer: tuple[str, ...], value: Any) -> Action:
        schema = schema_of(resource.type)
        replaces = schema.replaces(pointer, value, None) if schema else "no"
        impact = self._opinion.of(resource.stack, resource.logical_id)
        if (
            impact
            and not is_custom(resource.type)
            and replaces == "no"
            and impact.properties.get(pointer[0]) == "WILL_REPLACE"
        ):
            replaces = "yes"
        if replaces == "yes" and source.action is Action.MAY_BE_REPLACED:
            replaces = "may"
        return _ACTIONS[replaces]

    def _targets(self, resource: Resource, value: Any) -> Iterator[str]:
        for reference in references(value):
            if reference.export is not None:
                yield from (each.address for each in self._exports.resources(reference.export))
            else:
                yield f"{resource.stack}/{reference.logical_id}"


def _is(action: Action) -> str:
    return "is replaced" if action is Action.REPLACED else "may be replaced"


def _places(properties: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """The properties down to two levels, which is as deep as schemas tell what replaces."""
    for name, value in properties.items():
        if (
            isinstance(value, Mapping)
            and value
            and not any(str(key).startswith("Fn::") or key == "Ref" for key in value)
        ):
            for inner, each in value.items():
                yield f"{name}.{inner}", (name, inner), each
        else:
            yield name, (name,), value
