"""What a change creates, updates in place, replaces and deletes, and what that costs in data and in answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sagestack.review.assembly import Assembly, Resource, StackTemplate
from sagestack.review.changes.cdk_diff import problems, second_opinion
from sagestack.review.changes.drafts import Context, Draft
from sagestack.review.changes.physical_names import check_created_names
from sagestack.review.changes.property_changes import property_changes
from sagestack.review.changes.renames import renames
from sagestack.review.changes.replacements import Followers, decide
from sagestack.review.changes.stacks_in_use import (
    check_exports,
    is_same_stack,
    note_on_stack_that_stays,
    stacks_that_stay,
    withdrawn_exports,
)
from sagestack.review.changes.verdicts import MADE_ANEW, judge
from sagestack.review.results import Action, ResourceChange, Severity

_SEVERITIES = list(Severity)
_ACTIONS = list(Action)
_PARAMETERS = " A stack that is deployed keeps the values that it has: `cdk deploy` gives it no new default."
"""https://docs.aws.amazon.com/cdk/v2/guide/ref-cli-cmd-deploy.html (`--previous-parameters`)"""
_FATES = ["lost", "refused", "kept", "none"]


def resource_changes(before: Assembly | None, after: Assembly | None) -> tuple[ResourceChange, ...]:
    """What CloudFormation will do to each resource, most dangerous first; empty where it sees no difference.

    Of a stack that leaves the app nothing is deleted, so none of it is listed; `change_notes` says that it stays.

    Args:
        before: None where the environment is new: everything is created.
        after: None where the environment is gone: nothing happens, its stacks stay.
    """
    return tuple(sorted((draft.done() for draft in _drafts(before, after).values()), key=_order))


def change_notes(before: Assembly | None, after: Assembly | None) -> tuple[str, ...]:
    """What a reviewer should know that is about no single resource: stacks that stay, exports in use, no second opinion."""
    if before is None:
        return ()
    notes = [note_on_stack_that_stays(stack, after) for stack in stacks_that_stay(before, after)]
    if after is None:
        return tuple(notes)
    notes += withdrawn_exports(before, after)
    for old, new in _pairs(before, after):
        if old.has_termination_protection and not new.has_termination_protection:
            notes.append(f"Stack {new.name} loses its termination protection: one command can delete it.")
        for part in ("Parameters", "Mappings", "Conditions"):
            changed = _changed_keys(old.template.get(part, {}), new.template.get(part, {}))
            if changed:
                notes.append(
                    f"Stack {new.name} has other {part.lower()} ({', '.join(changed)}); what depends on them is not followed."
                    + (_PARAMETERS if part == "Parameters" else "")
                )
    return (*notes, *problems())


def _changed_keys(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    return sorted(key for key in {*before, *after} - {"BootstrapVersion"} if before.get(key) != after.get(key))


def _pairs(before: Assembly, after: Assembly) -> Iterator[tuple[StackTemplate, StackTemplate]]:
    for name, stack in after.stacks.items():
        if name in before.stacks and is_same_stack(before.stacks[name], stack):
            yield before.stacks[name], stack


def _drafts(before: Assembly | None, after: Assembly | None) -> dict[str, Draft]:
    if after is None:
        return {}
    if before is None:
        return {each.address: Draft(None, each, Action.CREATED) for each in after.resources}
    pairs = list(_pairs(before, after))
    drafts: dict[str, Draft] = {}
    gone: list[Resource] = []
    come = [
        each
        for name, stack in after.stacks.items()
        if name not in {new.name for _, new in pairs}
        for each in stack.resources.values()
    ]
    for old, new in pairs:
        for logical_id, resource in new.resources.items():
            was = old.resources.get(logical_id)
            if was is None:
                come.append(resource)
            elif was.definition != resource.definition:
                changes = property_changes(was, resource)
                if changes or was.type != resource.type:
                    drafts[resource.address] = Draft(was, resource, Action.UPDATED, changes)
        gone += [each for logical_id, each in old.resources.items() if logical_id not in new.resources]
    touched = {draft.resource.stack for draft in drafts.values()}
    opinion = second_opinion([(old, new) for old, new in pairs if new.name in touched])
    for draft in drafts.values():
        decide(draft, opinion)
    for was, resource in renames(gone, come):
        drafts[resource.address] = _renamed(was, resource)
        gone.remove(was)
        come.remove(resource)
    drafts |= {each.address: Draft(None, each, Action.CREATED) for each in come}
    drafts |= {f"{each.address} (deleted)": Draft(each, None, Action.DELETED) for each in gone}
    Followers(after, drafts, opinion).follow()
    context = Context(before, after, drafts)
    for draft in drafts.values():
        judge(draft, context)
    check_exports(drafts, before, after)
    check_created_names(drafts, before, after)
    return drafts


def _renamed(was: Resource, resource: Resource) -> Draft:
    draft = Draft(was, resource, Action.REPLACED, property_changes(was, resource), renamed_from=was.logical_id)
    if was.stack != resource.stack:
        draft.becauses.append(
            f"It moves from stack {was.stack} to {resource.stack}: made anew there, deleted here. "
            "CloudFormation can move it as it is: `cdk refactor`, or a stack refactor."
        )
    elif was.type in MADE_ANEW:
        draft.becauses.append("It is made anew with each change, under another logical id.")
    else:
        paths = f"`{was.path}` became `{resource.path}`" if was.path != resource.path else f"`{resource.path}`"
        where = f", {resource.source}" if resource.source else ""
        draft.becauses.append(
            f"Its logical id changes ({paths}{where}): to CloudFormation that is another resource. To keep the old one, keep its "
            f"construct id, or `override_logical_id({was.logical_id!r})`."
        )
    return draft


def _order(change: ResourceChange) -> tuple[int, int, int, str]:
    return (
        _SEVERITIES.index(change.severity),
        _FATES.index(change.data),
        _ACTIONS.index(change.action),
        change.resource.address,
    )
