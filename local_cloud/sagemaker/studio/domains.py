"""Studio's domains: Create, Describe, List, Update, Delete."""

from __future__ import annotations

import secrets
import string

from local_cloud.platform import Caller
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.request_checks import refuse
from local_cloud.sagemaker.service import Request, Response, Sagemaker, operation, page
from local_cloud.sagemaker.store import Document
from local_cloud.sagemaker.studio import domain_network, domain_requests, kinds, settings
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
    domain_requests.refuse_missing(request)
    domain_requests.check_settings(service, caller, request, request["VpcId"])
    if not request["DefaultUserSettings"].get("ExecutionRole"):
        raise ValidationError("DefaultUserSettings.ExecutionRole is required.")
    domain_requests.check_network(service, caller, {**_DEFAULTS, **request})
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
    domain_requests.refuse_settings(request.get("DomainSettingsForUpdate") or {}, "DomainSettingsForUpdate")
    domain_requests.check_settings(service, caller, request, domain["VpcId"])
    domain_requests.check_network(service, caller, domain_requests.updated(domain, request))

    def change(document: Document) -> None:
        DOMAIN.refuse_in_motion(document, "update")
        if document["Status"] == "Failed":
            raise ValidationError(
                f"Domain [{document['DomainArn']}] is in status Failed; it can only be deleted: {document['FailureReason']}"
            )
        wanted = domain_requests.updated(document, request)
        if blocked := domain_requests.blocked_by_apps(document, wanted):
            apps = kinds.living(kinds.of_domain(service, caller, kinds.APP, document["DomainId"]))
            kinds.refuse_while(DOMAIN, document, f"change {blocked[0]} of", App=apps)
        document.update(wanted)
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
