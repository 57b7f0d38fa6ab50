"""What callers and users notice while a change happens, and what nobody watches any more afterwards."""

from __future__ import annotations

from collections.abc import Callable

from sagestack.review.drafts import Context, Draft
from sagestack.review.results import Action, Severity
from sagestack.review.served_endpoints import (
    Endpoint,
    endpoint_of,
    policy_in_words,
    rollback_alarms,
    served_by,
)
from sagestack.review.templates import as_text, references

_APIS = {"AWS::ApiGateway::RestApi", "AWS::ApiGatewayV2::Api", "AWS::Lambda::Url"}


def judge(draft: Draft, context: Context) -> None:
    """Adds what is interrupted to a change whose action is known."""
    judged = _BY_TYPE.get(draft.resource.type)
    if judged is not None:
        judged(draft, context)


def _endpoint(draft: Draft, context: Context) -> None:
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
    _watch(draft, before.alarms, after.alarms, f"updates of {after.name}")
    if before.policy != after.policy and after.kind != "serverless":
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
    if before.kind != after.kind and before.kind and after.kind:
        _kind(draft, before, after)
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
    if after.alarms:
        watched = f"watched by {len(after.alarms)} alarm{'s' if len(after.alarms) > 1 else ''} that roll it back"
        draft.say(Severity.NOTICE, f"Updated {after.policy}, {watched}: callers notice nothing.")
        return
    draft.interrupt(
        Severity.WARNING,
        "If the new version is bad, callers get its errors until somebody deploys the old one: no alarm rolls it back.",
    )
    draft.say(Severity.WARNING, f"Updated {after.policy}, and no alarm watches it. Give it `rollback` alarms first.")


def _kind(draft: Draft, before: Endpoint, after: Endpoint) -> None:
    change = f"from {before.kind} to {after.kind}"
    way = "Delete its serving stack first (callers get errors until it is back), or serve it under another name."
    if (before.kind, after.kind) == ("real-time", "serverless"):
        # https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints-update.html
        draft.say(Severity.DANGER, f"SageMaker refuses to update an endpoint {change}: the deployment fails. {way}")
    else:
        draft.say(
            Severity.WARNING, f"SageMaker documents no update {change}: try it in another environment first. {way}"
        )


def _instances(draft: Draft, before: Endpoint, after: Endpoint) -> None:
    for variant, (kind, count) in after.instances.items():
        old_kind, old_count = before.instances.get(variant, (None, 0))
        if old_kind is None:
            continue
        if kind != old_kind:
            draft.say(
                Severity.NOTICE,
                f"Variant {variant} moves from {old_kind} to {kind}. Both fleets run while it is updated: the account's "
                f"quota for {kind} must allow {count}, or the update fails and is rolled back.",
            )
        if count == 1 < old_count:
            draft.say(
                Severity.WARNING,
                f"Variant {variant} goes from {old_count} instances to one: when that one fails, nothing answers.",
            )
        elif count != old_count:
            draft.say(Severity.NOTICE, f"Variant {variant} goes from {old_count} to {count} instances.")


def _watch(draft: Draft, before: list[str], after: list[str], what: str) -> None:
    gone = [each for each in before if each not in after]
    if gone and not after:
        draft.say(
            Severity.DANGER, f"No alarm rolls back {what} any more: a bad version takes all the traffic and keeps it."
        )
    elif gone and len(after) < len(before):
        left = f"{len(after)} alarm{'s' if len(after) > 1 else ''} still"
        draft.say(Severity.WARNING, f"{', '.join(gone)} no longer rolls back {what} ({left} does).")


def _component(draft: Draft, context: Context) -> None:
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
                    f"Its copies are replaced {policy_in_words(new)}, watched by {len(alarms)} alarms that roll it back.",
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


def _model(draft: Draft, context: Context) -> None:
    if draft.before and draft.after:
        old, new = (sorted(served_by(each)) for each in (draft.before, draft.after))
        if old != new:
            draft.say(Severity.NOTICE, f"{', '.join(new)} instead of {', '.join(old)}.")


def _notebook(draft: Draft, context: Context) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateNotebookInstance.html"""
    if draft.action is Action.DELETED:
        draft.interrupt(Severity.DANGER, "Whoever works in the notebook loses it while they work.")
    elif draft.is_replaced:
        draft.interrupt(Severity.DANGER, "Whoever works in the notebook is thrown out, and finds an empty one.")
    elif any(change.path.partition("[")[0] != "Tags" for change in draft.properties):
        draft.interrupt(
            Severity.WARNING,
            "The notebook instance is stopped for the update and started again: kernels and terminals end, files stay.",
        )


def _api(draft: Draft, context: Context) -> None:
    if draft.action is Action.DELETED:
        draft.interrupt(Severity.DANGER, "Callers of the front door get errors: its address is gone.")
    elif draft.is_replaced:
        draft.interrupt(Severity.DANGER, "The front door gets another address; callers of the old one get errors.")


def _scaling(draft: Draft, context: Context) -> None:
    what = as_text(draft.resource.properties.get("ResourceId", draft.resource.path))
    if draft.action is Action.DELETED:
        draft.interrupt(
            Severity.WARNING, f"{what} is scaled no more: it stays as large as it is, whatever the load and the cost."
        )
    elif draft.is_replaced:
        draft.interrupt(
            Severity.WARNING, f"{what} is not scaled from the deletion of the old registration to the new one."
        )


def _scaling_policy(draft: Draft, context: Context) -> None:
    if draft.action is Action.DELETED:
        draft.say(Severity.WARNING, "What it scaled no longer follows this measure.")


def _function(draft: Draft, context: Context) -> None:
    if draft.action is Action.DELETED:
        draft.say(Severity.WARNING, "Whatever calls it gets errors.")


def _pipeline(draft: Draft, context: Context) -> None:
    if draft.action is Action.UPDATED and draft.changed("PipelineDefinition"):
        draft.say(Severity.NOTICE, "The next execution runs the new definition; running ones go on with the old.")
    elif draft.action is Action.DELETED:
        draft.say(Severity.WARNING, "It can no longer be started; what starts it (schedules, rules) fails.")


def _alarm(draft: Draft, context: Context) -> None:
    name = as_text(draft.resource.properties.get("AlarmName", draft.resource.path))
    if draft.action is Action.DELETED:
        draft.say(Severity.WARNING, f"Nobody is told any more of what alarm {name} watches.")
        return
    if draft.before is None or draft.after is None:
        return
    if (
        draft.after.properties.get("ActionsEnabled") is False
        and draft.before.properties.get("ActionsEnabled") is not False
    ):
        draft.say(Severity.WARNING, f"Alarm {name} rings and does nothing: its actions are off.")
    if draft.before.properties.get("AlarmActions") and not draft.after.properties.get("AlarmActions"):
        draft.say(Severity.WARNING, f"Alarm {name} rings and does nothing: it has no action any more.")
    if draft.action is Action.UPDATED and (change := draft.changed("Threshold")):
        draft.say(Severity.NOTICE, f"Its threshold goes from {as_text(change.before)} to {as_text(change.after)}.")


def _topic(draft: Draft, context: Context) -> None:
    if draft.action in (Action.DELETED, Action.REPLACED):
        draft.say(
            Severity.WARNING,
            "Subscriptions that people made by hand go with it; they must subscribe and confirm again.",
        )


def _rule(draft: Draft, context: Context) -> None:
    if draft.action is Action.DELETED:
        draft.say(Severity.WARNING, "What it started is started no more.")
    elif (change := draft.changed("State")) and change.after == "DISABLED":
        draft.say(Severity.WARNING, "It is switched off: what it started is started no more.")


def _vpc_endpoint(draft: Draft, context: Context) -> None:
    if draft.action in (Action.DELETED, Action.REPLACED):
        draft.interrupt(
            Severity.DANGER if draft.action is Action.DELETED else Severity.WARNING,
            "What reaches AWS through it (jobs, notebooks, endpoints without internet) cannot while it is gone.",
        )


_BY_TYPE: dict[str, Callable[[Draft, Context], None]] = {
    "AWS::SageMaker::Endpoint": _endpoint,
    "AWS::SageMaker::InferenceComponent": _component,
    "AWS::SageMaker::Model": _model,
    "AWS::SageMaker::NotebookInstance": _notebook,
    "AWS::SageMaker::Pipeline": _pipeline,
    "AWS::ApplicationAutoScaling::ScalableTarget": _scaling,
    "AWS::ApplicationAutoScaling::ScalingPolicy": _scaling_policy,
    "AWS::Lambda::Function": _function,
    "AWS::CloudWatch::Alarm": _alarm,
    "AWS::SNS::Topic": _topic,
    "AWS::Events::Rule": _rule,
    "AWS::Scheduler::Schedule": _rule,
    "AWS::EC2::VPCEndpoint": _vpc_endpoint,
    **dict.fromkeys(_APIS, _api),
}
