"""The model registry: versions that are counted once, approved by people, and announced on EventBridge."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_cloud.sagemaker.errors import ConflictError, NotEmulated, ValidationError
from tests.local_cloud_fakes import USER, FakeCloud, fake_cloud

PREFIX = "arn:aws:sagemaker:us-east-1:000000000000"
EVENT = "SageMaker Model Package State Change"
DATA = "s3://models/housing/model.tar.gz"


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCloud]:
    with fake_cloud(tmp_path, monkeypatch) as running:
        running.platform.objects["models/housing/model.tar.gz"] = b"model"
        running.call("CreateModelPackageGroup", {"ModelPackageGroupName": "housing"})
        yield running


def specification(data: str = DATA) -> dict[str, Any]:
    return {
        "Containers": [{"Image": "s3://assets/image.zip", "ModelDataUrl": data}],
        "SupportedContentTypes": ["text/csv"],
        "SupportedResponseMIMETypes": ["text/csv"],
    }


def register(cloud: FakeCloud, group: str = "housing", **more: Any) -> str:
    request = {"ModelPackageGroupName": group, "InferenceSpecification": specification(), **more}
    return str(cloud.call("CreateModelPackage", request)["ModelPackageArn"])


def versions(cloud: FakeCloud, **request: Any) -> list[int]:
    listed = cloud.call("ListModelPackages", {"ModelPackageGroupName": "housing", **request})
    return [package["ModelPackageVersion"] for package in listed["ModelPackageSummaryList"]]


def test_versions_are_counted_from_one(cloud: FakeCloud) -> None:
    assert [register(cloud), register(cloud)] == [f"{PREFIX}:model-package/housing/{n}" for n in (1, 2)]
    package = cloud.call("DescribeModelPackage", {"ModelPackageName": f"{PREFIX}:model-package/housing/2"})
    assert package["ModelPackageVersion"] == 2
    assert package["ModelPackageGroupName"] == "housing"
    assert package["ModelPackageStatus"] == "Completed"
    assert package["ModelPackageStatusDetails"] == {"ValidationStatuses": [], "ImageScanStatuses": []}
    assert package["ModelApprovalStatus"] == "PendingManualApproval"
    assert package["CreatedBy"] == {"IamIdentity": {"Arn": USER.arn}}
    assert package["InferenceSpecification"] == specification()


def test_the_number_of_a_deleted_version_is_not_given_again(cloud: FakeCloud) -> None:
    register(cloud)
    last = register(cloud)
    cloud.call("DeleteModelPackage", {"ModelPackageName": last})
    assert register(cloud).endswith("/3")
    with pytest.raises(ValidationError, match=f"ModelPackage {last} does not exist."):
        cloud.call("DescribeModelPackage", {"ModelPackageName": last})


def test_versions_made_at_the_same_time_have_numbers_of_their_own(cloud: FakeCloud) -> None:
    threads = [threading.Thread(target=register, args=(cloud,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(versions(cloud, MaxResults=50)) == list(range(1, 21))


def test_the_group_may_be_named_by_its_arn(cloud: FakeCloud) -> None:
    assert register(cloud, group=f"{PREFIX}:model-package-group/housing").endswith("model-package/housing/1")
    assert versions(cloud, ModelPackageGroupName=f"{PREFIX}:model-package-group/housing") == [1]


def test_a_request_with_the_same_token_makes_one_version(cloud: FakeCloud) -> None:
    assert register(cloud, ClientToken="t-1") == register(cloud, ClientToken="t-1")
    assert versions(cloud) == [1]


def test_a_token_is_forgotten_with_the_version_that_it_made(cloud: FakeCloud) -> None:
    first = register(cloud, ClientToken="t-1")
    assert "ClientToken" not in cloud.call("DescribeModelPackage", {"ModelPackageName": first})
    assert all("ClientToken" not in event for event in cloud.sent(EVENT))
    cloud.call("DeleteModelPackage", {"ModelPackageName": first})
    second = register(cloud, ClientToken="t-1")
    assert second != first
    assert versions(cloud) == [2]


def test_approval_is_recorded_with_who_and_why(cloud: FakeCloud) -> None:
    version = register(cloud)
    cloud.call(
        "UpdateModelPackage",
        {"ModelPackageArn": version, "ModelApprovalStatus": "Approved", "ApprovalDescription": "RMSE 3.1"},
    )
    package = cloud.call("DescribeModelPackage", {"ModelPackageName": version})
    assert (package["ModelApprovalStatus"], package["ApprovalDescription"]) == ("Approved", "RMSE 3.1")
    assert package["LastModifiedBy"] == {"IamIdentity": {"Arn": USER.arn}}
    assert package["LastModifiedTime"] >= package["CreationTime"]


def test_metadata_is_added_and_removed(cloud: FakeCloud) -> None:
    version = register(cloud, CustomerMetadataProperties={"a": "1", "b": "2"})
    cloud.call(
        "UpdateModelPackage",
        {
            "ModelPackageArn": version,
            "CustomerMetadataProperties": {"c": "3"},
            "CustomerMetadataPropertiesToRemove": ["a"],
        },
    )
    package = cloud.call("DescribeModelPackage", {"ModelPackageName": version})
    assert package["CustomerMetadataProperties"] == {"b": "2", "c": "3"}


def test_versions_are_filtered_by_approval_and_time(cloud: FakeCloud) -> None:
    register(cloud)
    register(cloud, ModelApprovalStatus="Approved")
    register(cloud)
    assert versions(cloud) == [1, 2, 3]
    assert versions(cloud, SortOrder="Descending", MaxResults=2) == [3, 2]
    assert versions(cloud, ModelApprovalStatus="Approved") == [2]
    created = cloud.call("DescribeModelPackage", {"ModelPackageName": "housing/2"})["CreationTime"]
    assert versions(cloud, CreationTimeAfter=created) == [2, 3]


def test_packages_in_no_group_are_apart(cloud: FakeCloud) -> None:
    register(cloud)
    request = {
        "ModelPackageName": "alone",
        "InferenceSpecification": specification(),
        "Tags": [{"Key": "a", "Value": "b"}],
    }
    arn = cloud.call("CreateModelPackage", request)["ModelPackageArn"]
    assert cloud.tags(arn) == {"a": "b"}

    def listed(**request: Any) -> list[str]:
        found = cloud.call("ListModelPackages", request)["ModelPackageSummaryList"]
        return [package["ModelPackageArn"].rpartition("model-package/")[2] for package in found]

    assert listed() == ["alone"]
    assert listed(ModelPackageType="Versioned") == ["housing/1"]
    assert listed(ModelPackageType="Both") == ["housing/1", "alone"]
    with pytest.raises(ValidationError, match="has no ModelApprovalStatus"):
        cloud.call("UpdateModelPackage", {"ModelPackageArn": arn, "ModelApprovalStatus": "Approved"})
    with pytest.raises(ConflictError, match="already exists"):
        cloud.call("CreateModelPackage", request)


def test_eventbridge_is_told_of_registration_and_approval(cloud: FakeCloud) -> None:
    version = register(cloud, MetadataProperties={"GeneratedBy": "execution"})
    cloud.call("UpdateModelPackage", {"ModelPackageArn": version, "ModelApprovalStatus": "Approved"})
    registered, approved = cloud.sent(EVENT)
    assert registered["ModelPackageArn"] == version
    assert registered["ModelPackageGroupName"] == "housing"
    assert registered["ModelPackageVersion"] == 1
    assert registered["ModelApprovalStatus"] == "PendingManualApproval"
    assert registered["InferenceSpecification"] == specification()
    assert registered["MetadataProperties"] == {"GeneratedBy": "execution"}
    assert registered["CreationTime"].endswith("Z")
    assert "LastModifiedTime" not in registered
    assert approved["ModelApprovalStatus"] == "Approved"
    assert approved["LastModifiedTime"].endswith("Z")
    assert approved["UpdatedModelPackageFields"] == ["ModelApprovalStatus"]
    assert cloud.platform.events[0]["resources"] == [version]


def test_a_group_is_described_listed_and_deleted_when_empty(cloud: FakeCloud) -> None:
    tagged = {
        "ModelPackageGroupName": "wine",
        "ModelPackageGroupDescription": "red",
        "Tags": [{"Key": "a", "Value": "b"}],
    }
    arn = cloud.call("CreateModelPackageGroup", tagged)["ModelPackageGroupArn"]
    assert arn == f"{PREFIX}:model-package-group/wine"
    assert cloud.tags(arn) == {"a": "b"}
    described = cloud.call("DescribeModelPackageGroup", {"ModelPackageGroupName": "wine"})
    assert (described["ModelPackageGroupStatus"], described["ModelPackageGroupDescription"]) == ("Completed", "red")
    listed = cloud.call("ListModelPackageGroups")["ModelPackageGroupSummaryList"]
    assert [group["ModelPackageGroupName"] for group in listed] == ["housing", "wine"]
    version = register(cloud, group="wine")
    with pytest.raises(ConflictError, match=f"Cannot delete Model Package Group: {arn}"):
        cloud.call("DeleteModelPackageGroup", {"ModelPackageGroupName": "wine"})
    cloud.call("DeleteModelPackage", {"ModelPackageName": version})
    cloud.call("DeleteModelPackageGroup", {"ModelPackageGroupName": "wine"})
    assert cloud.tags(arn) == {}
    with pytest.raises(ValidationError, match=f"^ModelPackageGroup {arn} does not exist.$"):
        cloud.call("DescribeModelPackageGroup", {"ModelPackageGroupName": "wine"})


def test_a_group_name_is_taken_once(cloud: FakeCloud) -> None:
    with pytest.raises(ValidationError, match="already exists"):
        cloud.call("CreateModelPackageGroup", {"ModelPackageGroupName": "housing"})


def test_a_groups_policy_is_kept(cloud: FakeCloud) -> None:
    group = {"ModelPackageGroupName": "housing"}
    with pytest.raises(ValidationError, match="Cannot find resource policy"):
        cloud.call("GetModelPackageGroupPolicy", group)
    with pytest.raises(ValidationError, match="is not JSON"):
        cloud.call("PutModelPackageGroupPolicy", {**group, "ResourcePolicy": "{"})
    cloud.call("PutModelPackageGroupPolicy", {**group, "ResourcePolicy": '{"Version": "2012-10-17"}'})
    assert cloud.call("GetModelPackageGroupPolicy", group)["ResourcePolicy"] == '{"Version": "2012-10-17"}'
    cloud.call("DeleteModelPackageGroupPolicy", group)
    with pytest.raises(ValidationError):
        cloud.call("GetModelPackageGroupPolicy", group)


def test_model_data_must_be_there_and_readable_by_the_caller(cloud: FakeCloud) -> None:
    missing = specification("s3://models/nothing.tar.gz")
    with pytest.raises(ValidationError, match=r"Could not find model data at s3://models/nothing\.tar\.gz"):
        register(cloud, InferenceSpecification=missing)
    cloud.platform.denials[USER.arn, "s3:GetObject"] = "User: tester is not authorized to perform: s3:GetObject"
    with pytest.raises(ValidationError, match=r"Could not access model data .* not authorized"):
        register(cloud)
    assert versions(cloud) == []
    register(cloud, InferenceSpecification=missing, SkipModelValidation="All")


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({}, "Either ModelPackageName or ModelPackageGroupName"),
        ({"ModelPackageName": "a", "ModelPackageGroupName": "housing"}, "Cannot determine which one to use"),
        ({"ModelPackageGroupName": "housing", "Tags": [{"Key": "a", "Value": "b"}]}, "Tags cannot be given"),
        ({"ModelPackageName": "a"}, "needs an InferenceSpecification"),
        ({"ModelPackageGroupName": "wine"}, "model-package-group/wine does not exist"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(cloud: FakeCloud, request_: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        cloud.call("CreateModelPackage", request_)


def test_what_is_not_emulated_is_refused_by_name(cloud: FakeCloud) -> None:
    source = {"SourceAlgorithms": [{"AlgorithmName": "mine"}]}
    with pytest.raises(NotEmulated, match="SourceAlgorithmSpecification"):
        cloud.call("CreateModelPackage", {"ModelPackageName": "a", "SourceAlgorithmSpecification": source})
    with pytest.raises(NotEmulated, match="ManagedConfiguration"):
        cloud.call(
            "CreateModelPackageGroup",
            {"ModelPackageGroupName": "b", "ManagedConfiguration": {"ManagedStorageType": "Restricted"}},
        )


def test_versions_survive_a_restart(cloud: FakeCloud) -> None:
    register(cloud)
    cloud.restart()
    assert register(cloud).endswith("/2")
    assert versions(cloud) == [1, 2]
