"""How grave each change is, and why: the rules that docs/reference/review.md lists."""

from __future__ import annotations

import re

from sagestack.review.changes import interruptions
from sagestack.review.changes.drafts import Context, Draft
from sagestack.review.changes.held_data import (
    holds_data,
    outcome_of_deletion,
    outcome_of_replacement,
    policy_of,
    strength,
)
from sagestack.review.changes.physical_names import check_replaced_names
from sagestack.review.changes.schemas import is_custom
from sagestack.review.changes.updates_in_place import judge_update
from sagestack.review.intrinsics import as_text
from sagestack.review.results import Action, PropertyChange, Severity

MADE_ANEW = {
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

_GLUE = MADE_ANEW | {
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


def judge(draft: Draft, context: Context) -> None:
    """The rules of docs/reference/review.md, in this order; the gravest says how grave the change is."""
    _policies(draft)
    check_replaced_names(draft, context.drafts)
    _data(draft, context)
    _service_token(draft)
    judge_update(draft, context)
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
    draft.fail(
        "CloudFormation refuses to give a custom resource another function (`Modifying service token is "
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
