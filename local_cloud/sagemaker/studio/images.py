"""Custom images of Studio: Create, Describe, Update, List, Delete. Their versions are in `image_versions`."""

from __future__ import annotations

from local_cloud.platform import Caller
from local_cloud.sagemaker.service import Request, Response, Sagemaker, operation, page
from local_cloud.sagemaker.store import Document
from local_cloud.sagemaker.studio import image_events, kinds
from local_cloud.sagemaker.studio.entities import Entity, Motion

SECONDS = 10.0
VERSION_KIND = "image-version"


def _delete_versions(service: Sagemaker, caller: Caller, image: Document) -> None:
    """With an image go its versions; the container images stay (DeleteImage)."""
    for version in service.store.list(VERSION_KIND, caller.account, caller.region):
        if version["ImageArn"] == image["ImageArn"]:
            path = f"{image['ImageName']}/{version['Version']}".lower()
            service.store.delete(VERSION_KIND, caller.account, caller.region, path)


def _assume(service: Sagemaker, _caller: Caller, image: Document) -> None:
    credentials = service.platform.assume_role(image["RoleArn"], "SageMaker")
    service.platform.forget_session(credentials)


IMAGE = Entity(
    "image",
    "Image",
    {
        "CREATING": Motion("CREATED", "CREATE_FAILED", SECONDS, _assume),
        "UPDATING": Motion("CREATED", "UPDATE_FAILED", SECONDS, _assume),
        "DELETING": Motion(None, "DELETE_FAILED", SECONDS, _delete_versions),
    },
    status_key="ImageStatus",
    hidden=frozenset({"LastVersion"}),
    changed=image_events.send_image,
)


@operation("CreateImage")
def create_image(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """CreateImage: CREATING, then CREATED if SageMaker can assume the role."""
    service.check_pass_role(caller, request["RoleArn"])
    kept = {member: value for member, value in request.items() if member != "Tags"}
    document: Document = {**kept, "ImageStatus": "CREATING", "LastVersion": 0}
    created = IMAGE.insert(service, caller, request["ImageName"].lower(), document, request.get("Tags"))
    return {"ImageArn": created["ImageArn"]}


@operation("DescribeImage")
def describe_image(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DescribeImage."""
    return IMAGE.described(IMAGE.find(service, caller, request["ImageName"].lower()))


@operation("UpdateImage")
def update_image(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """UpdateImage: another description, display name or role; DeleteProperties takes the first two away."""
    if request.get("RoleArn"):
        service.check_pass_role(caller, request["RoleArn"])

    def change(document: Document) -> None:
        IMAGE.refuse_in_motion(document, "update")
        for member in request.get("DeleteProperties") or []:
            document.pop(member, None)
        document.update({m: request[m] for m in ("Description", "DisplayName", "RoleArn") if request.get(m)})

    document = IMAGE.change(service, caller, request["ImageName"].lower(), change, status="UPDATING")
    return {"ImageArn": document["ImageArn"]}


@operation("ListImages")
def list_images(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """ListImages."""
    kept = kinds.listed(IMAGE.all(service, caller), request, contains="ImageName", default_order="DESCENDING")
    listed = [{m: value for m, value in IMAGE.described(image).items() if m != "RoleArn"} for image in kept]
    return page(listed, request, "Images")


@operation("DeleteImage")
def delete_image(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DeleteImage, with all its versions; refused while an app uses it."""

    def change(document: Document) -> None:
        IMAGE.refuse_in_motion(document, "delete")
        apps = kinds.users_of(service, caller, document["ImageArn"])["App"]
        kinds.refuse_while(IMAGE, document, "delete", App=apps)

    IMAGE.change(service, caller, request["ImageName"].lower(), change, status="DELETING")
    return {}
