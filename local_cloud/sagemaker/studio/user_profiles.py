"""User profiles of a domain: Create, Describe, List, Update, Delete."""

from __future__ import annotations

from local_cloud.platform import Caller
from local_cloud.sagemaker.errors import NotEmulated, ValidationError
from local_cloud.sagemaker.service import Request, Response, Sagemaker, operation, page
from local_cloud.sagemaker.store import Document
from local_cloud.sagemaker.studio import domains, kinds, settings
from local_cloud.sagemaker.studio.app_owners import app_owner

SECONDS = 10.0


PROFILE = app_owner(kinds.PROFILE, "UserProfile", SECONDS)
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
    return PROFILE.create(service, caller, request, lambda _domain: {})


@operation("DescribeUserProfile")
def describe_user_profile(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DescribeUserProfile."""
    return PROFILE.described(PROFILE.named(service, caller, request["DomainId"], request["UserProfileName"]))


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
        wanted = settings.merged(document.get("UserSettings") or {}, request.get("UserSettings") or {})
        settings.check_fit(wanted, "UserSettings")
        document["UserSettings"] = wanted

    return {"UserProfileArn": PROFILE.begin(service, caller, request, "update", "Updating", change)["UserProfileArn"]}


@operation("DeleteUserProfile")
def delete_user_profile(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DeleteUserProfile: refused while it has apps that did not fail, or owns spaces; the home directory stays."""

    def spaces_of(profile: Document) -> dict[str, list[Document]]:
        name = profile["UserProfileName"].lower()
        spaces = kinds.of_domain(service, caller, kinds.SPACE, profile["DomainId"])
        return {"Space": [space for space in spaces if kinds.owner_of(space).lower() == name]}

    PROFILE.delete(service, caller, request, spaces_of)
    return {}


@operation("CreatePresignedDomainUrl")
def create_presigned_domain_url(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """CreatePresignedDomainUrl: nothing runs that could answer at such a URL, so it is refused by name.

    Raises:
        NotEmulated: always, for a user profile that is there.
    """
    PROFILE.named(service, caller, request["DomainId"], request["UserProfileName"])
    raise NotEmulated(
        "The local cloud does not emulate SageMaker's CreatePresignedDomainUrl: Studio's domains, user profiles, spaces and "
        "apps keep their state here, but no app runs. A notebook instance does (CreatePresignedNotebookInstanceUrl). It works "
        "unchanged against AWS."
    )


def _check(service: Sagemaker, caller: Caller, request: Request, domain: Document) -> None:
    if request.get("UserSettings"):
        settings.check(
            service, caller, request["UserSettings"], "UserSettings", vpc_id=domain["VpcId"], of_domain=False
        )
