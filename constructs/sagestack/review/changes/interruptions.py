"""What callers and users notice while a change happens, and what nobody watches any more afterwards."""

from __future__ import annotations

from collections.abc import Callable

from sagestack.review.changes.alarm_changes import judge_alarm
from sagestack.review.changes.drafts import Context, Draft
from sagestack.review.changes.endpoint_updates import judge_component, judge_endpoint, judge_model
from sagestack.review.changes.network_paths import NETWORK
from sagestack.review.changes.property_values import number
from sagestack.review.changes.workbench_changes import WORKBENCH
from sagestack.review.intrinsics import as_text, references
from sagestack.review.results import Action, Severity

_APIS = {"AWS::ApiGateway::RestApi", "AWS::ApiGatewayV2::Api", "AWS::Lambda::Url"}


def judge(draft: Draft, context: Context) -> None:
    """Adds what is interrupted to a change whose action is known."""
    judged = _BY_TYPE.get(draft.resource.type)
    if judged is not None:
        judged(draft, context)


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
    elif draft.action is Action.UPDATED:
        _bounds(draft, what)


def _bounds(draft: Draft, what: str) -> None:
    """What an endpoint may shrink and grow to: the one is a question of answers, the other of money."""
    least, most = draft.changed("MinCapacity"), draft.changed("MaxCapacity")
    if least is not None and _is_endpoint(what):
        was, is_now = number(least.before), number(least.after)
        if was is not None and is_now is not None and is_now <= 1 < was:
            fewest = "one instance: when that one fails" if is_now else "nothing: until one has started"
            draft.say(Severity.WARNING, f"{what} may shrink to {fewest}, nothing answers.")
    if most is not None:
        draft.say(
            Severity.NOTICE,
            f"{what} may grow to {as_text(most.after)} instead of {as_text(most.before)}; the cost below is that of the"
            " stated load.",
        )


def _is_endpoint(resource_id: str) -> bool:
    """Whether what is scaled is a variant of an endpoint; inference components have copies, and are not down with one."""
    return resource_id.startswith("endpoint/")


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


def _subscription(draft: Draft, context: Context) -> None:
    if draft.action is Action.DELETED:
        endpoint = draft.resource.properties.get("Endpoint", draft.resource.path)
        told = (context.old(draft.resource.stack, each.logical_id) for each in references(endpoint))
        whom = next((each.path for each in told if each is not None), as_text(endpoint))
        draft.say(Severity.WARNING, f"{whom} is told no more.")


def _parameter(draft: Draft, context: Context) -> None:
    if draft.before is None or (draft.action is not Action.DELETED and not draft.is_replaced):
        return
    name = as_text(draft.before.properties.get("Name", draft.before.path))
    if draft.after is None or name != as_text(draft.after.properties.get("Name", draft.after.path)):
        draft.say(Severity.NOTICE, f"What looks for {name} finds nothing there any more.")


_BY_TYPE: dict[str, Callable[[Draft, Context], None]] = {
    "AWS::SageMaker::Endpoint": judge_endpoint,
    "AWS::SageMaker::InferenceComponent": judge_component,
    "AWS::SageMaker::Model": judge_model,
    "AWS::SageMaker::Pipeline": _pipeline,
    "AWS::ApplicationAutoScaling::ScalableTarget": _scaling,
    "AWS::ApplicationAutoScaling::ScalingPolicy": _scaling_policy,
    "AWS::Lambda::Function": _function,
    "AWS::CloudWatch::Alarm": judge_alarm,
    "AWS::SNS::Topic": _topic,
    "AWS::Events::Rule": _rule,
    "AWS::SNS::Subscription": _subscription,
    "AWS::SSM::Parameter": _parameter,
    **dict.fromkeys(_APIS, _api),
    **NETWORK,
    **WORKBENCH,
}
