"""The container of one instance of a transform job: it is started as a server, asked `/ping`, and then for answers."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from local_cloud.containers.engine import ContainerEngine, ContainerSpec
from local_cloud.sagemaker import loopback_ports
from local_cloud.sagemaker.jobs.job_containers import Containers

HEALTH_CHECK_TIMEOUT_S = 120.0
"""How long a server may take to answer its first `/ping` with 200. SageMaker waits longer; here nothing is pulled or booted
in that time, and whoever waits sits before the screen."""
PING_INTERVAL_S = 0.1
PING_TIMEOUT_S = 2.0
""""The request timeout on /ping attempts is 2 seconds" (developer guide, "Use Your Own Inference Code with Batch
Transform")."""
PARAMETERS_TIMEOUT_S = 60.0
"""How long `/execution-parameters` may take. No document gives a limit; a container that says how much it wants is heard
also on a machine that is busy, for without its word the job would run with other limits."""
GRACE_S = 2.0
"""Between SIGTERM and SIGKILL. No document gives a transform job's container more: nothing that it does then counts."""
CHUNK_BYTES = 64 * 1024


class NoAnswer(Exception):
    """The container did not answer a request; the message says why."""


class HungUp(NoAnswer):
    """The connection broke, or there was none: the container may have ended."""


class NotHealthy(Exception):
    """The container is not there to be asked; the message says how it ended, if it did."""


@dataclass(frozen=True)
class Answer:
    """What a container answered: the HTTP status, and the body."""

    status: int
    body: bytes


class TransformServer:
    """One container that serves the model.

    Args:
        engine: runs it.
        host: of which instance it is.
        spec: what it runs; it gets a port.
    """

    def __init__(self, engine: ContainerEngine, host: str, spec: ContainerSpec) -> None:
        self.host = host
        self._spec = spec
        self._ended = threading.Event()
        self._containers = Containers(engine, self._ended)
        self._port = 0

    def start(self, check: Callable[[], None]) -> None:
        """Start it, and wait until it is healthy.

        Args:
            check: called meanwhile; raises where the job is to stop.

        Raises:
            ContainerError: it cannot start.
            NotHealthy: it ended, or its time to become healthy is over.
        """
        self._port = loopback_ports.take()
        self._containers.start({self.host: replace(self._spec, port=self._port)})
        deadline = time.monotonic() + HEALTH_CHECK_TIMEOUT_S
        while time.monotonic() < deadline:
            check()
            self.check_running()
            try:
                if self._ask("GET", "/ping", PING_TIMEOUT_S).status == http.client.OK:
                    return
            except NoAnswer:
                pass
            time.sleep(PING_INTERVAL_S)
        raise NotHealthy(
            f"The container on {self.host} did not answer /ping with 200 within {HEALTH_CHECK_TIMEOUT_S:g} s"
        )

    def check_running(self, patience_s: float = 0.0) -> None:
        """Go on only if it runs.

        Args:
            patience_s: how long to wait for its end, where there is a reason to expect it: connections break before the end
                of what held them is known.

        Raises:
            NotHealthy: it has ended.
        """
        if patience_s:
            self._ended.wait(patience_s)
        if ended := self._containers.outcome:
            raise NotHealthy(f"The container on {self.host} ended with exit code {ended.code}")

    def execution_parameters(self) -> Mapping[str, Any]:
        """What the container asks for in answer to `/execution-parameters`; nothing where it does not answer with JSON."""
        try:
            answer = self._ask("GET", "/execution-parameters", PARAMETERS_TIMEOUT_S)
            told = json.loads(answer.body) if answer.status == http.client.OK else {}
        except (NoAnswer, ValueError):
            return {}
        return told if isinstance(told, dict) else {}

    def invoke(self, body: bytes, headers: Mapping[str, str], timeout_s: float, *, chunked: bool) -> Answer:
        """Ask for the answer to a payload.

        Args:
            body: the payload.
            headers: of the request.
            timeout_s: how long the container may stay silent, in seconds.
            chunked: send it with HTTP chunked encoding instead of its length.

        Raises:
            NoAnswer: there is none; HungUp where the connection broke.
        """
        return self._ask("POST", "/invocations", timeout_s, body, headers, chunked=chunked)

    def stop(self) -> None:
        """End it; returns at once."""
        self._containers.stop(GRACE_S)

    def join(self) -> None:
        """Wait until it has ended, and give its port back."""
        self._containers.join()
        loopback_ports.release(self._port)

    def _ask(
        self,
        method: str,
        path: str,
        timeout_s: float,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        chunked: bool = False,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=timeout_s)
        try:
            if chunked and body is not None:
                sent = {**(headers or {}), "Transfer-Encoding": "chunked"}
                connection.request(method, path, _chunks(body), sent, encode_chunked=True)
            else:
                connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.read())
        except TimeoutError as error:
            raise NoAnswer(f"it did not answer within {timeout_s:g} seconds") from error
        except (OSError, http.client.HTTPException) as error:
            raise HungUp(f"{type(error).__name__}: {error}".rstrip(": ")) from error
        finally:
            connection.close()


def _chunks(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), CHUNK_BYTES):
        yield body[start : start + CHUNK_BYTES]
