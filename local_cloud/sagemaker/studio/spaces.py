"""Spaces of a domain, private or shared: Create, Describe, List, Update, Delete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local_cloud.platform import Caller
from local_cloud.sagemaker.answers import without_nulls
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.request_checks import refuse
from local_cloud.sagemaker.service import Request, Response, Sagemaker, operation, page
from local_cloud.sagemaker.store import Document
from local_cloud.sagemaker.studio import domains, kinds, settings, user_profiles
from local_cloud.sagemaker.studio.app_owners import app_owner

SECONDS = 20.0
_SUMMARY = ("DomainId", "SpaceName", "Status", "CreationTime", "LastModifiedTime", "SpaceDisplayName")


SPACE = app_owner(kinds.SPACE, "Space", SECONDS)


@operation("CreateSpace")
def create_space(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """CreateSpace: private to the user profile that owns it, or shared."""
    domain = domains.in_service(service, caller, request["DomainId"])
    wanted = request.get("SpaceSettings") or {}
    if wanted.get("SpaceManagedResources") == "ENABLED":
        refuse("apps and user profiles that a space makes itself (SpaceSettings.SpaceManagedResources)")
    if wanted.get("RemoteAccess") == "ENABLED":
        refuse("access to a space from an editor elsewhere (SpaceSettings.RemoteAccess)")
    owner = _check_sharing(service, caller, request)
    settings.check(service, caller, wanted, "SpaceSettings", vpc_id=domain["VpcId"], of_domain=False)
    storage = _checked_volume(request, wanted, domain, owner)

    def members(domain: Document) -> dict[str, Any]:
        # Once more, where no deletion of its owner can come between.
        _check_sharing(service, caller, request)
        app = wanted.get("AppType", "jupyter").lower()
        return {
            "SpaceSettings": {**wanted, **({"SpaceStorageSettings": storage} if wanted.get("AppType") else {})},
            "Url": f"{domain['Url']}/{app}/default?spaceName={request['SpaceName']}",
        }

    return SPACE.create(service, caller, request, members)


@operation("DescribeSpace")
def describe_space(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DescribeSpace."""
    return SPACE.described(SPACE.named(service, caller, request["DomainId"], request["SpaceName"]))


@operation("ListSpaces")
def list_spaces(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """ListSpaces."""
    kept = kinds.listed(SPACE.all(service, caller), request, contains="SpaceName")
    return page([_summary(space) for space in kept], request, "Spaces")


@operation("UpdateSpace")
def update_space(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """UpdateSpace: other settings, but not another type of app, and no smaller volume."""
    domain = domains.DOMAIN.find(service, caller, request["DomainId"])
    space = SPACE.named(service, caller, request["DomainId"], request["SpaceName"])
    wanted = request.get("SpaceSettings") or {}
    settings.check(service, caller, wanted, "SpaceSettings", vpc_id=domain["VpcId"], of_domain=False)
    owner_name = kinds.owner_of(space)
    owner = user_profiles.PROFILE.named(service, caller, request["DomainId"], owner_name) if owner_name else None

    def change(document: Document) -> None:
        old = document["SpaceSettings"]
        if wanted.get("AppType") not in (None, old.get("AppType")):
            raise ValidationError(
                f"The AppType of space {document['SpaceName']} is {old.get('AppType')} and cannot change."
            )
        if wanted.get("SpaceStorageSettings"):
            _checked_volume(document, wanted, domain, owner)
            _check_growth(service, caller, document, wanted)
        document["SpaceSettings"] = settings.merged(old, wanted)
        settings.check_fit(document["SpaceSettings"], "SpaceSettings")
        if request.get("SpaceDisplayName"):
            document["SpaceDisplayName"] = request["SpaceDisplayName"]

    return {"SpaceArn": SPACE.begin(service, caller, request, "update", "Updating", change)["SpaceArn"]}


@operation("DeleteSpace")
def delete_space(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DeleteSpace: refused while it has an app that did not fail."""
    SPACE.delete(service, caller, request, lambda _space: {})
    return {}


def _summary(space: Document) -> Document:
    chosen = space["SpaceSettings"]
    summary = {"AppType": chosen.get("AppType"), "SpaceStorageSettings": chosen.get("SpaceStorageSettings")}
    owner = kinds.owner_of(space)
    return {
        **{member: space[member] for member in _SUMMARY if member in space},
        "SpaceSettingsSummary": without_nulls(summary),
        **({"SpaceSharingSettingsSummary": space["SpaceSharingSettings"]} if "SpaceSharingSettings" in space else {}),
        **({"OwnershipSettingsSummary": {"OwnerUserProfileName": owner}} if owner else {}),
    }


def _check_sharing(service: Sagemaker, caller: Caller, request: Request) -> Document | None:
    """Check who shares and who owns.

    Returns:
        The user profile that owns it; None for a space of everybody's.
    """
    owner_name = kinds.owner_of(request)
    sharing = (request.get("SpaceSharingSettings") or {}).get("SharingType")
    if bool(owner_name) != bool(sharing):
        raise ValidationError("OwnershipSettings and SpaceSharingSettings go together: give both or none.")
    app_type = (request.get("SpaceSettings") or {}).get("AppType")
    if sharing == "Private" and app_type not in ("JupyterLab", "CodeEditor"):
        raise ValidationError(
            f"SpaceSettings.AppType of a private space must be JupyterLab or CodeEditor, got {app_type or 'none'}."
        )
    return user_profiles.PROFILE.named(service, caller, request["DomainId"], owner_name) if owner_name else None


def _checked_volume(
    space: Mapping[str, Any], wanted: Mapping[str, Any], domain: Document, owner: Document | None
) -> dict[str, Any]:
    """The storage settings of a space, its size within what its owner may have."""
    # What a domain says of spaces is for shared ones, what it says of users for private ones (UserSettings).
    levels = (
        [owner.get("UserSettings") or {}, domain["DefaultUserSettings"]]
        if owner is not None and kinds.is_private(space)
        else [domain.get("DefaultSpaceSettings") or {}]
    )
    default, most = settings.volume_limits(*levels)
    size = ((wanted.get("SpaceStorageSettings") or {}).get("EbsStorageSettings") or {}).get(
        "EbsVolumeSizeInGb", default
    )
    if size > most:
        raise ValidationError(f"EbsVolumeSizeInGb {size} is more than the {most} GB that spaces may have here.")
    return {"EbsStorageSettings": {"EbsVolumeSizeInGb": size}}


def _check_growth(service: Sagemaker, caller: Caller, space: Document, wanted: Mapping[str, Any]) -> None:
    old, new = (
        ((each.get("SpaceStorageSettings") or {}).get("EbsStorageSettings") or {}).get("EbsVolumeSizeInGb")
        for each in (space["SpaceSettings"], wanted)
    )
    if old is None or new is None or new == old:
        return
    if new < old:
        raise ValidationError(f"The volume of space {space['SpaceName']} has {old} GB and cannot shrink to {new} GB.")
    kinds.refuse_while(SPACE, space, "resize", App=SPACE.living_apps(service, caller, space))
