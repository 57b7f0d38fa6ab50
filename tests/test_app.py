"""The platform as a whole: which stacks there are, that they are the same everywhere, and what was accepted."""

import gc
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_s3 as s3
from cdk_nag import NIST80053R5Checks
from sagestack.accepted_risks import ACCEPTED_BY_TOOL, ACCEPTED_DELIVERY_RISKS, ACCEPTED_NIST_RISKS, ACCEPTED_OWN_RISKS
from sagestack.accepted_workbench_risks import ACCEPTED_WORKBENCH_NIST_RISKS, ACCEPTED_WORKBENCH_RISKS
from sagestack.guardrails import ACCEPTED_RISKS, Finding, add_guardrails, findings, not_accepted, not_needed
from sagestack.layout import check_layout
from sagestack.review.rule_tools import AWS_SOLUTIONS, NIST
from sagestack.settings import PROJECT_ROOT, known_environments, load_environment, load_models

import app as platform
from tests.all_kinds import AllKinds
from tests.synthesis import (
    NETWORK,
    Templates,
    build,
    copy_project,
    flags,
    served,
    share_between_accounts,
    synthesize,
    text_of,
)
from tests.whole_workbench import WholeWorkbench

ENVIRONMENTS = ["dev", "local", "prod", "staging"]


@pytest.fixture(scope="module")
def apps(project: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, cdk.App]:
    """Every environment with its models in service, one with a network, and two of which one serves the other's."""
    environments = {name: served(load_environment(name, project)) for name in ENVIRONMENTS}
    environments["in a network"] = served(load_environment("dev", project), network=NETWORK)
    made = {
        name: build(project, environment, tmp_path_factory.mktemp("cdk.out"))
        for name, environment in environments.items()
    }
    shared = copy_project(tmp_path_factory.mktemp("shared"))
    share_between_accounts(shared)
    for name, said in (("dev", "that lets another account in"), ("prod", "that serves versions of another account")):
        made[said] = build(shared, load_environment(name, shared), tmp_path_factory.mktemp("cdk.out"))
    return made


@pytest.fixture(scope="module")
def synthesized(apps: dict[str, cdk.App]) -> dict[str, Templates]:
    return {name: synthesize(app) for name, app in apps.items()}


@pytest.fixture(scope="module")
def found(
    apps: dict[str, cdk.App], synthesized: dict[str, Templates], tmp_path_factory: pytest.TempPathFactory
) -> list[Finding]:
    """What cdk-nag finds anywhere. After the synth, since that is when references have got their final form."""
    here = [finding for app in apps.values() for finding in findings(app)]
    return here + AllKinds.of(tmp_path_factory).found


@pytest.fixture(scope="module")
def found_by_nist(
    apps: dict[str, cdk.App], synthesized: dict[str, Templates], tmp_path_factory: pytest.TempPathFactory
) -> list[Finding]:
    """The same by the rules of NIST 800-53, which a review shows."""
    here = [finding for app in apps.values() for finding in findings(app, NIST80053R5Checks)]
    return here + AllKinds.of(tmp_path_factory).found_by_nist


# --- Stacks ---


def stacks_of(app: cdk.App) -> list[cdk.Stack]:
    stacks = [child for child in app.node.children if isinstance(child, cdk.Stack)]
    assert len(stacks) == 3
    return stacks


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_is_a_foundation_and_two_stacks_per_served_model(
    synthesized: dict[str, Templates], name: str
) -> None:
    assert set(synthesized[name].by_stack) == {
        f"sagestack-{name}-foundation",
        f"sagestack-{name}-housing-training",
        f"sagestack-{name}-housing-serving",
    }


def test_nothing_is_served_before_a_version_is_pinned(project: Path, tmp_path: Path) -> None:
    made = synthesize(build(project, load_environment("dev", project), tmp_path))
    assert set(made.by_stack) == {"sagestack-dev-foundation", "sagestack-dev-housing-training"}


def test_a_new_folder_is_a_new_model_and_no_stack_is_edited(tmp_path: Path) -> None:
    root = copy_project(tmp_path / "project")
    (root / "model_code" / "housing").rename(root / "model_code" / "houses")
    (copy_project(tmp_path / "again") / "model_code" / "housing").rename(root / "model_code" / "housing")
    file = root / "environments" / "dev.yaml"
    head, entry = file.read_text().split("models:\n")
    file.write_text(f"{head}models:\n{entry}{entry.replace('housing:', 'houses:')}")
    made = synthesize(build(root, load_environment("dev", root), tmp_path / "out"))
    assert set(made.by_stack) == {
        "sagestack-dev-foundation",
        "sagestack-dev-housing-training",
        "sagestack-dev-houses-training",
    }
    assert {p["Properties"]["PipelineName"] for p in made.resources("AWS::SageMaker::Pipeline")} == {
        "sagestack-dev-housing",
        "sagestack-dev-houses",
    }


def test_every_stack_has_a_place_of_its_own_in_the_settings(apps: dict[str, cdk.App], project: Path) -> None:
    for name in ENVIRONMENTS:
        environment = load_environment(name, project)
        for stack in stacks_of(apps[name]):
            assert (stack.account, stack.region) == (environment.account, environment.region)


def test_what_is_retained_is_also_protected_from_deletion(apps: dict[str, cdk.App]) -> None:
    def is_protected(name: str) -> set[bool | None]:
        return {stack.termination_protection for stack in stacks_of(apps[name])}

    assert {name: is_protected(name) for name in ENVIRONMENTS} == {
        "dev": {False},
        "local": {False},
        "staging": {True},
        "prod": {True},
    }


def test_everything_that_takes_tags_has_those_of_the_environment(synthesized: dict[str, Templates]) -> None:
    untagged = {"AWS::IAM::Policy", "AWS::S3::BucketPolicy", "AWS::SNS::TopicPolicy", "AWS::Lambda::Permission"}
    for template in synthesized["dev"].by_stack.values():
        for resource in template["Resources"].values():
            if resource["Type"] in untagged or resource["Type"].startswith("Custom::"):
                continue
            tags = resource["Properties"]["Tags"]
            pairs = tags if isinstance(tags, dict) else {tag["Key"]: tag["Value"] for tag in tags}
            assert pairs == {"project": "sagestack", "environment": "dev"}


def test_environments_can_share_an_account(synthesized: dict[str, Templates]) -> None:
    for name in ENVIRONMENTS:
        for kind, key in (
            ("AWS::SSM::Parameter", "Name"),
            ("AWS::SageMaker::Pipeline", "PipelineName"),
            ("AWS::SageMaker::ModelPackageGroup", "ModelPackageGroupName"),
        ):
            names = [resource["Properties"][key] for resource in synthesized[name].resources(kind)]
            assert names
            assert all(name in re.split("[/-]", each) for each in names)


def test_an_environment_may_serve_the_versions_of_another(synthesized: dict[str, Templates]) -> None:
    made = synthesized["that serves versions of another account"]
    template = json.dumps(made.by_stack["sagestack-prod-housing-serving"])
    assert ":111111111111:model-package/sagestack-dev-housing/4" in template
    assert ":model-package/sagestack-prod-housing/4" not in template


def test_tools_find_everything_by_six_parameters(synthesized: dict[str, Templates]) -> None:
    assert {p["Properties"]["Name"] for p in synthesized["dev"].resources("AWS::SSM::Parameter")} == {
        "/sagestack/dev/data-bucket",
        "/sagestack/dev/artifact-bucket",
        "/sagestack/dev/housing/pipeline-name",
        "/sagestack/dev/housing/model-package-group-name",
        "/sagestack/dev/housing/endpoint-name",
        "/sagestack/dev/housing/image-uri",
    }


# --- The laptop is nothing special ---


def differences(one: object, other: object, path: str = "") -> Iterator[str]:
    """Every path at which two templates differ, with what stands there."""
    if (
        isinstance(one, dict)
        and isinstance(other, dict)
        and not ({"Fn::Join", "Fn::Sub"} & (one.keys() | other.keys()))
    ):
        for key in sorted(one.keys() | other.keys()):
            yield from differences(one.get(key), other.get(key), f"{path}/{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from differences(left, right, f"{path}/{index}")
    elif text_of(one) != text_of(other):
        yield path


def neutral(template: dict[str, Any], name: str, account: str) -> dict[str, Any]:
    """The template with the environment's own name and account written as the same two words."""
    text = json.dumps(template).replace(account, "ACCOUNT")
    text = re.sub(rf"(?<=[-/\" ]){name}(?=[-/\" :])", "ENVIRONMENT", text)
    neutralized: dict[str, Any] = json.loads(text)
    return neutralized


def test_local_is_dev_but_for_where_the_image_comes_from_and_its_second_instance(
    synthesized: dict[str, Templates],
) -> None:
    different: list[str] = []
    for stack in ("foundation", "housing-training", "housing-serving"):
        local = neutral(synthesized["local"].by_stack[f"sagestack-local-{stack}"], "local", "000000000000")
        dev = neutral(synthesized["dev"].by_stack[f"sagestack-dev-{stack}"], "dev", "111111111111")
        different += [f"{stack}{path}" for path in differences(local, dev)]
    # The whole list: names and accounts apart, an image is a zip in the assets bucket on the laptop and an image in ECR
    # on AWS. So policies allow to fetch, or to look up, the one or the other, and the pipeline names the one or the other.
    # And nobody monitors a laptop, so no requests are captured there, nor deleted after a while.
    # An instance costs nothing there: two of them make an update a canary, where dev has one and moves all at once.
    # Nor is anybody kept from anything: its roles carry no boundary, and all of dev's do (tests/test_bootstrap.py).
    different = [path for path in different if not path.endswith("/Properties/PermissionsBoundary")]
    assert [re.sub("[0-9A-F]{8}/", "/", path) for path in different] == [
        "foundation/Resources/Artifacts/Properties/LifecycleConfiguration/Rules",
        "housing-training/Resources/ImageUriParameter/Properties/Value",
        "housing-training/Resources/Pipeline/Properties/PipelineDefinition/PipelineDefinitionBody",
        "housing-training/Resources/PipelineJobRoleDefaultPolicy/Properties/PolicyDocument/Statement",
        "housing-training/Resources/PipelineRoleDefaultPolicy/Properties/PolicyDocument/Statement",
        "housing-serving/Resources/EndpointConfig/Properties/DataCaptureConfig",
        "housing-serving/Resources/EndpointConfig/Properties/ProductionVariants/0/InitialInstanceCount",
        *(
            f"housing-serving/Resources/Endpoint/Properties/DeploymentConfig/BlueGreenUpdatePolicy/{part}"
            for part in (
                "TrafficRoutingConfiguration/CanarySize",
                "TrafficRoutingConfiguration/Type",
                "TrafficRoutingConfiguration/WaitIntervalInSeconds",
            )
        ),
        "housing-serving/Resources/EndpointRoleDefaultPolicy/Properties/PolicyDocument/Statement",
        "housing-serving/Resources/Gate/Properties/Variants/0/MaxInstances",
        "housing-serving/Resources/Gate/Properties/Variants/0/MinInstances",
    ]


def test_the_pipelines_of_local_and_dev_differ_in_the_image_alone(synthesized: dict[str, Templates]) -> None:
    def body(name: str, account: str) -> str:
        pipeline = synthesized[name].properties("AWS::SageMaker::Pipeline")
        text = text_of(pipeline["PipelineDefinition"]["PipelineDefinitionBody"])
        text = text.replace(account, "ACCOUNT").replace(f"sagestack-{name}", "sagestack-ENVIRONMENT")
        uris = {
            "local": r"s3://cdk-hnb659fds-assets-ACCOUNT-us-east-1/[0-9a-f]{64}\.zip",
            "dev": r"ACCOUNT\.dkr\.ecr\.us-east-1\.amazonaws\.com/cdk-hnb659fds-container-assets-ACCOUNT-us-east-1:[0-9a-f]{64}",
        }
        text, count = re.subn(uris[name], "IMAGE", text)
        assert count == 4, "preprocess, train, evaluate and the registered version"
        return text

    assert body("local", "000000000000") == body("dev", "111111111111")


def test_the_roles_of_local_and_dev_differ_in_fetching_the_image_and_in_capturing_alone(
    synthesized: dict[str, Templates],
) -> None:
    def actions(name: str, role: str) -> set[str]:
        found: set[str] = set()
        for statement in synthesized[name].statements(role):
            action = statement["Action"]
            found |= {action} if isinstance(action, str) else set(action)
        return found

    fetching = {
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:GetAuthorizationToken",
        "ecr:GetDownloadUrlForLayer",
    }
    capturing = {
        "kms:Encrypt",
        "kms:GenerateDataKey*",
        "kms:ReEncrypt*",
        "s3:Abort*",
        "s3:PutObject",
        "s3:PutObjectLegalHold",
        "s3:PutObjectRetention",
        "s3:PutObjectTagging",
        "s3:PutObjectVersionTagging",
    }
    for role, more in (("PipelineJobRole", fetching), ("EndpointRole", fetching | capturing)):
        assert actions("local", role) - actions("dev", role) == set()
        assert actions("dev", role) - actions("local", role) == more
    assert actions("local", "PipelineRole") - actions("dev", "PipelineRole") == set()
    assert actions("dev", "PipelineRole") - actions("local", "PipelineRole") == {
        "ecr:BatchGetImage",
        "ecr:DescribeImages",
    }


# --- Synth is pure ---


def test_two_synths_are_byte_equal_wherever_the_checkout_is(tmp_path: Path) -> None:
    def synth(place: str) -> dict[str, bytes]:
        root = copy_project(tmp_path / place)
        app = build(root, served(load_environment("dev", root)), tmp_path / place / "cdk.out")
        add_guardrails(app)
        app.synth()
        out = tmp_path / place / "cdk.out"
        return {str(file.relative_to(out)): file.read_bytes() for file in out.rglob("*") if file.is_file()}

    one, other = synth("one"), synth("other")
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name]] == []


# What runs after the platform of `prod`: an app that breaks a rule of cdk-nag's, one of ours, and one of CloudFormation's.
WORSE = """
print("prod is synthesized", flush=True)
import aws_cdk as cdk
from aws_cdk import aws_s3 as s3

def worse(root, *rest):
    stack = cdk.Stack(root, 'Worse')
    s3.Bucket(stack, 'Open')
    cdk.CfnResource(stack, 'Misspelt', type='AWS::SageMaker::Model', properties={'ExecutionRolArn': 'x'})
    cdk.CfnResource(stack, 'Unwatched', type='AWS::SageMaker::Endpoint', properties={'EndpointConfigName': 'x'})

app.add_platform = worse
app.main()
"""


@pytest.fixture(scope="module")
def ran() -> subprocess.CompletedProcess[str]:
    """app.py as the CDK CLI runs it: in a process of its own, without credentials, Docker or a network to find them.

    One process for what passes and what fails: jsii and CDK's validation take seconds to start.
    """
    return subprocess.run(
        [sys.executable, "-c", f"import app\napp.main()\n{WORSE}"],
        cwd=PROJECT_ROOT,
        env={
            "PATH": os.environ["PATH"],
            "CDK_CONTEXT_JSON": json.dumps({**flags(), "env": "prod"}),
            "CDK_DOCKER": "/nonexistent/docker",
            "AWS_CONFIG_FILE": "/nonexistent/config",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent/credentials",
            "AWS_EC2_METADATA_DISABLED": "true",
            "HTTPS_PROXY": "http://127.0.0.1:1",
            "HTTP_PROXY": "http://127.0.0.1:1",
        },
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )


@pytest.mark.timeout(600)
def test_prod_synthesizes_with_all_guardrails_and_without_credentials_docker_or_network(
    ran: subprocess.CompletedProcess[str],
) -> None:
    assert ran.stdout.startswith("prod is synthesized"), ran.stderr


@pytest.mark.timeout(600)
def test_the_guardrails_and_cdks_own_validation_both_fail_the_synth(ran: subprocess.CompletedProcess[str]) -> None:
    assert ran.returncode != 0
    assert "AwsSolutions::AwsSolutions-S10" in ran.stderr
    assert "Sagestack::SAGESTACK-EndpointRollback" in ran.stderr
    assert "accept the risk with a reason in constructs/sagestack/accepted_risks.py" in ran.stderr
    assert "'ExecutionRolArn' was unexpected" in ran.stderr


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ({}, f"Say which environment: add -c env=NAME (known: {', '.join(known_environments())})"),
        ({"env": "prd"}, "there is no environment 'prd'; did you mean 'prod'? (known: dev, local, prod, staging)"),
    ],
)
def test_without_an_environment_that_there_is_the_app_ends_with_what_to_type(
    monkeypatch: pytest.MonkeyPatch, context: dict[str, str], words: str
) -> None:
    made = cdk.App(context=context)
    monkeypatch.setattr(cdk, "App", lambda: made)
    try:
        with pytest.raises(SystemExit) as ended:
            platform.main()
    finally:
        # A synth switches it off, since it is a process that ends.
        gc.enable()
    assert ended.value.code == words


# --- Guardrails ---


def test_the_accepted_risks_are_these() -> None:
    """Written twice on purpose: who accepts another risk changes it here, too, and a reviewer sees it."""
    assert set(ACCEPTED_RISKS) == {
        "AwsSolutions-IAM5[Action::kms:GenerateDataKey*]",
        "AwsSolutions-IAM5[Action::kms:ReEncrypt*]",
        "AwsSolutions-IAM5[Action::s3:Abort*]",
        "AwsSolutions-IAM5[Action::s3:GetBucket*]",
        "AwsSolutions-IAM5[Action::s3:GetObject*]",
        "AwsSolutions-IAM5[Action::s3:List*]",
        "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole]"
        " at {stack}/Gate/Provider",
        "AwsSolutions-IAM5[Resource::*] at {stack}/EndpointRole",
        "AwsSolutions-IAM5[Resource::*] at {stack}/Pipeline/JobRole",
        "AwsSolutions-IAM5[Resource::*] at {stack}/Probe",
        "AwsSolutions-IAM5[Resource::<{function}.Arn>:*] at {stack}/Gate/Provider",
        "AwsSolutions-IAM5[Resource::arn:{partition}:sagemaker:{place}:endpoint-config/*]",
        "AwsSolutions-IAM5[Resource::arn:{partition}:sagemaker:{place}:model/*]",
        "AwsSolutions-SF1 at {stack}/Gate/Provider",
        "AwsSolutions-SF2 at {stack}/Gate/Provider",
        "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole]"
        " at {stack}/Endpoint/Scaling/Handover/Provider",
        "AwsSolutions-IAM5[Resource::<{function}.Arn>:*] at {stack}/Endpoint/Scaling/Handover/Provider",
        "AwsSolutions-IAM5[Resource::arn:{partition}:application-autoscaling:{place}:scalable-target/*]",
        "AwsSolutions-IAM5[Resource::arn:{partition}:cloudwatch:{place}:alarm:TargetTracking-endpoint/{endpoint}/variant/{name}-*]",
        "AwsSolutions-IAM5[Resource::arn:{partition}:ec2:{place}:network-interface/*]",
        "AwsSolutions-IAM5[Resource::arn:{partition}:logs:{place}:log-group:/aws/sagemaker/{hosting}/{endpoint}:*]",
        "AwsSolutions-IAM5[Resource::arn:{partition}:logs:{place}:log-group:/aws/sagemaker/{jobs}:*]",
        "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole]"
        " at {stack}/RepositoryPolicy/Provider",
        "AwsSolutions-IAM5[Resource::<{function}.Arn>:*] at {stack}/RepositoryPolicy/Provider",
        "AwsSolutions-IAM5[Resource::arn:{partition}:kms:{place}:key/*]",
        "AwsSolutions-IAM5[Resource::arn:{partition}:s3:::*/{model}/*/{step}/*]",
        "AwsSolutions-SQS3 at {stack}/VersionPin/Missed",
        "AwsSolutions-IAM5[Resource::arn:{partition}:s3:::{assets bucket}/*]",
        "AwsSolutions-IAM5[Resource::arn:{partition}:sagemaker:{place}:model-package/{group}/*]",
        "AwsSolutions-IAM5[Resource::arn:{partition}:sagemaker:{place}:{kind}-job/pipelines-*]",
        "AwsSolutions-IAM5[Resource::{artifact bucket}/{model}/*/{step}/*]",
        "AwsSolutions-IAM5[Resource::{artifact bucket}/{model}/*]",
        "AwsSolutions-IAM5[Resource::{artifact bucket}/{model}/answers/*]",
        "AwsSolutions-IAM5[Resource::{artifact bucket}/{model}/archives/*]",
        "AwsSolutions-IAM5[Resource::{artifact bucket}/{model}/captured/*]",
        "AwsSolutions-IAM5[Resource::{artifact bucket}/{model}/failures/*]",
        "AwsSolutions-IAM5[Resource::{artifact bucket}/{model}/requests/*]",
        "AwsSolutions-IAM5[Resource::{artifact bucket}/{model}/requests/golden-records/*]",
        "AwsSolutions-IAM5[Resource::{data bucket}/{model}/input/*]",
    }
    assert all(len(reason) > 30 for reason in ACCEPTED_RISKS.values())


def test_the_accepted_risks_of_the_review_are_these() -> None:
    """Those that do not fail a synth; written twice for the same reason."""
    assert {risk.removeprefix("NIST.800.53.R5-") for risk in ACCEPTED_NIST_RISKS} == {
        "CloudWatchAlarmAction at {stack}/Probe/Alarm",
        "CloudWatchLogGroupEncrypted",
        "IAMNoInlinePolicy",
        "LambdaConcurrency at {stack}/Endpoint/Scaling/Handover",
        "LambdaConcurrency at {stack}/FrontDoor",
        "LambdaConcurrency at {stack}/Gate",
        "LambdaConcurrency at {stack}/Probe",
        "LambdaConcurrency at {stack}/RepositoryPolicy",
        "LambdaDLQ at {stack}/Endpoint/Scaling/Handover",
        "LambdaDLQ at {stack}/FrontDoor",
        "LambdaDLQ at {stack}/Gate",
        "LambdaDLQ at {stack}/Probe",
        "LambdaDLQ at {stack}/RepositoryPolicy",
        "LambdaDLQ at {stack}/VersionPin",
        "LambdaInsideVPC",
        "S3BucketReplicationEnabled",
        "S3BucketVersioningEnabled at {stack}/AccessLogs",
        "S3DefaultEncryptionKMS at {stack}/AccessLogs",
        "SageMakerEndpointConfigurationKMSKeyConfigured at {stack}/Endpoint/Config",
    }
    assert set(ACCEPTED_OWN_RISKS) == {
        "SAGESTACK-PermissionsBoundary at {stack}/GitHubDriftRole",
        "SAGESTACK-PermissionsBoundary at {stack}/GitHubRole",
    }
    assert {tool: len(accepted) for tool, accepted in ACCEPTED_BY_TOOL.items()} == {
        "cdk-nag AwsSolutions": len(ACCEPTED_RISKS) + len(ACCEPTED_DELIVERY_RISKS) + len(ACCEPTED_WORKBENCH_RISKS),
        "cdk-nag NIST.800.53.R5": len(ACCEPTED_NIST_RISKS) + len(ACCEPTED_WORKBENCH_NIST_RISKS),
        "cfn-lint": 0,
        "CloudFormation": 0,
        "sagestack": len(ACCEPTED_OWN_RISKS),
    }
    assert all(len(reason) > 30 for reason in ACCEPTED_NIST_RISKS.values())


def _by_place(risks: Iterable[str], tool: str) -> dict[str, set[str]]:
    """The rules that are accepted, by where; everywhere is the empty text."""
    found: dict[str, set[str]] = {}
    for risk in risks:
        rule, _, place = risk.partition(" at ")
        found.setdefault(place, set()).add(rule.removeprefix(f"{tool}-"))
    return found


def test_the_accepted_risks_of_the_workbench_are_these() -> None:
    assert _by_place(ACCEPTED_WORKBENCH_RISKS, "AwsSolutions") == {
        "": {
            "IAM5[Resource::arn:{partition}:sagemaker:{place}:{kind}/<{domain}.DomainId>/*]",
            "IAM5[Resource::{artifact bucket}/notebooks/{name}/*]",
            "IAM5[Resource::{artifact bucket}/notebooks/{name}/shared/*]",
        },
        "{stack}/Budget/Stop": {
            "IAM5[Resource::*]",
        },
        "{stack}/IdleReport": {
            "IAM5[Resource::*]",
            "IAM5[Resource::arn:{partition}:sagemaker:{place}:notebook-instance/{environment}-*]",
        },
        "{stack}/Maintenance": {
            "IAM5[Resource::arn:{partition}:sagemaker:{place}:notebook-instance-lifecycle-config/{environment}-*]",
        },
        "{stack}/Maintenance/Provider": {
            "IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole]",
            "IAM5[Resource::<{function}.Arn>:*]",
            "SF1",
            "SF2",
        },
        "{stack}/NotebookRole-{name}": {
            "IAM5[Resource::*]",
            "IAM5[Resource::arn:{partition}:logs:{place}:log-group:/aws/sagemaker/Endpoints/{endpoint}-*:*]",
            "IAM5[Resource::arn:{partition}:logs:{place}:log-group:/aws/sagemaker/Endpoints/{endpoint}-*]",
            "IAM5[Resource::arn:{partition}:logs:{place}:log-group:/aws/sagemaker/Endpoints/{notebook}-*:log-stream:*]",
            "IAM5[Resource::arn:{partition}:logs:{place}:log-group:/aws/sagemaker/NotebookInstances:log-stream:{notebook}/*]",
            "IAM5[Resource::arn:{partition}:logs:{place}:log-group:/aws/sagemaker/{jobs}:log-stream:{notebook}-*]",
            "IAM5[Resource::arn:{partition}:s3:::{bucket}/*]",
            "IAM5[Resource::arn:{partition}:sagemaker:{place}:pipeline/{pipeline}/execution/*]",
            "IAM5[Resource::arn:{partition}:sagemaker:{place}:{kind}/{environment}-*]",
            "IAM5[Resource::arn:{partition}:ssm:{place}:parameter/{product}/{environment}/*]",
            "IAM5[Resource::{artifact bucket}/{model}/{exchanged}/*]",
            "IAM5[Resource::{data bucket}/*]",
        },
        "{stack}/Personas/Operator": {
            "IAM5[Resource::arn:{partition}:logs:{place}:log-group:/aws/sagemaker/NotebookInstances:log-stream:{environment}-*/*]",
        },
        "{stack}/Personas/{persona}": {
            "IAM5[Resource::*]",
            "IAM5[Resource::arn:{partition}:cloudformation:{place}:stack/{environment}-*/*]",
            "IAM5[Resource::arn:{partition}:logs:{place}:log-group:/aws/sagemaker/Endpoints/{environment}-*:*]",
            "IAM5[Resource::arn:{partition}:logs:{place}:log-group:/aws/sagemaker/Endpoints/{environment}-*]",
            "IAM5[Resource::arn:{partition}:logs:{place}:log-group:/aws/sagemaker/NotebookInstances:log-stream:{notebook}/*]",
            "IAM5[Resource::arn:{partition}:logs:{place}:log-group:/aws/sagemaker/{jobs}:*]",
            "IAM5[Resource::arn:{partition}:sagemaker:{place}:pipeline/{environment}-*/execution/*]",
            "IAM5[Resource::arn:{partition}:sagemaker:{place}:pipeline/{pipeline}/execution/*]",
            "IAM5[Resource::{artifact bucket}/{model}/*/{step}/evaluation/evaluation.json]",
            "IAM5[Resource::arn:{partition}:sagemaker:{place}:{kind}/{environment}-*]",
            "IAM5[Resource::arn:{partition}:ssm:{place}:parameter/{product}/{environment}/*]",
        },
        "{stack}/Studio/CleanDelete": {
            "IAM5[Resource::arn:{partition}:ec2:{place}:network-interface/*]",
            "IAM5[Resource::arn:{partition}:ec2:{place}:security-group/*]",
            "IAM5[Resource::arn:{partition}:elasticfilesystem:{place}:file-system/*]",
        },
        "{stack}/Studio/CleanDelete/DeleteRole": {
            "IAM5[Resource::*]",
            "IAM5[Resource::arn:{partition}:sagemaker:{place}:domain/*]",
            "IAM5[Resource::arn:{partition}:sagemaker:{place}:studio-lifecycle-config/*]",
        },
        "{stack}/Studio/CleanDelete/Provider": {
            "IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole]",
            "IAM5[Resource::<{function}.Arn>:*]",
            "SF1",
            "SF2",
        },
        "{stack}/Studio/Image-{image}/Role": {
            "IAM5[Resource::*]",
        },
        "{stack}/Studio{role}": {
            "IAM5[Resource::*]",
            "IAM5[Resource::arn:{partition}:logs:{place}:log-group:/aws/sagemaker/Endpoints/{endpoint}-*:*]",
            "IAM5[Resource::arn:{partition}:logs:{place}:log-group:/aws/sagemaker/Endpoints/{endpoint}-*]",
            "IAM5[Resource::arn:{partition}:logs:{place}:log-group:/aws/sagemaker/Endpoints/{notebook}-*:log-stream:*]",
            "IAM5[Resource::arn:{partition}:logs:{place}:log-group:/aws/sagemaker/{jobs}:log-stream:{notebook}-*]",
            "IAM5[Resource::arn:{partition}:sagemaker:{place}:app/*]",
            "IAM5[Resource::arn:{partition}:sagemaker:{place}:domain/*]",
            "IAM5[Resource::arn:{partition}:sagemaker:{place}:pipeline/{pipeline}/execution/*]",
            "IAM5[Resource::arn:{partition}:sagemaker:{place}:space/*]",
            "IAM5[Resource::arn:{partition}:sagemaker:{place}:user-profile/*]",
            "IAM5[Resource::arn:{partition}:sagemaker:{place}:{kind}/<sagemaker:DomainId>/*]",
            "IAM5[Resource::arn:{partition}:sagemaker:{place}:{kind}/{environment}-*]",
            "IAM5[Resource::arn:{partition}:ssm:{place}:parameter/{product}/{environment}/*]",
            "IAM5[Resource::{artifact bucket}/{model}/{exchanged}/*]",
            "IAM5[Resource::{data bucket}/*]",
        },
    }
    assert _by_place(ACCEPTED_WORKBENCH_NIST_RISKS, "NIST.800.53.R5") == {
        "{stack}/Budget/Stop": {"LambdaConcurrency", "LambdaDLQ"},
        "{stack}/IdleReport": {"LambdaConcurrency", "LambdaDLQ"},
        "{stack}/Maintenance/Begin": {"LambdaConcurrency", "LambdaDLQ"},
        "{stack}/Maintenance/Look": {"LambdaConcurrency", "LambdaDLQ"},
        "{stack}/Maintenance/Provider": {"LambdaConcurrency", "LambdaDLQ"},
        "{stack}/Maintenance/Restart": {"LambdaConcurrency", "LambdaDLQ"},
        "{stack}/Network": {"VPCDefaultSecurityGroupClosed"},
        "{stack}/Network/FlowLogs": {"CloudWatchLogGroupEncrypted"},
        "{stack}/Network/PublicRoute": {"VPCNoUnrestrictedRouteToIGW"},
        "{stack}/Studio/CleanDelete": {"LambdaConcurrency", "LambdaDLQ"},
    }
    assert all(len(why) > 30 for why in (*ACCEPTED_WORKBENCH_RISKS.values(), *ACCEPTED_WORKBENCH_NIST_RISKS.values()))


def test_every_finding_of_a_whole_workbench_is_an_accepted_risk_and_every_acceptance_is_needed(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    workbench = WholeWorkbench.of(tmp_path_factory)
    for found, tool, needed in (
        (workbench.found, AWS_SOLUTIONS, ACCEPTED_WORKBENCH_RISKS),
        (workbench.found_by_nist, NIST, ACCEPTED_WORKBENCH_NIST_RISKS),
    ):
        assert not_accepted(found, ACCEPTED_BY_TOOL[tool]) == []
        assert not_needed(found, needed) == []


def test_every_nist_finding_is_an_accepted_risk_and_every_acceptance_is_needed(found_by_nist: list[Finding]) -> None:
    assert not_accepted(found_by_nist, ACCEPTED_NIST_RISKS) == []
    assert not_needed(found_by_nist, ACCEPTED_NIST_RISKS) == []


def test_every_finding_is_an_accepted_risk(found: list[Finding]) -> None:
    assert not_accepted(found, ACCEPTED_RISKS) == []


def test_no_risk_is_accepted_that_is_not_there(found: list[Finding]) -> None:
    assert not_needed(found) == []


def test_an_acceptance_holds_only_where_it_says() -> None:
    accepted = "AwsSolutions-IAM5[Resource::*] at {stack}/EndpointRole"

    def at(path: str, resource: str = "*") -> Finding:
        return Finding(f"AwsSolutions-IAM5[Resource::{resource}]", path, "")

    assert at("sagestack-dev-housing-serving/EndpointRole/DefaultPolicy/Resource").is_accepted_by(accepted)
    assert not at("sagestack-dev-housing-serving/EndpointRole2/DefaultPolicy/Resource").is_accepted_by(accepted)
    assert not at("sagestack-dev-housing-serving/Other/EndpointRole/Resource").is_accepted_by(accepted)
    assert not at("sagestack-dev-housing-serving/EndpointRole", "arn:aws:s3:::all/*").is_accepted_by(accepted)
    assert not at("", "bucket/*").is_accepted_by("AwsSolutions-IAM5[Resource::{bucket}/{model}/*]")


def test_an_open_bucket_is_found(tmp_path: Path) -> None:
    app = cdk.App(context=flags(), outdir=str(tmp_path))
    s3.Bucket(cdk.Stack(app, "Stack"), "Open")
    open_findings = not_accepted(findings(app))
    assert {finding.rule for finding in open_findings} == {"AwsSolutions-S1", "AwsSolutions-S10"}
    add_guardrails(app)
    with pytest.raises(RuntimeError, match="AwsSolutions-S10"):
        app.synth()


# --- Layout ---


@pytest.mark.parametrize(
    ("hiding", "cure"),
    [("constructs/__init__.py", "delete that file"), ("tests/constructs/test_x.py", "rename that folder")],
)
def test_a_folder_that_hides_the_cdks_own_package_is_named_with_the_cure(
    tmp_path: Path, hiding: str, cure: str
) -> None:
    check_layout(tmp_path)
    (tmp_path / hiding).parent.mkdir(parents=True)
    (tmp_path / hiding).touch()
    with pytest.raises(ImportError, match=f"hides the package 'constructs' that aws_cdk needs: {cure}"):
        check_layout(tmp_path)


def test_the_folders_of_this_project_hide_nothing() -> None:
    check_layout()


def test_the_models_of_the_repository_are_valid() -> None:
    assert "housing" in load_models()
