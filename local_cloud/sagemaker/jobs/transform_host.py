"""One instance of a transform job: its share of the objects goes through its container, a mini-batch at a time, in order."""

from __future__ import annotations

import gzip
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from local_cloud.sagemaker.jobs.transform_limits import Limits
from local_cloud.sagemaker.jobs.transform_logs import DataLog
from local_cloud.sagemaker.jobs.transform_processing import BadData, Processing
from local_cloud.sagemaker.jobs.transform_records import MIB, BadRecord, Payload, body_of, payloads
from local_cloud.sagemaker.jobs.transform_server import Answer, HungUp, NoAnswer, TransformServer
from local_cloud.sagemaker.jobs.transform_work import ALGORITHM, CLIENT, ObjectFailed, Work
from local_cloud.sagemaker.store import Document

DEFAULT_TIMEOUT_S = 600
"""InvocationsTimeoutInSeconds where the request names none (ModelClientConfig in the API reference)."""
DEFAULT_RETRIES = 3
"""InvocationsMaxRetries, likewise."""
RETRY_PAUSE_S = 0.2
"""Before a request is tried again, doubled each time; no document says how long SageMaker waits."""
END_SHOWS_WITHIN_S = 3.0
"""How long after a connection broke the end of its container is waited for, before the object is blamed for it."""


class TransformHost:
    """One instance.

    Args:
        job: the request, with its defaults.
        server: its container.
        log: its data log.
        check: raises where the job is to stop.
    """

    def __init__(self, job: Document, server: TransformServer, log: DataLog, check: Callable[[], None]) -> None:
        self._job, self._server, self._log, self._check = job, server, log, check
        self._processing = Processing.of(job)
        self._limits = Limits.of(job, {})

    def transform(self, share: Sequence[Work]) -> None:
        """Start the container, and take the objects through it; why one failed is written to it and to the log.

        Raises:
            ContainerError: the container cannot start.
            NotHealthy: it did not become healthy, or ended.
            Exception: what `check` raised.
        """
        self._server.start(self._check)
        self._limits = Limits.of(self._job, self._server.execution_parameters())
        self._log.line(str(self._limits))
        # In order, so that an output is: an answer is written when all before it are.
        waiting: deque[tuple[Work, Future[bytes] | None]] = deque()
        with ThreadPoolExecutor(self._limits.concurrent, thread_name_prefix="invocations") as pool:
            try:
                for work in share:
                    work.target.touch()
                    for payload in self._payloads(work):
                        # Some more than are open at once, so that one that takes long leaves the others something to do.
                        while len(waiting) >= 2 * self._limits.concurrent:
                            self._collect(*waiting.popleft())
                        if work.failure:
                            break
                        waiting.append((work, pool.submit(self._answered, payload)))
                    waiting.append((work, None))
                while waiting:
                    self._collect(*waiting.popleft())
            except BaseException:
                # Those that are open must not hold it up for their ten minutes.
                self._server.stop()
                pool.shutdown(cancel_futures=True)
                raise

    def _payloads(self, work: Work) -> Iterator[Payload]:
        limit = self._limits.payload_mb * MIB or None
        source = self._job["TransformInput"]
        try:
            with _opened(work.source, source["CompressionType"]) as file:
                yield from payloads(file, source["SplitType"], self._limits.strategy, limit)
        except BadRecord as error:
            self._fail(work, ObjectFailed(CLIENT, f"{CLIENT}: {error}"))
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            self._fail(work, ObjectFailed(CLIENT, f"{CLIENT}: The object is not compressed with gzip: {error}"))

    def _collect(self, work: Work, answer: Future[bytes] | None) -> None:
        """Write what came of a payload; None stands after the last of an object."""
        if answer is None:
            work.is_done = work.failure is None
            return
        try:
            content = answer.result()
        except ObjectFailed as failure:
            # A container that has ended, or a job that is stopped, says nothing about the object.
            self._check()
            self._server.check_running()
            self._fail(work, failure)
            return
        if not work.failure:
            with work.target.open("ab") as file:
                file.write(content)

    def _fail(self, work: Work, failure: ObjectFailed) -> None:
        if work.failure is None:
            work.failure = failure
            self._log.of_object(work.location, str(failure))

    def _answered(self, payload: Payload) -> bytes:
        """What goes into the output for a payload."""
        self._check()
        records = [record.content for record in payload]
        try:
            body = self._processing.filtered(records, body_of(payload, self._limits.strategy))
            answer = self._asked(body)
            content = self._processing.kept(records, answer.body)
        except BadData as error:
            raise ObjectFailed(CLIENT, f"{CLIENT}: {error}") from error
        if self._job["TransformOutput"]["AssembleWith"] == "Line" and not content.endswith(b"\n"):
            content += b"\n"
        return content

    def _asked(self, body: bytes) -> Answer:
        """The container's answer, after as many tries as the request allows.

        Tried again is what the container did not answer, or with 5xx, which may pass. A 4xx says that the request is wrong.
        """
        client = self._job.get("ModelClientConfig", {})
        tries = 1 + int(client.get("InvocationsMaxRetries", DEFAULT_RETRIES))
        timeout_s = float(client.get("InvocationsTimeoutInSeconds", DEFAULT_TIMEOUT_S))
        chunked = self._limits.payload_mb == 0
        for attempt in range(tries):
            if attempt:
                time.sleep(RETRY_PAUSE_S * 2 ** (attempt - 1))
            self._check()
            try:
                answer = self._server.invoke(body, self._headers(), timeout_s, chunked=chunked)
            except NoAnswer as error:
                last = attempt == tries - 1
                self._server.check_running(END_SHOWS_WITHIN_S if last and isinstance(error, HungUp) else 0.0)
                failure = ObjectFailed(ALGORITHM, f"Unable to get response from algorithm: {error}")
                continue
            if 200 <= answer.status < 300:
                return answer
            failure = _refused(answer)
            if answer.status < 500:
                break
        raise failure

    def _headers(self) -> dict[str, str]:
        source, target = self._job["TransformInput"], self._job["TransformOutput"]
        given = {"Content-Type": source.get("ContentType"), "Accept": target.get("Accept")}
        return {name: value for name, value in given.items() if value}


def _refused(answer: Answer) -> ObjectFailed:
    """A failure in the words of SageMaker's data log."""
    message = answer.body.decode(errors="replace")
    if 400 <= answer.status < 500:
        return ObjectFailed(CLIENT, f"{CLIENT}: {answer.status}\n\nMessage:\n{message}")
    text = f"Bad HTTP status received from algorithm: {answer.status}\n\nMessage:\n{message}"
    return ObjectFailed(ALGORITHM, text)


@contextmanager
def _opened(path: Path, compression: str) -> Iterator[BinaryIO]:
    if compression == "Gzip":
        with gzip.open(path, "rb") as unpacked:
            yield cast(BinaryIO, unpacked)
    else:
        with path.open("rb") as file:
            yield file
