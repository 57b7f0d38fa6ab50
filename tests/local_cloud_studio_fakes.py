"""Studio in this process, with a network, a registry and keys that are dictionaries: for what needs no MiniStack."""

from __future__ import annotations

import io
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from botocore.response import StreamingBody

from local_cloud.clock import Clock
from local_cloud.platform import Caller, Credentials
from local_cloud.sagemaker import events, validation
from local_cloud.sagemaker.errors import ResourceNotFound
from local_cloud.sagemaker.service import Request, Response, Sagemaker, model
from local_cloud.sagemaker.store import Store
from local_cloud.sagemaker.studio import studio
from local_cloud.sagemaker.tags import current
from tests.local_cloud_fakes import ACCOUNT, REGION, USER, FakePlatform, patiently

ROLE = f"arn:aws:iam::{ACCOUNT}:role/studio"
VPC, OTHER_VPC = "vpc-1", "vpc-2"
SUBNET_A, SUBNET_B, SUBNET_A2, FOREIGN_SUBNET = "subnet-a", "subnet-b", "subnet-a2", "subnet-foreign"
GROUP, FOREIGN_GROUP = "sg-mine", "sg-foreign"
REPOSITORY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/studio"
DIGEST = "sha256:" + "a" * 64


def refusal(code: str, message: str) -> ClientError:
    """An answer of AWS that is an error."""
    return ClientError({"Error": {"Code": code, "Message": message}}, "Operation")


class FakeEc2:
    """VPCs, subnets, security groups and network interfaces."""

    def __init__(self) -> None:
        self.vpcs = {VPC, OTHER_VPC}
        zones = {SUBNET_A: "az1", SUBNET_B: "az2", SUBNET_A2: "az1", FOREIGN_SUBNET: "az1"}
        self.subnets = {
            name: {
                "SubnetId": name,
                "VpcId": OTHER_VPC if name == FOREIGN_SUBNET else VPC,
                "AvailabilityZoneId": zone,
            }
            for name, zone in zones.items()
        }
        self.groups: dict[str, dict[str, Any]] = {}
        self.interfaces: dict[str, dict[str, Any]] = {}
        self._count = itertools.count(1)
        for group, vpc in ((GROUP, VPC), (FOREIGN_GROUP, OTHER_VPC)):
            self.groups[group] = self._group(group, group, vpc)

    @staticmethod
    def _group(group_id: str, name: str, vpc: str) -> dict[str, Any]:
        everywhere = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
        return {
            "GroupId": group_id,
            "GroupName": name,
            "VpcId": vpc,
            "IpPermissions": [],
            "IpPermissionsEgress": everywhere,
            "Tags": [],
        }

    def describe_vpcs(self, VpcIds: list[str]) -> Any:  # noqa: N803
        for vpc in VpcIds:
            if vpc not in self.vpcs:
                raise refusal("InvalidVpcID.NotFound", f"The vpc ID '{vpc}' does not exist")
        return {"Vpcs": [{"VpcId": vpc} for vpc in VpcIds]}

    def describe_subnets(self, SubnetIds: list[str]) -> Any:  # noqa: N803
        for subnet in SubnetIds:
            if subnet not in self.subnets:
                raise refusal("InvalidSubnetID.NotFound", f"The subnet ID '{subnet}' does not exist")
        return {"Subnets": [self.subnets[subnet] for subnet in SubnetIds]}

    def describe_security_groups(self, GroupIds: Any = None, Filters: Any = ()) -> Any:  # noqa: N803
        for group in GroupIds or ():
            if group not in self.groups:
                raise refusal("InvalidGroup.NotFound", f"The security group '{group}' does not exist")
        wanted = {each["Name"]: each["Values"] for each in Filters}
        found = [
            group
            for group in self.groups.values()
            if (GroupIds is None or group["GroupId"] in GroupIds)
            and group["VpcId"] in wanted.get("vpc-id", [group["VpcId"]])
            and group["GroupName"] in wanted.get("group-name", [group["GroupName"]])
        ]
        return {"SecurityGroups": found}

    def create_security_group(self, GroupName: str, Description: str, VpcId: str, TagSpecifications: Any) -> Any:  # noqa: N803
        group_id = f"sg-{next(self._count)}"
        group = self._group(group_id, GroupName, VpcId)
        self.groups[group_id] = {**group, "Description": Description, "Tags": TagSpecifications[0]["Tags"]}
        return {"GroupId": group_id}

    def revoke_security_group_egress(self, GroupId: str, IpPermissions: Any) -> None:  # noqa: N803
        rules = self.groups[GroupId]["IpPermissionsEgress"]
        self.groups[GroupId]["IpPermissionsEgress"] = [rule for rule in rules if rule not in IpPermissions]

    def authorize_security_group_ingress(self, GroupId: str, IpPermissions: Any) -> None:  # noqa: N803
        self.groups[GroupId]["IpPermissions"] = [*self.groups[GroupId]["IpPermissions"], *IpPermissions]

    def authorize_security_group_egress(self, GroupId: str, IpPermissions: Any) -> None:  # noqa: N803
        self.groups[GroupId]["IpPermissionsEgress"] = [*self.groups[GroupId]["IpPermissionsEgress"], *IpPermissions]

    def create_network_interface(self, **interface: Any) -> Any:
        interface_id = f"eni-{next(self._count)}"
        self.interfaces[interface_id] = interface
        return {"NetworkInterface": {"NetworkInterfaceId": interface_id}}

    def delete_network_interface(self, NetworkInterfaceId: str) -> None:  # noqa: N803
        if self.interfaces.pop(NetworkInterfaceId, None) is None:
            raise refusal("InvalidNetworkInterfaceID.NotFound", "it does not exist")

    def nfs_groups(self) -> dict[str, dict[str, Any]]:
        """The groups that SageMaker made, by their direction."""
        return {
            group["GroupName"].split("-")[3]: group for group in self.groups.values() if "-nfs-" in group["GroupName"]
        }


class FakeEfs:
    """File systems and their mount targets; `gate` holds creations while it is closed."""

    def __init__(self, ec2: FakeEc2) -> None:
        self.file_systems: dict[str, dict[str, Any]] = {}
        self.targets: dict[str, dict[str, Any]] = {}
        self.gate = threading.Event()
        self.gate.set()
        self.asked = threading.Event()
        self.broken: Exception | None = None
        self._ec2 = ec2
        self._count = itertools.count(1)

    def create_file_system(self, CreationToken: str, **more: Any) -> Any:  # noqa: N803
        self.asked.set()
        self.gate.wait(20)
        if self.broken is not None:
            raise self.broken
        for found in self.file_systems.values():
            if found["CreationToken"] == CreationToken:
                return found
        name = f"fs-{next(self._count):08x}"
        self.file_systems[name] = {"FileSystemId": name, "CreationToken": CreationToken, **more}
        return self.file_systems[name]

    def describe_file_systems(self, FileSystemId: str) -> Any:  # noqa: N803
        self._look_up(FileSystemId)
        return {"FileSystems": [self.file_systems[FileSystemId]]}

    def delete_file_system(self, FileSystemId: str) -> None:  # noqa: N803
        self._look_up(FileSystemId)
        if self.describe_mount_targets(FileSystemId)["MountTargets"]:
            raise refusal("FileSystemInUse", "it has mount targets")
        del self.file_systems[FileSystemId]

    def create_mount_target(self, FileSystemId: str, SubnetId: str, SecurityGroups: list[str]) -> None:  # noqa: N803
        zone = self._ec2.subnets[SubnetId]["AvailabilityZoneId"]
        if any(target["AvailabilityZoneId"] == zone for target in self.targets.values()):
            raise refusal("MountTargetConflict", f"there is one in {zone}")
        name = f"fsmt-{next(self._count)}"
        self.targets[name] = {
            "MountTargetId": name,
            "FileSystemId": FileSystemId,
            "SubnetId": SubnetId,
            "AvailabilityZoneId": zone,
            "SecurityGroups": SecurityGroups,
        }

    def describe_mount_targets(self, FileSystemId: str) -> Any:  # noqa: N803
        self._look_up(FileSystemId)
        return {"MountTargets": [each for each in self.targets.values() if each["FileSystemId"] == FileSystemId]}

    def delete_mount_target(self, MountTargetId: str) -> None:  # noqa: N803
        del self.targets[MountTargetId]

    def _look_up(self, name: str) -> None:
        if name not in self.file_systems:
            raise refusal("FileSystemNotFound", f"File system '{name}' does not exist.")


class FakeKms:
    """Keys and their states."""

    def __init__(self) -> None:
        self.keys = {"key-1": "Enabled", "key-off": "Disabled"}

    def describe_key(self, KeyId: str) -> Any:  # noqa: N803
        if KeyId not in self.keys:
            raise refusal("NotFoundException", f"Key '{KeyId}' does not exist")
        return {"KeyMetadata": {"KeyId": KeyId, "KeyState": self.keys[KeyId]}}


class FakeEcr:
    """One repository with the image `studio:1`."""

    def __init__(self) -> None:
        self.asked_as: list[str] = []
        self.denied = False

    def batch_get_image(self, registryId: str, repositoryName: str, imageIds: Any) -> Any:  # noqa: N803
        if self.denied:
            raise refusal("AccessDeniedException", "not authorized to perform: ecr:BatchGetImage")
        if repositoryName != "studio":
            raise refusal("RepositoryNotFoundException", f"The repository with name '{repositoryName}' does not exist")
        there = imageIds[0] in ({"imageTag": "1"}, {"imageDigest": DIGEST})
        return {"images": [{"imageId": {"imageDigest": DIGEST}}] if there else []}


class FakeS3:
    """Objects in a dictionary, and who asked for them."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.asked_as: list[str] = []

    def get_object(self, Bucket: str, Key: str) -> Any:  # noqa: N803
        content = self.objects.get(f"{Bucket}/{Key}")
        if content is None:
            raise refusal("NoSuchKey", "The specified key does not exist.")
        return {"Body": StreamingBody(io.BytesIO(content), len(content))}


class Hurry(Clock):
    """Faster than the local cloud may be: its waits are what these tests would otherwise consist of."""

    def real(self, cloud_seconds: float) -> float:
        return cloud_seconds / 50_000


class Halt(Clock):
    """Stands still: an hour of these tests is no second of the cloud's."""

    def real(self, cloud_seconds: float) -> float:
        return cloud_seconds * 3600


class StudioPlatform(FakePlatform):
    """The services around Studio."""

    def __init__(self) -> None:
        super().__init__()
        self.ec2 = FakeEc2()
        self.efs, self.kms, self.ecr, self.s3 = FakeEfs(self.ec2), FakeKms(), FakeEcr(), FakeS3()
        self.passed: list[tuple[str, str]] = []

    def client(self, name: str, region: str, credentials: Credentials | None = None) -> Any:
        images: dict[str, FakeEcr | FakeS3] = {"ecr": self.ecr, "s3": self.s3}
        if name in images and credentials is not None:
            images[name].asked_as.append(self.sessions[credentials.access_key_id])
        return {"ec2": self.ec2, "efs": self.efs, "kms": self.kms, **images}[name]

    def denied(self, caller: Caller, action: str, resource_arn: str, context: Any) -> str | None:
        self.passed.append((action, resource_arn))
        return super().denied(caller, action, resource_arn, context)


class StudioCloud:
    """Studio on a store in a folder; `restart` is what a kill and a new start are."""

    def __init__(self, folder: Path) -> None:
        self.platform = StudioPlatform()
        self._path = folder / "sagemaker.sqlite"
        self.service = self._start()

    def call(self, name: str, **request: Any) -> Response:
        """One call; its answer fits the shape that botocore knows."""
        response = self.service.call(name, USER, request)
        shape = model().operation_model(name).output_shape
        if shape is not None:
            validation.validate(response, shape)
        return response

    def until(self, status: str, name: str, key: str = "Status", **request: Any) -> Response:
        """What a Describe call tells once the status is there."""
        found: Response = {}
        for _ in patiently(f"{name} {request} to be {status}, not {found.get(key)}"):
            found = self.call(name, **request)
            if found[key] == status:
                return found
        raise AssertionError

    def until_gone(self, name: str, **request: Any) -> None:
        """Wait until a Describe call finds nothing."""
        for _ in patiently(f"{name} {request} to find nothing"):
            try:
                self.call(name, **request)
            except ResourceNotFound:
                return

    def tags(self, arn: str) -> dict[str, str]:
        """The tags of what has an ARN."""
        return current(self.service, USER, arn)

    def sent(self, detail_type: str) -> list[dict[str, Any]]:
        """The details of the events of a type that were sent so far."""
        events.flush(self.service)
        return [event["detail"] for event in self.platform.events if event["type"] == detail_type]

    def restart(self) -> None:
        """Leave everything as a kill would, and start again."""
        self.close()
        self.service = self._start()
        studio.start(self.service)

    def hold(self) -> None:
        """Let nothing settle from now on, until the next start."""
        self.service.clock = Halt()

    def close(self) -> None:
        """End what goes on in the background."""
        studio.stop(self.service)
        events.flush(self.service)
        self.service.store.close()

    def _start(self) -> Sagemaker:
        store = Store(self._path)
        # What is killed here is no machine: nothing needs to be on the disk, and waiting for it is most of these tests' time.
        store._connection.execute("PRAGMA synchronous=OFF")
        started = Sagemaker(store, self.platform, None, self._path.parent, clock=Hurry())  # type: ignore[arg-type]
        self.platform.service = started
        return started

    # What most tests begin with.

    def domain_request(self, **more: Any) -> Request:
        """A request that is as short as it can be."""
        settings = {"ExecutionRole": ROLE, **more.pop("settings", {})}
        return {
            "DomainName": "team",
            "AuthMode": "IAM",
            "DefaultUserSettings": settings,
            "VpcId": VPC,
            "SubnetIds": [SUBNET_A],
            **more,
        }

    def domain(self, **more: Any) -> str:
        """The id of a domain in service."""
        domain_id = str(self.call("CreateDomain", **self.domain_request(**more))["DomainId"])
        self.until("InService", "DescribeDomain", DomainId=domain_id)
        return domain_id

    def profile(self, domain_id: str, name: str = "ada", **more: Any) -> str:
        """The ARN of a user profile in service."""
        names = {"DomainId": domain_id, "UserProfileName": name}
        arn = str(self.call("CreateUserProfile", **names, **more)["UserProfileArn"])
        self.until("InService", "DescribeUserProfile", **names)
        return arn

    def space(self, domain_id: str, name: str = "work", owner: str = "ada", **settings: Any) -> str:
        """The ARN of a private space in service."""
        names = {"DomainId": domain_id, "SpaceName": name}
        arn = self.call(
            "CreateSpace",
            **names,
            SpaceSettings={"AppType": "JupyterLab", **settings},
            OwnershipSettings={"OwnerUserProfileName": owner},
            SpaceSharingSettings={"SharingType": "Private"},
        )["SpaceArn"]
        self.until("InService", "DescribeSpace", **names)
        return str(arn)

    def app(self, domain_id: str, **more: Any) -> dict[str, str]:
        """What names an app in service."""
        named = {"DomainId": domain_id, "SpaceName": "work", "AppType": "JupyterLab", "AppName": "default"}
        if "UserProfileName" in more:
            del named["SpaceName"]
        extra = {key: more.pop(key) for key in ("ResourceSpec", "Tags") if key in more}
        named |= more
        self.call("CreateApp", **named, **extra)
        self.until("InService", "DescribeApp", **named)
        return named


@contextmanager
def studio_cloud(folder: Path) -> Iterator[StudioCloud]:
    """A cloud with Studio, closed at the end."""
    cloud = StudioCloud(folder)
    yield cloud
    cloud.platform.efs.gate.set()
    cloud.close()
