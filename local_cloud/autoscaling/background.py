"""Starts and stops Application Auto Scaling with the local cloud."""

from __future__ import annotations

from local_cloud.autoscaling import activities as activities  # these register their operations
from local_cloud.autoscaling import policies as policies
from local_cloud.autoscaling import scheduled_actions as scheduled_actions
from local_cloud.autoscaling import tags as tags
from local_cloud.autoscaling import targets as targets
from local_cloud.autoscaling.scaler import Scaler
from local_cloud.autoscaling.service import AutoScaling
from local_cloud.cloudwatch import windows
from local_cloud.sagemaker.service import Sagemaker

_SERVICE, _SCALER = "autoscaling", "autoscaling-scaler"


def autoscaling_of(sagemaker: Sagemaker) -> AutoScaling:
    """The scaling service beside a SageMaker service, made when it is first asked for."""
    service: AutoScaling | None = sagemaker.background.get(_SERVICE)
    if service is None:
        service = sagemaker.background.setdefault(_SERVICE, AutoScaling(sagemaker, windows.values))
    return service


def start(sagemaker: Sagemaker) -> None:
    """Scale from now on, what was begun before the last end included."""
    scaler = sagemaker.background[_SCALER] = Scaler(autoscaling_of(sagemaker))
    scaler.start()


def stop(sagemaker: Sagemaker) -> None:
    """Scale no more."""
    scaler: Scaler | None = sagemaker.background.pop(_SCALER, None)
    if scaler:
        scaler.stop()
