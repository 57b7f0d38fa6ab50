"""What requests for a domain are checked for, and what a domain becomes by an update."""

from __future__ import annotations

from typing import Any

from local_cloud.platform import Caller
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.request_checks import refuse
from local_cloud.sagemaker.service import Request, Sagemaker
from local_cloud.sagemaker.store import Document
from local_cloud.sagemaker.studio import domain_network, settings

_REPLACED = (
    "AppNetworkAccessType",
    "TagPropagation",
    "SubnetIds",
    "HomeEfsFileSystemCreation",
    "AppSecurityGroupManagement",
)
_IDENTITY = "ExecutionRoleIdentityConfig"


def updated(domain: Document, request: Request) -> Document:
    """A domain as an update wants it."""
    result = dict(domain)
    for member in ("DefaultUserSettings", "DefaultSpaceSettings"):
        if request.get(member) is not None:
            result[member] = settings.merged(domain.get(member) or {}, request[member])
    if request.get("DomainSettingsForUpdate"):
        result["DomainSettings"] = settings.merged(
            domain.get("DomainSettings") or {}, request["DomainSettingsForUpdate"]
        )
    result.update({member: request[member] for member in _REPLACED if request.get(member) is not None})
    return result


def refuse_missing(request: Request) -> None:
    """Refuse by name the kinds of domains that are not here.

    Raises:
        NotEmulated: it is one.
    """
    if request["AuthMode"] == "SSO":
        refuse(
            "IAM Identity Center, so no domain with AuthMode SSO: there are no users that could sign in. "
            "Give AuthMode IAM for the local cloud"
        )
    if not request.get("VpcId") or not request.get("SubnetIds"):
        refuse("domains of SageMaker Unified Studio, which have no network of their own; give VpcId and SubnetIds")
    refuse_settings(request.get("DomainSettings") or {}, "DomainSettings")


def refuse_settings(given: dict[str, Any], path: str) -> None:
    """Refuse by name the domain's own settings whose effect would be missing.

    Raises:
        NotEmulated: one is given.
    """
    for member in ("RStudioServerProDomainSettings", "RStudioServerProDomainSettingsForUpdate"):
        if given.get(member):
            refuse(f"RStudio on SageMaker ({path}.{member})")
    if given.get("UnifiedStudioSettings"):
        refuse(f"SageMaker Unified Studio ({path}.UnifiedStudioSettings)")
    for member, what in (
        ("TrustedIdentityPropagationSettings", "trusted identity propagation"),
        ("AmazonQSettings", "Amazon Q"),
    ):
        if (given.get(member) or {}).get("Status") == "ENABLED":
            refuse(f"{what} ({path}.{member})")
    if given.get("IpAddressType") == "dualstack":
        refuse(f"IPv6 in domains ({path}.IpAddressType)")


def check_settings(service: Sagemaker, caller: Caller, request: Request, vpc_id: str) -> None:
    """Check the settings of users and of spaces that a request has.

    Raises:
        ApiError: they are wrong, name what is not there, or ask for what the local cloud does not have.
    """
    for member in ("DefaultUserSettings", "DefaultSpaceSettings"):
        if request.get(member):
            settings.check(service, caller, request[member], member, vpc_id=vpc_id, of_domain=True)


def check_network(service: Sagemaker, caller: Caller, domain: Document) -> None:
    """Check the network of a domain as it is wanted.

    Raises:
        ValidationError: a part of it is not there, or a security group is missing.
    """
    domain_network.check(service, caller, domain["VpcId"], domain["SubnetIds"])
    if domain["AppNetworkAccessType"] == "VpcOnly" and not domain["DefaultUserSettings"].get("SecurityGroups"):
        raise ValidationError("DefaultUserSettings.SecurityGroups is required where AppNetworkAccessType is VpcOnly.")


def blocked_by_apps(domain: Document, wanted: Document) -> list[str]:
    """The members that an update changes and that may change only without apps that are InService, Pending or Deleting.

    So UpdateDomain's reference says it of each.

    Raises:
        ValidationError: the home file system would be taken away.
    """
    if domain["HomeEfsFileSystemCreation"] == "Enabled" and wanted["HomeEfsFileSystemCreation"] == "Disabled":
        raise ValidationError("HomeEfsFileSystemCreation can change from Disabled to Enabled, not back.")
    before, after = (each.get("DomainSettings") or {} for each in (domain, wanted))
    changes = {
        "AppNetworkAccessType": wanted["AppNetworkAccessType"] != domain["AppNetworkAccessType"],
        "SubnetIds": not set(domain["SubnetIds"]) <= set(wanted["SubnetIds"]),
        _IDENTITY: after.get(_IDENTITY) != before.get(_IDENTITY),
    }
    return [member for member, changed in changes.items() if changed]
