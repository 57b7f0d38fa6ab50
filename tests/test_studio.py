"""A Studio domain: private, watched, with a role for each person, and in the order in which it can be deleted."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk.assertions import Annotations, Match, Template
from botocore.validate import ParamValidator
from pydantic import TypeAdapter
from sagestack import settings
from sagestack.review.changes.schemas import schema_of
from sagestack.settings import EnvironmentNames, shipped
from sagestack.settings.workbench.network import WorkbenchNetwork
from sagestack.settings.workbench.studio import CustomImage as CustomImageSettings
from sagestack.settings.workbench.studio import Studio, StudioLifecycleConfig
from sagestack.settings.workbench.studio_people import DefaultType, known_studio_types, takes_space_type
from sagestack.workbench.lifecycle.checks import problems_of_bash, problems_of_text
from sagestack.workbench.private_network import PrivateNetwork
from sagestack.workbench.studio.app_script import Examples, app_script
from sagestack.workbench.studio.app_settings import Software
from sagestack.workbench.studio.custom_image import CustomImage
from sagestack.workbench.studio.domain import StudioDomain
from sagestack.workbench.studio.studio_lifecycle_config import StudioLifecycleConfig as LifecycleConfig

from functions.studio_cleanup.names import DOMAIN, PROFILE, RESIDUE, SPACE
from tests.studio_stack import Network, add_domain
from tests.synthesis import flags
from tests.waiting import wait_for

SETTINGS: dict[str, Any] = {
    "instance_types": ["ml.t3.medium", "ml.m5.large"],
    "idle_shutdown": {"minutes": 60, "max_minutes": 180},
    "user_profiles": {
        "ada": {"owner": "ada.lovelace"},
        "grace": {"instance_type": "ml.g5.xlarge", "instance_types": ["ml.g5.xlarge"], "storage": {"max_gb": 500}},
    },
    "spaces": {
        "research": {"owner": "ada"},
        "together": {"owner": "grace", "sharing": "shared", "volume_size_in_gb": 300},
        "code": {"owner": "ada", "app": "code-editor", "lifecycle_config": "editor"},
    },
    "lifecycle_configs": {
        "standard": {"default": True, "environment_variables": {"PROJECT": "it's churn"}, "packages": ["polars==1.0"]},
        "editor": {"app": "code-editor", "git": {"user_name": "Ada", "user_email": "ada@example.org"}},
        "basics": {"always": True, "examples": True, "environment_variables": {"TEAM": "research", "PROJECT": "any"}},
    },
    "custom_images": {
        "research": {
            "default": True,
            "image_uri": "111111111111.dkr.ecr.us-east-1.amazonaws.com/images/research:1",
            "arguments": ["--quiet"],
        }
    },
    "hidden_ml_tools": ["JumpStart"],
}


def stack_with(studio: Mapping[str, Any], **more: Any) -> cdk.Stack:
    app = cdk.App(context=flags(), analytics_reporting=False)
    stack = cdk.Stack(app, "Workbench", env=cdk.Environment(account="111111111111", region="us-east-1"))
    add_domain(stack, studio, **more)
    cdk.Tags.of(app).add("team", "research")
    return stack


@pytest.fixture(scope="module")
def template() -> Template:
    """The ordinary case: two people, three spaces, scripts and an image."""
    return Template.from_stack(stack_with(SETTINGS))


def only(template: Template, kind: str, **wanted: Any) -> dict[str, Any]:
    """The properties of the one resource of a kind that has these."""
    (found,) = template.find_resources(kind, {"Properties": wanted}).values()
    return dict(found["Properties"])


def logical_id(template: Template, kind: str, **wanted: Any) -> str:
    (found,) = template.find_resources(kind, {"Properties": wanted})
    return found


def statements(template: Template, role: str = "") -> list[dict[str, Any]]:
    """Of all policies of roles whose logical id begins so."""
    return [
        statement
        for policy in template.find_resources("AWS::IAM::Policy").values()
        if any(each["Ref"].startswith(role) for each in policy["Properties"]["Roles"])
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    ]


def test_a_domain_is_in_the_private_network_alone_and_encrypted(template: Template) -> None:
    domain = only(template, "AWS::SageMaker::Domain")
    users = domain["DefaultUserSettings"]

    assert domain["AppNetworkAccessType"] == "VpcOnly"
    assert len(domain["SubnetIds"]) == 2
    assert "Key" in json.dumps(domain["KmsKeyId"])
    assert domain["AuthMode"] == "IAM"
    assert len(users["SecurityGroups"]) == 1
    assert users["SharingSettings"] == {"NotebookOutputOption": "Disabled"}
    assert domain["DomainSettings"]["DockerSettings"] == {"EnableDockerAccess": "DISABLED"}
    assert domain["TagPropagation"] == "ENABLED"


@pytest.mark.parametrize("has_studio", [True, False])
def test_a_network_that_is_made_for_it_reaches_studio_itself(has_studio: bool) -> None:
    """Among what a domain needs where there is no internet; each endpoint costs, so a network without Studio has none of it."""
    stack = cdk.Stack()
    network = WorkbenchNetwork(cidr="10.42.0.0/22")
    services = network.services(has_efs=False, has_secrets=False, has_studio=has_studio)
    PrivateNetwork(stack, "Network", network=network, services=services)
    found = Template.from_stack(stack).find_resources("AWS::EC2::VPCEndpoint").values()
    names = {
        "".join(part for part in each["Properties"]["ServiceName"]["Fn::Join"][1] if isinstance(part, str))
        for each in found
    }
    assert ("aws.sagemaker..studio" in names) == has_studio
    assert names >= {
        f"com.amazonaws..{name}" for name in ("s3", "sagemaker.api", "sagemaker.runtime", "sts", "logs", "kms")
    }


@pytest.mark.parametrize("kind", ["Domain", "UserProfile", "Space"])
def test_every_setting_is_one_that_sagemakers_own_api_has(template: Template, kind: str) -> None:
    """CDK leaves out without a word what it does not know; and nothing here may be empty for that."""
    schema = schema_of(f"AWS::SageMaker::{kind}")
    assert schema is not None
    shape = shipped.session().get_service_model("sagemaker").shape_for(f"Create{kind}Request")
    for resource in template.find_resources(f"AWS::SageMaker::{kind}").values():
        report = ParamValidator().validate(_plain(resource["Properties"]), shape)
        assert not report.has_errors(), report.generate_report()
        assert "{}" not in json.dumps(resource["Properties"])
        assert list(_unknown(resource["Properties"], schema.document, schema.document)) == []


def test_the_types_that_settings_know_are_those_that_cloudformation_takes() -> None:
    """Of a space it takes fewer than of a domain; whoever asks for another learns it at synth, with the way out."""

    def types_of(kind: str, definition: str) -> set[str]:
        schema = schema_of(f"AWS::SageMaker::{kind}")
        assert schema is not None
        found = schema.document["definitions"][definition]
        return set((found.get("properties", {}).get("InstanceType") or found)["enum"])

    known = known_studio_types()
    assert {each for each in known if takes_space_type(each)} == types_of("Space", "ResourceSpec") & known
    adapter = TypeAdapter(DefaultType)
    for instance_type in known:
        if instance_type in types_of("Domain", "AppInstanceType"):
            assert adapter.validate_python(instance_type)
        else:
            with pytest.raises(ValueError, match="newer than what CloudFormation takes for a domain"):
                adapter.validate_python(instance_type)


@pytest.mark.parametrize(("instance_type", "is_said"), [("ml.g5.xlarge", True), ("ml.g6.xlarge", False)])
def test_a_space_on_a_type_that_cloudformation_does_not_take_there_has_the_domains(
    instance_type: str, is_said: bool
) -> None:
    """Settings refuse one that is not the domain's, which is what a space without any starts on."""
    app_settings = Software({}, {}).space_app_settings(
        "jupyter-lab", instance_type=instance_type, lifecycle_config=None
    )

    spec = {"default_resource_spec": {"instance_type": instance_type}}
    assert app_settings == {"app_type": "JupyterLab", **({"jupyter_lab_app_settings": spec} if is_said else {})}


def _unknown(value: Any, node: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """The properties that CloudFormation's own schema does not have."""
    while "$ref" in node:
        node = schema["definitions"][node["$ref"].rpartition("/")[2]]
    if isinstance(value, list):
        for each in value:
            yield from _unknown(each, node.get("items", {}), schema)
    elif isinstance(value, dict) and "properties" in node:
        for name, each in value.items():
            if name not in node["properties"]:
                yield name
            else:
                yield from _unknown(each, node["properties"][name], schema)


def _plain(value: Any) -> Any:
    """With values of deployment time as words, or as numbers where they are."""
    if isinstance(value, dict):
        if len(value) == 1 and next(iter(value)).startswith(("Fn::", "Ref")):
            return 1 if "Version" in value.get("Fn::GetAtt", []) else "known when it is deployed"
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def test_studio_classic_and_what_idle_shutdown_does_not_know_is_not_offered(template: Template) -> None:
    users = only(template, "AWS::SageMaker::Domain")["DefaultUserSettings"]

    assert users["DefaultLandingUri"] == "studio::"
    assert users["StudioWebPortalSettings"]["HiddenAppTypes"] == ["Canvas", "JupyterServer", "RStudioServerPro"]
    assert users["StudioWebPortalSettings"]["HiddenMlTools"] == ["JumpStart"]
    assert "JupyterServerAppSettings" not in users
    assert "KernelGatewayAppSettings" not in users


@pytest.mark.parametrize("app", ["JupyterLabAppSettings", "CodeEditorAppSettings"])
def test_apps_that_do_nothing_are_shut_down(template: Template, app: str) -> None:
    users = only(template, "AWS::SageMaker::Domain")["DefaultUserSettings"]

    assert users[app]["AppLifecycleManagement"]["IdleSettings"] == {
        "LifecycleManagement": "ENABLED",
        "IdleTimeoutInMinutes": 60,
        "MinIdleTimeoutInMinutes": 60,
        "MaxIdleTimeoutInMinutes": 180,
    }


def test_shared_spaces_are_shut_down_too_and_have_a_role_of_their_own(template: Template) -> None:
    spaces = only(template, "AWS::SageMaker::Domain")["DefaultSpaceSettings"]

    assert spaces["JupyterLabAppSettings"]["AppLifecycleManagement"]["IdleSettings"]["IdleTimeoutInMinutes"] == 60
    assert "StudioRole" in json.dumps(spaces["ExecutionRole"])


def test_each_person_has_a_role_of_their_own_and_is_the_owner_by_tag(template: Template) -> None:
    ada = only(template, "AWS::SageMaker::UserProfile", UserProfileName="ada")

    assert "AdaRole" in json.dumps(ada["UserSettings"]["ExecutionRole"])
    assert {"Key": "sagestack:owner", "Value": "ada.lovelace"} in ada["Tags"]
    assert "SingleSignOnUserValue" not in ada
    assert list(ada["UserSettings"]) == ["ExecutionRole"]  # the rest is the domain's


def test_a_profile_takes_no_settings_of_apps_from_the_domain(template: Template) -> None:
    """Idle shutdown is in them, and a profile of CloudFormation's can have none of its own."""
    grace = only(template, "AWS::SageMaker::UserProfile", UserProfileName="grace")["UserSettings"]

    assert set(grace) == {"ExecutionRole", "SpaceStorageSettings"}
    assert grace["SpaceStorageSettings"]["DefaultEbsStorageSettings"] == {
        "DefaultEbsVolumeSizeInGb": 20,
        "MaximumEbsVolumeSizeInGb": 500,
    }


def test_a_private_space_has_its_owner_and_its_app(template: Template) -> None:
    space = only(template, "AWS::SageMaker::Space", SpaceName="research")

    assert space["OwnershipSettings"] == {"OwnerUserProfileName": "ada"}
    assert space["SpaceSharingSettings"] == {"SharingType": "Private"}
    assert space["SpaceSettings"]["AppType"] == "JupyterLab"
    lab = space["SpaceSettings"]["JupyterLabAppSettings"]
    assert lab["DefaultResourceSpec"]["InstanceType"] == "ml.t3.medium"
    assert "LifecycleConfigstandard" in json.dumps(lab["DefaultResourceSpec"]["LifecycleConfigArn"])
    assert {"Key": "sagestack:owner", "Value": "ada.lovelace"} in space["Tags"]


def test_a_shared_space_starts_on_its_owners_type_with_the_volume_that_is_asked_for(template: Template) -> None:
    space = only(template, "AWS::SageMaker::Space", SpaceName="together")

    assert space["SpaceSharingSettings"] == {"SharingType": "Shared"}
    assert space["SpaceSettings"]["SpaceStorageSettings"] == {"EbsStorageSettings": {"EbsVolumeSizeInGb": 300}}
    assert space["SpaceSettings"]["JupyterLabAppSettings"]["DefaultResourceSpec"]["InstanceType"] == "ml.g5.xlarge"


def test_a_space_runs_the_script_that_it_names(template: Template) -> None:
    space = only(template, "AWS::SageMaker::Space", SpaceName="code")

    spec = space["SpaceSettings"]["CodeEditorAppSettings"]["DefaultResourceSpec"]
    assert "LifecycleConfigeditor" in json.dumps(spec["LifecycleConfigArn"])


def test_with_identity_center_a_profile_is_the_user_of_that_name() -> None:
    built = Template.from_stack(stack_with({"auth": "identity-center", "user_profiles": {"ada": {"owner": "a@b.org"}}}))

    assert only(built, "AWS::SageMaker::Domain")["AuthMode"] == "SSO"
    ada = only(built, "AWS::SageMaker::UserProfile")
    assert (ada["SingleSignOnUserIdentifier"], ada["SingleSignOnUserValue"]) == ("UserName", "a@b.org")
    # Nothing said is nothing kept, nothing shared, and shut down after an hour.
    assert only(built, RESIDUE)["HomeDirectories"] == "delete"


def test_a_role_opens_and_starts_what_is_its_own_on_the_types_that_are_allowed(template: Template) -> None:
    starts = [each for each in statements(template, "GraceRole") if each["Action"] == "sagemaker:CreateApp"]

    private, shared = (each["Condition"] for each in starts)
    assert private["StringEquals"] == {"sagemaker:SpaceSharingType": "Private"}
    assert "user-profile/${sagemaker:DomainId}/${sagemaker:UserProfileName}" in json.dumps(private["ArnLike"])
    assert shared["StringEquals"] == {"sagemaker:SpaceSharingType": "Shared"}
    (makes,) = (each for each in statements(template, "GraceRole") if "sagemaker:CreateSpace" in each["Action"])
    for condition in (private, shared, makes["Condition"]):
        assert condition["ForAllValues:StringEquals"] == {"sagemaker:InstanceTypes": ["ml.g5.xlarge"]}


def test_a_role_makes_no_users_and_no_domains(template: Template) -> None:
    actions = json.dumps([each["Action"] for each in statements(template, "AdaRole")])

    for forbidden in ("CreateUserProfile", "DeleteUserProfile", "CreateDomain", "UpdateDomain", "PassRole"):
        assert forbidden not in actions


def test_cloudtrail_is_told_who_it_was(template: Template) -> None:
    assert (
        only(template, "AWS::SageMaker::Domain")["DomainSettings"]["ExecutionRoleIdentityConfig"] == "USER_PROFILE_NAME"
    )
    trusted = [
        statement["Action"]
        for logical, role in template.find_resources("AWS::IAM::Role").items()
        if logical.startswith(("AdaRole", "GraceRole", "StudioRole"))
        for statement in role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    ]
    assert trusted.count("sts:SetSourceIdentity") == 3


def test_everything_that_takes_a_role_waits_for_its_policies(template: Template) -> None:
    """CreateDomain and apps must not meet a role whose policy is not there yet."""
    for kind, role, wanted in (
        ("AWS::SageMaker::Domain", "StudioRole", {}),
        ("AWS::SageMaker::UserProfile", "AdaRole", {"UserProfileName": "ada"}),
        ("AWS::SageMaker::Image", "StudioImageresearchRole", {}),
    ):
        (resource,) = template.find_resources(kind, {"Properties": wanted}).values()
        assert any(each.startswith(f"{role}DefaultPolicy") for each in resource["DependsOn"]), kind


def test_an_image_of_ones_own_is_pinned_to_its_version(template: Template) -> None:
    version = only(template, "AWS::SageMaker::ImageVersion")
    assert version["BaseImage"] == "111111111111.dkr.ecr.us-east-1.amazonaws.com/images/research:1"
    container = only(template, "AWS::SageMaker::AppImageConfig")["JupyterLabAppImageConfig"]["ContainerConfig"]
    assert container == {"ContainerArguments": ["--quiet"]}
    lab = only(template, "AWS::SageMaker::Domain")["DefaultUserSettings"]["JupyterLabAppSettings"]
    (image,) = lab["CustomImages"]
    assert image["ImageName"] == "sagestack-dev-research"
    assert "Version" in json.dumps(image["ImageVersionNumber"])
    assert "Config" in json.dumps(image["AppImageConfigName"])
    assert "SageMakerImageVersionArn" in lab["DefaultResourceSpec"]


def test_image_and_people_may_fetch_that_repository_alone(template: Template) -> None:
    for role in ("StudioImageresearchRole", "AdaRole", "StudioRole"):
        pulls = [each for each in statements(template, role) if "ecr:BatchGetImage" in each["Action"]]
        assert [each["Resource"] for each in pulls] == ["arn:aws:ecr:us-east-1:111111111111:repository/images/research"]


@pytest.fixture
def image_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with `images/mine`."""
    folder = tmp_path / "images/mine"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "Dockerfile").write_text("FROM public.ecr.aws/sagemaker/sagemaker-distribution:2.0-cpu\n")
    (folder / "__pycache__/left.pyc").write_text("behind")
    monkeypatch.setattr(settings, "PROJECT_ROOT", tmp_path)
    return folder


def image_of_folder(published_as: Any) -> cdk.Stack:
    """An image that is built of that folder, and somebody who may fetch it."""
    stack = cdk.Stack(cdk.App(), "Images", env=cdk.Environment(account="111111111111", region="us-east-1"))
    wanted = CustomImageSettings(folder="images/mine")
    image = CustomImage(
        stack, "Image", name="mine", physical_name="sagestack-dev-mine", image=wanted, model_image=published_as
    )
    image.grant_pull(iam.Role(stack, "Ada", assumed_by=iam.AccountRootPrincipal()))
    return stack


def test_an_image_of_a_folder_is_built_for_studios_machines_and_published_by_its_content(image_folder: Path) -> None:
    """Changed content is another image, and so another version: SageMaker's own cannot change."""
    stack = image_of_folder("ecr")
    assembly = cdk.App.of(stack).synth()  # type: ignore[union-attr]
    (image,) = json.loads(Path(assembly.directory, "Images.assets.json").read_text())["dockerImages"].values()
    source = Path(assembly.directory, image["source"]["directory"])
    assert image["source"]["platform"] == "linux/amd64"
    assert [each.name for each in source.iterdir()] == ["Dockerfile"]

    built = Template.from_stack(stack)
    (place,) = image["destinations"].values()
    base = only(built, "AWS::SageMaker::ImageVersion")["BaseImage"]
    assert f"/{place['repositoryName']}:{place['imageTag']}" in json.dumps(base)
    for role in ("ImageRole", "Ada"):
        pulls = [each["Resource"] for each in statements(built, role) if "ecr:BatchGetImage" in each["Action"]]
        assert [json.dumps(each).count(f"repository/{place['repositoryName']}") for each in pulls] == [1], role

    (image_folder / "Dockerfile").write_text("FROM scratch\n")
    changed = Template.from_stack(image_of_folder("ecr"))
    assert only(changed, "AWS::SageMaker::ImageVersion")["BaseImage"] != base


def test_for_the_local_cloud_an_image_of_a_folder_is_its_build_context(image_folder: Path) -> None:
    """Nobody needs Docker there."""
    built = Template.from_stack(image_of_folder("build-context"))

    base = only(built, "AWS::SageMaker::ImageVersion")["BaseImage"]
    assert re.fullmatch(r"s3://cdk-\w+-assets-111111111111-us-east-1/\w+\.zip", base)
    for role in ("ImageRole", "Ada"):
        reads = json.dumps([each["Resource"] for each in statements(built, role) if "s3:GetObject*" in each["Action"]])
        assert "cdk-hnb659fds-assets" in reads, role


def test_a_folder_without_a_dockerfile_is_refused_by_its_name(image_folder: Path) -> None:
    (image_folder / "Dockerfile").unlink()
    with pytest.raises(
        ValueError, match=r"workbench\.studio\.custom_images\.mine\.folder: images/mine has no Dockerfile"
    ):
        image_of_folder("ecr")


# What is deleted, in which order


def depends_on(template: Template) -> dict[str, set[str]]:
    """What each resource comes after: CloudFormation deletes in the reverse order."""

    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            if "Ref" in value:
                yield value["Ref"]
            if "Fn::GetAtt" in value:
                yield value["Fn::GetAtt"][0]
            for each in value.values():
                yield from references(each)
        elif isinstance(value, list):
            for each in value:
                yield from references(each)

    resources = template.to_json()["Resources"]
    return {
        name: {*references(resource.get("Properties", {})), *resource.get("DependsOn", [])} & set(resources)
        for name, resource in resources.items()
    }


def comes_after(graph: Mapping[str, set[str]], later: str, earlier: str) -> bool:
    seen: set[str] = set()
    left = [later]
    while left:
        for each in graph[left.pop()] - seen:
            seen.add(each)
            left.append(each)
    return earlier in seen


def test_everything_is_deleted_before_what_it_stands_in(template: Template) -> None:
    """Apps of a space, the space, a person's own spaces, the profile, the rest, the domain, what it left, the network."""
    order = [
        logical_id(template, SPACE, SpaceName="research"),
        logical_id(template, "AWS::SageMaker::Space", SpaceName="research"),
        logical_id(template, PROFILE, UserProfileName="ada"),
        logical_id(template, "AWS::SageMaker::UserProfile", UserProfileName="ada"),
        logical_id(template, DOMAIN),
        logical_id(template, "AWS::SageMaker::Domain"),
        logical_id(template, RESIDUE),
    ]
    graph = depends_on(template)
    for later, earlier in itertools.pairwise(order):
        assert comes_after(graph, later, earlier), f"{later} must be deleted before {earlier}"
    for kind in ("AWS::EC2::Subnet", "AWS::EC2::SecurityGroup"):
        for name in template.find_resources(kind):
            assert comes_after(graph, order[-1], name), f"{order[-1]} must be deleted before {name}"


def test_the_right_to_delete_in_the_domain_is_there_while_anything_is_deleted_in_it(template: Template) -> None:
    graph = depends_on(template)
    (policy,) = (name for name in template.find_resources("AWS::IAM::Policy") if "InDomain" in name)
    for kind, wanted in ((DOMAIN, {}), (PROFILE, {"UserProfileName": "ada"}), (SPACE, {"SpaceName": "code"})):
        assert comes_after(graph, logical_id(template, kind, **wanted), policy)
    assert not comes_after(graph, logical_id(template, RESIDUE), policy)


def test_the_first_resource_knows_the_domain_by_its_name_in_the_stack(template: Template) -> None:
    """It is there before the domain, and after it is gone."""
    residue = only(template, RESIDUE)

    assert residue["DomainLogicalId"] == logical_id(template, "AWS::SageMaker::Domain")
    assert residue["HomeDirectories"] == "delete"
    assert '"auth":"iam"' in json.dumps(residue["Fixed"]).replace("\\", "")


@pytest.mark.parametrize(
    ("said", "policy", "becomes"),
    [
        pytest.param(None, "retain", "keep", id="an environment that retains keeps them"),
        pytest.param(None, "destroy", "delete", id="one that destroys does not"),
        pytest.param("keep", "destroy", "keep", id="kept when asked"),
        pytest.param("delete", "retain", "delete", id="deleted when asked"),
    ],
)
def test_home_directories_become_what_is_said(said: str | None, policy: Any, becomes: str) -> None:
    keeps = Studio.model_validate({"home_directories": said}).keeps_home_directories(policy)
    assert keeps == (becomes == "keep")


def test_directories_that_outlive_their_key_are_warned_of() -> None:
    """The file system stays with `keep`, and the environment's key goes with `destroy`."""
    stack = stack_with({"home_directories": "keep", "user_profiles": {"ada": {}}})
    said = Match.string_like_regexp("home_directories: keep outlives")
    assert Annotations.from_stack(stack).find_warning("*", said)
    built = Template.from_stack(stack)
    for kind in (RESIDUE, DOMAIN, PROFILE):
        assert only(built, kind)["HomeDirectories"] == "keep"


def test_the_function_deletes_in_efs_and_ec2_only_what_is_marked_as_this_stacks(template: Template) -> None:
    deleting = [
        each
        for each in statements(template, "StudioCleanDelete")
        if any(
            word in json.dumps(each["Action"])
            for word in ("DeleteFile", "DeleteMount", "DeleteSec", "DeleteNet", "Revoke")
        )
    ]
    assert len(deleting) == 2  # of EFS, and of EC2
    for each in deleting:
        assert each["Condition"]["StringEquals"] == {"aws:ResourceTag/sagestack:studio": {"Ref": "AWS::StackId"}}
        assert list(each["Condition"]["StringLike"]) == ["aws:ResourceTag/ManagedByAmazonSageMakerResource"]


def test_the_mark_goes_on_nothing_but_what_sagemaker_made_for_this_domain(template: Template) -> None:
    (marking,) = (
        each for each in statements(template, "StudioCleanDelete") if "ec2:CreateTags" in json.dumps(each["Action"])
    )
    domain = logical_id(template, "AWS::SageMaker::Domain")
    assert marking["Condition"] == {
        "StringEquals": {"aws:ResourceTag/ManagedByAmazonSageMakerResource": {"Fn::GetAtt": [domain, "DomainArn"]}},
        "ForAllValues:StringEquals": {"aws:TagKeys": ["sagestack:studio"]},
    }


def test_the_function_deletes_apps_spaces_and_profiles_of_this_domain_alone(template: Template) -> None:
    (deleting,) = (
        each
        for each in statements(template, "StudioCleanDelete")
        if "sagemaker:DeleteApp" in json.dumps(each["Action"])
    )
    domain = logical_id(template, "AWS::SageMaker::Domain")
    assert len(deleting["Resource"]) == 3
    for resource in deleting["Resource"]:
        assert {"Fn::GetAtt": [domain, "DomainId"]} in resource["Fn::Join"][1]


def test_nothing_of_it_has_a_name_of_ours_but_what_the_service_asks_a_name_for(template: Template) -> None:
    for role in template.find_resources("AWS::IAM::Role").values():
        assert "RoleName" not in role["Properties"]
    for function in template.find_resources("AWS::Lambda::Function").values():
        assert "FunctionName" not in function["Properties"]


# What is refused when it is synthesized


def test_a_profile_without_a_role_is_refused() -> None:
    stack = cdk.Stack(cdk.App(), "Workbench")
    with pytest.raises(ValueError, match="has none for ada"):
        StudioDomain(
            stack,
            "Studio",
            names=EnvironmentNames("dev"),
            studio=Studio.model_validate({"user_profiles": {"ada": {}}}),
            removal_policy="destroy",
            network=Network(stack, "Network"),  # type: ignore[arg-type]
            execution_role=iam.Role(stack, "Role", assumed_by=iam.AccountRootPrincipal()),
            profile_roles={},
            encryption_key=kms.Key(stack, "Key"),
            artifacts=s3.Bucket(stack, "Artifacts"),
            model_image="ecr",
        )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(b"#!/bin/bash\r\necho hello\r\n", "CRLF", id="Windows line ends"),
        pytest.param(b"echo hello\n", "line 1 is 'echo hello'", id="no shebang"),
        pytest.param(b"#!/bin/bash\nif true; then\n", "bash cannot read it", id="no bash"),
        pytest.param(b"#!/bin/bash\n# " + b"x" * 13000, "SageMaker takes 16384", id="too long"),
        pytest.param(b"#!/bin/bash\n\xff\n", "no UTF-8", id="no text"),
        pytest.param(None, "there is no file", id="not there"),
    ],
)
def test_a_script_of_ones_own_that_would_fail_is_refused_by_name(
    text: bytes | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "PROJECT_ROOT", tmp_path)
    if text is not None:
        (tmp_path / "mine.sh").write_bytes(text)

    with pytest.raises(ValueError, match=r"workbench\.studio\.lifecycle_configs\.mine\.script: .*mine\.sh") as refused:
        LifecycleConfig(
            cdk.Stack(),
            "Config",
            name="mine",
            physical_prefix="sagestack-dev-",
            config=StudioLifecycleConfig(script="mine.sh"),
        )
    assert said in str(refused.value)


# The scripts


def config_of(template: Template, name: str) -> dict[str, Any]:
    """The lifecycle config that people call so."""
    (config,) = (
        each["Properties"]
        for each in template.find_resources("AWS::SageMaker::StudioLifecycleConfig").values()
        if each["Properties"]["StudioLifecycleConfigName"].rpartition("-")[0] == f"sagestack-dev-{name}"
    )
    return dict(config)


def script_of(template: Template, name: str) -> str:
    return str(config_of(template, name)["StudioLifecycleConfigContent"]["Fn::Base64"])


def test_another_script_is_another_config(template: Template) -> None:
    """SageMaker cannot change one, and CloudFormation makes the new one before it deletes the old."""
    config = config_of(template, "standard")
    changed = Template.from_stack(_only_config(StudioLifecycleConfig(environment_variables={"PROJECT": "another"})))
    other = only(changed, "AWS::SageMaker::StudioLifecycleConfig")
    assert config["StudioLifecycleConfigName"].rpartition("-")[0] == "sagestack-dev-standard"
    assert other["StudioLifecycleConfigName"].rpartition("-")[0] == "sagestack-dev-standard"
    assert config["StudioLifecycleConfigName"] != other["StudioLifecycleConfigName"]


def _only_config(config: StudioLifecycleConfig) -> cdk.Stack:
    stack = cdk.Stack()
    LifecycleConfig(stack, "Config", name="standard", physical_prefix="sagestack-dev-", config=config)
    return stack


def test_a_change_of_the_environments_tags_makes_no_config_of_the_same_name(template: Template) -> None:
    """Tags of a config cannot change either."""
    for config in template.find_resources("AWS::SageMaker::StudioLifecycleConfig").values():
        assert config["Properties"]["Tags"] == [{"Key": "sagestack:studio", "Value": {"Ref": "AWS::StackId"}}]


@pytest.mark.parametrize("name", ["standard", "editor", "basics"])
def test_a_generated_script_is_clean(template: Template, name: str) -> None:
    script = script_of(template, name)
    assert problems_of_text(script) == []
    assert problems_of_bash(script) == []


class App:
    """An app of a space, as far as a script that starts with it sees: the space's volume stays, what is outside of it is new."""

    def __init__(self, volume: Path) -> None:
        self.volume = volume
        (volume / "bin").mkdir()
        self.environment = {"HOME": str(volume), "PATH": f"{volume}/bin:{os.environ['PATH']}"}
        self._starts = itertools.count()

    def start(self, *scripts: str) -> None:
        """Runs scripts as SageMaker does when the app starts, one after the other."""
        outside = self.volume.with_name(f"{self.volume.name}-start-{next(self._starts)}")
        outside.mkdir()
        self.environment["TMPDIR"] = str(outside)
        for script in scripts:
            subprocess.run(["bash", "-c", script], env=self.environment, check=True, capture_output=True, timeout=120)

    def in_terminal(self, variable: str) -> str:
        """What a person's terminal says of a variable."""
        return self._said(["bash", "-c", f'. "$HOME/.bashrc"; echo "${{{variable}-unset}}"'])

    def in_kernel(self, variable: str) -> str:
        """What a Python kernel finds, whose profile runs before anything else."""
        start = self.volume / ".ipython/profile_default/startup/00-sagestack.py"
        return self._said(
            [sys.executable, "-S", "-c", f"{start.read_text()}\nprint(os.environ.get({variable!r}, 'unset'))"]
        )

    def log(self, name: str) -> str:
        file = self.volume / ".sagestack/log" / name
        return file.read_text() if file.exists() else ""

    def _said(self, command: list[str]) -> str:
        done = subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True, timeout=120)
        return done.stdout.rstrip("\n")


@pytest.fixture
def app(tmp_path: Path) -> App:
    (tmp_path / "volume").mkdir()
    return App(tmp_path / "volume")


def test_a_generated_script_sets_variables_identity_and_packages_each_time_that_it_runs(
    template: Template, app: App
) -> None:
    (app.volume / "bin/python3").write_text('#!/bin/bash\nprintf "%s\\n" "$@" >"$HOME/asked"\n')
    (app.volume / "bin/python3").chmod(0o755)
    editor = script_of(template, "editor")

    for script in (script_of(template, "standard"), editor, script_of(template, "standard")):
        app.start(script)

    assert (app.volume / ".bashrc").read_text().count("environment.d") == 1  # one line, once
    assert (app.in_terminal("PROJECT"), app.in_kernel("PROJECT")) == ("it's churn", "it's churn")
    assert (app.volume / ".gitconfig").read_text().count("name = Ada") == 1
    wait_for(lambda: "installed polars==1.0" in app.log("packages.log"))
    assert (app.volume / "asked").read_text().split()[-1] == "polars==1.0"


def test_what_is_no_longer_asked_for_is_no_longer_set(app: App) -> None:
    """The volume still has what the last start wrote."""
    app.start(app_script(StudioLifecycleConfig(environment_variables={"PROJECT": "churn"})))
    assert app.in_kernel("PROJECT") == "churn"

    app.start(app_script(StudioLifecycleConfig.model_validate({"git": {"user_name": "Ada", "user_email": "a@b.org"}})))

    assert (app.in_terminal("PROJECT"), app.in_kernel("PROJECT")) == ("unset", "unset")
    assert "name = Ada" in (app.volume / ".gitconfig").read_text()


def test_what_a_volume_had_from_an_earlier_form_is_no_longer_set(app: App) -> None:
    """Its .bashrc may read that file without looking whether it is there."""
    mine = app.volume / ".sagestack"
    mine.mkdir()
    (mine / "environment.sh").write_text("export PROJECT=old\n")
    (mine / "environment.json").write_text('{"PROJECT": "old"}')
    (app.volume / ".bashrc").write_text('set -e\n. "$HOME/.sagestack/environment.sh"\n')

    app.start(app_script(StudioLifecycleConfig(environment_variables={"TEAM": "research"})))

    assert (app.in_terminal("PROJECT"), app.in_terminal("TEAM")) == ("unset", "research")
    assert not (mine / "environment.json").exists()


def test_what_always_runs_and_what_was_chosen_are_both_in_force(app: App) -> None:
    """SageMaker runs the one and then the other; where both say something, the choice has the last word."""
    always = app_script(
        StudioLifecycleConfig(always=True, environment_variables={"TEAM": "research", "PROJECT": "any"})
    )
    chosen = app_script(StudioLifecycleConfig(environment_variables={"PROJECT": "churn"}))

    app.start(always, chosen)
    assert (app.in_terminal("TEAM"), app.in_terminal("PROJECT")) == ("research", "churn")
    assert (app.in_kernel("TEAM"), app.in_kernel("PROJECT")) == ("research", "churn")

    app.start(app_script(StudioLifecycleConfig(always=True)))  # which is how it ends
    assert (app.in_kernel("TEAM"), app.in_terminal("TEAM")) == ("unset", "unset")

    app.start(always)  # somebody chose no other for the space
    assert (app.in_kernel("TEAM"), app.in_kernel("PROJECT")) == ("research", "any")

    app.start(chosen)  # the stack has none that always runs any more
    assert (app.in_terminal("TEAM"), app.in_kernel("TEAM")) == ("unset", "unset")


# The example notebooks

STORE = """
import os, shutil
class client:
    def __init__(self, service): assert service == "s3"
    def download_file(self, bucket, key, target):
        print("fetched", f"s3://{bucket}/{key}")
        shutil.copy(os.environ["ARCHIVE"], target)
"""


def test_the_examples_are_copied_into_a_space_and_what_people_changed_is_theirs(
    template: Template, app: App, tmp_path: Path
) -> None:
    """The deployed script itself, with a bucket of its own."""
    (tmp_path / "boto3.py").write_text(STORE)
    app.environment |= {"PYTHONPATH": str(tmp_path), "ARCHIVE": str(tmp_path / "examples.zip")}

    def publish(text: str) -> None:
        with zipfile.ZipFile(tmp_path / "examples.zip", "w") as archive:
            archive.writestr("explore-the-data.ipynb", text)
            archive.writestr("README.md", text)

    def start() -> str:
        app.start(script_of(template, "basics"))
        # Its last line: what is left alone is said before, file by file.
        wait_for(lambda: re.search(r"^\d+ new, .* \d+ left alone$", app.log("examples.log"), re.MULTILINE))
        return app.log("examples.log")

    publish("first")
    said = start()
    assert re.search(r"fetched s3://cdk-\w+-assets-111111111111-us-east-1/\w+\.zip", said)
    assert "2 new" in said
    assert app.in_kernel("SAGESTACK_ENVIRONMENT") == "dev"

    (app.volume / "examples/README.md").write_text("mine")
    publish("second")
    assert "1 updated" in start()
    assert (app.volume / "examples/explore-the-data.ipynb").read_text() == "second"
    assert (app.volume / "examples/README.md").read_text() == "mine"


def test_an_archive_that_is_out_of_reach_keeps_no_app_from_starting(app: App, tmp_path: Path) -> None:
    """The script ends well; what was said is in the log."""
    (app.volume / "bin/python3").write_text("#!/bin/bash\necho out of reach; exit 1\n")
    (app.volume / "bin/python3").chmod(0o755)

    app.start(app_script(StudioLifecycleConfig(examples=True), Examples("s3://nobody/nothing.zip", "dev")))

    wait_for(lambda: "out of reach" in app.log("examples.log"))


def test_examples_that_are_nowhere_are_refused() -> None:
    with pytest.raises(ValueError, match="no archive of example notebooks"):
        app_script(StudioLifecycleConfig(examples=True))


def test_what_always_runs_is_the_domains_own_and_not_for_choosing(template: Template) -> None:
    """Users' own spaces, and shared ones; a space asks the domain for it when an app starts."""
    domain = only(template, "AWS::SageMaker::Domain")
    for part in ("DefaultUserSettings", "DefaultSpaceSettings"):
        lab = domain[part]["JupyterLabAppSettings"]
        assert "LifecycleConfigbasics" in json.dumps(lab["BuiltInLifecycleConfigArn"])
        assert "basics" not in json.dumps(lab["LifecycleConfigArns"])
        assert "standard" in json.dumps(lab["DefaultResourceSpec"]["LifecycleConfigArn"])
    assert "BuiltInLifecycleConfigArn" not in domain["DefaultUserSettings"]["CodeEditorAppSettings"]


def test_each_role_may_fetch_the_examples_and_no_other_asset(template: Template) -> None:
    (url,) = re.findall(r"SAGESTACK_EXAMPLES_URL=(s3\S+)", script_of(template, "basics"))
    for role in ("StudioRole", "AdaRole", "GraceRole"):
        fetches = [each["Resource"] for each in statements(template, role) if each["Action"] == "s3:GetObject"]
        (fetched,) = fetches
        assert fetched == url.replace("s3://", "arn:aws:s3:::"), role


def test_a_proxy_never_stands_between_an_app_and_its_credentials() -> None:
    script = app_script(StudioLifecycleConfig.model_validate({"proxy": {"https": "http://proxy:3128"}}))

    assert "export https_proxy=http://proxy:3128" in script
    for never in ("169.254.170.2", "localhost", ".amazonaws.com"):
        assert never in script


def test_what_people_share_goes_below_one_prefix_where_sharing_is_on() -> None:
    built = Template.from_stack(stack_with({"notebook_output_sharing": True, "user_profiles": {"ada": {}}}))
    sharing = only(built, "AWS::SageMaker::Domain")["DefaultUserSettings"]["SharingSettings"]

    assert sharing["NotebookOutputOption"] == "Allowed"
    assert "/notebooks/studio/shared" in json.dumps(sharing["S3OutputPath"])
    built.has_resource_properties(
        "AWS::IAM::Policy",
        {
            "PolicyDocument": {
                "Statement": Match.array_with([Match.object_like({"Action": Match.array_with(["s3:PutObject"])})])
            }
        },
    )
