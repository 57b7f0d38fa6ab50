"""A version of the model registry as a deployment needs it: is it ours, may it be served, what must it answer?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from .golden_records import METADATA_KEY, GoldenRecords, InvalidRecords, parse
from .problems import Problem

_PACKAGE = re.compile(
    r"arn:(?P<partition>[^:]+):sagemaker:(?P<region>[^:]+):(?P<account>\d+):model-package/(?P<group>[^/]+)/(?P<number>\d+)"
)
_GROUP = re.compile(
    r"arn:(?P<partition>[^:]+):sagemaker:(?P<region>[^:]+):(?P<account>\d+):model-package-group/(?P<group>[^/]+)"
)
_PLACE = ("partition", "region", "account", "group")
_DESCRIPTION = "docs/reference/golden-records.md"
_NOT_THERE = ("NoSuchKey", "NoSuchBucket", "404")
_DENIED = ("AccessDenied", "AccessDeniedException", "403")


class Refused(Problem):
    """A version that must not be served; the message says which, why, and what to do."""


@dataclass(frozen=True)
class Version:
    """A version of the registry.

    Attributes:
        arn: of the model package.
        golden_records_uri: where in S3 they are.
    """

    arn: str
    golden_records_uri: str

    @property
    def name(self) -> str:
        """How people speak of it: `version 3 of sagestack-prod-housing`."""
        return name_of(self.arn)


def name_of(arn: str) -> str:
    """How people speak of a model package: `version 3 of sagestack-prod-housing`."""
    found = _PACKAGE.fullmatch(arn)
    return f"version {found['number']} of {found['group']}" if found else arn


def find(sagemaker: Any, arn: str) -> Version:
    """A version and where its golden records are, approved or not.

    Raises:
        Refused: it cannot be described, or names no golden records.
    """
    described = _described(sagemaker, arn)
    uri = described.get("CustomerMetadataProperties", {}).get(METADATA_KEY, "")
    if not uri:
        raise Refused(
            f"{name_of(arn)} has no golden records: its CustomerMetadataProperties name no {METADATA_KEY!r}. Register it"
            f" again by a run of the pipeline, or write the file and name it ({_DESCRIPTION})."
        )
    return Version(arn, uri)


def check(sagemaker: Any, s3: Any, arn: str, group_arn: str) -> GoldenRecords:
    """What a version must answer, once it is clear that it may be served here.

    Args:
        sagemaker: a client.
        s3: a client.
        arn: the model package.
        group_arn: the model package group that the endpoint serves versions of.

    Raises:
        Refused: it is of another group or account, is not there, was not approved, or its golden records cannot be read.
    """
    package, group = _PACKAGE.fullmatch(arn), _GROUP.fullmatch(group_arn)
    if not package or not group or any(package[part] != group[part] for part in _PLACE):
        raise Refused(
            f"{arn} is not a version of {group_arn}, which this endpoint serves: pin a version of that group."
        )
    described = _described(sagemaker, arn)
    status, approval = described.get("ModelPackageStatus"), described.get("ModelApprovalStatus")
    if status != "Completed":
        raise Refused(f"{name_of(arn)} is {status}, not Completed: register it again, or pin another version.")
    if approval != "Approved":
        raise Refused(
            f"{name_of(arn)} is {approval}, not Approved: approve it (sagestack approve {package['number']}) and"
            " deploy again, or pin one that is approved."
        )
    return read(s3, find(sagemaker, arn))


def read(s3: Any, version: Version) -> GoldenRecords:
    """The golden records of a version.

    Raises:
        Refused: they are not there, may not be read, or are not valid.
    """
    uri = version.golden_records_uri
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not key:
        raise Refused(
            f"{version.name}: its golden records are at {uri!r}, which is no s3://bucket/key ({_DESCRIPTION})."
        )
    try:
        content = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        code = error.response["Error"].get("Code", "")
        if code in _NOT_THERE:
            raise Refused(
                f"{version.name}: there are no golden records at {uri}. The step Evaluate writes them; put the file there,"
                f" or register the version again ({_DESCRIPTION})."
            ) from error
        if code in _DENIED:
            raise Refused(
                f"{version.name}: its golden records at {uri} may not be read by the deployment gate. They must be among"
                f" the outputs of the model's pipeline ({_DESCRIPTION}). {error}"
            ) from error
        raise
    try:
        return parse(content, uri)
    except InvalidRecords as error:
        raise Refused(f"{version.name}: its golden records are not valid. {error} ({_DESCRIPTION}).") from error


def _described(sagemaker: Any, arn: str) -> dict[str, Any]:
    try:
        return dict(sagemaker.describe_model_package(ModelPackageName=arn))
    except ClientError as error:
        code = error.response["Error"].get("Code", "")
        if code in _DENIED:
            raise Refused(
                f"{name_of(arn)} may not be read by the deployment gate: it belongs to another account, which must"
                f" grant access first, or it is not there. {error}"
            ) from error
        if code in ("ValidationException", "ResourceNotFound"):
            raise Refused(
                f"{name_of(arn)} is not in the registry ({arn}): pin a version that is, or run the pipeline to register one."
                f" {error}"
            ) from error
        raise
