"""The queues of the asynchronous endpoints that serve, one for each."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from local_cloud.sagemaker.asynchronous import async_requests
from local_cloud.sagemaker.asynchronous.async_queue import AsyncQueue
from local_cloud.sagemaker.hosting.hosting import Hosting, Key
from local_cloud.sagemaker.names import key_of


@dataclass
class _Queues:
    queues: dict[Key, AsyncQueue] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


def queue_of(hosting: Hosting, key: Key, endpoint: str) -> AsyncQueue:
    """The queue of an asynchronous endpoint, opened if it is not: with it begin its work and its metrics."""
    queues = _queues(hosting)
    with queues.lock:
        if key not in queues.queues:
            queues.queues[key] = AsyncQueue(hosting, key, endpoint)
        return queues.queues[key]


def forget(hosting: Hosting, key: Key) -> None:
    """Drop the queue of an endpoint that is deleted, and the requests in it."""
    queues = _queues(hosting)
    with queues.lock:
        queue = queues.queues.pop(key, None)
    if queue:
        queue.close(forget=True)
    account, region, name = key
    store = hosting.service.store
    for document in store.list(async_requests.KIND, account, region):
        if key_of(document["Endpoint"]) == name:
            store.delete(async_requests.KIND, account, region, document["Id"])


def stop(hosting: Hosting) -> None:
    """Stop giving out requests; the next start of the local cloud takes them up."""
    queues = _queues(hosting)
    with queues.lock:
        stopping = list(queues.queues.values())
        queues.queues.clear()
    for queue in stopping:
        queue.close()


def _queues(hosting: Hosting) -> _Queues:
    found: _Queues = hosting.service.background.setdefault("async_queues", _Queues())
    return found
