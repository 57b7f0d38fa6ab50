"""One instance behind an endpoint: its containers, side by side, and the requests that wait for them."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from local_cloud.containers.engine import ContainerEngine
from local_cloud.sagemaker.hosting.server import NotHealthy, Server, ServerSpec
from local_cloud.sagemaker.log_stream import LogStream


class Instance:
    """The servers of one instance: one, or one for each container of the model.

    Attributes:
        id: in the form of an EC2 instance's; names the log streams.
        servers: its servers by their containers' names, in the model's order.
        in_flight: requests that wait for it; the router counts.
    """

    def __init__(
        self,
        engine: ContainerEngine,
        specs: Sequence[ServerSpec],
        folder: Path,
        open_log: Callable[[str], LogStream],
    ) -> None:
        """Not started yet.

        Args:
            engine: starts the containers.
            specs: what they run.
            folder: its files go into a folder of its own below this one.
            open_log: makes a log stream by its name.
        """
        self.id = f"i-0{secrets.token_hex(8)}"
        self.in_flight = 0
        self._folder = folder / self.id
        self._stopping = False
        # Names of log streams: "Log groups and streams that Amazon SageMaker AI sends to CloudWatch Logs".
        self.servers = {
            spec.container: Server(
                engine,
                spec,
                self._folder / spec.container,
                open_log(f"{spec.variant}/{self.id}" + ("" if len(specs) == 1 else f"/{spec.container}")),
                self.id,
            )
            for spec in specs
        }

    @property
    def ready(self) -> bool:
        """Whether it takes requests: all its containers do."""
        return not self._stopping and all(server.ready for server in self.servers.values())

    @property
    def failure(self) -> NotHealthy | None:
        """Why one of its servers never became healthy, once that was given up."""
        return next((server.failure for server in self.servers.values() if server.failure), None)

    def has_loaded(self, target_model: str) -> bool:
        """Whether one of its containers has a model in its memory."""
        return any(server.models is not None and server.models.has(target_model) for server in self.servers.values())

    def start(self) -> None:
        """Start its servers."""
        for server in self.servers.values():
            server.start()

    def wait_settled(self, timeout_s: float) -> bool:
        """Wait for that many seconds at most; whether all its servers are healthy, or one is given up."""
        deadline = time.monotonic() + timeout_s
        for server in self.servers.values():
            if not server.settled.wait(max(0.0, deadline - time.monotonic())):
                return self.failure is not None
        return True

    def stop(self, grace_s: float) -> None:
        """End its servers, side by side, and remove its files."""
        self._stopping = True
        threads = [
            threading.Thread(target=server.stop, args=(grace_s,), daemon=True) for server in self.servers.values()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        shutil.rmtree(self._folder, ignore_errors=True)
