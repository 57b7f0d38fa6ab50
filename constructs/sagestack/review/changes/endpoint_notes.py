"""Says where one change does several things to the same endpoint at once, so that no alarm could tell which of them was bad."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sagestack.review.assembly import Assembly
from sagestack.review.changes.served_endpoints import Endpoint, endpoint_of
from sagestack.review.intrinsics import references
from sagestack.review.results import Action, ResourceChange

_ENDPOINT = "AWS::SageMaker::Endpoint"
_SCALING = ("AWS::ApplicationAutoScaling::ScalableTarget", "AWS::ApplicationAutoScaling::ScalingPolicy")


def several_at_once(
    before: Assembly | None, after: Assembly | None, changes: Sequence[ResourceChange]
) -> tuple[str, ...]:
    """A sentence for each endpoint to which more than one thing happens. New and deleted endpoints have no such question."""
    if before is None or after is None:
        return ()
    notes = []
    old_ones = {each.address: each for each in before.resources if each.type == _ENDPOINT}
    for resource in after.resources:
        if resource.type != _ENDPOINT or resource.address not in old_ones:
            continue
        old, new = endpoint_of(old_ones[resource.address], before), endpoint_of(resource, after)
        things = [*_differences(old, new), *_scaling(new, changes)]
        if len(things) > 1:
            listed = f"{', '.join(things[:-1])} and {things[-1]}"
            notes.append(
                f"Endpoint {resource.stack}/{resource.path} changes in {len(things)} ways at once: {listed}. One update carries"
                " all of them: an alarm takes all of them back, and does not say which was bad. A change for each would."
            )
    return tuple(notes)


def _differences(old: Endpoint, new: Endpoint) -> Iterator[str]:
    if old.kind != new.kind:
        yield f"its kind ({old.kind} to {new.kind})"
    if old.served != new.served:
        yield f"what it serves ({', '.join(old.served) or 'nothing'} to {', '.join(new.served) or 'nothing'})"
    if old.instances != new.instances:
        yield f"its instances ({_fleet(old)} to {_fleet(new)})"
    if (old.policy, old.alarms) != (new.policy, new.alarms):
        yield "how an update of it goes"


def _fleet(endpoint: Endpoint) -> str:
    return (
        ", ".join(f"{'some' if count is None else count} x {kind}" for kind, count in endpoint.instances.values())
        or "none"
    )


def _scaling(endpoint: Endpoint, changes: Sequence[ResourceChange]) -> Iterator[str]:
    """Whether what scales the endpoint changes; its resource id names it, and a policy names its target."""
    stack = endpoint.resource.stack
    of_endpoint = {endpoint.resource.logical_id}
    for kind in _SCALING:
        for change in changes:
            resource = change.resource
            if resource.type != kind or resource.stack != stack:
                continue
            if of_endpoint & {each.logical_id for each in references(dict(resource.properties))}:
                of_endpoint.add(resource.logical_id)
                if change.action is not Action.CREATED or kind == _SCALING[0]:
                    yield "how it is scaled"
                    return
