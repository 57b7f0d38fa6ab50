"""One object of a transform job, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from local_cloud.sagemaker.jobs.job_data import Location

CLIENT, ALGORITHM = "ClientError", "AlgorithmError"
"""Who is to blame, as the FailureReason says it: the data or the request, or the container."""


class ObjectFailed(Exception):
    """An object has no output; `kind` begins the FailureReason of its job, the message is the data log's."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass
class Work:
    """One object of a transform job.

    Attributes:
        location: where it is.
        name: below the input's prefix, as its output is called below the job's S3OutputPath.
        source: its content, downloaded.
        target: where its output is written.
        failure: why there is none.
        is_done: whether its output is whole.
    """

    location: Location
    name: str
    source: Path
    target: Path
    failure: ObjectFailed | None = None
    is_done: bool = False
