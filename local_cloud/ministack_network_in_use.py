"""What is in use in a network cannot be deleted, as on AWS: MiniStack's EC2 refuses only VPCs, not subnets and security groups.

Without it a stack whose domain leaves a file system, interfaces and groups behind would be deleted here, and fail on AWS. Beside
`ministack_seams` a module that knows MiniStack; the same test holds every name of it that is used here.
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteSubnet.html, API_DeleteSecurityGroup.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ministack.services import ec2, efs
from ministack.services.cloudformation import provisioners

SUBNET, GROUP = "AWS::EC2::Subnet", "AWS::EC2::SecurityGroup"
Users = Callable[[str], Iterator[str]]


def install() -> None:
    """Refuse what is in use, in the API and in stacks."""
    for action, member, noun, users in (
        ("DeleteSubnet", "SubnetId", "subnet", users_of_subnet),
        ("DeleteSecurityGroup", "GroupId", "resource", users_of_group),
    ):
        ec2._ACTION_MAP[action] = _refusing(ec2._ACTION_MAP[action], member, noun, users)
    for kind, noun, users in ((SUBNET, "subnet", users_of_subnet), (GROUP, "resource", users_of_group)):
        handler = provisioners._RESOURCE_HANDLERS[kind]
        handler["delete"] = _refusing_stack(handler["delete"], noun, users)


def users_of_subnet(subnet_id: str) -> Iterator[str]:
    """What has an address in a subnet: interfaces, and mount targets of file systems, which MiniStack gives no interface."""
    for interface_id, interface in ec2._network_interfaces.items():
        if interface.get("SubnetId") == subnet_id:
            yield interface_id
    for target_id, target in efs._mount_targets.items():
        if target.get("SubnetId") == subnet_id:
            yield target_id


def users_of_group(group_id: str) -> Iterator[str]:
    """Who is in a security group, and which other groups name it in their rules."""
    for interface_id, interface in ec2._network_interfaces.items():
        if any(group.get("GroupId") == group_id for group in interface.get("Groups", ())):
            yield interface_id
    for target_id, target in efs._mount_targets.items():
        if group_id in target.get("SecurityGroups", ()):
            yield target_id
    for other_id, other in ec2._security_groups.items():
        rules = [*other.get("IpPermissions", ()), *other.get("IpPermissionsEgress", ())]
        peers = {pair.get("GroupId") for rule in rules for pair in rule.get("UserIdGroupPairs", ())}
        if other_id != group_id and group_id in peers:
            yield other_id


def _refusing(original: Callable[[Mapping[str, Any]], Any], member: str, noun: str, users: Users) -> Any:
    def delete(params: Mapping[str, Any]) -> Any:
        name = str(ec2._p(params, member))
        if next(users(name), None) is not None:
            return ec2._error("DependencyViolation", _words(noun, name), 400)
        return original(params)

    return delete


def _refusing_stack(original: Callable[[str, Any], None], noun: str, users: Users) -> Callable[[str, Any], None]:
    def delete(physical_id: str, properties: Any) -> None:
        user = next(users(physical_id), None)
        if user is not None:
            raise ValueError(
                f"{_words(noun, physical_id)} (Service: Ec2, Status Code: 400, Error Code: DependencyViolation; in use by {user})"
            )
        original(physical_id, properties)

    return delete


def _words(noun: str, name: str) -> str:
    """EC2's own sentence."""
    if noun == "subnet":
        return f"The subnet '{name}' has dependencies and cannot be deleted."
    return f"resource {name} has a dependent object"
