"""A job's log: in CloudWatch Logs as on AWS, and beside the job, where it stays if the role may not write logs."""

from __future__ import annotations

import threading
from pathlib import Path

from local_cloud.containers.engine import NOTE
from local_cloud.sagemaker.log_stream import LogStream


class JobLog:
    """The log of one job; lines may come from any thread."""

    def __init__(self, stream: LogStream, path: Path) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8", errors="replace")

    def line(self, text: str) -> None:
        """Add a line of the container; nothing once the log is closed."""
        with self._lock:
            if self._file.closed:
                return
            self._file.write(f"{text}\n")
            self._file.flush()
            # Inside the lock, so that both have the lines in the same order.
            self._stream.write(text)

    def note(self, text: str) -> None:
        """Add a line of the local cloud's own, marked as such."""
        for line in text.splitlines():
            self.line(f"{NOTE}{line}")

    def close(self) -> None:
        """Send what is left; returns when it is there."""
        with self._lock:
            self._file.close()
        self._stream.close()
