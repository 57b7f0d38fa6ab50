"""What a review says of rules: all tools are asked, both sides are told apart, and nothing is left out in silence."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from cdk_nag import NIST80053R5Checks
from sagestack.accepted_risks import accepted_by
from sagestack.guardrails import Finding, findings
from sagestack.review import rule_tools
from sagestack.review.assembly import Assembly, read_assembly
from sagestack.review.results import Severity
from sagestack.review.rules import Checked, CheckFailed, Found, check, compare, no_longer_needed
from sagestack.review.rules import check as check_module
from sagestack.review.rules.cdk_checks import Template, nag
from sagestack.review.rules.lint import check as lint
from sagestack.settings import load_environment

from constructs import Construct
from tests.review_samples import STACK, assembly
from tests.synthesis import build, served

running = sys.modules[check_module.__module__]

# --- cdk-nag over templates ---


@pytest.fixture(scope="module")
def dev(project: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Assembly, Mapping[str, list[Finding]]]:
    """`dev` as it lies in its assembly, and what cdk-nag finds in the app that it was made of."""
    outdir = tmp_path_factory.mktemp("cdk.out")
    app = build(project, served(load_environment("dev", project)), outdir)
    app.synth()
    ordinary = {
        rule_tools.AWS_SOLUTIONS: findings(app),
        rule_tools.NIST: findings(app, NIST80053R5Checks),
    }
    return read_assembly(outdir, "dev"), ordinary


def test_cdk_nag_finds_in_the_templates_what_it_finds_in_the_app(
    dev: tuple[Assembly, Mapping[str, list[Finding]]], tmp_path: Path
) -> None:
    made, ordinary = dev
    found = nagged({name: dict(stack.template) for name, stack in made.stacks.items()}, tmp_path)
    checked = Checked(made, {name: tuple(of_stack) for name, of_stack in found.items()})
    for tool, expected in ordinary.items():
        assert sorted(
            (each.rule, checked.path(stack, each), each.message)
            for stack, of_stack in checked.found.items()
            for each in of_stack
            if each.tool == tool
        ) == sorted((each.rule, each.path.removesuffix("/Resource"), each.description) for each in expected)
        assert expected


def nagged(templates: Mapping[str, dict[str, Any]], folder: Path) -> dict[str, list[Found]]:
    for name, template in templates.items():
        (folder / f"{name}.json").write_text(json.dumps(template))
    found = nag([Template(folder / f"{name}.json", "111111111111", "us-east-1") for name in templates])
    return dict(zip(templates, found, strict=True))


OPEN = {"Type": "AWS::S3::Bucket", "Properties": {}}


def test_what_cdk_nag_cannot_read_is_said_and_the_others_are_checked(tmp_path: Path) -> None:
    statement = {
        "Effect": "Allow",
        "Action": "s3:GetObject",
        "Resource": {"Fn::Join": ["", [{"Fn::GetStackOutput": {"StackName": "a", "OutputName": "Arn"}}, "/*"]]},
    }
    found = nagged(
        {
            "foreign": {
                "Transform": "AWS::LanguageExtensions",
                "Rules": {"R": {"Assertions": [{"Assert": {"Fn::Unknown": []}}]}},
                "Outputs": {"O": {"Value": {"Fn::Length": [1]}}},
                "Resources": {
                    "Custom": {"Type": "Custom::Anything", "Properties": {"ServiceToken": "arn", "Any": {"Thing": 1}}},
                    "Tomorrow": {"Type": "AWS::SageMaker::Tomorrow", "Properties": {"Name": {"Ref": "Open"}}},
                    "Open": OPEN,
                    "Reads": {
                        "Type": "AWS::IAM::Policy",
                        "Properties": {
                            "PolicyName": "reads",
                            "PolicyDocument": {"Version": "2012-10-17", "Statement": [statement]},
                            "Roles": [{"Fn::ImportValue": "a:role"}],
                        },
                    },
                },
            },
            "wrong": {"Resources": {"Open": OPEN, "Dangling": {"Type": "A::B::C", "Properties": {"X": {"Ref": "No"}}}}},
        },
        tmp_path,
    )
    assert {(each.rule, each.logical_id) for each in found["foreign"]} >= {
        ("AwsSolutions-S10", "Open"),
        ("AwsSolutions-IAM5[Resource::a:Arn/*]", "Reads"),
    }
    assert [(each.tool, each.rule, each.logical_id, each.severity) for each in found["wrong"]] == [
        (rule_tools.AWS_SOLUTIONS, "not-checked", None, Severity.NOTICE),
        (rule_tools.NIST, "not-checked", None, Severity.NOTICE),
    ]
    assert "No" in found["wrong"][0].message


def test_cdk_nag_has_what_our_own_rules_leave_to_it(tmp_path: Path) -> None:
    resources = {
        "Notebook": {
            "Type": "AWS::SageMaker::NotebookInstance",
            "Properties": {"InstanceType": "ml.t3.medium", "RoleArn": "arn", "DirectInternetAccess": "Enabled"},
        },
        "Open": {
            "Type": "AWS::S3::Bucket",
            "Properties": {"PublicAccessBlockConfiguration": {"BlockPublicPolicy": False}},
        },
        "Silent": OPEN,
        "Key": {"Type": "AWS::KMS::Key", "Properties": {"KeyPolicy": {}}},
        "Logs": {"Type": "AWS::Logs::LogGroup", "Properties": {}},
    }
    (found,) = nagged({"stack": {"Resources": resources}}, tmp_path).values()
    assert {(each.rule, each.logical_id) for each in found} >= {
        ("AwsSolutions-SM1", "Notebook"),
        ("AwsSolutions-SM2", "Notebook"),
        ("AwsSolutions-SM3", "Notebook"),
        ("AwsSolutions-S2", "Open"),
        ("AwsSolutions-S10", "Open"),
        ("AwsSolutions-KMS5", "Key"),
        ("NIST.800.53.R5-CloudWatchLogGroupRetentionPeriod", "Logs"),
    }
    assert {(each.rule, each.logical_id) for each in found if each.severity is Severity.DANGER} == {
        ("AwsSolutions-S2", "Open"),
        ("NIST.800.53.R5-S3BucketLevelPublicAccessProhibited", "Open"),
    }


# --- cfn-lint ---


def test_cfn_lint_finds_what_cloudformation_would_refuse_and_says_where(tmp_path: Path) -> None:
    file = tmp_path / "template.json"
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "sagemaker.amazonaws.com"}}
        ],
    }
    role = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": trust}}
    misspelt = {
        "Type": "AWS::SageMaker::ModelPackageGroup",
        "Properties": {"ModelPackageGroupName": {"Ref": "Role"}, "ModelPackageGroupDescripton": "x"},
        "DependsOn": ["Role"],
    }
    file.write_text(json.dumps({"Resources": {"Role": role, "Group": misspelt}}))
    (found,) = lint([(file, "us-east-1")])
    assert [(each.tool, each.rule, each.logical_id, each.severity) for each in found] == [
        (rule_tools.CFN_LINT, "E3002", "Group", Severity.WARNING)
    ], "and neither W3005, which CDK trips everywhere, nor anything informational"
    assert found[0].message.startswith("ModelPackageGroupDescripton: Additional properties are not allowed")
    assert found[0].link


# --- Both sides ---


def finding(rule: str, logical_id: str | None, tool: str = rule_tools.NIST, message: str = "", **other: Any) -> Found:
    return Found(tool, rule, logical_id, other.pop("severity", Severity.WARNING), message, **other)


def checked(resources: Mapping[str, Any], *found: Found) -> Checked:
    return Checked(assembly(resources), {STACK: found})


BUCKET = {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "one"}}
OTHER = {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "other"}}


def states(before: Checked | None, after: Checked | None) -> list[tuple[str, str, str | None]]:
    return [
        (each.state, each.rule, each.resource.logical_id if each.resource else None) for each in compare(before, after)
    ]


def test_what_is_broken_now_is_told_from_what_was_and_from_what_is_no_more() -> None:
    before = checked({"One": BUCKET}, finding("Stays", "One"), finding("Goes", "One"))
    after = checked({"One": BUCKET}, finding("Comes", "One"), finding("Stays", "One"))
    assert states(before, after) == [("new", "Comes", "One"), ("old", "Stays", "One"), ("fixed", "Goes", "One")]


def test_an_environment_that_comes_or_goes_has_all_its_findings_new_or_fixed() -> None:
    side = checked({"One": BUCKET}, finding("Rule", "One"))
    assert states(None, side) == [("new", "Rule", "One")]
    assert states(side, None) == [("fixed", "Rule", "One")]
    assert states(None, None) == []


def test_a_second_resource_that_breaks_the_same_rule_is_new() -> None:
    before = checked({"One": BUCKET}, finding("Rule", "One"))
    after = checked({"One": BUCKET, "Two": OTHER}, finding("Rule", "One"), finding("Rule", "Two"))
    assert states(before, after) == [("new", "Rule", "Two"), ("old", "Rule", "One")]


def test_a_rule_that_is_broken_twice_by_one_resource_is_counted() -> None:
    def linted(*messages: str) -> Checked:
        found = [finding("E3002", "One", rule_tools.CFN_LINT, message) for message in messages]
        return checked({"One": BUCKET}, *found)

    compared = compare(linted("A: wrong"), linted("B: wrong", "A: wrong"))
    assert [(each.state, each.message) for each in compared] == [("new", "B: wrong"), ("old", "A: wrong")]


@pytest.mark.parametrize(
    ("logical_id", "definition", "state"),
    [("Renamed", BUCKET, ["old"]), ("Renamed", OTHER, ["new", "fixed"]), ("One", OTHER, ["old"])],
    ids=["renamed alone", "another resource", "changed under its name"],
)
def test_a_finding_follows_its_resource(logical_id: str, definition: Mapping[str, Any], state: list[str]) -> None:
    before = checked({"One": BUCKET}, finding("Rule", "One"))
    after = checked({logical_id: definition}, finding("Rule", logical_id))
    assert [each.state for each in compare(before, after)] == state


def test_generated_names_within_a_rule_make_no_new_finding() -> None:
    def side(suffix: str) -> Checked:
        rule = f"AwsSolutions-IAM5[Resource::<GateCheck{suffix}.Arn>:*]"
        return checked({"Role": BUCKET}, finding(rule, "Role", rule_tools.AWS_SOLUTIONS))

    assert [each.state for each in compare(side("342D9950"), side("0A1B2C3D"))] == ["old"]


def test_the_worst_that_is_new_and_that_nobody_accepted_comes_first() -> None:
    accepted = "NIST.800.53.R5-IAMNoInlinePolicy"
    after = checked(
        {"One": BUCKET},
        finding("notice", "One", severity=Severity.NOTICE),
        finding(accepted, "One", severity=Severity.DANGER),
        finding("warning", "One"),
        finding("danger", "One", severity=Severity.DANGER),
        finding("of the stack", None),
    )
    before = checked({"One": BUCKET}, finding("danger", "One", severity=Severity.DANGER))
    compared = compare(before, after)
    assert [each.rule for each in compared] == ["of the stack", "warning", "notice", accepted, "danger"]
    assert [each.accepted is not None for each in compared] == [False, False, False, True, False]


def test_an_accepted_finding_says_why_by_the_narrowest_acceptance() -> None:
    rule = "AwsSolutions-IAM5[Resource::sagestack-dev-foundation:ExportsOutputFnGetAttArtifacts82DD59A1Arn3B515032/{}]"

    def acceptance(prefix: str) -> str | None:
        accepted = accepted_by(rule_tools.AWS_SOLUTIONS, rule.format(prefix), f"{STACK}/Role")
        return accepted and accepted.partition("Resource::")[2]

    assert acceptance("housing/captured/*") == "{artifact bucket}/{model}/captured/*]"
    assert acceptance("housing/*") == "{artifact bucket}/{model}/*]"
    assert acceptance("*") is None


@pytest.mark.parametrize(
    "bucket", ["arn:aws:s3:::another", "sagestack-dev-foundation:ExportsOutputFnGetAttBackups82DD59A1Arn3B515032"]
)
def test_another_bucket_is_not_the_foundations(bucket: str) -> None:
    rule = f"AwsSolutions-IAM5[Resource::{bucket}/housing/*]"
    assert accepted_by(rule_tools.AWS_SOLUTIONS, rule, f"{STACK}/Role") is None


def test_an_acceptance_that_a_change_makes_needless_is_named() -> None:
    side = checked({"One": BUCKET}, finding("NIST.800.53.R5-IAMNoInlinePolicy", "One"))
    (sentence,) = no_longer_needed([side, None], [checked({"One": BUCKET}), None])
    assert sentence.startswith("NIST.800.53.R5-IAMNoInlinePolicy (cdk-nag NIST.800.53.R5) is accepted")
    assert no_longer_needed([side, None], [None, side]) == ()
    assert no_longer_needed([None], [side]) == ()


def test_what_the_code_accepts_beside_a_construct_is_accepted_there_and_below(tmp_path: Path) -> None:
    app = cdk.App(outdir=str(tmp_path), analytics_reporting=False)
    stack = cdk.Stack(app, STACK)
    accepting = Construct(stack, "Accepting")
    for scope in (accepting, stack):
        cdk.CfnResource(scope, "Bucket", type="AWS::S3::Bucket")
    cdk.Validations.of(accepting).acknowledge(
        cdk.Acknowledgment(id="AwsSolutions::AwsSolutions-S1", reason="A sample.")
    )
    cdk.Validations.of(stack).acknowledge(cdk.Acknowledgment(id="AwsSolutions::AwsSolutions-S10", reason="All are."))
    app.synth()
    made = read_assembly(tmp_path, "dev")
    broken = [
        finding(rule, logical_id, rule_tools.AWS_SOLUTIONS)
        for rule in ("AwsSolutions-S1", "AwsSolutions-S10", "AwsSolutions-S2")
        for logical_id in made.stacks[STACK].resources
    ]
    compared = compare(None, Checked(made, {STACK: tuple(broken)}))
    assert {(each.rule, each.resource.path, each.accepted) for each in compared if each.resource} == {
        ("AwsSolutions-S1", "Accepting/Bucket", "A sample."),
        ("AwsSolutions-S1", "Bucket", None),
        ("AwsSolutions-S10", "Accepting/Bucket", "All are."),
        ("AwsSolutions-S10", "Bucket", "All are."),
        ("AwsSolutions-S2", "Accepting/Bucket", None),
        ("AwsSolutions-S2", "Bucket", None),
    }


# --- Running the tools ---


class Asked:
    """Stands in for the tools, and counts."""

    def __init__(self) -> None:
        self.times: list[int] = []

    def __call__(self, jobs: Mapping[str, Any]) -> dict[str, tuple[Found, ...]]:
        self.times.append(len(jobs))
        return {key: (finding("Rule", "One"),) for key in jobs}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    made = Asked()
    monkeypatch.setattr(running, "_run_tools", made)
    return made


def test_templates_that_are_alike_are_checked_once(asked: Asked) -> None:
    sides = [assembly({"One": BUCKET}), None, assembly({"One": BUCKET}), assembly({"One": OTHER})]
    results = check(sides)
    assert asked.times == [2]
    assert [side and [each.rule for each in side.found[STACK]] for side in results] == [
        ["Rule"],
        None,
        ["Rule"],
        ["Rule"],
    ]


def test_what_was_checked_is_not_checked_again_unless_what_is_kept_is_damaged(asked: Asked, tmp_path: Path) -> None:
    sides = [assembly({"One": BUCKET})]
    first = check(sides, cache=tmp_path / "rules")
    assert check(sides, cache=tmp_path / "rules") == first
    assert asked.times == [1, 0]
    (kept,) = (tmp_path / "rules").iterdir()
    kept.write_text('[{"tool"')
    assert check(sides, cache=tmp_path / "rules") == first
    assert asked.times == [1, 0, 1]


def test_another_version_of_a_tool_checks_again(asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check([assembly({"One": BUCKET})], cache=tmp_path)
    monkeypatch.setattr(running, "versions", lambda: "another")
    check([assembly({"One": BUCKET})], cache=tmp_path)
    assert asked.times == [1, 1]


def test_our_own_rules_see_the_whole_environment_and_are_never_kept(asked: Asked, tmp_path: Path) -> None:
    def rules_of(resources: Mapping[str, Any]) -> list[str]:
        (side,) = check([assembly(resources)], cache=tmp_path)
        assert side is not None
        return [each.rule for each in side.found[STACK] if each.tool == rule_tools.OWN]

    domain = {"Type": "AWS::SageMaker::Domain", "Properties": {}}
    assert rules_of({"Domain": domain}) == ["SAGESTACK-DomainNetwork"]
    assert rules_of({"Domain": domain}) == ["SAGESTACK-DomainNetwork"]
    assert all("SAGESTACK" not in kept.read_text() for kept in tmp_path.iterdir())


def test_a_tool_that_ends_without_an_answer_is_named_with_its_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_TOOLS", ("tool_that_is_not_there",))
    with pytest.raises(CheckFailed, match=r"rules\.tool_that_is_not_there ended with 1: .*No module named"):
        check([assembly({"One": BUCKET})])


def test_a_review_of_rules_imports_no_cdk() -> None:
    program = "import sys, sagestack.review.rules; sys.exit('aws_cdk' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.long
def test_all_tools_are_asked_in_processes_of_their_own(tmp_path: Path) -> None:
    misspelt = {"Type": "AWS::SageMaker::Model", "Properties": {"ExecutionRolArn": "x"}}
    permission = {"FromPort": 2, "ToPort": 1, "IpRange": "10.0.0.0/8", "Protocol": "TCP"}
    fleet = {"Type": "AWS::GameLift::Fleet", "Properties": {"Name": "x", "EC2InboundPermissions": [permission]}}
    sides = [assembly({"Open": OPEN}), None, assembly({"Model": misspelt, "Fleet": fleet})]
    before, gone, after = check(sides, cache=tmp_path)
    assert before is not None
    assert after is not None
    assert gone is None
    assert {each.tool for each in before.found[STACK]} == {rule_tools.AWS_SOLUTIONS, rule_tools.NIST}
    refused = [each for each in after.found[STACK] if each.rule.endswith("3002")]
    assert [each.tool for each in refused] == [rule_tools.CFN_LINT], "and CDK's validation does not repeat it as F3002"
    assert [each.rule for each in after.found[STACK] if each.tool == rule_tools.CLOUDFORMATION] == ["CDK-GameLift-001"]
    assert [each.rule for each in after.found[STACK] if each.tool == rule_tools.OWN] == [
        "SAGESTACK-ModelNetworkIsolation"
    ]
    assert {each.state for each in compare(before, after)} == {"new", "fixed"}
    assert check(sides, cache=tmp_path) == [before, None, after]
