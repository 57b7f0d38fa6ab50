"""What IAM policies can say about Studio: the ARN that a request is about, and the condition keys that it fills.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from local_cloud.platform import Caller
from local_cloud.sagemaker.service import Sagemaker, arn
from local_cloud.sagemaker.studio import kinds

_NAMED = (("StudioLifecycleConfigName", "studio-lifecycle-config"), ("AppImageConfigName", "app-image-config"))
_OF_VERSIONS = ("DescribeImageVersion", "UpdateImageVersion", "DeleteImageVersion")
_OF_DOMAINS = ("CreateDomain", "UpdateDomain")


def resource_arn(caller: Caller, operation: str, request: Mapping[str, Any]) -> str | None:
    """The resource that a request of Studio is about; None for requests that are not of Studio, and for most lists.

    Args:
        caller: whose resources it is about.
        operation: of the API, such as `CreateApp`.
        request: its members; they are not checked yet.
    """
    text = {key: value for key, value in request.items() if isinstance(value, str)}
    if "ImageName" in text:
        name = text["ImageName"].lower()
        if operation in _OF_VERSIONS:
            return arn(caller, f"image-version/{name}/{request.get('Version') or '*'}")
        return arn(caller, f"image/{name}")
    if operation.startswith("List"):
        return None
    for member, kind in _NAMED:
        if member in text:
            return arn(caller, f"{kind}/{text[member]}")
    if operation == "CreateDomain":
        # Its id is not known yet.
        return arn(caller, "domain/*")
    if "DomainId" not in text:
        return None
    domain_id = text["DomainId"]
    if "AppType" in text and "AppName" in text:
        return arn(caller, f"app/{kinds.app_path(text)}")
    if operation != "CreatePresignedDomainUrl" and "SpaceName" in text:
        return arn(caller, f"space/{kinds.path_in_domain(domain_id, text['SpaceName'])}")
    if "UserProfileName" in text:
        return arn(caller, f"user-profile/{kinds.path_in_domain(domain_id, text['UserProfileName'])}")
    return arn(caller, f"domain/{domain_id}")


def conditions(service: Sagemaker, caller: Caller, operation: str, body: bytes) -> dict[str, Any]:
    """The condition keys of Studio that a request fills, in lower case, as MiniStack looks them up.

    Args:
        service: SageMaker.
        caller: whose resources the request is about.
        operation: of the API.
        body: the JSON of the request.
    """
    try:
        request = json.loads(body or b"{}")
        if not isinstance(request, dict):
            return {}
        return {**_of_space(service, caller, operation, request), **_of_members(operation, request)}
    except (ValueError, AttributeError):
        # Not the shape that it should have: the request is refused for that as soon as it is allowed.
        return {}


def _of_space(service: Sagemaker, caller: Caller, operation: str, request: dict[str, Any]) -> dict[str, Any]:
    """Who owns the space that a request is about, and whether it is shared."""
    name, domain_id = request.get("SpaceName"), request.get("DomainId")
    if not isinstance(name, str) or not isinstance(domain_id, str):
        return {}
    path = kinds.path_in_domain(domain_id, name).lower()
    there = service.store.get(kinds.SPACE, caller.account, caller.region, path) or {}
    space = request if operation == "CreateSpace" else there
    filled = {}
    if owner := kinds.owner_of(space):
        filled["sagemaker:owneruserprofilearn"] = arn(caller, f"user-profile/{kinds.path_in_domain(domain_id, owner)}")
    if sharing := (space.get("SpaceSharingSettings") or {}).get("SharingType"):
        filled["sagemaker:spacesharingtype"] = str(sharing)
    return filled


def _of_members(operation: str, request: dict[str, Any]) -> dict[str, Any]:
    """On what an app shall run, and where a domain shall be."""
    filled: dict[str, Any] = {}
    if operation == "CreateApp" and (instance := (request.get("ResourceSpec") or {}).get("InstanceType")):
        filled["sagemaker:instancetypes"] = [instance]
    if operation in _OF_DOMAINS:
        groups = (request.get("DefaultUserSettings") or {}).get("SecurityGroups")
        filled = {
            "sagemaker:appnetworkaccesstype": request.get("AppNetworkAccessType"),
            "sagemaker:vpcsubnets": request.get("SubnetIds"),
            "sagemaker:vpcsecuritygroupids": groups,
            "sagemaker:homeefsfilesystemkmskey": request.get("KmsKeyId"),
        }
    return {key: value for key, value in filled.items() if value}
