"""Moves a job's data between S3 and its folders, with the credentials of the job's role and errors that name the grant."""

from __future__ import annotations

import json
import posixpath
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

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


class S3Object(NamedTuple):
    """An object that a job reads.

    Attributes:
        location: where it is.
        name: the name of its file, below the folder of its channel.
    """

    location: Location
    name: str


@dataclass(frozen=True)
class Shard:
    """A host's share of the objects of a channel: one of each `count`, beginning at `first`.

    SageMaker promises about as many objects for each host (S3DataDistributionType in the API reference), not which.
    """

    first: int
    count: int

    def of(self, objects: Sequence[S3Object]) -> Sequence[S3Object]:
        """The objects of this share; may be none."""
        return objects[self.first :: self.count]


WHOLE = Shard(0, 1)


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

    def objects(self, source: Mapping[str, str]) -> list[S3Object]:
        """What an S3DataSource or a ProcessingS3Input names by its S3Uri and S3DataType, in the order of keys or manifest.

        Raises:
            DataError: there is nothing, or it may not be listed.
        """
        if source["S3DataType"] == "S3Prefix":
            return self._with_prefix(source["S3Uri"])
        return self._in_manifest(source["S3Uri"])

    def download(self, source: Mapping[str, str], folder: Path, shard: Shard = WHOLE) -> None:
        """What an S3DataSource or a ProcessingS3Input names, or a host's share of it, as files.

        Raises:
            DataError: it is not there, or may not be read.
        """
        self.download_objects(shard.of(self.objects(source)), folder)

    def objects_below(self, uri: str) -> list[S3Object]:
        """All objects below an address, taken as a folder; none is no error.

        Raises:
            DataError: they may not be listed.
        """
        folder = Location.parse(f"{uri.rstrip('/')}/")
        keys = [key for key in self._keys(folder) if not key.endswith("/")]
        return [S3Object(Location(folder.bucket, key), key[len(folder.key) :]) for key in keys]

    def read_object(self, location: Location) -> tuple[Any, int]:
        """The content of an object as a stream that is to be closed, and its length in bytes.

        Raises:
            DataError: there is no such object, or it may not be read.
        """
        try:
            answer = self.client.get_object(Bucket=location.bucket, Key=location.key)
        except botocore.exceptions.ClientError as error:
            raise DataError(self._explained(error, "s3:GetObject", location)) from error
        except botocore.exceptions.BotoCoreError as error:
            raise DataError(f"{location}: {error}") from error
        return answer["Body"], answer["ContentLength"]

    def _with_prefix(self, uri: str) -> list[S3Object]:
        """All objects whose key begins with the address: below their common folder, as SageMaker lays them out."""
        location = Location.parse(uri)
        keys = [key for key in self._keys(location) if not key.endswith("/")]
        if not keys:
            raise DataError(self._nothing_found(uri, location))
        return [S3Object(Location(location.bucket, key), _relative(key, location.key)) for key in keys]

    def _in_manifest(self, uri: str) -> list[S3Object]:
        """Those that a manifest lists: `[{"prefix": "s3://bucket/a/"}, "b.csv", ...]` (S3DataSource in the API reference)."""
        body, _ = self.read_object(Location.parse(uri))
        with body:
            content = body.read()
        try:
            head, *names = json.loads(content)
            prefix = Location.parse(head["prefix"])
            if not all(isinstance(name, str) for name in names):
                raise TypeError("an element after the first is not a string")
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"The manifest {uri} is not a list of a prefix and names after it: {error!r}") from error
        return [S3Object(Location(prefix.bucket, prefix.key + name), name) for name in names]

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
        files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
        return self.upload_files(files, uri, kms_key_id)

    def upload_files(self, files: Mapping[str, Path], uri: str, kms_key_id: str | None) -> int:
        """Those of these that are files, below an address, by their names; how many there were.

        Raises:
            DataError: one may not be written.
        """
        location = Location.parse(uri)
        found = [(path, location.below(name)) for name, path in files.items() if path.is_file()]
        self._upload(found, kms_key_id)
        return len(found)

    def upload_stream(self, content: BinaryIO, location: Location) -> None:
        """What an open file holds, as an object.

        Raises:
            DataError: it may not be written.
        """
        self._upload([(content, location)], None)

    def delete_object(self, location: Location) -> None:
        """Remove an object; none of that key is no error.

        Raises:
            DataError: it may not be removed.
        """
        try:
            self.client.delete_object(Bucket=location.bucket, Key=location.key)
        except botocore.exceptions.ClientError as error:
            raise DataError(self._explained(error, "s3:DeleteObject", location)) from error
        except botocore.exceptions.BotoCoreError as error:
            raise DataError(f"{location}: {error}") from error

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

    def download_objects(self, objects: Iterable[S3Object], folder: Path) -> None:
        """These objects as files below a folder.

        Raises:
            DataError: one is not there or may not be read, or they cannot stand side by side.
        """
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
            body, _ = self.read_object(location)
            with body, path.open("wb") as file:
                for chunk in body.iter_chunks(CHUNK_BYTES):
                    self.check()
                    file.write(chunk)
        except botocore.exceptions.BotoCoreError as error:
            raise DataError(f"{location}: {error}") from error

    def _upload(self, files: Sequence[tuple[Path | BinaryIO, Location]], kms_key_id: str | None) -> None:
        extra = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key_id} if kms_key_id else {}
        with TransferManager(self.client, TransferConfig(max_request_concurrency=PARALLEL_TRANSFERS)) as transfers:
            started = [
                (
                    location,
                    transfers.upload(
                        str(content) if isinstance(content, Path) else content, location.bucket, location.key, extra
                    ),
                )
                for content, location in files
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


def pack(files: Mapping[str, Path], archive: Path) -> None:
    """Write files and folders as a .tar.gz, by their names in it."""
    # 6 is gzip's own default; Python's 9 takes three times as long and gains a percent on model files.
    with tarfile.open(archive, "w:gz", compresslevel=6) as tar:
        for name, path in files.items():
            tar.add(path, arcname=name, recursive=False)


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
