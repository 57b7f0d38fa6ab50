"""A Studio domain is deployed, worked in, changed and deleted with its stack: nothing is left, or the home directories are."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from sagestack import settings

from functions.studio_cleanup.names import KEPT, MANAGED_BY, MARK
from tests.hosted_images import BUCKET
from tests.local_cloud_fixtures import LocalCloud
from tests.stack_deployer import StackDeployer, synthesizer
from tests.studio_stack import add_domain
from tests.synthesis import flags
from tests.waiting import wait_for

pytestmark = pytest.mark.long

STACK = "sagestack-dev-workbench"
STUDIO: dict[str, Any] = {
    "user_profiles": {"ada": {}, "grace": {}},
    "spaces": {"research": {"owner": "ada"}},
    "lifecycle_configs": {
        "standard": {"default": True, "environment_variables": {"PROJECT": "churn"}},
        "basics": {"always": True, "examples": True},
    },
    "custom_images": {"mine": {"folder": "images/mine", "environment_variables": {"MINE": "yes"}}},
}


class Story:
    """One stack, and the services that people use beside it."""

    def __init__(self, cloud: LocalCloud, folder: Path) -> None:
        self.deployer, self._cloud, self._folder, self._number = StackDeployer(cloud, STACK), cloud, folder, 0
        self.sagemaker, self.efs, self.ec2 = (cloud.client(name) for name in ("sagemaker", "efs", "ec2"))

    def deploy(self, studio: dict[str, Any] | None) -> str:
        def make(app: cdk.App) -> None:
            for flag, value in flags().items():
                app.node.set_context(flag, value)
            where = cdk.Environment(account=self._cloud.account, region=self._cloud.region)
            stack = cdk.Stack(app, STACK, env=where, synthesizer=synthesizer())
            if studio is None:
                cdk.CfnWaitConditionHandle(stack, "Nothing")
            else:
                add_domain(stack, studio, model_image="build-context")

        self._number += 1
        return self.deployer.deploy(self.deployer.synthesize(self._folder / f"cdk.out-{self._number}", make))

    @property
    def domain_id(self) -> str:
        (domain,) = self.sagemaker.list_domains()["Domains"]
        return str(domain["DomainId"])

    def start_app(self, space: str) -> None:
        place = {"DomainId": self.domain_id, "SpaceName": space, "AppType": "JupyterLab", "AppName": "default"}
        self.sagemaker.create_app(**place)
        wait_for(lambda: self.sagemaker.describe_app(**place)["Status"] == "InService", what="the app did not start")

    def scripts_of(self, space: str) -> tuple[str, str]:
        """The names of the lifecycle configs that its app runs: always, and the chosen one."""
        place = {"DomainId": self.domain_id, "SpaceName": space, "AppType": "JupyterLab", "AppName": "default"}
        app = self.sagemaker.describe_app(**place)
        arns = (app["BuiltInLifecycleConfigArn"], app["ResourceSpec"]["LifecycleConfigArn"])
        return arns[0].rpartition("/")[2], arns[1].rpartition("/")[2]

    def script(self, name: str) -> str:
        """What a lifecycle config runs."""
        config = self.sagemaker.describe_studio_lifecycle_config(StudioLifecycleConfigName=name)
        return base64.b64decode(config["StudioLifecycleConfigContent"]).decode()

    def make_space(self, name: str, owner: str, sharing: str = "Private") -> None:
        place = {"DomainId": self.domain_id, "SpaceName": name}
        self.sagemaker.create_space(
            **place,
            OwnershipSettings={"OwnerUserProfileName": owner},
            SpaceSharingSettings={"SharingType": sharing},
            SpaceSettings={"AppType": "JupyterLab"},
        )
        wait_for(lambda: self.sagemaker.describe_space(**place)["Status"] == "InService", what="the space was not made")

    def make_profile(self, name: str) -> None:
        place = {"DomainId": self.domain_id, "UserProfileName": name}
        self.sagemaker.create_user_profile(**place)
        wait_for(lambda: self.sagemaker.describe_user_profile(**place)["Status"] == "InService", what="no profile")

    def file_systems(self) -> list[dict[str, str]]:
        """The tags of those that SageMaker made."""
        tags = [
            {tag["Key"]: tag["Value"] for tag in each["Tags"]}
            for each in self.efs.describe_file_systems()["FileSystems"]
        ]
        return [each for each in tags if MANAGED_BY in each]

    def left(self) -> dict[str, list[str]]:
        """What there is of Studio and its network."""
        return {
            "domains": [each["DomainId"] for each in self.sagemaker.list_domains()["Domains"]],
            "images": [each["ImageName"] for each in self.sagemaker.list_images()["Images"]],
            "configs": [
                each["StudioLifecycleConfigName"]
                for each in self.sagemaker.list_studio_lifecycle_configs()["StudioLifecycleConfigs"]
            ],
            "networks": [
                each["CidrBlock"] for each in self.ec2.describe_vpcs()["Vpcs"] if "10.42" in each["CidrBlock"]
            ],
            "groups": [
                each["GroupName"]
                for each in self.ec2.describe_security_groups()["SecurityGroups"]
                if "-nfs-" in each["GroupName"]
            ],
            "interfaces": [
                each["NetworkInterfaceId"] for each in self.ec2.describe_network_interfaces()["NetworkInterfaces"]
            ],
        }


NOTHING: dict[str, list[str]] = {
    "domains": [],
    "images": [],
    "configs": [],
    "networks": [],
    "groups": [],
    "interfaces": [],
}


@pytest.fixture
def story(own_cloud: LocalCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Story:
    (tmp_path / "project/images/mine").mkdir(parents=True)
    (tmp_path / "project/images/mine/Dockerfile").write_text("FROM scratch\n")
    monkeypatch.setattr(settings, "PROJECT_ROOT", tmp_path / "project")
    own_cloud.client("s3").create_bucket(Bucket=BUCKET)
    return Story(own_cloud, tmp_path)


def test_a_domain_that_people_worked_in_is_gone_with_its_stack(story: Story) -> None:
    assert story.deploy(STUDIO) == "CREATE_COMPLETE", story.deployer.failures()
    assert [MARK in each for each in story.file_systems()] == [True]
    story.make_profile("somebody")
    story.make_space("theirs", "somebody")
    story.make_space("together", "grace", "Shared")
    for space in ("research", "theirs", "together"):
        story.start_app(space)
    always, chosen = story.scripts_of("research")
    assert (always.split("-")[2], chosen.split("-")[2]) == ("basics", "standard")
    assert "SAGESTACK_EXAMPLES_URL=s3://" in story.script(always)

    story.deployer.delete()

    assert story.left() == NOTHING
    assert story.file_systems() == []


def test_an_image_of_a_folder_is_deployed_changed_and_gone_with_its_stack(story: Story, tmp_path: Path) -> None:
    """As far as the local cloud goes: the build context is there and its role may read it; no app runs."""
    studio = {name: STUDIO[name] for name in ("user_profiles", "custom_images")}
    versions = []
    for content in ("FROM scratch\n", "FROM scratch\nUSER 1000\n"):
        (tmp_path / "project/images/mine/Dockerfile").write_text(content)
        assert story.deploy(studio).endswith("_COMPLETE"), story.deployer.failures()
        lab = story.sagemaker.describe_domain(DomainId=story.domain_id)["DefaultUserSettings"]["JupyterLabAppSettings"]
        (image,) = lab["CustomImages"]
        assert (image["ImageName"], image["AppImageConfigName"]) == ("sagestack-dev-mine", "sagestack-dev-mine")
        version = story.sagemaker.describe_image_version(ImageName="sagestack-dev-mine")
        assert (version["Version"], version["ImageVersionStatus"]) == (image["ImageVersionNumber"], "CREATED")
        versions.append(version["ContainerImage"])
    assert versions[0] != versions[1]
    config = story.sagemaker.describe_app_image_config(AppImageConfigName="sagestack-dev-mine")
    container = config["JupyterLabAppImageConfig"]["ContainerConfig"]
    assert container == {"ContainerEnvironmentVariables": {"MINE": "yes"}}

    story.deployer.delete()

    assert story.left() == NOTHING


def test_home_directories_stay_and_a_changed_domain_is_the_same(story: Story) -> None:
    assert story.deploy({**STUDIO, "home_directories": "keep"}) == "CREATE_COMPLETE", story.deployer.failures()
    before = story.domain_id
    story.start_app("research")
    changed = {
        **STUDIO,
        "home_directories": "keep",
        "user_profiles": {"ada": {}},
        "lifecycle_configs": {
            "standard": {"default": True, "environment_variables": {"PROJECT": "fraud"}},
            "basics": {"always": True},  # which is how it ends
        },
    }
    story.make_space("mine", "grace")
    story.start_app("mine")

    # Somebody leaves, and a script changes.
    assert story.deploy(changed) == "UPDATE_COMPLETE", story.deployer.failures()
    assert story.domain_id == before
    profiles = story.sagemaker.list_user_profiles(DomainIdEquals=before)["UserProfiles"]
    assert [each["UserProfileName"] for each in profiles] == ["ada"]
    # The app of `research` still runs with the old script, which SageMaker therefore keeps, and CloudFormation forgets.
    assert sorted(each.split("-")[2] for each in story.left()["configs"]) == [
        "basics",
        "basics",
        "standard",
        "standard",
    ]

    # What would make another domain is refused, and nothing is lost.
    assert story.deploy({**changed, "auth": "identity-center"}) == "UPDATE_ROLLBACK_COMPLETE"
    assert any("cannot change its auth (was iam, is identity-center)" in each for each in story.deployer.failures())
    assert story.domain_id == before
    assert story.sagemaker.list_apps(DomainIdEquals=before)["Apps"]

    story.deployer.delete()

    assert story.left() == NOTHING
    (kept,) = story.file_systems()
    assert kept[MARK] == KEPT
