"""File systems of EFS and FSx, mounted at each start, and the rules by which instance and file system reach each other."""

from __future__ import annotations

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam

from constructs import Construct
from sagestack.settings.workbench.lifecycle_upkeep import EfsMount, FsxLustreMount, FsxOntapMount, FsxOpenZfsMount
from sagestack.workbench.lifecycle.context import GrantContext, LifecycleContext
from sagestack.workbench.lifecycle.steps import Step, script

AnyMount = EfsMount | FsxLustreMount | FsxOntapMount | FsxOpenZfsMount

_NFS = 2049
# https://docs.aws.amazon.com/fsx/latest/LustreGuide/limit-access-security-groups.html
_LUSTRE = ((988, 988), (1018, 1023))
# https://docs.aws.amazon.com/efs/latest/ug/mounting-fs-nfs-mount-settings.html; people's files are data, never root's programs.
_SAFE = "nosuid,nodev"
_NFS_OPTIONS = f"nfsvers=4.1,rsize=1048576,wsize=1048576,hard,timeo=600,retrans=2,noresvport,{_SAFE}"


def steps(option: Sequence[AnyMount], context: LifecycleContext) -> tuple[Step, ...]:
    """Mounts each by itself, in the background: one that does not answer keeps neither the instance nor another one waiting."""
    return tuple(
        Step(
            f"mount-{number}",
            'exec bash -euo pipefail "$SAGESTACK_PROGRAMS/mount.sh"\n',
            background=True,
            files={"mount.sh": script("mount.sh")},
            variables={"MOUNT_KIND": each.kind, "MOUNT_AT": each.path, **_variables(each, context.region)},
            timeout_s=1800,
        )
        for number, each in enumerate(option, start=1)
    )


def _variables(mount: AnyMount, region: str) -> dict[str, str]:
    file_system = mount.file_system_id
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    fsx = f"{file_system}.fsx.{region}.{domain}"
    if isinstance(mount, EfsMount):
        host = f"{file_system}.efs.{region}.{domain}"
        access = [f"accesspoint={mount.access_point_id}"] if mount.access_point_id else []
        return {
            **_nfs(host, "/"),
            "MOUNT_EFS": f"{file_system}:/",
            "MOUNT_TLS": ",".join(["tls", *(["iam"] if mount.iam else []), *access, _SAFE]),
            "MOUNT_TLS_ONLY": "yes" if mount.iam or access else "",
        }
    if isinstance(mount, FsxLustreMount):
        # https://docs.aws.amazon.com/fsx/latest/LustreGuide/mounting-ec2-instance.html
        return {
            "MOUNT_FROM": f"{fsx}@tcp:/{mount.mount_name}",
            "MOUNT_HOST": fsx,
            "MOUNT_PORT": "988",
            "MOUNT_OPTIONS": f"relatime,flock,{_SAFE}",
        }
    if isinstance(mount, FsxOntapMount):
        return _nfs(f"{mount.storage_virtual_machine_id}.{fsx}", mount.junction_path)
    return _nfs(fsx, mount.volume_path)


def _nfs(host: str, folder: str) -> dict[str, str]:
    return {
        "MOUNT_FROM": f"{host}:{folder}",
        "MOUNT_HOST": host,
        "MOUNT_PORT": str(_NFS),
        "MOUNT_OPTIONS": _NFS_OPTIONS,
    }


def grant(option: Sequence[AnyMount], role: iam.IRole, context: GrantContext) -> None:
    """Mounting and writing, for a file system that asks who mounts it; the others ask security groups only."""
    for mount in option:
        if isinstance(mount, EfsMount) and mount.iam:
            stack = cdk.Stack.of(role)
            point = mount.access_point_id
            role.add_to_principal_policy(
                iam.PolicyStatement(
                    actions=["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"],
                    resources=[
                        stack.format_arn(
                            service="elasticfilesystem", resource="file-system", resource_name=mount.file_system_id
                        )
                    ],
                    conditions={
                        "StringEquals": {
                            "elasticfilesystem:AccessPointArn": stack.format_arn(
                                service="elasticfilesystem", resource="access-point", resource_name=point
                            )
                        }
                    }
                    if point
                    else None,
                )
            )


def connect(scope: Construct, mounts: Sequence[AnyMount], notebooks: ec2.ISecurityGroup) -> None:
    """Lets notebooks and their file systems reach each other, on the ports of each kind and no others.

    A file system whose security group is not named must let the notebooks' security group in by rules of its own; out they may
    go to its port at any address, for nobody knows which one it has.

    Args:
        scope: what the rules belong to.
        mounts: of all lifecycle configs that instances with this security group use: call it once for them.
        notebooks: the security group of the instances.
    """
    groups = {mount.security_group_id for mount in mounts if mount.security_group_id is not None}
    if any(mount.security_group_id is None for mount in mounts):
        notebooks.connections.allow_to_any_ipv4(ec2.Port.tcp(_NFS), "NFS to file systems with rules of their own")
    for group_id in sorted(groups):
        group = ec2.SecurityGroup.from_security_group_id(
            scope, f"FileSystem{group_id}", group_id, allow_all_outbound=False
        )
        kinds = {isinstance(mount, FsxLustreMount) for mount in mounts if mount.security_group_id == group_id}
        if False in kinds:
            group.connections.allow_from(notebooks, ec2.Port.tcp(_NFS), "NFS from notebooks")
        for first, last in _LUSTRE if True in kinds else ():
            port = ec2.Port.tcp_range(first, last)
            group.connections.allow_from(notebooks, port, "Lustre from notebooks")
            # Lustre's servers call back.
            group.connections.allow_to(notebooks, port, "Lustre to notebooks")
