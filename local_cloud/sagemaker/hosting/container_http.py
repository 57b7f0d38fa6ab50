"""Sends requests to containers on their loopback ports."""

from __future__ import annotations

import asyncio
import time

from local_cloud.sagemaker.hosting.container_calls import MAX_BODY_BYTES, MODEL_TIMEOUT_S, Call, Reply, Unreachable
from local_cloud.sagemaker.hosting.container_connections import Broken, Connections, NoConnection
from local_cloud.sagemaker.service import Sagemaker


async def ask(service: Sagemaker, port: int, call: Call, container: str, timeout_s: float = MODEL_TIMEOUT_S) -> Reply:
    """Send a request to one container.

    Args:
        service: its connections are used.
        port: where the container listens.
        call: the request.
        container: its name, for messages.
        timeout_s: how long it may take.

    Raises:
        Unreachable: nobody listens.
    """
    sent = time.perf_counter()
    try:
        async with asyncio.timeout(timeout_s):
            answer = await _connections(service).ask(port, call.method, call.path, call.headers, call.body)
    except NoConnection as error:
        raise Unreachable from error
    except TimeoutError:
        message = (
            f"Your invocation timed out while waiting for a response from container {container}. Review the latency "
            "metrics for each container in Amazon CloudWatch, resolve the issue, and try again."
        )
        return Reply(0, message.encode(), {}, time.perf_counter() - sent)
    except Broken as error:
        message = f"The container closed the connection before it had answered: {error}"
        return Reply(502, message.encode(), {}, time.perf_counter() - sent)
    seconds = time.perf_counter() - sent
    if len(answer.body) > MAX_BODY_BYTES:
        message = f"The container answered with {len(answer.body)} bytes; the limit is {MAX_BODY_BYTES}."
        return Reply(500, message.encode(), {}, seconds)
    return Reply(answer.status, answer.body, answer.headers, seconds)


def _connections(service: Sagemaker) -> Connections:
    """The connections to all servers."""
    connections = service.background.get("invocations")
    if not isinstance(connections, Connections) or not connections.is_of_this_loop:
        connections = service.background["invocations"] = Connections()
    return connections
