"""A bucket in memory, as the program that backs up a volume sees it."""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator
from typing import Any

import boto3
from botocore.exceptions import ClientError
from botocore.validate import validate_parameters


@functools.cache
def _operations() -> Any:
    return boto3.client("s3", region_name="us-east-1").meta


def _check(operation: str, parameters: dict[str, Any]) -> None:
    """Refuses what the real client refuses."""
    meta = _operations()
    name = meta.method_to_api_mapping[operation]
    validate_parameters(parameters, meta.service_model.operation_model(name).input_shape)


class Bucket:
    """An S3 client with one bucket; `calls` are the operations that it was asked for, `fail` makes some of them fail."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.calls: list[str] = []
        self.fail: dict[str, Exception] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.page = 1000

    def _called(self, operation: str, **parameters: Any) -> None:
        _check(operation, parameters)
        self.calls.append(operation)
        if operation in self.fail:
            raise self.fail[operation]

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_objects_v2"
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:  # noqa: N803
        self._called("list_objects_v2", Bucket=Bucket, Prefix=Prefix)
        keys = sorted(key for key in self.objects if key.startswith(Prefix))
        if not keys:
            yield {}
        for start in range(0, len(keys), self.page):
            yield {
                "Contents": [{"Key": key, "Size": len(self.objects[key])} for key in keys[start : start + self.page]]
            }

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        self._called("get_object", Bucket=Bucket, Key=Key)
        if Key not in self.objects:
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": "no such key"}}, "GetObject")
        return {"Body": io.BytesIO(self.objects[Key])}

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> dict[str, Any]:  # noqa: N803
        self._called("put_object", Bucket=Bucket, Key=Key, Body=Body)
        self.objects[Key] = Body
        return {}

    def create_multipart_upload(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        self._called("create_multipart_upload", Bucket=Bucket, Key=Key)
        self.uploads[Key] = {}
        return {"UploadId": Key}

    def upload_part(self, *, Bucket: str, Key: str, UploadId: str, PartNumber: int, Body: bytes) -> dict[str, Any]:  # noqa: N803
        self._called("upload_part", Bucket=Bucket, Key=Key, UploadId=UploadId, PartNumber=PartNumber, Body=Body)
        self.uploads[UploadId][PartNumber] = Body
        return {"ETag": str(PartNumber)}

    def complete_multipart_upload(
        self,
        *,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        UploadId: str,  # noqa: N803
        MultipartUpload: dict[str, Any],  # noqa: N803
    ) -> dict[str, Any]:
        self._called(
            "complete_multipart_upload", Bucket=Bucket, Key=Key, UploadId=UploadId, MultipartUpload=MultipartUpload
        )
        parts = self.uploads.pop(UploadId)
        self.objects[Key] = b"".join(parts[each["PartNumber"]] for each in MultipartUpload["Parts"])
        return {}

    def abort_multipart_upload(self, *, Bucket: str, Key: str, UploadId: str) -> dict[str, Any]:  # noqa: N803
        self._called("abort_multipart_upload", Bucket=Bucket, Key=Key, UploadId=UploadId)
        self.uploads.pop(UploadId)
        return {}

    def delete_objects(self, *, Bucket: str, Delete: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
        self._called("delete_objects", Bucket=Bucket, Delete=Delete)
        for each in Delete["Objects"]:
            self.objects.pop(each["Key"], None)
        return {}
