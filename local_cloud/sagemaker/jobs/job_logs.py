"""A job's log: in CloudWatch Logs as on AWS, and beside the job, where it stays if the role may not write logs."""

from __future__ import annotations

import contextlib
import logging
import threading
from pathlib import Path

from local_cloud.containers.engine import NOTE
from local_cloud.sagemaker.log_stream import LogStream

logger = logging.getLogger(__name__)

LAST_LINES_S = 60.0
"""How long the last lines may take to be written: on a busy machine more than a moment, and what is not written by then is
lost, since the credentials end with the job. The end of the local cloud itself does not wait for it."""


class JobLog:
    """The log of one job; lines may come from any thread."""

    def __init__(self, stream: LogStream, path: Path) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8", errors="replace")
        self._is_kept = True

    def line(self, text: str) -> None:
        """Add a line of the container; nothing once the log is closed."""
        with self._lock:
            if self._file.closed:
                return
            self._keep(text)
            # Inside the lock, so that both have the lines in the same order.
            self._stream.write(text)

    def _keep(self, text: str) -> None:
        if not self._is_kept:
            return
        try:
            self._file.write(f"{text}\n")
            self._file.flush()
        except OSError as error:
            # A disk that is full must not end what prints: CloudWatch Logs has the lines.
            self._is_kept = False
            logger.warning("%s has no more lines: %s", self._file.name, error)

    def note(self, text: str) -> None:
        """Add a line of the local cloud's own, marked as such."""
        for line in text.splitlines():
            self.line(f"{NOTE}{line}")

    def close(self) -> None:
        """Send what is left; returns when it is there."""
        with self._lock, contextlib.suppress(OSError):
            # What a full disk did not take is in the file's buffer still.
            self._file.close()
        self._stream.close(LAST_LINES_S)
