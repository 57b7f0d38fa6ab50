"""Studio's custom images: numbers and aliases of versions, the container image in ECR behind them, events, how they are run."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_cloud.sagemaker.errors import ApiError
from tests.local_cloud_fakes import ACCOUNT, REGION, USER
from tests.local_cloud_studio_fakes import DIGEST, REPOSITORY, ROLE, StudioCloud, studio_cloud

PREFIX = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[StudioCloud]:
    with studio_cloud(tmp_path) as running:
        yield running


def refused(cloud: StudioCloud, name: str, **request: Any) -> ApiError:
    """The error that a call ends in."""
    with pytest.raises(ApiError) as caught:
        cloud.call(name, **request)
    return caught.value


def image(cloud: StudioCloud, name: str = "mine", **more: Any) -> str:
    """The ARN of an image that is created."""
    arn = cloud.call("CreateImage", ImageName=name, RoleArn=ROLE, **more)["ImageArn"]
    cloud.until("CREATED", "DescribeImage", "ImageStatus", ImageName=name)
    return str(arn)


def version(cloud: StudioCloud, token: str, base: str = f"{REPOSITORY}:1", **more: Any) -> dict[str, Any]:
    """What is told of a version once it is created."""
    cloud.call("CreateImageVersion", ImageName="mine", BaseImage=base, ClientToken=token, **more)
    return dict(cloud.until("CREATED", "DescribeImageVersion", "ImageVersionStatus", ImageName="mine"))


def test_an_image_is_created_once_its_role_can_be_assumed_and_tells_so(cloud: StudioCloud) -> None:
    arn = image(cloud, "Mine", DisplayName="My own", Tags=[{"Key": "team", "Value": "a"}])
    assert arn == f"{PREFIX}image/mine"
    assert cloud.call("DescribeImage", ImageName="mine")["DisplayName"] == "My own"
    assert cloud.platform.passed == [("iam:PassRole", ROLE)]
    sent = cloud.sent("SageMaker Image State Change")
    assert [event["ImageStatus"] for event in sent] == ["CREATING", "CREATED"]
    assert sent[0] == {
        "ImageName": "Mine",
        "ImageArn": arn,
        "ImageStatus": "CREATING",
        "Version": 0.0,
        "Tags": {"team": "a"},
    }


def test_an_image_whose_role_cannot_be_assumed_fails_with_the_reason(cloud: StudioCloud) -> None:
    cloud.platform.refused_roles.add(ROLE)
    cloud.call("CreateImage", ImageName="mine", RoleArn=ROLE)
    described = cloud.until("CREATE_FAILED", "DescribeImage", "ImageStatus", ImageName="mine")
    assert described["FailureReason"] == f"Could not assume role {ROLE}."
    request = {"ImageName": "mine", "BaseImage": f"{REPOSITORY}:1", "ClientToken": "t"}
    assert refused(cloud, "CreateImageVersion", **request).code == "ResourceInUse"


def test_who_makes_an_image_must_be_allowed_to_pass_its_role(cloud: StudioCloud) -> None:
    cloud.platform.denials[(USER.arn, "iam:PassRole")] = "no PassRole for you"
    assert refused(cloud, "CreateImage", ImageName="mine", RoleArn=ROLE).code == "AccessDeniedException"


def test_an_image_is_updated_and_its_descriptions_can_be_taken_away(cloud: StudioCloud) -> None:
    image(cloud, Description="old", DisplayName="My own")
    cloud.call("UpdateImage", ImageName="mine", Description="new", DeleteProperties=["DisplayName"])
    described = cloud.until("CREATED", "DescribeImage", "ImageStatus", ImageName="mine")
    assert (described["Description"], "DisplayName" in described) == ("new", False)


def test_a_version_stands_for_a_container_image_that_its_role_can_read(cloud: StudioCloud) -> None:
    image(cloud)
    described = version(cloud, "first", JobType="NOTEBOOK_KERNEL")
    assert described["ImageVersionArn"] == f"{PREFIX}image-version/mine/1"
    assert (described["Version"], described["JobType"]) == (1, "NOTEBOOK_KERNEL")
    assert described["ContainerImage"] == f"{REPOSITORY}@{DIGEST}"
    assert cloud.platform.ecr.asked_as == [ROLE]
    assert version(cloud, "second", f"{REPOSITORY}@{DIGEST}")["ContainerImage"] == f"{REPOSITORY}@{DIGEST}"
    sent = cloud.sent("SageMaker Image Version State Change")
    assert [(event["Version"], event["ImageVersionStatus"]) for event in sent] == [
        (1.0, "CREATING"),
        (1.0, "CREATED"),
        (2.0, "CREATING"),
        (2.0, "CREATED"),
    ]


@pytest.mark.parametrize(
    ("base", "words"),
    [
        pytest.param(f"{REPOSITORY}:2", "does not exist in Amazon ECR", id="no such tag"),
        pytest.param(REPOSITORY, "does not exist in Amazon ECR", id="no tag, which is latest"),
        pytest.param(REPOSITORY.replace("/studio", "/none") + ":1", "repository with name 'none'", id="no repository"),
    ],
)
def test_a_version_without_its_container_image_fails_with_the_reason(cloud: StudioCloud, base: str, words: str) -> None:
    image(cloud)
    cloud.call("CreateImageVersion", ImageName="mine", BaseImage=base, ClientToken="t")
    described = cloud.until("CREATE_FAILED", "DescribeImageVersion", "ImageVersionStatus", ImageName="mine")
    assert words in described["FailureReason"]


CONTEXT = "s3://assets/abc.zip"
"""What a stack for the local cloud has instead of an image in ECR: the zipped folder that one would be built from."""


def context(**files: str) -> bytes:
    """A zip with these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def test_a_version_may_stand_for_a_build_context_that_its_role_can_read(cloud: StudioCloud) -> None:
    """No app runs here, so nothing is built; on AWS, CDK publishes the image that is built of it."""
    cloud.platform.s3.objects["assets/abc.zip"] = context(Dockerfile="FROM scratch")
    image(cloud)

    described = version(cloud, "first", CONTEXT)

    assert (described["BaseImage"], described["ContainerImage"]) == (CONTEXT, CONTEXT)
    assert cloud.platform.s3.asked_as == [ROLE]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(None, f"{CONTEXT}: The specified key does not exist.", id="not there"),
        pytest.param(b"text", f"{CONTEXT} is not a zip file", id="no zip"),
        pytest.param(context(image="FROM scratch"), f"{CONTEXT} has no Dockerfile at its root", id="no Dockerfile"),
    ],
)
def test_a_version_without_its_build_context_fails_with_the_reason(
    cloud: StudioCloud, content: bytes | None, words: str
) -> None:
    if content is not None:
        cloud.platform.s3.objects["assets/abc.zip"] = content
    image(cloud)
    cloud.call("CreateImageVersion", ImageName="mine", BaseImage=CONTEXT, ClientToken="t")
    described = cloud.until("CREATE_FAILED", "DescribeImageVersion", "ImageVersionStatus", ImageName="mine")
    assert words in described["FailureReason"]


@pytest.mark.parametrize("base", ["s3://", "s3://assets", "s3://assets/"])
def test_a_build_context_that_names_no_object_is_refused(cloud: StudioCloud, base: str) -> None:
    image(cloud)
    error = refused(cloud, "CreateImageVersion", ImageName="mine", BaseImage=base, ClientToken="t")
    assert f"BaseImage {base} names no object" in str(error)


def test_a_version_whose_role_may_not_read_ecr_fails_with_the_reason(cloud: StudioCloud) -> None:
    image(cloud)
    cloud.platform.ecr.denied = True
    cloud.call("CreateImageVersion", ImageName="mine", BaseImage=f"{REPOSITORY}:1", ClientToken="t")
    described = cloud.until("CREATE_FAILED", "DescribeImageVersion", "ImageVersionStatus", ImageName="mine")
    assert "not authorized to perform: ecr:BatchGetImage" in described["FailureReason"]


@pytest.mark.parametrize("base", ["ubuntu:24.04", "public.ecr.aws/sagemaker/distribution:1"])
def test_a_container_image_elsewhere_is_refused(cloud: StudioCloud, base: str) -> None:
    image(cloud)
    error = refused(cloud, "CreateImageVersion", ImageName="mine", BaseImage=base, ClientToken="t")
    assert f"{base} is no address in Amazon ECR" in error.message


def test_the_same_token_is_the_same_version_and_a_number_is_never_given_again(cloud: StudioCloud) -> None:
    image(cloud)
    version(cloud, "first")
    again = cloud.call("CreateImageVersion", ImageName="mine", BaseImage=f"{REPOSITORY}:1", ClientToken="first")
    assert again["ImageVersionArn"].endswith("/1")
    cloud.call("DeleteImageVersion", ImageName="mine", Version=1)
    cloud.until_gone("DescribeImageVersion", ImageName="mine", Version=1)
    assert version(cloud, "second")["Version"] == 2
    listed = cloud.call("ListImageVersions", ImageName="mine")["ImageVersions"]
    assert [each["Version"] for each in listed] == [2]


def test_an_alias_stands_for_one_version_until_it_is_taken_away(cloud: StudioCloud) -> None:
    image(cloud)
    version(cloud, "first", Aliases=["stable", "1.0"])
    taken = {"ImageName": "mine", "BaseImage": f"{REPOSITORY}:1", "ClientToken": "second", "Aliases": ["stable"]}
    assert "The alias stable is that of" in refused(cloud, "CreateImageVersion", **taken).message
    version(cloud, "second", Aliases=["2.0"])
    cloud.call("UpdateImageVersion", ImageName="mine", Version=1, AliasesToDelete=["stable"])
    cloud.call("UpdateImageVersion", ImageName="mine", Alias="2.0", AliasesToAdd=["stable"], VendorGuidance="STABLE")
    described = cloud.call("DescribeImageVersion", ImageName="mine", Alias="stable")
    assert (described["Version"], described["VendorGuidance"]) == (2, "STABLE")
    aliases = cloud.call("ListAliases", ImageName="mine")["SageMakerImageVersionAliases"]
    assert aliases == ["1.0", "2.0", "stable"]
    assert cloud.call("ListAliases", ImageName="mine", Version=1)["SageMakerImageVersionAliases"] == ["1.0"]
    gone = refused(cloud, "UpdateImageVersion", ImageName="mine", Version=1, AliasesToDelete=["stable"])
    assert "has no alias stable" in gone.message
    assert "give one of them" in refused(cloud, "DescribeImageVersion", ImageName="mine", Version=1, Alias="x").message


def test_what_shall_go_must_be_named(cloud: StudioCloud) -> None:
    image(cloud)
    version(cloud, "first")
    assert "Version or the Alias" in refused(cloud, "DeleteImageVersion", ImageName="mine").message
    assert refused(cloud, "DeleteImageVersion", ImageName="mine", Alias="none").code == "ResourceNotFound"


def test_with_an_image_go_its_versions(cloud: StudioCloud) -> None:
    image(cloud)
    version(cloud, "first")
    image(cloud, "other")
    cloud.call("DeleteImage", ImageName="mine")
    cloud.until_gone("DescribeImage", ImageName="mine")
    assert cloud.service.store.everywhere("image-version") == []
    assert [each["ImageName"] for each in cloud.call("ListImages")["Images"]] == ["other"]
    assert cloud.sent("SageMaker Image State Change")[-1]["ImageStatus"] == "DELETED"


def test_images_are_listed_as_asked(cloud: StudioCloud) -> None:
    for name in ("alpha", "beta", "alphabet"):
        image(cloud, name)
    listed = cloud.call("ListImages", NameContains="alpha", SortBy="IMAGE_NAME", SortOrder="ASCENDING")["Images"]
    assert [each["ImageName"] for each in listed] == ["alpha", "alphabet"]
    first = cloud.call("ListImages", MaxResults=1)
    assert [each["ImageName"] for each in first["Images"]] == ["alphabet"], "the newest first"
    second = cloud.call("ListImages", MaxResults=1, NextToken=first["NextToken"])
    assert [each["ImageName"] for each in second["Images"]] == ["beta"]


def test_how_an_image_is_run_is_kept_and_changed(cloud: StudioCloud) -> None:
    lab = {"ContainerConfig": {"ContainerArguments": ["--a"], "ContainerEnvironmentVariables": {"A": "1"}}}
    arn = cloud.call("CreateAppImageConfig", AppImageConfigName="run", JupyterLabAppImageConfig=lab)[
        "AppImageConfigArn"
    ]
    assert arn == f"{PREFIX}app-image-config/run"
    assert cloud.call("DescribeAppImageConfig", AppImageConfigName="run")["JupyterLabAppImageConfig"] == lab
    other: dict[str, Any] = {"FileSystemConfig": {"MountPath": "/home/sagemaker-user"}}
    cloud.call("UpdateAppImageConfig", AppImageConfigName="run", JupyterLabAppImageConfig=other)
    (listed,) = cloud.call("ListAppImageConfigs", NameContains="RU")["AppImageConfigs"]
    assert listed["JupyterLabAppImageConfig"] == other
    assert refused(cloud, "CreateAppImageConfig", AppImageConfigName="run").code == "ResourceInUse"
    cloud.call("DeleteAppImageConfig", AppImageConfigName="run")
    assert refused(cloud, "DeleteAppImageConfig", AppImageConfigName="run").code == "ResourceNotFound"


def test_a_domain_offers_only_images_that_are_there(cloud: StudioCloud) -> None:
    image(cloud)
    version(cloud, "first")
    cloud.call("CreateAppImageConfig", AppImageConfigName="run")
    offered = {"ImageName": "mine", "ImageVersionNumber": 1, "AppImageConfigName": "run"}

    def settings(**change: Any) -> dict[str, Any]:
        return {"JupyterLabAppSettings": {"CustomImages": [{**offered, **change}]}}

    for change in ({"ImageName": "none"}, {"ImageVersionNumber": 2}, {"AppImageConfigName": "none"}):
        request = cloud.domain_request(settings=settings(**change))
        assert refused(cloud, "CreateDomain", **request).code == "ResourceNotFound", change
    domain_id = cloud.domain(settings=settings())
    six = {"JupyterLabAppSettings": {"CustomImages": [offered] * 6}}
    error = refused(cloud, "CreateUserProfile", DomainId=domain_id, UserProfileName="ada", UserSettings=six)
    assert "the limit is 5" in error.message


def test_an_image_that_an_app_runs_on_cannot_be_deleted(cloud: StudioCloud) -> None:
    arn = image(cloud)
    version_arn = version(cloud, "first")["ImageVersionArn"]
    domain_id = cloud.domain()
    cloud.profile(domain_id)
    cloud.space(domain_id)
    spec = {"InstanceType": "ml.t3.medium", "SageMakerImageArn": arn, "SageMakerImageVersionArn": version_arn}
    app = cloud.app(domain_id, ResourceSpec=spec)
    for name, request in (("DeleteImage", {}), ("DeleteImageVersion", {"Version": 1})):
        error = refused(cloud, name, ImageName="mine", **request)
        assert (error.code, "App(s) are associated" in error.message) == ("ResourceInUse", True)
    cloud.call("DeleteApp", **app)
    cloud.until("Deleted", "DescribeApp", **app)
    cloud.call("DeleteImage", ImageName="mine")


def test_versions_in_motion_go_on_after_a_kill(cloud: StudioCloud) -> None:
    image(cloud)
    cloud.hold()
    cloud.call("CreateImageVersion", ImageName="mine", BaseImage=f"{REPOSITORY}:1", ClientToken="t")
    request = {"ImageName": "mine", "Version": 1}
    assert cloud.call("DescribeImageVersion", **request)["ImageVersionStatus"] == "CREATING"
    assert refused(cloud, "DeleteImageVersion", **request).code == "ResourceInUse"
    cloud.restart()
    cloud.until("CREATED", "DescribeImageVersion", "ImageVersionStatus", **request)
