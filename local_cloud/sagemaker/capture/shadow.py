"""Sends copies of a production variant's requests to its shadow, whose answers nobody gets.

By the developer guide ("Shadow variants"): the shadow "receives a percentage of the incoming requests, replicated from the
production variant, but does not return any responses"; what it does shows in its own metrics, and in what is captured.
A copy is sent once the production answer is there, so that a shadow can neither fail a request nor slow it down.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from local_cloud.platform import Caller
from local_cloud.sagemaker.capture import data_capture_hook
from local_cloud.sagemaker.hosting import endpoint_metrics
from local_cloud.sagemaker.hosting.container_calls import Unreachable
from local_cloud.sagemaker.hosting.endpoint_metrics import Invocation
from local_cloud.sagemaker.service import Sagemaker

if TYPE_CHECKING:
    from local_cloud.sagemaker.hosting.container_route import Outcome
    from local_cloud.sagemaker.hosting.fleet import Fleet, Variant
    from local_cloud.sagemaker.hosting.instance import Instance

    Carry = Callable[[Sagemaker, Variant, Instance, Mapping[str, str], bytes], Awaitable[Outcome]]

logger = logging.getLogger(__name__)

MAX_COPIES = 64
"""Copies that a shadow may have before it at a time. A shadow that is slower than the traffic would fill the memory; what is
beyond is not copied, and counted."""
MAX_COPIED_BYTES = 64 * 1024 * 1024
"""The same for what the copies hold."""


def pair(fleet: Fleet) -> None:
    """Give each production variant of a fleet its shadow, if the fleet has one: there is one of each then."""
    for variant in fleet.variants.values():
        for other in fleet.variants.values():
            if other.is_shadow and not variant.is_shadow:
                variant.shadow = Shadow(variant, other)


class Shadow:
    """The shadow of one production variant. All of it runs on the event loop."""

    def __init__(self, production: Variant, variant: Variant) -> None:
        """Take both.

        Args:
            production: whose requests are copied.
            variant: who gets the copies.
        """
        self.variant = variant
        self.skipped = 0
        self._production = production
        self._tasks: set[asyncio.Task[None]] = set()
        self._bytes = 0

    @property
    def share(self) -> float:
        """The part of the requests that is copied: the shadow's weight against the production variant's, 1 at most."""
        if self._production.weight <= 0:
            return 0.0
        return min(1.0, self.variant.weight / self._production.weight)

    def copy(
        self,
        service: Sagemaker,
        caller: Caller,
        endpoint: str,
        headers: Mapping[str, str],
        body: bytes,
        carry: Carry,
    ) -> None:
        """Send a copy of a request soon, if it is one of the sample; returns at once, and never raises.

        Args:
            service: the service.
            caller: who asked.
            endpoint: the endpoint's name.
            headers: of the request, in lower case.
            body: of the request.
            carry: takes a request to an instance of a variant.
        """
        if random.random() >= self.share:  # noqa: S311 - a sample, nothing secret
            return
        if len(self._tasks) >= MAX_COPIES or self._bytes + len(body) > MAX_COPIED_BYTES:
            self._skip(endpoint)
            return
        self._bytes += len(body)
        task = asyncio.get_running_loop().create_task(self._send(service, caller, endpoint, headers, body, carry))
        # The loop itself keeps no strong reference to a task.
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(done, endpoint, len(body)))

    async def _send(
        self,
        service: Sagemaker,
        caller: Caller,
        endpoint: str,
        headers: Mapping[str, str],
        body: bytes,
        carry: Carry,
    ) -> None:
        started, at = time.perf_counter(), time.time()
        status, model_s = 0, 0.0
        # Not counted among the requests in flight: nobody waits for a copy, so an update need not either.
        instance = self.variant.pick(())
        if instance is not None:
            try:
                outcome = await carry(service, self.variant, instance, headers, body)
            except Unreachable:
                pass
            else:
                status, model_s = outcome.reply.status, outcome.model_s
                if not outcome.reply.succeeded and not instance.ready:
                    # It was cut off because its fleet ends, which says nothing about the shadow.
                    return
                data_capture_hook.keep(self.variant, at, headers, body, outcome.reply)
        measured = Invocation(
            endpoint=endpoint,
            variant=self.variant.name,
            instance_count=len(self.variant.ready),
            status=status,
            model_s=model_s,
            total_s=time.perf_counter() - started,
        )
        endpoint_metrics.recorder_of(service).record(caller.region, measured)

    def _ended(self, task: asyncio.Task[None], endpoint: str, size: int) -> None:
        self._tasks.discard(task)
        self._bytes -= size
        if not task.cancelled() and (error := task.exception()):
            logger.error("A copy for the shadow of endpoint %s failed", endpoint, exc_info=error)

    def _skip(self, endpoint: str) -> None:
        self.skipped += 1
        # A line for each power of two: enough to notice, and no flood.
        if self.skipped & (self.skipped - 1) == 0:
            logger.warning(
                "The shadow %s of endpoint %s is slower than its traffic: %d requests were not copied so far",
                self.variant.name,
                endpoint,
                self.skipped,
            )
