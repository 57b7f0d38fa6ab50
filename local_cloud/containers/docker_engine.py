"""Runs images as containers, in the Docker engine of this machine."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import platform
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import docker.errors

from local_cloud.containers import images
from local_cloud.containers.engine import Container, ContainerError, ContainerSpec, Image, Lines

logger = logging.getLogger(__name__)

LABEL = "sagestack.local-cloud"
"""On each container: the state folder's hash, by which the next start finds what a killed local cloud left."""
ANSWER_TIMEOUT_S = 2
"""How long an engine may take to say that it is there: one that works answers in milliseconds."""
REQUEST_TIMEOUT_S = 120
CLOSING_GRACE_S = 1
"""How long a container may take to end when the local cloud itself ends."""
CLOSING = "The local cloud is stopping."
KILLED = 137
"""The exit code of a container that was killed: 128 and the number of SIGKILL."""
BUILD_LINES_SHOWN = 20
"""How many of its last lines the error of a failed build shows: enough for pip's reason, short enough for a status."""
_CERTIFICATES = "/etc/sagestack-local-cloud/ca.pem"
_LINUX = platform.system() == "Linux"
_NO_ENGINE = (docker.errors.DockerException, OSError)
"""What a call to the engine may raise: its answers, and a lost connection (which is an OSError in requests)."""


def connect() -> Any | None:
    """A client of the Docker engine that the environment points to, or None if none answers in time."""
    try:
        client = docker.from_env(timeout=ANSWER_TIMEOUT_S)
        client.ping()
        client.close()
        return docker.from_env(timeout=REQUEST_TIMEOUT_S)
    except _NO_ENGINE:
        return None


class DockerEngine:
    """Runs images in a Docker engine.

    On Linux a container with network shares this machine's, so that it reaches the local cloud on its loopback address,
    and a server binds a loopback port; elsewhere the engine has a machine of its own, where the local cloud is
    `host.docker.internal` and a server's port is published on the loopback address.
    """

    def __init__(self, client: Any, state_dir: Path) -> None:
        self._client = client
        self._images = state_dir / "images"
        self._label = hashlib.sha256(str(state_dir.resolve()).encode()).hexdigest()[:16]
        self._lock = threading.Lock()
        self._running: set[DockerContainer] = set()
        self._closed = False
        for left in client.containers.list(all=True, filters={"label": f"{LABEL}={self._label}"}):
            logger.info("Removing the container %s that a killed local cloud left", left.name)
            _remove(left)

    @property
    def kind(self) -> str:
        """See ContainerEngine."""
        return "docker"

    def prepare(self, uri: str, fetch: Callable[[Path], None], on_line: Callable[[str], None]) -> Image:
        """See ContainerEngine."""
        if not images.is_build_context(uri):
            return self._from_registry(uri, on_line)
        with images.fetched(fetch, self._images) as archive:
            digest = images.digest(archive)[:32]
            tag = f"sagestack-local-cloud:{digest}"
            reference = self._id_of(tag)
            if reference is None:
                marker = self._images / f"docker-{digest}"
                # The engine forgets images (docker image prune), so its own answer counts, not our marker.
                (marker / images.COMPLETE).unlink(missing_ok=True)
                images.built(marker, lambda: self._build(archive, uri, tag, on_line), on_line, f"the image {uri}")
                reference = self._id_of(tag)
        if reference is None:
            raise ContainerError(f"The image {uri} was built, but the engine does not have it as {tag}.")
        return self._image(uri, reference)

    def start(self, spec: ContainerSpec) -> Container:
        """See ContainerEngine."""
        if self._closed:
            raise ContainerError(CLOSING)
        _open_to_all(spec.ml_dir)
        environment, options = _settings(spec)
        try:
            container = self._begun(spec, environment, options)
        except _NO_ENGINE as error:
            if spec.beside is None or spec.beside.wait(ANSWER_TIMEOUT_S) is None:
                raise ContainerError(f"The container {spec.name} cannot start: {_explained(error)}") from error
            # The first host has ended before this one could join its network: it goes on without, as on AWS.
            return self.start(replace(spec, beside=None))
        started = DockerContainer(container, spec, self._forget)
        with self._lock:
            closed = self._closed
            if not closed:
                self._running.add(started)
        if closed:
            # It started while close() went through those that ran.
            _remove(container)
            raise ContainerError(CLOSING)
        started.follow()
        return started

    def _begun(self, spec: ContainerSpec, environment: dict[str, str], options: dict[str, Any]) -> Any:
        container = self._client.containers.create(
            spec.image.reference,
            command=list(spec.arguments) or None,
            entrypoint=list(spec.entrypoint) if spec.entrypoint is not None else None,
            environment=environment,
            labels={LABEL: self._label, f"{LABEL}.name": spec.name},
            detach=True,
            **options,
        )
        try:
            container.start()
        except BaseException:
            _remove(container)
            raise
        return container

    def close(self) -> None:
        """See ContainerEngine."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        stopping = [threading.Thread(target=container.stop, args=(CLOSING_GRACE_S,)) for container in running]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()
        self._client.close()

    def _forget(self, container: DockerContainer) -> None:
        with self._lock:
            self._running.discard(container)

    def _id_of(self, reference: str) -> str | None:
        try:
            return str(self._client.images.get(reference).id)
        except docker.errors.ImageNotFound:
            return None

    def _from_registry(self, uri: str, on_line: Callable[[str], None]) -> Image:
        reference = self._id_of(uri)
        if reference is None:
            on_line(f"Pulling {uri}")
            try:
                # Without a tag or digest docker-py would pull every tag there is.
                named = uri if ":" in uri.rpartition("/")[2] or "@" in uri else f"{uri}:latest"
                reference = str(self._client.images.pull(named).id)
            except _NO_ENGINE as error:
                raise ContainerError(
                    f"The image {uri} cannot be pulled: {_explained(error)}. Log the engine in to its registry (for ECR: "
                    "aws ecr get-login-password | docker login --username AWS --password-stdin REGISTRY), or give the "
                    "image as an s3:// address of its zipped build context (model_image: build-context)."
                ) from error
        return self._image(uri, reference)

    def _image(self, uri: str, reference: str) -> Image:
        return Image(uri=uri, reference=reference, labels=self._client.images.get(reference).labels)

    def _build(self, archive: Path, uri: str, tag: str, on_line: Callable[[str], None]) -> None:
        with tempfile.TemporaryDirectory(dir=self._images) as folder:
            context = Path(folder)
            images.unzip(archive, context, uri)
            on_line("Building the image in the Docker engine")
            last_lines: deque[str] = deque(maxlen=BUILD_LINES_SHOWN)
            try:
                for line in build_lines(self._client, context, tag, {LABEL: self._label}):
                    last_lines.append(line)
                    on_line(line)
            except (*_NO_ENGINE, BuildFailed) as error:
                tail = "\n".join(last_lines)
                raise ContainerError(f"The build of the image {uri} failed: {_explained(error)}\n{tail}") from error


class BuildFailed(Exception):
    """What the engine answered inside the stream of a build."""


def build_lines(
    client: Any, context: Path, tag: str, labels: Mapping[str, str], buildargs: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Build an image and pass on what the engine says meanwhile.

    Raises:
        BuildFailed: a step of it failed.
    """
    output = client.api.build(
        path=str(context),
        tag=tag,
        rm=True,
        forcerm=True,
        buildargs=dict(buildargs or {}),
        # The build downloads packages, and an engine's own network may have no way out.
        network_mode="host" if _LINUX else None,
        labels=dict(labels),
        decode=True,
        timeout=3600,
    )
    for part in output:
        if "error" in part:
            raise BuildFailed(part["error"])
        text = part.get("stream") or (part.get("status") if "progressDetail" not in part else None) or ""
        yield from (line for line in text.splitlines() if line.strip())


class DockerContainer:
    """A container of the engine; it is removed once it has ended and its output is delivered."""

    def __init__(self, container: Any, spec: ContainerSpec, on_end: Callable[[DockerContainer], None]) -> None:
        self._container = container
        self._spec = spec
        self._on_end = on_end
        self._ended = threading.Event()
        self._code: int | None = None

    @property
    def id(self) -> str:
        """The engine's."""
        return str(self._container.id)

    @property
    def pid(self) -> int | None:
        """See Container; None where the engine has a machine of its own."""
        if not _LINUX or self._ended.is_set():
            return None
        self._container.reload()
        return int(self._container.attrs["State"]["Pid"]) or None

    def wait(self, timeout_s: float | None = None) -> int | None:
        """See Container."""
        self._ended.wait(timeout_s)
        return self._code

    def stop(self, grace_s: float) -> None:
        """See Container."""
        if not self._ended.is_set():
            # Gone already, or going: the follower notices either way.
            with contextlib.suppress(docker.errors.APIError):
                self._container.stop(timeout=round(grace_s))
        self._ended.wait()

    def follow(self) -> None:
        """Deliver the output and wait for the end, in a thread of its own."""
        threading.Thread(target=self._follow, name=f"output-{self._spec.name}", daemon=True).start()

    def _follow(self) -> None:
        code = KILLED
        try:
            code = self._delivered()
        except Exception:
            # Whatever it was, whoever waits for the end must not wait for ever.
            logger.exception("The engine lost the container %s", self._spec.name)
        try:
            self._take_back_files()
        except _NO_ENGINE:
            logger.warning("The files of the container %s stay its user's", self._spec.name, exc_info=True)
        _remove(self._container)
        self._on_end(self)
        self._code = code
        self._ended.set()

    def _delivered(self) -> int:
        """Deliver the output to its end; the exit code."""
        lines = Lines(self._spec.on_line)
        for data in self._container.logs(stream=True, follow=True, stdout=True, stderr=True):
            lines.feed(data)
        lines.end()
        return int(self._container.wait()["StatusCode"])

    def _take_back_files(self) -> None:
        """Make what the container's user wrote ours, or it could not be removed later."""
        own = os.getuid()
        if own == 0 or all(_owner(path) in (own, None) for path in self._spec.ml_dir.rglob("*")):
            return
        self._container.client.containers.run(
            self._spec.image.reference,
            entrypoint=["chown", "-R", f"{own}:{os.getgid()}", "/opt/ml"],
            volumes={str(self._spec.ml_dir): {"bind": "/opt/ml", "mode": "rw"}},
            user="0",
            network_mode="none",
            remove=True,
        )


def _settings(spec: ContainerSpec) -> tuple[dict[str, str], dict[str, Any]]:
    """The variables of a container, and what else it is created with: what it sees of this machine's files and network."""
    environment = dict(spec.environment)
    # Each folder of its own rather than /opt/ml as one: the image may hold files below /opt/ml (such as /opt/ml/code).
    volumes = {str(path): {"bind": f"/opt/ml/{path.name}", "mode": "rw"} for path in spec.ml_dir.iterdir()}
    if (bundle := environment.get("AWS_CA_BUNDLE")) and Path(bundle).is_file():
        volumes[bundle] = {"bind": _CERTIFICATES, "mode": "ro"}
        environment["AWS_CA_BUNDLE"] = _CERTIFICATES
    options: dict[str, Any] = {"network_mode": "host" if _LINUX else "bridge", "volumes": volumes}
    if not spec.network and spec.port is None:
        options["network_mode"] = "none"
    if spec.beside is not None and options["network_mode"] != "host":
        # The names of the hosts come with the first one's network: the engine takes none besides.
        assert isinstance(spec.beside, DockerContainer)
        options["network_mode"] = f"container:{spec.beside.id}"
    elif spec.hosts:
        options["extra_hosts"] = dict.fromkeys(spec.hosts, "127.0.0.1")
    if spec.port is not None:
        environment["SAGEMAKER_BIND_TO_PORT"] = str(spec.port)
        environment["SAGEMAKER_BIND_TO_HOST"] = "127.0.0.1" if _LINUX else "0.0.0.0"  # noqa: S104 - inside the engine
        if not _LINUX:
            options["ports"] = {f"{spec.port}/tcp": ("127.0.0.1", spec.port)}
    if not _LINUX and "AWS_ENDPOINT_URL" in environment:
        environment["AWS_ENDPOINT_URL"] = environment["AWS_ENDPOINT_URL"].replace("127.0.0.1", "host.docker.internal")
    return environment, options


def _owner(path: Path) -> int | None:
    """The user whose a file is; None if it is gone meanwhile, as the pipe of an epoch that is over."""
    try:
        return path.lstat().st_uid
    except FileNotFoundError:
        return None


def _open_to_all(folder: Path) -> None:
    """Let any user write below a folder: the container's user is the image's, whose number has no meaning here.

    The folders above it are the local cloud's own and closed to others.
    """
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o777 if path.is_dir() else path.stat().st_mode | 0o666)


def _remove(container: Any) -> None:
    with contextlib.suppress(*_NO_ENGINE):
        container.remove(force=True, v=True)


def _explained(error: Exception) -> str:
    return str(getattr(error, "explanation", None) or error)
