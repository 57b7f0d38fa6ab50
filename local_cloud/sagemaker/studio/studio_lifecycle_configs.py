"""Studio's lifecycle configurations: scripts that start with an app. They are kept and checked; no app runs them here."""

from __future__ import annotations

import base64
import binascii

from local_cloud.platform import Caller
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.service import Request, Response, Sagemaker, operation, page
from local_cloud.sagemaker.studio import kinds
from local_cloud.sagemaker.studio.entities import Entity

CONFIG = Entity("studio-lifecycle-config", "StudioLifecycleConfig")
_SUMMARY = (
    "StudioLifecycleConfigArn",
    "StudioLifecycleConfigName",
    "CreationTime",
    "LastModifiedTime",
    "StudioLifecycleConfigAppType",
)


@operation("CreateStudioLifecycleConfig")
def create_studio_lifecycle_config(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """CreateStudioLifecycleConfig; the shape limits the script to 16,384 characters in base64."""
    name = request["StudioLifecycleConfigName"]
    try:
        base64.b64decode(request["StudioLifecycleConfigContent"], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ValidationError(f"StudioLifecycleConfigContent of {name} must be a script, base64 encoded.") from None
    kept = {member: value for member, value in request.items() if member != "Tags"}
    document = CONFIG.insert(service, caller, name, kept, request.get("Tags"))
    return {"StudioLifecycleConfigArn": document["StudioLifecycleConfigArn"]}


@operation("DescribeStudioLifecycleConfig")
def describe_studio_lifecycle_config(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DescribeStudioLifecycleConfig."""
    return CONFIG.described(CONFIG.find(service, caller, request["StudioLifecycleConfigName"]))


@operation("ListStudioLifecycleConfigs")
def list_studio_lifecycle_configs(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """ListStudioLifecycleConfigs."""
    kept = CONFIG.all(service, caller)
    if app_type := request.get("AppTypeEquals"):
        kept = [config for config in kept if config["StudioLifecycleConfigAppType"] == app_type]
    kept = kinds.listed(kept, request, contains="StudioLifecycleConfigName", default_order="Descending")
    return page([{member: config[member] for member in _SUMMARY} for config in kept], request, "StudioLifecycleConfigs")


@operation("DeleteStudioLifecycleConfig")
def delete_studio_lifecycle_config(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DeleteStudioLifecycleConfig: refused while settings of a domain or a user profile, or an app, have it."""
    with service.store.transaction():
        config = CONFIG.find(service, caller, request["StudioLifecycleConfigName"])
        users = kinds.users_of(service, caller, config["StudioLifecycleConfigArn"])
        kinds.refuse_while(CONFIG, config, "delete", **users)
        CONFIG.forget(service, caller, request["StudioLifecycleConfigName"])
    return {}
