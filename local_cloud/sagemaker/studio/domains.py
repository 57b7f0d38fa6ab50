"""Studio's domains: Create, Describe, List, Update, Delete."""

from __future__ import annotations

import secrets
import string
from typing import Any

from local_cloud.platform import Caller
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.request_checks import refuse
from local_cloud.sagemaker.service import Request, Response, Sagemaker, operation, page
from local_cloud.sagemaker.store import Document
from local_cloud.sagemaker.studio import domain_network, kinds, settings
from local_cloud.sagemaker.studio.entities import Entity, Motion

SECONDS = 60.0
FIRST_UID = 200_000
"""The user ids of home directories on the file system begin after it."""
_SUMMARY = ("DomainArn", "DomainId", "DomainName", "Status", "CreationTime", "LastModifiedTime", "Url")
_ID_LETTERS = string.ascii_lowercase + string.digits
_DEFAULTS = {
    "AppNetworkAccessType": "PublicInternetOnly",
    "HomeEfsFileSystemCreation": "Enabled",
    "TagPropagation": "DISABLED",
}
_REPLACED = (
    "AppNetworkAccessType",
    "TagPropagation",
    "SubnetIds",
    "HomeEfsFileSystemCreation",
    "AppSecurityGroupManagement",
)


def _delete(service: Sagemaker, caller: Caller, domain: Document) -> None:
    """The file system goes where the caller said so; the security groups stay, as on AWS."""
    if domain.get("Retention") == "Delete":
        domain_network.delete_home(service, caller, domain)


DOMAIN = Entity(
    kinds.DOMAIN,
    "Domain",
    {
        "Pending": Motion("InService", "Failed", SECONDS, domain_network.ensure),
        "Updating": Motion("InService", "Update_Failed", SECONDS, domain_network.ensure),
        "Deleting": Motion(None, "Delete_Failed", SECONDS, _delete),
    },
    hidden=frozenset({"Retention", "LastUid"}),
)


@operation("CreateDomain")
def create_domain(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """CreateDomain: Pending while its file system and its security groups are made."""
    _refuse_missing(request)
    _check(service, caller, request, request["VpcId"])
    if not request["DefaultUserSettings"].get("ExecutionRole"):
        raise ValidationError("DefaultUserSettings.ExecutionRole is required.")
    _check_network(service, caller, {**_DEFAULTS, **request})
    domain_id = "d-" + "".join(secrets.choice(_ID_LETTERS) for _ in range(12))
    document: Document = {
        **_DEFAULTS,
        **{member: value for member, value in request.items() if member not in ("Tags", "HomeEfsFileSystemKmsKeyId")},
        "DomainId": domain_id,
        "Url": f"https://{domain_id}.studio.{caller.region}.sagemaker.aws",
        "Status": "Pending",
        "LastUid": FIRST_UID,
    }
    if key := request.get("KmsKeyId") or request.get("HomeEfsFileSystemKmsKeyId"):
        # The older name of the same thing; DescribeDomain tells both.
        document["KmsKeyId"] = document["HomeEfsFileSystemKmsKeyId"] = key
    created = DOMAIN.insert(service, caller, domain_id, document, request.get("Tags"))
    return {member: created[member] for member in ("DomainArn", "DomainId", "Url")}


@operation("DescribeDomain")
def describe_domain(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DescribeDomain."""
    return DOMAIN.described(DOMAIN.find(service, caller, request["DomainId"]))


@operation("ListDomains")
def list_domains(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """ListDomains."""
    found = kinds.listed(DOMAIN.all(service, caller), {})
    return page([{member: domain[member] for member in _SUMMARY} for domain in found], request, "Domains")


@operation("UpdateDomain")
def update_domain(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """UpdateDomain: settings are merged member by member; the network changes only while no app stands in the way."""
    if request.get("VpcId"):
        refuse("domains of SageMaker Unified Studio, which get their VPC later (VpcId)")
    domain = DOMAIN.find(service, caller, request["DomainId"])
    _refuse_domain_settings(request.get("DomainSettingsForUpdate") or {}, "DomainSettingsForUpdate")
    _check(service, caller, request, domain["VpcId"])
    _check_network(service, caller, _updated(domain, request))

    def change(document: Document) -> None:
        DOMAIN.refuse_in_motion(document, "update")
        if document["Status"] == "Failed":
            raise ValidationError(
                f"Domain [{document['DomainArn']}] is in status Failed; it can only be deleted: {document['FailureReason']}"
            )
        _refuse_while_apps_live(service, caller, document, request)
        document.update(_updated(document, request))
        for member in ("DefaultUserSettings", "DefaultSpaceSettings"):
            settings.check_fit(document.get(member) or {}, member)

    updated = DOMAIN.change(service, caller, request["DomainId"], change, status="Updating")
    return {"DomainArn": updated["DomainArn"]}


@operation("DeleteDomain")
def delete_domain(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DeleteDomain: refused while it has anything; the file system is retained unless the policy says Delete."""
    retention = (request.get("RetentionPolicy") or {}).get("HomeEfsFileSystem", "Retain")

    def change(document: Document) -> None:
        domain_id = document["DomainId"]
        DOMAIN.refuse_in_motion(document, "delete")
        users = {
            noun: kinds.of_domain(service, caller, kind, domain_id)
            for noun, kind in (("UserProfile", kinds.PROFILE), ("Space", kinds.SPACE))
        }
        kinds.refuse_while(DOMAIN, document, "delete", **users)
        document["Retention"] = retention

    DOMAIN.change(service, caller, request["DomainId"], change, status="Deleting")
    return {}


def in_service(service: Sagemaker, caller: Caller, domain_id: str) -> Document:
    """A domain in which things can be made.

    Raises:
        ResourceNotFound: there is none.
        ValidationError: it is not in service.
    """
    domain = DOMAIN.find(service, caller, domain_id)
    if domain["Status"] not in ("InService", "Updating", "Update_Failed"):
        raise ValidationError(f"Domain [{domain['DomainArn']}] is in status {domain['Status']}, not InService.")
    return domain


def next_uid(service: Sagemaker, caller: Caller, domain_id: str) -> str:
    """The user id of the next home directory of a domain."""

    def count(document: Document) -> None:
        document["LastUid"] += 5

    updated = service.store.update(kinds.DOMAIN, caller.account, caller.region, domain_id, count)
    assert updated is not None, "looked up in the same transaction"
    return str(updated["LastUid"])


def _updated(domain: Document, request: Request) -> Document:
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


def _refuse_while_apps_live(service: Sagemaker, caller: Caller, domain: Document, request: Request) -> None:
    """What UpdateDomain's reference says may change only without apps that are InService, Pending or Deleting."""
    wanted = _updated(domain, request)
    if domain["HomeEfsFileSystemCreation"] == "Enabled" and wanted["HomeEfsFileSystemCreation"] == "Disabled":
        raise ValidationError("HomeEfsFileSystemCreation can change from Disabled to Enabled, not back.")
    identity = "ExecutionRoleIdentityConfig"
    changes = {
        "AppNetworkAccessType": wanted["AppNetworkAccessType"] != domain["AppNetworkAccessType"],
        "SubnetIds": not set(domain["SubnetIds"]) <= set(wanted["SubnetIds"]),
        identity: (wanted.get("DomainSettings") or {}).get(identity)
        != (domain.get("DomainSettings") or {}).get(identity),
    }
    blocking = [member for member, changed in changes.items() if changed]
    if blocking:
        apps = kinds.living(kinds.of_domain(service, caller, kinds.APP, domain["DomainId"]))
        kinds.refuse_while(DOMAIN, domain, f"change {blocking[0]} of", App=apps)


def _refuse_missing(request: Request) -> None:
    if request["AuthMode"] == "SSO":
        refuse(
            "IAM Identity Center, so no domain with AuthMode SSO: there are no users that could sign in. "
            "Give AuthMode IAM for the local cloud"
        )
    if not request.get("VpcId") or not request.get("SubnetIds"):
        refuse("domains of SageMaker Unified Studio, which have no network of their own; give VpcId and SubnetIds")
    _refuse_domain_settings(request.get("DomainSettings") or {}, "DomainSettings")


def _refuse_domain_settings(given: dict[str, Any], path: str) -> None:
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


def _check(service: Sagemaker, caller: Caller, request: Request, vpc_id: str) -> None:
    for member in ("DefaultUserSettings", "DefaultSpaceSettings"):
        if request.get(member):
            settings.check(service, caller, request[member], member, vpc_id=vpc_id, of_domain=True)


def _check_network(service: Sagemaker, caller: Caller, domain: Document) -> None:
    domain_network.check(service, caller, domain["VpcId"], domain["SubnetIds"])
    if domain["AppNetworkAccessType"] == "VpcOnly" and not domain["DefaultUserSettings"].get("SecurityGroups"):
        raise ValidationError("DefaultUserSettings.SecurityGroups is required where AppNetworkAccessType is VpcOnly.")
