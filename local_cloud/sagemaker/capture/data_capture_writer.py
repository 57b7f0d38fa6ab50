"""Keeps what is captured until it is written to S3, off the path of the requests and within a bounded piece of memory.

Records are in memory until they are written: a local cloud that is killed loses those of the last two seconds (a minute
of AWS's, sped up by the clock), and one that is stopped loses none.
"""

from __future__ import annotations

import itertools
import logging
import random
import threading
import uuid
from collections import deque
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local_cloud.clock import Clock
from local_cloud.platform import Credentials
from local_cloud.sagemaker.capture import data_capture
from local_cloud.sagemaker.capture.data_capture import Captured, CaptureSettings
from local_cloud.sagemaker.log_stream import LogStream
from local_cloud.sagemaker.service import Sagemaker

logger = logging.getLogger(__name__)

FLUSH_INTERVAL_S = 60.0
"""Seconds of the cloud between two files. The guide: "The delivery of capture data to Amazon S3 can require a couple of
minutes"; by the clock's default factor that is every two seconds here."""
FLUSH_BYTES = 4 * 1024 * 1024
"""A file is written before that when so much waits."""
MAX_WAITING_BYTES = 32 * 1024 * 1024
"""What is kept while it cannot be written. Beyond, requests are answered but no longer captured, and the endpoint's log
says how many: as on AWS, where capture stops at a full disk "to prevent impact to inference requests"."""
CLOSE_TIMEOUT_S = 30.0
"""How long the end of a fleet waits for the last records, in the background: a machine that is busy loses none of them."""
SHUTDOWN_TIMEOUT_S = 2.0
"""The same where the local cloud itself ends, which must stay short."""
LOG_STREAM = "data-capture"


def writer_of(
    service: Sagemaker, region: str, credentials: Credentials, group: str, endpoint: str, variant: str, config: Any
) -> CaptureWriter | None:
    """What captures a variant by the DataCaptureConfig of its endpoint; None if nothing is to be captured.

    Args:
        service: the service.
        region: where the endpoint is.
        credentials: of the endpoint's role, which writes the records and the log.
        group: the endpoint's log group.
        endpoint: its name.
        variant: the variant's name.
        config: the DataCaptureConfig, or None.
    """
    settings = CaptureSettings.of(config)
    if settings is None:
        return None
    platform = service.platform
    log = LogStream(platform, region, credentials, group, f"{variant}/{LOG_STREAM}")
    s3 = platform.client("s3", region, credentials)
    return CaptureWriter(settings, endpoint, variant, s3, log, service.clock)


class CaptureWriter:
    """What is captured of one variant of one deployed fleet."""

    def __init__(
        self, settings: CaptureSettings, endpoint: str, variant: str, s3: Any, log: LogStream, clock: Clock
    ) -> None:
        """Take where to; nothing runs until something is captured.

        Args:
            settings: what is captured, and where it goes.
            endpoint: the endpoint's name.
            variant: the variant's name.
            s3: a client with the credentials of the endpoint's role.
            log: where the endpoint's owner reads that it fails.
            clock: how long the seconds of AWS are.
        """
        self.settings = settings
        self.working = True
        self._endpoint, self._variant, self._s3, self._log, self._clock = endpoint, variant, s3, log, clock
        self._waiting: deque[Captured] = deque()
        self._bytes = 0
        self._dropped = 0
        self._closing = False
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def samples(self) -> bool:
        """Whether the next request is one of those that are captured."""
        return random.random() < self.settings.share  # noqa: S311 - a sample, nothing secret

    def take(self, captured: Captured) -> None:
        """Keep one record; costs microseconds, since it happens before the request is answered. Never raises."""
        with self._lock:
            if self._closing or self._bytes + captured.size > MAX_WAITING_BYTES:
                self._dropped += 1
                return
            self._waiting.append(captured)
            self._bytes += captured.size
            if self._thread is None:
                name = f"capture {self._endpoint}/{self._variant}"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()
            if self._bytes >= FLUSH_BYTES and self.working:
                self._wake.set()

    def drop(self) -> None:
        """Count a request that is too large to be captured; the endpoint's log tells the number."""
        with self._lock:
            self._dropped += 1

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Write what waits, and end; what cannot be written in time is lost, and counted in the log."""
        with self._lock:
            self._closing = True
            thread = self._thread
        self._wake.set()
        if thread is not None:
            thread.join(timeout_s)
        self._log.close()

    def _run(self) -> None:
        closing = False
        while not closing:
            self._wake.wait(self._clock.real(FLUSH_INTERVAL_S))
            self._wake.clear()
            # Read before the flush: what was taken while it ran is written by the next one.
            closing = self._closing
            try:
                self._flush()
            except Exception:
                # A thread that ends would let the memory fill up in silence.
                logger.exception("Captured data of %s/%s could not be written", self._endpoint, self._variant)
        if left := len(self._waiting) + self._dropped:
            self._tell(f"{left} captured requests were lost: they could not be written before the endpoint's end.")

    def _flush(self) -> None:
        """Write what waits, a file for each hour; what cannot be written waits on."""
        with self._lock:
            taken, dropped = list(self._waiting), self._dropped
        written = 0
        for _, group in itertools.groupby(taken, key=lambda captured: int(captured.at // 3600)):
            records = list(group)
            if not self._write(records):
                break
            written += len(records)
        with self._lock:
            for _ in range(written):
                self._bytes -= self._waiting.popleft().size
            self._dropped -= dropped
        if dropped:
            self._tell(f"{dropped} requests were answered but not captured: too large, or too much waited.")

    def _write(self, records: list[Captured]) -> bool:
        """Write one file; whether that succeeded."""
        settings = self.settings
        key = data_capture.key(settings, self._endpoint, self._variant, records[0].at, str(uuid.uuid4()))
        body = "".join(f"{data_capture.line(settings, record)}\n" for record in records)
        arguments = {
            "Bucket": settings.bucket,
            "Key": key,
            "Body": body.encode(),
            "ContentType": "application/jsonlines",
        }
        if settings.kms_key_id:
            arguments |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": settings.kms_key_id}
        try:
            self._s3.put_object(**arguments)
        except (BotoCoreError, ClientError) as error:
            if self.working:
                folder = f"arn:aws:s3:::{settings.bucket}/{settings.prefix}".rstrip("/")
                needed = f"s3:PutObject on {folder}/*" + (" and kms:GenerateDataKey" if settings.kms_key_id else "")
                self.working = False
                self._tell(
                    f"Captured data could not be written to s3://{settings.bucket}/{key}. The endpoint's role needs "
                    f"{needed}. It is tried again; requests are answered as ever. {error}"
                )
            return False
        if not self.working:
            self._tell(f"Captured data is written again, to s3://{settings.bucket}/{key}.")
        self.working = True
        return True

    def _tell(self, message: str) -> None:
        self._log.write(message)
        logger.warning("Endpoint %s, variant %s: %s", self._endpoint, self._variant, message)
