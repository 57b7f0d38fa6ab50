"""An approval in the local cloud's registry becomes a commit: by a real event, rule and function, at a host of a few lines."""

from __future__ import annotations

from pathlib import Path

import aws_cdk as cdk
import pytest
from aws_cdk import aws_kms as kms
from sagestack import settings
from sagestack.model_registry import ModelRegistry
from sagestack.version_pin import VersionPin

from tests.git_host_fakes import Repository, served
from tests.hosted_images import Hosting
from tests.local_cloud_fixtures import LocalCloud
from tests.stack_deployer import StackDeployer, synthesizer
from tests.waiting import wait_for

STACK, GROUP, FILE = "pinned", "sagestack-dev-pinned", "environments/dev.yaml"
DEV = (Path(__file__).parent.parent / FILE).read_text()


@pytest.fixture(scope="module")
def hosting(cloud: LocalCloud) -> Hosting:
    return Hosting(cloud)


def test_an_approval_ends_in_a_commit_of_the_version_and_a_rejection_in_none(
    cloud: LocalCloud, hosting: Hosting, tmp_path: Path
) -> None:
    token = cloud.client("secretsmanager").create_secret(Name="git-token", SecretString="secret-token\n")["ARN"]
    repository = Repository({"main": {FILE: DEV}})
    deployer = StackDeployer(cloud, STACK)
    with served("github", repository) as address:
        git = settings.Git(
            host="github", repository="team/ml", change="commit", token_secret_arn=token, api_url=address
        )

        def make(app: cdk.App) -> None:
            stack = cdk.Stack(app, STACK, synthesizer=synthesizer())
            VersionPin(
                stack,
                "Pin",
                environment=settings.load_environment("dev"),
                model=settings.load_model("housing"),
                git=git,
                registry=ModelRegistry(
                    stack, "Registry", model_package_group_name=GROUP, removal_policy=cdk.RemovalPolicy.DESTROY
                ),
                encryption_key=kms.Key(stack, "Key"),
            )

        assert deployer.deploy(deployer.synthesize(tmp_path, make)) == "CREATE_COMPLETE", deployer.failures()

        versions = [
            hosting.sagemaker.create_model_package(
                ModelPackageGroupName=GROUP,
                ModelApprovalStatus="PendingManualApproval",
                InferenceSpecification={
                    "Containers": [{"Image": hosting.image, "ModelDataUrl": hosting.artefact("pinned")}],
                    "SupportedContentTypes": ["text/csv"],
                    "SupportedResponseMIMETypes": ["text/csv"],
                },
            )["ModelPackageArn"]
            for _ in range(2)
        ]
        for version, status in zip(versions, ("Rejected", "Approved"), strict=True):
            hosting.sagemaker.update_model_package(ModelPackageArn=version, ModelApprovalStatus=status)
        wait_for(lambda: repository.messages, 60)

    (message,) = repository.messages
    assert message.startswith("Serve version 2 of housing in dev\n")
    assert versions[1] in message
    assert repository.branches["main"][FILE] == DEV.replace("served_version: null", "served_version: 2")
    assert all(headers["authorization"] == "Bearer secret-token" for _, _, headers in repository.requests)
    for version in versions:
        hosting.sagemaker.delete_model_package(ModelPackageName=version)
    deployer.delete()
