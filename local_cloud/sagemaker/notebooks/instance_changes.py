"""What UpdateNotebookInstance changes of an instance, and what no update can."""

from __future__ import annotations

from typing import Any

from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.service import Request
from local_cloud.sagemaker.store import Document

_SET = (
    "InstanceType",
    "RoleArn",
    "VolumeSizeInGB",
    "DefaultCodeRepository",
    "AdditionalCodeRepositories",
    "RootAccess",
    "PlatformIdentifier",
    "IpAddressType",
    "InstanceMetadataServiceConfiguration",
)
_DISASSOCIATED = {
    "DisassociateLifecycleConfig": ("LifecycleConfigName", "NotebookInstanceLifecycleConfigName"),
    "DisassociateDefaultCodeRepository": ("DefaultCodeRepository", "DefaultCodeRepository"),
    "DisassociateAdditionalCodeRepositories": ("AdditionalCodeRepositories", "AdditionalCodeRepositories"),
}
"""What a member of an update takes away: the member that would set it, and the one of the description."""


def check(current: Document, request: Request) -> None:
    """Check an update against itself and against what is there.

    Raises:
        ValidationError: it sets and takes away the same, or makes the volume smaller.
    """
    for member, (sets, _) in _DISASSOCIATED.items():
        if request.get(member) and request.get(sets):
            raise ValidationError(f"{member} and {sets} contradict each other: give one of them.")
    wanted = request.get("VolumeSizeInGB")
    if wanted is not None and wanted < current["VolumeSizeInGB"]:
        raise ValidationError(
            f"VolumeSizeInGB {wanted}: the volume has {current['VolumeSizeInGB']} GB and cannot be made smaller. Create a new "
            "notebook instance with the desired size."
        )


def changed(current: Document, request: Request) -> dict[str, Any]:
    """The document of an instance as it is after an update."""
    members: dict[str, Any] = {member: request[member] for member in _SET if request.get(member) is not None}
    if request.get("LifecycleConfigName"):
        members["NotebookInstanceLifecycleConfigName"] = request["LifecycleConfigName"]
    members |= {gone: None for member, (_, gone) in _DISASSOCIATED.items() if request.get(member)}
    return {**current, **members}
