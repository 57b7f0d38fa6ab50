"""A version's way from its approval in the local cloud to prod, by pull requests on the local git host, and back by a revert."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_kms as kms
from sagestack import settings
from sagestack.cli.main import app
from sagestack.model_registry import ModelRegistry
from sagestack.version_pin import VersionPin
from typer.testing import CliRunner

from local_cloud.git_host.server import GitHost
from tests.git_repositories import NAME, TOKEN, ask, bare, git, hosted
from tests.hosted_images import Hosting
from tests.local_cloud_fixtures import LocalCloud
from tests.stack_deployer import StackDeployer, synthesizer
from tests.test_promotion_by_pull_request import CI, FILES, environment
from tests.waiting import wait_for

pytestmark = pytest.mark.long

STACK, GROUP = "promoted", "sagestack-dev-promoted"


def approved(cloud: LocalCloud, hosting: Hosting) -> str:
    """A version that somebody approves."""
    arn: str = hosting.sagemaker.create_model_package(
        ModelPackageGroupName=GROUP,
        ModelApprovalStatus="PendingManualApproval",
        InferenceSpecification={
            "Containers": [{"Image": hosting.image, "ModelDataUrl": hosting.artefact("promoted")}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    )["ModelPackageArn"]
    hosting.sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    return arn


def pulls(host: GitHost) -> list[dict[str, Any]]:
    return list(ask(host, "GET", "pulls")[1])


def merge(host: GitHost, number: int) -> None:
    status, said = ask(host, "PUT", f"pulls/{number}/merge", {})
    assert status == 200, said


def promote(after: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["promote", "--after", after, "--json"])
    assert result.exit_code == 0, result.output
    [proposal] = json.loads(result.stdout)["proposals"]
    return dict(proposal)


def test_an_approved_version_goes_to_prod_by_pull_requests_and_back_by_a_revert(
    cloud: LocalCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in CI:
        monkeypatch.delenv(variable, raising=False)
    hosting, deployer = Hosting(cloud), StackDeployer(cloud, STACK)
    secret = cloud.client("secretsmanager").create_secret(Name="promotion-token", SecretString=f"{TOKEN}\n")["ARN"]
    files = FILES | {"environments/dev.yaml": environment("1" * 12, None)}
    with hosted(bare(tmp_path, files)) as host:
        repository = settings.Git(host="github", repository=NAME, token_secret_arn=secret, api_url=host.url)

        def make(app: cdk.App) -> None:
            stack = cdk.Stack(app, STACK, synthesizer=synthesizer())
            VersionPin(
                stack,
                "Pin",
                environment=settings.load_environment("dev"),
                model=settings.load_model("housing"),
                git=repository,
                registry=ModelRegistry(
                    stack, "Registry", model_package_group_name=GROUP, removal_policy=cdk.RemovalPolicy.DESTROY
                ),
                encryption_key=kms.Key(stack, "Key"),
            )

        assert deployer.deploy(deployer.synthesize(tmp_path / "cdk.out", make)) == "CREATE_COMPLETE", (
            deployer.failures()
        )

        versions = [approved(cloud, hosting)]
        wait_for(lambda: pulls(host), 60)
        [proposal] = pulls(host)
        assert proposal["title"] == "Serve version 1 of housing in dev"
        assert versions[0] in proposal["body"]

        # The next one takes its place before anybody looked.
        versions.append(approved(cloud, hosting))
        wait_for(lambda: [each["head"]["ref"] for each in pulls(host)] == ["sagestack/dev-housing-2"], 60)
        assert "(see" in ask(host, "GET", "issues/1/comments")[1][0]["body"]
        merge(host, 2)

        git(tmp_path, "clone", "--quiet", str(host.repository.path), "work")
        work = tmp_path / "work"
        monkeypatch.chdir(work)
        monkeypatch.setenv("SAGESTACK_GIT_API_URL", host.url)
        monkeypatch.setenv("SAGESTACK_GIT_TOKEN", TOKEN)
        for number, (after, stage) in enumerate((("dev", "staging"), ("staging", "prod")), start=3):
            assert settings.load_environment(after, work).models["housing"].served_version == 2
            told = promote(after)
            assert (told["environment"], told["outcome"]) == (stage, "opened")
            assert promote(after)["outcome"] == "open"
            merge(host, number)
            git(work, "pull", "--quiet")
        assert settings.load_environment("prod", work).models["housing"].served_version == 2

        git(work, "revert", "--no-edit", "--mainline", "1", "HEAD")
        git(work, "push", "--quiet", "origin", "HEAD:main")
        assert git(host.repository.path, "diff", "--numstat", "main~1", "main").split() == [
            "1", "1", "environments/prod.yaml",
        ]  # fmt: skip
        assert settings.load_environment("prod", work).models["housing"].served_version is None
    for version in versions:
        hosting.sagemaker.delete_model_package(ModelPackageName=version)
    deployer.delete()
