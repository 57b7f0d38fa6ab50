"""What goes on in Studio by itself: work that waits in threads, until it is time or the local cloud ends."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from local_cloud.sagemaker.service import Sagemaker

logger = logging.getLogger(__name__)

SHUTDOWN_S = 2.0
"""How long the end of the local cloud waits for a status that is just being settled, in real seconds."""


@dataclass
class Studio:
    """What goes on in the background."""

    service: Sagemaker
    stopping: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, seconds: float, work: Callable[[], None]) -> None:
        """Do something after so many of the cloud's seconds; never, if the local cloud ends before."""

        def later() -> None:
            if self.service.clock.wait(self.stopping, seconds):
                return
            try:
                work()
            except Exception:
                logger.exception("Work of Studio failed")

        thread = threading.Thread(target=later, name="studio", daemon=True)
        with self.lock:
            self.threads = [each for each in self.threads if each.is_alive()]
            self.threads.append(thread)
            thread.start()


def studio_of(service: Sagemaker) -> Studio:
    """Studio's background work of a service, made when it is first asked for."""
    studio: Studio = service.background.setdefault("studio", Studio(service))
    return studio


def stop(service: Sagemaker) -> None:
    """Leave what is in motion where it is; the next start goes on with it."""
    studio = studio_of(service)
    studio.stopping.set()
    deadline = time.monotonic() + SHUTDOWN_S
    for thread in list(studio.threads):
        thread.join(max(0.0, deadline - time.monotonic()))
