"""User profiles of a domain: Create, Describe, List, Update, Delete."""

from __future__ import annotations

from local_cloud.platform import Caller
from local_cloud.sagemaker.errors import NotEmulated, ValidationError
from local_cloud.sagemaker.service import Request, Response, Sagemaker, operation, page
from local_cloud.sagemaker.store import Document
from local_cloud.sagemaker.studio import domains, kinds, settings
from local_cloud.sagemaker.studio.entities import Entity, Motion

SECONDS = 10.0


def _forget_apps(service: Sagemaker, caller: Caller, profile: Document) -> None:
    """Apps that failed or were deleted go with their owner."""
    for app in kinds.of_domain(service, caller, kinds.APP, profile["DomainId"]):
        if app.get("UserProfileName", "").lower() == profile["UserProfileName"].lower():
            service.store.delete(kinds.APP, caller.account, caller.region, kinds.app_path(app).lower())


PROFILE = Entity(
    kinds.PROFILE,
    "UserProfile",
    {
        "Pending": Motion("InService", "Failed", SECONDS),
        "Updating": Motion("InService", "Update_Failed", SECONDS),
        "Deleting": Motion(None, "Delete_Failed", SECONDS, _forget_apps),
    },
)
_SUMMARY = ("DomainId", "UserProfileName", "Status", "CreationTime", "LastModifiedTime")


@operation("CreateUserProfile")
def create_user_profile(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """CreateUserProfile: gets a home directory on the domain's file system."""
    domain = domains.in_service(service, caller, request["DomainId"])
    for member in ("SingleSignOnUserIdentifier", "SingleSignOnUserValue"):
        if request.get(member):
            raise ValidationError(
                f"{member} cannot be specified: the AuthMode of domain {domain['DomainId']} is not SSO."
            )
    _check(service, caller, request, domain)
    path = kinds.profile_path(request["DomainId"], request["UserProfileName"])
    with service.store.transaction():
        # Once more, where no deletion of the domain can come between.
        domains.in_service(service, caller, request["DomainId"])
        document: Document = {
            **{member: value for member, value in request.items() if member != "Tags"},
            "Status": "Pending",
            "HomeEfsFileSystemUid": domains.next_uid(service, caller, request["DomainId"]),
        }
        created = PROFILE.insert(service, caller, path, document, request.get("Tags"))
    return {"UserProfileArn": created["UserProfileArn"]}


@operation("DescribeUserProfile")
def describe_user_profile(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DescribeUserProfile."""
    return PROFILE.described(find(service, caller, request["DomainId"], request["UserProfileName"]))


@operation("ListUserProfiles")
def list_user_profiles(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """ListUserProfiles."""
    kept = kinds.listed(PROFILE.all(service, caller), request, contains="UserProfileName")
    return page([{member: profile[member] for member in _SUMMARY} for profile in kept], request, "UserProfiles")


@operation("UpdateUserProfile")
def update_user_profile(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """UpdateUserProfile: settings are merged member by member."""
    domain = domains.DOMAIN.find(service, caller, request["DomainId"])
    _check(service, caller, request, domain)

    def change(document: Document) -> None:
        PROFILE.refuse_in_motion(document, "update")
        wanted = settings.merged(document.get("UserSettings") or {}, request.get("UserSettings") or {})
        settings.check_fit(wanted, "UserSettings")
        document["UserSettings"] = wanted

    path = kinds.profile_path(request["DomainId"], request["UserProfileName"])
    return {"UserProfileArn": PROFILE.change(service, caller, path, change, status="Updating")["UserProfileArn"]}


@operation("DeleteUserProfile")
def delete_user_profile(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DeleteUserProfile: refused while it has apps that did not fail, or owns spaces; the home directory stays."""

    def change(document: Document) -> None:
        PROFILE.refuse_in_motion(document, "delete")
        domain_id, name = document["DomainId"], document["UserProfileName"].lower()
        apps = kinds.living(kinds.of_domain(service, caller, kinds.APP, domain_id))
        spaces = kinds.of_domain(service, caller, kinds.SPACE, domain_id)
        kinds.refuse_while(
            PROFILE,
            document,
            "delete",
            App=[app for app in apps if app.get("UserProfileName", "").lower() == name],
            Space=[space for space in spaces if kinds.owner_of(space).lower() == name],
        )

    path = kinds.profile_path(request["DomainId"], request["UserProfileName"])
    PROFILE.change(service, caller, path, change, status="Deleting")
    return {}


@operation("CreatePresignedDomainUrl")
def create_presigned_domain_url(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """CreatePresignedDomainUrl: nothing runs that could answer at such a URL, so it is refused by name.

    Raises:
        NotEmulated: always, for a user profile that is there.
    """
    find(service, caller, request["DomainId"], request["UserProfileName"])
    raise NotEmulated(
        "The local cloud does not emulate SageMaker's CreatePresignedDomainUrl: Studio's domains, user profiles, spaces and "
        "apps keep their state here, but no app runs. A notebook instance does (CreatePresignedNotebookInstanceUrl). It works "
        "unchanged against AWS."
    )


def find(service: Sagemaker, caller: Caller, domain_id: str, name: str) -> Document:
    """A user profile; the case of its name does not count.

    Raises:
        ResourceNotFound: there is none, or no such domain.
    """
    domains.DOMAIN.find(service, caller, domain_id)
    return PROFILE.find(service, caller, kinds.profile_path(domain_id, name))


def _check(service: Sagemaker, caller: Caller, request: Request, domain: Document) -> None:
    if request.get("UserSettings"):
        settings.check(
            service, caller, request["UserSettings"], "UserSettings", vpc_id=domain["VpcId"], of_domain=False
        )
