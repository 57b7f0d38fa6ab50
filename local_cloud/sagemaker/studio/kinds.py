"""Which things Studio has, and how they find each other: paths, parents, and what makes use of what.

The ARNs of user profiles, spaces and images are in lower case whatever the case of the name: "UserProfileName ... is not case
sensitive" (CreateUserProfile), and SageMaker's own messages were seen to write them so.
https://docs.aws.amazon.com/sagemaker/latest/dg/sm-domain.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from local_cloud.platform import Caller
from local_cloud.sagemaker.errors import ResourceInUse
from local_cloud.sagemaker.service import Request, Sagemaker
from local_cloud.sagemaker.store import Document
from local_cloud.sagemaker.studio.entities import Entity

DOMAIN, PROFILE, SPACE, APP = "domain", "user-profile", "space", "app"
"""The kinds of documents that depend on each other."""
LIVING_APPS = ("InService", "Pending", "Deleting")
"""The statuses of apps that stand in the way of changes (UpdateDomain, DeleteUserProfile)."""


def path_in_domain(domain_id: str, name: str) -> str:
    """The path of a user profile or a space."""
    return f"{domain_id}/{name.lower()}"


def app_path(request: Request) -> str:
    """The path of the app that a request names; its type and name keep their case."""
    owner = str(request.get("UserProfileName") or request.get("SpaceName"))
    return f"{request['DomainId']}/{owner.lower()}/{request['AppType']}/{request['AppName']}"


def owner_of(space: Mapping[str, Any]) -> str:
    """The name of the user profile that owns a space; empty for a space of everybody's."""
    return str((space.get("OwnershipSettings") or {}).get("OwnerUserProfileName", ""))


def is_private(space: Mapping[str, Any]) -> bool:
    """Whether a space is its owner's alone."""
    return bool((space.get("SpaceSharingSettings") or {}).get("SharingType") == "Private")


def of_domain(service: Sagemaker, caller: Caller, kind: str, domain_id: str) -> list[Document]:
    """What a domain has of one kind."""
    found = service.store.list(kind, caller.account, caller.region)
    return [document for document in found if document["DomainId"] == domain_id]


def living(apps: Iterable[Document]) -> list[Document]:
    """The apps that are there: not those that failed or are deleted."""
    return [app for app in apps if app["Status"] in LIVING_APPS]


def refuse_while(entity: Entity, document: Document, verb: str, **users: Iterable[Any]) -> None:
    """Refuse what others depend on.

    Args:
        entity: the kind of what is asked for.
        document: its document.
        verb: what is asked for.
        users: what makes use of it, by its noun; SageMaker names the first that is there.

    Raises:
        ResourceInUse: there is any.
    """
    for noun, found in users.items():
        if any(True for _ in found):
            raise ResourceInUse(
                f"Unable to {verb} {entity.noun} [{document[entity.arn_key]}] because {noun}(s) are associated with it."
            )


def users_of(service: Sagemaker, caller: Caller, text: str) -> dict[str, list[Document]]:
    """The domains, user profiles and living apps whose settings have a text in them (an ARN), by their noun."""
    found = {}
    for noun, kind in (("Domain", DOMAIN), ("UserProfile", PROFILE), ("App", APP)):
        documents = service.store.list(kind, caller.account, caller.region)
        candidates = living(documents) if kind == APP else documents
        found[noun] = [each for each in candidates if any(item.lower() == text.lower() for item in _texts(each))]
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def listed(
    documents: list[Document], request: Request, *, contains: str | None = None, default_order: str = "Ascending"
) -> list[Document]:
    """What a List call asks for: DomainIdEquals, a part of a name, times, sorted.

    Args:
        documents: all there are.
        request: of the List call.
        contains: the member whose part may be asked for: `UserProfileName` for `UserProfileNameContains`.
        default_order: the order where the request has none.
    """
    kept = list(documents)
    if domain := request.get("DomainIdEquals"):
        kept = [document for document in kept if document["DomainId"] == domain]
    needle = str(request.get(f"{contains}Contains") or request.get("NameContains") or "").lower()
    if contains and needle:
        kept = [document for document in kept if needle in document[contains].lower()]
    for prefix, member in (("CreationTime", "CreationTime"), ("ModifiedTime", "LastModifiedTime")):
        for asked in (prefix, f"Last{prefix}"):
            after, before = request.get(f"{asked}After"), request.get(f"{asked}Before")
            kept = [document for document in kept if after is None or document[member] >= after]
            kept = [document for document in kept if before is None or document[member] <= before]
    asked_sort = str(request.get("SortBy", "CreationTime")).replace("_", "").lower()
    names = {"lastmodifiedtime": "LastModifiedTime", "version": "Version"}
    names |= {"name": contains or "", "imagename": contains or ""}
    key = names.get(asked_sort, "CreationTime")
    descending = str(request.get("SortOrder", default_order)).lower() == "descending"
    return sorted(kept, key=lambda document: document[key], reverse=descending)
