"""Studio in stacks of the local cloud: what Ref and GetAtt give, what changes in place, and what a deletion leaves behind."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError

from local_cloud.clock import VARIABLE
from tests.local_cloud_fixtures import LocalCloud
from tests.test_local_cloud_cloudformation import Stack, Template
from tests.waiting import wait_for

pytestmark = pytest.mark.long

SCRIPT = base64.b64encode(b"#!/bin/bash\necho hello\n").decode()
OTHER_SCRIPT = base64.b64encode(b"#!/bin/bash\necho good bye\n").decode()


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """A local cloud that is as fast as it can be: a domain takes a minute of its time."""
    running = LocalCloud(tmp_path_factory.mktemp("studio"))
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = "240"
    try:
        running.start()
    finally:
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before
    yield running
    running.stop()


@pytest.fixture(scope="module")
def role(cloud: LocalCloud) -> str:
    return cloud.role("studio", {"Action": ["ecr:BatchGetImage"], "Resource": "*"})


def network(cidr: str) -> Template:
    return {
        "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": cidr}},
        "Subnet": {"Type": "AWS::EC2::Subnet", "Properties": {"VpcId": {"Ref": "Vpc"}, "CidrBlock": cidr}},
    }


def domain(role: str, **properties: Any) -> Template:
    return {
        "Type": "AWS::SageMaker::Domain",
        "Properties": {
            "DomainName": "team",
            "AuthMode": "IAM",
            "VpcId": {"Ref": "Vpc"},
            "SubnetIds": [{"Ref": "Subnet"}],
            "DefaultUserSettings": {"ExecutionRole": role},
            **properties,
        },
    }


def workplace(role: str, cidr: str = "10.61.0.0/24", minutes: int | str = "60", script: str = SCRIPT) -> Template:
    """A domain in a network of its own, with a user and a space."""
    name = f"setup-{'a' if script == SCRIPT else 'b'}-{cidr.split('.')[1]}"
    lab = {
        "LifecycleConfigArns": [{"Fn::GetAtt": ["Setup", "StudioLifecycleConfigArn"]}],
        # CloudFormation takes numbers as text, too.
        "AppLifecycleManagement": {"IdleSettings": {"LifecycleManagement": "ENABLED", "IdleTimeoutInMinutes": minutes}},
    }
    return {
        "Resources": {
            **network(cidr),
            "Setup": {
                "Type": "AWS::SageMaker::StudioLifecycleConfig",
                "Properties": {
                    "StudioLifecycleConfigName": name,
                    "StudioLifecycleConfigAppType": "JupyterLab",
                    "StudioLifecycleConfigContent": script,
                },
            },
            "Domain": domain(role, DefaultUserSettings={"ExecutionRole": role, "JupyterLabAppSettings": lab}),
            "Ada": {
                "Type": "AWS::SageMaker::UserProfile",
                "Properties": {
                    "DomainId": {"Ref": "Domain"},
                    "UserProfileName": "ada",
                    "Tags": [{"Key": "owner", "Value": "ada"}],
                },
            },
            "Work": {
                "Type": "AWS::SageMaker::Space",
                "DependsOn": "Ada",
                "Properties": {
                    "DomainId": {"Ref": "Domain"},
                    "SpaceName": "work",
                    "OwnershipSettings": {"OwnerUserProfileName": "ada"},
                    "SpaceSharingSettings": {"SharingType": "Private"},
                    "SpaceSettings": {"AppType": "JupyterLab"},
                },
            },
        },
        "Outputs": {
            "Domain": {"Value": {"Ref": "Domain"}},
            "Home": {"Value": {"Fn::GetAtt": ["Domain", "HomeEfsFileSystemId"]}},
            "DomainArn": {"Value": {"Fn::GetAtt": ["Domain", "DomainArn"]}},
            "Url": {"Value": {"Fn::GetAtt": ["Domain", "Url"]}},
            "Ada": {"Value": {"Ref": "Ada"}},
            "AdaArn": {"Value": {"Fn::GetAtt": ["Ada", "UserProfileArn"]}},
            "Work": {"Value": {"Ref": "Work"}},
            "Setup": {"Value": {"Ref": "Setup"}},
            "Vpc": {"Value": {"Ref": "Vpc"}},
        },
    }


def clean_up(cloud: LocalCloud, vpc: str, file_system: str) -> None:
    """What somebody has to do after CloudFormation deleted a domain, in the order in which it can be done."""
    efs, ec2 = cloud.client("efs"), cloud.client("ec2")
    for target in efs.describe_mount_targets(FileSystemId=file_system)["MountTargets"]:
        efs.delete_mount_target(MountTargetId=target["MountTargetId"])
    efs.delete_file_system(FileSystemId=file_system)
    groups = [
        group
        for group in ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["SecurityGroups"]
        if "-nfs-d-" in group["GroupName"]
    ]
    for group in groups:
        with pytest.raises(ClientError, match="DependencyViolation"):
            ec2.delete_security_group(GroupId=group["GroupId"])
    for group in groups:
        for rules, revoke in (
            (group["IpPermissions"], ec2.revoke_security_group_ingress),
            (group["IpPermissionsEgress"], ec2.revoke_security_group_egress),
        ):
            if rules:
                revoke(GroupId=group["GroupId"], IpPermissions=rules)
    for group in groups:
        ec2.delete_security_group(GroupId=group["GroupId"])


def test_a_domain_leaves_what_keeps_its_network_from_being_deleted(cloud: LocalCloud, role: str) -> None:
    sagemaker, stack = cloud.client("sagemaker"), Stack(cloud, "workplace")
    stack.create(workplace(role))
    outputs = stack.outputs
    domain_id = outputs["Domain"]
    described = sagemaker.describe_domain(DomainId=domain_id)
    assert outputs["Home"] == described["HomeEfsFileSystemId"]
    assert outputs["DomainArn"] == described["DomainArn"]
    assert outputs["Url"] == described["Url"]
    assert outputs["Ada"] == f"ada|{domain_id}"
    assert outputs["AdaArn"].endswith(f":user-profile/{domain_id}/ada")
    assert outputs["Work"] == f"{domain_id}|work"
    assert outputs["Setup"] == "setup-a-61"
    assert {"Key": "owner", "Value": "ada"} in sagemaker.list_tags(ResourceArn=outputs["AdaArn"])["Tags"]

    stack.update(workplace(role, minutes=120, script=OTHER_SCRIPT))

    assert stack.outputs["Domain"] == domain_id
    assert stack.outputs["Setup"] == "setup-b-61", "a script never changes in place"
    lab = sagemaker.describe_domain(DomainId=domain_id)["DefaultUserSettings"]["JupyterLabAppSettings"]
    assert lab["AppLifecycleManagement"]["IdleSettings"]["IdleTimeoutInMinutes"] == 120
    assert lab["LifecycleConfigArns"][0].endswith("/setup-b-61")

    with pytest.raises(WaiterError):
        stack.delete()

    assert stack.status == "DELETE_FAILED"
    reasons = " ".join(reason for _, reason in stack.events("Subnet"))
    assert "has dependencies and cannot be deleted" in reasons
    with pytest.raises(sagemaker.exceptions.ResourceNotFound):
        sagemaker.describe_domain(DomainId=domain_id)
    clean_up(cloud, outputs["Vpc"], outputs["Home"])
    stack.delete()


def test_a_user_whose_app_lives_keeps_the_stack_from_being_deleted(cloud: LocalCloud, role: str) -> None:
    sagemaker, stack = cloud.client("sagemaker"), Stack(cloud, "in-use")
    stack.create(workplace(role, "10.62.0.0/24"))
    outputs = stack.outputs
    app = {"DomainId": outputs["Domain"], "SpaceName": "work", "AppType": "JupyterLab", "AppName": "default"}
    sagemaker.create_app(**app)
    wait_for(lambda: sagemaker.describe_app(**app)["Status"] == "InService")

    with pytest.raises(WaiterError):
        stack.delete()

    assert "because App(s) are associated with it" in " ".join(reason for _, reason in stack.events("Work"))
    assert sagemaker.describe_domain(DomainId=outputs["Domain"])["Status"] == "InService"
    sagemaker.delete_app(**app)
    wait_for(lambda: sagemaker.describe_app(**app)["Status"] == "Deleted")
    with pytest.raises(WaiterError):
        stack.delete()
    clean_up(cloud, outputs["Vpc"], outputs["Home"])
    stack.delete()


def test_a_domain_that_fails_is_rolled_back_and_its_reason_told(cloud: LocalCloud, role: str) -> None:
    stack = Stack(cloud, "failing")
    template = {
        "Resources": {
            **network("10.63.0.0/24"),
            "Domain": domain(role, KmsKeyId="00000000-0000-0000-0000-000000000000"),
        }
    }
    with pytest.raises(WaiterError):
        stack.create(template)
    failed = [reason for status, reason in stack.events("Domain") if status == "CREATE_FAILED"]
    assert "did not stabilize: KMS key 00000000-0000-0000-0000-000000000000" in failed[0]
    domains = cloud.client("sagemaker").list_domains()["Domains"]
    assert [each for each in domains if each["Status"] == "Failed"] == []


def image(role: str, tag: str = "1", **version: Any) -> Template:
    uri = f"000000000000.dkr.ecr.us-east-1.amazonaws.com/of-studio:{tag}"
    return {
        "Resources": {
            "Image": {
                "Type": "AWS::SageMaker::Image",
                "Properties": {"ImageName": "mine", "ImageRoleArn": role, "ImageDisplayName": "My own"},
            },
            "Version": {
                "Type": "AWS::SageMaker::ImageVersion",
                "DependsOn": "Image",
                "Properties": {"ImageName": "mine", "BaseImage": uri, **version},
            },
            "Run": {
                "Type": "AWS::SageMaker::AppImageConfig",
                "Properties": {
                    "AppImageConfigName": "run",
                    "JupyterLabAppImageConfig": {"FileSystemConfig": {"DefaultUid": "1000", "DefaultGid": "100"}},
                },
            },
        },
        "Outputs": {
            "Image": {"Value": {"Ref": "Image"}},
            "Version": {"Value": {"Ref": "Version"}},
            "Number": {"Value": {"Fn::GetAtt": ["Version", "Version"]}},
            "Container": {"Value": {"Fn::GetAtt": ["Version", "ContainerImage"]}},
            "Run": {"Value": {"Ref": "Run"}},
            "RunArn": {"Value": {"Fn::GetAtt": ["Run", "AppImageConfigArn"]}},
        },
    }


def test_a_custom_image_is_versioned_by_the_stack(cloud: LocalCloud, role: str) -> None:
    ecr, sagemaker, stack = cloud.client("ecr"), cloud.client("sagemaker"), Stack(cloud, "images")
    ecr.create_repository(repositoryName="of-studio")
    for tag in ("1", "2"):
        manifest = {"schemaVersion": 2, "config": {"digest": f"sha256:{tag * 64}"}, "layers": []}
        ecr.put_image(repositoryName="of-studio", imageManifest=json.dumps(manifest), imageTag=tag)
    stack.create(image(role, Aliases=["stable"]))
    outputs = stack.outputs
    assert outputs["Image"] == "arn:aws:sagemaker:us-east-1:000000000000:image/mine"
    assert outputs["Version"] == "arn:aws:sagemaker:us-east-1:000000000000:image-version/mine/1"
    assert outputs["Number"] == "1"
    assert "/of-studio@sha256:" in outputs["Container"]
    assert outputs["Run"] == "run"
    assert outputs["RunArn"].endswith(":app-image-config/run")
    found = sagemaker.describe_app_image_config(AppImageConfigName="run")
    assert found["JupyterLabAppImageConfig"]["FileSystemConfig"] == {"DefaultUid": 1000, "DefaultGid": 100}

    stack.update(image(role, Aliases=["1.0"], ReleaseNotes="the first"))
    assert stack.outputs["Version"] == outputs["Version"], "aliases and notes change in place"
    assert sagemaker.list_aliases(ImageName="mine")["SageMakerImageVersionAliases"] == ["1.0"]

    stack.update(image(role, "2", Aliases=["2.0"]))
    assert stack.outputs["Number"] == "2", "another container image is another version"
    listed = sagemaker.list_image_versions(ImageName="mine")["ImageVersions"]
    assert [each["Version"] for each in listed] == [2]

    with pytest.raises(WaiterError):
        stack.update(image(role, "3"))
    failed = " ".join(reason for _, reason in stack.events("Version"))
    assert "of-studio:3 does not exist in Amazon ECR" in failed
    stack.delete()
    assert sagemaker.list_images()["Images"] == []


def test_an_app_of_a_stack_goes_with_it(cloud: LocalCloud, role: str) -> None:
    stack = Stack(cloud, "kernel")
    template = workplace(role, "10.64.0.0/24")
    template["Resources"]["Kernel"] = {
        "Type": "AWS::SageMaker::App",
        "Properties": {
            "DomainId": {"Ref": "Domain"},
            "UserProfileName": {"Fn::Select": [0, {"Fn::Split": ["|", {"Ref": "Ada"}]}]},
            "AppType": "KernelGateway",
            "AppName": "kernel",
            "ResourceSpec": {"InstanceType": "ml.t3.medium"},
        },
    }
    template["Outputs"]["Kernel"] = {"Value": {"Ref": "Kernel"}}
    stack.create(template)
    outputs = stack.outputs
    assert outputs["Kernel"] == f"kernel|KernelGateway|{outputs['Domain']}|ada"
    del template["Resources"]["Kernel"], template["Outputs"]["Kernel"]
    stack.update(template)
    (app,) = cloud.client("sagemaker").list_apps(DomainIdEquals=outputs["Domain"])["Apps"]
    assert app["Status"] == "Deleted"
    with pytest.raises(WaiterError):
        stack.delete()
    clean_up(cloud, outputs["Vpc"], outputs["Home"])
    stack.delete()


def test_people_reach_only_what_carries_their_tag(cloud: LocalCloud, role: str) -> None:
    stack = Stack(cloud, "tagged")
    stack.create(workplace(role, "10.65.0.0/24"))
    outputs, domain_id = stack.outputs, stack.outputs["Domain"]
    admin, iam = cloud.client("sagemaker"), cloud.client("iam")
    admin.create_user_profile(DomainId=domain_id, UserProfileName="bob", Tags=[{"Key": "owner", "Value": "bob"}])
    iam.create_user(UserName="ada")
    own = {"StringEquals": {"sagemaker:ResourceTag/owner": "ada"}}
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["sagemaker:DescribeUserProfile", "sagemaker:CreatePresignedDomainUrl"],
                "Resource": f"arn:aws:sagemaker:*:*:user-profile/{domain_id}/*",
                "Condition": own,
            },
            {
                "Effect": "Allow",
                "Action": "sagemaker:DeleteSpace",
                "Resource": f"arn:aws:sagemaker:*:*:space/{domain_id}/*",
                "Condition": {
                    "ArnLike": {"sagemaker:OwnerUserProfileArn": f"arn:aws:sagemaker:*:*:user-profile/{domain_id}/bob"}
                },
            },
            {"Effect": "Allow", "Action": "sagemaker:CreateDomain", "Resource": "arn:aws:sagemaker:*:*:domain/*"},
        ],
    }
    iam.put_user_policy(UserName="ada", PolicyName="own", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="ada")["AccessKey"]
    ada = cloud.client("sagemaker", key["AccessKeyId"], key["SecretAccessKey"])

    assert ada.describe_user_profile(DomainId=domain_id, UserProfileName="ada")["UserProfileName"] == "ada"
    with pytest.raises(ClientError, match="does not emulate SageMaker's CreatePresignedDomainUrl"):
        ada.create_presigned_domain_url(DomainId=domain_id, UserProfileName="ada")
    for call in (ada.describe_user_profile, ada.create_presigned_domain_url):
        with pytest.raises(ClientError, match=f"AccessDenied.*on resource: .*user-profile/{domain_id}/bob"):
            call(DomainId=domain_id, UserProfileName="bob")
    with pytest.raises(
        ClientError, match=f"not authorized to perform: sagemaker:DeleteSpace on resource: .*{domain_id}/work"
    ):
        ada.delete_space(DomainId=domain_id, SpaceName="work")
    with pytest.raises(ClientError, match="not authorized to perform: iam:PassRole"):
        ada.create_domain(
            DomainName="hers",
            AuthMode="IAM",
            VpcId=outputs["Vpc"],
            SubnetIds=["subnet-any"],
            DefaultUserSettings={"ExecutionRole": role},
        )


def test_a_domain_in_motion_survives_a_kill_of_the_local_cloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    # As slow as AWS until it is killed: a minute in motion, in which any machine comes to the kill.
    monkeypatch.setenv(VARIABLE, "1")
    own_cloud = LocalCloud(tmp_path)
    request.addfinalizer(own_cloud.stop)
    own_cloud.start()
    ec2, sagemaker = own_cloud.client("ec2"), own_cloud.client("sagemaker")
    vpc = ec2.create_vpc(CidrBlock="10.66.0.0/24")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.66.0.0/24")["Subnet"]["SubnetId"]
    role = own_cloud.role("studio", {"Action": "s3:ListAllMyBuckets", "Resource": "*"})
    domain_id = sagemaker.create_domain(
        DomainName="team",
        AuthMode="IAM",
        VpcId=vpc,
        SubnetIds=[subnet],
        DefaultUserSettings={"ExecutionRole": role},
    )["DomainId"]
    assert sagemaker.describe_domain(DomainId=domain_id)["Status"] == "Pending"
    own_cloud.kill()
    monkeypatch.setenv(VARIABLE, "240")
    own_cloud.start()
    wait_for(lambda: sagemaker.describe_domain(DomainId=domain_id)["Status"] == "InService")
    home = sagemaker.describe_domain(DomainId=domain_id)["HomeEfsFileSystemId"]
    assert len(own_cloud.client("efs").describe_mount_targets(FileSystemId=home)["MountTargets"]) == 1
