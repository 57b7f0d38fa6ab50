"""Takes a job's log to CloudWatch Logs with the role's own credentials, and keeps a copy beside the job."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore.exceptions

from local_cloud.containers.engine import NOTE

logger = logging.getLogger(__name__)

BATCH_S = 0.5
"""Longest time that a line waits for others to be sent with."""
MAX_EVENTS = 10_000
MAX_BYTES = 1_048_576
EVENT_BYTES = 26
"""Limits of one PutLogEvents call, and what each event counts besides its text (CloudWatch Logs API reference)."""


class JobLog:
    """The log of one job; lines may come from any thread.

    Where the role may not write logs the job runs all the same, as on AWS; the copy in the job's folder says why its
    log is missing.
    """

    def __init__(self, client: Callable[[], Any], group: str, stream: str, path: Path) -> None:
        self._client = client
        self._group = group
        self._stream = stream
        self._lines: list[tuple[int, str]] = []
        self._changed = threading.Condition()
        self._closing = False
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8", errors="replace")
        self._thread = threading.Thread(target=self._send_all, name=f"log-{stream}", daemon=True)
        self._thread.start()

    def line(self, text: str) -> None:
        """Add a line of the container."""
        with self._changed:
            if self._closing:
                return
            self._file.write(f"{text}\n")
            self._file.flush()
            self._lines.append((int(time.time() * 1000), text))
            self._changed.notify()

    def note(self, text: str) -> None:
        """Add a line of the local cloud's own, marked as such."""
        for line in text.splitlines():
            self.line(f"{NOTE}{line}")

    def close(self) -> None:
        """Send what is left, and return when it is there."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        self._file.close()

    def _send_all(self) -> None:
        send: Callable[[list[tuple[int, str]]], None] | None = None
        denied = False
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._closing)
                # Lines come in bursts: a moment's wait makes one call of many.
                self._changed.wait_for(lambda: self._closing, timeout=BATCH_S if send else 0)
                lines, self._lines = self._lines, []
                closing = self._closing
            if lines and not denied:
                try:
                    send = send or self._created()
                    send(lines)
                except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
                    denied = True
                    with self._changed, contextlib.suppress(ValueError):
                        self._file.write(f"{NOTE}This log is not in CloudWatch Logs: {error}\n")
                        self._file.flush()
                except Exception:
                    denied = True
                    logger.exception("The log %s %s cannot be sent", self._group, self._stream)
            if closing and not self._lines:
                return

    def _created(self) -> Callable[[list[tuple[int, str]]], None]:
        client = self._client()
        with contextlib.suppress(client.exceptions.ResourceAlreadyExistsException):
            client.create_log_group(logGroupName=self._group)
        with contextlib.suppress(client.exceptions.ResourceAlreadyExistsException):
            client.create_log_stream(logGroupName=self._group, logStreamName=self._stream)

        def send(lines: list[tuple[int, str]]) -> None:
            batch: list[dict[str, Any]] = []
            size = 0
            for timestamp, text in lines:
                # An empty event is refused, and an empty line is still a line.
                event_size = len(text.encode("utf-8", "replace")) + EVENT_BYTES
                if batch and (len(batch) == MAX_EVENTS or size + event_size > MAX_BYTES):
                    client.put_log_events(logGroupName=self._group, logStreamName=self._stream, logEvents=batch)
                    batch, size = [], 0
                batch.append({"timestamp": timestamp, "message": text or " "})
                size += event_size
            client.put_log_events(logGroupName=self._group, logStreamName=self._stream, logEvents=batch)

        return send
