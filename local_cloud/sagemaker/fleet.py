"""The servers behind an endpoint: instances of a variant, variants of a fleet, and the router in front of the fleets.

An instance is one container with one loopback port. It is started, asked `/ping` until it answers 200, watched, and
started again when its process ends, as the agent on a real instance does. What traffic goes where is the router's:
an update puts a second fleet beside the first and then moves the shares, so that no request is lost.
"""

from __future__ import annotations

import http.client
import logging
import random
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from local_cloud.containers.engine import Container, ContainerEngine, ContainerError, ContainerSpec, Image
from local_cloud.sagemaker import model_data
from local_cloud.sagemaker.log_stream import LogStream

logger = logging.getLogger(__name__)

T = TypeVar("T")

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

_ports_lock = threading.Lock()
_ports_taken: set[int] = set()


class NotHealthy(Exception):
    """A server of a variant does not answer `/ping`; the message says how it ended, if it did."""

    def __init__(self, variant: str, detail: str) -> None:
        super().__init__(
            f"The primary container for production variant {variant} did not pass the ping health check. "
            f"Please check CloudWatch logs for this endpoint. {detail}".rstrip()
        )


class Interrupted(Exception):
    """The local cloud stops while servers start."""


@dataclass(frozen=True)
class ServerSpec:
    """What every instance of a variant runs.

    Attributes:
        endpoint: the endpoint's name.
        variant: the production variant's name.
        image: from the engine's `prepare`.
        model_folder: what becomes `/opt/ml/model`; copied for each instance.
        environment: variables besides the image's own.
        network: False cuts the container off the network.
        health_check_timeout_s: how long a server may take to become healthy.
        notes: lines about the image that stand first in the log of each instance.
    """

    endpoint: str
    variant: str
    image: Image
    model_folder: Path
    environment: Mapping[str, str]
    network: bool = True
    health_check_timeout_s: float = HEALTH_CHECK_TIMEOUT_S
    notes: Sequence[str] = ()


class Instance:
    """One server, which a thread of its own starts, watches, and starts again when it dies.

    Attributes:
        id: in the form of an EC2 instance's; names the log stream.
        port: where the server listens on 127.0.0.1; another one after a restart.
        ready: whether it takes requests.
        in_flight: requests that wait for it; the router counts.
        failure: why it never became healthy, once it was given up.
    """

    def __init__(
        self, engine: ContainerEngine, spec: ServerSpec, folder: Path, open_log: Callable[[str], LogStream]
    ) -> None:
        self.id = f"i-0{secrets.token_hex(8)}"
        self.port = 0
        self.ready = False
        self.in_flight = 0
        self.failure: NotHealthy | None = None
        self.settled = threading.Event()
        self._engine, self._spec = engine, spec
        self._folder = folder / self.id
        self._log = open_log(f"{spec.variant}/{self.id}")
        self._last_line = ""
        self._container: Container | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{spec.endpoint} {spec.variant} {self.id}", daemon=True)

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
        """Start the server; `settled` is set when it is healthy or given up."""
        self._thread.start()

    def stop(self, grace_s: float) -> None:
        """End the server and remove its files."""
        self.ready = False
        with self._lock:
            self._stopping.set()
            container = self._container
        if container:
            container.stop(grace_s)
        if self._thread.is_alive():
            self._thread.join(grace_s + 5)
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self) -> None:
        try:
            self._keep_running()
        except Exception as error:
            logger.exception("Server %s of endpoint %s failed", self.id, self._spec.endpoint)
            self.failure = NotHealthy(self._spec.variant, f"The local cloud failed: {error}")
        finally:
            self.ready = False
            self.settled.set()
            self._release_port()

    def _keep_running(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        model_data.copy(self._spec.model_folder, self._folder / "model")
        for note in self._spec.notes:
            self._log.write(note)
        was_healthy, failures = False, 0
        first_deadline = time.monotonic() + self._spec.health_check_timeout_s
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
            logger.warning("Server %s of endpoint %s: %s", self._spec.variant, self._spec.endpoint, ending)
            if not was_healthy and (failures >= START_ATTEMPTS or time.monotonic() > first_deadline):
                self.failure = NotHealthy(self._spec.variant, ending)
                return
            # At once the first time: a port that was taken in between, or a crash that one request caused.
            self._stopping.wait(0 if failures == 1 else min(LONGEST_PAUSE_S, 0.5 * 2**failures))

    def _start_once(self) -> str | None:
        """Start the container and wait until it is healthy; how it failed, or None."""
        self._release_port()
        self.port = _take_port()
        try:
            with self._lock:
                if self._stopping.is_set():
                    return "It was stopped."
                container = self._container = self._engine.start(
                    ContainerSpec(
                        name=f"{self._spec.endpoint}-{self._spec.variant}-{self.id}-{self.port}",
                        image=self._spec.image,
                        ml_dir=self._folder,
                        arguments=("serve",),
                        environment=self._spec.environment,
                        port=self.port,
                        network=self._spec.network,
                        on_line=self._on_line,
                    )
                )
        except ContainerError as error:
            return f"The container did not start: {error}"
        deadline = time.monotonic() + self._spec.health_check_timeout_s
        while time.monotonic() < deadline and not self._stopping.is_set():
            if _ping(self.port):
                return None
            # Both a pause and the moment in which a crash is noticed.
            code = container.wait(PING_INTERVAL_S)
            if code is not None:
                last = f" Its last line: {self._last_line[:300]}" if self._last_line else ""
                return f"The container ended with exit code {code}.{last}"
        container.stop(0 if self._stopping.is_set() else STOP_GRACE_S)
        return f"/ping was not answered with 200 within {self._spec.health_check_timeout_s:g} s."

    def _wait(self) -> int | None:
        assert self._container is not None
        return self._container.wait()

    def _on_line(self, line: str) -> None:
        self._last_line = line.strip() or self._last_line
        self._log.write(line)

    def _release_port(self) -> None:
        with _ports_lock:
            _ports_taken.discard(self.port)


class Variant:
    """The instances of one production variant."""

    def __init__(
        self,
        engine: ContainerEngine,
        spec: ServerSpec,
        folder: Path,
        open_log: Callable[[str], LogStream],
        *,
        weight: float,
        least_busy: bool,
    ) -> None:
        """Take what its instances run.

        Args:
            engine: starts them.
            spec: what they run.
            folder: a folder of its own for their files.
            open_log: makes a log stream by its name.
            weight: its part of the fleet's traffic, against the other variants' weights.
            least_busy: ask the instance with the fewest requests in flight (LEAST_OUTSTANDING_REQUESTS), not any (RANDOM,
                SageMaker's default).
        """
        self.spec = spec
        self.weight = weight
        self.instances: tuple[Instance, ...] = ()
        self._least_busy = least_busy
        self._new_instance: Callable[[], Instance] = lambda: Instance(engine, spec, folder, open_log)

    @property
    def name(self) -> str:
        """The production variant's name."""
        return self.spec.variant

    @property
    def ready(self) -> list[Instance]:
        """The instances that take requests."""
        return [instance for instance in self.instances if instance.ready]

    def grow_to(self, count: int, stopping: threading.Event) -> None:
        """Start what is missing of `count` instances, all at once, and wait until they are healthy.

        Raises:
            NotHealthy: one is not; those that were started are gone again.
            Interrupted: `stopping` was set in between.
        """
        new = [self._new_instance() for _ in range(count - len(self.instances))]
        try:
            for instance in new:
                instance.start()
            for instance in new:
                while not instance.settled.wait(0.1):
                    if stopping.is_set():
                        raise Interrupted
                if instance.failure:
                    raise instance.failure
            if stopping.is_set():
                raise Interrupted
        except (NotHealthy, Interrupted):
            stop_all(new, drain_s=0, grace_s=1)
            raise
        self.instances += tuple(new)

    def take_surplus(self, count: int) -> list[Instance]:
        """Take the newest instances beyond `count` out of service; the caller stops them."""
        surplus = list(self.instances[count:])
        self.instances = self.instances[:count]
        return surplus

    def pick(self, but: Sequence[Instance]) -> Instance | None:
        """An instance that takes requests and is none of `but`; None if there is none."""
        ready = [instance for instance in self.ready if instance not in but]
        if not ready:
            return None
        if self._least_busy:
            least = min(instance.in_flight for instance in ready)
            ready = [instance for instance in ready if instance.in_flight == least]
        return random.choice(ready)  # noqa: S311 - spreads load, guards nothing


class Fleet:
    """All variants of one deployed endpoint configuration."""

    def __init__(self, variants: Sequence[Variant], on_stopped: Callable[[], None] = lambda: None) -> None:
        self.variants = {variant.name: variant for variant in variants}
        self._on_stopped = on_stopped

    @property
    def instances(self) -> list[Instance]:
        """Every instance of every variant."""
        return [instance for variant in self.variants.values() for instance in variant.instances]

    def stop(self, drain_s: float, grace_s: float = STOP_GRACE_S) -> None:
        """Let requests in flight finish for up to `drain_s` seconds, then end every server."""
        stop_all(self.instances, drain_s, grace_s)
        self._on_stopped()


@dataclass
class Lease:
    """An instance that a request was given, until it is answered."""

    variant: Variant
    instance: Instance


class UnknownVariant(Exception):
    """The request names a variant that the endpoint does not have."""


class Router:
    """Decides which server answers a request: by the fleets' shares, then the variants' weights, then the instances' load."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._lock = threading.Lock()
        self._shares: tuple[tuple[Fleet, float], ...] = ()

    @property
    def fleets(self) -> list[Fleet]:
        """The fleets that get traffic."""
        return [fleet for fleet, _ in self._shares]

    def send_to(self, *shares: tuple[Fleet, float]) -> None:
        """Give all traffic to these fleets, by their shares. After this returns, no other fleet gets a new request."""
        with self._lock:
            self._shares = shares

    @contextmanager
    def lease(self, target_variant: str | None = None, but: Sequence[Instance] = ()) -> Iterator[Lease | None]:
        """An instance for one request; None if none takes requests now.

        Args:
            target_variant: take this variant, whatever the weights are.
            but: instances that were tried already.

        Raises:
            UnknownVariant: there is no such variant.
        """
        with self._lock:
            leased = self._choose(target_variant, but)
            if leased:
                leased.instance.in_flight += 1
        try:
            yield leased
        finally:
            if leased:
                with self._lock:
                    leased.instance.in_flight -= 1

    def _choose(self, target_variant: str | None, but: Sequence[Instance]) -> Lease | None:
        if not self._shares:
            return None
        fleet = _weighted([fleet for fleet, _ in self._shares], [share for _, share in self._shares])
        if target_variant is not None:
            if target_variant not in fleet.variants:
                raise UnknownVariant(target_variant)
            variant = fleet.variants[target_variant]
        else:
            # A variant without any server left gives its traffic to the others.
            usable = [variant for variant in fleet.variants.values() if variant.weight > 0 and variant.pick(but)]
            if not usable:
                return None
            variant = _weighted(usable, [variant.weight for variant in usable])
        instance = variant.pick(but)
        return Lease(variant, instance) if instance else None


def stop_all(instances: Sequence[Instance], drain_s: float, grace_s: float) -> None:
    """Stop instances side by side, each when its requests in flight are answered or `drain_s` seconds are over."""

    def drain_and_stop(instance: Instance) -> None:
        deadline = time.monotonic() + drain_s
        while instance.in_flight and time.monotonic() < deadline:
            time.sleep(0.02)
        instance.stop(grace_s)

    threads = [threading.Thread(target=drain_and_stop, args=(instance,), daemon=True) for instance in instances]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _weighted(items: Sequence[T], weights: Sequence[float]) -> T:
    return items[0] if len(items) == 1 else random.choices(items, weights)[0]  # noqa: S311 - spreads load, guards nothing


def _ping(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PING_TIMEOUT_S)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _take_port() -> int:
    """A loopback port that nobody listens on, and that no other instance was given."""
    with _ports_lock:
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port: int = probe.getsockname()[1]
            if port not in _ports_taken:
                _ports_taken.add(port)
                return port
