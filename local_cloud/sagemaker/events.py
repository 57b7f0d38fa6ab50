"""Sends SageMaker's EventBridge events in order, from a thread of their own.

A rule's target may be a function that runs for minutes; whoever causes an event must not wait for it.
"""

from __future__ import annotations

import datetime
import logging
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from local_cloud.sagemaker.service import Sagemaker

logger = logging.getLogger(__name__)

_lock = threading.Lock()


def send(
    service: Sagemaker, account: str, region: str, detail_type: str, detail: Mapping[str, Any], resources: list[str]
) -> None:
    """Send one event soon; a failure to send it is logged, since it must not fail what it tells of."""

    def put() -> None:
        try:
            service.platform.put_event(account, region, detail_type, detail, resources)
        except Exception:
            logger.exception("An event could not be sent: %s", detail_type)

    _sender(service).submit(put)


def flush(service: Sagemaker) -> None:
    """Return when every event so far was sent."""
    _sender(service).submit(lambda: None).result()


def iso_time(seconds: float) -> str:
    """A time as SageMaker's events write it, such as `2021-03-15T16:10:11Z`."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _sender(service: Sagemaker) -> ThreadPoolExecutor:
    with _lock:
        if "events" not in service.background:
            # One thread keeps the events in the order of what happened.
            service.background["events"] = ThreadPoolExecutor(1, thread_name_prefix="sagemaker-events")
        sender: ThreadPoolExecutor = service.background["events"]
        return sender
