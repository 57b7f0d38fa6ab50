"""How an asynchronous endpoint reaches S3, SNS and its logs: as the role of its model."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable

from local_cloud.platform import Credentials, Platform
from local_cloud.sagemaker.asynchronous.async_processing import Work
from local_cloud.sagemaker.hosting.provisioning import LOG_GROUP
from local_cloud.sagemaker.log_stream import LogStream
from local_cloud.sagemaker.store import Document

CLOSE_TIMEOUT_S = 1.0
"""How long the end of an endpoint waits for the last lines of one of its logs."""


class Access:
    """The sessions and the data logs of one endpoint; each is made once, for each costs a call to make."""

    def __init__(self, platform: Platform, region: str, endpoint: str, save: Callable[[Document], None]) -> None:
        """Nothing is asked for yet.

        Args:
            platform: the cloud around SageMaker.
            region: the endpoint's.
            endpoint: its name.
            save: writes a request down.
        """
        self._platform, self._region, self._endpoint, self._save = platform, region, endpoint, save
        self._lock = threading.Lock()
        self._sessions: dict[str, Credentials] = {}
        self._logs: dict[str, LogStream] = {}

    def work(self, document: Document, where: str) -> Work:
        """What the processing of a request needs.

        Args:
            document: the request.
            where: begins the name of the log stream: the variant and the instance.

        Raises:
            RoleRefused: the role is not there any more, or does not trust SageMaker.
        """
        credentials = self._credentials(document["RoleArn"])

        def log(words: str) -> None:
            # The form of lines and the name of the stream: "Logs" of the guide's page on monitoring.
            stamp = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
            line = f"{stamp}:[sagemaker logs] [{document['InferenceId']}] {words}"
            self._log(f"{where}/data-log", credentials).write(line)

        return Work(
            region=self._region,
            s3=self._platform.client("s3", self._region, credentials),
            sns=self._platform.client("sns", self._region, credentials),
            own_s3=self._platform.client("s3", self._region),
            save=self._save,
            log=log,
        )

    def close(self) -> None:
        """End the logs and the sessions."""
        with self._lock:
            logs, sessions = list(self._logs.values()), list(self._sessions.values())
        for log in logs:
            log.close(CLOSE_TIMEOUT_S)
        for credentials in sessions:
            self._platform.forget_session(credentials)

    def _credentials(self, role_arn: str) -> Credentials:
        with self._lock:
            found = self._sessions.get(role_arn)
            if found is None:
                found = self._sessions[role_arn] = self._platform.assume_role(role_arn, "SageMaker")
            return found

    def _log(self, stream: str, credentials: Credentials) -> LogStream:
        with self._lock:
            if stream not in self._logs:
                group = LOG_GROUP + self._endpoint
                self._logs[stream] = LogStream(self._platform, self._region, credentials, group, stream)
            return self._logs[stream]
