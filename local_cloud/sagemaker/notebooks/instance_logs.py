"""What a notebook instance prints: a log stream for each source in /aws/sagemaker/NotebookInstances, as on AWS, and a file."""

from __future__ import annotations

import threading
from pathlib import Path

from local_cloud.platform import Credentials, Platform
from local_cloud.sagemaker.jobs.job_logs import LAST_LINES_S, JobLog
from local_cloud.sagemaker.log_stream import LogStream

GROUP = "/aws/sagemaker/NotebookInstances"
"""https://docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html"""
BUILD = "build"
"""The lines of the image that stands for the instance: AWS has none, so only the file has them."""


class InstanceLogs:
    """The logs of one start of an instance, written as its role, as on AWS: a role that may not write has files only.

    Args:
        platform: the cloud.
        region: of the instance.
        credentials: of its role.
        name: NotebookInstanceName: begins the names of its streams.
        folder: for the files, one for each stream.
    """

    def __init__(self, platform: Platform, region: str, credentials: Credentials, name: str, folder: Path) -> None:
        self._platform, self._region, self._credentials = platform, region, credentials
        self._name, self._folder = name, folder
        self._lock = threading.Lock()
        self._logs: dict[str, JobLog] = {}
        self._closed = False

    def line(self, stream: str, text: str) -> None:
        """Add a line, from any thread; nothing once the logs are closed.

        Args:
            stream: `LifecycleConfigOnCreate`, `LifecycleConfigOnStart`, `jupyter.log` or `build`.
            text: the line.
        """
        with self._lock:
            if self._closed:
                return
            if stream == BUILD:
                self._folder.mkdir(parents=True, exist_ok=True)
                with (self._folder / BUILD).open("a", encoding="utf-8", errors="replace") as file:
                    file.write(f"{text}\n")
                return
            log = self._logs.get(stream) or self._open(stream)
        log.line(text)

    def close(self, timeout_s: float = LAST_LINES_S) -> None:
        """Send what is left, all streams at once; gives up after `timeout_s` seconds."""
        with self._lock:
            self._closed = True
            logs = list(self._logs.values())
        closers = [threading.Thread(target=log.close, daemon=True) for log in logs]
        for closer in closers:
            closer.start()
        for closer in closers:
            closer.join(timeout_s)

    def _open(self, stream: str) -> JobLog:
        log_stream = LogStream(self._platform, self._region, self._credentials, GROUP, f"{self._name}/{stream}")
        self._logs[stream] = JobLog(log_stream, self._folder / stream)
        return self._logs[stream]
