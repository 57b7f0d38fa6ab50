"""How a custom image is run as an app: its file system, its kernels, its container's arguments. They are kept as they are."""

from __future__ import annotations

from local_cloud.platform import Caller
from local_cloud.sagemaker.service import Request, Response, Sagemaker, operation, page
from local_cloud.sagemaker.store import Document
from local_cloud.sagemaker.studio import kinds
from local_cloud.sagemaker.studio.entities import Entity

CONFIG = Entity("app-image-config", "AppImageConfig")
_SECTIONS = ("KernelGatewayImageConfig", "JupyterLabAppImageConfig", "CodeEditorAppImageConfig")


@operation("CreateAppImageConfig")
def create_app_image_config(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """CreateAppImageConfig."""
    kept = {member: value for member, value in request.items() if member != "Tags"}
    document = CONFIG.insert(service, caller, request["AppImageConfigName"], kept, request.get("Tags"))
    return {"AppImageConfigArn": document["AppImageConfigArn"]}


@operation("DescribeAppImageConfig")
def describe_app_image_config(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DescribeAppImageConfig."""
    return CONFIG.described(CONFIG.find(service, caller, request["AppImageConfigName"]))


@operation("UpdateAppImageConfig")
def update_app_image_config(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """UpdateAppImageConfig: a section that is given replaces the one that was there."""

    def change(document: Document) -> None:
        document.update({section: request[section] for section in _SECTIONS if request.get(section) is not None})

    document = CONFIG.change(service, caller, request["AppImageConfigName"], change)
    return {"AppImageConfigArn": document["AppImageConfigArn"]}


@operation("ListAppImageConfigs")
def list_app_image_configs(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """ListAppImageConfigs."""
    found = CONFIG.all(service, caller)
    kept = kinds.listed(found, request, contains="AppImageConfigName", default_order="Descending")
    return page([CONFIG.described(config) for config in kept], request, "AppImageConfigs")


@operation("DeleteAppImageConfig")
def delete_app_image_config(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DeleteAppImageConfig; the API has no error for one that settings still name."""
    CONFIG.find(service, caller, request["AppImageConfigName"])
    CONFIG.forget(service, caller, request["AppImageConfigName"])
    return {}
