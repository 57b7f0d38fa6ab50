"""What a request for a transform job is checked for beyond its shape, and its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local_cloud.platform import Caller
from local_cloud.sagemaker.errors import ValidationError
from local_cloud.sagemaker.hosting import models
from local_cloud.sagemaker.jobs.json_path import BadPath
from local_cloud.sagemaker.jobs.transform_limits import DEFAULT_PAYLOAD_MB
from local_cloud.sagemaker.jobs.transform_processing import CSV, DEFAULTS, FORMATS, JSON, Processing
from local_cloud.sagemaker.request_checks import check_instances, check_s3, refuse, refuse_members
from local_cloud.sagemaker.service import Request, Sagemaker
from local_cloud.sagemaker.store import Document

MAX_INSTANCES = 8
MAX_PAYLOAD_MB = 100
"""The limit of MaxPayloadInMB, and of its product with MaxConcurrentTransforms (CreateTransformJob in the API reference)."""


def check(request: Request) -> None:
    """Check what the shapes do not say, and refuse what is not here.

    Raises:
        ValidationError: parts of the request do not fit together.
        NotEmulated: it asks for what the local cloud does not do.
    """
    refuse_members(request, {"ExperimentConfig": "experiments", "DataCaptureConfig": "data capture of transform jobs"})
    check_instances(request["TransformResources"], "TransformResources", "batch transform", MAX_INSTANCES)
    source = request["TransformInput"]["DataSource"]["S3DataSource"]
    if source["S3DataType"] == "AugmentedManifestFile":
        raise ValidationError(
            "S3DataType AugmentedManifestFile is not for transform jobs; S3Prefix and ManifestFile are."
        )
    if source["S3DataType"] == "Converse":
        refuse(
            "the S3DataType Converse of transform jobs (TransformInput.DataSource); S3Prefix and ManifestFile are there"
        )
    check_s3(source["S3Uri"], "TransformInput.DataSource.S3DataSource.S3Uri")
    check_s3(request["TransformOutput"]["S3OutputPath"], "TransformOutput.S3OutputPath")
    _check_payload(request)
    _check_processing(request)


def with_defaults(request: Request) -> Document:
    """The request with what the API reference says of members that it leaves out."""
    return {
        **request,
        "TransformInput": {"CompressionType": "None", "SplitType": "None", **request["TransformInput"]},
        "TransformOutput": {"AssembleWith": "None", **request["TransformOutput"]},
        "DataProcessing": {**DEFAULTS, **request.get("DataProcessing", {})},
    }


def model_of(service: Sagemaker, caller: Caller, request: Request) -> Document:
    """The model of a request, as far as a job can run it.

    Raises:
        ValidationError: there is no such model.
        NotEmulated: its containers are not those of a model of one.
    """
    model = models.find(service, caller, request["ModelName"])
    containers = models.containers_of(model)
    if len(containers) > 1:
        refuse(f"transform jobs with models of several containers ({request['ModelName']} has {len(containers)})")
    if containers[0].archives is not None:
        refuse(f"transform jobs with multi-model containers (the one of {request['ModelName']})")
    return model


def _check_payload(request: Request) -> None:
    size, concurrent = request.get("MaxPayloadInMB"), request.get("MaxConcurrentTransforms") or 0
    if size is not None and size > MAX_PAYLOAD_MB:
        raise ValidationError(f"MaxPayloadInMB cannot be greater than {MAX_PAYLOAD_MB} MB, got {size}.")
    if concurrent * (DEFAULT_PAYLOAD_MB if size is None else size) > MAX_PAYLOAD_MB:
        raise ValidationError(
            f"MaxConcurrentTransforms * MaxPayloadInMB cannot exceed {MAX_PAYLOAD_MB} MB, got {concurrent} * "
            f"{DEFAULT_PAYLOAD_MB if size is None else size}."
        )
    split = request["TransformInput"].get("SplitType", "None")
    if size == 0 and split != "None":
        refuse(f"MaxPayloadInMB 0, which is for payloads of any size, together with SplitType {split}")


def _check_processing(request: Request) -> None:
    """The rules of "Associate Prediction Results with Input Records" in the developer guide."""
    try:
        processing = Processing.of(request)
    except BadPath as error:
        raise ValidationError(f"DataProcessing: Invalid JsonPath: {error}.") from error
    if not processing.changes_anything:
        return
    formats = ", ".join(FORMATS)
    for member, value in (("ContentType", processing.content_type), ("Accept", processing.accept)):
        if value not in FORMATS:
            raise ValidationError(f"DataProcessing needs a {member} of {formats}; got {value or 'none'}.")
    if (processing.content_type == CSV) != (processing.accept == CSV):
        raise ValidationError(
            f"DataProcessing needs a ContentType and an Accept that are both {CSV} or both JSON; got "
            f"{processing.content_type} and {processing.accept}."
        )
    _check_split(request, processing)
    if processing.content_type == CSV:
        for member, path in (("InputFilter", processing.input_filter), ("OutputFilter", processing.output_filter)):
            if not path.is_for_rows:
                raise ValidationError(
                    f"DataProcessing.{member} {path.text} is not for {CSV}: a row has indexes alone, as in $[0] or $[1:]."
                )


def _check_split(request: Mapping[str, Any], processing: Processing) -> None:
    split = request["TransformInput"].get("SplitType", "None")
    assemble = request["TransformOutput"].get("AssembleWith", "None")
    if processing.content_type == JSON and split == "None":
        return
    if (split, assemble) != ("Line", "Line"):
        raise ValidationError(
            f"DataProcessing of {processing.content_type} needs SplitType Line and AssembleWith Line; got {split} and "
            f"{assemble}."
        )
