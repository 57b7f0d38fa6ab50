"""The pipeline on AWS deploys what `cdk deploy` deploys, in order, and asks before it does."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from cdk_nag import NIST80053R5Checks
from sagestack.accepted_risks import ACCEPTED_DELIVERY_RISKS, ACCEPTED_NIST_RISKS, ACCEPTED_RISKS
from sagestack.guardrails import Finding, add_guardrails, findings, not_accepted, not_needed
from sagestack.review.assembly import read_assembly
from sagestack.settings import (
    PROJECT_ROOT,
    AwsPipeline,
    SettingsError,
    load_delivery,
    load_environment,
    load_models,
    load_sources,
)
from sagestack.settings.cron import eventbridge_cron

import app as platform
from tests import synthesis

CONNECTION = "arn:aws:codeconnections:us-east-1:444444444444:connection/01234567-89ab-cdef-0123-456789abcdef"
SECRET = "arn:aws:secretsmanager:us-east-1:444444444444:secret:git-token-AbCdEf"
ORDER = ["dev", "staging", "prod"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that serves a version in each environment."""
    root = synthesis.copy_project(tmp_path_factory.mktemp("project"))
    for name in ORDER:
        file = root / f"environments/{name}.yaml"
        file.write_text(file.read_text().replace("served_version: null", "served_version: 3"))
    (root / "delivery.yaml").write_text(
        (PROJECT_ROOT / "delivery.yaml")
        .read_text()
        .replace(
            "pipeline: null",
            f"pipeline: {{account: '444444444444', region: us-east-1, connection_arn: '{CONNECTION}',"
            f" token_secret_arn: '{SECRET}'}}",
        )
    )
    return root


@pytest.fixture(scope="module")
def delivery_app(project: Path, tmp_path_factory: pytest.TempPathFactory) -> cdk.App:
    """As `cdk synth -c part=delivery` makes it, with all guardrails and CDK's validation, which would end its synth."""
    app = cdk.App(context=synthesis.flags(), outdir=str(tmp_path_factory.mktemp("delivery")), analytics_reporting=False)
    with pytest.MonkeyPatch.context() as patch:
        for load in (load_delivery, load_environment, load_models, load_sources):
            patch.setattr(platform, load.__name__, partial(load, root=project))
        platform.add_delivery(app)
    add_guardrails(app)
    app.synth()
    return app


@pytest.fixture(scope="module")
def outdir(delivery_app: cdk.App) -> Path:
    return Path(delivery_app.outdir)


@pytest.fixture(scope="module")
def found(delivery_app: cdk.App) -> list[Finding]:
    return findings(delivery_app)


@pytest.fixture(scope="module")
def resources(outdir: Path) -> dict[str, Any]:
    template = json.loads((outdir / "sagestack-delivery.template.json").read_text())
    resources: dict[str, Any] = template["Resources"]
    return resources


@pytest.fixture(scope="module")
def stages(resources: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The actions of each stage, in the order in which they run."""
    (pipeline,) = _of_type(resources, "AWS::CodePipeline::Pipeline")
    return {
        stage["Name"]: sorted(stage["Actions"], key=lambda action: action["RunOrder"])
        for stage in pipeline["Properties"]["Stages"]
    }


def _of_type(resources: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [resource for resource in resources.values() if resource["Type"] == kind]


def _build_spec(resources: dict[str, Any], step: str) -> dict[str, Any]:
    (project,) = (
        project
        for project in _of_type(resources, "AWS::CodeBuild::Project")
        if project["Properties"].get("Description", "").endswith(f"/{step}")
    )
    spec: dict[str, Any] = json.loads(project["Properties"]["Source"]["BuildSpec"])
    return spec


def _commands(resources: dict[str, Any], step: str) -> str:
    return "\n".join(_build_spec(resources, step)["phases"]["build"]["commands"])


def test_the_stacks_are_those_of_a_deployment_by_hand(outdir: Path, project: Path, tmp_path: Path) -> None:
    by_hand = tmp_path / "dev"
    synthesis.build(project, load_environment("dev", project), by_hand).synth()
    wanted = {name: stack.template for name, stack in read_assembly(by_hand, "dev").stacks.items()}

    stage = read_assembly(outdir / "assembly-sagestack-delivery-dev", "dev").stacks
    assert len(wanted) == 3
    # But for the path that CDK puts into the description of its own provider functions.
    assert {name: _without_stage(stack.template) for name, stack in stage.items()} == wanted


def _without_stage(template: Mapping[str, Any]) -> dict[str, Any]:
    text: dict[str, Any] = json.loads(json.dumps(template).replace("(sagestack-delivery/dev/", "("))
    return text


def test_every_finding_of_the_pipeline_is_an_accepted_risk_and_every_acceptance_is_needed(found: list[Finding]) -> None:
    assert not_accepted(found) == []
    assert not_needed(found, ACCEPTED_DELIVERY_RISKS) == []
    # In the stages the environments' own acceptances hold, and no others.
    assert {finding.stage for finding in found} == {"", *(f"sagestack-delivery/{name}" for name in ORDER)}
    assert not_accepted([finding for finding in found if finding.stage], ACCEPTED_RISKS) == []


@pytest.mark.long
def test_by_nist_the_pipeline_needs_no_risk_accepted_that_an_environment_does_not(delivery_app: cdk.App) -> None:
    by_nist = findings(delivery_app, NIST80053R5Checks)
    assert {finding.rule for finding in by_nist if not finding.stage} == {
        f"NIST.800.53.R5-{rule}"
        for rule in (
            "IAMNoInlinePolicy",
            "S3BucketReplicationEnabled",
            "S3BucketVersioningEnabled",
            "S3DefaultEncryptionKMS",
        )
    }
    assert not_accepted(by_nist, ACCEPTED_NIST_RISKS) == []


def test_the_accepted_risks_of_the_pipeline_are_these() -> None:
    """Written twice on purpose: who accepts another risk changes it here, too, and a reviewer sees it."""
    steps, log = "{stack}/Pipeline/Resource", "arn:{partition}:logs:{place}:log-group:/aws/codebuild/"
    reports = "arn:{partition}:codebuild:{place}:report-group/"
    assert {risk.removeprefix("AwsSolutions-IAM5") for risk in ACCEPTED_DELIVERY_RISKS} == {
        f"[Action::s3:DeleteObject*] at {steps}/Pipeline",
        f"[Resource::{{artifact bucket}}/*] at {steps}",
        f"[Resource::{log}<{{project}}>:*] at {steps}",
        f"[Resource::{reports}<{{project}}>-*] at {steps}",
        f"[Resource::arn:*:iam::{{account}}:role/*] at {steps}/UpdatePipeline/SelfMutation",
        f"[Resource::*] at {steps}/UpdatePipeline/SelfMutation",
        f"[Resource::*] at {steps}/Assets/DockerRole",
        f"[Resource::*] at {steps}/Assets/FileRole",
        f"[Resource::{log}*] at {steps}/Assets/DockerRole",
        f"[Resource::{log}*] at {steps}/Assets/FileRole",
        f"[Resource::{reports}*] at {steps}/Assets/DockerRole",
        f"[Resource::{reports}*] at {steps}/Assets/FileRole",
        f"[Resource::{log}<{{project}}>:*] at {{stack}}/Drift/Project",
    }
    assert all(len(reason) > 30 for reason in ACCEPTED_DELIVERY_RISKS.values())


def test_what_the_pipeline_may_do_is_accepted_in_no_environment() -> None:
    finding = Finding("AwsSolutions-IAM5[Resource::*]", "sagestack-dev-foundation/Pipeline/Role/DefaultPolicy", "")
    assert not_accepted([finding]) == [finding]


def test_the_source_is_a_connection_to_the_repositorys_host(stages: dict[str, list[dict[str, Any]]]) -> None:
    (source,) = stages["Source"]
    configuration = source["Configuration"]
    assert configuration["ConnectionArn"] == CONNECTION
    assert (configuration["FullRepositoryId"], configuration["BranchName"]) == ("my-team/my-platform", "main")
    assert configuration["OutputArtifactFormat"] == "CODEBUILD_CLONE_REF"  # with the history, for the review


def test_nothing_depends_on_codecommit(outdir: Path) -> None:
    assert "codecommit" not in (outdir / "sagestack-delivery.template.json").read_text().lower()


def test_it_updates_itself_before_it_deploys(stages: dict[str, list[dict[str, Any]]]) -> None:
    assert list(stages) == ["Source", "Build", "UpdatePipeline", "Assets", *ORDER]
    assert [action["Name"] for action in stages["UpdatePipeline"]] == ["SelfMutate"]


@pytest.mark.parametrize("environment", ORDER)
def test_a_review_comes_first_and_the_record_of_the_commit_last(
    environment: str, stages: dict[str, list[dict[str, Any]]]
) -> None:
    names = [action["Name"] for action in stages[environment]]
    assert names[0] == f"Review-{environment}"
    assert names[-1] == f"Deployed-{environment}"
    assert any(name.endswith(".Deploy") for name in names)


@pytest.mark.parametrize(("environment", "asks"), [("dev", False), ("staging", True), ("prod", True)])
def test_a_person_is_asked_where_the_file_says_so(
    environment: str, asks: bool, stages: dict[str, list[dict[str, Any]]]
) -> None:
    approvals = [action for action in stages[environment] if action["ActionTypeId"]["Category"] == "Approval"]
    assert bool(approvals) is asks
    for approval in approvals:
        first = next(action for action in stages[environment] if action["Name"].endswith(".Prepare"))
        assert stages[environment][0]["RunOrder"] < approval["RunOrder"] < first["RunOrder"]
        assert f"reviews/{environment}/review.html" in json.dumps(approval["Configuration"]["ExternalEntityLink"])


def test_the_review_is_against_what_was_deployed_last(resources: dict[str, Any]) -> None:
    review = _commands(resources, "Review-prod")
    assert "/sagestack/delivery/prod/deployed-commit" in review
    assert 'sagestack review --base "$BASE" --env prod --format html' in review
    # With the conditions of delivery.yaml, so that the page does not say that nobody need look.
    assert "--fail-on" not in review
    assert '|| test "$?" = 3' in review
    assert "s3://$REVIEWS/reviews/prod/review.html" in review
    assert "/sagestack/delivery/prod/deployed-commit" in _commands(resources, "Deployed-prod")


def test_versions_are_promoted_to_the_next_environment(resources: dict[str, Any]) -> None:
    assert "sagestack promote --after dev" in _commands(resources, "Deployed-dev")
    assert "sagestack promote --after staging" in _commands(resources, "Deployed-staging")
    assert "promote" not in _commands(resources, "Deployed-prod")  # there is nothing after it


def test_a_review_may_write_its_page_and_nothing_else(resources: dict[str, Any]) -> None:
    (policy,) = (
        resource["Properties"]["PolicyDocument"]["Statement"]
        for logical_id, resource in resources.items()
        if resource["Type"] == "AWS::IAM::Policy" and "Reviewprod" in logical_id
    )
    writes = [
        statement["Resource"]
        for statement in policy
        if any(action.startswith(("s3:Put", "s3:Delete")) for action in _actions(statement))
    ]
    assert len(writes) == 1
    assert json.dumps(writes[0]).endswith('"/reviews/prod/review.html"]]}')
    assert not any(action.startswith(("sts:", "ssm:Put", "iam:")) for s in policy for action in _actions(s))


def _actions(statement: dict[str, Any]) -> list[str]:
    actions = statement["Action"]
    return [actions] if isinstance(actions, str) else actions


def test_other_accounts_are_deployed_to_by_their_own_roles(stages: dict[str, list[dict[str, Any]]]) -> None:
    for environment, account in (("dev", "111111111111"), ("staging", "222222222222"), ("prod", "333333333333")):
        deploys = [a for a in stages[environment] if a["ActionTypeId"]["Provider"] == "CloudFormation"]
        assert deploys
        for action in deploys:
            assert f"iam::{account}:role/cdk-hnb659fds-deploy-role" in json.dumps(action["RoleArn"])
        prepared = [a for a in deploys if a["Name"].endswith(".Prepare")]
        assert prepared
        for action in prepared:
            assert f"iam::{account}:role/cdk-hnb659fds-cfn-exec-role" in json.dumps(action["Configuration"]["RoleArn"])


def test_the_pipeline_is_deployed_only_where_the_file_describes_it() -> None:
    assert load_delivery().pipeline is None
    with pytest.raises(SettingsError, match=r"delivery.yaml: pipeline: is null"):
        platform.add_delivery(cdk.App(context=synthesis.flags()))


def test_the_arn_of_something_else_is_no_connection() -> None:
    with pytest.raises(ValueError, match="connection_arn"):
        AwsPipeline(account="444444444444", region="us-east-1", connection_arn="arn:aws:s3:::bucket")


def test_drift_is_looked_for_on_a_schedule_by_roles_that_only_look(resources: dict[str, Any]) -> None:
    (rule,) = (r for r in _of_type(resources, "AWS::Events::Rule") if "ScheduleExpression" in r["Properties"])
    assert rule["Properties"]["ScheduleExpression"] == "cron(17 5 ? * MON-FRI *)"
    (project,) = (
        p["Properties"]
        for p in _of_type(resources, "AWS::CodeBuild::Project")
        if "changed by hand" in p["Properties"].get("Description", "")
    )
    assert project["Source"]["Auth"] == {"Type": "CODECONNECTIONS", "Resource": CONNECTION}
    assert (project["Source"]["Location"], project["SourceVersion"]) == (
        "https://github.com/my-team/my-platform.git",
        "main",
    )
    commands = json.loads(project["Source"]["BuildSpec"])["phases"]["build"]["commands"]
    for name in ORDER:
        assert any(f"sagestack drift --env {name} ||" in command for command in commands)
    (assumed,) = (
        statement["Resource"]
        for policy in _of_type(resources, "AWS::IAM::Policy")
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if "DriftProject" in json.dumps(policy["Properties"]["Roles"]) and _actions(statement) == ["sts:AssumeRole"]
    )
    assert len(assumed) == 3
    assert all(":role/cdk-hnb659fds-lookup-role-" in role for role in assumed)


@pytest.mark.parametrize(
    ("written", "eventbridge"),
    [
        ("17 5 * * 1-5", "cron(17 5 ? * MON-FRI *)"),
        ("0 6 1 * *", "cron(0 6 1 * ? *)"),
        ("*/15 * * * *", "cron(*/15 * * * ? *)"),
        ("0 6 * * 0,6", "cron(0 6 ? * SUN,SAT *)"),
        ("0 6 * * MON", "cron(0 6 ? * MON *)"),
    ],
)
def test_a_schedule_is_said_in_eventbridges_words(written: str, eventbridge: str) -> None:
    assert eventbridge_cron(written) == eventbridge


def test_a_schedule_that_eventbridge_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="one of them"):
        eventbridge_cron("0 6 1 * 1")
