"""Versions of custom images: each stands for one container image, which must be there and readable by the image's role.

It is in ECR, or, as everywhere in the local cloud, which needs no Docker, the zipped build context of one in S3.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local_cloud.containers.engine import ContainerError
from local_cloud.containers.images import dockerfile_of, is_build_context
from local_cloud.platform import Caller, Credentials, RoleRefused
from local_cloud.sagemaker.errors import ResourceInUse, ResourceNotFound, ValidationError
from local_cloud.sagemaker.jobs.job_data import Location
from local_cloud.sagemaker.model_data import fetch_object
from local_cloud.sagemaker.service import Request, Response, Sagemaker, operation, page
from local_cloud.sagemaker.store import Document
from local_cloud.sagemaker.studio import image_events, images, kinds
from local_cloud.sagemaker.studio.entities import Entity, Failed, Motion

SECONDS = 10.0
_ECR = re.compile(
    r"(?P<registry>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?/"
    r"(?P<repository>[a-z0-9][a-z0-9._/-]*)(:(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})|@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_PROPERTIES = ("VendorGuidance", "JobType", "MLFramework", "ProgrammingLang", "Processor", "Horovod", "ReleaseNotes")
_SUMMARY = (
    "CreationTime",
    "FailureReason",
    "ImageArn",
    "ImageVersionArn",
    "ImageVersionStatus",
    "LastModifiedTime",
    "Version",
)


def _resolve(service: Sagemaker, caller: Caller, version: Document) -> dict[str, Any]:
    """Look the container image up as the image's role: ContainerImage names it by what cannot change."""
    image = images.IMAGE.find(service, caller, version["ImageName"].lower())
    try:
        credentials = service.platform.assume_role(image["RoleArn"], "SageMaker")
    except RoleRefused as error:
        raise Failed(str(error)) from None
    find = _in_s3 if is_build_context(version["BaseImage"]) else _in_ecr
    try:
        return {"ContainerImage": find(service, caller, version["BaseImage"], credentials)}
    except ClientError as error:
        raise Failed(f"{version['BaseImage']}: {error.response['Error']['Message']}") from None
    finally:
        service.platform.forget_session(credentials)


def _in_ecr(service: Sagemaker, _caller: Caller, base: str, credentials: Credentials) -> str:
    """The image by its digest."""
    address = _ECR.fullmatch(base)
    assert address is not None, "refused when it was created"
    wanted = {"imageDigest": address["digest"]} if address["digest"] else {"imageTag": address["tag"] or "latest"}
    found = service.platform.client("ecr", address["region"], credentials).batch_get_image(
        registryId=address["registry"], repositoryName=address["repository"], imageIds=[wanted]
    )["images"]
    if not found:
        raise Failed(f"The container image {base} does not exist in Amazon ECR.")
    repository = base.partition("@")[0]
    if address["tag"]:
        repository = repository.rpartition(":")[0]
    return f"{repository}@{found[0]['imageId']['imageDigest']}"


def _in_s3(service: Sagemaker, caller: Caller, base: str, credentials: Credentials) -> str:
    """The build context itself, which has the hash of its content in its name; nothing is built, for no app runs here."""
    location = Location.parse(base)
    s3 = service.platform.client("s3", caller.region, credentials)
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "context.zip")
        fetch_object(s3, location.bucket, location.key, archive)
        try:
            dockerfile_of(archive, base)
        except ContainerError as error:
            raise Failed(str(error)) from None
    return base


VERSION = Entity(
    images.VERSION_KIND,
    "ImageVersion",
    {
        "CREATING": Motion("CREATED", "CREATE_FAILED", SECONDS, _resolve),
        "DELETING": Motion(None, "DELETE_FAILED", SECONDS),
    },
    status_key="ImageVersionStatus",
    hidden=frozenset({"ImageName", "Aliases", "ClientToken"}),
    changed=image_events.send_version,
)


def find(service: Sagemaker, caller: Caller, image_name: str, number: int) -> Document:
    """A version of an image.

    Raises:
        ResourceNotFound: there is none of that number.
    """
    return VERSION.find(service, caller, f"{image_name.lower()}/{number}")


@operation("CreateImageVersion")
def create_image_version(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """CreateImageVersion: the next number, CREATING; the same ClientToken once more is the same version."""
    base = request["BaseImage"]
    if is_build_context(base):
        if not all(base.removeprefix("s3://").partition("/")):
            raise ValidationError(
                f"BaseImage {base} names no object: s3://BUCKET/KEY of a zipped build context is expected."
            )
    elif not _ECR.fullmatch(base):
        raise ValidationError(
            f"BaseImage {base} is no address in Amazon ECR: "
            "ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY[:TAG or @DIGEST] is expected."
        )
    with service.store.transaction():
        image = images.IMAGE.find(service, caller, request["ImageName"].lower())
        for version in _of(service, caller, image):
            if version["ClientToken"] == request["ClientToken"]:
                return {"ImageVersionArn": version["ImageVersionArn"]}
        images.IMAGE.refuse_in_motion(image, "create a version of")
        if image["ImageStatus"] == "CREATE_FAILED":
            raise ResourceInUse(f"Image [{image['ImageArn']}] is in status CREATE_FAILED and can have no version.")
        aliases = list(dict.fromkeys(request.get("Aliases") or []))
        _refuse_taken(service, caller, image, aliases)
        number = image["LastVersion"] + 1
        images.IMAGE.change(service, caller, image["ImageName"].lower(), lambda found: found.update(LastVersion=number))
        document: Document = {
            "ImageName": image["ImageName"],
            "ImageArn": image["ImageArn"],
            "BaseImage": request["BaseImage"],
            "Version": number,
            "Aliases": aliases,
            "ClientToken": request["ClientToken"],
            "ImageVersionStatus": "CREATING",
            **{member: request[member] for member in _PROPERTIES if request.get(member) is not None},
        }
        created = VERSION.insert(service, caller, f"{image['ImageName'].lower()}/{number}", document, None)
    return {"ImageVersionArn": created["ImageVersionArn"]}


@operation("DescribeImageVersion")
def describe_image_version(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DescribeImageVersion: the one of that number or alias, or else the newest."""
    return VERSION.described(_asked(service, caller, request))


@operation("UpdateImageVersion")
def update_image_version(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """UpdateImageVersion: other aliases and properties."""
    with service.store.transaction():
        version = _asked(service, caller, request)
        image = images.IMAGE.find(service, caller, version["ImageName"].lower())
        added = [alias for alias in request.get("AliasesToAdd") or [] if alias not in version["Aliases"]]
        _refuse_taken(service, caller, image, added)

        def change(document: Document) -> None:
            VERSION.refuse_in_motion(document, "update")
            gone = set(request.get("AliasesToDelete") or [])
            if missing := sorted(gone - set(document["Aliases"])):
                raise ResourceNotFound(
                    f"ImageVersion [{document['ImageVersionArn']}] has no alias {', '.join(missing)}."
                )
            document["Aliases"] = [alias for alias in document["Aliases"] if alias not in gone] + added
            document.update({member: request[member] for member in _PROPERTIES if request.get(member) is not None})

        VERSION.change(service, caller, VERSION.path_of(version), change)
    return {"ImageVersionArn": version["ImageVersionArn"]}


@operation("ListImageVersions")
def list_image_versions(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """ListImageVersions."""
    found = _of(service, caller, images.IMAGE.find(service, caller, request["ImageName"].lower()))
    kept = kinds.listed(found, request, default_order="DESCENDING")
    summaries = [{member: version[member] for member in _SUMMARY if member in version} for version in kept]
    return page(summaries, request, "ImageVersions")


@operation("ListAliases")
def list_aliases(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """ListAliases: of the whole image, or of the version of that number or alias."""
    if request.get("Version") is not None or request.get("Alias"):
        versions = [_asked(service, caller, request)]
    else:
        versions = _of(service, caller, images.IMAGE.find(service, caller, request["ImageName"].lower()))
    aliases: list[Any] = sorted(alias for version in versions for alias in version["Aliases"])
    return page(aliases, request, "SageMakerImageVersionAliases")


@operation("DeleteImageVersion")
def delete_image_version(service: Sagemaker, caller: Caller, request: Request) -> Response:
    """DeleteImageVersion; refused while an app uses it. Its number is not given again."""
    if request.get("Version") is None and not request.get("Alias"):
        raise ValidationError("DeleteImageVersion needs the Version or the Alias of what shall go.")

    def change(document: Document) -> None:
        VERSION.refuse_in_motion(document, "delete")
        apps = kinds.users_of(service, caller, document["ImageVersionArn"])["App"]
        kinds.refuse_while(VERSION, document, "delete", App=apps)

    version = _asked(service, caller, request)
    VERSION.change(service, caller, VERSION.path_of(version), change, status="DELETING")
    return {}


def _of(service: Sagemaker, caller: Caller, image: Document) -> list[Document]:
    return [each for each in VERSION.all(service, caller) if each["ImageArn"] == image["ImageArn"]]


def _asked(service: Sagemaker, caller: Caller, request: Request) -> Document:
    if request.get("Version") is not None and request.get("Alias"):
        raise ValidationError("Version and Alias name the same thing: give one of them.")
    if request.get("Version") is not None:
        return find(service, caller, request["ImageName"], request["Version"])
    image = images.IMAGE.find(service, caller, request["ImageName"].lower())
    versions = _of(service, caller, image)
    if alias := request.get("Alias"):
        versions = [version for version in versions if alias in version["Aliases"]]
    if not versions:
        what = f"with the alias {alias}" if alias else "yet"
        raise ResourceNotFound(f"Image [{image['ImageArn']}] has no version {what}.")
    return max(versions, key=lambda version: int(version["Version"]))


def _refuse_taken(service: Sagemaker, caller: Caller, image: Document, aliases: list[str]) -> None:
    """An alias stands for one version; no document says that a second use would move it, so it is refused."""
    for version in _of(service, caller, image):
        if taken := sorted(set(aliases) & set(version["Aliases"])):
            raise ResourceInUse(f"The alias {taken[0]} is that of ImageVersion [{version['ImageVersionArn']}].")
