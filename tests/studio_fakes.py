"""A Studio domain as SageMaker, EFS and EC2 keep it, with what they refuse: for the function that deletes around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ClientError

from functions.studio_cleanup.names import MANAGED_BY
from functions.studio_cleanup.residue import Clients

ACCOUNT, VPC = "111111111111", "vpc-0123456789abcdef0"
STACK = f"arn:aws:cloudformation:us-east-1:{ACCOUNT}:stack/sagestack-dev-workbench/11111111-2222"
PREFIX = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:domain/"
DOMAIN_ID = "d-aaaabbbbcccc"
ARN = PREFIX + DOMAIN_ID


def refusal(code: str, message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "Operation")


class Pages:
    """A paginator that has one thing on each page."""

    def __init__(self, key: str, items: Callable[..., Iterator[dict[str, Any]]]) -> None:
        self._key, self._items = key, items

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        found = list(self._items(**request))
        yield from ({self._key: [each]} for each in found)
        yield {self._key: []}


class Cloud:
    """One account. What is deleted takes `pace` looks to be gone."""

    def __init__(self, pace: int = 1) -> None:
        self.pace = pace
        self.status: str | None = "InService"
        self.stack_status = "DELETE_IN_PROGRESS"
        self.gone_as = "ResourceNotFound"
        self.physical_id: str | None = DOMAIN_ID
        self.apps: list[dict[str, Any]] = []
        self.spaces: list[dict[str, Any]] = []
        self.profiles: list[dict[str, Any]] = []
        self.systems: list[dict[str, Any]] = []
        self.targets: list[dict[str, Any]] = []
        self.groups: list[dict[str, Any]] = []
        self.interfaces: list[dict[str, Any]] = []
        self.scripts: dict[str, dict[str, str]] = {}
        self.denied: set[str] = set()
        self._people = 0
        self.busy = 0
        """How many more requests are too many."""
        self.deleted: list[str] = []

    @property
    def clients(self) -> Clients:
        return Clients(self, self, self, self)

    # What there is

    def add_profile(self, name: str) -> None:
        self._people += 1
        uid = str(200_000 + 5 * self._people)
        self.profiles.append({"UserProfileName": name, "Status": "InService", "HomeEfsFileSystemUid": uid})

    def add_space(self, name: str, owner: str, sharing: str = "Private") -> None:
        self.spaces.append(
            {
                "SpaceName": name,
                "Status": "InService",
                "OwnershipSettingsSummary": {"OwnerUserProfileName": owner},
                "SpaceSharingSettingsSummary": {"SharingType": sharing},
            }
        )

    def add_app(self, space: str | None, status: str = "InService", profile: str | None = None) -> None:
        place = {"SpaceName": space} if space else {"UserProfileName": profile}
        self.apps.append({**place, "AppType": "JupyterLab", "AppName": "default", "Status": status})

    def add_residue(self, domain_arn: str = ARN, number: int = 1) -> None:
        """What CreateDomain makes in the account: a file system with its mount target, two groups that name each other."""
        tags = [{"Key": MANAGED_BY, "Value": domain_arn}]
        name, inbound, outbound = f"fs-{number}", f"sg-in{number}", f"sg-out{number}"
        self.systems.append({"FileSystemId": name, "LifeCycleState": "available", "Tags": [*tags]})
        self.targets.append({"MountTargetId": f"fsmt-{number}", "FileSystemId": name, "LifeCycleState": "available"})
        domain = domain_arn.rpartition("/")[2]
        for group, way, key, other in (
            (inbound, "inbound", "IpPermissions", outbound),
            (outbound, "outbound", "IpPermissionsEgress", inbound),
        ):
            rule = {"IpProtocol": "tcp", "FromPort": 2049, "ToPort": 2049, "UserIdGroupPairs": [{"GroupId": other}]}
            self.groups.append(
                {
                    "GroupId": group,
                    "GroupName": f"security-group-for-{way}-nfs-{domain}",
                    "VpcId": VPC,
                    "Tags": [*tags],
                    "IpPermissions": [],
                    "IpPermissionsEgress": [],
                    key: [rule],
                }
            )
        self.add_interface(f"eni-mount{number}", groups=[inbound], tags=[], status="in-use")

    def add_interface(self, name: str, *, groups: list[str], tags: list[dict[str, str]], status: str) -> None:
        self.interfaces.append(
            {
                "NetworkInterfaceId": name,
                "Status": status,
                "VpcId": VPC,
                "TagSet": tags,
                "Groups": [{"GroupId": group} for group in groups],
            }
        )

    def left_of(self, kind: str) -> list[str]:
        """The names of what is there still."""
        keys = {"spaces": "SpaceName", "profiles": "UserProfileName", "systems": "FileSystemId", "groups": "GroupId"}
        return [each[keys[kind]] for each in getattr(self, kind)]

    def delete_domain(self) -> None:
        """What CloudFormation does between our resources."""
        assert not self.profiles, "Unable to delete Domain because UserProfile(s) are associated with it."
        assert not self.spaces, "Unable to delete Domain because Space(s) are associated with it."
        self.status = None

    # SageMaker

    def get_paginator(self, operation: str) -> Pages:
        return {
            "list_apps": Pages("Apps", self._listing("apps")),
            "list_spaces": Pages("Spaces", self._listing("spaces")),
            "list_user_profiles": Pages("UserProfiles", self._listing("profiles")),
            "list_studio_lifecycle_configs": Pages("StudioLifecycleConfigs", self._scripts),
            "describe_file_systems": Pages("FileSystems", lambda: iter(self._passing("systems"))),
            "describe_security_groups": Pages("SecurityGroups", self._in_vpc("groups")),
            "describe_network_interfaces": Pages("NetworkInterfaces", self._in_vpc("interfaces")),
        }[operation]

    def describe_domain(self, DomainId: str) -> dict[str, Any]:  # noqa: N803 - as boto3 has it
        if not DomainId.startswith("d-"):
            raise refusal("ValidationException", "domainId failed to satisfy constraint")
        if self.status is None or DomainId != DOMAIN_ID:
            raise refusal(self.gone_as, f"Domain [{DomainId}] does not exist.")
        return {"Status": self.status, **({"HomeEfsFileSystemId": "fs-1"} if self.systems else {})}

    def describe_user_profile(self, DomainId: str, UserProfileName: str) -> dict[str, Any]:  # noqa: N803
        (profile,) = (each for each in self.profiles if each["UserProfileName"] == UserProfileName)
        return profile

    def delete_app(self, **request: Any) -> None:
        self._allow("DeleteApp")
        (app,) = (
            each for each in self.apps if all(each.get(key) == request[key] for key in request if key != "DomainId")
        )
        if app["Status"] in ("Failed", "Pending", "Deleted"):
            raise refusal("ValidationException", f"App is {app['Status']}.")
        self._begin("app", app, app.get("SpaceName") or app["UserProfileName"])

    def delete_space(self, DomainId: str, SpaceName: str) -> None:  # noqa: N803
        self._allow("DeleteSpace")
        if any(app.get("SpaceName") == SpaceName and app["Status"] not in ("Deleted", "Failed") for app in self.apps):
            raise refusal("ResourceInUse", "App(s) are associated with it.")
        (space,) = (each for each in self.spaces if each["SpaceName"] == SpaceName)
        self._begin("space", space, SpaceName)

    def delete_user_profile(self, DomainId: str, UserProfileName: str) -> None:  # noqa: N803
        owners = [each["OwnershipSettingsSummary"]["OwnerUserProfileName"] for each in self.spaces]
        if UserProfileName in owners:
            raise refusal("ResourceInUse", "Space(s) are associated with it.")
        (profile,) = (each for each in self.profiles if each["UserProfileName"] == UserProfileName)
        self._begin("profile", profile, UserProfileName)

    def list_tags(self, ResourceArn: str) -> dict[str, Any]:  # noqa: N803
        return {"Tags": [{"Key": key, "Value": value} for key, value in self.scripts[ResourceArn].items()]}

    def delete_studio_lifecycle_config(self, StudioLifecycleConfigName: str) -> None:  # noqa: N803
        self._allow("DeleteStudioLifecycleConfig")
        del self.scripts[f"arn:{StudioLifecycleConfigName}"]

    # EFS

    def describe_file_systems(self, FileSystemId: str) -> dict[str, Any]:  # noqa: N803
        return {"FileSystems": [each for each in self.systems if each["FileSystemId"] == FileSystemId]}

    def describe_mount_targets(self, FileSystemId: str) -> dict[str, Any]:  # noqa: N803
        self._pass("targets")
        return {"MountTargets": [dict(each) for each in self.targets if each["FileSystemId"] == FileSystemId]}

    def delete_mount_target(self, MountTargetId: str) -> None:  # noqa: N803
        self._allow("DeleteMountTarget")
        (target,) = (each for each in self.targets if each["MountTargetId"] == MountTargetId)
        self._begin("mount target", target, MountTargetId, "LifeCycleState", "deleting")
        number = MountTargetId.removeprefix("fsmt-")
        self.interfaces = [each for each in self.interfaces if each["NetworkInterfaceId"] != f"eni-mount{number}"]

    def delete_file_system(self, FileSystemId: str) -> None:  # noqa: N803
        self._allow("DeleteFileSystem")
        if any(each["FileSystemId"] == FileSystemId for each in self.targets):
            raise refusal("FileSystemInUse", "has mount targets")
        (system,) = (each for each in self.systems if each["FileSystemId"] == FileSystemId)
        self._begin("file system", system, FileSystemId, "LifeCycleState", "deleting")

    def tag_resource(self, ResourceId: str, Tags: list[dict[str, str]]) -> None:  # noqa: N803
        self._allow("TagResource")
        (system,) = (each for each in self.systems if each["FileSystemId"] == ResourceId)
        _tag(system, "Tags", Tags)

    # EC2

    def create_tags(self, Resources: list[str], Tags: list[dict[str, str]]) -> None:  # noqa: N803
        self._allow("CreateTags")
        for each in self.groups:
            if each["GroupId"] in Resources:
                _tag(each, "Tags", Tags)
        for each in self.interfaces:
            if each["NetworkInterfaceId"] in Resources:
                _tag(each, "TagSet", Tags)

    def delete_network_interface(self, NetworkInterfaceId: str) -> None:  # noqa: N803
        self._allow("DeleteNetworkInterface")
        (found,) = (each for each in self.interfaces if each["NetworkInterfaceId"] == NetworkInterfaceId)
        assert found["Status"] == "available", "InvalidParameterValue: it is in use"
        self.interfaces.remove(found)
        self.deleted.append(f"interface {NetworkInterfaceId}")

    def revoke_security_group_ingress(self, GroupId: str, IpPermissions: list[Any]) -> None:  # noqa: N803
        self._revoke(GroupId, "IpPermissions", IpPermissions)

    def revoke_security_group_egress(self, GroupId: str, IpPermissions: list[Any]) -> None:  # noqa: N803
        self._revoke(GroupId, "IpPermissionsEgress", IpPermissions)

    def delete_security_group(self, GroupId: str) -> None:  # noqa: N803
        self._allow("DeleteSecurityGroup")
        named = [
            pair["GroupId"]
            for group in self.groups
            if group["GroupId"] != GroupId
            for rule in (*group["IpPermissions"], *group["IpPermissionsEgress"])
            for pair in rule["UserIdGroupPairs"]
        ]
        had = [group["GroupId"] for each in self.interfaces for group in each["Groups"]]
        if GroupId in (*named, *had):
            raise refusal("DependencyViolation", f"resource {GroupId} has a dependent object")
        self.groups = [each for each in self.groups if each["GroupId"] != GroupId]
        self.deleted.append(f"group {GroupId}")

    # CloudFormation

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803
        assert StackName == STACK
        return {"Stacks": [{"StackStatus": self.stack_status}]}

    def describe_stack_resource(self, StackName: str, LogicalResourceId: str) -> dict[str, Any]:  # noqa: N803
        assert (StackName, LogicalResourceId) == (STACK, "StudioDomain")
        if self.physical_id is None:
            raise refusal("ValidationError", "Resource StudioDomain does not exist for stack")
        return {"StackResourceDetail": {"PhysicalResourceId": self.physical_id}}

    # How it goes on

    def _listing(self, kind: str) -> Callable[..., Iterator[dict[str, Any]]]:
        def items(DomainIdEquals: str) -> Iterator[dict[str, Any]]:  # noqa: N803
            self._allow(f"List {kind}")
            if self.status is None or DomainIdEquals != DOMAIN_ID:
                raise refusal(self.gone_as, f"Domain [{DomainIdEquals}] does not exist.")
            return iter(self._passing(kind))

        return items

    def _scripts(self) -> Iterator[dict[str, Any]]:
        for arn in list(self.scripts):
            yield {"StudioLifecycleConfigName": arn.removeprefix("arn:"), "StudioLifecycleConfigArn": arn}

    def _in_vpc(self, kind: str) -> Callable[..., Iterator[dict[str, Any]]]:
        def items(Filters: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:  # noqa: N803
            assert Filters == [{"Name": "vpc-id", "Values": [VPC]}]
            return (dict(each) for each in getattr(self, kind) if each["VpcId"] == VPC)

        return items

    def _passing(self, kind: str) -> list[dict[str, Any]]:
        self._pass(kind)
        return [{key: value for key, value in each.items() if key != "looks"} for each in getattr(self, kind)]

    def _pass(self, kind: str) -> None:
        """Each look at what is being deleted brings it nearer to its end."""
        for each in list(getattr(self, kind)):
            if "looks" in each:
                each["looks"] -= 1
                if each["looks"] < 0:
                    getattr(self, kind).remove(each)

    def _begin(self, what: str, item: dict[str, Any], name: str, key: str = "Status", status: str = "Deleting") -> None:
        assert "looks" not in item, f"{what} {name} was told to go twice"
        item.update({key: status, "looks": self.pace})
        self.deleted.append(f"{what} {name}")

    def _revoke(self, group_id: str, key: str, rules: list[Any]) -> None:
        self._allow("Revoke")
        (group,) = (each for each in self.groups if each["GroupId"] == group_id)
        assert rules == group[key]
        group[key] = []

    def _allow(self, action: str) -> None:
        if self.busy > 0:
            self.busy -= 1
            raise refusal("ThrottlingException", "Rate exceeded")
        if action in self.denied:
            raise refusal("AccessDeniedException", f"not authorized to perform {action}")


def _tag(item: dict[str, Any], key: str, tags: list[dict[str, str]]) -> None:
    fresh = {tag["Key"] for tag in tags}
    item[key] = [*(tag for tag in item[key] if tag["Key"] not in fresh), *tags]
