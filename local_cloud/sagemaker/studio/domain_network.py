"""What a domain has in its owner's network: a file system with the home directories, two security groups, interfaces of apps.

All of it is found by its tag or name, never only remembered: a creation that was killed half way is finished, not repeated.
As on AWS, deleting a domain deletes the file system and its mount targets where the caller says so, and never the security
groups, whose rules name each other: that is why a VPC cannot be deleted after a domain until somebody removes them.
https://docs.aws.amazon.com/sagemaker/latest/dg/gs-studio-delete-domain.html
"""

from __future__ import annotations

from typing import Any

import tenacity
from botocore.exceptions import ClientError

from local_cloud.platform import Caller
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.service import Sagemaker
from local_cloud.sagemaker.store import Document
from local_cloud.sagemaker.studio.entities import Failed

TAG = "ManagedByAmazonSageMakerResource"
"""The tag that everything that SageMaker makes for a domain carries; its value is the domain's ARN."""
NFS_PORTS = ((988, 988), (1018, 1023), (2049, 2049))
"""The ports of the rules between the two groups: FSx for Lustre's, and NFS."""
DELETED_WITHIN_S = 60.0
"""How long a mount target may take to be gone, in seconds."""


def check(service: Sagemaker, caller: Caller, vpc_id: str, subnet_ids: list[str]) -> None:
    """Check that the network of a domain is there.

    Raises:
        ValidationError: the VPC or a subnet is not, or a subnet is of another VPC.
    """
    ec2 = service.platform.client("ec2", caller.region)
    try:
        ec2.describe_vpcs(VpcIds=[vpc_id])
        subnets = ec2.describe_subnets(SubnetIds=subnet_ids)["Subnets"]
    except ClientError as error:
        raise ValidationError(error.response["Error"]["Message"]) from None
    for subnet in subnets:
        if subnet["VpcId"] != vpc_id:
            raise ValidationError(
                f"The subnet {subnet['SubnetId']} is not in the VPC {vpc_id}, but in {subnet['VpcId']}."
            )


def ensure(service: Sagemaker, caller: Caller, domain: Document) -> dict[str, Any]:
    """Make what a domain needs in its network and has not yet; mount targets in subnets that it left go.

    Returns:
        The members of the domain that tell of it.

    Raises:
        Failed: something cannot be made; the message is the FailureReason.
    """
    inbound, _ = _ensure_groups(service, caller, domain)
    if domain["HomeEfsFileSystemCreation"] == "Disabled":
        return {}
    _check_key(service, caller, domain)
    efs = service.platform.client("efs", caller.region)
    # By its token, the file system is made once.
    made = efs.create_file_system(
        CreationToken=domain["DomainId"],
        Encrypted=True,
        **({"KmsKeyId": domain["KmsKeyId"]} if domain.get("KmsKeyId") else {}),
        Tags=[{"Key": TAG, "Value": domain["DomainArn"]}],
    )
    file_system = made["FileSystemId"]
    _ensure_mount_targets(service, caller, file_system, domain["SubnetIds"], inbound)
    return {"HomeEfsFileSystemId": file_system}


def delete_home(service: Sagemaker, caller: Caller, domain: Document) -> None:
    """Delete the file system of a domain with its mount targets; gone already is fine."""
    efs = service.platform.client("efs", caller.region)
    file_system = domain.get("HomeEfsFileSystemId")
    if file_system is None:
        return
    try:
        for target in efs.describe_mount_targets(FileSystemId=file_system)["MountTargets"]:
            efs.delete_mount_target(MountTargetId=target["MountTargetId"])
        _await_no_mount_target(efs, file_system)
        efs.delete_file_system(FileSystemId=file_system)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("FileSystemNotFound", "MountTargetNotFound"):
            raise


def attach_app(service: Sagemaker, caller: Caller, domain: Document, groups: list[str]) -> str:
    """The network interface of an app in the domain's first subnet: what keeps a subnet from being deleted while it runs.

    Returns:
        Its id.
    """
    _, outbound = _ensure_groups(service, caller, domain)
    made = service.platform.client("ec2", caller.region).create_network_interface(
        SubnetId=domain["SubnetIds"][0],
        Groups=[*groups, outbound],
        Description=f"[DO NOT DELETE] ENI managed by SageMaker for Studio Domain({domain['DomainId']})",
    )
    return str(made["NetworkInterface"]["NetworkInterfaceId"])


def detach_app(service: Sagemaker, caller: Caller, interface: str | None) -> None:
    """Delete the interface of an app; gone already is fine."""
    if interface is None:
        return
    try:
        service.platform.client("ec2", caller.region).delete_network_interface(NetworkInterfaceId=interface)
    except ClientError as error:
        if "NotFound" not in error.response["Error"]["Code"]:
            raise


def _ensure_groups(service: Sagemaker, caller: Caller, domain: Document) -> tuple[str, str]:
    """The groups for NFS into the file system and out of apps; each names the other in its rules."""
    ec2 = service.platform.client("ec2", caller.region)
    ids = {}
    for direction in ("inbound", "outbound"):
        name = f"security-group-for-{direction}-nfs-{domain['DomainId']}"
        filters = [{"Name": "vpc-id", "Values": [domain["VpcId"]]}, {"Name": "group-name", "Values": [name]}]
        found = ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
        ids[direction] = (
            found[0]["GroupId"]
            if found
            else ec2.create_security_group(
                GroupName=name,
                Description=(
                    f"[DO NOT DELETE] Security Group that allows {direction} NFS traffic for SageMaker Notebooks Domain "
                    f"[{domain['DomainId']}]"
                ),
                VpcId=domain["VpcId"],
                TagSpecifications=[
                    {"ResourceType": "security-group", "Tags": [{"Key": TAG, "Value": domain["DomainArn"]}]}
                ],
            )["GroupId"]
        )
    inbound, outbound = ids["inbound"], ids["outbound"]
    _ensure_rules(ec2, caller.account, inbound, outbound)
    return inbound, outbound


def _ensure_rules(ec2: Any, account: str, inbound: str, outbound: str) -> None:
    """Only NFS between the two: the rule to everywhere, with which a group begins, goes."""
    groups = ec2.describe_security_groups(GroupIds=[inbound, outbound])["SecurityGroups"]
    by_id = {group["GroupId"]: group for group in groups}
    for group_id in (inbound, outbound):
        everywhere = [rule for rule in by_id[group_id]["IpPermissionsEgress"] if rule["IpProtocol"] == "-1"]
        if everywhere:
            ec2.revoke_security_group_egress(GroupId=group_id, IpPermissions=everywhere)
    if not by_id[inbound]["IpPermissions"]:
        ec2.authorize_security_group_ingress(GroupId=inbound, IpPermissions=_rules(account, outbound))
    if not [rule for rule in by_id[outbound]["IpPermissionsEgress"] if rule["IpProtocol"] != "-1"]:
        ec2.authorize_security_group_egress(GroupId=outbound, IpPermissions=_rules(account, inbound))


def _rules(account: str, peer: str) -> list[dict[str, Any]]:
    # With the account, as EC2 describes them: who revokes what was described must find it.
    pairs = [{"GroupId": peer, "UserId": account}]
    return [
        {"IpProtocol": "tcp", "FromPort": first, "ToPort": last, "UserIdGroupPairs": pairs} for first, last in NFS_PORTS
    ]


def _check_key(service: Sagemaker, caller: Caller, domain: Document) -> None:
    if not domain.get("KmsKeyId"):
        return
    try:
        key = service.platform.client("kms", caller.region).describe_key(KeyId=domain["KmsKeyId"])["KeyMetadata"]
    except ClientError as error:
        raise Failed(f"KMS key {domain['KmsKeyId']}: {error.response['Error']['Message']}") from None
    if key.get("KeyState", "Enabled") != "Enabled":
        raise Failed(f"KMS key {domain['KmsKeyId']} is {key['KeyState']}; the home file system needs an enabled key.")


def _ensure_mount_targets(
    service: Sagemaker, caller: Caller, file_system: str, subnet_ids: list[str], inbound: str
) -> None:
    efs, ec2 = (service.platform.client(name, caller.region) for name in ("efs", "ec2"))
    for target in efs.describe_mount_targets(FileSystemId=file_system)["MountTargets"]:
        if target["SubnetId"] not in subnet_ids:
            efs.delete_mount_target(MountTargetId=target["MountTargetId"])
    targets = efs.describe_mount_targets(FileSystemId=file_system)["MountTargets"]
    # A file system has one mount target in each Availability Zone (CreateMountTarget).
    zones = {target["AvailabilityZoneId"] for target in targets}
    for subnet in ec2.describe_subnets(SubnetIds=subnet_ids)["Subnets"]:
        if subnet["AvailabilityZoneId"] not in zones:
            efs.create_mount_target(FileSystemId=file_system, SubnetId=subnet["SubnetId"], SecurityGroups=[inbound])
            zones.add(subnet["AvailabilityZoneId"])


@tenacity.retry(
    retry=tenacity.retry_if_result(bool),
    wait=tenacity.wait_fixed(0.1),
    stop=tenacity.stop_after_delay(DELETED_WITHIN_S),
    reraise=True,
)
def _await_no_mount_target(efs: Any, file_system: str) -> bool:
    return bool(efs.describe_mount_targets(FileSystemId=file_system)["MountTargets"])
