"""Which names are taken while a stack is updated, so that CloudFormation fails to make something of that name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagestack.review.assembly import Assembly, Resource
from sagestack.review.changes.drafts import Draft
from sagestack.review.changes.schemas import schema_of
from sagestack.review.changes.stacks_in_use import stacks_that_stay
from sagestack.review.changes.templates import canonical
from sagestack.review.intrinsics import as_text, references
from sagestack.review.results import Action


def physical_name(resource: Resource) -> dict[str, Any] | None:
    """The properties that name a resource in the account, where the template writes them; None where AWS makes the name up.

    They are the schema's primary identifier. Where that is an ARN or an id, they are what is called a name and cannot
    change in place: an HTTP API has a `Name`, too, and any number of them may have the same.
    """
    schema = schema_of(resource.type)
    if schema is None:
        return None
    kind = resource.type.rpartition("::")[2]
    fixed = {rule[0] for rule in schema.create_only if len(rule) == 1}
    if resource.type.startswith("AWS::SageMaker::"):
        fixed.add(f"{kind}Name")  # not all of its schemas say so, and all of its names are unique
    called = ("Name", f"{kind}Name", f"{kind}Identifier", "GroupName")
    candidates = [schema.identifiers, *((name,) for name in called if name in fixed)]
    for names in candidates:
        if names and all(name in resource.properties for name in names):
            return {name: canonical(resource.properties[name]) for name in names}
    return None


def check_replaced_names(draft: Draft, drafts: Mapping[str, Draft]) -> None:
    """Says that a replacement under the same name fails: CloudFormation makes the new one before it deletes the old.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-updating-stacks-update-behaviors.html
    """
    if not draft.is_replaced or draft.before is None or draft.after is None or draft.before.type != draft.after.type:
        return
    old, new = physical_name(draft.before), physical_name(draft.after)
    if old is None or old != new:
        return
    for reference in references(list(new.values())):
        target = drafts.get(f"{draft.after.stack}/{reference.logical_id}")
        if target is not None and target.is_replaced:
            return  # the name changes with what it refers to
    name = ", ".join(as_text(value) for value in new.values())
    way = (
        f"Keep the logical id: undo the rename, or `override_logical_id({draft.renamed_from!r})`."
        if draft.renamed_from
        else f"Undo {_what(draft)}, or give the new one another name in the same commit."
    )
    draft.fail(
        f"CloudFormation makes the new one before it deletes the old, and {name} already exists. {way}",
    )


def _what(draft: Draft) -> str:
    paths = [f"`{change.path}`" for change in draft.properties if change.replaces == "yes"]
    return f"the change of {', '.join(paths)}" if paths else "what replaces it"


def check_created_names(drafts: Mapping[str, Draft], before: Assembly, after: Assembly) -> None:
    """Says of what is created that its name is taken: by what is deleted afterwards, or by a stack that stays."""
    taken: dict[str, str] = {}
    for stack in stacks_that_stay(before, after):
        for resource in stack.resources.values():
            taken[_named(resource, before) or ""] = f"{resource.address}, whose stack stays"
    for draft in drafts.values():
        if draft.action is Action.DELETED:
            taken[_named(draft.resource, before) or ""] = f"{draft.resource.address}, which is deleted only afterwards"
    for draft in drafts.values():
        name = _named(draft.resource, after) if draft.action is Action.CREATED else None
        if name is not None and name in taken:
            values = (physical_name(draft.resource) or {}).values()
            said = ", ".join(as_text(each) for each in values)
            draft.fail(f"{said} is the name of {taken[name]}.")


def _named(resource: Resource, assembly: Assembly) -> str | None:
    """Type, place and name; None for what AWS names, or for a name that is made of other resources."""
    name = physical_name(resource)
    if name is None or next(references(list(name.values())), None) is not None:
        return None
    stack = assembly.stacks[resource.stack]
    return f"{resource.type} {stack.account} {stack.region} {sorted(name.items())}"
