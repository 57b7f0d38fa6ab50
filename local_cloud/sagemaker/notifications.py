"""Tells whoever waits inside this process that something changed, so that nobody waits for the next poll.

A notification is only a hint to look again: what is true stands in the store, and a waiter that missed a hint looks
again anyway, a little later. So nothing here needs to survive a restart.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_watchers: dict[tuple[str, str], list[threading.Event]] = {}


def publish(kind: str, name: str) -> None:
    """Say that a resource has changed; call it after the change is in the store.

    Args:
        kind: the resource's kind as its ARN writes it: `training-job`, `processing-job`, `pipeline-execution`.
        name: the resource's name; for a pipeline execution its ARN.
    """
    with _lock:
        watchers = list(_watchers.get((kind, name), ()))
    for watcher in watchers:
        watcher.set()


@contextmanager
def watching(kind: str, name: str, event: threading.Event | None = None) -> Iterator[threading.Event]:
    """An event that is set at every `publish` of the resource while the block runs.

    Wait on it, clear it, then look: in that order no change falls between the look and the wait.

    Args:
        kind: as in `publish`.
        name: as in `publish`.
        event: set this one, for a waiter who waits for more than one thing.
    """
    event = event or threading.Event()
    key = (kind, name)
    with _lock:
        _watchers.setdefault(key, []).append(event)
    try:
        yield event
    finally:
        with _lock:
            _watchers[key].remove(event)
            if not _watchers[key]:
                del _watchers[key]
