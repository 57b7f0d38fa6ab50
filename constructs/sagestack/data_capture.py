"""Keeps what an endpoint was asked and what it answered."""

from __future__ import annotations

import re
from collections.abc import Iterable

from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sagemaker as sagemaker

from sagestack import settings

_CSV = re.compile(r"[^/]+/csv")
_JSON = re.compile(r"[^/]+/(json|jsonlines)")
_MOST = 10


def data_capture_config(
    capture: settings.DataCapture,
    *,
    serving: settings.Serving,
    bucket: s3.IBucket,
    prefix: str,
    encryption_key: kms.IKey,
) -> sagemaker.CfnEndpointConfig.DataCaptureConfigProperty:
    """The part of an endpoint config that keeps requests and answers, below a prefix of their own.

    CSV and JSON are kept as text, everything else as base64:
    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CaptureContentTypeHeader.html

    Args:
        capture: how many of the requests.
        serving: what the model reads and writes.
        bucket: where to. How long it is kept is a lifecycle rule of the bucket.
        prefix: keys begin so, with a slash at the end; SageMaker adds endpoint, variant and hour.
        encryption_key: of what is kept.
    """
    config = sagemaker.CfnEndpointConfig
    types = list(dict.fromkeys([*serving.content_types, *serving.response_types]))
    return config.DataCaptureConfigProperty(
        enable_capture=True,
        initial_sampling_percentage=capture.sampling_percent,
        destination_s3_uri=bucket.s3_url_for_object(prefix),
        kms_key_id=encryption_key.key_arn,
        capture_options=[config.CaptureOptionProperty(capture_mode=mode) for mode in ("Input", "Output")],
        capture_content_type_header=_headers(types),
    )


def grant_capture(role: iam.IRole, bucket: s3.IBucket, prefix: str) -> None:
    """Lets an endpoint write what it captures, and read nothing of it."""
    bucket.grant_put(role, f"{prefix}*")


def _headers(types: Iterable[str]) -> sagemaker.CfnEndpointConfig.CaptureContentTypeHeaderProperty | None:
    types = list(types)
    csv, json = ([t for t in types if pattern.fullmatch(t)][:_MOST] for pattern in (_CSV, _JSON))
    if not csv and not json:
        return None
    return sagemaker.CfnEndpointConfig.CaptureContentTypeHeaderProperty(
        csv_content_types=csv or None, json_content_types=json or None
    )
