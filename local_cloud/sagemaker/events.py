"""Sends SageMaker's EventBridge events in order, from a thread of their own.

A rule's target may be a function that runs for minutes; whoever causes an event must not wait for it.
"""

from __future__ import annotations

import datetime
import logging
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any

from local_cloud.sagemaker.service import Sagemaker

logger = logging.getLogger(__name__)

_Work = queue.SimpleQueue[Callable[[], None]]
_lock = threading.Lock()


def send(
    service: Sagemaker, account: str, region: str, detail_type: str, detail: Mapping[str, Any], resources: list[str]
) -> None:
    """Send one event soon; a failure to send it is logged, since it must not fail what it tells of."""
    _work(service).put(lambda: service.platform.put_event(account, region, detail_type, detail, resources))


def flush(service: Sagemaker, timeout_s: float = 10.0) -> bool:
    """Return when every event so far was sent: True; or when the time is over: False."""
    sent = threading.Event()
    _work(service).put(sent.set)
    return sent.wait(timeout_s)


def iso_time(seconds: float) -> str:
    """A time as SageMaker's events write it, such as `2021-03-15T16:10:11Z`."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _work(service: Sagemaker) -> _Work:
    with _lock:
        if "events" not in service.background:
            work: _Work = queue.SimpleQueue()
            # One thread keeps the events in the order of what happened. A daemon: the end of the process does not wait for
            # whatever a rule started.
            threading.Thread(target=_send_forever, args=(work,), name="sagemaker-events", daemon=True).start()
            service.background["events"] = work
        found: _Work = service.background["events"]
        return found


def _send_forever(work: _Work) -> None:
    while True:
        try:
            work.get()()
        except Exception:
            logger.exception("An event could not be sent")
