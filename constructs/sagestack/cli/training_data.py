"""Brings a model's data to where its pipeline reads it, and overwrites nobody's data unasked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sagestack.cli.errors import CliError

if TYPE_CHECKING:
    from sagestack.cli.session import Session
    from sagestack.settings import Model

SAMPLE_MARK = "sagestack-sample"
"""The object metadata that tells the repository's sample from data that somebody brought."""
CHECKSUM = "sagestack-sha256"
"""The SHA-256 of the content, in hexadecimal. S3's ETag is no checksum under KMS encryption, and S3's own
checksums are not one of the whole content when it came in parts."""


@dataclass(frozen=True)
class Upload:
    """What became of the data."""

    uri: str
    action: Literal["uploaded", "unchanged", "kept"]
    explanation: str
    others: tuple[str, ...] = ()
    """Other files that the pipeline will read, too, because they have the same prefix."""


def upload(session: Session, model: Model, file: Path | None) -> Upload:
    """Uploads the data of a model where it is not there yet or is different.

    Without `file` it is the sample of model.yaml, which replaces nothing but an older sample. A file that is named
    replaces whatever is there; the bucket keeps the earlier version.

    Raises:
        CliError: the file cannot be read or is empty, or the environment is not deployed.
    """
    bucket = session.parameter(session.names.data_bucket_parameter, "data bucket")
    prefix = session.names.model(model.name).input_prefix
    key = prefix + Path(model.data.file).name
    uri = f"s3://{bucket}/{key}"
    source = file or model.data_file
    try:
        size = source.stat().st_size
        digest = _sha256(source)
    except OSError as error:
        raise CliError(f"{source} cannot be read: {error.strerror}.", code="usage") from error
    if size == 0:
        raise CliError(f"{source} is empty.", code="usage")
    others = tuple(k for k in _keys(session, bucket, prefix) if k != key)
    there = _metadata(session, bucket, key)
    if there is not None and there.get(CHECKSUM) == digest:
        return Upload(uri, "unchanged", f"{uri} is up to date", others)
    if file is None and there is None and others:
        return Upload(uri, "kept", f"s3://{bucket}/{prefix} has data already; the sample was not added to it", others)
    if file is None and there is not None and SAMPLE_MARK not in there:
        text = f"{uri} is not the repository's sample and was kept; --data {model.data_file} would replace it"
        return Upload(uri, "kept", text, others)
    is_sample = source.resolve() == model.data_file.resolve()
    session.s3.upload_file(
        str(source),
        bucket,
        key,
        ExtraArgs={"Metadata": {CHECKSUM: digest, **({SAMPLE_MARK: "true"} if is_sample else {})}},
    )
    return Upload(uri, "uploaded", f"Uploaded {source.name} to {uri}", others)


def _metadata(session: Session, bucket: str, key: str) -> dict[str, str] | None:
    from botocore.exceptions import ClientError

    try:
        return session.s3.head_object(Bucket=bucket, Key=key)["Metadata"]
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
            return None
        raise


def _keys(session: Session, bucket: str, prefix: str) -> list[str]:
    pages = session.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    # A key that ends in a slash is a folder that the console made.
    return [item["Key"] for page in pages for item in page.get("Contents", []) if not item["Key"].endswith("/")]


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
