"""When the capacity of a spot job is taken away: as often as somebody asks for it, by a tag of the job.

On a laptop no capacity is ever short, so an interruption is something that a person or a test wants to see. A tag says it
with the means of every AWS client, at creation or while the job runs; on AWS it is a tag and has no effect.
"""

from __future__ import annotations

import math
import time

from local_cloud.platform import Caller
from local_cloud.sagemaker import tags
from local_cloud.sagemaker.jobs.job_logs import JobLog
from local_cloud.sagemaker.service import Sagemaker

TAG = "sagestack:interrupt-after-seconds"
"""Its value is how many seconds after the containers' start, or after the tag was put on, the capacity goes. It is taken
off again when that is done: each tag is one interruption."""


class Interrupted(Exception):
    """The capacity of a spot job is gone."""


class Interruptions:
    """Those of one job, while its containers run.

    Args:
        service: has the tags.
        caller: whose job it is.
        job_arn: the job.
        is_spot: whether it uses spot capacity; other jobs are never interrupted.
    """

    def __init__(self, service: Sagemaker, caller: Caller, job_arn: str, *, is_spot: bool) -> None:
        self._service, self._caller, self._arn = service, caller, job_arn
        self._is_spot = is_spot
        self._value: str | None = None
        self._seen_at = 0.0

    def due_in(self, started_at: float, log: JobLog) -> float | None:
        """In how many seconds the capacity goes; None if nobody asks for it.

        Args:
            started_at: when the containers were started, by `time.monotonic`.
            log: takes why a tag has no effect, once.
        """
        value = tags.current(self._service, self._caller, self._arn).get(TAG)
        if value != self._value:
            self._value, self._seen_at = value, time.monotonic()
            if value is not None and not self._is_spot:
                log.note(f"The tag {TAG} has no effect: the job does not use spot capacity.")
            elif value is not None and _seconds(value) is None:
                log.note(f"The tag {TAG} has no effect: it must be a number of seconds, got {value!r}.")
        seconds = _seconds(value)
        if not self._is_spot or seconds is None:
            return None
        return max(self._seen_at, started_at) + seconds - time.monotonic()

    def done(self) -> None:
        """Take the tag off again."""
        tags.delete_tags(self._service, self._caller, {"ResourceArn": self._arn, "TagKeys": [TAG]})
        self._value = None


def _seconds(value: str | None) -> float | None:
    try:
        seconds = float(value or "")
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
