"""Another account deploys a version with one grant here and one there, and gets nothing besides."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template
from sagestack import settings
from sagestack.deployable_versions import SharedVersions
from sagestack.roles import SageMakerRole

from functions.repository_policy import handler
from stacks import FoundationStack, TrainingStack
from tests.synthesis import copy_project, flags, share_between_accounts

PROD = "333333333333"


@pytest.fixture(scope="module")
def templates() -> dict[str, Template]:
    """The stacks of `dev`, whose versions `prod` may deploy."""
    environment = settings.load_environment("dev")
    model = settings.load_model("housing")
    app = cdk.App(context=flags())
    where = cdk.Environment(account=environment.account, region=environment.region)
    foundation = FoundationStack(app, "Foundation", environment=environment, env=where)
    training = TrainingStack(app, "Training", environment=environment, model=model, foundation=foundation, env=where)
    training.pipeline.grant_deploy_from(PROD)
    return {"foundation": Template.from_stack(foundation), "training": Template.from_stack(training)}


def statements_for(policy: dict[str, Any], account: str) -> list[dict[str, Any]]:
    return [each for each in policy["Statement"] if f":{account}:" in json.dumps(each.get("Principal"))]


def test_the_registry_shows_its_versions_and_lets_nobody_change_them(templates: dict[str, Template]) -> None:
    [group] = templates["training"].find_resources("AWS::SageMaker::ModelPackageGroup").values()
    statements = statements_for(group["Properties"]["ModelPackageGroupPolicy"], PROD)
    actions = {
        action
        for each in statements
        for action in ([each["Action"]] if isinstance(each["Action"], str) else each["Action"])
    }
    assert actions == {
        "sagemaker:CreateModel",
        "sagemaker:DescribeModelPackage",
        "sagemaker:DescribeModelPackageGroup",
        "sagemaker:ListModelPackages",
    }
    assert "sagestack-dev-housing" in json.dumps(statements)


def test_the_bucket_gives_models_and_golden_records_and_no_data(templates: dict[str, Template]) -> None:
    found = [
        statement
        for policy in templates["foundation"].find_resources("AWS::S3::BucketPolicy").values()
        for statement in statements_for(policy["Properties"]["PolicyDocument"], PROD)
    ]
    [statement] = found
    assert statement["Action"] == "s3:GetObject"
    keys = {resource["Fn::Join"][1][-1] for resource in statement["Resource"]}
    assert keys == {"/housing/*/Train/*", "/housing/*/Evaluate/*"}


def test_the_key_decrypts_through_s3_alone(templates: dict[str, Template]) -> None:
    [key] = templates["foundation"].find_resources("AWS::KMS::Key").values()
    [statement] = statements_for(key["Properties"]["KeyPolicy"], PROD)
    assert statement["Action"] == ["kms:Decrypt", "kms:DescribeKey"]
    assert statement["Condition"] == {"StringEquals": {"kms:ViaService": "s3.us-east-1.amazonaws.com"}}


def test_the_images_can_be_fetched(templates: dict[str, Template]) -> None:
    [grant] = templates["training"].find_resources("Custom::RepositoryPolicyStatement").values()
    assert grant["Properties"]["Account"] == PROD
    assert "container-assets" in json.dumps(grant["Properties"]["RepositoryName"])


def test_the_other_side_names_the_account_of_all_that_it_may_read() -> None:
    stack = cdk.Stack(cdk.App(), "Prod", env=cdk.Environment(account=PROD, region="us-east-1"))
    role = SageMakerRole(stack, "Role", description="What the endpoint may do")
    versions = SharedVersions(stack, source=settings.load_environment("dev"), model_name="housing")
    versions.grant_deploy(role)
    versions.grant_read_golden_records(role)

    arn = stack.resolve(versions.model_package_arn(4))
    assert arn["Fn::Join"][1][-1] == ":sagemaker:us-east-1:111111111111:model-package/sagestack-dev-housing/4"
    [policy] = Template.from_stack(stack).find_resources("AWS::IAM::Policy").values()
    for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
        elsewhere = "111111111111" in json.dumps([statement["Resource"], statement.get("Condition")])
        assert elsewhere or statement["Action"] == "ecr:GetAuthorizationToken", statement


def test_in_the_local_cloud_an_image_of_another_environment_is_what_it_is_built_from() -> None:
    stack = cdk.Stack(cdk.App(), "Prod", env=cdk.Environment(account="0" * 12, region="us-east-1"))
    role = SageMakerRole(stack, "Role", description="What the endpoint may do")
    source = settings.load_environment("local")
    SharedVersions(stack, source=source, model_name="housing").grant_deploy(role)
    [policy] = Template.from_stack(stack).find_resources("AWS::IAM::Policy").values()
    statements = policy["Properties"]["PolicyDocument"]["Statement"]
    assert "ecr:" not in json.dumps(statements)
    assert any("cdk-hnb659fds-assets-000000000000-us-east-1/*" in json.dumps(each) for each in statements)


def test_an_account_is_refused_where_the_image_is_a_build_context() -> None:
    environment, model = settings.load_environment("local"), settings.load_model("housing")
    app = cdk.App(context=flags())
    foundation = FoundationStack(app, "Foundation", environment=environment)
    training = TrainingStack(app, "Training", environment=environment, model=model, foundation=foundation)
    with pytest.raises(ValueError, match="deployable_from"):
        training.pipeline.grant_deploy_from(PROD)


def test_who_is_not_let_in_is_told_what_to_write_where(tmp_path: Path) -> None:
    root = copy_project(tmp_path)
    share_between_accounts(root)
    dev = root / "environments/dev.yaml"
    dev.write_text(dev.read_text().replace(PROD, "222222222222"))
    with pytest.raises(settings.SettingsError, match=r"prod.yaml:\d+: models.housing.versions_from: dev does not let"):
        settings.load_sources(settings.load_environment("prod", root), root)
    prod = root / "environments/prod.yaml"
    prod.write_text(prod.read_text().replace("versions_from: dev", "versions_from: dve"))
    with pytest.raises(settings.SettingsError, match="'dve' is no other environment; did you mean 'dev'"):
        settings.load_sources(settings.load_environment("prod", root), root)


class Ecr:
    """One repository's policy, as ECR keeps it."""

    class exceptions:  # noqa: N801 - boto3's own name
        class RepositoryPolicyNotFoundException(Exception):
            """It has none."""

        class RepositoryNotFoundException(Exception):
            """It is gone."""

    def __init__(self, policy: dict[str, Any] | None) -> None:
        self.policy = policy
        self.exists = True
        self.after_write: Callable[[], None] = lambda: None
        self.writes = 0

    def get_repository_policy(self, *, repositoryName: str) -> dict[str, str]:  # noqa: N803 - boto3's own
        if not self.exists:
            raise self.exceptions.RepositoryNotFoundException
        if self.policy is None:
            raise self.exceptions.RepositoryPolicyNotFoundException
        return {"policyText": json.dumps(self.policy)}

    def set_repository_policy(self, *, repositoryName: str, policyText: str) -> None:  # noqa: N803 - boto3's own
        self.policy = json.loads(policyText)
        self._written()

    def delete_repository_policy(self, *, repositoryName: str) -> None:  # noqa: N803 - boto3's own
        self.policy = None
        self._written()

    def _written(self) -> None:
        self.writes += 1
        work, self.after_write = self.after_write, lambda: None
        work()


OTHER = {"Sid": "LambdaECRImageRetrievalPolicy", "Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}}


@pytest.fixture
def ecr(monkeypatch: pytest.MonkeyPatch) -> Ecr:
    fake = Ecr({"Version": "2012-10-17", "Statement": [OTHER]})
    monkeypatch.setattr("boto3.client", lambda service: {"ecr": fake}[service])
    monkeypatch.setattr("time.sleep", lambda _: None)
    return fake


def ask(kind: str, stack: str = "prod") -> dict[str, str]:
    return handler.handler(
        {
            "RequestType": kind,
            "StackId": f"arn:aws:cloudformation:us-east-1:111111111111:stack/{stack}/1",
            "LogicalResourceId": "Pull",
            "ResourceProperties": {"RepositoryName": "images", "Account": PROD},
        },
        None,
    )


def test_a_statement_joins_those_of_others_and_leaves_them_when_it_goes(ecr: Ecr) -> None:
    before = copy.deepcopy(ecr.policy)
    first = ask("Create")
    assert ecr.policy is not None
    assert ecr.policy["Statement"][0] == OTHER
    assert ecr.policy["Statement"][1]["Principal"] == {"AWS": f"arn:aws:iam::{PROD}:root"}
    assert ask("Update") == first
    ask("Create", stack="another")
    assert len(ecr.policy["Statement"]) == 3
    ask("Delete")
    ask("Delete", stack="another")
    assert ecr.policy == before
    ask("Delete")


def test_a_policy_that_was_empty_is_empty_again(ecr: Ecr) -> None:
    ecr.policy = None
    ask("Create")
    assert ecr.policy is not None
    ask("Delete")
    assert ecr.policy is None


def test_what_another_stack_overwrites_is_written_again(ecr: Ecr) -> None:
    ecr.after_write = lambda: ecr.__setattr__("policy", {"Version": "2012-10-17", "Statement": [OTHER]})
    ask("Create")
    assert ecr.policy is not None
    assert len(ecr.policy["Statement"]) == 2
    assert ecr.writes == 2


def test_a_repository_that_is_gone_needs_no_cleaning(ecr: Ecr) -> None:
    ecr.exists = False
    ask("Delete")
    assert ecr.writes == 0
