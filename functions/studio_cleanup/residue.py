"""What a domain leaves in the account: its file system, the security groups between that and the apps, network interfaces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from .names import KEPT, MANAGED_BY, MARK
from .problems import in_words, is_gone

_Item = Mapping[str, Any]


@dataclass(frozen=True)
class Clients:
    """What is talked to."""

    sagemaker: Any
    efs: Any
    ec2: Any
    cloudformation: Any


def tags_of(item: _Item) -> dict[str, str]:
    """Of anything that EFS or EC2 describes; network interfaces spell it in their own way."""
    return {tag["Key"]: tag["Value"] for tag in item.get("Tags") or item.get("TagSet") or []}


class Residue:
    """What carries SageMaker's tag with the ARN of one domain, in one network.

    A name alone is no proof: `security-group-for-inbound-nfs-d-...` can be anybody's.
    """

    def __init__(self, clients: Clients, *, domain_arn: str, vpc_id: str, mark: str) -> None:
        """Takes what to look for.

        Args:
            clients: of the services.
            domain_arn: whose it must be.
            vpc_id: where security groups and network interfaces are.
            mark: the value of our own tag.
        """
        self._clients, self._domain_arn, self._vpc_id, self._mark = clients, domain_arn, vpc_id, mark

    def mark(self) -> None:
        """Puts our tag on everything, while the domain is there to say what is its own.

        Raises:
            ClientError: a service refused.
        """
        for system in self._file_systems():
            if tags_of(system).get(MARK) != self._mark:
                self._clients.efs.tag_resource(
                    ResourceId=system["FileSystemId"], Tags=[{"Key": MARK, "Value": self._mark}]
                )
        in_ec2 = [
            *((group["GroupId"], group) for group in self._groups()),
            *((each["NetworkInterfaceId"], each) for each in self._interfaces() if self._is_of_domain(each)),
        ]
        unmarked = [id_ for id_, item in in_ec2 if tags_of(item).get(MARK) != self._mark]
        if unmarked:
            self._clients.ec2.create_tags(Resources=unmarked, Tags=[{"Key": MARK, "Value": self._mark}])

    def remove(self, *, keep_home_directories: bool) -> list[str]:
        """Deletes what can be deleted now. Call it until nothing is left.

        A file system that is kept loses its mount targets: they are in the subnets, which could not be deleted, and a file
        system gets new ones in no time.

        Returns:
            What is still there, in words, each with what the service last said of it; empty when it is done.

        Raises:
            ClientError: a service refused to look.
        """
        left = [line for system in self._file_systems() for line in self._remove_system(system, keep_home_directories)]
        left += self._remove_interfaces()
        # A group that an interface has cannot go: no use in asking.
        return left or self._remove_groups()

    def _remove_system(self, system: _Item, keep: bool) -> Iterator[str]:
        efs, name = self._clients.efs, system["FileSystemId"]
        try:
            targets = efs.describe_mount_targets(FileSystemId=name)["MountTargets"]
        except ClientError as error:
            if is_gone(error):
                return
            raise
        for target in targets:
            said = None
            if target.get("LifeCycleState") not in ("deleting", "deleted"):
                said = _try(efs.delete_mount_target, MountTargetId=target["MountTargetId"])
            yield _line(f"mount target {target['MountTargetId']} of file system {name}", said)
        if targets:
            return
        if keep:
            self._let_go(system)
            return
        state = system.get("LifeCycleState")
        said = None if state in ("deleting", "deleted") else _try(efs.delete_file_system, FileSystemId=name)
        if state != "deleted":
            yield _line(f"file system {name} (home directories)", said)

    def _let_go(self, system: _Item) -> None:
        """What is kept is no longer ours: a later domain of this stack, removed with its files, must not take these along."""
        if tags_of(system).get(MARK) == self._mark:
            self._clients.efs.tag_resource(ResourceId=system["FileSystemId"], Tags=[{"Key": MARK, "Value": KEPT}])

    def _remove_interfaces(self) -> list[str]:
        left = []
        for interface in self._interfaces():
            name, status = interface["NetworkInterfaceId"], interface["Status"]
            # In use means that SageMaker or EFS has not let go of it yet, which they do by themselves.
            said = None
            if status == "available" and self._is_of_domain(interface):
                said = _try(self._clients.ec2.delete_network_interface, NetworkInterfaceId=name)
            left.append(_line(f"network interface {name} ({status})", said))
        return left

    def _remove_groups(self) -> list[str]:
        ec2, groups = self._clients.ec2, self._groups()
        # Each lets the other in or out: while a rule names it, a group cannot be deleted.
        refused = {group["GroupId"]: said for group in groups if (said := self._revoke(group))}
        left = []
        for group in groups:
            name = group["GroupId"]
            said = refused.get(name) or _try(ec2.delete_security_group, GroupId=name)
            if said:
                left.append(_line(f"security group {name} ({group['GroupName']})", said))
        return left

    def _revoke(self, group: _Item) -> str | None:
        ec2 = self._clients.ec2
        for revoke, rules in (
            (ec2.revoke_security_group_ingress, group.get("IpPermissions")),
            (ec2.revoke_security_group_egress, group.get("IpPermissionsEgress")),
        ):
            said = _try(revoke, GroupId=group["GroupId"], IpPermissions=rules) if rules else None
            if said:
                return said
        return None

    def _file_systems(self) -> list[_Item]:
        pages = self._clients.efs.get_paginator("describe_file_systems").paginate()
        return [each for page in pages for each in page["FileSystems"] if self._is_of_domain(each)]

    def _groups(self) -> Sequence[_Item]:
        pages = self._clients.ec2.get_paginator("describe_security_groups").paginate(Filters=self._in_network())
        return [each for page in pages for each in page["SecurityGroups"] if self._is_of_domain(each)]

    def _interfaces(self) -> Sequence[_Item]:
        pages = self._clients.ec2.get_paginator("describe_network_interfaces").paginate(Filters=self._in_network())
        groups = {group["GroupId"] for group in self._groups()}
        return [
            each
            for page in pages
            for each in page["NetworkInterfaces"]
            # What has a group of the domain is waited for, whoever made it; what has the domain's tag is deleted.
            if self._is_of_domain(each) or groups & {group["GroupId"] for group in each.get("Groups", [])}
        ]

    def _in_network(self) -> list[dict[str, Any]]:
        return [{"Name": "vpc-id", "Values": [self._vpc_id]}]

    def _is_of_domain(self, item: _Item) -> bool:
        return tags_of(item).get(MANAGED_BY) == self._domain_arn


def marked_domains(clients: Clients, *, vpc_id: str, mark: str) -> set[str]:
    """The ARNs of the domains of which something carries our tag."""
    in_network = [{"Name": "vpc-id", "Values": [vpc_id]}]
    systems = clients.efs.get_paginator("describe_file_systems").paginate()
    groups = clients.ec2.get_paginator("describe_security_groups").paginate(Filters=in_network)
    found = [
        *(tags_of(each) for page in systems for each in page["FileSystems"]),
        *(tags_of(each) for page in groups for each in page["SecurityGroups"]),
    ]
    return {tags[MANAGED_BY] for tags in found if tags.get(MARK) == mark and MANAGED_BY in tags}


def _try(call: Callable[..., object], **request: Any) -> str | None:
    try:
        call(**request)
    except ClientError as error:
        return None if is_gone(error) else in_words(error)
    return None


def _line(what: str, said: str | None) -> str:
    return f"{what}: {said}" if said else what
