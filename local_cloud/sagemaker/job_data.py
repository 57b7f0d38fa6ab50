"""Moves a job's data between S3 and its folders, with the credentials of the job's role and errors that name the grant."""

from __future__ import annotations

import json
import posixpath
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import botocore.exceptions
from s3transfer.manager import TransferConfig, TransferManager

CHUNK_BYTES = 1024 * 1024
PARALLEL_TRANSFERS = 8
"""Objects that are on their way at once; more gain nothing against a server on the same machine."""
_DENIED = {"AccessDenied", "AccessDeniedException", "403", "Forbidden"}


class DataError(Exception):
    """Data cannot be read or written; the message says which, and which permission is missing where that is why."""


class Location(NamedTuple):
    """A place in S3; the key may be empty or a prefix."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, uri: str) -> Location:
        """From `s3://bucket/key`.

        Raises:
            ValueError: it is no such address.
        """
        scheme, separator, rest = uri.partition("://")
        bucket, _, key = rest.partition("/")
        if scheme != "s3" or not separator or not bucket:
            raise ValueError(f"{uri} is not an address of the form s3://bucket/key")
        return cls(bucket, key)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @property
    def arn(self) -> str:
        """Of the object, or of the bucket where there is no key."""
        return f"arn:aws:s3:::{self.bucket}/{self.key}" if self.key else f"arn:aws:s3:::{self.bucket}"

    def below(self, relative: str) -> Location:
        """A place below this one."""
        return Location(self.bucket, posixpath.join(self.key, relative) if self.key else relative)


@dataclass(frozen=True)
class JobData:
    """The data of one job.

    Attributes:
        client: S3 with the credentials of the job's role.
        role_arn: for messages.
        principal_arn: the role's session, for messages that S3 leaves unfinished.
        check: called between pieces of a download; raises where the job is to stop. What a job leaves is always uploaded.
    """

    client: Any
    role_arn: str
    principal_arn: str
    check: Callable[[], None]

    def download(self, source: Mapping[str, str], folder: Path) -> None:
        """What an S3DataSource or a ProcessingS3Input names, as files: by its S3Uri and S3DataType.

        Raises:
            DataError: it is not there, or may not be read.
        """
        if source["S3DataType"] == "S3Prefix":
            self.download_prefix(source["S3Uri"], folder)
        else:
            self.download_manifest(source["S3Uri"], folder)

    def download_prefix(self, uri: str, folder: Path) -> None:
        """All objects whose key begins with the address, as files: below their common folder, as SageMaker lays them out.

        Raises:
            DataError: there is no such object, or it may not be read.
        """
        location = Location.parse(uri)
        keys = [key for key in self._keys(location) if not key.endswith("/")]
        if not keys:
            raise DataError(self._nothing_found(uri, location))
        self._download_all([(Location(location.bucket, key), _relative(key, location.key)) for key in keys], folder)

    def download_manifest(self, uri: str, folder: Path) -> None:
        """The objects that a manifest lists: `[{"prefix": "s3://bucket/a/"}, "b.csv", ...]` (S3DataSource in the API reference).

        Raises:
            DataError: the manifest or an object in it may not be read, or it has another form.
        """
        manifest = folder / ".manifest"
        self.download_object(uri, manifest)
        try:
            head, *names = json.loads(manifest.read_text())
            prefix = Location.parse(head["prefix"])
            if not all(isinstance(name, str) for name in names):
                raise TypeError("an element after the first is not a string")
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"The manifest {uri} is not a list of a prefix and names after it: {error!r}") from error
        finally:
            manifest.unlink(missing_ok=True)
        self._download_all([(Location(prefix.bucket, prefix.key + name), name) for name in names], folder)

    def download_object(self, uri: str, path: Path) -> None:
        """One object as a file.

        Raises:
            DataError: there is no such object, or it may not be read.
        """
        self._download(Location.parse(uri), path)

    def upload_file(self, path: Path, uri: str, kms_key_id: str | None) -> None:
        """One file as an object.

        Raises:
            DataError: it may not be written.
        """
        self._upload([(path, Location.parse(uri))], kms_key_id)

    def upload_folder(self, folder: Path, uri: str, kms_key_id: str | None) -> int:
        """All files of a folder, below an address; how many there were.

        Raises:
            DataError: one may not be written.
        """
        location = Location.parse(uri)
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        self._upload(
            [(path, location.below(path.relative_to(folder).as_posix())) for path in files],
            kms_key_id,
        )
        return len(files)

    def _keys(self, location: Location) -> Iterator[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=location.bucket, Prefix=location.key)
        try:
            for page in pages:
                self.check()
                yield from (item["Key"] for item in page.get("Contents", ()))
        except botocore.exceptions.ClientError as error:
            bucket = Location(location.bucket, "")
            message = self._explained(error, "s3:ListBucket", bucket)
            if error.response["Error"]["Code"] in _DENIED:
                raise DataError(message) from error
            raise DataError(
                f"{self._nothing_found(str(location), location)} Error message from S3: {message}"
            ) from error

    def _nothing_found(self, uri: str, location: Location) -> str:
        return (
            f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket exists '
            f"in the selected region ({self.client.meta.region_name}), that objects exist under that S3 prefix, and that "
            f'the role "{self.role_arn}" has "s3:ListBucket" permissions on bucket "{location.bucket}".'
        )

    def _download_all(self, objects: Iterable[tuple[Location, str]], folder: Path) -> None:
        places: dict[str, Location] = {}
        for location, name in objects:
            if posixpath.isabs(name) or ".." in name.split("/"):
                raise DataError(f"The key of {location} leads out of the job's folder")
            if name in places:
                raise DataError(f"{places[name]} and {location} would both be the file {name}")
            places[name] = location
        # A file and a folder of one name can exist in S3, but not side by side on a disk.
        if clash := next((parent for name in places for parent in _parents(name) if parent in places), None):
            raise DataError(f"{places[clash]} would be a file where other objects need a folder")
        with ThreadPoolExecutor(min(PARALLEL_TRANSFERS, len(places)) or 1) as pool:
            list(pool.map(lambda item: self._download(item[1], folder / item[0]), places.items()))

    def _download(self, location: Location, path: Path) -> None:
        self.check()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Not download_file: it asks for the head first, and the denial of a HEAD has no text.
            body = self.client.get_object(Bucket=location.bucket, Key=location.key)["Body"]
            with path.open("wb") as file:
                for chunk in body.iter_chunks(CHUNK_BYTES):
                    self.check()
                    file.write(chunk)
        except botocore.exceptions.ClientError as error:
            raise DataError(self._explained(error, "s3:GetObject", location)) from error
        except botocore.exceptions.BotoCoreError as error:
            raise DataError(f"{location}: {error}") from error

    def _upload(self, files: list[tuple[Path, Location]], kms_key_id: str | None) -> None:
        extra = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key_id} if kms_key_id else {}
        with TransferManager(self.client, TransferConfig(max_request_concurrency=PARALLEL_TRANSFERS)) as transfers:
            started = [
                (location, transfers.upload(str(path), location.bucket, location.key, extra))
                for path, location in files
            ]
            for location, transfer in started:
                try:
                    transfer.result()
                except botocore.exceptions.ClientError as error:
                    raise DataError(self._explained(error, "s3:PutObject", location)) from error
                except botocore.exceptions.BotoCoreError as error:
                    raise DataError(f"{location}: {error}") from error

    def _explained(self, error: botocore.exceptions.ClientError, action: str, location: Location) -> str:
        """What S3 answered, completed by what it leaves out: a denial names who, what and where, the rest names the object."""
        code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
        if code in _DENIED:
            # S3 may name another action (kms:GenerateDataKey): then its own words are the better ones.
            if "is not authorized to perform" in message and " on resource: " in message:
                return message
            return f"User: {self.principal_arn} is not authorized to perform: {action} on resource: {location.arn}"
        return f"{message or code} ({location})"


def pack(folder: Path, archive: Path) -> None:
    """Write a folder's content as a .tar.gz, with names relative to the folder."""
    # 6 is gzip's own default; Python's 9 takes three times as long and gains a percent on model files.
    with tarfile.open(archive, "w:gz", compresslevel=6) as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, arcname=path.name)


def _relative(key: str, prefix: str) -> str:
    """The name of an object's file: relative to the prefix taken as a folder, else to the folder that the prefix is in."""
    folder = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
    if key.startswith(folder):
        return key[len(folder) :].lstrip("/")
    return key[prefix.rfind("/") + 1 :]


def _parents(name: str) -> Iterator[str]:
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name
