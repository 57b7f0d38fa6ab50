"""What callers and users notice while a change happens, and what nobody watches any more afterwards."""

from __future__ import annotations

from collections.abc import Callable

from sagestack.review.changes.drafts import Context, Draft
from sagestack.review.changes.endpoint_updates import judge_component, judge_endpoint, judge_model
from sagestack.review.changes.workbench_changes import WORKBENCH
from sagestack.review.intrinsics import as_text
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
    "AWS::SageMaker::Endpoint": judge_endpoint,
    "AWS::SageMaker::InferenceComponent": judge_component,
    "AWS::SageMaker::Model": judge_model,
    "AWS::SageMaker::Pipeline": _pipeline,
    "AWS::ApplicationAutoScaling::ScalableTarget": _scaling,
    "AWS::ApplicationAutoScaling::ScalingPolicy": _scaling_policy,
    "AWS::Lambda::Function": _function,
    "AWS::CloudWatch::Alarm": _alarm,
    "AWS::SNS::Topic": _topic,
    "AWS::Events::Rule": _rule,
    "AWS::EC2::VPCEndpoint": _vpc_endpoint,
    **dict.fromkeys(_APIS, _api),
    **WORKBENCH,
}
