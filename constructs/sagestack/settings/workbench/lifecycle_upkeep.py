"""What goes on beside people's work: identity in git, file systems, metrics, backups, a notebook that runs at the start."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from sagestack.settings.base import Settings
from sagestack.settings.errors import Allowed, Misfit
from sagestack.settings.paths import check_below
from sagestack.settings.workbench.lifecycle_software import EnvironmentName
from sagestack.settings.workbench.notebook import SecretArn

_USER_HOME = "/home/ec2-user/"


def _mountable(path: str) -> str:
    if not re.fullmatch(r"/[\w.-]+(/[\w.-]+)+", path) or ".." in path.split("/"):
        raise ValueError(f"{path!r} does not fit (allowed: an absolute path without a slash at its end)")
    if path.startswith(_USER_HOME + "SageMaker/.sagestack"):
        raise ValueError(f"{path!r} does not fit: logs and statuses are there")
    # Anywhere else what people need would be hidden: their keys, the system, conda.
    if not path.startswith((_USER_HOME + "SageMaker/", "/mnt/")):
        raise ValueError(f"{path!r} does not fit (allowed: below {_USER_HOME}SageMaker or /mnt)")
    return path


MountPath = Annotated[str, AfterValidator(_mountable), Allowed("an absolute path like /home/ec2-user/SageMaker/shared")]
SecurityGroupId = Annotated[str, Field(pattern=r"^sg-[0-9a-f]{8,17}$"), Allowed("like sg-0123456789abcdef0")]
VolumePath = Annotated[
    str,
    Field(pattern=r"^[\w./ @+-]+$"),
    AfterValidator(check_below),
    Allowed("a path on the volume, from its root (/home/ec2-user/SageMaker)"),
]


class Git(Settings):
    """Whose name commits have, and what opens private repositories."""

    user_name: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,100}$"), Allowed("a name, up to 100 characters")]
    user_email: Annotated[str, Field(pattern=r"^[^\s@'\"]+@[^\s@'\"]+$"), Allowed("an e-mail address")]
    secret_arn: Annotated[SecretArn | None, Allowed("the ARN of a secret with username and password, or null")] = None
    """Of a secret whose text is JSON with `username` and `password` (a token); it is read whenever git asks."""
    hosts: Annotated[
        list[Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?$")]],
        Field(max_length=20),
        Allowed("hosts that the secret is for, like github.com"),
    ] = []
    """Nobody else gets the password: any repository that is cloned could ask for it."""

    @model_validator(mode="after")
    def _a_secret_has_hosts(self) -> Git:
        if (self.secret_arn is None) != (not self.hosts):
            raise Misfit(
                (("hosts",), "hosts and secret_arn go together: the password is given to these hosts, and to no other")
            )
        return self


class EfsMount(Settings):
    """A file system of EFS, encrypted on its way where the instance has amazon-efs-utils."""

    kind: Literal["efs"]
    file_system_id: Annotated[str, Field(pattern=r"^fs-[0-9a-f]{8,17}$"), Allowed("like fs-0123456789abcdef0")]
    path: MountPath
    security_group_id: Annotated[SecurityGroupId | None, Allowed("the file system's security group, or null")] = None
    access_point_id: Annotated[
        str | None, Field(pattern=r"^fsap-[0-9a-f]{8,17}$"), Allowed("like fsap-0123456789abcdef0, or null")
    ] = None
    iam: Annotated[bool, Allowed("true or false")] = False
    """Whether the file system asks who mounts it: then the instance's role may, and nothing is mounted unencrypted."""


class FsxLustreMount(Settings):
    """A file system of FSx for Lustre."""

    kind: Literal["fsx-lustre"]
    file_system_id: Annotated[str, Field(pattern=r"^fs-[0-9a-f]{8,17}$"), Allowed("like fs-0123456789abcdef0")]
    mount_name: Annotated[str, Field(pattern=r"^[a-z0-9]{1,8}$"), Allowed("as FSx says it, like fsx or 5dvqbbev")] = (
        "fsx"
    )
    path: MountPath
    security_group_id: Annotated[
        SecurityGroupId, Allowed("the file system's security group, like sg-0123456789abcdef0")
    ]
    """Always: Lustre's servers call their clients back, so the instances must let in whom they do not know otherwise."""


class FsxOntapMount(Settings):
    """A volume of FSx for NetApp ONTAP, by NFS."""

    kind: Literal["fsx-ontap"]
    file_system_id: Annotated[str, Field(pattern=r"^fs-[0-9a-f]{8,17}$"), Allowed("like fs-0123456789abcdef0")]
    storage_virtual_machine_id: Annotated[
        str, Field(pattern=r"^svm-[0-9a-f]{8,17}$"), Allowed("like svm-0123456789abcdef0")
    ]
    junction_path: Annotated[str, Field(pattern=r"^(/[\w.-]+)+$"), Allowed("of the volume, like /vol1")] = "/vol1"
    path: MountPath
    security_group_id: Annotated[SecurityGroupId | None, Allowed("the file system's security group, or null")] = None


class FsxOpenZfsMount(Settings):
    """A volume of FSx for OpenZFS, by NFS."""

    kind: Literal["fsx-openzfs"]
    file_system_id: Annotated[str, Field(pattern=r"^fs-[0-9a-f]{8,17}$"), Allowed("like fs-0123456789abcdef0")]
    volume_path: Annotated[
        str, Field(pattern=r"^/fsx(/[\w.-]+)*$"), Allowed("of the volume, like /fsx or /fsx/data")
    ] = "/fsx"
    path: MountPath
    security_group_id: Annotated[SecurityGroupId | None, Allowed("the file system's security group, or null")] = None


Mount = Annotated[EfsMount | FsxLustreMount | FsxOntapMount | FsxOpenZfsMount, Field(discriminator="kind")]


class Metrics(Settings):
    """What the instance uses, in CloudWatch."""

    interval_in_seconds: Annotated[int, Field(ge=10, le=3600), Allowed("a whole number of seconds, 10 to 3600")] = 60


class Backup(Settings):
    """What is on the volume, in the bucket of artefacts."""

    schedule_hours: Annotated[int, Field(ge=1, le=168), Allowed("a whole number of hours, 1 to 168")] = 24
    restore: Annotated[Literal["never", "when-empty"], Allowed("never or when-empty")] = "when-empty"
    exclude: Annotated[
        list[Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,200}$")]],
        Field(max_length=50),
        Allowed("up to 50 patterns of paths, like '*.parquet' or 'data/*'"),
    ] = []
    """Of a path, of a folder above it or of one of their names."""
    keep: Annotated[int, Field(ge=1, le=90), Allowed("how many backups are kept, 1 to 90")] = 7


class RunNotebook(Settings):
    """A notebook that is run to its end at each start."""

    path: Annotated[VolumePath, Field(pattern=r"\.ipynb$"), Allowed("the path of a notebook on the volume")]
    kernel: Annotated[EnvironmentName, Allowed("the name of a conda environment, like python3")] = "python3"
