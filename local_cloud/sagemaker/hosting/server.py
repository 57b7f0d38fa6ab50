"""One container of an instance: it has a loopback port, is asked `/ping`, watched, and started again when it ends."""

from __future__ import annotations

import http.client
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from local_cloud.containers.engine import Container, ContainerEngine, ContainerError, ContainerSpec, Image
from local_cloud.sagemaker import loopback_ports, model_data
from local_cloud.sagemaker.hosting.loaded_models import MODELS, LoadedModels, ModelHost
from local_cloud.sagemaker.hosting.serving_containers import PRIMARY
from local_cloud.sagemaker.log_stream import LogStream

logger = logging.getLogger(__name__)

HEALTH_CHECK_TIMEOUT_S = 120.0
"""How long a server may take to answer its first `/ping` with 200 where the configuration does not say. SageMaker waits
longer; here nothing is pulled or booted in that time, and whoever waits sits before the screen."""
START_ATTEMPTS = 3
"""How often a container that ends before it was healthy is started: a crash at the start is rarely cured by the fourth try,
and the message should not take the 20 minutes that it takes on AWS."""
PING_INTERVAL_S = 0.1
PING_TIMEOUT_S = 2.0
"""A ping must be answered within 2 seconds (developer guide, "How Your Container Should Respond to Health Check Requests")."""
STOP_GRACE_S = 30.0
"""Between SIGTERM and SIGKILL (developer guide, "How SageMaker AI Runs Your Inference Image")."""
LONGEST_PAUSE_S = 10.0
"""Between the restarts of a server that keeps dying."""
COUNT_INTERVAL_S = 60.0
"""Between two data points of LoadedModelCount: SageMaker publishes it at a frequency of one minute."""


class NotHealthy(Exception):
    """A server of a variant does not answer `/ping`; the message says how it ended, if it did."""

    def __init__(self, spec: ServerSpec, detail: str) -> None:
        super().__init__(
            f"The {spec.container} container for production variant {spec.variant} did not pass the ping health check. "
            f"Please check CloudWatch logs for this endpoint. {detail}".rstrip()
        )


@dataclass(frozen=True)
class ServerSpec:
    """What one container of every instance of a variant runs.

    Attributes:
        endpoint: the endpoint's name.
        variant: the production variant's name.
        image: from the engine's `prepare`.
        model_folder: what becomes `/opt/ml/model`; copied for each instance. None for a multi-model container.
        environment: variables besides the image's own.
        network: False cuts the container off the network.
        health_check_timeout_s: how long a server may take to become healthy.
        notes: lines about the image that stand first in the log of each instance.
        container: its host name; `primary` for the only one.
        models: what a multi-model container's models come from; None for any other container.
    """

    endpoint: str
    variant: str
    image: Image
    model_folder: Path | None
    environment: Mapping[str, str]
    network: bool = True
    health_check_timeout_s: float = HEALTH_CHECK_TIMEOUT_S
    notes: Sequence[str] = ()
    container: str = PRIMARY
    models: ModelHost | None = None


class Server:
    """One container, which a thread of its own starts, watches, and starts again when it dies.

    Attributes:
        spec: what it runs.
        port: where it listens on 127.0.0.1; another one after a restart.
        ready: whether it takes requests.
        failure: why it never became healthy, once it was given up.
        settled: set when it is healthy or given up.
        models: the models that it has loaded, if it is a multi-model container.
    """

    def __init__(self, engine: ContainerEngine, spec: ServerSpec, folder: Path, log: LogStream, instance: str) -> None:
        """Not started yet.

        Args:
            engine: starts the container.
            spec: what it runs.
            folder: what becomes its `/opt/ml`.
            log: takes what it prints.
            instance: the instance's id.
        """
        self.spec = spec
        self.port = 0
        self.ready = False
        self.failure: NotHealthy | None = None
        self.settled = threading.Event()
        self.models = LoadedModels(spec.models, engine, folder, lambda: self.port) if spec.models else None
        self._engine = engine
        self._folder = folder
        self._name = f"{spec.endpoint}-{spec.variant}-{instance}"
        self._log = log
        self._last_line = ""
        self._container: Container | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{self._name} {spec.container}", daemon=True)

    @property
    def log_stream(self) -> str:
        """The name of its log stream."""
        return self._log.stream

    @property
    def pid(self) -> int | None:
        """The process id of the server, where there is one."""
        container = self._container
        return container.pid if container else None

    def start(self) -> None:
        """Start it; `settled` is set when it is healthy or given up."""
        self._thread.start()

    def stop(self, grace_s: float) -> None:
        """End it; its files are the instance's to remove."""
        self.ready = False
        with self._lock:
            self._stopping.set()
            container = self._container
        if container:
            container.stop(grace_s)
        if self._thread.is_alive():
            self._thread.join(grace_s + 5)
        self._log.close()

    def _run(self) -> None:
        try:
            self._keep_running()
        except Exception as error:
            logger.exception("Server %s failed", self._name)
            self.failure = NotHealthy(self.spec, f"The local cloud failed: {error}")
        finally:
            self.ready = False
            self.settled.set()
            self._release_port()

    def _keep_running(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        if self.spec.model_folder:
            model_data.copy(self.spec.model_folder, self._folder / "model")
        else:
            # There before the container is: an engine mounts the folders that it finds.
            (self._folder / MODELS).mkdir()
        for note in self.spec.notes:
            self._log.write(note)
        was_healthy, failures = False, 0
        first_deadline = time.monotonic() + self.spec.health_check_timeout_s
        while not self._stopping.is_set():
            ending = self._start_once()
            if ending is None:
                was_healthy, failures = True, 0
                self.ready = True
                self.settled.set()
                code = self._wait()
                self.ready = False
                ending = f"The container ended with exit code {code}."
            if self._stopping.is_set():
                return
            failures += 1
            where = f"{self.spec.variant} ({self.spec.container}) of endpoint {self.spec.endpoint}"
            logger.warning("Server %s: %s", where, ending)
            if not was_healthy and (failures >= START_ATTEMPTS or time.monotonic() > first_deadline):
                self.failure = NotHealthy(self.spec, ending)
                return
            # At once the first time: a port that was taken in between, or a crash that one request caused.
            self._stopping.wait(0 if failures == 1 else min(LONGEST_PAUSE_S, 0.5 * 2**failures))

    def _start_once(self) -> str | None:
        """Start the container and wait until it is healthy; how it failed, or None."""
        self._release_port()
        self.port = loopback_ports.take()
        try:
            container = self._engine.start(
                ContainerSpec(
                    name=f"{self._name}-{self.port}",
                    image=self.spec.image,
                    ml_dir=self._folder,
                    arguments=("serve",),
                    environment=self.spec.environment,
                    port=self.port,
                    network=self.spec.network,
                    on_line=self._on_line,
                )
            )
        except ContainerError as error:
            return f"The container did not start: {error}"
        if self.models:
            self.models.forget()
        with self._lock:
            # From here on stop() ends it; a stop that came while it started is seen below.
            self._container = container
        deadline = time.monotonic() + self.spec.health_check_timeout_s
        while time.monotonic() < deadline and not self._stopping.is_set():
            if self._healthy():
                return None
            # Both a pause and the moment in which a crash is noticed.
            code = container.wait(PING_INTERVAL_S)
            if code is not None:
                last = f" Its last line: {self._last_line[:300]}" if self._last_line else ""
                return f"The container ended with exit code {code}.{last}"
        container.stop(0 if self._stopping.is_set() else STOP_GRACE_S)
        asked = "/ping and GET /models were" if self.models else "/ping was"
        return f"{asked} not answered with 200 within {self.spec.health_check_timeout_s:g} s."

    def _healthy(self) -> bool:
        """Whether it answers `/ping`, and, as SageMaker asks of a multi-model container, lists its models."""
        return _answers(self.port, "/ping") and (self.models is None or _answers(self.port, "/models"))

    def _wait(self) -> int | None:
        """The container's exit code, once it has ended."""
        assert self._container is not None
        if self.models is None:
            return self._container.wait()
        while (code := self._container.wait(COUNT_INTERVAL_S)) is None:
            self.models.tell_count()
        return code

    def _on_line(self, line: str) -> None:
        self._last_line = line.strip() or self._last_line
        self._log.write(line)

    def _release_port(self) -> None:
        loopback_ports.release(self.port)


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PING_TIMEOUT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
