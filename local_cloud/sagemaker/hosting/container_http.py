"""Sends requests to containers on their loopback ports."""

from __future__ import annotations

import asyncio
import time

import httpx

from local_cloud.sagemaker.hosting.container_calls import MAX_BODY_BYTES, MODEL_TIMEOUT_S, Call, Reply, Unreachable
from local_cloud.sagemaker.service import Sagemaker

KEEP_ALIVE_S = 1.5
"""How long an idle connection to a server is kept: less than the 2 seconds after which gunicorn, the most impatient of the
usual servers, closes it, since a request on a connection that is being closed is lost."""


async def ask(service: Sagemaker, port: int, call: Call, container: str, timeout_s: float = MODEL_TIMEOUT_S) -> Reply:
    """Send a request to one container.

    Args:
        service: its pool of connections is used.
        port: where the container listens.
        call: the request.
        container: its name, for messages.
        timeout_s: how long it may take.

    Raises:
        Unreachable: nobody listens.
    """
    request = httpx.Request(
        call.method,
        f"http://127.0.0.1:{port}{call.path}",
        headers=dict(call.headers),
        content=call.body,
        extensions={"timeout": {"connect": 2.0, "read": None, "write": None, "pool": None}},
    )
    sent = time.perf_counter()
    try:
        async with asyncio.timeout(timeout_s):
            response = await _transport(service).handle_async_request(request)
            try:
                # Raw, since a container may compress and its caller wants what it sent.
                content = b"".join([chunk async for chunk in response.aiter_raw()])
            finally:
                await response.aclose()
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise Unreachable from error
    except TimeoutError:
        message = (
            f"Your invocation timed out while waiting for a response from container {container}. Review the latency "
            "metrics for each container in Amazon CloudWatch, resolve the issue, and try again."
        )
        return Reply(0, message.encode(), {}, time.perf_counter() - sent)
    except httpx.HTTPError as error:
        message = f"The container closed the connection before it had answered: {error or type(error).__name__}"
        return Reply(502, message.encode(), {}, time.perf_counter() - sent)
    seconds = time.perf_counter() - sent
    if len(content) > MAX_BODY_BYTES:
        message = f"The container answered with {len(content)} bytes; the limit is {MAX_BODY_BYTES}."
        return Reply(500, message.encode(), {}, seconds)
    return Reply(response.status_code, content, dict(response.headers), seconds)


def _transport(service: Sagemaker) -> httpx.AsyncHTTPTransport:
    """The pool of connections to all servers; a transport, since a client would decode, follow and add headers."""
    transport = service.background.get("invocations")
    if not isinstance(transport, httpx.AsyncHTTPTransport):
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=KEEP_ALIVE_S)
        # The servers are on this machine, without TLS: no certificates are read.
        transport = service.background["invocations"] = httpx.AsyncHTTPTransport(limits=limits, verify=False)
    return transport
