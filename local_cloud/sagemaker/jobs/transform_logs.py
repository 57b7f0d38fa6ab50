"""The data log of an instance of a transform job: which limits it works with, and why an object failed, as on AWS."""

from __future__ import annotations

import datetime

from local_cloud.sagemaker.jobs.job_data import Location
from local_cloud.sagemaker.jobs.job_logs import JobLog


class DataLog:
    """The stream `JOB/INSTANCE-TIME/data-log` ("Log groups and streams" in the developer guide)."""

    def __init__(self, log: JobLog) -> None:
        self._log = log

    def line(self, text: str) -> None:
        """Add a line with SageMaker's mark."""
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        self._log.line(f"{now}:[sagemaker logs]: {text}")

    def of_object(self, location: Location, text: str) -> None:
        """Add what is to be said of an object, each line with its place."""
        for line in text.splitlines() or [""]:
            self.line(f"{location.bucket}/{location.key}: {line}")

    def close(self) -> None:
        """Send what is left."""
        self._log.close()
