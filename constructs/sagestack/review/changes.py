"""What a change creates, updates in place, replaces and deletes, and what that costs in data and in answers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from sagestack.review import interruptions
from sagestack.review.assembly import Assembly, Resource, StackTemplate
from sagestack.review.cdk_diff import second_opinion, why_missing
from sagestack.review.drafts import Context, Draft
from sagestack.review.held_data import (
    holds_data,
    outcome_of_deletion,
    outcome_of_replacement,
    policy_of,
    strength,
)
from sagestack.review.property_changes import property_changes
from sagestack.review.renames import renames
from sagestack.review.replacements import Followers, check_names, decide, physical_name
from sagestack.review.results import Action, PropertyChange, ResourceChange, Severity
from sagestack.review.schemas import is_custom
from sagestack.review.stacks_in_use import (
    check_exports,
    is_same_stack,
    note_on_stack_that_stays,
    stacks_that_stay,
    withdrawn_exports,
)
from sagestack.review.templates import as_text, references

_SEVERITIES = list(Severity)
_ACTIONS = list(Action)
_FATES = ["lost", "refused", "kept", "none"]

_MADE_ANEW = {
    "AWS::SageMaker::Model",
    "AWS::SageMaker::EndpointConfig",
    "AWS::SageMaker::DataQualityJobDefinition",
    "AWS::SageMaker::ModelQualityJobDefinition",
    "AWS::SageMaker::ModelBiasJobDefinition",
    "AWS::SageMaker::ModelExplainabilityJobDefinition",
    "AWS::ApiGateway::Deployment",
    "AWS::ApiGatewayV2::Deployment",
    "AWS::Lambda::Version",
    "AWS::Lambda::LayerVersion",
}
"""Types that never change in place: a replacement is how they change, and what refers to them says what that means."""

_GLUE = _MADE_ANEW | {
    "AWS::IAM::Policy",
    "AWS::IAM::ManagedPolicy",
    "AWS::Lambda::Permission",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
    "AWS::SSM::Parameter",
    "AWS::ApplicationAutoScaling::ScalingPolicy",
}
"""Types that nobody misses by themselves: what they allowed is in the review of permissions."""

_ONLY_REPLACED = {"AWS::IAM::Role", "AWS::IAM::InstanceProfile"}
"""Types of which another account may know the ARN, so that a replacement is worth a look and a deletion none."""

_ASSET = re.compile(r"[0-9a-f]{64}")


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
                )
    missing = why_missing()
    return tuple(notes if missing is None else [*notes, missing])


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
        _judge(draft, context)
    check_exports(drafts, before, after)
    _check_created_names(drafts, before, after)
    return drafts


def _renamed(was: Resource, resource: Resource) -> Draft:
    draft = Draft(was, resource, Action.REPLACED, property_changes(was, resource), renamed_from=was.logical_id)
    if was.stack != resource.stack:
        draft.becauses.append(
            f"It moves from stack {was.stack} to {resource.stack}: made anew there, deleted here. "
            "CloudFormation can move it as it is: `cdk refactor`, or a stack refactor."
        )
    elif was.type in _MADE_ANEW:
        draft.becauses.append("It is made anew with each change, under another logical id.")
    else:
        paths = f"`{was.path}` became `{resource.path}`" if was.path != resource.path else f"`{resource.path}`"
        draft.becauses.append(
            f"Its logical id changes ({paths}): to CloudFormation that is another resource. To keep the old one, keep its "
            f"construct id, or `override_logical_id({was.logical_id!r})`."
        )
    return draft


def _judge(draft: Draft, context: Context) -> None:
    """The rules of docs/reference/review.md, in this order; the gravest says how grave the change is."""
    _policies(draft)
    check_names(draft, context.drafts)
    _data(draft, context)
    _service_token(draft)
    interruptions.judge(draft, context)
    _code(draft)
    kind = draft.resource.type
    is_quiet = kind in _GLUE or is_custom(kind)
    if draft.action is Action.DELETED and not (is_quiet or kind in _ONLY_REPLACED or holds_data(draft.resource)):
        draft.raise_to(Severity.WARNING)
    if draft.action in (Action.REPLACED, Action.MAY_BE_REPLACED) and not is_quiet:
        draft.raise_to(Severity.WARNING)


def _data(draft: Draft, context: Context) -> None:
    if draft.before is None or not holds_data(draft.before):
        return
    stack = context.before.stacks[draft.before.stack]
    if draft.action is Action.DELETED or draft.renamed_from:
        outcome = outcome_of_deletion(draft.before, stack)
        if draft.renamed_from:
            outcome = outcome_of_replacement(draft.before, draft.before, stack, attribute="DeletionPolicy")
    elif draft.action in (Action.REPLACED, Action.MAY_BE_REPLACED) and draft.after is not None:
        outcome = outcome_of_replacement(draft.before, draft.after, stack)
    else:
        return
    draft.data = outcome.fate
    is_missed = draft.action is not Action.DELETED  # kept is kept, and what replaces it has none of it
    severity = outcome.weight if outcome.fate != "kept" or is_missed else Severity.WARNING
    if outcome.sentence:
        prefix = "If it is replaced: " if draft.action is Action.MAY_BE_REPLACED else ""
        draft.say(severity, f"{prefix}{outcome.sentence}")


def _policies(draft: Draft) -> None:
    if draft.before is None or draft.after is None or draft.renamed_from:
        return
    for attribute, moment in (("DeletionPolicy", "deleted"), ("UpdateReplacePolicy", "replaced")):
        old, new = policy_of(draft.before, attribute), policy_of(draft.after, attribute)
        if strength(new) < strength(old):
            severity = Severity.WARNING if holds_data(draft.after) else Severity.NOTICE
            draft.say(severity, f"{attribute} {old} becomes {new}: nothing saves it any more when it is {moment}.")


def _service_token(draft: Draft) -> None:
    if not is_custom(draft.resource.type) or not draft.is_replaced or draft.renamed_from or draft.before is None:
        return
    draft.say(
        Severity.DANGER,
        "The deployment fails: CloudFormation refuses to give a custom resource another function (`Modifying service token is "
        "not allowed`). Give it another construct id in the same commit.",
    )


def _code(draft: Draft) -> None:
    """Says in words that the hash of some code changed."""
    if draft.action not in (Action.UPDATED, Action.REPLACED):
        return
    for change in draft.properties:
        if draft.resource.type == "AWS::Lambda::Function" and change.path.startswith("Code."):
            draft.say(Severity.NOTICE, f"The code of the function changed{_hashes(change)}; no call is interrupted.")
        elif _hashes(change):
            draft.say(Severity.NOTICE, f"The content of `{change.path}` changed{_hashes(change)}.")


def _hashes(change: PropertyChange) -> str:
    old, new = (_ASSET.findall(as_text(value)) for value in (change.before, change.after))
    if not old or not new or old == new:
        return ""
    return f" (asset {old[-1][:8]} to {new[-1][:8]})"


def _check_created_names(drafts: Mapping[str, Draft], before: Assembly, after: Assembly) -> None:
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
            draft.say(Severity.DANGER, f"The deployment fails: {said} is the name of {taken[name]}.")


def _named(resource: Resource, assembly: Assembly) -> str | None:
    """Type, place and name; None for what AWS names, or for a name that is made of other resources."""
    name = physical_name(resource)
    if name is None or next(references(list(name.values())), None) is not None:
        return None
    stack = assembly.stacks[resource.stack]
    return f"{resource.type} {stack.account} {stack.region} {sorted(name.items())}"


def _order(change: ResourceChange) -> tuple[int, int, int, str]:
    return (
        _SEVERITIES.index(change.severity),
        _FATES.index(change.data),
        _ACTIONS.index(change.action),
        change.resource.address,
    )
