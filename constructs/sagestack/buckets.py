"""The buckets that data, artefacts and the logs of who read them live in."""

from __future__ import annotations

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3

from constructs import Construct

_ABANDONED_UPLOAD = cdk.Duration.days(7)


class AccessLogBucket(s3.Bucket):
    """Keeps the record of who read and wrote the other buckets.

    Encrypted by S3 rather than with a key of ours: log delivery is not one of our principals, and the record
    must still be readable when a key is not. `expire_after` is the age at which a record is deleted;
    `removal_policy` says what becomes of the bucket when the stack is deleted. Uploads that were begun and never
    ended are removed after 7 days, here and in the other buckets: nobody can see them, and they cost.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html
    """

    def __init__(
        self, scope: Construct, id: str, *, expire_after: cdk.Duration, removal_policy: cdk.RemovalPolicy
    ) -> None:
        super().__init__(
            scope,
            id,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            lifecycle_rules=[
                s3.LifecycleRule(expiration=expire_after, abort_incomplete_multipart_upload_after=_ABANDONED_UPLOAD)
            ],
            removal_policy=removal_policy,
        )


class PrivateBucket(s3.Bucket):
    """Keeps what must be neither lost nor read by others: versioned, encrypted with our key, TLS only, access-logged.

    Removing the stack never removes what is in it: CloudFormation refuses to delete a bucket that is not empty.
    Current objects never expire, but for those below a prefix of `expire_after`; `noncurrent_version_expiration` is how
    long one can be restored after it was overwritten or deleted. What expires cannot: it is gone a day later, since how
    long requests of people are kept is a promise. The construct's id is the prefix of its access logs.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        encryption_key: kms.IKey,
        server_access_logs_bucket: s3.IBucket,
        noncurrent_version_expiration: cdk.Duration,
        removal_policy: cdk.RemovalPolicy,
        expire_after: Mapping[str, cdk.Duration] | None = None,
    ) -> None:
        super().__init__(
            scope,
            id,
            encryption=s3.BucketEncryption.KMS,
            encryption_key=encryption_key,
            # One data key for many objects: SageMaker reads thousands, and each would be a paid call to KMS.
            bucket_key_enabled=True,
            enforce_ssl=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            versioned=True,
            server_access_logs_bucket=server_access_logs_bucket,
            # The same line in every bucket's log would not say which bucket was read.
            server_access_logs_prefix=f"{id}/",
            lifecycle_rules=[
                s3.LifecycleRule(
                    noncurrent_version_expiration=noncurrent_version_expiration,
                    abort_incomplete_multipart_upload_after=_ABANDONED_UPLOAD,
                    expired_object_delete_marker=True,
                ),
                *(
                    s3.LifecycleRule(prefix=prefix, expiration=age, noncurrent_version_expiration=cdk.Duration.days(1))
                    for prefix, age in sorted((expire_after or {}).items())
                ),
            ],
            removal_policy=removal_policy,
        )
