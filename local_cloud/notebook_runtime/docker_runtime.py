"""Runs a notebook instance as a container whose file system is like an instance's, in the Docker engine of this machine."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import docker.errors
from docker.utils.socket import frames_iter

from local_cloud.containers import STARTED_WITH
from local_cloud.containers.docker_engine import LABEL
from local_cloud.containers.engine import NOTE, Lines
from local_cloud.notebook_runtime.docker_image import JUPYTER, InstanceImage, explained
from local_cloud.notebook_runtime.instance_files import system_files, without_keys
from local_cloud.notebook_runtime.runtime import InstanceSpec, RuntimeRefused
from local_cloud.notebook_runtime.started import Started
from local_cloud.notebook_runtime.supervised import SupervisedInstance, Supervisor, SystemSettings
from local_cloud.sagemaker import loopback_ports

logger = logging.getLogger(__name__)

VOLUME = "/home/ec2-user/SageMaker"
CERTIFICATES = "/etc/sagestack-local-cloud/ca.pem"
GIT_CERTIFICATES = "/etc/sagestack-local-cloud/git-ca.pem"
PORT_INSIDE = 8888
"""Where JupyterLab listens in a container that has a network of its own."""
SHARED_MEMORY = "1g"
"""The engine's own 64 MB make data loaders of training libraries fail, which an instance's half of its memory does not."""
STDERR = 2
_LINUX = platform.system() == "Linux"
_NO_ENGINE = (docker.errors.DockerException, OSError)


class DockerRuntime:
    """Runs notebook instances in a Docker engine.

    On Linux an instance shares this machine's network, so that it reaches the local cloud, and JupyterLab listens on the
    loopback address; elsewhere the engine has a machine of its own, and JupyterLab's port is published on the loopback address.

    Args:
        client: of the engine.
        state_dir: of the local cloud. `DockerEngine` removes the containers that a killed local cloud left with this state.
    """

    def __init__(self, client: Any, state_dir: Path) -> None:
        self._client = client
        self._label = hashlib.sha256(str(state_dir.resolve()).encode()).hexdigest()[:16]
        self._image = InstanceImage(client, state_dir / "images")
        self._started: Started[DockerInstance] = Started()

    @property
    def kind(self) -> str:
        """See NotebookRuntime."""
        return "docker"

    def start(self, spec: InstanceSpec) -> DockerInstance:
        """See NotebookRuntime."""
        image = self._image.ensure(lambda line: spec.on_line("build", line))
        self._started.check_open()
        spec.volume.mkdir(parents=True, exist_ok=True)
        try:
            instance = DockerInstance(self._client, image, spec, self._label, self._started.forget)
        except _NO_ENGINE as error:
            raise RuntimeRefused(f"The notebook instance {spec.name} cannot start: {explained(error)}") from error
        self._started.keep(instance)
        if not spec.direct_internet:
            spec.on_line(
                "jupyter.log",
                f"{NOTE}DirectInternetAccess=Disabled is not enforced: this instance reaches what this machine reaches.",
            )
        return instance

    def remove_volume(self, volume: Path) -> None:
        """See NotebookRuntime."""
        self._image.remove_folder(volume)

    def close(self) -> None:
        """See NotebookRuntime."""
        self._started.close()
        self._client.close()


class DockerInstance(SupervisedInstance):
    """A container whose first process is the supervisor.

    Its standard input is this program's: the engine closes it when this program ends, even by SIGKILL; then the supervisor
    ends, and with it the container, which the engine removes.
    """

    def __init__(
        self, client: Any, image: str, spec: InstanceSpec, label: str, on_end: Callable[[DockerInstance], None]
    ) -> None:
        self._client = client
        self._on_end = on_end
        self._on_line = spec.on_line
        self._published = None if _LINUX else loopback_ports.take()
        self._ports: list[int] = []
        environment, volumes = inside(spec)
        self._id = self._created(image, spec, label, volumes)
        try:
            attached = client.api.attach_socket(self._id, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
            self._attached = attached
            # Over a Unix socket docker-py gives a reader that holds the socket, over TCP with TLS the socket itself.
            self._socket = getattr(attached, "_sock", attached)
            client.api.start(self._id)
            supervisor = Supervisor(self._write, self._output(), spec.on_line, lambda: None)
            super().__init__(
                spec,
                supervisor,
                settings(spec, environment),
                bind_to="127.0.0.1" if _LINUX else "0.0.0.0",  # noqa: S104 - inside the engine's own machine
                take_port=self._port,
                end=self._ended,
            )
        except BaseException:
            self._ended()
            raise

    @property
    def id(self) -> str:
        """The engine's."""
        return self._id

    def _created(self, image: str, spec: InstanceSpec, label: str, volumes: dict[str, dict[str, str]]) -> str:
        api = self._client.api
        options: dict[str, Any] = {"network_mode": "host" if _LINUX else "bridge"}
        if self._published is not None:
            options["port_bindings"] = {PORT_INSIDE: ("127.0.0.1", self._published)}
        created = api.create_container(
            image,
            # Attached rather than detached: the input closes with the one who holds it.
            stdin_open=True,
            detach=False,
            user="0",
            working_dir="/",
            labels={LABEL: label, f"{LABEL}.name": f"notebook-instance/{spec.name}"},
            ports=[PORT_INSIDE] if self._published is not None else None,
            volumes=[mount["bind"] for mount in volumes.values()],
            host_config=api.create_host_config(
                binds=volumes,
                auto_remove=True,
                shm_size=SHARED_MEMORY,
                # What it prints are answers to this program, and goes to CloudWatch from here.
                log_config={"Type": "none"},
                **options,
            ),
        )
        return str(created["Id"])

    def _write(self, data: bytes) -> None:
        self._socket.sendall(data)

    def _output(self) -> Iterator[bytes]:
        complaints = Lines(lambda line: self._on_line("jupyter.log", line))
        for stream, data in frames_iter(self._attached, tty=False):
            if stream == STDERR:
                complaints.feed(data)
            else:
                yield data
        complaints.end()

    def _port(self) -> tuple[int, int]:
        if self._published is not None:
            return PORT_INSIDE, self._published
        port = loopback_ports.take()
        self._ports.append(port)
        return port, port

    def _ended(self) -> None:
        """Make sure that the container is gone."""
        with contextlib.suppress(*_NO_ENGINE):
            self._client.api.remove_container(self._id, force=True, v=True)
        if (attached := getattr(self, "_attached", None)) is not None:
            with contextlib.suppress(OSError):
                attached.close()
        for port in [*self._ports, *([self._published] if self._published is not None else [])]:
            loopback_ports.release(port)
        self._on_end(self)


def inside(spec: InstanceSpec) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """An instance's variables as the container sees them, and what it sees of this machine's files."""
    environment = dict(spec.environment)
    volumes = {str(spec.volume.resolve()): {"bind": VOLUME, "mode": "rw"}}
    if (bundle := environment.get("AWS_CA_BUNDLE")) and Path(bundle).is_file():
        volumes[bundle] = {"bind": CERTIFICATES, "mode": "ro"}
        environment["AWS_CA_BUNDLE"] = CERTIFICATES
    # What git trusts on this machine it trusts there, too: a company's git host has a certificate of its own.
    if (trusted := STARTED_WITH.get("GIT_SSL_CAINFO")) and Path(trusted).is_file():
        mount = volumes.setdefault(trusted, {"bind": GIT_CERTIFICATES, "mode": "ro"})
        environment["GIT_SSL_CAINFO"] = mount["bind"]
    if not _LINUX and "AWS_ENDPOINT_URL" in environment:
        environment["AWS_ENDPOINT_URL"] = environment["AWS_ENDPOINT_URL"].replace("127.0.0.1", "host.docker.internal")
    return environment, volumes


def settings(spec: InstanceSpec, environment: dict[str, str]) -> SystemSettings:
    """What the supervisor of a container begins with."""
    return {
        "home": "/home/ec2-user",
        "volume": VOLUME,
        "user": "ec2-user",
        "environment": {
            "LANG": "C.UTF-8",
            **without_keys(environment),
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        },
        "jupyter": list(JUPYTER),
        "tickets": "/run/sagestack-notebook/tickets",
        "jupyter_log": "/var/log/jupyter.log",
        "files": [file.entry() for file in system_files(spec, environment)],
        "services": [["/usr/sbin/cron", "-f"]],
    }
