"""Scaling activities: what was scaled, why, and how it ended. DescribeScalingActivities."""

from __future__ import annotations

import time
import uuid
from typing import Any

from local_cloud.autoscaling.service import ACTIVITY, AutoScaling, operation, page, selected
from local_cloud.platform import Caller
from local_cloud.sagemaker.service import Request, Response
from local_cloud.sagemaker.store import Document

MAX_KEPT = 1000
"""Activities of one account and region; AWS keeps six weeks of them."""
NOT_SCALED = "Attempting to scale due to alarm triggered"


@operation("DescribeScalingActivities")
def describe_scaling_activities(service: AutoScaling, caller: Caller, request: Request) -> Response:
    """DescribeScalingActivities, the newest first; with what was not scaled, and why, if that is asked for."""
    kept = selected(service.store.list(ACTIVITY, caller.account, caller.region), request)
    shown = [
        activity
        for activity in reversed(kept)
        if request.get("IncludeNotScaledActivities") or "NotScaledReasons" not in activity
    ]
    return page(shown, request, "ScalingActivities")


def begin(service: AutoScaling, account: str, region: str, target: Document, description: str, cause: str) -> str:
    """Record an activity that begins; its id."""
    return _record(service, account, region, target, Description=description, Cause=cause, StatusCode="InProgress")


def record(service: AutoScaling, account: str, region: str, target: Document, *, status: str, **members: Any) -> None:
    """Record an activity that ended as it began."""
    _record(service, account, region, target, StatusCode=status, EndTime=time.time(), **members)


def end(service: AutoScaling, account: str, region: str, activity_id: str, status: str, message: str) -> None:
    """Record how an activity ended."""
    service.store.update(
        ACTIVITY,
        account,
        region,
        activity_id,
        lambda activity: activity.update(StatusCode=status, StatusMessage=message, EndTime=time.time()),
    )


def _record(service: AutoScaling, account: str, region: str, target: Document, **members: Any) -> str:
    activity_id = str(uuid.uuid4())
    identity = {key: target[key] for key in ("ServiceNamespace", "ResourceId", "ScalableDimension")}
    with service.store.transaction():
        service.store.insert(
            ACTIVITY,
            account,
            region,
            activity_id,
            {"ActivityId": activity_id, **identity, "StartTime": time.time(), **members},
        )
        for old in service.store.list(ACTIVITY, account, region)[:-MAX_KEPT]:
            service.store.delete(ACTIVITY, account, region, old["ActivityId"])
    return activity_id
