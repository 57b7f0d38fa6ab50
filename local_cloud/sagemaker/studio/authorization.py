"""What IAM policies can say about Studio: the ARN that a request is about, and the condition keys that it fills.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local_cloud.platform import Caller
from local_cloud.sagemaker.service import Sagemaker, arn
from local_cloud.sagemaker.studio import kinds

_NAMED = (
    ("StudioLifecycleConfigName", "studio-lifecycle-config"),
    ("AppImageConfigName", "app-image-config"),
    ("ImageName", "image"),
)


def resource_arn(caller: Caller, operation: str, request: Mapping[str, Any]) -> str | None:
    """The resource that a request of Studio is about; None for requests of others, `*` where a policy can name none.

    Args:
        caller: whose resources it is about.
        operation: of the API, such as `CreateApp`.
        request: its members; they are not checked yet.
    """
    text = {key: value for key, value in request.items() if isinstance(value, str)}
    for member, kind in _NAMED:
        if member in text:
            return arn(caller, f"{kind}/{text[member].lower() if kind == 'image' else text[member]}")
    if operation == "CreateDomain":
        # Its id is not known yet.
        return arn(caller, "domain/*")
    if "DomainId" not in text:
        return None
    domain_id = text["DomainId"]
    if "AppType" in text and "AppName" in text:
        return arn(caller, f"app/{kinds.app_path(dict(text))}")
    if operation != "CreatePresignedDomainUrl" and "SpaceName" in text:
        return arn(caller, f"space/{kinds.space_path(domain_id, text['SpaceName'])}")
    if "UserProfileName" in text:
        return arn(caller, f"user-profile/{kinds.profile_path(domain_id, text['UserProfileName'])}")
    return arn(caller, f"domain/{domain_id}")


def conditions(service: Sagemaker, caller: Caller, operation: str, request: Mapping[str, Any]) -> dict[str, str]:
    """The condition keys of spaces: who owns the one that a request is about, and whether it is shared.

    In lower case, as MiniStack looks them up.
    """
    name, domain_id = request.get("SpaceName"), request.get("DomainId")
    if not isinstance(name, str) or not isinstance(domain_id, str):
        return {}
    space: Mapping[str, Any] = request
    if operation != "CreateSpace":
        found = service.store.get(kinds.SPACE, caller.account, caller.region, kinds.space_path(domain_id, name).lower())
        space = found or {}
    filled = {}
    try:
        if owner := kinds.owner_of(space):
            path = kinds.profile_path(domain_id, owner)
            filled["sagemaker:owneruserprofilearn"] = arn(caller, f"user-profile/{path}")
        if sharing := (space.get("SpaceSharingSettings") or {}).get("SharingType"):
            filled["sagemaker:spacesharingtype"] = str(sharing)
    except AttributeError:
        # Not the shape that it should have: the request is refused for that as soon as it is allowed.
        return {}
    return filled
