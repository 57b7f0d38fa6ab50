"""Writes what a container prints to CloudWatch Logs, a batch at a time, with the credentials of its role."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local_cloud.platform import Credentials, Platform

logger = logging.getLogger(__name__)

FLUSH_INTERVAL_S = 0.5
"""How long a line may wait: soon enough to follow a log, seldom enough that a chatty container costs little."""
MAX_WAITING_LINES = 20_000
"""Lines kept while they cannot be written; what comes beyond pushes out the oldest, and the log says how many."""
MAX_BATCH_LINES = 10_000
MAX_BATCH_BYTES = 1_000_000
MAX_LINE_BYTES = 250_000
"""PutLogEvents takes 10,000 events and 1,048,576 bytes at most, of 256 KB each, with 26 bytes of overhead per event."""
_EVENT_OVERHEAD_BYTES = 26
_TRIES = 5


class LogStream:
    """One log stream; made when the first line is written, so that a silent container leaves no empty one.

    Whoever may not write logs runs on without them, as on AWS: the denial is in the local cloud's own log, once.
    """

    def __init__(self, platform: Platform, region: str, credentials: Credentials, group: str, stream: str) -> None:
        self.group = group
        self.stream = stream
        self._platform, self._region, self._credentials = platform, region, credentials
        self._lines: deque[tuple[int, str]] = deque()
        self._last_at = 0
        self._dropped = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._denied = False
        self._writer: threading.Thread | None = None

    def write(self, line: str) -> None:
        """Take one line; never blocks, never raises."""
        with self._lock:
            if self._denied or self._closing:
                return
            # Never back, as the machine's clock may be set: CloudWatch Logs refuses a batch out of order.
            self._last_at = max(self._last_at, int(time.time() * 1000))
            self._lines.append((self._last_at, line.rstrip("\r\n")))
            if len(self._lines) > MAX_WAITING_LINES:
                self._lines.popleft()
                self._dropped += 1
            if self._writer is None:
                self._writer = threading.Thread(target=self._run, name=f"log {self.stream}", daemon=True)
                self._writer.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what waits and end; gives up after `timeout_s` seconds. Harmless when closed already."""
        with self._lock:
            self._closing = True
            writer = self._writer
        self._wake.set()
        if writer is not None and writer is not threading.current_thread():
            writer.join(timeout_s)

    def _run(self) -> None:
        made = False
        while True:
            self._wake.wait(FLUSH_INTERVAL_S)
            closing = self._closing
            while batch := self._next_batch():
                try:
                    if not made:
                        self._make()
                        made = True
                    self._put(batch)
                except (BotoCoreError, ClientError) as error:
                    self._give_up(error)
                    return
            if closing:
                return

    def _next_batch(self) -> list[dict[str, Any]]:
        batch: list[dict[str, Any]] = []
        size = 0
        with self._lock:
            if self._dropped and self._lines:
                batch.append({"timestamp": self._lines[0][0], "message": f"({self._dropped} lines were dropped)"})
                self._dropped = 0
            while self._lines and len(batch) < MAX_BATCH_LINES:
                at, line = self._lines[0]
                encoded = line.encode()[:MAX_LINE_BYTES]
                if batch and size + len(encoded) + _EVENT_OVERHEAD_BYTES > MAX_BATCH_BYTES:
                    break
                self._lines.popleft()
                size += len(encoded) + _EVENT_OVERHEAD_BYTES
                # CloudWatch Logs refuses an empty message.
                batch.append({"timestamp": at, "message": encoded.decode(errors="ignore") or " "})
        return batch

    def _make(self) -> None:
        client = self._client()
        names = {"logGroupName": self.group}
        for make in ("create_log_group", "create_log_stream"):
            try:
                getattr(client, make)(**names)
            except ClientError as error:
                code = error.response["Error"]["Code"]
                # A role that may not create the group can still write to one that somebody else made.
                may_exist = make == "create_log_group" and code == "AccessDeniedException"
                if code != "ResourceAlreadyExistsException" and not may_exist:
                    raise
            names["logStreamName"] = self.stream

    def _put(self, batch: list[dict[str, Any]]) -> None:
        for attempt in range(_TRIES):
            try:
                self._client().put_log_events(logGroupName=self.group, logStreamName=self.stream, logEvents=batch)
                return
            except (BotoCoreError, ClientError) as error:
                denied = isinstance(error, ClientError) and "AccessDenied" in error.response["Error"]["Code"]
                if denied or self._closing or attempt == _TRIES - 1:
                    raise
                if isinstance(error, ClientError) and error.response["Error"]["Code"] == "ResourceNotFoundException":
                    # Somebody deleted the group or the stream while the container runs.
                    self._make()
                time.sleep(0.2 * 2**attempt)

    def _give_up(self, error: Exception) -> None:
        with self._lock:
            self._denied = True
            self._lines.clear()
        logger.warning("Nothing is written to %s %s: %s", self.group, self.stream, error)

    def _client(self) -> Any:
        return self._platform.client("logs", self._region, self._credentials)
