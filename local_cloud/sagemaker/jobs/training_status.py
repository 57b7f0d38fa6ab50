"""What DescribeTrainingJob tells of a job's progress: its statuses, their messages, and the times that are counted."""

from __future__ import annotations

import math
import time

from local_cloud.sagemaker.jobs.job_records import JobKind
from local_cloud.sagemaker.store import Document

MESSAGES = {
    "Starting": "Starting the training job.",
    "Training": "Training image download completed. Training in progress.",
    "Interrupted": "The spot capacity was taken away. Waiting for capacity to go on.",
    "Uploading": "Uploading generated training model",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopping": "Stopping the training job",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "MaxWaitTimeExceeded": "Training job wait time exceeded MaxWaitTimeInSeconds provided",
}
"""StatusMessage of each secondary status (SecondaryStatusTransition in the API reference)."""

_LIMITS = {MESSAGES[status]: status for status in ("MaxRuntimeExceeded", "MaxWaitTimeExceeded")}
_WITHOUT_CAPACITY = {"Interrupted", "Starting"}


def transition(job: Document, status: str, message: str | None = None) -> None:
    """Write a new secondary status into a training job's Describe response."""
    now = time.time()
    transitions = job["SecondaryStatusTransitions"]
    if transitions:
        transitions[-1]["EndTime"] = now
    transitions.append({"Status": status, "StartTime": now, "StatusMessage": message or MESSAGES[status]})
    job["SecondaryStatus"] = status


class TrainingKind(JobKind):
    """Training jobs: their secondary status tells of each change, and times are counted."""

    def stopping(self, job: Document) -> None:
        """See JobKind."""
        super().stopping(job)
        transition(job, "Stopping")

    def finish(self, job: Document, status: str, reason: str | None) -> None:
        """See JobKind; a job that was out of time says so by its secondary status."""
        job["TrainingJobStatus"] = status
        if reason and status == "Failed":
            job["FailureReason"] = reason
        transition(job, _LIMITS.get(reason or "", status) if status == "Stopped" else status)
        ended = job["SecondaryStatusTransitions"][-1]["EndTime"] = time.time()
        if "TrainingStartTime" in job:
            job["TrainingEndTime"] = ended
            total = ended - job["TrainingStartTime"]
            job["TrainingTimeInSeconds"] = _seconds(total)
            job["BillableTimeInSeconds"] = _seconds(total - _without_capacity(job))


def _seconds(duration: float) -> int:
    """At least 1, by the API's own limits; a second that was begun is billed."""
    return max(1, math.ceil(duration))


def _without_capacity(job: Document) -> float:
    """How long a spot job, once started, had no instance: nobody pays for that."""
    gaps: list[float] = [
        item["EndTime"] - item["StartTime"]
        for item in job["SecondaryStatusTransitions"]
        if item["Status"] in _WITHOUT_CAPACITY and item["StartTime"] >= job["TrainingStartTime"]
    ]
    return sum(gaps)


KIND = TrainingKind(
    resource="training-job",
    noun="training job",
    prefix="TrainingJob",
    log_group="/aws/sagemaker/TrainingJobs",
    event="SageMaker Training Job State Change",
    out_of_time=MESSAGES["MaxRuntimeExceeded"],
)
