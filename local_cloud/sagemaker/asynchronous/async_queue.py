"""The queue of an asynchronous endpoint: requests wait in the store until an instance takes them."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from local_cloud.platform import RoleRefused
from local_cloud.sagemaker.asynchronous import async_processing, async_requests
from local_cloud.sagemaker.asynchronous.async_access import Access
from local_cloud.sagemaker.asynchronous.async_container import HungUp
from local_cloud.sagemaker.asynchronous.async_metrics import Backlog, Processed
from local_cloud.sagemaker.asynchronous.async_processing import Work
from local_cloud.sagemaker.capture import data_capture_hook
from local_cloud.sagemaker.hosting import endpoint_metrics
from local_cloud.sagemaker.hosting.container_calls import Unreachable
from local_cloud.sagemaker.hosting.hosting import Hosting, Key
from local_cloud.sagemaker.hosting.router import Lease
from local_cloud.sagemaker.store import Document

logger = logging.getLogger(__name__)

TICK_S = 0.1
"""How often a queue that waits for an instance looks again: instances come and go without telling it."""
GAUGE_S = 20.0
"""How often the backlog is told, in the cloud's seconds: thrice in each of CloudWatch's minutes, so that none is empty."""
SETTLE_S = 2.0
"""How long a request whose topic was told is remembered: the local cloud writes its topics and queues to the disk with a
delay, and a message that was lost with a killed cloud is sent again. SNS delivers at least once, so twice is allowed."""


class AsyncQueue:
    """The requests of one endpoint that are not answered, and the thread that gives them to instances."""

    def __init__(self, hosting: Hosting, key: Key, endpoint: str) -> None:
        """Take up what the store has of it; requests that were under way start again.

        Args:
            hosting: where the endpoint's router is.
            key: account, region and key of the endpoint.
            endpoint: its name.
        """
        self.endpoint = endpoint
        self._hosting, self._service, self._key = hosting, hosting.service, key
        self._lock = threading.Lock()
        self._pending: deque[Document] = deque()
        self._working: dict[str, Document] = {}
        self._told: deque[tuple[float, str]] = deque()
        self._alone: set[str] = set()
        """Instances with a request that is tried alone."""
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._forgotten = False
        self._next_gauge = 0.0
        account, region, _ = key
        self._access = Access(self._service.platform, region, endpoint, self._save)
        for document in self._service.store.list(async_requests.KIND, account, region):
            if document["Endpoint"] == endpoint:
                # Whatever ended an earlier attempt was the end of the local cloud, no fault of the request.
                self._pending.append({**document, "Attempts": 0})
        self._thread = threading.Thread(target=self._run, name=f"queue of {endpoint}", daemon=True)
        self._thread.start()

    def put(self, document: Document) -> None:
        """Take a request; it is on the disk when this returns."""
        account, region, _ = self._key
        self._service.store.insert(async_requests.KIND, account, region, document["Id"], document)
        with self._lock:
            self._pending.append(document)
        self._wake.set()

    def close(self, *, forget: bool = False) -> None:
        """Give out no more requests.

        Args:
            forget: the endpoint is deleted, and its requests with it; otherwise the next start takes them up.
        """
        self._forgotten = forget
        self._closed.set()
        self._wake.set()
        self._thread.join(5)
        with self._lock:
            told = [request_id for _, request_id in self._told]
            rest = [document["Id"] for document in (*self._pending, *self._working.values())] if forget else []
        for request_id in told + rest:
            self._delete(request_id)
        self._access.close()

    def _run(self) -> None:
        self._take_up_answered()
        while not self._closed.is_set():
            self._wake.clear()
            try:
                self._expire()
                self._give_out()
                self._forget_told()
                self._tell_backlog()
            except Exception:
                logger.exception("The queue of endpoint %s", self.endpoint)
            busy = self._pending or self._told
            self._wake.wait(TICK_S if busy else max(TICK_S, self._next_gauge - time.monotonic()))

    def _take_up_answered(self) -> None:
        """End the requests that were answered when the local cloud was killed, and perhaps not told."""
        with self._lock:
            answered = [document for document in self._pending if "Result" in document]
        for document in answered:
            if self._closed.is_set():
                return
            try:
                work = self._access.work(document, "restarted")
                if async_processing.restore(work, document):
                    with self._lock:
                        self._pending.remove(document)
                    self._finish(work, document, None)
                    if "Told" not in document:
                        self._delete(document["Id"])
                else:
                    del document["Result"]
            except Exception:
                # It is processed again: rather twice than never.
                logger.exception("Request %s of endpoint %s", document["InferenceId"], self.endpoint)
                document.pop("Result", None)

    def _give_out(self) -> None:
        """Start whatever instances have room for, oldest request first."""
        while (leased := self._lease()) is not None:
            document, lease, end = leased
            with self._lock:
                # This one, wherever it is by now: one that is tried again may have been put before it.
                self._pending.remove(document)
                self._working[document["Id"]] = document
            threading.Thread(
                target=self._process, args=(document, lease, end), name=f"request {document['Id']}", daemon=True
            ).start()

    def _lease(self) -> tuple[Document, Lease, ExitStack] | None:
        """The oldest request, an instance for it, and what gives that back."""
        router = self._hosting.router(self._key)
        if not self._pending or router is None or self._closed.is_set():
            return None
        document = self._pending[0]
        # A server ended over it, or over a neighbour of it: whose fault it was shows when it is tried alone.
        suspect = document["Attempts"] > 0
        most = 1 if suspect else document["Concurrency"]
        full = [
            instance
            for fleet in router.fleets
            for instance in fleet.instances
            if instance.in_flight >= most or instance.id in self._alone
        ]
        end = ExitStack()
        lease = end.enter_context(router.lease(None, full))
        if lease is None:
            end.close()
            return None
        if suspect:
            self._alone.add(lease.instance.id)
            end.callback(self._alone.discard, lease.instance.id)
        return document, lease, end

    def _process(self, document: Document, lease: Lease, end: ExitStack) -> None:
        again = False
        put_back = self._pending.appendleft
        try:
            work = self._access.work(document, f"{lease.variant.name}/{lease.instance.id}")
            work.capture = partial(data_capture_hook.keep_file, lease.variant)
            measured = async_processing.answer(work, document, lease.instance, lease.variant.name)
            self._finish(work, document, measured)
        except Unreachable:
            # Nothing was sent, so this was no attempt. Its server is about to be noticed as gone.
            document["Attempts"] -= 1
            again = True
            self._closed.wait(TICK_S)
        except HungUp:
            again, put_back = True, self._pending.append
        except RoleRefused as error:
            logger.warning("Endpoint %s cannot process requests: %s", self.endpoint, error)
            again = True
            self._closed.wait(1.0)
        except Exception as error:
            logger.exception("Request %s of endpoint %s", document["InferenceId"], self.endpoint)
            again = document["Attempts"] < async_processing.MAX_ATTEMPTS
            if again:
                self._closed.wait(TICK_S)
            else:
                self._give_up(document, lease, error)
        finally:
            end.close()
            with self._lock:
                self._working.pop(document["Id"], None)
                if again:
                    put_back(document)
            if not again and "Told" not in document:
                self._delete(document["Id"])
            self._wake.set()

    def _give_up(self, document: Document, lease: Lease, error: Exception) -> None:
        """Fail a request that the local cloud itself cannot process, so that whoever waits for it hears of it."""
        try:
            work = self._access.work(document, f"{lease.variant.name}/{lease.instance.id}")
            measured = Processed(self.endpoint, lease.variant.name, failed=True, backlog_s=0.0, total_s=0.0)
            reason = f"InternalServerError: The local cloud failed: {type(error).__name__}: {error}"
            self._finish(work, document, async_processing.fail(work, document, measured, reason))
        except Exception:
            logger.exception(
                "Request %s of endpoint %s is lost: its failure cannot be told", document["InferenceId"], self.endpoint
            )

    def _finish(self, work: Work, document: Document, measured: Processed | None) -> None:
        """Tell of a request that has a Result, and remember for a moment that it was told."""
        told = async_processing.tell(work, document)
        if measured is not None:
            measured = replace(measured, notification_failed=not told)
            endpoint_metrics.recorder_of(self._service).record(self._key[1], measured)
        if document["Topics"]:
            document["Told"] = time.time()
            with self._lock:
                self._told.append((time.monotonic(), document["Id"]))

    def _expire(self) -> None:
        """Fail what has waited for longer than it may."""
        now, clock = time.time(), self._service.clock
        with self._lock:
            expired = [
                document
                for document in self._pending
                if now - document["ReceivedTime"] > clock.real(document["RequestTTLSeconds"])
            ]
            for document in expired:
                self._pending.remove(document)
                self._working[document["Id"]] = document
        for document in expired:
            age = max(0.0, now - document["ReceivedTime"])
            reason = f"ClientError: The request expired: RequestTTLSeconds {document['RequestTTLSeconds']} are over."
            variant = self._some_variant()
            measured = Processed(self.endpoint, variant, failed=True, backlog_s=age, total_s=age, expired=True)
            try:
                work = self._access.work(document, f"{variant}/expired")
                measured = async_processing.fail(work, document, measured, reason)
                self._finish(work, document, measured)
            except RoleRefused as error:
                logger.warning("Endpoint %s cannot tell of an expired request: %s", self.endpoint, error)
            finally:
                with self._lock:
                    self._working.pop(document["Id"], None)
                if "Told" not in document:
                    self._delete(document["Id"])

    def _some_variant(self) -> str:
        """The variant to whose account an expired request goes: none has taken it."""
        router = self._hosting.router(self._key)
        names = [name for fleet in router.fleets for name in fleet.variants] if router else []
        return names[0] if names else "AllTraffic"

    def _forget_told(self) -> None:
        while self._told and time.monotonic() - self._told[0][0] > SETTLE_S:
            with self._lock:
                _, request_id = self._told.popleft()
            self._delete(request_id)

    def _tell_backlog(self) -> None:
        if time.monotonic() < self._next_gauge:
            return
        self._next_gauge = time.monotonic() + max(TICK_S, self._service.clock.real(GAUGE_S))
        router = self._hosting.router(self._key)
        if router is None:
            # Being made, or coming back after a restart: there is nothing to measure by.
            return
        with self._lock:
            waiting = [*self._pending, *self._working.values()]
        oldest = min((document["ReceivedTime"] for document in waiting), default=time.time())
        instances = sum(len(fleet.instances) for fleet in router.fleets)
        backlog = Backlog(self.endpoint, len(waiting), instances, max(0.0, time.time() - oldest))
        endpoint_metrics.recorder_of(self._service).record(self._key[1], backlog)

    def _save(self, document: Document) -> None:
        account, region, _ = self._key
        if not self._forgotten:
            self._service.store.put(async_requests.KIND, account, region, document["Id"], document)

    def _delete(self, request_id: str) -> None:
        account, region, _ = self._key
        self._service.store.delete(async_requests.KIND, account, region, request_id)
