"""The notebook instances that a runtime has started: which run, and their end when the local cloud ends."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

from local_cloud.notebook_runtime.runtime import Instance, RuntimeRefused

CLOSING = "The local cloud is stopping."
CLOSING_GRACE_S = 2.0
"""How long JupyterLab may take to end when the local cloud itself ends."""
Kind = TypeVar("Kind", bound=Instance)


class Started(Generic[Kind]):
    """Those that run, until it is closed; then none is left, and none is taken any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[Kind] = set()
        self._closed = False

    def check_open(self) -> None:
        """Refuse a start that would be in vain.

        Raises:
            RuntimeRefused: the local cloud ends.
        """
        if self._closed:
            raise RuntimeRefused(CLOSING)

    def keep(self, instance: Kind) -> None:
        """Take an instance that has just started.

        Raises:
            RuntimeRefused: the local cloud ends, and so has the instance.
        """
        with self._lock:
            closed = self._closed
            if not closed:
                self._running.add(instance)
        if closed:
            # It started while `close` went through those that ran.
            instance.stop(0)
            raise RuntimeRefused(CLOSING)

    def forget(self, instance: Kind) -> None:
        """Leave one out that has ended; harmless where it was never kept."""
        with self._lock:
            self._running.discard(instance)

    def close(self) -> None:
        """Stop all of them at once; returns when they have ended."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        stopping = [threading.Thread(target=instance.stop, args=(CLOSING_GRACE_S,)) for instance in running]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()
