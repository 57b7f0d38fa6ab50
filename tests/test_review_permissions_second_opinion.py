"""The CDK's own difference of templates as a second opinion: what it calls broader must not be missed."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from sagestack.review.assembly import read_assembly
from sagestack.review.permissions import permission_changes
from sagestack.review.results import PermissionChange, PermissionFlag, Severity
from sagestack.settings import PROJECT_ROOT, load_environment

from tests.review_policies import (
    DATA,
    LAMBDA,
    OBJECTS,
    OTHER_ACCOUNT,
    OWN_KEY_POLICY,
    Raw,
    allow,
    bucket_policy,
    changes,
    deny,
    key,
    policy,
    role,
    trust,
)
from tests.review_samples import synthesized
from tests.synthesis import NETWORK, copy_project, served, share_between_accounts

PLAIN: Raw = {"Data": DATA, "Role": role(), "Key": key(OWN_KEY_POLICY)}
INTERNET = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": "0.0.0.0/0"}


def group(*ingress: Raw) -> Raw:
    properties = {"SecurityGroupEgress": [], "SecurityGroupIngress": list(ingress)}
    return {"Type": "AWS::EC2::SecurityGroup", "Properties": properties}


PAIRS: dict[str, tuple[Raw, Raw]] = {
    "a policy": (PLAIN, {**PLAIN, "Policy": policy("Role", allow("s3:GetObject", OBJECTS))}),
    "an inline policy": (PLAIN, {**PLAIN, "Role": role(allow("s3:GetObject", OBJECTS))}),
    "a role": (PLAIN, {**PLAIN, "Other": role(allow("sqs:SendMessage"))}),
    "a managed policy of AWS": (
        PLAIN,
        {**PLAIN, "Role": role(ManagedPolicyArns=["arn:aws:iam::aws:policy/ReadOnlyAccess"])},
    ),
    "a bucket policy": (
        PLAIN,
        {**PLAIN, "Policy": bucket_policy(allow("s3:GetObject", OBJECTS, Principal={"AWS": OTHER_ACCOUNT}))},
    ),
    "a key policy": (
        PLAIN,
        {**PLAIN, "Key": key(OWN_KEY_POLICY, allow("kms:Decrypt", Principal={"AWS": OTHER_ACCOUNT}))},
    ),
    "a trusted service": (
        PLAIN,
        {**PLAIN, "Role": role(AssumeRolePolicyDocument={"Statement": LAMBDA["Statement"] + trust("*")["Statement"]})},
    ),
    "a permission of a function": (
        PLAIN,
        {
            **PLAIN,
            "Permission": {
                "Type": "AWS::Lambda::Permission",
                "Properties": {
                    "FunctionName": "f",
                    "Action": "lambda:InvokeFunction",
                    "Principal": "sns.amazonaws.com",
                },
            },
        },
    ),
    "a denial that goes": (
        {**PLAIN, "Policy": bucket_policy(deny("s3:*", OBJECTS, Principal="*"))},
        {**PLAIN, "Policy": bucket_policy()},
    ),
    "a rule of a security group": (
        {"Group": group()},
        {"Group": group(INTERNET)},
    ),
    "a denial that comes": (PLAIN, {**PLAIN, "Policy": bucket_policy(deny("s3:*", OBJECTS, Principal="*"))}),
    "less": ({**PLAIN, "Policy": policy("Role", allow("s3:GetObject", OBJECTS))}, PLAIN),
    "nothing": (PLAIN, PLAIN),
}
CDK = """
const { fullDiff } = require("@aws-cdk/cloudformation-diff");
const pairs = JSON.parse(require("fs").readFileSync(0, "utf8"));
const said = pairs.map(([before, after]) => {
  const found = fullDiff({ Resources: before }, { Resources: after });
  return found.permissionsBroadened;
});
console.log(JSON.stringify(said));
"""


def test_what_the_cdk_calls_broader_is_wider_and_nothing_else_is() -> None:
    node = shutil.which("node")
    assert node, "the CDK CLI needs Node: `npm ci`"
    run = subprocess.run(
        [node, "-e", CDK],
        input=json.dumps(list(PAIRS.values())),
        capture_output=True,
        text=True,
        check=True,
        cwd=PROJECT_ROOT,
    )
    broader = dict(zip(PAIRS, json.loads(run.stdout), strict=True))

    assert {name for name, is_broader in broader.items() if not is_broader} == {
        "a denial that comes",
        "less",
        "nothing",
    }
    wider = {name: any(each.direction == "wider" for each in changes(*pair)) for name, pair in PAIRS.items()}
    assert wider == broader


@pytest.fixture(scope="module")
def assemblies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = copy_project(tmp_path_factory.mktemp("project"))
    made = {name: tmp_path_factory.mktemp("cdk.out") for name in ("plain", "served", "shared")}
    synthesized(root, load_environment("dev", root), made["plain"])
    synthesized(root, served(load_environment("dev", root), network=NETWORK), made["served"])
    share_between_accounts(root)
    synthesized(root, load_environment("dev", root), made["shared"])
    return made


def between(assemblies: dict[str, Path], before: str, after: str) -> tuple[PermissionChange, ...]:
    return permission_changes(read_assembly(assemblies[before], "dev"), read_assembly(assemblies[after], "dev"))


def test_a_model_that_is_served_is_looked_at_and_no_danger(assemblies: dict[str, Path]) -> None:
    found = between(assemblies, "plain", "served")

    assert found[0].severity == Severity.WARNING
    assert {change.direction for change in found} == {"wider"}
    assert not {PermissionFlag.PUBLIC, PermissionFlag.CROSS_ACCOUNT} & {
        flag for change in found for flag in change.flags
    }
    assert "Unknown" not in {level for change in found for level in change.access_levels}


def test_an_environment_that_lets_another_in_names_its_account_first(assemblies: dict[str, Path]) -> None:
    found = between(assemblies, "plain", "shared")
    foreign = [change for change in found if PermissionFlag.CROSS_ACCOUNT in change.flags]

    assert {change.principal for change in foreign} == {"account 333333333333"}
    assert {(change.kind, change.resource.type) for change in foreign} == {
        ("key", "AWS::KMS::Key"),
        ("resource", "AWS::S3::Bucket"),
        ("resource", "AWS::SageMaker::ModelPackageGroup"),
        ("resource", "Custom::RepositoryPolicyStatement"),
    }
    assert {change.severity for change in foreign} == {Severity.DANGER}


def test_the_way_back_is_narrower(assemblies: dict[str, Path]) -> None:
    for changed in ("served", "shared"):
        assert {change.direction for change in between(assemblies, changed, "plain")} == {"narrower"}


def test_an_environment_against_itself_is_silent(assemblies: dict[str, Path]) -> None:
    for name in assemblies:
        assert between(assemblies, name, name) == ()
