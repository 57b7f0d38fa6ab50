"""What a change means between stacks: stacks that leave the app, and exports that others still hold."""

from __future__ import annotations

from collections.abc import Mapping

from sagestack.review.assembly import Assembly, StackTemplate
from sagestack.review.changes.drafts import Draft
from sagestack.review.changes.held_data import HELD
from sagestack.review.changes.templates import Exports
from sagestack.review.intrinsics import references
from sagestack.review.results import NOTE_OF_FAILURE, Action

_ANSWERS = {"AWS::SageMaker::Endpoint", "AWS::SageMaker::InferenceComponent", "AWS::SageMaker::NotebookInstance"}


def is_same_stack(before: StackTemplate, after: StackTemplate) -> bool:
    """Whether CloudFormation updates the one to the other; in another account or region it is another."""
    return (before.account, before.region) == (after.account, after.region)


def stacks_that_stay(before: Assembly, after: Assembly | None) -> list[StackTemplate]:
    """The stacks that leave the app: nothing deletes them."""
    return [
        stack
        for name, stack in before.stacks.items()
        if after is None or name not in after.stacks or not is_same_stack(stack, after.stacks[name])
    ]


def note_on_stack_that_stays(stack: StackTemplate, after: Assembly | None) -> str:
    """Why nothing of it is deleted, what that costs, and how it is deleted.

    https://docs.aws.amazon.com/cdk/v2/guide/ref-cli-cmd-destroy.html
    """
    moved = after.stacks.get(stack.name) if after else None
    if moved is not None:
        begin = (
            f"Stack {stack.name} moves from {stack.account}/{stack.region} to {moved.account}/{moved.region}: "
            "everything is made anew there, and the old stack stays where it is."
        )
    else:
        begin = f"Stack {stack.name} is no longer in the app, and `cdk deploy` does not delete it: it stays."
    answering = sorted(each.path for each in stack.resources.values() if each.type in _ANSWERS)
    goes_on = f" {' and '.join(answering)} in it goes on answering, and is paid for." if answering else ""
    held = [f"{each.path} ({HELD[each.type].what})" for each in stack.resources.values() if each.type in HELD]
    data = f" It holds data: {'; '.join(sorted(held))}." if held else ""
    protected = (
        " It has termination protection, which must be switched off first." if stack.has_termination_protection else ""
    )
    way = f"To delete it: aws cloudformation delete-stack --stack-name {stack.name} --region {stack.region}"
    return f"{begin}{goes_on}{data}{protected} {way}"


def withdrawn_exports(before: Assembly, after: Assembly) -> list[str]:
    """Exports that are taken back while a stack that is deployed still imports them: CloudFormation refuses that.

    The stack that exports is deployed first, when the one that imports is still as it was.
    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-exports.html
    """
    old, new = Exports(before), Exports(after)
    notes = []
    for name, (stack, value) in old.values.items():
        kept = after.stacks.get(stack.name)
        if name in new.values or kept is None or not is_same_stack(stack, kept):
            continue
        if any(
            each.logical_id in stack.resources and each.logical_id not in kept.resources for each in references(value)
        ):
            continue  # said of the resource itself, see `check_exports`
        importers = old.importers.get(name, [])
        stay = [each for each in importers if each in {gone.name for gone in stacks_that_stay(before, after)}]
        if stay:
            notes.append(
                f"{NOTE_OF_FAILURE}{stack.name} fails: it takes back the export {name}, which {', '.join(stay)} imports, "
                "and that stack is no longer in the app but still there. Delete it first."
            )
        elif importers:
            notes.append(
                f"{NOTE_OF_FAILURE}{stack.name} fails: it takes back the export {name}, which {', '.join(importers)} "
                "still imports at that moment. Deploy twice: first keep it with `stack.export_value(...)`, then take it back."
            )
    return notes


def check_exports(drafts: Mapping[str, Draft], before: Assembly, after: Assembly) -> None:
    """Says of what is replaced or deleted that CloudFormation refuses to touch an export that another stack imports."""
    old, new = Exports(before), Exports(after)
    by_old_address = {draft.before.address: draft for draft in drafts.values() if draft.before}
    touched: dict[str, tuple[list[str], set[str], set[str]]] = {}
    for name, (stack, value) in old.values.items():
        importers = old.importers.get(name, [])
        if not importers or stack.name not in after.stacks:
            continue
        for reference in references(value):
            draft = by_old_address.get(f"{stack.name}/{reference.logical_id}")
            if draft is None or draft.action not in (Action.REPLACED, Action.DELETED):
                continue
            exports, stacks, verbs = touched.setdefault(f"{stack.name}/{reference.logical_id}", ([], set(), set()))
            exports.append(name.removeprefix(f"{stack.name}:"))
            stacks.update(importers)
            verbs.add("changes" if name in new.values else "takes back")
    for address, (exports, stacks, verbs) in touched.items():
        by_old_address[address].fail(
            f"it {' and '.join(sorted(verbs))} what {', '.join(sorted(stacks))} "
            f"import{'s' if len(stacks) == 1 else ''} ({', '.join(exports)}), and CloudFormation refuses that while it is "
            "imported. Make the new one beside the old, move the importers in a deployment of their own, then delete the old.",
        )
