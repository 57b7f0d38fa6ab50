"""Apps of user profiles and spaces: Create, Describe, List, Delete. They have a state and a network interface; nothing runs.

Whether an app would be idle nobody can tell here, so idle settings are checked and kept, and never delete an app. What the
statuses mean: https://docs.aws.amazon.com/sagemaker/latest/dg/sm-domain.html
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from local_cloud.platform import Caller, RoleRefused
from local_cloud.sagemaker import tags
from local_cloud.sagemaker.errors import ResourceInUse, ResourceNotFound, ValidationError
from local_cloud.sagemaker.request_checks import refuse
from local_cloud.sagemaker.service import Request, Response, Sagemaker, operation, page
from local_cloud.sagemaker.store import Document
from local_cloud.sagemaker.studio import domain_network, domains, kinds, settings, spaces, user_profiles
from local_cloud.sagemaker.studio.entities import Entity, Failed, Motion

SECONDS = 30.0
KEPT_S = 24 * 3600.0
"""How long a deleted app is still listed, in the cloud's seconds (CreationTime in DescribeApp)."""
DEFAULT_INSTANCE_TYPES = {"JupyterLab": "ml.t3.medium", "CodeEditor": "ml.t3.medium", "JupyterServer": "system"}
_SETTINGS = {app_type: member for member, app_type in settings.APP_SETTINGS.items()}
_OF_SPACES = ("JupyterLab", "CodeEditor")
_SUMMARY = ("DomainId", "UserProfileName", "SpaceName", "AppType", "AppName", "Status", "CreationTime", "ResourceSpec")


def _start(service: Sagemaker, caller: Caller, app: Document) -> dict[str, Any]:
    """What an app needs before it runs: its role's credentials, and a place in the network."""
    domain = domains.DOMAIN.find(service, caller, app["DomainId"])
    levels = _levels(service, caller, app, domain)
    role = next((each["ExecutionRole"] for each in levels if each.get("ExecutionRole")), None)
    if role is None:
        raise Failed(f"No ExecutionRole for app {app['AppName']} in the settings of its user profile or domain.")
    try:
        service.platform.forget_session(service.platform.assume_role(role, "SageMaker"))
    except RoleRefused as error:
        raise Failed(str(error)) from None
    # "SecurityGroups is aggregated when specified in both calls" (CreateDomain).
    groups = list(dict.fromkeys(group for each in levels for group in each.get("SecurityGroups") or []))
    now = time.time()
    interface = app.get("NetworkInterface") or domain_network.attach_app(service, caller, domain, groups)
    return {"NetworkInterface": interface, "LastHealthCheckTimestamp": now, "LastUserActivityTimestamp": now}


def _end(service: Sagemaker, caller: Caller, app: Document) -> dict[str, Any]:
    domain_network.detach_app(service, caller, app.get("NetworkInterface"))
    return {"NetworkInterface": None, "DeletedTime": time.time()}


APP = Entity(
    kinds.APP,
    "App",
    {
        "Pending": Motion("InService", "Failed", SECONDS, _start),
        "Deleting": Motion("Deleted", "Failed", SECONDS, _end),
    },
    hidden=frozenset({"NetworkInterface", "DeletedTime", "LastModifiedTime"}),
)


@operation("CreateApp")
def create_app(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """CreateApp: Pending, then InService where its role can be assumed."""
    app_type, domain = request["AppType"], domains.in_service(service, caller, request["DomainId"])
    if app_type not in _SETTINGS:
        refuse(f"Studio's apps of type {app_type} (AppType)")
    owner_tags = _owner_tags(service, caller, request)
    levels = _levels(service, caller, request, domain)
    spec = request.get("ResourceSpec") or {}
    settings.check_resource_spec(service, caller, spec, "ResourceSpec", app_type)
    document: Document = {
        **{member: value for member, value in request.items() if member != "Tags"},
        "ResourceSpec": _resource_spec(spec, levels, app_type),
        "Status": "Pending",
    }
    if app_type in _OF_SPACES:
        document["RecoveryMode"] = bool(request.get("RecoveryMode"))
    built_in = (each.get(_SETTINGS[app_type], {}).get("BuiltInLifecycleConfigArn") for each in levels)
    document["BuiltInLifecycleConfigArn"] = next((arn for arn in built_in if arn), None)
    path = kinds.app_path(request)
    # "Tags that you specify for the Domain are also added to all apps that are launched in the Domain", and the profile's.
    inherited = {**tags.current(service, caller, domain["DomainArn"]), **owner_tags}
    own_tags = request.get("Tags") or []
    with service.store.transaction():
        # Once more, where no deletion of its owner can come between.
        _owner_tags(service, caller, request)
        before = APP.look_up(service, caller, path)
        if before is not None and before["Status"] in ("Deleted", "Failed"):
            # Restarted within 24 hours, an application counts as the same one.
            if before["Status"] == "Deleted" and not _expired(service, before):
                document["CreationTime"] = before["CreationTime"]
            APP.forget(service, caller, path)
        # Those of CloudFormation are the domain's own; what the caller says goes before what is inherited.
        said = {tag["Key"] for tag in own_tags}
        listed = [
            {"Key": key, "Value": value}
            for key, value in inherited.items()
            if not key.startswith("aws:") and key not in said
        ]
        created = APP.insert(service, caller, path, document, [*listed, *own_tags])
    return {"AppArn": created["AppArn"]}


@operation("DescribeApp")
def describe_app(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DescribeApp."""
    return APP.described(_find(service, caller, request))


@operation("ListApps")
def list_apps(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """ListApps: those that were deleted are listed for 24 more hours of the cloud's time."""
    if request.get("UserProfileNameEquals") and request.get("SpaceNameEquals"):
        raise ValidationError("UserProfileNameEquals and SpaceNameEquals cannot be set together.")
    kept = [app for app in APP.all(service, caller) if not _expired(service, app)]
    for member in ("UserProfileName", "SpaceName"):
        if name := request.get(f"{member}Equals"):
            kept = [app for app in kept if app.get(member, "").lower() == name.lower()]
    kept = kinds.listed(kept, request)
    return page([{member: app[member] for member in _SUMMARY if member in app} for app in kept], request, "Apps")


@operation("DeleteApp")
def delete_app(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DeleteApp: Deleting, then Deleted."""
    _find(service, caller, request)

    def change(document: Document) -> None:
        if document["Status"] != "InService":
            raise ResourceInUse(
                f"Unable to delete App [{document['AppArn']}] because it is in status {document['Status']}, not InService."
            )

    APP.change(service, caller, kinds.app_path(request), change, status="Deleting")
    return {}


def sweep(service: Sagemaker) -> None:
    """Forget the apps that were deleted more than 24 hours ago."""
    for account, region, app in service.store.everywhere(kinds.APP):
        if _expired(service, app):
            APP.forget(service, Caller(account, region, f"arn:aws:iam::{account}:root"), kinds.app_path(app))


def _expired(service: Sagemaker, app: Document) -> bool:
    return app["Status"] == "Deleted" and service.clock.since(app["DeletedTime"]) > KEPT_S


def _find(service: Sagemaker, caller: Caller, request: Request) -> Document:
    _check_owner(request)
    domains.DOMAIN.find(service, caller, request["DomainId"])
    app = APP.find(service, caller, kinds.app_path(request))
    named = "UserProfileName" if request.get("UserProfileName") else "SpaceName"
    if named not in app or _expired(service, app):
        raise ResourceNotFound(f"App [{app['AppArn']}] does not exist.")
    return app


def _check_owner(request: Request) -> None:
    if bool(request.get("UserProfileName")) == bool(request.get("SpaceName")):
        raise ValidationError(
            "An app is of a user profile or of a space: give UserProfileName or SpaceName, and not both."
        )


def _owner_tags(service: Sagemaker, caller: Caller, request: Request) -> dict[str, str]:
    """The tags that an app gets from its user profile or space, which must be in service and have such apps."""
    _check_owner(request)
    app_type = request["AppType"]
    if request.get("SpaceName"):
        owner = spaces.SPACE.named(service, caller, request["DomainId"], request["SpaceName"])
        of_space = owner["SpaceSettings"].get("AppType")
        if of_space and of_space != app_type:
            raise ValidationError(f"The space {owner['SpaceName']} is for apps of type {of_space}, not {app_type}.")
        its_tags = tags.current(service, caller, owner["SpaceArn"])
        if kinds.is_private(owner):
            profile = user_profiles.PROFILE.named(service, caller, request["DomainId"], kinds.owner_of(owner))
            its_tags = {**tags.current(service, caller, profile["UserProfileArn"]), **its_tags}
    else:
        if app_type in _OF_SPACES:
            raise ValidationError(f"Apps of type {app_type} are of a space: give SpaceName, not UserProfileName.")
        owner = user_profiles.PROFILE.named(service, caller, request["DomainId"], request["UserProfileName"])
        its_tags = tags.current(service, caller, owner["UserProfileArn"])
    if owner["Status"] not in ("InService", "Updating", "Update_Failed"):
        raise ValidationError(f"The owner of the app is in status {owner['Status']}, not InService.")
    return its_tags


def _levels(service: Sagemaker, caller: Caller, request: Mapping[str, Any], domain: Document) -> list[Document]:
    """The settings that count for an app, the nearest first: of its space, of the user profile, of the domain."""
    domain_id = domain["DomainId"]
    if not request.get("SpaceName"):
        profile = user_profiles.PROFILE.named(service, caller, domain_id, str(request["UserProfileName"]))
        return [profile.get("UserSettings") or {}, domain["DefaultUserSettings"]]
    space = spaces.SPACE.named(service, caller, domain_id, request["SpaceName"])
    owner = kinds.owner_of(space)
    if owner and kinds.is_private(space):
        profile = user_profiles.PROFILE.named(service, caller, domain_id, owner)
        return [space["SpaceSettings"], profile.get("UserSettings") or {}, domain["DefaultUserSettings"]]
    return [space["SpaceSettings"], domain.get("DefaultSpaceSettings") or {}]


def _resource_spec(given: Mapping[str, Any], levels: list[Document], app_type: str) -> dict[str, Any]:
    """What an app runs on: what the request says counts more than the space, the user profile and the domain do."""
    spec: dict[str, Any] = {}
    for each in reversed(levels):
        spec = settings.merged(spec, (each.get(_SETTINGS[app_type]) or {}).get("DefaultResourceSpec") or {})
    spec = settings.merged(spec, given)
    spec.setdefault("InstanceType", DEFAULT_INSTANCE_TYPES.get(app_type))
    if spec["InstanceType"] is None:
        raise ValidationError(
            "ResourceSpec.InstanceType is required for a KernelGateway app: neither the request nor the default "
            "ResourceSpec of the user profile or the domain has one."
        )
    if app_type == "KernelGateway" and spec["InstanceType"] == "system":
        spec["InstanceType"] = "ml.t3.medium"
    return spec
