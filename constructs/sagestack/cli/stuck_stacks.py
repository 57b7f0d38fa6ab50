"""Refuses to deploy over a stack that no deployment goes on from, and says how to get out; the CDK CLI would only fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sagestack.cli.errors import CliError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.literals import StackStatusType
    from mypy_boto3_cloudformation.type_defs import StackSummaryTypeDef

    from sagestack.cli.session import Session

_BUSY: tuple[StackStatusType, ...] = (
    "CREATE_IN_PROGRESS",
    "DELETE_IN_PROGRESS",
    "ROLLBACK_IN_PROGRESS",
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
    "UPDATE_IN_PROGRESS",
    "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
    "UPDATE_ROLLBACK_IN_PROGRESS",
)
"""REVIEW_IN_PROGRESS is none of them: nothing is under way, the CDK CLI makes the stack from there."""
_NEVER_MADE: tuple[StackStatusType, ...] = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED")
LOOKED_FOR: tuple[StackStatusType, ...] = ("DELETE_FAILED", "UPDATE_ROLLBACK_FAILED", *_NEVER_MADE, *_BUSY)


def refuse_stuck(session: Session) -> None:
    """Makes sure that each stack of the environment can be deployed, or is not there.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html

    Raises:
        CliError: one cannot; with its state, CloudFormation's reason, and the command that helps.
    """
    pages = session.cloudformation.get_paginator("list_stacks").paginate(StackStatusFilter=[*LOOKED_FOR])
    prefix = f"sagestack-{session.environment.name}-"
    for page in pages:
        for stack in page["StackSummaries"]:
            if stack["StackName"].startswith(prefix):
                _refuse(session, stack)


def _refuse(session: Session, stack: StackSummaryTypeDef) -> None:
    name, status = stack["StackName"], stack["StackStatus"]
    reason = stack.get("StackStatusReason") or "it gives no reason"
    again = f"sagestack deploy --env {session.environment.name}"
    if status == "DELETE_FAILED":
        # Its template is unchanged, so the CDK CLI would see nothing to do.
        way = f"Finish the deletion first: aws cloudformation delete-stack --stack-name {name}"
        if session.is_local:
            way += ". Or start with an empty local cloud: sagestack down --forget"
        raise CliError(f"Stack {name} is {status}, half deleted: {reason}", hint=way)
    if status == "UPDATE_ROLLBACK_FAILED":
        raise CliError(
            f"Stack {name} is {status}: its last update failed, and so did the way back: {reason}",
            hint="Neither a deployment nor a revert goes on from here. See what could not go back"
            f" (aws cloudformation describe-stack-events --stack-name {name}), mend it, then: aws cloudformation"
            f" continue-update-rollback --stack-name {name} (with --resources-to-skip LOGICAL_ID for what cannot be"
            f" mended). Wait for UPDATE_ROLLBACK_COMPLETE, then: {again}",
        )
    if status in _NEVER_MADE:
        if _is_protected(session, name):
            raise CliError(
                f"Stack {name} is {status}: it was never made, and what is left of it is protected from deletion: {reason}",
                hint="The CDK CLI deletes such a stack and makes it anew, but not a protected one: aws cloudformation"
                f" update-termination-protection --no-enable-termination-protection --stack-name {name}, then: {again}",
            )
        return
    raise CliError(
        f"Stack {name} is {status}: another deployment of {session.environment.name} is under way, or one that was"
        " cancelled goes on without whoever began it.",
        hint=f"CloudFormation ends it by itself, forwards or back: aws cloudformation describe-stacks --stack-name {name}"
        f" --query Stacks[0].StackStatus. Then: {again}",
        code="busy",
    )


def _is_protected(session: Session, name: str) -> bool:
    stack = session.cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    return bool(stack.get("EnableTerminationProtection"))
