"""What it means to run a container here, whether a Docker engine does it or a process stands for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

NOTE = "[local cloud] "
"""Begins each line in a container's log that the local cloud wrote, not the container."""

MAX_LINE_BYTES = 256 * 1024 - 26
"""Longest line that is passed on: CloudWatch Logs' limit of an event, 256 KB, less the 26 bytes that it counts for each
(CloudWatch Logs API reference, PutLogEvents). What is longer arrives as several lines."""


class ContainerError(Exception):
    """An image cannot be had or built, or a container cannot start; the message is for the user."""


@dataclass(frozen=True)
class Image:
    """An image that is ready to run.

    Attributes:
        uri: what the API request named.
        reference: what the engine runs: an image id, or the folder of a process environment.
        labels: what LABEL says in its Dockerfile; where an engine runs it, also what its base image brings.
    """

    uri: str
    reference: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ContainerSpec:
    """One container to start.

    Attributes:
        name: for people and logs; unique among running containers.
        image: from `ContainerEngine.prepare`.
        ml_dir: folder on this machine that is `/opt/ml` inside.
        arguments: follow the image's entry point (`train`, `serve`, ...), as `docker run IMAGE ARGUMENTS`.
        entrypoint: replaces the image's own where the request asks for it.
        environment: variables besides the image's own.
        port: the loopback port that the container must listen on, for servers; the container is told by
            SAGEMAKER_BIND_TO_PORT and SAGEMAKER_BIND_TO_HOST.
        network: False cuts the container off the network (EnableNetworkIsolation). A process cannot be cut off: its
            engine says so in the log.
        hosts: the names of all hosts of a job that runs on several. They share one loopback address, on which containers
            find each other by these names; processes are told that they do not.
        beside: the container of the job's first host, for the others.
        on_line: called with each line that the container prints, from a thread of the engine.
    """

    name: str
    image: Image
    ml_dir: Path
    arguments: Sequence[str] = ()
    entrypoint: Sequence[str] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None
    network: bool = True
    hosts: Sequence[str] = ()
    beside: Container | None = None
    on_line: Callable[[str], None] = lambda line: None


class Container(Protocol):
    """A container that was started."""

    @property
    def pid(self) -> int | None:
        """The process id on this machine, where there is one: for tests that kill it."""

    def wait(self, timeout_s: float | None = None) -> int | None:
        """The exit code once it has ended (all its output delivered), or None after `timeout_s` seconds."""

    def stop(self, grace_s: float) -> None:
        """SIGTERM, then SIGKILL after `grace_s` seconds; returns when it has ended. Harmless when it has ended already."""


class ContainerEngine(Protocol):
    """Runs containers."""

    @property
    def kind(self) -> str:
        """`docker` or `process`: what `sagestack status` shows."""

    def prepare(self, uri: str, fetch: Callable[[Path], None], on_line: Callable[[str], None]) -> Image:
        """Make an image ready; quick when it was made before (cached by content, also across restarts).

        Args:
            uri: `s3://bucket/key.zip` of a build context with a Dockerfile at its root, or a registry reference.
            fetch: downloads the object of an s3 uri to a path, with the credentials of whoever runs the image. It is called
                each time, cached or not: who may not read the image must not run it. It raises what S3 answers.
            on_line: receives the lines of the build.

        Raises:
            ContainerError: it cannot be had, or its build fails; the message ends with the last lines of the build.
        """

    def start(self, spec: ContainerSpec) -> Container:
        """Start a container.

        Raises:
            ContainerError: it cannot start.
        """

    def close(self) -> None:
        """Stop everything that is still running."""


def path_inside(engine: ContainerEngine, ml_dir: Path, path: Path) -> str:
    """How a container calls a path below its `/opt/ml`, for what it is told at run time; a process sees this machine's paths.

    Args:
        engine: runs the container.
        ml_dir: the folder that is `/opt/ml` inside.
        path: below `ml_dir`.
    """
    return f"/opt/ml/{path.relative_to(ml_dir)}" if engine.kind == "docker" else str(path)


class Lines:
    """Cuts what a container prints into lines, and passes each on as soon as it is whole.

    Bytes that are no UTF-8 are replaced, and a line above `MAX_LINE_BYTES` is passed on in pieces.
    """

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take the next bytes, which may end in the middle of a line."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._pass_on(line)
        while len(self._rest) > MAX_LINE_BYTES:
            self._pass_on(self._rest[:MAX_LINE_BYTES])
            self._rest = self._rest[MAX_LINE_BYTES:]

    def end(self) -> None:
        """Pass on a last line without an end."""
        if self._rest:
            self._pass_on(self._rest)
            self._rest = b""

    def _pass_on(self, line: bytes) -> None:
        line = line.removesuffix(b"\r")
        for start in range(0, max(len(line), 1), MAX_LINE_BYTES):
            self._on_line(line[start : start + MAX_LINE_BYTES].decode("utf-8", "replace"))
