"""A stack that no deployment goes on from is refused before the CDK CLI meets it, with the command that helps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sagestack.cli.errors import CliError
from sagestack.cli.stuck_stacks import LOOKED_FOR, refuse_stuck

from tests import cli_fakes

STACK = "sagestack-dev-housing-serving"


def _session(root: Path, environment: str, *stacks: tuple[str, str]) -> cli_fakes.FakeSession:
    session = cli_fakes.FakeSession(cli_fakes.make_project(root / "p"), environment)
    summaries = [
        {"StackName": name, "StackStatus": status, "StackStatusReason": "[Registry]", "CreationTime": cli_fakes.NOW}
        for name, status in stacks
    ]
    asked = {"StackStatusFilter": [*LOOKED_FOR]}
    session.answer("cloudformation", "list_stacks", {"StackSummaries": summaries}, asked)
    return session


def _described(session: cli_fakes.FakeSession, status: str, is_protected: bool) -> None:
    stack: dict[str, Any] = {"StackName": STACK, "StackStatus": status, "CreationTime": cli_fakes.NOW}
    stack["EnableTerminationProtection"] = is_protected
    session.answer("cloudformation", "describe_stacks", {"Stacks": [stack]}, {"StackName": STACK})


@pytest.mark.parametrize(
    ("status", "code", "says", "helps"),
    [
        ("DELETE_FAILED", "refused", "half deleted: [Registry]", f"delete-stack --stack-name {STACK}"),
        ("UPDATE_ROLLBACK_FAILED", "refused", "so did the way back: [Registry]", "continue-update-rollback"),
        ("ROLLBACK_COMPLETE", "refused", "never made", "--no-enable-termination-protection"),
        ("ROLLBACK_FAILED", "refused", "never made", "--no-enable-termination-protection"),
        ("UPDATE_IN_PROGRESS", "busy", "another deployment of dev", f"describe-stacks --stack-name {STACK}"),
        ("CREATE_IN_PROGRESS", "busy", "one that was cancelled", "Then: sagestack deploy --env dev"),
    ],
)
def test_a_stuck_stack_is_refused_with_the_way_out(
    tmp_path: Path, status: str, code: str, says: str, helps: str
) -> None:
    session = _session(tmp_path, "dev", ("somebody-elses", "DELETE_FAILED"), (STACK, status))
    if status.startswith("ROLLBACK_"):
        _described(session, status, True)
    with pytest.raises(CliError) as refused:
        refuse_stuck(session)
    assert refused.value.message.startswith(f"Stack {STACK} is {status}")
    assert says in refused.value.message
    assert helps in (refused.value.hint or "")
    assert refused.value.code == code


def test_what_the_cdk_cli_deletes_and_makes_anew_is_left_to_it(tmp_path: Path) -> None:
    session = _session(tmp_path, "dev", (STACK, "ROLLBACK_COMPLETE"))
    _described(session, "ROLLBACK_COMPLETE", False)
    refuse_stuck(session)
    session.check()


def test_what_only_waits_for_a_change_set_is_not_looked_for() -> None:
    assert "REVIEW_IN_PROGRESS" not in LOOKED_FOR
    # Where a revert is enough: the stack is as it was.
    assert "UPDATE_ROLLBACK_COMPLETE" not in LOOKED_FOR


def test_in_the_local_cloud_one_may_also_begin_anew(tmp_path: Path) -> None:
    session = _session(tmp_path, "local", ("sagestack-local-housing-training", "DELETE_FAILED"))
    with pytest.raises(CliError) as refused:
        refuse_stuck(session)
    assert "sagestack down --forget" in (refused.value.hint or "")
