"""Notes SIGTERM instead of being interrupted by it, so that the round that runs is finished and its state kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Termination:
    """Whether SIGTERM came. SageMaker sends it and kills the container 120 seconds later."""

    noted: bool = False

    def is_noted(self) -> bool:
        return self.noted


@contextmanager
def noted_termination() -> Iterator[Termination]:
    """SIGTERM is noted within the block. Only the main thread can change handlers; elsewhere nothing is noted."""
    termination = Termination()
    if threading.current_thread() is not threading.main_thread():
        yield termination
        return

    def note(signum: int, frame: FrameType | None) -> None:
        termination.noted = True

    previous = signal.signal(signal.SIGTERM, note)
    try:
        yield termination
    finally:
        signal.signal(signal.SIGTERM, previous)
