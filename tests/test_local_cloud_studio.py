"""Studio's domains, user profiles, spaces and apps: their states, what they need, what they leave, and who is refused what."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from local_cloud.platform import Caller
from local_cloud.sagemaker import tags
from local_cloud.sagemaker.errors import ApiError
from local_cloud.sagemaker.studio import apps, authorization, background
from tests.local_cloud_fakes import ACCOUNT, REGION, USER
from tests.local_cloud_studio_fakes import (
    FOREIGN_GROUP,
    FOREIGN_SUBNET,
    GROUP,
    ROLE,
    SUBNET_A,
    SUBNET_A2,
    SUBNET_B,
    VPC,
    StudioCloud,
    refusal,
    studio_cloud,
)

PREFIX = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:"
SCRIPT = base64.b64encode(b"#!/bin/bash\necho hello\n").decode()


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[StudioCloud]:
    with studio_cloud(tmp_path) as running:
        yield running


def refused(cloud: StudioCloud, name: str, **request: Any) -> ApiError:
    """The error that a call ends in."""
    with pytest.raises(ApiError) as caught:
        cloud.call(name, **request)
    return caught.value


def config(cloud: StudioCloud, name: str = "setup", app_type: str = "JupyterLab") -> str:
    """The ARN of a lifecycle configuration."""
    request = {"StudioLifecycleConfigName": name, "StudioLifecycleConfigAppType": app_type}
    answer = cloud.call("CreateStudioLifecycleConfig", **request, StudioLifecycleConfigContent=SCRIPT)
    return str(answer["StudioLifecycleConfigArn"])


# Domains.


def test_a_domain_is_pending_until_its_home_is_made(cloud: StudioCloud) -> None:
    cloud.platform.efs.gate.clear()
    created = cloud.call("CreateDomain", **cloud.domain_request())
    domain_id = created["DomainId"]
    assert created["DomainArn"] == f"{PREFIX}domain/{domain_id}"
    assert created["Url"] == f"https://{domain_id}.studio.{REGION}.sagemaker.aws"
    described = cloud.call("DescribeDomain", DomainId=domain_id)
    assert described["Status"] == "Pending"
    assert "HomeEfsFileSystemId" not in described

    cloud.platform.efs.gate.set()
    described = cloud.until("InService", "DescribeDomain", DomainId=domain_id)

    file_system = cloud.platform.efs.file_systems[described["HomeEfsFileSystemId"]]
    assert file_system["Encrypted"]
    assert file_system["Tags"] == [{"Key": "ManagedByAmazonSageMakerResource", "Value": created["DomainArn"]}]
    assert described["AppNetworkAccessType"] == "PublicInternetOnly"
    assert cloud.call("ListDomains")["Domains"][0]["Status"] == "InService"


def test_a_domain_makes_two_groups_that_let_only_nfs_pass_between_each_other(cloud: StudioCloud) -> None:
    domain_id = cloud.domain()
    groups = cloud.platform.ec2.nfs_groups()
    inbound, outbound = groups["inbound"], groups["outbound"]
    assert inbound["GroupName"] == f"security-group-for-inbound-nfs-{domain_id}"
    assert inbound["Tags"] == outbound["Tags"]
    assert inbound["Tags"][0]["Value"].endswith(domain_id)
    assert inbound["IpPermissionsEgress"] == []
    for rules, peer in ((inbound["IpPermissions"], outbound), (outbound["IpPermissionsEgress"], inbound)):
        assert [(rule["FromPort"], rule["ToPort"]) for rule in rules] == [(988, 988), (1018, 1023), (2049, 2049)]
        assert {rule["UserIdGroupPairs"][0]["GroupId"] for rule in rules} == {peer["GroupId"]}
    (target,) = cloud.platform.efs.targets.values()
    assert target["SecurityGroups"] == [inbound["GroupId"]]


def test_each_availability_zone_gets_one_mount_target(cloud: StudioCloud) -> None:
    cloud.domain(SubnetIds=[SUBNET_A, SUBNET_A2, SUBNET_B])
    assert [target["SubnetId"] for target in cloud.platform.efs.targets.values()] == [SUBNET_A, SUBNET_B]


@pytest.mark.parametrize(
    ("request_of", "words"),
    [
        pytest.param({"VpcId": "vpc-none"}, "The vpc ID 'vpc-none' does not exist", id="no such VPC"),
        pytest.param({"SubnetIds": ["subnet-none"]}, "'subnet-none' does not exist", id="no such subnet"),
        pytest.param({"SubnetIds": [FOREIGN_SUBNET]}, f"is not in the VPC {VPC}", id="a subnet of another VPC"),
        pytest.param({"AppNetworkAccessType": "VpcOnly"}, "SecurityGroups is required", id="VpcOnly without a group"),
        pytest.param({"settings": {"SecurityGroups": ["sg-none"]}}, "'sg-none' does not exist", id="no such group"),
        pytest.param(
            {"settings": {"SecurityGroups": [FOREIGN_GROUP]}}, "is not in the domain's VPC", id="foreign group"
        ),
        pytest.param({"settings": {"SecurityGroups": [GROUP] * 5}}, "the limit is 4", id="five groups"),
        pytest.param({"DefaultUserSettings": {}}, "DefaultUserSettings.ExecutionRole is required", id="no role"),
        pytest.param({"settings": {"AutoMountHomeEFS": "DefaultAsDomain"}}, "not for a domain", id="default of itself"),
        pytest.param(
            {"settings": {"DefaultLandingUri": "studio::", "StudioWebPortal": "DISABLED"}},
            "needs DefaultUserSettings.StudioWebPortal ENABLED",
            id="landing where nobody may",
        ),
        pytest.param(
            {"settings": {"CustomFileSystemConfigs": [{"EFSFileSystemConfig": {"FileSystemId": "fs-0badbadbad"}}]}},
            "File system 'fs-0badbadbad' does not exist",
            id="no such file system",
        ),
        pytest.param({"DomainName": "no_underscores"}, "regular expression", id="a name that is none"),
        pytest.param({"SubnetIds": [SUBNET_A] * 17}, "less than or equal to 16", id="seventeen subnets"),
    ],
)
def test_a_domain_that_cannot_be_is_refused_before_anything_is_made(
    cloud: StudioCloud, request_of: dict[str, Any], words: str
) -> None:
    error = refused(cloud, "CreateDomain", **cloud.domain_request(**request_of))
    assert error.code == "ValidationException"
    assert words in error.message
    assert cloud.call("ListDomains")["Domains"] == []
    assert cloud.platform.efs.file_systems == {}


@pytest.mark.parametrize(
    ("request_of", "words"),
    [
        pytest.param({"AuthMode": "SSO"}, "IAM Identity Center", id="SSO"),
        pytest.param({"VpcId": None}, "SageMaker Unified Studio", id="no network"),
        pytest.param({"settings": {"CanvasAppSettings": {"KendraSettings": {}}}}, "SageMaker Canvas", id="Canvas"),
        pytest.param(
            {"settings": {"RStudioServerProAppSettings": {"AccessStatus": "ENABLED"}}}, "RStudio", id="RStudio"
        ),
        pytest.param({"DomainSettings": {"AmazonQSettings": {"Status": "ENABLED"}}}, "Amazon Q", id="Amazon Q"),
        pytest.param({"DomainSettings": {"IpAddressType": "dualstack"}}, "IPv6", id="IPv6"),
    ],
)
def test_what_is_not_here_is_refused_by_name(cloud: StudioCloud, request_of: dict[str, Any], words: str) -> None:
    error = refused(cloud, "CreateDomain", **cloud.domain_request(**request_of))
    assert error.code == "UnsupportedOperation"
    assert words in error.message


def test_who_makes_a_domain_must_be_allowed_to_pass_its_role(cloud: StudioCloud) -> None:
    cloud.platform.denials[(USER.arn, "iam:PassRole")] = "no PassRole for you"
    error = refused(cloud, "CreateDomain", **cloud.domain_request())
    assert (error.code, error.message) == ("AccessDeniedException", "no PassRole for you")
    assert cloud.platform.passed == [("iam:PassRole", ROLE)]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        pytest.param("key-none", "Key 'key-none' does not exist", id="no such key"),
        pytest.param("key-off", "key-off is Disabled", id="a disabled key"),
    ],
)
def test_a_domain_whose_key_cannot_encrypt_fails_with_a_reason_and_can_be_deleted(
    cloud: StudioCloud, key: str, words: str
) -> None:
    domain_id = cloud.call("CreateDomain", **cloud.domain_request(KmsKeyId=key))["DomainId"]
    described = cloud.until("Failed", "DescribeDomain", DomainId=domain_id)
    assert words in described["FailureReason"]
    assert "can only be deleted" in refused(cloud, "UpdateDomain", DomainId=domain_id).message
    cloud.call("DeleteDomain", DomainId=domain_id)
    cloud.until_gone("DescribeDomain", DomainId=domain_id)


def test_the_home_is_encrypted_with_the_key_of_the_domain(cloud: StudioCloud) -> None:
    domain_id = cloud.domain(KmsKeyId="key-1")
    described = cloud.call("DescribeDomain", DomainId=domain_id)
    assert described["KmsKeyId"] == described["HomeEfsFileSystemKmsKeyId"] == "key-1"
    assert cloud.platform.efs.file_systems[described["HomeEfsFileSystemId"]]["KmsKeyId"] == "key-1"


def test_an_update_merges_settings_and_none_clears_an_arn(cloud: StudioCloud) -> None:
    lab = {"DefaultResourceSpec": {"InstanceType": "ml.t3.large", "LifecycleConfigArn": config(cloud)}}
    domain_id = cloud.domain(settings={"JupyterLabAppSettings": lab})
    changed = {"JupyterLabAppSettings": {"DefaultResourceSpec": {"LifecycleConfigArn": "None"}}}
    cloud.call("UpdateDomain", DomainId=domain_id, DefaultUserSettings=changed)
    described = cloud.until("InService", "DescribeDomain", DomainId=domain_id)
    settings = described["DefaultUserSettings"]
    assert settings["ExecutionRole"] == ROLE
    assert settings["JupyterLabAppSettings"]["DefaultResourceSpec"] == {"InstanceType": "ml.t3.large"}


def test_a_home_that_was_not_made_can_be_made_later_and_not_unmade(cloud: StudioCloud) -> None:
    domain_id = cloud.domain(HomeEfsFileSystemCreation="Disabled")
    assert cloud.platform.efs.file_systems == {}
    cloud.call("UpdateDomain", DomainId=domain_id, HomeEfsFileSystemCreation="Enabled")
    assert cloud.until("InService", "DescribeDomain", DomainId=domain_id)["HomeEfsFileSystemId"]
    error = refused(cloud, "UpdateDomain", DomainId=domain_id, HomeEfsFileSystemCreation="Disabled")
    assert "from Disabled to Enabled, not back" in error.message


def test_an_update_that_fails_keeps_the_domain_and_says_why(cloud: StudioCloud) -> None:
    domain_id = cloud.domain()
    cloud.platform.efs.broken = refusal("ThroughputLimitExceeded", "no more of them")
    cloud.call("UpdateDomain", DomainId=domain_id, SubnetIds=[SUBNET_A, SUBNET_B])
    described = cloud.until("Update_Failed", "DescribeDomain", DomainId=domain_id)
    assert "no more of them" in described["FailureReason"]
    cloud.platform.efs.broken = None
    cloud.call("UpdateDomain", DomainId=domain_id, SubnetIds=[SUBNET_B])
    assert "FailureReason" not in cloud.until("InService", "DescribeDomain", DomainId=domain_id)
    assert [target["SubnetId"] for target in cloud.platform.efs.targets.values()] == [SUBNET_B]


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        pytest.param({"SubnetIds": [SUBNET_B]}, False, id="a subnet less"),
        pytest.param({"SubnetIds": [SUBNET_A, SUBNET_B]}, True, id="a subnet more"),
        pytest.param({"AppNetworkAccessType": "VpcOnly"}, False, id="another access to the network"),
        pytest.param({"AppNetworkAccessType": "PublicInternetOnly"}, True, id="the same access to the network"),
        pytest.param(
            {"DomainSettingsForUpdate": {"ExecutionRoleIdentityConfig": "USER_PROFILE_NAME"}},
            False,
            id="another identity",
        ),
    ],
)
def test_the_network_of_a_domain_changes_only_while_no_app_lives(
    cloud: StudioCloud, change: dict[str, Any], allowed: bool
) -> None:
    domain_id = cloud.domain(settings={"SecurityGroups": [GROUP]})
    cloud.profile(domain_id)
    cloud.space(domain_id)
    app = cloud.app(domain_id)
    if allowed:
        cloud.call("UpdateDomain", DomainId=domain_id, **change)
        return
    error = refused(cloud, "UpdateDomain", DomainId=domain_id, **change)
    assert error.code == "ResourceInUse"
    assert "because App(s) are associated with it" in error.message
    cloud.call("DeleteApp", **app)
    cloud.until("Deleted", "DescribeApp", **app)
    cloud.call("UpdateDomain", DomainId=domain_id, **change)


def test_deleting_a_domain_retains_its_home_by_default_and_always_its_groups(cloud: StudioCloud) -> None:
    domain_id = cloud.domain()
    cloud.hold()
    cloud.call("DeleteDomain", DomainId=domain_id)
    assert cloud.call("DescribeDomain", DomainId=domain_id)["Status"] == "Deleting"
    cloud.restart()
    cloud.until_gone("DescribeDomain", DomainId=domain_id)
    assert len(cloud.platform.efs.file_systems) == len(cloud.platform.efs.targets) == 1
    assert set(cloud.platform.ec2.nfs_groups()) == {"inbound", "outbound"}


def test_deleting_a_domain_with_its_home_leaves_only_its_groups(cloud: StudioCloud) -> None:
    domain_id = cloud.domain(SubnetIds=[SUBNET_A, SUBNET_B], Tags=[{"Key": "team", "Value": "a"}])
    cloud.call("DeleteDomain", DomainId=domain_id, RetentionPolicy={"HomeEfsFileSystem": "Delete"})
    cloud.until_gone("DescribeDomain", DomainId=domain_id)
    assert cloud.platform.efs.file_systems == cloud.platform.efs.targets == {}
    assert set(cloud.platform.ec2.nfs_groups()) == {"inbound", "outbound"}
    assert cloud.tags(f"{PREFIX}domain/{domain_id}") == {}


def test_a_home_that_somebody_else_deleted_does_not_stop_the_deletion_of_its_domain(cloud: StudioCloud) -> None:
    domain_id = cloud.domain()
    cloud.platform.efs.file_systems.clear()
    cloud.call("DeleteDomain", DomainId=domain_id, RetentionPolicy={"HomeEfsFileSystem": "Delete"})
    cloud.until_gone("DescribeDomain", DomainId=domain_id)


def test_a_domain_with_anything_in_it_cannot_be_deleted(cloud: StudioCloud) -> None:
    domain_id = cloud.domain()
    cloud.call("CreateSpace", DomainId=domain_id, SpaceName="shared")
    cloud.until("InService", "DescribeSpace", DomainId=domain_id, SpaceName="shared")
    in_use = f"Unable to delete Domain [{PREFIX}domain/{domain_id}] because {{}}(s) are associated with it."
    assert refused(cloud, "DeleteDomain", DomainId=domain_id).message == in_use.format("Space")
    cloud.profile(domain_id)
    error = refused(cloud, "DeleteDomain", DomainId=domain_id)
    assert (error.code, error.message) == ("ResourceInUse", in_use.format("UserProfile"))


def test_what_is_not_there_is_not_found(cloud: StudioCloud) -> None:
    domain_id = cloud.domain()
    for name, request in (
        ("DescribeDomain", {"DomainId": "d-none"}),
        ("DeleteDomain", {"DomainId": "d-none"}),
        ("CreateUserProfile", {"DomainId": "d-none", "UserProfileName": "ada"}),
        ("DescribeUserProfile", {"DomainId": domain_id, "UserProfileName": "none"}),
        ("UpdateUserProfile", {"DomainId": domain_id, "UserProfileName": "none"}),
        ("DescribeSpace", {"DomainId": domain_id, "SpaceName": "none"}),
        ("DeleteSpace", {"DomainId": domain_id, "SpaceName": "none"}),
        ("DeleteApp", {"DomainId": domain_id, "SpaceName": "none", "AppType": "JupyterLab", "AppName": "default"}),
    ):
        error = refused(cloud, name, **request)
        assert (error.code, "does not exist." in error.message) == ("ResourceNotFound", True), name


# User profiles.


def test_a_user_profile_has_a_home_of_its_own_and_a_name_without_case(cloud: StudioCloud) -> None:
    domain_id = cloud.domain()
    arn = cloud.profile(domain_id, "Ada", Tags=[{"Key": "owner", "Value": "ada"}])
    assert arn == f"{PREFIX}user-profile/{domain_id}/ada"
    described = cloud.call("DescribeUserProfile", DomainId=domain_id, UserProfileName="ADA")
    assert described["UserProfileName"] == "Ada"
    cloud.profile(domain_id, "bob")
    other = cloud.call("DescribeUserProfile", DomainId=domain_id, UserProfileName="bob")
    assert other["HomeEfsFileSystemUid"] != described["HomeEfsFileSystemUid"]
    assert cloud.tags(arn) == {"owner": "ada"}
    taken = refused(cloud, "CreateUserProfile", DomainId=domain_id, UserProfileName="ada")
    assert (taken.code, taken.message) == ("ResourceInUse", f"UserProfile [{arn}] already exists.")
    listed = cloud.call("ListUserProfiles", DomainIdEquals=domain_id, UserProfileNameContains="A")
    assert [profile["UserProfileName"] for profile in listed["UserProfiles"]] == ["Ada"]


def test_a_user_of_identity_center_has_no_place_in_a_domain_of_iam(cloud: StudioCloud) -> None:
    domain_id = cloud.domain()
    error = refused(
        cloud, "CreateUserProfile", DomainId=domain_id, UserProfileName="ada", SingleSignOnUserValue="ada@example.org"
    )
    assert "SingleSignOnUserValue cannot be specified" in error.message


def test_a_user_profile_goes_when_its_apps_and_spaces_are_gone(cloud: StudioCloud) -> None:
    domain_id = cloud.domain()
    arn = cloud.profile(domain_id)
    names = {"DomainId": domain_id, "UserProfileName": "ada"}
    kernel = cloud.app(
        domain_id, UserProfileName="ada", AppType="KernelGateway", ResourceSpec={"InstanceType": "ml.t3.medium"}
    )
    cloud.space(domain_id, "Work")
    in_use = f"Unable to delete UserProfile [{arn}] because {{}}(s) are associated with it."
    assert refused(cloud, "DeleteUserProfile", **names).message == in_use.format("App")
    cloud.hold()
    cloud.call("DeleteApp", **kernel)
    assert refused(cloud, "DeleteUserProfile", **names).message == in_use.format("App"), "a deletion takes its time"
    cloud.restart()
    cloud.until("Deleted", "DescribeApp", **kernel)
    assert refused(cloud, "DeleteUserProfile", **names).message == in_use.format("Space")
    cloud.hold()
    cloud.call("DeleteSpace", DomainId=domain_id, SpaceName="work")
    assert refused(cloud, "DeleteUserProfile", **names).message == in_use.format("Space"), "a deletion takes its time"
    cloud.restart()
    cloud.until_gone("DescribeSpace", DomainId=domain_id, SpaceName="work")
    cloud.call("DeleteUserProfile", **names)
    cloud.until_gone("DescribeUserProfile", **names)
    assert cloud.call("ListApps")["Apps"] == [], "what is left of apps goes with their owner"
    cloud.call("DeleteDomain", DomainId=domain_id)


def test_nothing_is_changed_while_the_last_change_goes_on(cloud: StudioCloud) -> None:
    domain_id = cloud.domain()
    names = {"DomainId": domain_id, "UserProfileName": "ada"}
    cloud.hold()
    cloud.call("CreateUserProfile", **names)
    for name in ("UpdateUserProfile", "DeleteUserProfile"):
        error = refused(cloud, name, **names)
        assert error.code == "ResourceInUse"
        assert "because it is in status Pending" in error.message


# Settings.


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param({"IdleTimeoutInMinutes": 59}, "greater than or equal to 60", id="less than an hour"),
        pytest.param({"IdleTimeoutInMinutes": 525_601}, "less than or equal to 525600", id="more than a year"),
        pytest.param({"LifecycleManagement": "ENABLED"}, "IdleTimeoutInMinutes is required", id="no time at all"),
        pytest.param(
            {"IdleTimeoutInMinutes": 60, "MinIdleTimeoutInMinutes": 90}, "must be between", id="under the least"
        ),
        pytest.param(
            {"IdleTimeoutInMinutes": 120, "MaxIdleTimeoutInMinutes": 90}, "must be between", id="over the most"
        ),
        pytest.param(
            {"MinIdleTimeoutInMinutes": 120, "MaxIdleTimeoutInMinutes": 60},
            "must not be more than",
            id="least over most",
        ),
    ],
)
def test_idle_shutdown_has_its_limits(cloud: StudioCloud, settings: dict[str, Any], words: str) -> None:
    lab = {"JupyterLabAppSettings": {"AppLifecycleManagement": {"IdleSettings": settings}}}
    assert words in refused(cloud, "CreateDomain", **cloud.domain_request(settings=lab)).message


def test_idle_settings_that_fit_are_kept_and_an_update_is_judged_with_what_was_there(cloud: StudioCloud) -> None:
    idle = {"LifecycleManagement": "ENABLED", "IdleTimeoutInMinutes": 120, "MinIdleTimeoutInMinutes": 90}
    domain_id = cloud.domain(settings={"JupyterLabAppSettings": {"AppLifecycleManagement": {"IdleSettings": idle}}})
    described = cloud.call("DescribeDomain", DomainId=domain_id)
    kept = described["DefaultUserSettings"]["JupyterLabAppSettings"]["AppLifecycleManagement"]["IdleSettings"]
    assert kept == idle
    shorter = {"JupyterLabAppSettings": {"AppLifecycleManagement": {"IdleSettings": {"IdleTimeoutInMinutes": 60}}}}
    error = refused(cloud, "UpdateDomain", DomainId=domain_id, DefaultUserSettings=shorter)
    assert "must be between" in error.message
    assert cloud.call("DescribeDomain", DomainId=domain_id)["Status"] == "InService"


def test_settings_name_only_lifecycle_configurations_that_are_there_and_of_their_type(cloud: StudioCloud) -> None:
    arn = config(cloud, app_type="CodeEditor")
    for settings, words in (
        ({"JupyterLabAppSettings": {"LifecycleConfigArns": [arn]}}, "is for apps of type CodeEditor, not JupyterLab"),
        ({"CodeEditorAppSettings": {"LifecycleConfigArns": [arn + "x"]}}, "does not exist"),
    ):
        assert words in refused(cloud, "CreateDomain", **cloud.domain_request(settings=settings)).message
    cloud.domain(settings={"CodeEditorAppSettings": {"LifecycleConfigArns": [arn]}})


# Lifecycle configurations.


def test_a_lifecycle_configuration_is_kept_as_it_was_given(cloud: StudioCloud) -> None:
    arn = config(cloud, "Setup")
    described = cloud.call("DescribeStudioLifecycleConfig", StudioLifecycleConfigName="Setup")
    assert described["StudioLifecycleConfigArn"] == arn == f"{PREFIX}studio-lifecycle-config/Setup"
    assert described["StudioLifecycleConfigContent"] == SCRIPT
    config(cloud, "editor", "CodeEditor")
    listed = cloud.call("ListStudioLifecycleConfigs", AppTypeEquals="JupyterLab")["StudioLifecycleConfigs"]
    assert [each["StudioLifecycleConfigName"] for each in listed] == ["Setup"]
    assert "StudioLifecycleConfigContent" not in listed[0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param("#!/bin/bash\necho hello\n", "must be a script, base64 encoded", id="no base64"),
        pytest.param(base64.b64encode(b"\xff\xfe").decode(), "must be a script", id="no text"),
        pytest.param(base64.b64encode(b"#" * 12_289).decode(), "less than or equal to 16384", id="too long"),
    ],
)
def test_a_script_that_no_app_could_run_is_refused(cloud: StudioCloud, content: str, words: str) -> None:
    error = refused(
        cloud,
        "CreateStudioLifecycleConfig",
        StudioLifecycleConfigName="setup",
        StudioLifecycleConfigAppType="JupyterLab",
        StudioLifecycleConfigContent=content,
    )
    assert words in error.message


def test_the_longest_script_is_accepted(cloud: StudioCloud) -> None:
    content = base64.b64encode(b"#" * 12_288).decode()
    assert len(content) == 16_384
    cloud.call(
        "CreateStudioLifecycleConfig",
        StudioLifecycleConfigName="setup",
        StudioLifecycleConfigAppType="JupyterLab",
        StudioLifecycleConfigContent=content,
    )


def test_a_lifecycle_configuration_in_use_cannot_be_deleted(cloud: StudioCloud) -> None:
    arn = config(cloud)
    domain_id = cloud.domain(settings={"JupyterLabAppSettings": {"LifecycleConfigArns": [arn]}})
    delete = {"StudioLifecycleConfigName": "setup"}
    error = refused(cloud, "DeleteStudioLifecycleConfig", **delete)
    assert error.code == "ResourceInUse"
    assert "because Domain(s) are associated with it" in error.message
    without: dict[str, Any] = {"JupyterLabAppSettings": {"LifecycleConfigArns": []}}
    cloud.call("UpdateDomain", DomainId=domain_id, DefaultUserSettings=without)
    cloud.until("InService", "DescribeDomain", DomainId=domain_id)
    cloud.profile(domain_id)
    cloud.space(domain_id)
    app = cloud.app(domain_id, ResourceSpec={"InstanceType": "ml.t3.medium", "LifecycleConfigArn": arn})
    assert "because App(s) are" in refused(cloud, "DeleteStudioLifecycleConfig", **delete).message
    cloud.call("DeleteApp", **app)
    cloud.until("Deleted", "DescribeApp", **app)
    cloud.call("DeleteStudioLifecycleConfig", **delete)
    assert refused(cloud, "DescribeStudioLifecycleConfig", **delete).code == "ResourceNotFound"


# Spaces.


def test_a_private_space_has_an_owner_and_the_volume_that_the_domain_says(cloud: StudioCloud) -> None:
    sizes = {"DefaultEbsStorageSettings": {"DefaultEbsVolumeSizeInGb": 20, "MaximumEbsVolumeSizeInGb": 50}}
    domain_id = cloud.domain(settings={"SpaceStorageSettings": sizes})
    cloud.profile(domain_id)
    arn = cloud.space(domain_id, "Work")
    assert arn == f"{PREFIX}space/{domain_id}/work"
    described = cloud.call("DescribeSpace", DomainId=domain_id, SpaceName="work")
    assert described["SpaceSettings"]["SpaceStorageSettings"] == {"EbsStorageSettings": {"EbsVolumeSizeInGb": 20}}
    (listed,) = cloud.call("ListSpaces", DomainIdEquals=domain_id)["Spaces"]
    assert listed["OwnershipSettingsSummary"] == {"OwnerUserProfileName": "ada"}
    assert listed["SpaceSharingSettingsSummary"] == {"SharingType": "Private"}
    assert listed["SpaceSettingsSummary"]["AppType"] == "JupyterLab"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        pytest.param({"SpaceSharingSettings": None}, "go together", id="an owner of something shared with all"),
        pytest.param({"OwnershipSettings": None}, "go together", id="private to nobody"),
        pytest.param({"OwnershipSettings": {"OwnerUserProfileName": "eve"}}, "does not exist", id="a stranger's"),
        pytest.param({"SpaceSettings": {}}, "must be JupyterLab or CodeEditor, got none", id="for no type of app"),
        pytest.param(
            {
                "SpaceSettings": {
                    "AppType": "JupyterLab",
                    "SpaceStorageSettings": {"EbsStorageSettings": {"EbsVolumeSizeInGb": 101}},
                }
            },
            "more than the 100 GB",
            id="too large",
        ),
        pytest.param(
            {"SpaceSettings": {"AppType": "JupyterLab", "RemoteAccess": "ENABLED"}},
            "from an editor elsewhere",
            id="remote",
        ),
    ],
)
def test_a_space_that_cannot_be_is_refused(cloud: StudioCloud, more: dict[str, Any], words: str) -> None:
    domain_id = cloud.domain()
    cloud.profile(domain_id)
    request = {
        "SpaceSettings": {"AppType": "JupyterLab"},
        "OwnershipSettings": {"OwnerUserProfileName": "ada"},
        "SpaceSharingSettings": {"SharingType": "Private"},
        **more,
    }
    given = {key: value for key, value in request.items() if value is not None}
    assert words in refused(cloud, "CreateSpace", DomainId=domain_id, SpaceName="work", **given).message


def test_the_volume_of_a_space_grows_while_no_app_has_it_and_never_shrinks(cloud: StudioCloud) -> None:
    domain_id = cloud.domain()
    cloud.profile(domain_id)
    cloud.space(domain_id)
    names = {"DomainId": domain_id, "SpaceName": "work"}

    def sized(gigabytes: int) -> dict[str, Any]:
        return {"SpaceStorageSettings": {"EbsStorageSettings": {"EbsVolumeSizeInGb": gigabytes}}}

    cloud.call("UpdateSpace", **names, SpaceSettings=sized(10), SpaceDisplayName="My work")
    described = cloud.until("InService", "DescribeSpace", **names)
    assert described["SpaceSettings"]["SpaceStorageSettings"] == sized(10)["SpaceStorageSettings"]
    assert described["SpaceDisplayName"] == "My work"
    assert "cannot shrink to 5 GB" in refused(cloud, "UpdateSpace", **names, SpaceSettings=sized(5)).message
    assert "cannot change" in refused(cloud, "UpdateSpace", **names, SpaceSettings={"AppType": "CodeEditor"}).message
    cloud.app(domain_id)
    assert refused(cloud, "UpdateSpace", **names, SpaceSettings=sized(20)).code == "ResourceInUse"


def test_a_shared_space_has_the_volume_that_the_domain_says_of_spaces(cloud: StudioCloud) -> None:
    sizes = {"DefaultEbsStorageSettings": {"DefaultEbsVolumeSizeInGb": 30, "MaximumEbsVolumeSizeInGb": 30}}
    domain_id = cloud.domain(DefaultSpaceSettings={"ExecutionRole": ROLE, "SpaceStorageSettings": sizes})
    cloud.profile(domain_id)
    request = {
        "DomainId": domain_id,
        "SpaceName": "together",
        "OwnershipSettings": {"OwnerUserProfileName": "ada"},
        "SpaceSharingSettings": {"SharingType": "Shared"},
        "SpaceSettings": {"AppType": "JupyterLab"},
    }
    cloud.call("CreateSpace", **request)
    described = cloud.until("InService", "DescribeSpace", DomainId=domain_id, SpaceName="together")
    assert described["SpaceSettings"]["SpaceStorageSettings"] == {"EbsStorageSettings": {"EbsVolumeSizeInGb": 30}}
    app = cloud.app(domain_id, SpaceName="together")
    assert cloud.call("DescribeApp", **app)["Status"] == "InService", "with the role that the domain has for spaces"


# Apps.


def test_an_app_goes_through_its_states_and_stays_listed_as_deleted(cloud: StudioCloud) -> None:
    domain_id = cloud.domain(settings={"SecurityGroups": [GROUP]}, Tags=[{"Key": "team", "Value": "a"}])
    of_stack = {"Key": "aws:cloudformation:stack-name", "Value": "s"}
    with tags.from_cloudformation():
        cloud.profile(domain_id, Tags=[{"Key": "owner", "Value": "ada"}, of_stack])
    cloud.space(domain_id)
    named = {"DomainId": domain_id, "SpaceName": "work", "AppType": "JupyterLab", "AppName": "default"}
    assert "reserved for AWS" in refused(cloud, "CreateApp", **named, Tags=[{"Key": "aws:a", "Value": "b"}]).message
    assert "unique" in refused(cloud, "CreateApp", **named, Tags=[{"Key": "a", "Value": "b"}] * 2).message
    cloud.hold()
    arn = cloud.call("CreateApp", **named, Tags=[{"Key": "why", "Value": "test"}])["AppArn"]
    assert arn == f"{PREFIX}app/{domain_id}/work/JupyterLab/default"
    assert cloud.call("DescribeApp", **named)["Status"] == "Pending"
    assert "status Pending" in refused(cloud, "DeleteApp", **named).message
    cloud.restart()
    described = cloud.until("InService", "DescribeApp", **named)
    assert described["ResourceSpec"] == {"InstanceType": "ml.t3.medium"}
    assert cloud.tags(arn) == {"team": "a", "owner": "ada", "why": "test"}, (
        "an app has its domain's and its owner's tags"
    )
    (interface,) = cloud.platform.ec2.interfaces.values()
    assert interface["Groups"] == [GROUP, cloud.platform.ec2.nfs_groups()["outbound"]["GroupId"]]

    cloud.call("DeleteApp", **named)
    cloud.until("Deleted", "DescribeApp", **named)
    assert cloud.platform.ec2.interfaces == {}
    assert [app["Status"] for app in cloud.call("ListApps", SpaceNameEquals="work")["Apps"]] == ["Deleted"]
    assert "status Deleted" in refused(cloud, "DeleteApp", **named).message


def test_a_deleted_app_is_forgotten_after_a_day_and_one_restarted_before_is_the_same(
    cloud: StudioCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain_id = cloud.domain()
    cloud.profile(domain_id)
    cloud.space(domain_id)
    app = cloud.app(domain_id)
    created = cloud.call("DescribeApp", **app)["CreationTime"]
    cloud.call("DeleteApp", **app)
    cloud.until("Deleted", "DescribeApp", **app)
    cloud.call("CreateApp", **app)
    assert cloud.until("InService", "DescribeApp", **app)["CreationTime"] == created

    cloud.call("DeleteApp", **app)
    cloud.until("Deleted", "DescribeApp", **app)
    monkeypatch.setattr(apps, "KEPT_S", -1.0)
    assert cloud.call("ListApps")["Apps"] == []
    assert refused(cloud, "DescribeApp", **app).code == "ResourceNotFound"
    cloud.restart()
    assert cloud.service.store.everywhere("app") == []


@pytest.mark.parametrize(
    ("request_of", "code", "words"),
    [
        pytest.param({"UserProfileName": "ada"}, "ValidationException", "are of a space", id="JupyterLab of a user"),
        pytest.param({}, "ValidationException", "give UserProfileName or SpaceName", id="of nobody"),
        pytest.param(
            {"SpaceName": "work", "UserProfileName": "ada"},
            "ValidationException",
            "not both",
            id="of a user and a space",
        ),
        pytest.param(
            {"SpaceName": "work", "AppType": "CodeEditor"},
            "ValidationException",
            "for apps of type JupyterLab",
            id="other type",
        ),
        pytest.param(
            {"UserProfileName": "ada", "AppType": "KernelGateway"},
            "ValidationException",
            "InstanceType is required",
            id="on what",
        ),
        pytest.param(
            {"UserProfileName": "ada", "AppType": "JupyterServer", "ResourceSpec": {"InstanceType": "ml.t3.medium"}},
            "ValidationException",
            "only support the system value",
            id="a server on an instance",
        ),
        pytest.param(
            {"UserProfileName": "ada", "AppType": "Canvas"}, "UnsupportedOperation", "of type Canvas", id="Canvas"
        ),
        pytest.param({"SpaceName": "none"}, "ResourceNotFound", "does not exist", id="of a space that is not there"),
    ],
)
def test_an_app_that_cannot_be_is_refused(
    cloud: StudioCloud, request_of: dict[str, Any], code: str, words: str
) -> None:
    domain_id = cloud.domain()
    cloud.profile(domain_id)
    cloud.space(domain_id)
    error = refused(
        cloud, "CreateApp", **{"DomainId": domain_id, "AppType": "JupyterLab", "AppName": "default", **request_of}
    )
    assert (error.code, words in error.message) == (code, True), error.message


def test_an_app_takes_what_nobody_nearer_says_from_the_domain(cloud: StudioCloud) -> None:
    spec = {"DefaultResourceSpec": {"InstanceType": "ml.m5.large", "LifecycleConfigArn": config(cloud)}}
    domain_id = cloud.domain(settings={"JupyterLabAppSettings": spec})
    nearer = {"JupyterLabAppSettings": {"DefaultResourceSpec": {"InstanceType": "ml.m5.xlarge"}}}
    cloud.profile(domain_id, UserSettings=nearer)
    cloud.space(domain_id)
    described = cloud.call("DescribeApp", **cloud.app(domain_id))
    assert described["ResourceSpec"] == {
        "InstanceType": "ml.m5.xlarge",
        "LifecycleConfigArn": spec["DefaultResourceSpec"]["LifecycleConfigArn"],
    }


def test_an_app_whose_role_cannot_be_assumed_fails_and_stands_in_nobodys_way(cloud: StudioCloud) -> None:
    domain_id = cloud.domain()
    cloud.profile(domain_id)
    cloud.space(domain_id)
    cloud.platform.refused_roles.add(ROLE)
    named = {"DomainId": domain_id, "SpaceName": "work", "AppType": "JupyterLab", "AppName": "default"}
    cloud.call("CreateApp", **named)
    described = cloud.until("Failed", "DescribeApp", **named)
    assert described["FailureReason"] == f"Could not assume role {ROLE}."
    assert "status Failed" in refused(cloud, "DeleteApp", **named).message
    cloud.call("DeleteSpace", DomainId=domain_id, SpaceName="work")
    cloud.until_gone("DescribeSpace", DomainId=domain_id, SpaceName="work")
    assert cloud.call("ListApps")["Apps"] == []


def test_an_app_is_there_once(cloud: StudioCloud) -> None:
    domain_id = cloud.domain()
    cloud.profile(domain_id)
    cloud.space(domain_id)
    error = refused(cloud, "CreateApp", **cloud.app(domain_id))
    assert (error.code, "already exists" in error.message) == ("ResourceInUse", True)


def test_nobody_gets_a_url_to_an_app_that_does_not_run(cloud: StudioCloud) -> None:
    domain_id = cloud.domain()
    request = {"DomainId": domain_id, "UserProfileName": "ada"}
    assert refused(cloud, "CreatePresignedDomainUrl", **request).code == "ResourceNotFound"
    cloud.profile(domain_id)
    error = refused(cloud, "CreatePresignedDomainUrl", **request)
    assert error.code == "UnsupportedOperation"
    assert "no app runs" in error.message


# Over a restart.


def test_what_was_in_motion_goes_on_after_a_kill(cloud: StudioCloud) -> None:
    cloud.hold()
    domain_id = cloud.call("CreateDomain", **cloud.domain_request())["DomainId"]
    assert cloud.call("DescribeDomain", DomainId=domain_id)["Status"] == "Pending"
    cloud.restart()
    cloud.until("InService", "DescribeDomain", DomainId=domain_id)
    cloud.profile(domain_id)
    cloud.space(domain_id)
    app = cloud.app(domain_id)
    cloud.hold()
    cloud.call("DeleteApp", **app)
    assert len(cloud.platform.ec2.interfaces) == 1
    cloud.restart()
    cloud.until("Deleted", "DescribeApp", **app)
    assert cloud.platform.ec2.interfaces == {}


def test_what_fails_because_the_cloud_around_is_ending_has_not_failed(cloud: StudioCloud) -> None:
    cloud.platform.efs.gate.clear()
    domain_id = cloud.call("CreateDomain", **cloud.domain_request())["DomainId"]
    cloud.platform.efs.broken = EndpointConnectionError(endpoint_url="https://127.0.0.1:1")
    assert cloud.platform.efs.asked.wait(60)
    background.studio_of(cloud.service).stopping.set()
    cloud.platform.efs.gate.set()
    background.stop(cloud.service)
    assert cloud.call("DescribeDomain", DomainId=domain_id)["Status"] == "Pending"
    cloud.platform.efs.broken = None
    cloud.restart()
    assert "FailureReason" not in cloud.until("InService", "DescribeDomain", DomainId=domain_id)


def test_a_creation_that_was_killed_half_way_makes_nothing_twice(cloud: StudioCloud) -> None:
    domain_id = cloud.domain()
    document = cloud.service.store.get("domain", ACCOUNT, REGION, domain_id)
    assert document is not None
    # As if the kill came after the file system was made and before the status was written.
    cloud.service.store.put("domain", ACCOUNT, REGION, domain_id, {**document, "Status": "Pending"})
    cloud.restart()
    cloud.until("InService", "DescribeDomain", DomainId=domain_id)
    assert len(cloud.platform.efs.file_systems) == len(cloud.platform.efs.targets) == 1
    groups = cloud.platform.ec2.nfs_groups()
    assert [
        len(groups[each]["IpPermissions" + egress]) for each, egress in (("inbound", ""), ("outbound", "Egress"))
    ] == [3, 3]


# What IAM can say.


@pytest.mark.parametrize(
    ("operation", "request_of", "resource"),
    [
        ("CreateDomain", {"DomainName": "team"}, "domain/*"),
        ("DeleteDomain", {"DomainId": "d-1"}, "domain/d-1"),
        ("CreateUserProfile", {"DomainId": "d-1", "UserProfileName": "Ada"}, "user-profile/d-1/ada"),
        (
            "CreatePresignedDomainUrl",
            {"DomainId": "d-1", "UserProfileName": "Ada", "SpaceName": "s"},
            "user-profile/d-1/ada",
        ),
        ("DeleteSpace", {"DomainId": "d-1", "SpaceName": "Work"}, "space/d-1/work"),
        (
            "CreateApp",
            {"DomainId": "d-1", "SpaceName": "Work", "AppType": "JupyterLab", "AppName": "default"},
            "app/d-1/work/JupyterLab/default",
        ),
        ("DeleteStudioLifecycleConfig", {"StudioLifecycleConfigName": "Setup"}, "studio-lifecycle-config/Setup"),
        ("CreateImageVersion", {"ImageName": "Mine", "BaseImage": "x"}, "image/mine"),
        ("DeleteImageVersion", {"ImageName": "Mine", "Version": 3}, "image-version/mine/3"),
        ("DescribeAppImageConfig", {"AppImageConfigName": "c"}, "app-image-config/c"),
        ("ListApps", {"DomainIdEquals": "d-1"}, None),
        ("ListStudioLifecycleConfigs", {}, None),
        ("CreateModel", {"ModelName": "m"}, None),
    ],
)
def test_a_request_is_about_one_resource(operation: str, request_of: dict[str, Any], resource: str | None) -> None:
    caller = Caller(ACCOUNT, REGION, USER.arn)
    found = authorization.resource_arn(caller, operation, request_of)
    assert found == (PREFIX + resource if resource else None)


def test_a_policy_can_tell_whose_space_it_is(cloud: StudioCloud) -> None:
    domain_id = cloud.domain()
    cloud.profile(domain_id)
    cloud.space(domain_id)
    body = f'{{"DomainId": "{domain_id}", "SpaceName": "Work"}}'.encode()
    keys = authorization.conditions(cloud.service, USER, "DeleteSpace", body)
    assert keys == {
        "sagemaker:owneruserprofilearn": f"{PREFIX}user-profile/{domain_id}/ada",
        "sagemaker:spacesharingtype": "Private",
    }
    wanted = b'{"DomainId": "d-1", "SpaceName": "s", "OwnershipSettings": {"OwnerUserProfileName": "Bob"}}'
    keys = authorization.conditions(cloud.service, USER, "CreateSpace", wanted)
    assert keys == {"sagemaker:owneruserprofilearn": f"{PREFIX}user-profile/d-1/bob"}
    instance = b'{"AppType": "JupyterLab", "ResourceSpec": {"InstanceType": "ml.p4d.24xlarge"}}'
    assert authorization.conditions(cloud.service, USER, "CreateApp", instance) == {
        "sagemaker:instancetypes": ["ml.p4d.24xlarge"]
    }


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"SpaceName": "s", "DomainId": "d-1", "OwnershipSettings": 3}'])
def test_a_malformed_request_fills_no_condition(cloud: StudioCloud, body: bytes) -> None:
    assert authorization.conditions(cloud.service, USER, "CreateSpace", body) == {}
