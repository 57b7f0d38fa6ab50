"""Model artefacts: where they are in S3, and how they come to `/opt/ml/model`."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from local_cloud.sagemaker.errors import NotEmulated, ValidationError

_CHUNK_BYTES = 1024 * 1024


class BadModelData(Exception):
    """The artefact is not what its request says that it is."""


@dataclass(frozen=True)
class ModelData:
    """Where a model artefact is.

    Attributes:
        bucket: the bucket.
        key: the object's key, or the prefix of all objects.
        is_prefix: whether every object below `key` belongs to the artefact.
        is_archive: whether it is one gzip-compressed tar archive; its content, not itself, becomes `/opt/ml/model`.
    """

    bucket: str
    key: str
    is_prefix: bool = False
    is_archive: bool = True

    @property
    def uri(self) -> str:
        """As the request wrote it."""
        return f"s3://{self.bucket}/{self.key}"

    @classmethod
    def of(cls, container: Mapping[str, Any]) -> ModelData | None:
        """The model data of a ContainerDefinition, by ModelDataUrl or ModelDataSource; None if it has none.

        Raises:
            NotEmulated: another kind of source.
            ValidationError: both are given, or the URL does not fit.
        """
        url, source = container.get("ModelDataUrl"), (container.get("ModelDataSource") or {}).get("S3DataSource")
        if url and source:
            raise ValidationError("Give either ModelDataUrl or ModelDataSource, not both.")
        if url:
            return cls(*split(url))
        if not source:
            return None
        for member in ("ModelAccessConfig", "HubAccessConfig", "ManifestS3Uri"):
            if source.get(member):
                raise NotEmulated(f"The local cloud does not emulate {member} of ModelDataSource.")
        bucket, key = split(source["S3Uri"])
        is_prefix, is_archive = source["S3DataType"] == "S3Prefix", source["CompressionType"] == "Gzip"
        # ModelDataSource in the API reference: a prefix ends with a slash, and an archive is always one object.
        if is_prefix and is_archive:
            raise ValidationError("CompressionType Gzip needs S3DataType S3Object: an archive is one object.")
        if is_prefix and not key.endswith("/"):
            raise ValidationError(f"The S3Uri of an S3Prefix must end with a slash, got {source['S3Uri']}")
        return cls(bucket, key, is_prefix, is_archive)


def exists(s3: Any, data: ModelData) -> bool:
    """Whether there is an artefact.

    Args:
        s3: a client with the credentials of whoever may ask.
        data: where it would be.

    Raises:
        botocore.exceptions.ClientError: S3 refuses to say.
    """
    try:
        if data.is_prefix:
            return bool(s3.list_objects_v2(Bucket=data.bucket, Prefix=data.key, MaxKeys=1).get("KeyCount", 0))
        s3.head_object(Bucket=data.bucket, Key=data.key)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NoSuchBucket", "NotFound"):
            return False
        raise
    return True


def could_not_access(data: ModelData, role_arn: str, region: str, detail: str = "") -> str:
    """SageMaker's words for model data that a role cannot read, and what S3 said."""
    message = (
        f'Could not access model data at {data.uri}. Please ensure that the role "{role_arn}" exists and that its trust '
        f'relationship policy allows the action "sts:AssumeRole" for the service principal "sagemaker.amazonaws.com". '
        f'Also ensure that the role has "s3:GetObject" permissions and that the object is located in {region}.'
    )
    return f"{message} {detail}".rstrip()


def denied_read(bucket: str, key: str, error: Exception) -> str:
    """What a role needs to read an object, and what S3 said: S3 itself does not name the resource."""
    return f"It needs s3:GetObject on arn:aws:s3:::{bucket}/{key}. {error}"


def download(s3: Any, data: ModelData, folder: Path) -> None:
    """Put an artefact into a folder, which becomes `/opt/ml/model`.

    Args:
        s3: a client with the credentials of whoever may read it.
        data: where it is.
        folder: made if it is not there.

    Raises:
        botocore.exceptions.ClientError: S3 refuses.
        BadModelData: it is no archive, an archive that would write outside the folder, or an empty prefix.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if data.is_prefix:
        _download_prefix(s3, data, folder)
    elif data.is_archive:
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            archive = Path(temporary) / "model.tar.gz"
            fetch_object(s3, data.bucket, data.key, archive)
            extract(archive, folder, data.uri)
    else:
        fetch_object(s3, data.bucket, data.key, folder / PurePosixPath(data.key).name)
    for path in (folder, *folder.rglob("*")):
        # Images run as a user of their own, and an archive may have been packed by one who kept the files to himself.
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))


def fetch_object(s3: Any, bucket: str, key: str, path: Path) -> None:
    """Download one object.

    Raises:
        botocore.exceptions.ClientError: S3 refuses.
    """
    body = s3.get_object(Bucket=bucket, Key=key)["Body"]
    with path.open("wb") as file:
        for chunk in body.iter_chunks(_CHUNK_BYTES):
            file.write(chunk)


def extract(archive: Path, folder: Path, uri: str) -> None:
    """Unpack a tar.gz without letting it write, link or point outside the folder.

    Raises:
        BadModelData: it is no gzip-compressed tar archive, or a member of it is unsafe; names the member.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            tar.extractall(folder, filter="data")
    except tarfile.FilterError as error:
        raise BadModelData(f"The archive {uri} is unsafe: {error}") from error
    except (tarfile.TarError, OSError, EOFError) as error:
        raise BadModelData(f"{uri} is not a gzip-compressed tar archive: {error}") from error


def copy(folder: Path, to: Path) -> None:
    """Give an instance its own copy: what one server does to its files must not reach another."""
    shutil.copytree(folder, to, symlinks=True)


def split(url: str, *, bucket_alone: bool = False) -> tuple[str, str]:
    """The bucket and the key of an address; the key may be missing where `bucket_alone` says so.

    Raises:
        NotEmulated: it is not s3://bucket/key.
    """
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc or not (bucket_alone or parts.path.strip("/")):
        raise NotEmulated(f"The local cloud takes model data from s3://bucket/key, not from {url}.")
    return parts.netloc, parts.path.lstrip("/")


def _download_prefix(s3: Any, data: ModelData, folder: Path) -> None:
    found = False
    for listed in s3.get_paginator("list_objects_v2").paginate(Bucket=data.bucket, Prefix=data.key):
        for item in listed.get("Contents", []):
            found = True
            relative = item["Key"][len(data.key) :]
            path = (folder / relative).resolve()
            if not path.is_relative_to(folder.resolve()):
                raise BadModelData(
                    f"The object s3://{data.bucket}/{item['Key']} would be written outside of the model."
                )
            if relative and not relative.endswith("/"):
                path.parent.mkdir(parents=True, exist_ok=True)
                fetch_object(s3, data.bucket, item["Key"], path)
    if not found:
        raise BadModelData(f"There is no object below {data.uri}")
