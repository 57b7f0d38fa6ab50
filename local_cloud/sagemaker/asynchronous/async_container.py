"""Asks a container on behalf of an asynchronous request: for up to an hour, and with up to a gigabyte each way.

A thread waits for each, beside the event loop that carries InvokeEndpoint, whose requests and answers are small.
"""

from __future__ import annotations

import http.client
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO

from local_cloud.sagemaker.asynchronous.async_requests import MAX_INPUT_BYTES
from local_cloud.sagemaker.hosting.container_calls import Unreachable

CHUNK_BYTES = 1024 * 1024
IN_MEMORY_BYTES = 8 * 1024 * 1024
"""Larger payloads are kept in a file while they are on their way."""


class HungUp(Exception):
    """The container closed the connection before it had answered: it may have begun, so it is asked again with care."""


@dataclass
class Reply:
    """What a container answered.

    Attributes:
        status: its HTTP status; 0 if there is no usable answer.
        body: the answer, from its beginning.
        size: how many bytes that are.
        headers: its headers, in lower case.
        seconds: how long it took.
    """

    status: int
    body: IO[bytes]
    size: int
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def succeeded(self) -> bool:
        """Whether the container did what it was asked."""
        return 200 <= self.status < 300


def ask(port: int, container: str, headers: Mapping[str, str], body: IO[bytes], size: int, timeout_s: float) -> Reply:
    """Send a request to one container and read its answer.

    Args:
        port: where it listens on 127.0.0.1.
        container: its name, for messages.
        headers: of the request, beside its length.
        body: the request, from its beginning.
        size: how many bytes it has.
        timeout_s: how long all of it may take.

    Raises:
        Unreachable: nobody listens, so nothing was sent.
        HungUp: it closed the connection.
    """
    began = time.monotonic()
    deadline = began + timeout_s
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        try:
            connection.connect()
        except OSError as error:
            raise Unreachable from error
        connection.request("POST", "/invocations", body=body, headers={**headers, "Content-Length": str(size)})
        response = connection.getresponse()
        received = {name.lower(): value for name, value in response.getheaders()}
        if response.length is None:
            message = f"The response from container {container} did not specify the required Content-Length header"
            return failed(message, time.monotonic() - began)
        content = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115 - the reply's owner closes it
        length = 0
        while chunk := response.read(CHUNK_BYTES):
            length += len(chunk)
            if length > MAX_INPUT_BYTES:
                return failed(
                    f"The container answered with more than {MAX_INPUT_BYTES} bytes.", time.monotonic() - began
                )
            content.write(chunk)
            connection.sock.settimeout(max(0.01, deadline - time.monotonic()))
        content.seek(0)
        return Reply(response.status, content, length, received, time.monotonic() - began)
    except TimeoutError:
        message = f"The invocation timed out: container {container} did not answer within {timeout_s:.0f} seconds."
        return failed(message, time.monotonic() - began)
    except (http.client.HTTPException, OSError) as error:
        raise HungUp(f"The container closed the connection before it had answered: {error}") from error
    finally:
        connection.close()


def failed(message: str, seconds: float) -> Reply:
    """A reply that stands for a container that gave none."""
    content = message.encode()
    file = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115 - the reply's owner closes it
    file.write(content)
    file.seek(0)
    return Reply(0, file, len(content), {}, seconds)
