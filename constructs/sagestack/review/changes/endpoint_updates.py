"""What callers of an endpoint notice of its update, and who watches it meanwhile."""

from __future__ import annotations

from sagestack.review.changes.drafts import Context, Draft
from sagestack.review.changes.served_endpoints import (
    Endpoint,
    endpoint_of,
    policy_in_words,
    rollback_alarms,
    served_by,
    watched_by,
)
from sagestack.review.intrinsics import as_text, references
from sagestack.review.results import Action, Severity


def judge_endpoint(draft: Draft, context: Context) -> None:
    """A new endpoint interrupts nobody; a changed one is moved by its policy."""
    before = endpoint_of(draft.before, context.before) if draft.before else None
    after = endpoint_of(draft.after, context.after) if draft.after else None
    if before is None:
        return
    if after is None:
        draft.interrupt(Severity.DANGER, f"Callers of {before.name} get errors: the endpoint is deleted.")
        draft.say(
            Severity.DANGER,
            "Nothing answers in its place; bring it back by reverting the commit, which makes a new one.",
        )
        return
    if draft.is_replaced:
        if before.name == after.name:
            draft.interrupt(
                Severity.DANGER, f"Callers of {before.name} get errors if the old one is deleted to make room."
            )
        else:
            draft.interrupt(
                Severity.DANGER, f"Callers of {before.name} get errors until they ask {after.name} instead."
            )
        return
    _update(draft, before, after, _moves(draft, before, after, context))
    if before.kind != after.kind:
        return  # another kind is watched in another way
    _watch(draft, before.alarms, after.alarms, f"updates of {after.name}")
    if before.policy != after.policy:
        severity = Severity.WARNING if after.shifts_at_once else Severity.NOTICE
        draft.say(severity, f"Updates go {after.policy}, from this one on; they went {before.policy}.")


def _moves(draft: Draft, before: Endpoint, after: Endpoint, context: Context) -> bool:
    """Whether the endpoint gets another config, so that SageMaker moves its traffic."""
    if draft.changed("EndpointConfigName"):
        return True
    config = context.drafts.get(after.config.address) if after.config else None
    return config is not None and config.action in (Action.REPLACED, Action.CREATED)


def _update(draft: Draft, before: Endpoint, after: Endpoint, moves: bool) -> None:
    if not moves:
        return
    if before.kind != after.kind and before.kind and after.kind and _is_refused(draft, before, after):
        return
    if before.served != after.served and after.served:
        draft.say(
            Severity.NOTICE, f"Serves {', '.join(after.served)} instead of {', '.join(before.served) or 'nothing'}."
        )
    _instances(draft, before, after)
    if after.kind == "serverless":
        # https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints-update.html
        draft.interrupt(Severity.NOTICE, "The first requests after the update wait for a cold start.")
        draft.say(Severity.NOTICE, "No alarm of SageMaker's watches the update of a serverless endpoint.")
        return
    if after.kind == "inference components" and not after.alarms:
        draft.say(
            Severity.NOTICE, "Its instances move all at once; alarms watch the copies on them when those are updated."
        )
        return
    if after.alarms:
        draft.say(Severity.NOTICE, f"Updated {after.policy}, {watched_by(after.alarms)}: callers notice nothing.")
        return
    draft.interrupt(
        Severity.WARNING,
        "If the new version is bad, callers get its errors until somebody deploys the old one: no alarm rolls it back.",
    )
    draft.say(Severity.WARNING, f"Updated {after.policy}, and no alarm watches it. Give it `rollback` alarms first.")


def _is_refused(draft: Draft, before: Endpoint, after: Endpoint) -> bool:
    """Says what becomes of an endpoint that is to be of another kind."""
    change = f"from {before.kind} to {after.kind}"
    way = "Delete its serving stack first (callers get errors until it is back), or serve it under another name."
    if (before.kind, after.kind) == ("real-time", "serverless"):
        # https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints-update.html
        draft.fail(f"SageMaker refuses to update an endpoint {change}. {way}")
        return True
    draft.say(Severity.WARNING, f"SageMaker documents no update {change}: try it in another environment first. {way}")
    return False


def _instances(draft: Draft, before: Endpoint, after: Endpoint) -> None:
    for variant, (kind, count) in after.instances.items():
        if variant not in before.instances:
            draft.say(Severity.NOTICE, f"Variant {variant} is new, on {_as_many(count)} of {kind}.")
            continue
        old_kind, old_count = before.instances[variant]
        if kind != old_kind:
            draft.say(
                Severity.NOTICE,
                f"Variant {variant} moves from {old_kind} to {kind}. Both fleets run while it is updated: the account's "
                f"quota for {kind} must allow {_as_many(count)}, or the update fails and is rolled back.",
            )
        if count is None or old_count is None:
            continue
        if count == 1 < old_count and after.kind == "real-time":
            draft.say(
                Severity.WARNING,
                f"Variant {variant} goes from {old_count} instances to one: when that one fails, nothing answers.",
            )
        elif count != old_count:
            draft.say(Severity.NOTICE, f"Variant {variant} goes from {old_count} to {count} instances.")
    for variant in before.instances.keys() - after.instances.keys():
        draft.say(Severity.WARNING, f"Variant {variant} is gone, and who asks for it by name gets errors.")


def _as_many(count: int | None) -> str:
    """A number of instances; in words where a template does not tell."""
    return "some" if count is None else str(count)


def _watch(draft: Draft, before: list[str], after: list[str], what: str) -> None:
    gone = [each for each in before if each not in after]
    if gone and not after:
        draft.say(
            Severity.DANGER, f"No alarm rolls back {what} any more: a bad version takes all the traffic and keeps it."
        )
    elif gone and len(after) < len(before):
        left = "one alarm still does" if len(after) == 1 else f"{len(after)} alarms still do"
        draft.say(Severity.WARNING, f"{', '.join(gone)} no longer rolls back {what} ({left}).")


def judge_component(draft: Draft, context: Context) -> None:
    """The copies of a model on shared instances, which roll."""
    name = as_text(draft.resource.properties.get("InferenceComponentName", draft.resource.path))
    if draft.action is Action.DELETED:
        draft.interrupt(Severity.DANGER, f"Callers of component {name} get errors: it is deleted.")
    elif draft.is_replaced:
        draft.interrupt(Severity.DANGER, f"Callers of component {name} get errors until the new one answers.")
    elif draft.action is Action.UPDATED and draft.before and draft.after:
        old, new = (each.properties.get("DeploymentConfig") for each in (draft.before, draft.after))
        stack = draft.after.stack
        had = rollback_alarms(old, context.before.stacks[stack].resources)
        alarms = rollback_alarms(new, context.after.stacks[stack].resources)
        if _serves_another(draft, context):
            if alarms:
                draft.say(
                    Severity.NOTICE,
                    f"Its copies are replaced {policy_in_words(new)}, {watched_by(alarms)}.",
                )
            else:
                draft.interrupt(
                    Severity.WARNING, "If the new copies are bad, callers get their errors: no alarm rolls back."
                )
        _watch(draft, had, alarms, f"updates of component {name}")


def _serves_another(draft: Draft, context: Context) -> bool:
    if draft.changed("Specification"):
        return True
    resource = draft.resource
    return any(
        (other := context.drafts.get(f"{resource.stack}/{each.logical_id}")) is not None and other.is_replaced
        for each in references(resource.properties.get("Specification"))
    )


def judge_model(draft: Draft, context: Context) -> None:
    """Says which version it is; what that means for callers is said of the endpoint."""
    if draft.before and draft.after:
        old, new = (sorted(served_by(each)) for each in (draft.before, draft.after))
        if old != new:
            draft.say(Severity.NOTICE, f"{', '.join(new)} instead of {', '.join(old)}.")
