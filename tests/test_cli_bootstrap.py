"""`sagestack bootstrap`, with a script in the CDK CLI's place; and once with the real one, on the local cloud."""

from __future__ import annotations

import contextlib
import itertools
import json
import shlex
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, WaiterError
from sagestack.cli.main import app
from sagestack.cli.options import State
from typer.testing import CliRunner

from tests import cli_fakes
from tests.checkout import Checkout

runner = CliRunner()
OURS = "arn:aws:iam::111111111111:policy/sagestack/sagestack-dev-deployment"
ADMIN = "arn:aws:iam::aws:policy/AdministratorAccess"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose Node and CDK CLI are scripts that write down where and how they were called."""
    root = cli_fakes.make_project(tmp_path / "with space")
    (root / "node_modules/aws-cdk").mkdir(parents=True)
    (root / "node_modules/aws-cdk/package.json").write_text(json.dumps({"version": "2.1148.1"}))
    _script(root / ".venv/bin/node", "echo v24.1.0")
    _script(root / "node_modules/.bin/cdk", f'echo "$PWD $@" >> "{root}/called"; echo said')
    monkeypatch.chdir(root)
    return root


def _script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def _account(root: Path, monkeypatch: pytest.MonkeyPatch, toolkit: dict[str, str] | None) -> None:
    """`dev` on AWS, with this toolkit stack's parameters or none."""
    session = cli_fakes.FakeSession(root, "dev")
    session.cloud = None
    monkeypatch.setattr(State, "connect", cli_fakes.connect_to(session))
    if toolkit is None:
        session.refuse("cloudformation", "describe_stacks", "ValidationError", "Stack does not exist")
        return
    stack: dict[str, Any] = {"StackName": "CDKToolkit", "StackStatus": "CREATE_COMPLETE", "CreationTime": cli_fakes.NOW}
    stack["Parameters"] = [{"ParameterKey": key, "ParameterValue": value} for key, value in toolkit.items()]
    session.answer("cloudformation", "describe_stacks", {"Stacks": [stack]}, {"StackName": "CDKToolkit"})


def _bootstrap(*arguments: str) -> tuple[int, dict[str, Any]]:
    result = runner.invoke(app, ["bootstrap", "--env", "dev", "--json", *arguments])
    return result.exit_code, json.loads(result.stdout)


def test_the_guards_come_first_and_then_cdks_own_with_them(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _account(root, monkeypatch, None)
    code, answer = _bootstrap()
    assert (code, answer["done"], answer["replaced_policies"]) == (0, True, [])
    first, second = (root / "called").read_text().splitlines()
    assert first.startswith(f"{root} deploy sagestack-dev-bootstrap -c env=dev -c part=bootstrap ")
    assert second.startswith(
        f"{root}/cdk.out/no-app bootstrap aws://111111111111/us-east-1"
        f" --cloudformation-execution-policies {OURS},{OURS}-base --termination-protection"
    )
    assert "AdministratorAccess" not in second
    assert "said" in (root / "cdk.out/bootstrap-dev.log").read_text()


def test_a_dry_run_prints_the_commands_as_a_shell_takes_them_and_runs_none(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _account(root, monkeypatch, None)
    result = runner.invoke(app, ["bootstrap", "--env", "dev", "--dry-run", "--trust", "444444444444"])
    assert result.exit_code == 0
    lines = [line for line in result.stdout.splitlines() if line and not line.startswith("#")]
    first, second = map(shlex.split, lines)
    assert first[:2] == [f"{root}/node_modules/.bin/cdk", "deploy"]
    assert second[second.index("--trust") + 1] == "444444444444"
    assert not (root / "called").exists()


@pytest.mark.parametrize("ids", ["", ", github_ids: {owner: 1, repository: 2}"], ids=["names", "numbers"])
def test_a_repository_that_is_trusted_by_its_name_is_told_what_newer_ones_need(
    root: Path, monkeypatch: pytest.MonkeyPatch, ids: str
) -> None:
    _account(root, monkeypatch, None)
    (root / "delivery.yaml").write_text(
        f"repository: {{host: github, name: my-team/my-platform{ids}}}\nstages: [{{environment: dev}}]\n"
    )
    result = runner.invoke(app, ["bootstrap", "--env", "dev", "--dry-run"])
    assert result.exit_code == 0
    assert ("gh api repos/my-team/my-platform --jq" in result.stderr) is (ids == "")


@pytest.mark.long
def test_administrators_rights_are_taken_away_only_when_that_is_said(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # CDK's own default: nothing is said, nobody is trusted.
    _account(root, monkeypatch, {"CloudFormationExecutionPolicies": "", "TrustedAccounts": ""})
    code, answer = _bootstrap()
    assert code == 1
    assert answer["error"]["code"] == "refused"
    assert ADMIN in answer["error"]["message"]
    assert "--replace-policies" in answer["error"]["hint"]
    assert not (root / "called").exists()
    _account(root, monkeypatch, {"CloudFormationExecutionPolicies": ADMIN})
    code, answer = _bootstrap("--replace-policies")
    assert (code, answer["replaced_policies"]) == (0, [ADMIN])
    assert "AdministratorAccess" not in (root / "called").read_text()


def test_other_environments_of_the_account_and_trusted_accounts_stay(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "arn:aws:iam::111111111111:policy/sagestack/sagestack-test-deployment"
    toolkit = {
        "CloudFormationExecutionPolicies": f"{other},{OURS}",
        "TrustedAccounts": "444444444444",
        "TrustedAccountsForLookup": "555555555555",
    }
    _account(root, monkeypatch, toolkit)
    code, answer = _bootstrap("--trust", "666666666666", "--trust", "444444444444")
    assert (code, answer["replaced_policies"]) == (0, [])
    command = answer["commands"][1]
    assert command[command.index("--cloudformation-execution-policies") + 1] == f"{other},{OURS},{OURS}-base"
    assert [after for word, after in itertools.pairwise(command) if word == "--trust"] == [
        "444444444444",
        "666666666666",
    ]
    assert command[command.index("--trust-for-lookup") + 1] == "555555555555"


WORKBENCH = "workbench: {network: {cidr: 10.42.0.0/22}}\n"


@pytest.mark.long
def test_a_workbench_has_a_policy_of_its_own(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = root / "environments/dev.yaml"
    file.write_text(file.read_text() + WORKBENCH)
    _account(root, monkeypatch, {"CloudFormationExecutionPolicies": f"{OURS},{OURS}-base"})
    _, answer = _bootstrap("--dry-run")
    first, second = answer["commands"]
    assert first[1] == "deploy"
    assert second[second.index("--cloudformation-execution-policies") + 1] == f"{OURS},{OURS}-base,{OURS}-workbench"


@pytest.mark.long
def test_the_policy_of_a_workbench_that_is_gone_is_taken_from_cdks_role_before_it_is_deleted(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = OURS.replace("dev", "test") + "-workbench"
    there = f"{OURS},{OURS}-base,{OURS}-workbench,{other}"
    _account(root, monkeypatch, {"CloudFormationExecutionPolicies": there})
    code, answer = _bootstrap()
    assert (code, answer["replaced_policies"]) == (0, [])
    first, second = (root / "called").read_text().splitlines()
    assert f"--cloudformation-execution-policies {OURS},{OURS}-base,{other} " in first
    assert " deploy sagestack-dev-bootstrap " in second


def test_where_the_first_fails_the_second_is_not_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _account(root, monkeypatch, None)
    _script(root / "node_modules/.bin/cdk", f'echo "$@" >> "{root}/called"; echo "no such luck"; exit 7')
    code, answer = _bootstrap()
    assert code == 7
    assert answer["error"]["code"] == "deploy-failed"
    assert "no such luck" in answer["error"]["message"]
    assert len((root / "called").read_text().splitlines()) == 1


@pytest.mark.parametrize("account", ["12", "44444444444a", "4444444444444"])
def test_what_is_no_account_is_not_trusted(root: Path, monkeypatch: pytest.MonkeyPatch, account: str) -> None:
    _account(root, monkeypatch, None)
    code, answer = _bootstrap("--trust", account)
    assert code == 2
    assert f"{account!r} is not an account" in answer["error"]["message"]


def test_an_environment_without_boundaries_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = root / "environments/dev.yaml"
    file.write_text("permissions_boundary: false\n" + file.read_text())
    _account(root, monkeypatch, None)
    result = runner.invoke(app, ["bootstrap", "--env", "dev", "--dry-run"])
    assert "permissions_boundary is false" in result.stderr


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_local_cloud_is_bootstrapped_and_everything_deploys_with_boundaries(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "project")
    file = checkout.folder / "environments/local.yaml"
    file.write_text(file.read_text().replace("removal_policy:", "permissions_boundary: true\nremoval_policy:"))
    checkout.sagestack("up", "--port", str(checkout.port))
    try:
        assert checkout.sagestack("bootstrap")["done"]
        # Again: the same, and nothing changes.
        again = checkout.sagestack("bootstrap")
        assert again["replaced_policies"] == []
        iam = checkout.client("iam")
        attached = iam.list_attached_role_policies(RoleName="cdk-hnb659fds-cfn-exec-role-000000000000-us-east-1")
        names = {policy["PolicyName"] for policy in attached["AttachedPolicies"]}
        assert names == {"sagestack-local-deployment", "sagestack-local-deployment-base"}
        deployed = checkout.sagestack("deploy")
        assert set(deployed["stacks"].values()) == {"deployed"}
        roles = [role for page in iam.get_paginator("list_roles").paginate() for role in page["Roles"]]
        ours = [role["RoleName"] for role in roles if role["RoleName"].startswith("sagestack-local-")]
        boundary = "arn:aws:iam::000000000000:policy/sagestack/sagestack-local-boundary"
        assert ours
        for name in ours:
            assert iam.get_role(RoleName=name)["Role"]["PermissionsBoundary"]["PermissionsBoundaryArn"] == boundary
        _is_refused_what_the_policy_leaves_out(checkout, boundary)
    finally:
        checkout.sagestack("down")


def _is_refused_what_the_policy_leaves_out(checkout: Checkout, boundary: str) -> None:
    """Deploys with CloudFormation's role, as the CDK does, what nobody should."""
    cloudformation, iam = checkout.client("cloudformation"), checkout.client("iam")
    role_arn = "arn:aws:iam::000000000000:role/cdk-hnb659fds-cfn-exec-role-000000000000-us-east-1"
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [trust]}}
    bounded = {**role, "PermissionsBoundary": boundary}
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    administrator = "arn:aws:iam::aws:policy/AdministratorAccess"

    def deploy(name: str, kind: str, properties: dict[str, Any]) -> tuple[str, str]:
        """The status of the stack, and why its resource failed."""
        template = json.dumps({"Resources": {"It": {"Type": kind, "Properties": properties}}})
        cloudformation.create_stack(
            StackName=name, TemplateBody=template, RoleARN=role_arn, Capabilities=["CAPABILITY_NAMED_IAM"]
        )
        with contextlib.suppress(WaiterError):
            cloudformation.get_waiter("stack_create_complete").wait(
                StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
            )
        status = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
        events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
        reasons = [e["ResourceStatusReason"] for e in events if e["ResourceStatus"] == "CREATE_FAILED"]
        return status, reasons[0] if reasons else ""

    assert deploy("sagestack-local-good", "AWS::IAM::Role", bounded)[0] == "CREATE_COMPLETE"
    refused: list[tuple[str, dict[str, Any], str]] = [
        ("AWS::IAM::User", {"ManagedPolicyArns": [administrator]}, "iam:CreateUser"),
        ("AWS::IAM::Role", role, "iam:CreateRole"),
        ("AWS::IAM::Role", {**bounded, "RoleName": "admin"}, "iam:CreateRole"),
        ("AWS::IAM::Role", {**bounded, "ManagedPolicyArns": [administrator]}, "iam:AttachRolePolicy"),
        ("AWS::IAM::ManagedPolicy", {"PolicyDocument": everything}, "iam:CreatePolicy"),
        (
            "AWS::IAM::Policy",
            {"PolicyName": "more", "PolicyDocument": everything, "Roles": [role_arn.rsplit("/", 1)[-1]]},
            "iam:PutRolePolicy",
        ),
    ]
    for number, (kind, properties, action) in enumerate(refused):
        status, reason = deploy(f"sagestack-local-bad{number}", kind, properties)
        assert status.startswith("ROLLBACK"), (kind, properties)
        assert f"is not authorized to perform: {action}" in reason
    # Whatever a role's own policies say.
    iam.put_role_policy(
        RoleName=(name := _only_role(iam)), PolicyName="everything", PolicyDocument=json.dumps(everything)
    )
    own = json.dumps({**role["AssumeRolePolicyDocument"], "Statement": [{**trust, "Principal": {"AWS": "*"}}]})
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=own)
    arn = iam.get_role(RoleName=name)["Role"]["Arn"]
    keys = checkout.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
    description = checkout.description()
    bounded_iam = boto3.client(
        "iam",
        region_name="us-east-1",
        endpoint_url=description["endpoint_url"],
        verify=description["ca_bundle"],
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )
    with pytest.raises(ClientError, match="AccessDenied"):
        bounded_iam.create_user(UserName="admin")


def _only_role(iam: Any) -> str:
    roles = [role["RoleName"] for page in iam.get_paginator("list_roles").paginate() for role in page["Roles"]]
    return str(next(name for name in roles if name.startswith("sagestack-local-good-")))
