"""Training, processing and transform jobs: what the local cloud starts and stops of them."""

from __future__ import annotations

from local_cloud.sagemaker.jobs import processing, training, transform
from local_cloud.sagemaker.jobs.job_operations import settle
from local_cloud.sagemaker.jobs.job_runs import runs
from local_cloud.sagemaker.service import Sagemaker


def start(service: Sagemaker) -> None:
    """End the jobs that ran when the local cloud was stopped or killed: nothing runs them any more."""
    settle(service, training.KIND)
    settle(service, processing.KIND)
    settle(service, transform.KIND)


def stop(service: Sagemaker) -> None:
    """Stop the jobs that run, within seconds; the next `start` ends them."""
    runs(service).close()
