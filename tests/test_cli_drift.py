"""`sagestack drift`, with a script in CloudFormation's place: what it says, what it answers, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sagestack.cli.drift import looking
from sagestack.cli.errors import CliError
from sagestack.cli.main import app
from sagestack.cli.options import State
from sagestack.review.assembly import StackTemplate
from typer.testing import CliRunner

from tests import cli_fakes

runner = CliRunner()
BUCKET = {"Type": "AWS::S3::Bucket", "Properties": {"VersioningConfiguration": {"Status": "Enabled"}}}
KEY = {"Type": "AWS::KMS::Key", "Properties": {"EnableKeyRotation": True}}
PLATFORM, GUARDS = "sagestack-dev-foundation", "sagestack-dev-bootstrap"


class Account(cli_fakes.FakeSession):
    """The account of dev: which stacks it has, and what CloudFormation finds in them."""

    parts: Sequence[str | None] = ()

    def has(self, **statuses: str) -> None:
        stacks = [
            {"StackName": f"sagestack-{name.replace('_', '-')}", "StackStatus": status, "CreationTime": cli_fakes.NOW}
            for name, status in statuses.items()
        ]
        other = {"StackName": "somebody-elses", "StackStatus": "CREATE_COMPLETE", "CreationTime": cli_fakes.NOW}
        self.answer("cloudformation", "describe_stacks", {"Stacks": [other, *stacks]}, {})

    def template(self, stack: str, **resources: dict[str, Any]) -> None:
        body = json.dumps({"Resources": resources})
        asked = {"StackName": stack, "TemplateStage": "Original"}
        self.answer("cloudformation", "get_template", {"TemplateBody": body}, asked)

    def resources(self, stack: str, **types: str) -> None:
        rows = [
            {
                "LogicalResourceId": name,
                "PhysicalResourceId": f"{name.lower()}-1",
                "ResourceType": kind,
                "LastUpdatedTimestamp": cli_fakes.NOW,
                "ResourceStatus": "CREATE_COMPLETE",
            }
            for name, kind in types.items()
        ]
        self.answer("cloudformation", "list_stack_resources", {"StackResourceSummaries": rows}, {"StackName": stack})

    def finds(self, stack: str, status: str = "DETECTION_COMPLETE", **drifts: str) -> None:
        """What CloudFormation's drift detection comes to: logical ids of buckets, and their drift statuses."""
        self.answer("cloudformation", "detect_stack_drift", {"StackDriftDetectionId": stack}, {"StackName": stack})
        answer = {"StackId": stack, "StackDriftDetectionId": stack, "Timestamp": cli_fakes.NOW}
        self.answer(
            "cloudformation",
            "describe_stack_drift_detection_status",
            {**answer, "DetectionStatus": status, "DetectionStatusReason": "Access denied for operation s3:GetBucket"},
        )
        versioning = {
            "PropertyPath": "/VersioningConfiguration/Status",
            "ExpectedValue": "Enabled",
            "ActualValue": "Suspended",
            "DifferenceType": "NOT_EQUAL",
        }
        rows = [
            {
                "StackId": stack,
                "LogicalResourceId": name,
                "PhysicalResourceId": f"{name.lower()}-1",
                "ResourceType": "AWS::S3::Bucket",
                "StackResourceDriftStatus": each,
                "PropertyDifferences": [versioning] if each == "MODIFIED" else [],
                "Timestamp": cli_fakes.NOW,
            }
            for name, each in drifts.items()
        ]
        self.answer("cloudformation", "describe_stack_resource_drifts", {"StackResourceDrifts": rows})


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Account:
    """Git has the platform with one bucket and a key, and the guards with a key, where they are asked for."""
    root = cli_fakes.make_project(tmp_path / "p")
    session = Account(root, "dev")

    def synthesized(_session: Any, parts: Sequence[str | None]) -> dict[str, StackTemplate]:
        session.parts = parts
        resources: dict[str | None, dict[str, Any]] = {None: {"Data": BUCKET, "Key": KEY}, "bootstrap": {"Guard": KEY}}
        names = {None: PLATFORM, "bootstrap": GUARDS}
        return {
            names[part]: StackTemplate(
                "dev", names[part], "1" * 12, "us-east-1", {"Resources": resources[part]}, {"Data": "Store/Data"}
            )
            for part in parts
        }

    monkeypatch.setattr(looking, "_synthesized", synthesized)
    monkeypatch.setattr(State, "connect", cli_fakes.connect_to(session))
    monkeypatch.chdir(root)
    return session


def drift(*arguments: str) -> tuple[int, str]:
    result = runner.invoke(app, ["drift", "--env", "dev", *arguments])
    return result.exit_code, result.stdout if "--json" in arguments else result.output


def _deployed(account: Account, *, data: str = "IN_SYNC") -> None:
    account.has(dev_foundation="UPDATE_COMPLETE", dev_bootstrap="CREATE_COMPLETE")
    account.template(PLATFORM, Data=BUCKET, Key=KEY)
    account.resources(PLATFORM, Data="AWS::S3::Bucket", Key="AWS::KMS::Key")
    account.finds(PLATFORM, Data=data)
    account.template(GUARDS, Guard=KEY)
    account.resources(GUARDS, Guard="AWS::KMS::Key")
    account.finds(GUARDS)


def test_an_account_as_git_says_ends_with_0_and_names_what_nobody_can_check(account: Account) -> None:
    _deployed(account)
    code, said = drift()
    assert code == 0, said
    assert f"{PLATFORM}: as in git (1 resources checked)" in said
    # The bootstrap is no part of the platform's synth, and in git nevertheless.
    assert f"{GUARDS}: as in git" in said
    assert "not in git" not in said
    assert "Nobody can check 2 resources: AWS::KMS::Key." in said
    account.check()


def test_a_change_by_hand_ends_with_3_and_is_named_with_both_values(account: Account) -> None:
    _deployed(account, data="MODIFIED")
    code, said = drift()
    assert code == 3
    said = " ".join(said.split())
    assert "AWS::S3::Bucket Store/Data (data-1): changed by hand" in said
    assert 'VersioningConfiguration.Status: "Enabled" was deployed, "Suspended" is there' in said
    assert "1 resource was changed by hand" in said


def test_for_scripts_it_is_one_document(account: Account) -> None:
    _deployed(account, data="DELETED")
    code, said = drift("--json")
    assert code == 3
    answer = json.loads(said)
    assert (answer["environment"], answer["in_sync"]) == ("dev", False)
    platform, guards = answer["stacks"]
    assert (platform["stack"], guards["stack"]) == (PLATFORM, GUARDS)
    (found,) = platform["drifted"]
    assert (found["logical_id"], found["kind"], found["seen_by"]) == ("Data", "deleted", "CloudFormation")
    assert platform["unchecked"] == {"AWS::KMS::Key": 1}
    assert (guards["drifted"], guards["is_unknown_to_git"]) == ([], False)


def test_what_git_has_and_the_account_has_not_is_told_with_the_command_that_deploys_it(account: Account) -> None:
    account.has(dev_foundation="UPDATE_COMPLETE")
    account.template(PLATFORM, Data={**BUCKET, "Properties": {}}, Key=KEY)
    account.resources(PLATFORM, Data="AWS::S3::Bucket")
    account.finds(PLATFORM, Data="IN_SYNC")
    code, said = drift()
    assert code == 3
    said = " ".join(said.split())
    assert "AWS::S3::Bucket Store/Data: git differs from what is deployed" in said
    assert f"{GUARDS}: not deployed" in said
    assert "sagestack deploy --env dev" in said
    assert "sagestack bootstrap --env dev" in said


def test_a_stack_that_git_does_not_have_is_told(account: Account) -> None:
    account.has(dev_foundation="UPDATE_COMPLETE", dev_old_serving="ROLLBACK_FAILED", dev_bootstrap="CREATE_IN_PROGRESS")
    account.template(PLATFORM, Data=BUCKET, Key=KEY)
    account.resources(PLATFORM, Data="AWS::S3::Bucket")
    account.finds(PLATFORM, Data="IN_SYNC")
    for stack in (GUARDS, "sagestack-dev-old-serving"):
        account.template(stack, Guard=KEY)
    code, said = drift()
    assert code == 3
    said = " ".join(said.split())
    assert "sagestack-dev-old-serving in the account, but not in git" in said
    assert said.count("not in git") == 1
    assert "it is CREATE_IN_PROGRESS; drift can be detected in" in said
    assert "somebody-elses" not in said


def test_a_detection_that_failed_is_neither_as_in_git_nor_drift(account: Account) -> None:
    account.has(dev_foundation="UPDATE_COMPLETE", dev_bootstrap="CREATE_COMPLETE")
    account.template(PLATFORM, Data=BUCKET, Key=KEY)
    account.resources(PLATFORM, Data="AWS::S3::Bucket")
    account.finds(PLATFORM, "DETECTION_FAILED")
    account.template(GUARDS, Guard=KEY)
    account.resources(GUARDS, Guard="AWS::KMS::Key")
    account.finds(GUARDS)
    code, said = drift("--json")
    assert code == 1
    assert not json.loads(said)["in_sync"]
    assert json.loads(said)["stacks"][0]["problem"] == "Access denied for operation s3:GetBucket"


def test_where_it_cannot_look_it_ends_with_1(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    account.refuse("cloudformation", "describe_stacks", "AccessDenied", "not authorized to perform DescribeStacks")
    code, said = drift()
    assert code == 1
    assert "not authorized to perform DescribeStacks" in " ".join(said.split())

    def broken(*_: Any) -> Any:
        raise CliError("The project does not synthesize for dev:\nSyntaxError", code="settings")

    account.has()
    monkeypatch.setattr(looking, "_synthesized", broken)
    code, said = drift("--json")
    assert code == 1
    assert json.loads(said)["error"]["code"] == "settings"


@pytest.mark.parametrize(
    ("boundary", "deployed", "parts"),
    [(True, (), (None, "bootstrap")), (False, (GUARDS,), (None, "bootstrap")), (False, (), (None,))],
    ids=["roles need it", "it is deployed", "nobody uses it"],
)
def test_the_guards_are_compared_where_there_are_any(
    account: Account, boundary: bool, deployed: tuple[str, ...], parts: tuple[str | None, ...]
) -> None:
    account.environment = account.environment.model_copy(update={"permissions_boundary": boundary})
    assert looking.parts_of(account, deployed) == parts


@pytest.mark.parametrize(
    "body",
    ['{"Resources": {"Data": {"Type": "AWS::S3::Bucket"}}}', "Resources:\n  Data:\n    Type: AWS::S3::Bucket\n"],
    ids=["json", "yaml"],
)
def test_a_template_is_read_as_json_and_as_the_yaml_that_the_cdk_cli_sends_without_assets(
    account: Account, body: str
) -> None:
    asked = {"StackName": GUARDS, "TemplateStage": "Original"}
    account.answer("cloudformation", "get_template", {"TemplateBody": body}, asked)
    assert looking._template(account, GUARDS) == {"Resources": {"Data": {"Type": "AWS::S3::Bucket"}}}
