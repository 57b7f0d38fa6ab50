"""Brings the objects of a transform job to its folder, and their outputs to S3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from local_cloud.sagemaker.jobs.job_data import DataError, JobData, Location, S3Object
from local_cloud.sagemaker.jobs.job_runs import JobFailed
from local_cloud.sagemaker.jobs.transform_work import Work


def downloaded(data: JobData, job: Mapping[str, Any], folder: Path) -> list[Work]:
    """The objects that a job names, as files below a folder.

    Raises:
        JobFailed: there are none, they cannot be read, or two of them would have one output.
    """
    source = job["TransformInput"]["DataSource"]["S3DataSource"]
    contents, results = folder / "input", folder / "output"
    try:
        objects = data.objects(source)
        check_names(objects, source["S3Uri"])
        # By number: what S3 keeps side by side may not stand so on a disk.
        data.download_objects([S3Object(item.location, str(number)) for number, item in enumerate(objects)], contents)
    except DataError as error:
        raise JobFailed(f"ClientError: Failed to download the input data. {error}") from error
    results.mkdir()
    return [
        Work(item.location, item.name, contents / str(number), results / str(number))
        for number, item in enumerate(objects)
    ]


def upload(data: JobData, job: Mapping[str, Any], works: Sequence[Work]) -> None:
    """Write the outputs of the objects that succeeded, as `S3OutputPath/NAME.out`.

    "Batch transform doesn't upload partially processed objects" (TransformOutput in the API reference).

    Raises:
        JobFailed: one cannot be written.
    """
    target = job["TransformOutput"]
    outputs = {f"{work.name}.out": work.target for work in works if work.is_done}
    try:
        data.upload_files(outputs, target["S3OutputPath"], target.get("KmsKeyId") or None)
    except DataError as error:
        raise JobFailed(f"ClientError: Failed to upload the output data. {error}") from error


def check_names(objects: Sequence[S3Object], uri: str) -> None:
    """Refuse objects whose outputs would be one.

    Raises:
        DataError: there are such, or none at all.
    """
    if not objects:
        raise DataError(f"The manifest {uri} lists no objects")
    places: dict[str, Location] = {}
    for location, name in objects:
        if (other := places.setdefault(name, location)) != location:
            raise DataError(f"The outputs of {other} and {location} would both be {name}.out")
